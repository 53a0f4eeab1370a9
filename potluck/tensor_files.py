"""Tensors as one .npy file each, which is what compiled programs read and write under Linux (docs/linux.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.replacing import replacing


def file_name(tensor: str) -> str:
    """The file of a tensor; characters that do not belong into file names become ``_``."""
    return re.sub(r"[^\w.+-]", "_", tensor) + ".npy"


def write_files(arrays: Mapping[str, NDArray[Any]], folder: str | Path) -> list[Path]:
    """Writes each array as float32 in C order; the folder is made if it does not exist.

    Returns:
        The files, in the order of the arrays.

    Raises:
        DataError: Two names lead to one file, an array is not of numbers, or a file cannot be written.
    """
    paths = {name: Path(folder) / file_name(name) for name in arrays}
    for name, path in paths.items():
        same = [other for other, its in paths.items() if its == path]
        if len(same) > 1:
            raise DataError(f"{' and '.join(same)} would be one file, {path.name}", tensor=name)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, path in paths.items():
            try:
                data = np.ascontiguousarray(arrays[name], "<f4").reshape(np.shape(arrays[name]))
            except (TypeError, ValueError) as problem:
                raise DataError(f"cannot be converted to float32: {problem}", tensor=name) from None
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, data)
    except OSError as problem:
        raise DataError(f"cannot write to {folder}: {problem.strerror}") from None
    return list(paths.values())


def read_files(paths: Sequence[str | Path]) -> dict[str, NDArray[Any]]:
    """Arrays by their files' names without ``.npy``.

    Raises:
        DataError: A file is not an .npy file, or two have one name.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for path in map(Path, paths):
        name = path.name.removesuffix(".npy")
        if name in arrays:
            raise DataError(f"two files of this name, the second is {path}", tensor=name)
        try:
            arrays[name] = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as problem:
            raise DataError(f"cannot read {path} as .npy: {problem}") from None
    return arrays
