"""A program's constants in DRAM under a stack: faults in the cells, decoding, what became of each block.

Trials are cheap: only the sectors that faults hit are encoded, struck and decoded. All others read as they were
written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.sim.dram.kind import SECTOR
from potluck.sim.dram.mapping import Mapping
from potluck.sim.ecc.interface import Decoded, Words
from potluck.sim.ecc.outcomes import Data, classify, data_state
from potluck.sim.ecc.rangeguard.codec import RangeGuard
from potluck.sim.ecc.stack import Access, Link, Policy, Stack, Stored
from potluck.sim.faults.faultset import FaultSet, Sort, keys_of, touch, union
from potluck.sim.faults.parts import Part
from potluck.sim.faults.placement import Placement, place
from potluck.sim.faults.range_table import Lookup
from potluck.sim.faults.recipes import Applied, Recipe, told
from potluck.sim.faults.region import Region, region_of


class Uncorrectable(DataError):
    """A DUE under the policy ``fail``."""


@dataclass(frozen=True, eq=False)
class BlockReads:
    """The sectors of a part that faults touched.

    Attributes:
        part: number.
        rows: sectors of the part, ascending.
        data: (rows, 4) words as read.
        status: uint8 (rows,), the decoder's worst `Status`.
        state: uint8 (rows,), `Data`.
        outcome: uint8 (rows,), `Outcome`.
    """

    part: int
    rows: NDArray[np.int64]
    data: Words
    status: NDArray[np.uint8]
    state: NDArray[np.uint8]
    outcome: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Protected:
    """Parts of a program under a recipe.

    Attributes:
        parts: of the program.
        recipe: the stack.
        mapping: of the DRAM.

    Raises:
        DataError: layers that do not fit each other or the kind, or data in reserved addresses.
    """

    parts: tuple[Part, ...]
    recipe: Recipe
    mapping: Mapping

    def __post_init__(self) -> None:
        assert self.placement and self.applied and self.region  # errors come now, not in the first trial

    @cached_property
    def applied(self) -> tuple[Applied, ...]:
        """The stack of each part."""
        return tuple(self.recipe.apply(part, self.mapping.kind) for part in self.parts)

    @cached_property
    def placement(self) -> Placement:
        """Where the system code's check bits lie."""
        return place(self.recipe, self.mapping)

    @cached_property
    def lookup(self) -> Lookup:
        """The controller's range table; RangeGuard alone has one."""
        return Lookup(tuple(a.table for a in self.applied))

    @cached_property
    def region(self) -> Region:
        """All sectors that hold the parts or their inline check bits, and the range table."""
        spans = [(part.first * SECTOR, part.count * SECTOR) for part in self.parts]
        if self.placement.inline:
            for part in self.parts:
                first = self.placement.check_place(part.first)[0]
                last = self.placement.check_place(part.first + part.count - 1)[0]
                spans.append((first * SECTOR, (last - first + 1) * SECTOR))
        return region_of(self.mapping, spans, self.lookup.words)

    @cached_property
    def _extents(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First sector of each part, and the one after its last."""
        first, count = np.array([(part.first, part.count) for part in self.parts], np.int64).reshape(-1, 2).T
        return first, first + count

    def read(
        self, faults: FaultSet, policy: Policy = "pass", again: FaultSet | None = None
    ) -> list[BlockReads]:
        """What a read of every part gives.

        Args:
            faults: in the cells; bits that the recipe does not use are ignored.
            policy: on DUE.
            again: for policy ``retry``: the faults that are still there at the second read.

        Raises:
            Uncorrectable: a DUE under policy ``fail``; names the tensor and the address.
            DataError: an unknown policy, or ``retry`` without `again`.
        """
        if policy == "retry" and again is None:
            raise DataError("policy retry needs the faults of the second read")
        found = []
        by_part = self.by_part(faults)
        second = self.by_part(again) if again is not None else {}
        for number in sorted(by_part):
            found.append(self._read_part(number, by_part[number], policy, second.get(number)))
        return [one for one in found if len(one.rows)]

    def words(self, reads: list[BlockReads]) -> list[Words]:
        """All sectors of each part as read; a part that nothing changed is `Part.clean` itself."""
        out = [part.clean for part in self.parts]
        for one in reads:
            if (one.state != Data.EXACT).any():
                out[one.part] = out[one.part].copy()
                out[one.part][one.rows] = one.data
        return out

    def by_part(self, faults: FaultSet) -> dict[int, FaultSet]:
        """Faults by part number, sectors counted from the part's start; inline check bits become sideband bits."""
        faults = self._inlined(faults) if self.placement.inline else faults
        if self.recipe.compat_artifact:  # the artifact's check bits never fail
            faults = faults.where(np.isin(faults.sorts, (Sort.DATA, Sort.DATA_PINS)))
        metadata = faults.sorts == Sort.METADATA
        found = {number: [mine] for number, mine in faults.where(~metadata).between(*self._extents)}
        table = faults.where(metadata)
        for number, (first, size) in enumerate(self.lookup.spans if len(table) else ()):
            mine = (table.sectors >= first) & (table.sectors < first + size)
            if mine.any():
                found.setdefault(number, []).append(table.where(mine).counted_from(first))
        return {number: union(sets) if len(sets) > 1 else sets[0] for number, sets in found.items()}

    def _inlined(self, faults: FaultSet) -> FaultSet:
        base, slot = self.placement.data_sectors, self.placement.slot
        faults = faults.where(~np.isin(faults.sorts, (Sort.SIDEBAND, Sort.SIDEBAND_PINS)))
        kept = []
        for data, check in ((Sort.DATA, Sort.SIDEBAND), (Sort.DATA_PINS, Sort.SIDEBAND_PINS)):
            mine = faults.where(faults.sorts == data)
            reserved = mine.sectors >= base
            checks = mine.where(reserved)
            position = (checks.sectors - base) * 256 + checks.bits
            sector, bit = position // slot, position % slot
            moved = replace(checks, keys=keys_of(sector, check, bit))
            kept += [mine.where(~reserved), moved.where(bit < self.placement.check_bits)]
        return union([*kept, faults.where(~np.isin(faults.sorts, (Sort.DATA, Sort.DATA_PINS)))])

    def _read_part(self, number: int, faults: FaultSet, policy: Policy, again: FaultSet | None) -> BlockReads:
        part, applied = self.parts[number], self.applied[number]
        table = faults.where(faults.sorts == Sort.METADATA)
        stack = applied.stack
        cells = faults.where(_used(faults, stack))
        rows = np.unique(cells.sectors)
        if len(table):
            read, _ = self.lookup.read(number, table)
            if not _same(read, applied.table):
                # Every block of the tensor is decoded by a wrong table.
                assert isinstance(stack.system, RangeGuard)
                stack = replace(stack, system=replace(stack.system, table=read))
                rows = np.arange(part.count)
        clean = part.clean[rows]
        if not len(rows):  # the range table's own code corrected it
            none = np.zeros(0, np.uint8)
            return BlockReads(number, rows, clean, none, none, none)
        stored = applied.stack.write(clean)
        struck = strike(stored, applied.stack, rows, cells)

        link = link_of(applied.stack, rows, cells)

        def second(which: NDArray[np.intp]) -> Access:
            fresh = Stored(*(array[which] for array in stored))
            if again is None:
                return Access(fresh)
            left = again.where(np.isin(again.sectors, rows[which]))
            return Access(
                strike(fresh, applied.stack, rows[which], left), link_of(applied.stack, rows[which], left)
            )

        if applied.oracle and policy == "retry":
            raise DataError("policy retry reads some blocks again, of which an oracle knows nothing",
                            hint="Choose another policy, or the real decoder")  # fmt: skip
        if applied.oracle:
            stack = told(stack, clean)
        result = stack.read(struck, policy, second if policy == "retry" else None, link)
        data, status = result.data, result.status
        if result.failed.any():
            sector = part.first + int(rows[np.flatnonzero(result.failed)[0]])
            raise Uncorrectable(
                f"{int(result.failed.sum())} uncorrectable sectors, the first at offset {sector * SECTOR:#x}",
                tensor=part.name, hint="Policy fail stops here; choose pass, null or retry",
            )  # fmt: skip
        seen = Decoded(data, status)
        return BlockReads(number, rows, data, status.max(axis=1), data_state(applied, clean, data),
                          classify(applied, clean, seen))  # fmt: skip


def strike(stored: Stored, stack: Stack, rows: NDArray[np.int64], faults: FaultSet) -> Stored:
    """Cells with faults in them; `stored` stays as it is.

    Args:
        stored: of sectors `rows`.
        stack: how check bits lie in words.
        rows: ascending.
        faults: in these sectors, or in others, which are ignored; bits that the stack does not use are, too.
    """
    cells = Stored(*(array.copy() for array in stored))
    inside = np.isin(faults.sectors, rows)
    faults = faults.where(inside)
    at = np.searchsorted(rows, faults.sectors)
    on_die = stack.on_die.check_bits if stack.on_die else 0
    for sort, words, size in (
        (Sort.DATA, cells.data, 8 * SECTOR), (Sort.SIDEBAND, cells.checks, stack.system.check_bits),
        (Sort.ON_DIE, cells.on_die, on_die),
    ):  # fmt: skip
        _touch_sort(words, faults, at, sort, size)
    return cells


def link_of(stack: Stack, rows: NDArray[np.int64], faults: FaultSet) -> Link | None:
    """What faults of pins do to bits on their way from the devices; None if there are none.

    Args:
        stack: how check bits lie in words.
        rows: of the sectors that are read, ascending.
        faults: in these sectors, or in others, which are ignored.
    """
    faults = faults.where(~faults.in_cells & np.isin(faults.sectors, rows))
    if not len(faults):
        return None
    at = np.searchsorted(rows, faults.sectors)

    def link(data: Words, checks: Words) -> tuple[Words, Words]:
        data, checks = data.copy(), checks.copy()
        _touch_sort(data, faults, at, Sort.DATA_PINS, 8 * SECTOR)
        _touch_sort(checks, faults, at, Sort.SIDEBAND_PINS, stack.system.check_bits)
        return data, checks

    return link


def _touch_sort(words: Words, faults: FaultSet, at: NDArray[np.intp], sort: Sort, size: int) -> None:
    """Carry out the faults of one sort on words of so many bits in all; each word holds an equal share of them."""
    mine = (faults.sorts == sort) & (faults.bits < size)
    if not mine.any():
        return
    bits = faults.bits[mine]
    each = size // words.shape[1]
    touch(words, at[mine], bits // each * 64 + bits % each, faults.actions[mine])


def _used(faults: FaultSet, stack: Stack) -> NDArray[np.bool_]:
    """Which faults are in cells that a stack uses, or hit what these give."""
    on_die = stack.on_die.check_bits if stack.on_die else 0
    checks = stack.system.check_bits
    sizes = np.array([8 * SECTOR, checks, on_die, 0, 8 * SECTOR, checks])
    return np.asarray(faults.bits < sizes[faults.sorts])


def _same(read: object, table: object) -> bool:
    assert read is not None and table is not None
    return all(
        np.array_equal(getattr(read, name), getattr(table, name))
        for name in ("rid", "representative", "violates")
    )


@dataclass(frozen=True)
class BitErrors:
    """Wrong bits of the parts' cells in a trial.

    Attributes:
        raw: in all cells that the recipe uses, and those that faulty pins make wrong.
        after_on_die: in the data and system check bits that reach the controller.
    """

    raw: int
    after_on_die: int


def bit_errors(protected: Protected, faults: FaultSet) -> BitErrors:
    """Count wrong bits before and after on-die correction; a set cell is wrong only if it changes."""
    raw = after = 0
    for number, mine in protected.by_part(faults).items():
        stack = protected.applied[number].stack
        cells = mine.where(_used(mine, stack))
        rows = np.unique(cells.sectors)
        if not len(rows):
            continue
        stored = stack.write(protected.parts[number].clean[rows])
        struck = strike(stored, stack, rows, cells)
        raw += sum(int(np.bitwise_count(a ^ b).sum()) for a, b in zip(stored, struck, strict=True))
        data, checks, _ = stack.after_on_die(struck)
        link = link_of(stack, rows, cells)
        arrived = link(data, checks) if link is not None else (data, checks)
        for left, reached, written in zip((data, checks), arrived, (stored.data, stored.checks), strict=True):
            raw += int(np.bitwise_count(left ^ reached).sum())
            after += int(np.bitwise_count(reached ^ written).sum())
    return BitErrors(raw, after)


def cells_used(protected: Protected) -> tuple[int, int]:
    """Bits that the recipe stores for all parts: in all, and without on-die check bits."""
    every = outer = 0
    for part, applied in zip(protected.parts, protected.applied, strict=True):
        inner = applied.stack.on_die.check_bits if applied.stack.on_die else 0
        outer += part.count * (8 * SECTOR + applied.stack.system.check_bits)
        every += part.count * inner
    return every + outer, outer
