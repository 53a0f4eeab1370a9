"""Tensors of a safetensors file: eight bytes of length, a JSON table, the data."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError

TYPES: dict[str, type[np.generic]] = {
    "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "U8": np.uint8, "I8": np.int8,
    "BOOL": np.bool_, "F64": np.float64,
}  # fmt: skip


def tensors(data: bytes, source: str) -> dict[str, NDArray[Any]]:
    """All tensors, as views of the file's bytes.

    Args:
        data: The file.
        source: Its name, for errors.

    Raises:
        DataError: It is no such file, is cut off, or holds a type that NumPy does not have; names it.
    """
    try:
        size = int.from_bytes(data[:8], "little")
        if len(data) < 8 + size:
            raise ValueError("it is cut off")
        table = json.loads(data[8 : 8 + size])
        table.pop("__metadata__", None)
        return {name: _tensor(data, 8 + size, entry) for name, entry in table.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{source!r} is no safetensors file that can be read: {error}") from None


def _tensor(data: bytes, start: int, entry: dict[str, Any]) -> NDArray[Any]:
    first, last = entry["data_offsets"]
    if not 0 <= first <= last <= len(data) - start:
        raise ValueError("a tensor ends beyond it")
    held = np.dtype(TYPES[entry["dtype"]])
    found = np.frombuffer(data, held, (last - first) // held.itemsize, start + first)
    return found.reshape(entry["shape"])
