"""How attention of many rows of queries is cut into blocks and tiles, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.lowering.attention import Sizes
from potluck.compiler.lowering.base import SLACK, Target
from potluck.compiler.schedule.layer import Loop
from potluck.compiler.schedule.memory import align
from potluck.kernels.attention import LENGTHS, key_pitch
from potluck.kernels.attention_rows import GRANULE

MOST_ROWS = 16
"""Rows of queries for a group of keys that are taken together."""
WORD = 4
ROWS, HEADS = "rows", "heads"
"""What cores divide."""
HIDDEN = -1e9
"""At most what a causal mask adds where it hides: shares there are zero if scores are within so much of each other."""
OVERHEAD, STRIP, SOFTMAX, SOFTMAX_ROW = 300, 80, 26, 40
"""Cycles: of a tile; of four rows' strip of positions; of a lane's elements of the softmax; of a row's."""


@dataclass(frozen=True)
class BlockSizes:
    """What an attention is about.

    Attributes:
        heads: Matrices of queries.
        share: Neighbouring heads that use the same keys and values.
        rows: Of a head.
        depth: Length of a query.
        width: Of a value.
        positions: Keys of each group, by piece: those of a cache, then new ones.
        masks: Rows of the mask that is read: none, one, or one for each row of a head.
        ahead: Under a causal mask row r sees positions up to r + ahead; None: there is no such mask.
    """

    heads: int
    share: int
    rows: int
    depth: int
    width: int
    positions: tuple[int, ...]
    masks: int = 0
    ahead: int | None = None

    @property
    def length(self) -> int:
        """Positions in all."""
        return sum(self.positions)

    @property
    def pitch(self) -> int:
        """Elements from row to row of the scores: rows begin at whole 64-bit words."""
        return self.length + self.length % 2

    def limit(self, rows: int) -> int:
        """Positions that the first so many rows of a head see."""
        return self.length if self.ahead is None else min(self.length, rows + self.ahead)

    @property
    def macs(self) -> int:
        """Multiply-accumulates that are carried out."""
        whole = self.rows // GRANULE * GRANULE
        seen = sum(GRANULE * self.limit(row + GRANULE) for row in range(0, whole, GRANULE))
        seen += sum(self.limit(row + 1) for row in range(whole, self.rows))
        return self.heads * seen * (self.depth + self.width)


@dataclass(frozen=True)
class Blocks:
    """How the work is cut.

    Attributes:
        rows: Of a block; multiples of `GRANULE`, or all.
        positions: Of a tile.
        split: What cores divide.
    """

    rows: int
    positions: int
    split: str

    def heads(self, harts: int) -> int:
        """At a time."""
        return harts if self.split == HEADS else 1

    def parts(self, s: BlockSizes, harts: int) -> Iterator[int]:
        """Bytes of the buffers of all heads that are computed at a time."""
        for _ in range(self.heads(harts)):
            yield from (WORD * self.rows * size for size in (s.depth, s.pitch, s.width))
            yield from (self.operand(s), self.operand(s))
        if s.masks == 1:
            yield WORD * s.length
        elif s.masks:
            yield from [WORD * self.rows * self.positions] * 2

    def operand(self, s: BlockSizes) -> int:
        """Bytes of the keys or values of a tile."""
        return self.positions * max(key_pitch(s.depth), WORD * s.width)

    def bytes(self, s: BlockSizes, harts: int) -> int:
        """L1 that they take."""
        return sum(align(size) for size in self.parts(s, harts))

    def cycles(self, s: BlockSizes, harts: int, lanes: int) -> float:
        """Estimate: products at the peak of FP32, with what a strip, a tile and the softmax take beside."""
        total = 0.0
        for first, count in Loop("", s.rows, self.rows):
            mine = math.ceil(math.ceil(count / GRANULE) / (1 if self.split == HEADS else harts))
            limit = s.limit(first + count)
            seen = limit if s.ahead is None else (s.limit(first + GRANULE) + limit) / 2
            tiles = math.ceil(limit / self.positions)
            strips = (
                tiles * math.ceil(min(self.positions, limit) / LENGTHS) + math.ceil(s.width / LENGTHS) * tiles
            )
            products = GRANULE * seen * (s.depth + s.width) / (2 * lanes) + strips * STRIP
            softmax = GRANULE * (seen * SOFTMAX / (2 * lanes) + SOFTMAX_ROW)
            total += mine * (products + softmax) + (2 * tiles + 1) * OVERHEAD
        return total * math.ceil(s.heads / self.heads(harts))


