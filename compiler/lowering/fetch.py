"""Layers that read, or write, at places that a table names: Gather, Scatter and maps that are no progression.

A table holds byte offsets, known at compile time or computed by an elementwise layer from a network's indices. With L1
the array that is accessed at random lies there if it fits; otherwise the cores access DRAM directly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.lowering.base import SLACK, Source, SourcesPlan, Target, Tensor, share, source_operands
from potluck.compiler.lowering.kernel_tile import KernelTile
from potluck.compiler.schedule.layer import Loop, LoweredOp, Memory, Tile, TileKernel, Transfer
from potluck.compiler.schedule.memory import L1, align
from potluck.kernels.move import Deposit, Fetch, Reduction

ENTRY = 4
"""Bytes of an entry of a table."""
TILES = 8
"""Tiles that a layer is cut into if they are not too small."""
LEAST = 4096
"""Bytes of a tile below which its overhead shows."""


def _table(memory: Memory, address: int, entries: int) -> NDArray[np.uint32]:
    return memory.view(address, ENTRY * entries).copy().view(np.uint32)


class FetchTile(KernelTile[Fetch]):
    """Arguments: source, table, output, entries, outer count, elements of a piece."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        source, table, out, entries, outer, length = args
        if not entries or not outer or not length:
            return
        offsets = _table(memory, table, entries)
        places = self.kernel.places(offsets, outer, length)
        low = int(places.min())
        data = memory.view(source + low, int(places.max()) + 1 - low)[places - low]
        memory.view(out, data.size)[:] = data.reshape(-1)


