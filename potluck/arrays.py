"""Arrays in .npz files, as NumPy writes them: read with care, written whole or not at all."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.replacing import replacing

_DAMAGE = (
    OSError, ValueError, EOFError, RuntimeError, SyntaxError, TypeError, OverflowError, MemoryError, KeyError,
    AttributeError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError,
)  # fmt: skip
"""How zipfile and numpy answer nonsense."""
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What NumPy writes; others can make gigabytes of a few bytes."""


def load_npz(path: Path | None) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz file by name; none without a file.

    Memory and time are proportional to what the file holds: a header that promises more is not believed.

    Raises:
        DataError: there is no such file, or it is none or damaged; names it.
    """
    if path is None:
        return {}
    if not Path(path).is_file() or not _begins_as_zip(Path(path)):
        raise DataError(
            f"cannot read {path}: {_unlike(Path(path))}", hint="Write one with numpy.savez, or potluck pack"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            return {item.filename.removesuffix(".npy"): _array(archive, item) for item in archive.infolist()}
    except _DAMAGE as problem:
        raise DataError(
            f"cannot read {path} as .npz: {problem or type(problem).__name__}",
            hint="Write it again with numpy.savez",
        ) from None


def _array(archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> NDArray[Any]:
    if item.compress_type not in _METHODS:
        raise ValueError(f"{item.filename} is compressed by method {item.compress_type}")
    data = archive.read(item)
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"{item.filename} is of .npy version {version[0]}.{version[1]}")
    shape, by_column, dtype = _HEADERS[version](file)
    if dtype.hasobject or not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"{item.filename} has elements {dtype} and shape {shape}")
    start = file.tell()
    if math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"{item.filename} promises {shape} of {dtype}, and holds {len(data) - start} bytes")
    return np.frombuffer(bytearray(data[start:]), dtype).reshape(shape, order="F" if by_column else "C")


def _begins_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"PK\3\4", b"PK\5\6")


def _unlike(path: Path) -> str:
    """Why a path is no .npz file."""
    if not path.exists():
        return "there is no such file"
    return "it is a folder" if path.is_dir() else "it is no .npz file"


def save_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes an .npz file, all of it or nothing."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
