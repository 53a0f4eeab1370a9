"""A set of faulty bits: which, what becomes of each, and whether it stays.

Bits are keyed by where they physically are, not by what a scheme stores there: ``sector << 11 | sort << 8 | bit``, the
sector being the address in DRAM divided by 32. So schemes of one memory share their faults, and ignore those in bits
that they do not use. It is a set: a bit that two events hit is hit once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError

Keys = NDArray[np.uint64]
SECTOR_SHIFT = 11
"""Of a sector's number in a key."""


class Sort(IntEnum):
    """What a bit of a sector is: a cell of its 32 bytes, of its check bits outside or inside the device, or of the
    controller's range table (whose "sectors" are words of 64 bits and their 8 check bits); or a bit on its way from the
    device's decoder to the controller, through TSVs, microbumps and pins."""

    DATA = 0
    SIDEBAND = 1
    ON_DIE = 2
    METADATA = 3
    DATA_PINS = 4
    SIDEBAND_PINS = 5


CELLS = (Sort.DATA, Sort.SIDEBAND, Sort.ON_DIE, Sort.METADATA)
"""What holds its bit until it is written; a fault of the others is met by whatever is read."""
PINS = {Sort.DATA: Sort.DATA_PINS, Sort.SIDEBAND: Sort.SIDEBAND_PINS}
"""How a cell's bit leaves the device; on-die check bits do not."""
SORT_NAMES = {
    Sort.DATA: "data", Sort.SIDEBAND: "sideband", Sort.ON_DIE: "on-die", Sort.METADATA: "metadata",
    Sort.DATA_PINS: "data-pins", Sort.SIDEBAND_PINS: "sideband-pins",
}  # fmt: skip
SLOTS = {Sort.DATA: 256, Sort.SIDEBAND: 64, Sort.ON_DIE: 64, Sort.METADATA: 128}
"""Numbers that bits of a sort have per sector in a model's row of items, whether the kind has so many or not."""


class Action(IntEnum):
    """What becomes of a bit. A loss of charge sets; whether it shows depends on what was stored."""

    FLIP = 0
    SET0 = 1
    SET1 = 2


def keys_of(sector: NDArray[Any] | int, sort: Sort, bit: NDArray[Any] | int) -> Keys:
    """Keys of bits."""
    sectors, bits = np.asarray(sector, np.uint64), np.asarray(bit, np.uint64)
    return np.atleast_1d(sectors << np.uint64(SECTOR_SHIFT) | np.uint64(sort << 8) | bits)


def keys_of_items(items: NDArray[np.int64], sort: Sort) -> Keys:
    """Keys of item numbers ``sector * SLOTS[sort] + bit``."""
    slots = SLOTS[sort]
    return keys_of(items // slots, sort, items % slots)


@dataclass(frozen=True, eq=False)
class FaultSet:
    """Faulty bits.

    Attributes:
        keys: uint64 (n,), ascending, each once.
        actions: uint8 (n,), an `Action` each.
        permanent: bool (n,): a stuck cell comes back with every write; anything else is gone with one.
    """

    keys: Keys
    actions: NDArray[np.uint8]
    permanent: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if not len(self.keys) == len(self.actions) == len(self.permanent):
            raise DataError("a fault set's arrays differ in length")
        if (self.keys[1:] <= self.keys[:-1]).any():
            raise DataError("a fault set's keys are not ascending, or a bit is there twice")

    def __len__(self) -> int:
        return len(self.keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FaultSet) and (
            np.array_equal(self.keys, other.keys)
            and np.array_equal(self.actions, other.actions)
            and np.array_equal(self.permanent, other.permanent)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def sectors(self) -> NDArray[np.int64]:
        """Sector of each bit."""
        return (self.keys >> np.uint64(SECTOR_SHIFT)).astype(np.int64)

    @property
    def sorts(self) -> NDArray[np.int64]:
        """`Sort` of each bit."""
        return ((self.keys >> np.uint64(8)) & np.uint64(7)).astype(np.int64)

    @property
    def bits(self) -> NDArray[np.int64]:
        """Number of each bit in its sector."""
        return (self.keys & np.uint64(255)).astype(np.int64)

    @property
    def in_cells(self) -> NDArray[np.bool_]:
        """Which bits are cells."""
        return np.isin(self.sorts, CELLS)

    def counted_from(self, sector: int) -> FaultSet:
        """The same with sectors counted from this one."""
        return replace(self, keys=self.keys - np.uint64(sector << SECTOR_SHIFT))

    def between(self, first: NDArray[np.int64], end: NDArray[np.int64]) -> Iterator[tuple[int, FaultSet]]:
        """Of ranges of sectors that have some: their number, and the bits, counted from the first sector."""
        shift = np.uint64(SECTOR_SHIFT)
        low, high = (np.searchsorted(self.keys, edge.astype(np.uint64) << shift) for edge in (first, end))
        for number in np.flatnonzero(low < high).tolist():
            mine = slice(low[number], high[number])
            found = FaultSet(self.keys[mine], self.actions[mine], self.permanent[mine])
            yield number, found.counted_from(int(first[number]))

    def where(self, chosen: NDArray[np.bool_]) -> FaultSet:
        """Some of the bits."""
        return FaultSet(self.keys[chosen], self.actions[chosen], self.permanent[chosen])


def fault_set(
    keys: Keys, actions: NDArray[Any] | Action = Action.FLIP, permanent: NDArray[np.bool_] | bool = False
) -> FaultSet:
    """A set of keys in any order, possibly repeated.

    Of the faults of one bit a permanent one counts before a transient one, a set before a flip, SET1 before SET0.
    """
    actions = np.broadcast_to(np.asarray(actions, np.uint8), keys.shape)
    kept = np.broadcast_to(np.asarray(permanent, np.bool_), keys.shape)
    order = np.lexsort((-actions.astype(np.int8), ~kept, keys))
    keys = keys[order].astype(np.uint64)
    first = np.ones(len(keys), np.bool_)
    first[1:] = keys[1:] != keys[:-1]
    return FaultSet(keys[first], actions[order][first], kept[order][first])


def nothing() -> FaultSet:
    """The empty set."""
    return fault_set(np.zeros(0, np.uint64))


def union(sets: Iterable[FaultSet]) -> FaultSet:
    """All bits of several sets."""
    parts = list(sets) or [nothing()]
    return fault_set(
        np.concatenate([s.keys for s in parts]),
        np.concatenate([s.actions for s in parts]),
        np.concatenate([s.permanent for s in parts]),
    )


def touch(words: NDArray[np.uint64], rows: NDArray[np.int64], bits: NDArray[np.int64],
          actions: NDArray[np.uint8]) -> None:  # fmt: skip
    """Carry out faults on rows of words in place: bit ``b`` is bit ``b & 63`` of word ``b >> 6``."""
    column, mask = bits >> 6, np.uint64(1) << (bits & 63).astype(np.uint64)
    for action, ufunc, operand in (
        (Action.FLIP, np.bitwise_xor, mask), (Action.SET0, np.bitwise_and, ~mask),
        (Action.SET1, np.bitwise_or, mask),
    ):  # fmt: skip
        at = actions == action
        ufunc.at(words, (rows[at], column[at]), operand[at])
