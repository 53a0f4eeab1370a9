"""When an accelerator's batches begin, and where hart 0 waits for them, so that cores and accelerator work at once.

Nothing but data orders them. A layer's first groups of commands begin in its own tiles, the rest beside the tiles of
the layer of the cores behind it, each just in time for the tile that loads what it makes; the groups of the layer
behind that begin as soon as what they read is stored. The accelerator takes groups in the order of the layers, and a
batch begins when the one before it has ended. Whatever a transfer touches is awaited first: what a batch under way
reads, if it is written, and what it writes.

A layer of the cores of which not all is known from its transfers (`LoweredOp.contained`) waits for everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from potluck.compiler.lowering.base import BATCH, Target
from potluck.compiler.schedule.layer import Batch, Group, LoweredOp, Offload, Tile, Transfer
from potluck.compiler.schedule.overlap import meets, span_of
from potluck.isa.pot.command import COMMAND_BYTES

LAST = np.uint32(1 << 8)
"""TLAST in a command's first word."""


def conflicts(group: Group, transfers: Sequence[Transfer]) -> bool:
    """Whether a group and transfers touch the same memory and one of them writes it."""
    return any(
        meets(span_of(item.source, item, False), [group.written])
        or meets(span_of(item.destination, item, True), [group.read, group.written])
        for item in transfers
    )


def points(op: LoweredOp) -> list[Sequence[Transfer]]:
    """What a layer transfers: before its tiles, beside each, and behind them."""
    first = (*op.setup, *op.tiles[0].loads)
    return [first, *(op.beside(index) for index in range(len(op.tiles))), op.tiles[-1].stores]


def beside(ops: Sequence[LoweredOp], target: Target, together: bool = True) -> list[LoweredOp]:
    """The same layers with batches and waits; the cores wait for every layer of the accelerator if not ``together``."""
    return _Pass(list(ops), target, together).run() if any(op.offload for op in ops) else list(ops)


