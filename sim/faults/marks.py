"""Independent marks on items, at a cost of the few that are small.

Every item (a bit, a word, a block) of an unlimited row has a mark of its own, uniform in [0, 1), a function of (seed,
trial, stream, item) alone. An item is struck at rate p if its mark is below p, so strikes at a smaller rate are among
those at a larger one, and any stretch of the row can be asked for alone. Marks are drawn in ascending order per chunk
of items (order statistics: with n items left above mark u, the next is u + (1 - u)(1 - V^(1/n)); its place is uniform
among them), so a call costs the chunks and the strikes, not the items.
"""

from __future__ import annotations

from math import expm1, log1p
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.sim.cache import configure_numba
from potluck.sim.faults.philox import UNIT, philox

configure_numba()
CHUNK_BITS = 16
CHUNK = 1 << CHUNK_BITS


@numba.njit(cache=True, nogil=True)
def _strike(first: int, last: int, rate: float, stream: Any, k0: Any, k1: Any,
            items: NDArray[np.int64], marks: NDArray[np.float64]) -> int:  # fmt: skip
    """Fill `items` and `marks` from chunks first .. last; returns the number found, which may exceed the room."""
    found = 0
    seen = np.zeros(CHUNK, np.bool_)
    mine = np.zeros(CHUNK, np.int64)
    for chunk in range(first, last + 1):
        mark, count, step = 0.0, 0, np.uint64(0)
        while count < CHUNK:
            a, b, c, d = philox(step, np.uint64(chunk), stream, np.uint64(0), k0, k1)
            step += np.uint64(1)
            mark += (1.0 - mark) * -expm1(log1p(-float(a >> np.uint64(11)) * UNIT) / (CHUNK - count))
            if mark >= rate:
                break
            tries = 0
            place = np.int64(b & np.uint64(CHUNK - 1))
            while seen[place]:
                tries += 1
                if tries % 12 == 0:
                    _, b, c, d = philox(step, np.uint64(chunk), stream, np.uint64(1), k0, k1)
                    step += np.uint64(1)
                word = b if tries % 12 < 4 else c if tries % 12 < 8 else d
                place = np.int64((word >> np.uint64(16 * (tries % 4))) & np.uint64(CHUNK - 1))
            seen[place] = True
            mine[count] = place
            count += 1
            if found < items.size:
                items[found], marks[found] = chunk * CHUNK + place, mark
            found += 1
        for k in range(count):
            seen[mine[k]] = False
    return found


def struck(
    key: tuple[int, int], stream: np.uint64, first: int, count: int, rate: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Items of ``first .. first + count - 1`` whose mark is below the rate.

    Args:
        key: seed and trial.
        stream: of the model.
        first: item number.
        count: items.
        rate: probability of each item.

    Returns:
        Item numbers int64 (n,), ascending, and their marks float64 (n,).

    Raises:
        DataError: the rate is no probability.
    """
    if not 0.0 <= rate <= 1.0:
        raise DataError(f"{rate} is no probability", hint="Rates are per bit (or event and block) and trial")
    if count <= 0 or rate == 0.0:
        return np.zeros(0, np.int64), np.zeros(0)
    chunks = first >> CHUNK_BITS, (first + count - 1) >> CHUNK_BITS
    mean = rate * CHUNK * (chunks[1] - chunks[0] + 1)
    room = int(mean + 8 * mean**0.5 + 64)
    k0, k1 = (np.uint64(k & 0xFFFFFFFFFFFFFFFF) for k in key)
    while True:
        items, marks = np.empty(room, np.int64), np.empty(room)
        found = _strike(*chunks, rate, stream, k0, k1, items, marks)
        if found <= room:
            break
        room = found
    inside = (items[:found] >= first) & (items[:found] < first + count)
    items, marks = items[:found][inside], marks[:found][inside]
    order = np.argsort(items)
    return items[order], marks[order]
