"""PyTorch checkpoints without PyTorch: dictionaries of tensors, in both of the formats that torch.save has written.

A checkpoint is a pickle, and a pickle can call anything. The reader resolves exactly the names that a dictionary of
plain tensors consists of and refuses every other one, so a file from anywhere can be read without running its code.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike, NDArray

from potluck.isa.errors import DataError

MAGIC = 0x1950A86A20F9469CFC6C
"""First value of files that torch before 1.6 wrote (torch/serialization.py: MAGIC_NUMBER)."""
STORAGES: dict[str, DTypeLike] = {
    "FloatStorage": np.float32, "DoubleStorage": np.float64, "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16, "LongStorage": np.int64, "IntStorage": np.int32,
    "ShortStorage": np.int16, "CharStorage": np.int8, "ByteStorage": np.uint8, "BoolStorage": np.bool_,
}  # fmt: skip


@dataclass(frozen=True)
class _Kind:
    """What a storage class of torch stands for: the type of its elements."""

    dtype: np.dtype[Any]


@dataclass
class _Storage:
    """One flat array; files of the older format say what it holds after all tensors that look into it."""

    dtype: np.dtype[Any]
    count: int
    data: NDArray[Any] | None = None


@dataclass(frozen=True)
class _View:
    """A tensor: where in a storage its elements lie, distances counted in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, name: str) -> NDArray[Any]:
        data = self.storage.data
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        empty = 0 in self.shape
        if data is None or self.offset < 0 or min(self.strides, default=0) < 0:
            raise DataError("the checkpoint has no data for it", tensor=name)
        if not empty and last >= data.size:
            raise DataError(f"it needs {last + 1} elements of a storage of {data.size}", tensor=name)
        if empty:
            return np.zeros(self.shape, data.dtype)
        steps = [stride * data.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(data[self.offset :], self.shape, steps)
        return np.ascontiguousarray(view).reshape(self.shape)


def _rebuild(storage: _Storage, offset: int, shape: Any, strides: Any, *_: object) -> _View:
    return _View(storage, int(offset), tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):
    """Knows tensors, dictionaries and nothing else."""

    def __init__(self, data: io.BytesIO, storage: Callable[[Any], _Storage]) -> None:
        super().__init__(data, encoding="latin1")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in (("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")):
            return _rebuild
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda view, *_: view
        if module == "torch" and name in STORAGES:
            return _Kind(np.dtype(STORAGES[name]))
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no part of a dictionary of tensors")

    def persistent_load(self, pid: Any) -> _Storage:
        return self._storage(pid)


def state_dict(data: bytes, name: str = "checkpoint") -> dict[str, NDArray[Any]]:
    """Tensors of a checkpoint that `torch.save` wrote from a state dict.

    Args:
        data: The file.
        name: What errors call it.

    Returns:
        Name -> array; bfloat16 as `ml_dtypes.bfloat16`. A dictionary under the only key ``state_dict`` or
        ``model_state_dict`` of a bigger one is found.

    Raises:
        DataError: The file is no checkpoint, is damaged, or holds anything but tensors, numbers and dictionaries.
    """
    try:
        held = _zipped(data) if data[:2] == b"PK" else _legacy(data)
        return {key: view.array(key) for key, view in _tensors(held, name).items()}
    except (pickle.UnpicklingError, zipfile.BadZipFile, KeyError, EOFError, ValueError, TypeError, AttributeError,
            IndexError, struct.error, OverflowError) as error:  # fmt: skip
        raise DataError(f"{name} cannot be read as a PyTorch state dict: {error}") from error


def _tensors(held: Any, name: str) -> dict[str, _View]:
    if isinstance(held, dict):
        inner = [held[key] for key in ("state_dict", "model_state_dict") if isinstance(held.get(key), dict)]
        held = inner[0] if len(inner) == 1 else held
        found = {str(key): value for key, value in held.items() if isinstance(value, _View)}
        if found:
            return found
    raise DataError(f"{name} holds no dictionary of tensors")


def _zipped(data: bytes) -> Any:
    """Since torch 1.6: a zip archive with the pickle ``data.pkl`` and a file per storage."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (index,) = [item for item in archive.namelist() if item.endswith("/data.pkl")]
        root = index.removesuffix("data.pkl")
        if root + "byteorder" in archive.namelist() and archive.read(root + "byteorder") != b"little":
            raise ValueError("its numbers are big-endian")
        storages: dict[str, _Storage] = {}

        def storage(pid: Any) -> _Storage:
            _, kind, key, _, count = pid
            if key not in storages:
                raw = archive.read(f"{root}data/{key}")
                storages[key] = _Storage(kind.dtype, count, np.frombuffer(raw, kind.dtype))
            return storages[key]

        return _Unpickler(io.BytesIO(archive.read(index)), storage).load()


def _legacy(data: bytes) -> Any:
    """Before: five pickles (magic, version, about the system, the object, keys), then the storages in order of keys."""
    file = io.BytesIO(data)
    storages: dict[str, _Storage] = {}

    def storage(pid: Any) -> _Storage:
        _, kind, key, _, count, view = pid
        if view is not None:
            raise pickle.UnpicklingError("it has views of storages")
        return storages.setdefault(key, _Storage(kind.dtype, int(count)))

    def load() -> Any:
        return _Unpickler(file, storage).load()

    if load() != MAGIC:
        raise pickle.UnpicklingError("it does not begin as torch.save's files do")
    _, system = load(), load()
    if isinstance(system, dict) and not system.get("little_endian", True):
        raise ValueError("its numbers are big-endian")
    held = load()
    for key in load():
        item = storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != item.count:
            raise ValueError(f"storage {key} has {count} elements, not {item.count}")
        raw = file.read(count * item.dtype.itemsize)
        if len(raw) != count * item.dtype.itemsize:
            raise EOFError("it is cut off")
        item.data = np.frombuffer(raw, item.dtype)
    return held
