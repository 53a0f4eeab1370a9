"""Text of many lines, each made of fixed pieces and two numbers, written by one compiled loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.sim.cache import configure_numba

configure_numba()

DIGITS = 20
NONE = -1  # no number at this place


class Pieces:
    """The distinct pieces of text, by number."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {"": 0}

    def __call__(self, text: str) -> int:
        """The number of a piece."""
        return self._number.setdefault(text, len(self._number))

    def packed(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """All pieces' bytes, and where each begins, with the end of the last."""
        data = [text.encode() for text in self._number]
        starts = np.cumsum([0, *map(len, data)], dtype=np.int64)
        return np.frombuffer(b"".join(data) or b"\0", np.uint8), starts


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines as columns: piece, number, piece, number, piece; the numbers of pieces, and numbers or ``NONE``."""

    first: NDArray[np.int32]
    a: NDArray[np.int64]
    middle: NDArray[np.int32]
    b: NDArray[np.int64]
    last: NDArray[np.int32]

    @staticmethod
    def of(size: int, first: Any, a: Any, middle: Any = 0, b: Any = NONE, last: Any = 0) -> Lines:
        """Columns of ``size`` lines from arrays and single values."""
        kinds = (np.int32, np.int64, np.int32, np.int64, np.int32)
        columns = zip((first, a, middle, b, last), kinds, strict=True)
        return Lines(*(np.broadcast_to(np.asarray(column, kind), (size,)) for column, kind in columns))

    def columns(self) -> tuple[NDArray[Any], ...]:
        """All of them, in order."""
        return self.first, self.a, self.middle, self.b, self.last

    def __getitem__(self, index: Any) -> Lines:
        """Some of the lines."""
        return Lines(*(column[index] for column in self.columns()))


class Writer:
    """Writes lines made of ``pieces``, of which there will be no more; ``clock``: the two of an additional line."""

    def __init__(self, pieces: Pieces, *clock: str) -> None:
        self._clock = np.array([pieces(text) for text in clock], np.int32)
        self._data, self._starts = pieces.packed()
        self._out = np.empty(0, np.uint8)

    def __call__(self, lines: Lines, steps: NDArray[np.int64] | None = None) -> memoryview:
        """The bytes, valid until the next call; before a line whose step is not 0, a line with the step."""
        steps = np.zeros(0, np.int64) if steps is None else steps
        columns = [np.ascontiguousarray(column) for column in lines.columns()]
        lengths = np.diff(self._starts)
        size = sum(int(lengths[column].sum()) for column in columns[::2]) + 2 * DIGITS * columns[0].size
        size += int(lengths[self._clock].sum() + DIGITS) * steps.size
        if size > self._out.size:
            self._out = np.empty(size + size // 4, np.uint8)
        return self._out[: _write(self._data, self._starts, *columns, steps, self._clock, self._out)].data


@numba.njit(nogil=True, cache=True)
def _piece(data: NDArray[Any], start: int, end: int, out: NDArray[Any], at: int) -> Any:
    for k in range(start, end):
        out[at] = data[k]
        at += 1
    return at


@numba.njit(nogil=True, cache=True)
def _number(value: int, out: NDArray[Any], at: int) -> Any:
    if value < 0:
        return at
    rest, ten, digits = np.uint64(value), np.uint64(10), 1
    while rest >= ten:
        digits, rest = digits + 1, rest // ten
    rest = np.uint64(value)
    for k in range(at + digits - 1, at - 1, -1):
        out[k] = np.uint64(48) + rest % ten
        rest //= ten
    return at + digits


@numba.njit(nogil=True, cache=True)
def _write(
    data: NDArray[Any], starts: NDArray[Any], first: NDArray[Any], a: NDArray[Any], middle: NDArray[Any],
    b: NDArray[Any], last: NDArray[Any], steps: NDArray[Any], clock: NDArray[Any], out: NDArray[Any],
) -> Any:  # fmt: skip
    """Bytes written."""
    at = 0
    for n in range(first.size):
        if steps.size > 0 and steps[n] > 0:
            at = _piece(data, starts[clock[0]], starts[clock[0] + 1], out, at)
            at = _number(steps[n], out, at)
            at = _piece(data, starts[clock[1]], starts[clock[1] + 1], out, at)
        at = _piece(data, starts[first[n]], starts[first[n] + 1], out, at)
        at = _number(a[n], out, at)
        at = _piece(data, starts[middle[n]], starts[middle[n] + 1], out, at)
        at = _number(b[n], out, at)
        at = _piece(data, starts[last[n]], starts[last[n] + 1], out, at)
    return at


__all__ = ["NONE", "Lines", "Pieces", "Writer"]