class DepositTile(KernelTile[Deposit]):
    """Arguments: destination, table, updates, entries, elements of a piece."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        target, table, updates, entries, length = args
        if not entries or not length:
            return
        kernel, size = self.kernel, (1 if self.kernel.single else length) * self.kernel.size
        offsets = _table(memory, table, entries)
        low = int(offsets.min())
        view = memory.view(target + low, int(offsets.max()) + size - low)
        new = memory.view(updates, entries * size).copy().view(kernel.dtype)
        view[:] = kernel.contract(view, offsets - np.uint32(low), new, length)


@dataclass(frozen=True)
class _Part:
    """What a tile does: outer places, entries of the table, elements of each piece, as (first, count)."""

    outer: tuple[int, int]
    entries: tuple[int, int]
    length: tuple[int, int]


def _bytes(source: Source) -> int:
    return source.elements * source.item_bytes if isinstance(source, Tensor) else len(source.data)


@dataclass(eq=False)
class FetchPlan(SourcesPlan):
    """y[o, p, :] = x from element ``o * pitch`` and byte ``table[p]`` on.

    Attributes:
        name: Node.
        op: Operator.
        x: Source.
        table: 32-bit byte offsets.
        y: Output [outer, entries, length].
        outer: Places that read with the same table.
        pitch: Elements of the source between two of them.
        entries: Of the table.
        length: Elements of a piece.
    """

    name: str
    op: str
    x: Source
    table: Source
    y: Tensor
    outer: int
    pitch: int
    entries: int
    length: int

    @property
    def sources(self) -> Sequence[Source]:
        """See `SourcesPlan`."""
        return (self.x, self.table)

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        return _FetchLowering(self, target).result()


class _FetchLowering:
    """Tiles of one `FetchPlan`."""

    def __init__(self, plan: FetchPlan, target: Target) -> None:
        self.plan, self.target, self.l1 = plan, target, target.l1()
        self.item = plan.y.item_bytes
        self.kernel = Fetch(plan.pitch * self.item if plan.outer > 1 else 0, plan.length == 1, self.item)
        free = self.l1.size - SLACK
        self.line = plan.pitch * self.item
        table, source = ENTRY * plan.entries, _bytes(plan.x)
        self.table_stays = not target.flat and table <= free // 4
        self.source_stays = not target.flat and plan.outer == 1 and source <= free // 2
        self.source_comes = not target.flat and plan.outer > 1 and self.line <= free // 8
        fixed = align(table) * self.table_stays + align(source) * self.source_stays
        self.room = (free - fixed) // 2 - 256

    def parts(self) -> Iterator[_Part]:
        """Of every tile."""
        plan = self.plan
        everything = _Part((0, plan.outer), (0, plan.entries), (0, plan.length))
        if self.target.flat:
            yield everything
            return
        piece = plan.length * self.item
        wanted = max(LEAST, -(-plan.y.elements * self.item // TILES))
        per_outer = plan.entries * piece
        both = per_outer + self.line * self.source_comes
        if self.table_stays and both <= self.room:
            count = max(1, min(plan.outer, self.room // both, wanted // max(1, per_outer)))
            for first, some in Loop("outer", plan.outer, count):
                if plan.outer > 1:
                    yield _Part((first, some), everything.entries, everything.length)
            if plan.outer > 1:
                return
        room = self.room - self.line * self.source_comes
        per_entry = piece + ENTRY * (not self.table_stays)
        if per_entry <= room:
            count, length = max(1, min(plan.entries, min(room, wanted) // per_entry)), plan.length
        else:
            count, length = 1, (room - ENTRY) // self.item
        for place in range(plan.outer):
            for entries in Loop("entry", plan.entries, count):
                for elements in Loop("element", plan.length, length):
                    yield _Part((place, 1), entries, elements)

    def result(self) -> LoweredOp:
        """The layer."""
        plan, item, parts = self.plan, self.item, list(self.parts())
        setup = []
        table, source = plan.table.address, plan.x.address
        if self.table_stays:
            table = self.l1.take("table", ENTRY * plan.entries)
            setup.append(Transfer(plan.table.address, table, ENTRY * plan.entries))
        if self.source_stays:
            source = self.l1.take("source", _bytes(plan.x))
            setup.append(Transfer(plan.x.address, source, _bytes(plan.x)))
        copies = 1 + (len(parts) > 1)
        rooms = [self._room(parts) for _ in range(copies)]
        tiles = []
        for index, part in enumerate(parts):
            lines, entries, out = rooms[index % copies]
            loads, stores = [], []
            at_source = source + part.length[0] * item
            if self.source_comes:
                at = part.outer[0] * self.line
                loads.append(Transfer(plan.x.address + at, lines, part.outer[1] * self.line))
                at_source = lines + part.length[0] * item
            elif plan.outer > 1:
                at_source += part.outer[0] * self.line
            at_table = table + ENTRY * part.entries[0]
            if not self.table_stays and not self.target.flat:
                loads.append(Transfer(at_table, entries, ENTRY * part.entries[1]))
                at_table = entries
            first = (part.outer[0] * plan.entries + part.entries[0]) * plan.length + part.length[0]
            size = item * part.outer[1] * part.entries[1] * part.length[1]
            at_out = plan.y.address + item * first
            if not self.target.flat:
                stores.append(Transfer(out, at_out, size))
                at_out = out
            args = tuple(
                self._args(part, at_source, at_table, at_out, hart) for hart in range(self.target.harts)
            )
            tiles.append(Tile(tuple(loads), tuple(stores), args, f"{part}"))
        return LoweredOp(
            plan.name, plan.op, FetchTile(self.kernel),
            (Loop("outer", plan.outer, parts[0].outer[1]), Loop("entry", plan.entries, parts[0].entries[1])),
            tuple(setup), tuple(tiles),
            (*source_operands(plan.x), *source_operands(plan.table, "table"), *plan.y.operands("output")),
            footprint=tuple(self.l1.taken),
        )  # fmt: skip

    def _room(self, parts: Sequence[_Part]) -> tuple[int, int, int]:
        """Addresses for the lines of the source, the entries of the table and the output of a tile."""
        if self.target.flat:
            return 0, 0, 0
        most = parts[0]
        lines = self.l1.take("source", most.outer[1] * self.line) if self.source_comes else 0
        entries = self.l1.take("table", ENTRY * most.entries[1]) if not self.table_stays else 0
        size = self.item * most.outer[1] * most.entries[1] * most.length[1]
        return lines, entries, self.l1.take("output", size)

    def _args(self, part: _Part, source: int, table: int, out: int, hart: int) -> tuple[int, ...]:
        """A hart's share: of the outer places, of the entries, or of a piece."""
        item, (outer, entries, length) = self.item, (part.outer[1], part.entries[1], part.length[1])
        harts = self.target.harts
        if outer > 1:
            first, outer = share(outer, harts, hart)
            source, out = source + first * self.line, out + first * entries * length * item
        elif entries > 1:
            first, entries = share(entries, harts, hart)
            table, out = table + first * ENTRY, out + first * length * item
        else:
            first, length = share(length, harts, hart)
            source, out = source + first * item, out + first * item
            if not length:
                outer = 0
        return source, table, out, entries, outer, length


