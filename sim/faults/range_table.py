"""The controller's range table: an entry per tensor, in SRAM under a Hsiao code of its own, itself faultable.

An entry holds what RangeGuard needs to know of a tensor. By exponent: the largest exponent and the first exponent of
each bin but the lowest; a bin's representative is its first exponent, the lowest bin's two below the next one's (a
table for which that is not so keeps its representatives, too). By code: an RID and a bit "the tensor never holds this"
for each code, and the representatives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from potluck.sim.ecc.hsiao import hsiao
from potluck.sim.ecc.interface import Status, Words
from potluck.sim.ecc.rangeguard.ranges import RangeTable
from potluck.sim.faults.faultset import FaultSet, touch

WORD = 64
SRAM_UM2_PER_BIT = 0.127 / 0.7
"""28 nm, 6T high-density cell of 0.127 um^2 at 70 % array efficiency [from memory of the literature, not checked]."""


def entry_bits(table: RangeTable) -> NDArray[np.uint8]:
    """A table as it is kept: bits, least significant first."""
    if table.keep:
        bounds, largest = _bounds(table)
        fields = [largest, *bounds]
        if not _lawful(table, bounds):
            fields += (table.representative[: len(bounds) + 1] >> np.uint32(table.shift)).tolist()
        return _spread(np.array(fields), _exponent_bits(table))
    rid_bits = np.concatenate([_spread(table.rid, table.rid_bits), table.violates.astype(np.uint8)])
    return np.concatenate([rid_bits, _spread(table.representative, table.width)])


def from_bits(bits: NDArray[np.uint8], like: RangeTable) -> RangeTable:
    """The table that an entry says, possibly with faults.

    Args:
        bits: as `entry_bits` makes them.
        like: the table of the entry's format and scheme.
    """
    if like.keep:
        width = _exponent_bits(like)
        count = len(_bounds(like)[0])
        largest, *rest = _gather(bits, width).tolist()
        bounds, given = rest[:count], rest[count:]
        exponents = np.arange(len(like.rid)) & ((1 << width) - 1)
        # The hardware compares with every bound and counts: no order is needed.
        rid = (exponents[:, None] >= np.array(bounds)).sum(axis=1).astype(np.uint8)
        violates = exponents > largest if like.violates.any() else like.violates
        codes = like.representative.copy()
        codes[: count + 1] = _representatives(like, bounds) if not given else np.array(given) << like.shift
        return replace(like, rid=rid, violates=violates, representative=codes)
    n = len(like.rid)
    rid = _gather(bits[: n * like.rid_bits], like.rid_bits).astype(np.uint8)
    violates = bits[n * like.rid_bits :][:n].astype(np.bool_)
    codes = _gather(bits[n * like.rid_bits + n :], like.width).astype(np.uint32)
    return replace(like, rid=rid, violates=violates, representative=codes)


def _exponent_bits(table: RangeTable) -> int:
    return len(table.rid).bit_length() - 2  # rid is by sign and exponent


def _bounds(table: RangeTable) -> tuple[list[int], int]:
    half = table.rid[: len(table.rid) // 2].astype(np.int64)
    bounds = [int(np.searchsorted(half, k)) for k in range(1, int(half.max()) + 1)]
    inside = np.flatnonzero(~table.violates[: len(half)])
    return bounds, int(inside.max()) if inside.size else 0


def _lawful(table: RangeTable, bounds: list[int]) -> bool:
    return np.array_equal(_representatives(table, bounds), table.representative[: len(bounds) + 1])


def _representatives(table: RangeTable, bounds: list[int]) -> NDArray[np.uint32]:
    exponents = np.array([max(0, (bounds or [2])[0] - 2), *bounds], np.uint32)
    return (exponents << np.uint32(table.shift)).astype(np.uint32)


def _spread(values: NDArray[np.generic], width: int) -> NDArray[np.uint8]:
    numbers = values.astype(np.uint64)[:, None]
    return ((numbers >> np.arange(width, dtype=np.uint64)) & np.uint64(1)).astype(np.uint8).ravel()


def _gather(bits: NDArray[np.uint8], width: int) -> NDArray[np.uint64]:
    return (bits.reshape(-1, width).astype(np.uint64) << np.arange(width, dtype=np.uint64)).sum(
        axis=1, dtype=np.uint64
    )


@dataclass(frozen=True, eq=False)
class Lookup:
    """The range table of a program.

    Attributes:
        tables: by part, None where a part has no ranges.
    """

    tables: tuple[RangeTable | None, ...]

    @property
    def entries(self) -> int:
        """Tensors with an entry."""
        return sum(table is not None for table in self.tables)

    @property
    def words(self) -> int:
        """Of 64 bits and 8 check bits."""
        return sum(size for _, size in self.spans)

    @property
    def stored_bits(self) -> int:
        """With check bits."""
        return self.words * (WORD + 8)

    @property
    def area_um2(self) -> float:
        """Of the SRAM, see `SRAM_UM2_PER_BIT`."""
        return self.stored_bits * SRAM_UM2_PER_BIT

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """First word and number of words of each part's entry."""
        found, at = [], 0
        for table in self.tables:
            size = -(-len(entry_bits(table)) // WORD) if table is not None else 0
            found.append((at, size))
            at += size
        return found

    def read(self, part: int, faults: FaultSet) -> tuple[RangeTable, Status]:
        """A part's table as the controller reads it.

        Args:
            part: number.
            faults: in its words, which count as sectors from its first; bits 64 to 71 are check bits.
        """
        table = self.tables[part]
        assert table is not None
        bits = entry_bits(table)
        data = np.zeros(self.spans[part][1] * WORD, np.uint8)
        data[: len(bits)] = bits
        words: Words = np.packbits(data.reshape(-1, WORD), axis=1, bitorder="little").view(np.uint64)
        own = hsiao(WORD, 8)
        stored, checks = (array.copy() for array in own.encode(words))
        for cells, chosen, first in ((stored, faults.bits < WORD, 0), (checks, faults.bits >= WORD, WORD)):
            some = faults.where(chosen)
            touch(cells, some.sectors, some.bits - first, some.actions)
        decoded = own.decode(stored, checks)
        read = np.unpackbits(decoded.data.view(np.uint8).ravel(), bitorder="little")[: len(bits)]
        return from_bits(read, table), Status(int(decoded.status.max()))
