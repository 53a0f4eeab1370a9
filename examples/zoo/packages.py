"""Files of the packages that carry networks and data: read, never imported.

A package may be installed, or its wheel may lie in the folder that `fetch` fills. Most of them name requirements that
nobody who reads their files has (torch of one version, OpenCV), so the second is the usual way.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from potluck.isa.errors import ToolError
from potluck.sim.cache import cache_root

LIST = Path(__file__).parent / "packages.txt"


@cache
def pins() -> dict[str, str]:
    """Package name -> the line of `packages.txt` that pins it: ``name==version --hash=...``."""
    lines = [line.strip() for line in LIST.read_text().splitlines()]
    return {line.partition("==")[0]: line for line in lines if line and not line.startswith("#")}


def version(package: str) -> str:
    """The version whose files we know."""
    return pins()[package].partition("==")[2].split()[0]


def folder() -> Path:
    """Where `fetch` puts wheels: below ``POTLUCK_CACHE_DIR``, or ``~/.cache/potluck``."""
    return cache_root() / "models"


def has(package: str) -> bool:
    """Whether a package's files are here."""
    return _installed(package) is not None or _wheel(package) is not None


def read(package: str, member: str) -> bytes:
    """A file of a package.

    Args:
        package: Name as in `packages.txt`.
        member: Path inside the package's wheel, e.g. ``foolbox/data/mnist_00_7.png``.

    Raises:
        ToolError: The package is not here, or lacks the file.
    """
    found = _installed(package)
    try:
        if found is not None:
            return Path(str(found.locate_file(member))).read_bytes()
        with zipfile.ZipFile(_wheel(package) or _missing(package)) as wheel:
            return wheel.read(member)
    except (OSError, KeyError) as error:
        raise ToolError(
            f"package {package} {version(package)} has no file {member!r} that can be read", tool=package,
            hint=f"Get it again: potluck zoo --fetch {package}",
        ) from error  # fmt: skip


def names(package: str) -> list[str]:
    """Paths of all files of a package, sorted.

    Raises:
        ToolError: The package is not here.
    """
    found = _installed(package)
    if found is not None:
        return sorted(str(path) for path in found.files or ())
    with zipfile.ZipFile(_wheel(package) or _missing(package)) as wheel:
        return sorted(wheel.namelist())


@contextmanager
def extra(purpose: str) -> Iterator[None]:
    """Around an import of a package that the extra ``[models]`` installs.

    Raises:
        ToolError: It is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise ToolError(
            f"{purpose} takes the package {error.name!r}",
            tool=error.name, hint="Get it: pip install 'potluck[models]'",
        ) from error  # fmt: skip


@contextmanager
def on_disk(package: str, member: str) -> Iterator[Path]:
    """A file of a package as a path, for libraries that read files only; temporary if the package is a wheel."""
    found = _installed(package)
    if found is not None:
        yield Path(str(found.locate_file(member)))
        return
    with tempfile.TemporaryDirectory() as place:
        with zipfile.ZipFile(_wheel(package) or _missing(package)) as wheel:
            path = wheel.extract(member, place)
        yield Path(path)


def fetch(packages: Iterable[str]) -> list[str]:
    """Downloads the wheels that are not here yet with pip, checked against their hashes, without what they require.

    Returns:
        The packages that were downloaded.

    Raises:
        ToolError: pip is missing or failed; the text is its own.
    """
    wanted = [name for name in dict.fromkeys(packages) if not has(name)]
    if not wanted:
        return []
    folder().mkdir(parents=True, exist_ok=True)
    # Into a folder of its own first: an interrupted download leaves nothing that looks like a wheel.
    with tempfile.TemporaryDirectory(dir=folder()) as place:
        listing = Path(place) / "packages.txt"
        listing.write_text("\n".join(pins()[name] for name in wanted) + "\n")
        # Wheels are read, not run: those of one platform do for all.
        platform = [
            "--platform",
            "manylinux_2_28_x86_64",
            "--python-version",
            "3.11",
            "--implementation",
            "cp",
        ]
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
                   "--only-binary=:all:", "--ignore-requires-python", "--require-hashes", *platform,
                   "-d", place, "-r", str(listing)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise ToolError(f"pip cannot download {', '.join(wanted)}: {' '.join(reason)}", tool="pip")
        for wheel in Path(place).glob("*.whl"):
            wheel.replace(folder() / wheel.name)
    return wanted


def _installed(package: str) -> importlib.metadata.Distribution | None:
    try:
        found = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    return found if found.version == version(package) else None


def _wheel(package: str) -> Path | None:
    stem = package.replace("-", "_")
    return next(iter(sorted(folder().glob(f"{stem}-{version(package)}-*.whl"))), None)


def _missing(package: str) -> Path:
    raise ToolError(
        f"package {package} {version(package)} is not here", tool=package,
        hint=f"Get it: pip install 'potluck[models]' and potluck zoo --fetch {package}",
    )  # fmt: skip
