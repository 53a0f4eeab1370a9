"""Operations of a unit with what is expected of them, as arrays; they travel to a cocotb process as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.uint32]  # a value a row, its words little-endian


@dataclass
class Vectors:
    """Operations and what is expected of them.

    Attributes:
        inputs: by port, uint32 (n, words).
        outputs: likewise.
        held: ports that keep one value.
    """

    inputs: dict[str, Rows]
    outputs: dict[str, Rows]
    held: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def take(self, chosen: NDArray[np.intp]) -> Vectors:
        """Some of the operations."""
        inputs, outputs = (
            {p: column[chosen] for p, column in side.items()} for side in (self.inputs, self.outputs)
        )
        return Vectors(inputs, outputs, self.held)


@dataclass(frozen=True)
class Ports:
    """Widths in bits, in one order throughout."""

    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    held: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Operations at one pace.

    Attributes:
        vectors: the operations.
        busy_in: how often the producer offers one.
        busy_out: how often the consumer takes one.
    """

    vectors: Vectors
    busy_in: float = 1.0
    busy_out: float = 1.0


def save(batches: Sequence[Batch], path: Path) -> None:
    """Write a file for `load`."""
    arrays = {
        f"{number} {side} {port}": column
        for number, batch in enumerate(batches)
        for side, columns in (("inputs", batch.vectors.inputs), ("outputs", batch.vectors.outputs))
        for port, column in columns.items()
    }
    about = [[batch.busy_in, batch.busy_out, batch.vectors.held] for batch in batches]
    np.savez(path, about=np.array(json.dumps(about)), **arrays)


def load(path: Path) -> list[Batch]:
    """The batches of a file."""
    with np.load(path) as file:
        batches = [Batch(Vectors({}, {}, held), *paces) for *paces, held in json.loads(str(file["about"]))]
        for name in file.files:
            if name != "about":
                number, side, port = name.split()
                getattr(batches[int(number)].vectors, side)[port] = file[name]
    return batches


def words(bits: int) -> int:
    return -(-bits // 32)


def integers(column: Rows) -> list[int]:
    """Rows of words as integers."""
    return [int.from_bytes(row.tobytes(), "little") for row in np.ascontiguousarray(column)]


def int_words(value: int, bits: int) -> Rows:
    """Words of an integer."""
    return np.frombuffer(value.to_bytes(4 * words(bits), "little"), np.uint32)


def differences(given: Vectors, found: Mapping[str, Rows]) -> str:
    """Empty, or how many operations differ and the first of them."""
    wrong = np.zeros(len(given), np.bool_)
    for port, expected in given.outputs.items():
        wrong |= (found[port] != expected.reshape(found[port].shape)).any(axis=1)
    rows = np.flatnonzero(wrong)
    if not rows.size:
        return ""
    i = int(rows[0])

    def text(fields: Mapping[str, Rows]) -> str:
        return ", ".join(f"{port} {integers(column[i : i + 1])[0]:#x}" for port, column in fields.items())

    sides = f"first {text(given.inputs)}; found {text(found)}; expected {text(given.outputs)}"
    return f"{rows.size} of {len(given)} differ; {sides}"
