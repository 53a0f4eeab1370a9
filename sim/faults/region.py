"""The part of DRAM that a campaign looks at: sectors, and what bits the kind of DRAM stores for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.sim.dram.kind import SECTOR
from potluck.sim.dram.mapping import Mapping
from potluck.sim.faults.faultset import CELLS, SLOTS, Keys, Sort, keys_of, keys_of_items


@dataclass(frozen=True)
class Region:
    """Sectors of 32 bytes.

    Attributes:
        mapping: of the DRAM.
        ranges: first sector and number of sectors of each stretch, ascending, apart from each other.
        metadata: words of the controller's range table.
    """

    mapping: Mapping
    ranges: tuple[tuple[int, int], ...]
    metadata: int = 0

    def __post_init__(self) -> None:
        limit = self.mapping.bytes // SECTOR
        for first, count in self.ranges:
            if first < 0 or count < 0 or first + count > limit:
                raise DataError(
                    f"offsets {first * SECTOR:#x} to {(first + count) * SECTOR:#x} do not lie in "
                    f"{self.mapping.channels} channels of {self.mapping.kind.key} ({self.mapping.bytes:#x} bytes)"
                )

    @property
    def count(self) -> int:
        """Sectors in all."""
        return sum(count for _, count in self.ranges)

    @cached_property
    def sectors(self) -> NDArray[np.int64]:
        """Their numbers, ascending."""
        return np.concatenate([np.zeros(0, np.int64), *(np.arange(a, a + n) for a, n in self.ranges)])

    def bits(self, sort: Sort) -> int:
        """Bits of a sort that a sector (of metadata: a word of the range table) has."""
        o = self.mapping.kind.organization
        return {Sort.DATA: 8 * SECTOR, Sort.SIDEBAND: o.sideband_bits, Sort.ON_DIE: o.on_die_bits, Sort.METADATA: 72,
                Sort.DATA_PINS: 8 * SECTOR, Sort.SIDEBAND_PINS: o.sideband_bits}[sort]  # fmt: skip

    def stretches(self, sort: Sort) -> tuple[tuple[int, int], ...]:
        """Ranges of the sectors of a sort."""
        if not self.bits(sort):
            return ()
        return ((0, self.metadata),) if sort is Sort.METADATA else self.ranges

    def keys(self, items: NDArray[np.int64], sort: Sort) -> Keys:
        """Keys of items of a sort, less those that the kind does not have."""
        return keys_of_items(items[items % SLOTS[sort] < self.bits(sort)], sort)

    def every_key(self, sort: Sort) -> Keys:
        """Keys of all bits of a sort."""
        sectors = np.concatenate(
            [np.zeros(0, np.int64), *(np.arange(a, a + n) for a, n in self.stretches(sort))]
        )
        return keys_of(sectors[:, None], sort, np.arange(self.bits(sort))[None]).ravel()

    @property
    def stored_bits(self) -> int:
        """Of all cells."""
        return sum(sum(n for _, n in self.stretches(sort)) * self.bits(sort) for sort in CELLS)


def region_of(mapping: Mapping, spans: Iterable[tuple[int, int]], metadata: int = 0) -> Region:
    """The sectors that byte ranges touch.

    Args:
        mapping: of the DRAM.
        spans: offset from the start of DRAM and length of each range, in any order.
        metadata: words of the range table.

    Raises:
        DataError: a range is outside DRAM.
    """
    touched = sorted((a // SECTOR, -(-(a + n) // SECTOR)) for a, n in spans if n)
    joined: list[list[int]] = []
    for first, end in touched:
        if joined and first <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([first, end])
    return Region(mapping, tuple((first, end - first) for first, end in joined), metadata)