@dataclass(eq=False)
class DepositPlan(SourcesPlan):
    """y becomes x, then its elements from byte ``table[p]`` on become updates[p, :] or are reduced with them.

    Attributes:
        name: Node.
        op: Operator.
        x: What y is before: another tensor, which `fits` must allow, or y itself.
        table: 32-bit byte offsets.
        updates: [entries, length].
        y: Output.
        entries: Of the table.
        length: Elements of a piece.
        reduction: What becomes of the old value.
    """

    name: str
    op: str
    x: Source
    table: Source
    updates: Source
    y: Tensor
    entries: int
    length: int
    reduction: Reduction = "none"

    @staticmethod
    def fits(y: Tensor, target: Target) -> bool:
        """Whether y can be in L1 for the layer."""
        return not target.flat and y.elements * y.item_bytes <= (target.l1().size - SLACK) // 2

    @property
    def sources(self) -> Sequence[Source]:
        """See `SourcesPlan`."""
        return (self.x, self.table, self.updates)

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        item, size = self.y.item_bytes, self.y.elements * self.y.item_bytes
        kernel = DepositTile(Deposit(self.y.dtype, self.reduction, self.length == 1))
        operands = (
            *source_operands(self.x), *source_operands(self.table, "table"),
            *source_operands(self.updates), *self.y.operands("output"),
        )  # fmt: skip
        written = ((self.y.address, self.y.address + size),)
        if target.flat:
            addresses = (self.y.address, self.table.address, self.updates.address)
            tile = Tile((), (), ((*addresses, self.entries, self.length),), "all")
            return LoweredOp(self.name, self.op, kernel, (), (), (tile,), operands, written=written)
        l1, here, setup = target.l1(), self.y.address, []
        stays = self.fits(self.y, target)
        if stays:
            here = l1.take("output", size)
            setup.append(Transfer(self.x.address, here, size))
        tiles = self._tiles(target, l1, here, item)
        if stays:
            back = Transfer(here, self.y.address, size)
            tiles = (*tiles[:-1], Tile(tiles[-1].loads, (back,), tiles[-1].args, tiles[-1].name))
        return LoweredOp(
            self.name, self.op, kernel, (Loop("entry", self.entries, 1),), tuple(setup), tiles, operands,
            footprint=tuple(l1.taken), written=() if stays else written,
        )  # fmt: skip

    def _tiles(self, target: Target, l1: L1, here: int, item: int) -> tuple[Tile, ...]:
        """Entries in their order, all by hart 0: it decides which of several stays."""
        room = (l1.limit - l1.base - SLACK - sum(high - low for low, high in l1.taken)) // 2 - 256
        per_entry = ENTRY + item * self.length
        count, length = max(1, min(self.entries, room // per_entry)), self.length
        if per_entry > room:
            length = (room - ENTRY) // item
        parts = [
            (entries, elements)
            for entries in Loop("entry", self.entries, count)
            for elements in Loop("element", self.length, length)
        ]
        copies = 1 + (len(parts) > 1)
        rooms = [
            (l1.take("table", ENTRY * count), l1.take("updates", item * count * length))
            for _ in range(copies)
        ]
        tiles = []
        for index, ((entry, entries), (element, elements)) in enumerate(parts):
            table, updates = rooms[index % copies]
            loads = (
                Transfer(self.table.address + ENTRY * entry, table, ENTRY * entries),
                Transfer(
                    self.updates.address + item * (entry * self.length + element),
                    updates, item * entries * elements,
                ),
            )  # fmt: skip
            args = tuple(
                (here + item * element, table, updates, entries * (hart == 0), elements)
                for hart in range(target.harts)
            )
            tiles.append(Tile(loads, (), args, f"entries {entry}+{entries}"))
        return tuple(tiles)


def check_offsets(elements: int, item: int) -> bool:
    """Whether byte offsets into an array fit the entries of a table."""
    return math.prod((elements, item)) < 1 << 31


__all__ = ["ENTRY", "DepositPlan", "DepositTile", "FetchPlan", "FetchTile", "TileKernel", "check_offsets"]
