"""Inputs and labels from .npz files, cut into parts that have no sample in common."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.isa.errors import DataError

LABELS = ("labels", "label", "targets", "y")
"""Keys under which files keep labels."""
CALIBRATION = 100
"""Samples that fix ranges, if a tenth of the data are more."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs of a network, the first axis counting samples.

    Attributes:
        inputs: Input name -> array.
        labels: One per sample (or per sample and position), or None.
    """

    inputs: Mapping[str, NDArray[Any]]
    labels: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values()), ()))

    def part(self, which: slice | NDArray[np.int64]) -> Samples:
        """Some of the samples."""
        labels = None if self.labels is None else self.labels[which]
        return Samples({name: array[which] for name, array in self.inputs.items()}, labels)

    @property
    def hashes(self) -> list[bytes]:
        """One per sample, of its inputs."""
        made = [hashlib.sha256() for _ in range(len(self))]
        for name in sorted(self.inputs):
            for digest, row in zip(made, self.inputs[name], strict=True):
                digest.update(np.ascontiguousarray(row).tobytes())
        return [digest.digest() for digest in made]

    @property
    def sha256(self) -> str:
        """Of all samples in order."""
        return hashlib.sha256(b"".join(self.hashes)).hexdigest()


def read(path: str | Path, inputs: Sequence[ir.Value]) -> Samples:
    """Samples for a network from an .npz file.

    Arrays are found by the names of the inputs; a network of one input also takes the only array that is not labels.
    Labels are integers, or one-hot rows.

    Args:
        path: The file.
        inputs: The network's inputs.

    Raises:
        DataError: The file cannot be read, an input is missing, or numbers of samples differ.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = dict(data)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path} as .npz: {error}") from None
    return from_arrays(arrays, inputs)


def from_arrays(arrays: Mapping[str, NDArray[Any]], inputs: Sequence[ir.Value]) -> Samples:
    """As `read`, from what the file held."""
    names = [value.name or "" for value in inputs]
    key = next((key for key in LABELS if key in arrays and key not in names), None)
    found = {name: arrays[name] for name in names if name in arrays}
    rest = [name for name in arrays if name != key and arrays[name].ndim > 1]
    if len(names) == 1 and not found and len(rest) == 1:
        found = {names[0]: arrays[rest[0]]}
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"the data have no array for it, only {sorted(arrays)}", tensor=missing[0])
    made = {value.name or "": _typed(value, found[value.name or ""]) for value in inputs}
    labels = None
    if key is not None:
        given = arrays[key]
        one_hot = given.ndim == 2 and given.shape[1] > 1 and bool(np.all(np.sort(given, 1)[:, -1] == 1))
        one_hot = one_hot and bool(np.all(given.sum(1) == 1))
        labels = (given.argmax(1) if one_hot else given).astype(np.int64)
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        made["labels"] = labels
    counts = {name: len(array) for name, array in made.items()}
    if len(set(counts.values())) > 1 or not min(counts.values()):
        raise DataError(f"the arrays have different numbers of samples, or none: {counts}")
    made.pop("labels", None) if key is not None and "labels" not in names else None
    return Samples({name: made[name] for name in names}, labels)


def _typed(value: ir.Value, array: NDArray[Any]) -> NDArray[Any]:
    name, dtype = value.name or "", value.dtype
    wanted = np.dtype(np.float32 if dtype is None else dtype.numpy())
    if array.dtype.kind not in "fiub":
        raise DataError(f"it is {array.dtype}, not numbers", tensor=name)
    made = np.ascontiguousarray(array, wanted)
    if made.dtype.kind == "f" and not np.all(np.isfinite(made)):
        raise DataError("it holds NaN or infinity", tensor=name)
    shape = value.shape
    if shape is not None:
        dims = [dim if isinstance(dim, int) else None for dim in shape]
        same = len(dims) == made.ndim and all(
            a in (None, b) for a, b in zip(dims[1:], made.shape[1:], strict=True)
        )
        if not same:
            wanted_shape = ["n", *("?" if dim is None else dim for dim in dims[1:])]
            raise DataError(f"the data have the shape {list(made.shape)}, not {wanted_shape}", tensor=name)
    return made


def split(data: Samples, given: Samples | None, parts: Sequence[float]) -> tuple[Samples, list[Samples]]:
    """Calibration samples, and the rest in parts; no sample occurs twice.

    Args:
        data: All samples.
        given: Calibration samples from elsewhere; None takes the first of the data.
        parts: Shares of the rest, of sum 1.

    Raises:
        DataError: Calibration samples occur in the data, or a part would be empty.
    """
    hashes = data.hashes
    if given is not None:
        common = set(given.hashes) & set(hashes)
        if common:
            raise DataError(
                f"{len(common)} calibration samples are also in the data to measure on",
                hint="Calibrate on samples of their own",
            )
        calibration, first = given, 0
    else:
        first = max(1, min(CALIBRATION, len(data) // 10))
        calibration = data.part(slice(0, first))
    seen, kept = set(hashes[:first]), []
    for index in range(first, len(data)):
        if hashes[index] not in seen:
            kept.append(index)
            seen.add(hashes[index])
    bounds = np.rint(np.cumsum([0.0, *parts]) * len(kept)).astype(int)
    made = [data.part(np.array(kept[a:b], np.int64)) for a, b in pairwise(bounds)]
    if not all(len(part) for part in made):
        raise DataError(
            f"{len(data)} samples are too few to calibrate on and to measure on {len(parts)} parts"
        )
    return calibration, made
