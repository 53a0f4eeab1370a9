"""Where compiled code is kept between runs: a folder named by the content of everything it was made from.

Numba and our own object files notice no change in a module that their function merely calls, so the folder's name
carries a hash of all sources of ``isa`` and ``sim`` and of the tools' versions. ``POTLUCK_CACHE_DIR`` moves it.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba

import potluck.isa
import potluck.sim


def cache_root() -> Path:
    """The folder above all versions: ``POTLUCK_CACHE_DIR`` or ``~/.cache/potluck``."""
    return Path(os.environ.get("POTLUCK_CACHE_DIR") or Path.home() / ".cache" / "potluck").absolute()


@cache
def cache_directory() -> Path:
    """The folder for this version of the sources; created on first use."""
    digest = hashlib.sha256(f"{llvmlite.__version__} {numba.__version__}".encode())
    for package in (potluck.isa, potluck.sim):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            digest.update(path.read_bytes())
    directory = cache_root() / digest.hexdigest()[:16]
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def configure_numba() -> None:
    """Send Numba's on-disk cache to our folder; call before the first ``@njit(cache=True)``."""
    numba.config.CACHE_DIR = str(cache_directory())  # Numba looks here at decoration


def compiled(function: Any = None, **options: Any) -> Any:
    """Decorate a function of the simulator's inner loops: compiled by Numba, kept on disk, without the GIL.

    It counts no references, which took a sixth of a run: whoever calls it keeps the arrays alive, and it neither makes
    nor returns arrays of its own (for views see :func:`potluck.sim.raw.view`).

    Args:
        options: further ones of ``numba.njit``.
    """
    if function is None:
        return lambda decorated: compiled(decorated, **options)
    configure_numba()
    return numba.njit(nogil=True, cache=True, _nrt=False, **options)(function)