@dataclass
class _Pass:
    """Attributes:
    ops: With what has been decided.
    together: Whether the cores work beside the accelerator.
    begun: Groups of each layer that have a batch.
    rides: Batches of the layer before, by tile of the layer that is next.
    flying: The batch that is not known to have ended.
    made: Batches in all.
    """

    ops: list[LoweredOp]
    target: Target
    together: bool = True
    begun: dict[int, int] = field(default_factory=dict)
    rides: dict[int, range] = field(default_factory=dict)
    flying: Batch | None = None
    made: int = 0

    def run(self) -> list[LoweredOp]:
        for op in self.ops:
            if op.offload:
                op.offload.commands[:, 0] &= ~LAST
        for index, op in enumerate(self.ops):
            if op.offload:
                self._offloaded(index, op.offload)
            else:
                self._on_cores(index)
        if self.flying:
            self._change(len(self.ops) - 1, waits_last=self.flying.layer)
        return self.ops

    def _known(self, op: LoweredOp) -> bool:
        """Whether a layer's transfers tell all that it touches; those of a layer without a kernel do."""
        return self.together and (op.contained or op.kernel is None)

    def _change(self, index: int, **fields: object) -> None:
        self.ops[index] = replace(self.ops[index], **fields)  # type: ignore[arg-type]

    def _tile(self, index: int, number: int, **fields: object) -> None:
        tiles = list(self.ops[index].tiles)
        tiles[number] = replace(tiles[number], **fields)  # type: ignore[arg-type]
        self._change(index, tiles=tuple(tiles))

    def _offloaded(self, index: int, work: Offload) -> None:
        """A layer's own tiles: what the layer behind it does not take."""
        begun = self.begun.get(index, 0)
        own, self.rides = self._shared(index, work, begun)
        batches = _cut(work.groups, range(begun, own))
        names = [f"groups {groups.start}.." for groups in batches] or ["nothing left"]
        self._change(index, tiles=tuple(Tile((), (), (), name) for name in names))
        for number, groups in enumerate(batches):
            self._start(index, number, index, groups)

    def _shared(self, index: int, work: Offload, begun: int) -> tuple[int, dict[int, range]]:
        """Where a layer's own groups end, and what begins beside which tile of the layer behind it."""
        groups, count = work.groups, len(work.groups)
        following = self.ops[index + 1] if index + 1 < len(self.ops) else None
        if begun == count or following is None or following.offload or not self._known(following):
            return count, {}
        touched = points(following)
        tiles = len(following.tiles)
        due = [
            _due(group, touched) for group in groups
        ]  # the point before which it ends; behind all: len(touched)
        for at in reversed(range(count - 1)):
            due[at] = min(due[at], due[at + 1])
        # The first tile's transfers are point 1, and what begins beside that tile ends before point 2.
        least = next((at for at in range(begun, count) if due[at] > max(1, due[begun])), count)
        if due[begun] == len(touched):  # nothing there waits: as much as goes at once
            least = _cut(groups, range(begun, count))[0].stop
        for own in range(least, count + 1):
            dealt = _deal(groups, due, own, tiles)
            if dealt is not None:
                return own, dealt
        return count, {}

    def _on_cores(self, index: int) -> None:
        """A layer of the cores: what begins beside its tiles, and where it waits."""
        op = self.ops[index]
        touched, contained = points(op), self._known(op)
        following = self.ops[index + 1].offload if index + 1 < len(self.ops) and contained else None
        rides, self.rides = self.rides, {}
        if self._in_the_way(touched[0]) or not contained:
            self._change(index, waits_first=self._awaited())
        for number in range(len(op.tiles)):
            if self._in_the_way(touched[number + 1]):
                self._tile(index, number, waits=self._awaited())
            if number in rides:
                self._start(index, number, index - 1, rides.pop(number))
            elif following and not rides and self._free_for(index + 1, number + 1 == len(op.tiles)):
                self._early(index, number, following, touched)
        if self._in_the_way(touched[-1]):
            self._change(index, waits_last=self._awaited())

    def _free_for(self, layer: int, last: bool) -> bool:
        """Whether a layer's batch may begin: the cores do not wait for another's that nobody needs but this one."""
        return last or self.flying is None or self.flying.layer == layer

    def _early(self, index: int, number: int, work: Offload, touched: list[Sequence[Transfer]]) -> None:
        """Begins what the next layer can do beside a tile: groups whose conflicts have all been transferred."""
        begun = stop = self.begun.get(index + 1, 0)
        size = 0
        while (
            stop < len(work.groups)
            and size + work.groups[stop].commands <= BATCH
            and not any(conflicts(work.groups[stop], transfers) for transfers in touched[number + 1 :])
        ):
            size += work.groups[stop].commands
            stop += 1
        if stop > begun:
            self._start(index, number, index + 1, range(begun, stop))

    def _in_the_way(self, transfers: Sequence[Transfer]) -> bool:
        if self.flying is None:
            return False
        work = self.ops[self.flying.layer].offload
        assert work is not None
        return any(conflicts(work.groups[at], transfers) for at in self.flying.groups)

    def _awaited(self) -> int | None:
        """The layer that is waited for."""
        flying, self.flying = self.flying, None
        return flying.layer if flying else None

    def _start(self, index: int, number: int, layer: int, groups: range) -> None:
        """A batch beside a tile, its commands loaded beside the tile before it."""
        work = self.ops[layer].offload
        assert work is not None
        if self.flying:
            self._tile(index, number, waits=self._awaited())
        first = sum(group.commands for group in work.groups[: groups.start])
        count = sum(work.groups[at].commands for at in groups)
        work.commands[first + count - 1, 0] |= LAST
        second = bool(self.made % 2)
        load = Transfer(
            work.address + first * COMMAND_BYTES, self.target.command_buffers[second], count * COMMAND_BYTES
        )
        self.flying = Batch(layer, groups, count, second, load)
        self.made += 1
        self.begun[layer] = groups.stop
        if number or not index:
            self._tile(index, number, batch=self.flying, loads=(*self.ops[index].tiles[number].loads, load))
        else:
            self._tile(index, number, batch=self.flying)
            self._change(index - 1, ahead=(*self.ops[index - 1].ahead, load))


def _due(group: Group, touched: list[Sequence[Transfer]]) -> int:
    """The first transfers that a group is in the way of; behind all if of none."""
    return next((at for at, transfers in enumerate(touched) if conflicts(group, transfers)), len(touched))


def _cut(groups: Sequence[Group], some: range) -> list[range]:
    """Groups as batches."""
    ends, size = [some.start], 0
    for at in some:
        if size + groups[at].commands > BATCH:
            ends.append(at)
            size = 0
        size += groups[at].commands
    if some:
        ends.append(some.stop)
    return [range(*pair) for pair in pairwise(ends)]


def _deal(groups: Sequence[Group], due: list[int], own: int, tiles: int) -> dict[int, range] | None:
    """Beside which tile the groups from ``own`` on begin, each as late as possible; None if one is late.

    What no transfer waits for begins when all else has.
    """
    dealt: dict[int, range] = {}
    at = own
    for tile in range(tiles):
        begin, size = at, 0
        # Beside tile t begins what has to end before point t + 2; and all that nobody waits for.
        while at < len(groups) and (due[at] <= tile + 2 or due[at] > tiles + 1):
            if size + groups[at].commands > BATCH:
                break
            size += groups[at].commands
            at += 1
        if at < len(groups) and due[at] <= tile + 2:
            return None
        if at > begin:
            dealt[tile] = range(begin, at)
    return dealt if at == len(groups) else None