def causal(mask: NDArray[Any]) -> int | None:
    """How far ahead of its own number a row sees, if a mask [rows, positions] is causal; otherwise None."""
    if mask.ndim != 2 or not mask.size:
        return None
    rows, positions = mask.shape
    ahead = int((mask[0] == 0).sum()) - 1
    hidden = np.arange(positions) > np.arange(rows)[:, None] + ahead
    if not 0 <= ahead <= positions - rows or not hidden.any():
        return None
    return ahead if bool(np.all(np.where(hidden, mask <= HIDDEN, mask == 0))) else None


def sizes_of(
    queries: tuple[int, int, int],
    depth: int,
    width: int,
    positions: tuple[int, ...],
    masks: int,
    mask: NDArray[Any] | None,
) -> Sizes | BlockSizes:
    """What an attention is about: few rows are taken together, more in blocks.

    Args:
        queries: Groups, heads of a group, rows of a head.
        depth: Length of a query.
        width: Of a value.
        positions: Keys of each group, by piece.
        masks: Rows of the mask, which repeat; 0: none.
        mask: It, if it is constant.
    """
    groups, share, rows = queries
    if share * rows <= MOST_ROWS:
        return Sizes(groups, share * rows, depth, width, positions, masks)
    ahead = None if mask is None or masks != rows else causal(mask.reshape(masks, -1))
    if ahead is not None:
        return BlockSizes(groups * share, share, rows, depth, width, positions, ahead=ahead)
    if masks > 1:
        return BlockSizes(groups * share, share, rows, depth, width, positions, masks)
    return BlockSizes(groups, 1, share * rows, depth, width, positions, masks)


def fits(sizes: Sizes | BlockSizes, target: Target) -> bool:
    """Whether a plan takes an attention: whole rows of scores, and some keys, fit L1."""
    if isinstance(sizes, Sizes):
        return sizes.tiling(target.l1().size - SLACK) is not None
    return cut(sizes, target) is not None


def cut(s: BlockSizes, target: Target) -> Blocks | None:
    """The blocks that take the fewest cycles; None if nothing fits L1."""
    return _cut(s, target.l1().size - SLACK, target.harts, target.lanes)


@lru_cache(maxsize=1024)
def _cut(s: BlockSizes, room: int, harts: int, lanes: int) -> Blocks | None:
    lengths = {s.length, *range(LENGTHS, s.length, LENGTHS), min(s.length, LENGTHS // 4), 1}
    every: list[Blocks] = []
    for split in (ROWS, HEADS)[: 1 + (1 < harts <= s.heads)]:
        group = GRANULE * (harts if split == ROWS else 1)
        for positions in lengths:
            for step in sorted({group, GRANULE}, reverse=True):
                most = _most_rows(s, positions, split, step, room, harts)
                if most:
                    parts = math.ceil(s.rows / most)
                    even = min(s.rows, math.ceil(math.ceil(s.rows / parts) / step) * step)
                    every.append(Blocks(even, positions, split))
                    break
    return min(every, key=lambda item: (item.cycles(s, harts, lanes), item.positions), default=None)


def _most_rows(s: BlockSizes, positions: int, split: str, step: int, room: int, harts: int) -> int:
    """Rows of a block, 0 if none fit: all, or a multiple of ``step``."""
    if Blocks(s.rows, positions, split).bytes(s, harts) <= room:
        return s.rows
    low, high = 0, s.rows // step
    while low < high:
        middle = (low + high + 1) // 2
        if Blocks(middle * step, positions, split).bytes(s, harts) <= room:
            low = middle
        else:
            high = middle - 1
    return low * step
