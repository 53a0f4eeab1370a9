"""What samples were used for what: hashes that a file keeps, and the refusal of samples with two purposes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError

Samples = Mapping[str, NDArray[np.generic]]
DIGEST = 16
"""Hexadecimal digits of a sample's hash that are kept: two of a million are equal by chance once in 10^7 sets."""
MOST = 4096
"""Samples whose hashes a file keeps one by one."""


def digests(samples: Samples) -> list[str]:
    """A hash of each sample: of its values in FP32 in every input, by name.

    Raises:
        DataError: The inputs have different numbers of samples.
    """
    arrays = {name: np.asarray(samples[name], np.float32) for name in sorted(samples)}
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"inputs have different numbers of samples: {counts}")
    found = []
    for index in range(max(counts.values(), default=0)):
        state = hashlib.sha256()
        for name, array in arrays.items():
            state.update(f"{name}{array.shape[1:]}".encode())
            state.update(np.ascontiguousarray(array[index], "<f4").tobytes())
        found.append(state.hexdigest()[:DIGEST])
    return found


def fingerprint(samples: Samples) -> dict[str, Any]:
    """Number and hash of a set of samples, and each sample's own for sets that are not large."""
    each = digests(samples)
    whole = hashlib.sha256("".join(sorted(each)).encode()).hexdigest()
    return {"samples": len(each), "sha256": whole, "digests": each if len(each) <= MOST else []}


def check_disjoint(**sets: Samples | None) -> None:
    """Refuses samples that two sets share, e.g. ``check_disjoint(calibration=a, tuning=b, test=c)``.

    Raises:
        DataError: Names both sets and the samples.
    """
    seen = {name: digests(samples) for name, samples in sets.items() if samples}
    names = list(seen)
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            _refuse(one, seen[one], other, seen[other])


def check_unseen(record: str | None, samples: Samples, name: str = "test") -> None:
    """Refuses samples that a quantized network was made with.

    Args:
        record: What the network's metadata ``potluck.ptq`` say, None if nothing.
        samples: To be run.
        name: What the samples are.

    Raises:
        DataError: See `check_disjoint`.
    """
    held = json.loads(record).get("data", {}) if record else {}
    each = digests(samples) if held else []
    for purpose, data in held.items():
        _refuse(purpose, data.get("digests", []), name, each)


def _refuse(one: str, first: list[str], other: str, second: list[str]) -> None:
    common = set(first) & set(second)
    if not common:
        return
    places = [index for index, digest in enumerate(second) if digest in common]
    shown = ", ".join(map(str, places[:5])) + (", ..." if len(places) > 5 else "")
    raise DataError(
        f"{len(places)} of the {len(second)} {other} samples are {one} samples too: numbers {shown}",
        hint=f"Use other samples for {other} than for {one}: results on data that were seen prove nothing",
    )
