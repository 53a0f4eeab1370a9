"""Instruction words for decoder tests: every row with random operands, rows with a bit flipped, random words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from potluck.isa.table import TABLE


def make_words(each: int, flipped: int, random: int, seed: int) -> NDArray[np.uint32]:
    """``each`` and ``flipped`` words a row and ``random`` words, in this order."""
    generator = np.random.Generator(np.random.Philox(seed))
    match, mask = np.array(
        [(insn.match, insn.mask) for insn in TABLE.values() if insn.length == 4], np.uint32
    ).T

    def rows(count: int) -> NDArray[np.uint32]:
        bits = generator.integers(0, 1 << 32, (match.size, count), np.uint32)
        return ((bits & ~mask[:, None]) | match[:, None]).ravel()

    near = rows(flipped)
    near ^= np.uint32(1) << generator.integers(0, 32, near.size, np.uint32)
    return np.concatenate([rows(each), near, generator.integers(0, 1 << 32, random, np.uint32)])
