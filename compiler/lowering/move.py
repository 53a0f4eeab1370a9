"""Layers that copy boxes of elements (`potluck.compiler.lowering.boxes`), by DMA or by the cores.

Where runs are long the DMA moves them from place to place in DRAM. Where they are short it brings tiles to L1, chosen
so that it moves runs on both sides, and the cores rearrange them there (`potluck.kernels.move.Move`). Without L1 the
core does either, straight from tensor to tensor.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from potluck.compiler.lowering.base import SLACK, Constant, LayerPlan, Target, Tensor, share
from potluck.compiler.lowering.boxes import Axis, Box
from potluck.compiler.lowering.kernel_tile import KernelTile
from potluck.compiler.schedule.layer import Loop, LoweredOp, Memory, Operand, Tile, Transfer
from potluck.compiler.schedule.memory import L1, align
from potluck.kernels.move import AXES, Move

TOGETHER = 32
"""Transfers that are waited for together."""
RUN = 64
"""Bytes of a run, the DMA's width, from which on it moves a box alone."""
SMALL = 64
"""Runs of a box that the DMA moves alone, however short they are."""
TILES = 8
"""Tiles that a box is cut into if they are not too small."""
LEAST = 4096
"""Bytes of a tile below which its overhead shows."""
WORD = 8
"""Bytes of a bank's word."""
WASTE = 4
"""Bytes loaded per byte used, at most, to load a strided line as one run."""


@dataclass(frozen=True)
class Piece:
    """A box and where it is read.

    Attributes:
        source: Tensor or constant.
        box: Of elements.
    """

    source: Tensor | Constant
    box: Box


class MoveTile(KernelTile[Move]):
    """Arguments: source, destination, counts."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        source, target, *counts = args
        if not all(counts):
            return
        read, write = self.kernel.places(tuple(counts))
        low, high = int(read.min()), int(read.max()) + 1
        first, last = int(write.min()), int(write.max()) + 1
        old = memory.view(source + low, high - low)
        new = memory.view(target + first, last - first)
        new[:] = self.kernel.contract(old.copy(), new, tuple(counts), -low, -first)


@dataclass(eq=False)
class MovePlan(LayerPlan):
    """Copies boxes into a tensor: any number of them by transfers, or one by the kernel.

    Attributes:
        name: Node.
        op: Operator.
        pieces: What is copied.
        y: Output; its elements are those of every source.
        by_kernel: Whether the cores rearrange.
    """

    name: str
    op: str
    pieces: tuple[Piece, ...]
    y: Tensor
    by_kernel: bool = False

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return [piece.source for piece in self.pieces if isinstance(piece.source, Tensor)]

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.y,)

    def constants(self) -> Sequence[Constant]:
        """See `LayerPlan`."""
        found = [piece.source for piece in self.pieces if isinstance(piece.source, Constant)]
        return list(dict.fromkeys(found))

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        if not self.by_kernel:
            return self._transfers()
        (piece,) = self.pieces
        made = _Direct(self, piece, target) if target.flat else _Tiled(self, piece, target)
        return made.result()

    def _transfers(self) -> LoweredOp:
        item = self.y.item_bytes
        moves = [
            move
            for piece in self.pieces
            for move in transfers(piece.box, piece.source.address, self.y.address, item)
        ]
        tiles = tuple(
            Tile(tuple(moves[at : at + TOGETHER]), (), (), f"transfers {at}..")
            for at in range(0, len(moves), TOGETHER)
        )
        loops = (Loop("transfer", len(moves), TOGETHER),)
        return LoweredOp(self.name, self.op, None, loops, (), tiles, self.operands())

    def operands(self) -> tuple[Operand, ...]:
        """What is read and written."""
        found: list[Operand] = []
        for source in dict.fromkeys(piece.source for piece in self.pieces):
            found += source.operands("input") if isinstance(source, Tensor) else [source.operand("constant")]
        return (*found, *self.y.operands("output"))


def transfers(box: Box, source: int, target: int, item: int) -> list[Transfer]:
    """A box as transfers of runs between two addresses."""
    run = box.run
    axes = list(box.axes[:-1] if run > 1 else box.axes)
    # The longest axis becomes the repetitions; strides of the DMA are not negative.
    repeated = max((axis for axis in axes if axis.source >= 0), key=lambda axis: axis.size, default=None)
    if repeated is not None:
        axes.remove(repeated)
    moves = []
    for place in itertools.product(*(range(axis.size) for axis in axes)):
        read = box.source + sum(i * axis.source for i, axis in zip(place, axes, strict=True))
        write = box.target + sum(i * axis.target for i, axis in zip(place, axes, strict=True))
        many = repeated or Axis(1, 0, 0)
        moves.append(
            Transfer(
                source + item * read, target + item * write, item * run, many.size, item * many.source,
                item * many.target,
            )
        )  # fmt: skip
    return moves


def suits_transfers(box: Box, item: int) -> bool:
    """Whether transfers alone are a good way to copy a box."""
    return box.run * item >= RUN or box.elements <= SMALL * box.run


def _vector_axis(axes: Sequence[Axis], sizes: Sequence[int]) -> int:
    """Index of the axis that the vector runs along: long, and without gaps in source or target if possible."""
    return max(
        range(len(axes)),
        key=lambda i: (min(sizes[i], 32), axes[i].target == 1, axes[i].source == 1, sizes[i]),
    )


class _Direct:
    """Straight from tensor to tensor, on a machine whose core reaches both at any speed it has."""

    def __init__(self, plan: MovePlan, piece: Piece, target: Target) -> None:
        self.plan, self.piece, self.target = plan, piece, target

    def result(self) -> LoweredOp:
        """The layer."""
        plan, box, item = self.plan, self.piece.box, self.plan.y.item_bytes
        axes = list(box.axes) or [Axis(1, 1, 1)]
        vector = axes.pop(_vector_axis(axes, [axis.size for axis in axes]))
        axes.sort(key=lambda axis: axis.size)
        outer, inner = axes[: max(0, len(axes) - AXES + 1)], axes[max(0, len(axes) - AXES + 1) :]
        inner = [*inner, vector]
        kernel = Move(
            tuple(item * axis.source for axis in inner), tuple(item * axis.target for axis in inner), item
        )
        tiles = []
        for place in itertools.product(*(range(axis.size) for axis in outer)):
            read = box.source + sum(i * axis.source for i, axis in zip(place, outer, strict=True))
            write = box.target + sum(i * axis.target for i, axis in zip(place, outer, strict=True))
            addresses = self.piece.source.address + item * read, plan.y.address + item * write
            tiles.append(Tile((), (), ((*addresses, *(axis.size for axis in inner)),), f"{place}"))
        loops = tuple(Loop("outer", axis.size, 1) for axis in outer)
        return LoweredOp(plan.name, plan.op, MoveTile(kernel), loops, (), tuple(tiles), plan.operands())


@dataclass(frozen=True)
class _Side:
    """How a tile lies in L1 on one side: lines as in DRAM, at distances of their own.

    Attributes:
        strides: Elements from one to the next along each axis in L1.
        elements: Room that the tile takes.
        outer: Axes (indices) that select the line; the first has the most lines.
        lines: Of the whole tile.
    """

    strides: tuple[int, ...]
    elements: int
    outer: tuple[int, ...]
    lines: tuple[int, ...]

    @property
    def transfers(self) -> int:
        """That move the tile."""
        return math.prod(self.lines[1:])


def _pitch(elements: int, item: int) -> int:
    """The least distance of lines that is an odd number of 64-bit words: then a vector across lines meets all banks."""
    words = -(-elements * item // WORD)
    return (words + 1 - words % 2) * WORD // item


def _side(steps: Sequence[int], sizes: Sequence[int], waste: int, item: int) -> _Side:
    """A tile of these sizes where axes have these steps; gaps up to ``waste`` times the line are moved along."""
    local, extent = [0] * len(steps), 1
    apart: list[int] = []
    for axis in sorted(range(len(steps)), key=lambda i: abs(steps[i])):
        step, size = abs(steps[axis]), sizes[axis]
        if size == 1 or not step:
            continue
        if step <= waste * extent and not apart:
            local[axis] = steps[axis]
            extent += (size - 1) * step
        else:
            apart.append(axis)
    outer = sorted(apart, key=lambda i: -sizes[i])
    room = extent
    for axis in outer:  # the axis with the most lines is the repetitions of a transfer
        pitch = _pitch(room, item)
        local[axis] = pitch if steps[axis] > 0 else -pitch
        room = pitch * sizes[axis]
    return _Side(tuple(local), room, tuple(outer), tuple(sizes[i] for i in outer))


class _Tiled:
    """Through L1."""

    def __init__(self, plan: MovePlan, piece: Piece, target: Target) -> None:
        self.plan, self.target, self.l1 = plan, target, target.l1()
        self.source, self.box = piece.source, piece.box
        self.item = plan.y.item_bytes
        self.axes = self.box.axes or (Axis(1, 1, 1),)
        self.sizes = self._sizes()
        self.inputs, self.outputs = self._sides(self.sizes)
        inner = [i for i, size in enumerate(self.sizes) if size > 1] or [0]
        vector = inner.pop(_vector_axis([self._local(i) for i in inner], [self.sizes[i] for i in inner]))
        self.inner = [*sorted(inner, key=lambda i: -self.sizes[i]), vector]
        self.kernel = Move(
            tuple(self.item * self.inputs.strides[i] for i in self.inner),
            tuple(self.item * self.outputs.strides[i] for i in self.inner),
            self.item,
        )

    def _local(self, axis: int) -> Axis:
        return Axis(self.sizes[axis], self.inputs.strides[axis], self.outputs.strides[axis])

    def _sides(self, sizes: Sequence[int]) -> tuple[_Side, _Side]:
        return (
            _side([axis.source for axis in self.axes], sizes, WASTE, self.item),
            _side([axis.target for axis in self.axes], sizes, 1, self.item),
        )

    def _sizes(self) -> list[int]:
        """Of a tile: lines of 64 bytes on both sides first, then all that fits."""
        most = min(
            (self.l1.size - SLACK) // 4,
            max(LEAST, -(-self.box.elements * self.item // TILES)),
        )
        sizes = [1] * len(self.axes)

        def fits(axis: int, size: int) -> bool:
            tried = [*sizes[:axis], size, *sizes[axis + 1 :]]
            sides = self._sides(tried)
            return (
                all(side.elements * self.item <= most for side in sides)
                and sum(side.transfers for side in sides) <= TOGETHER
                and sum(each > 1 for each in tried) <= AXES
            )

        order = list(
            itertools.chain.from_iterable(
                zip(
                    sorted(range(len(self.axes)), key=lambda i: self.axes[i].target),
                    sorted(range(len(self.axes)), key=lambda i: abs(self.axes[i].source) or 1 << 62),
                    strict=True,
                )
            )
        )
        for bound in (RUN // self.item, 4 * RUN // self.item, 1 << 62):
            for axis in order:
                size = min(self.axes[axis].size, bound)
                while size > sizes[axis] and not fits(axis, size):
                    size //= 2
                sizes[axis] = max(size, sizes[axis])
        return sizes

    def _places(self) -> Iterator[tuple[tuple[int, int], ...]]:
        """(first, count) along every axis, for every tile."""
        yield from itertools.product(
            *(Loop("", axis.size, size) for axis, size in zip(self.axes, self.sizes, strict=True))
        )

    def result(self) -> LoweredOp:
        """The layer."""
        plan, places = self.plan, list(self._places())
        copies = 1 + (len(places) > 1)
        rooms = [
            [_take(self.l1, side.elements * self.item) for side in (self.inputs, self.outputs)]
            for _ in range(copies)
        ]
        # A reversed axis is read from its end: what is lowest in DRAM is lowest in L1.
        tiles = []
        for index, place in enumerate(places):
            room = rooms[index % copies]
            loads = self._moves(place, room[0], store=False)
            stores = self._moves(place, room[1], store=True)
            args = tuple(self._args(place, room, hart) for hart in range(self.target.harts))
            tiles.append(Tile(tuple(loads), tuple(stores), args, f"{[first for first, _ in place]}"))
        loops = tuple(
            Loop(f"axis {i}", axis.size, size)
            for i, (axis, size) in enumerate(zip(self.axes, self.sizes, strict=True))
        )
        return LoweredOp(
            plan.name, plan.op, MoveTile(self.kernel), loops, (), tuple(tiles), plan.operands(),
            footprint=tuple(self.l1.taken),
        )  # fmt: skip

    def _moves(self, place: Sequence[tuple[int, int]], room: int, store: bool) -> list[Transfer]:
        side = self.outputs if store else self.inputs
        steps = [axis.target if store else axis.source for axis in self.axes]
        base = self.plan.y.address if store else self.source.address
        low = (self.box.target if store else self.box.source) + sum(
            first * step + min(0, (count - 1) * step)
            for (first, count), step in zip(place, steps, strict=True)
        )
        line = 1 + sum(
            (count - 1) * abs(step)
            for i, ((_, count), step) in enumerate(zip(place, steps, strict=True))
            if i not in side.outer
        )
        far = base + self.item * low
        if not side.outer:
            pairs = [(far, room, 1, 0, 0)]
        else:
            repeated, *rest = side.outer
            pairs = []
            for at in itertools.product(*(range(place[i][1]) for i in rest)):
                there = far + self.item * sum(k * abs(steps[i]) for k, i in zip(at, rest, strict=True))
                here = room + self.item * sum(k * abs(side.strides[i]) for k, i in zip(at, rest, strict=True))
                pairs.append(
                    (there, here, place[repeated][1], self.item * abs(steps[repeated]),
                     self.item * abs(side.strides[repeated]))
                )  # fmt: skip
        return [
            Transfer(here, there, self.item * line, count, near, wide)
            if store
            else Transfer(there, here, self.item * line, count, wide, near)
            for there, here, count, wide, near in pairs
        ]

    def _args(self, place: Sequence[tuple[int, int]], room: list[int], hart: int) -> tuple[int, ...]:
        counts = [place[i][1] for i in self.inner]
        inputs, outputs = self.inputs.strides, self.outputs.strides
        read, write = room[0], room[1]
        for i, (_, count) in enumerate(place):  # L1 holds reversed axes in DRAM's order
            read += self.item * max(0, -(count - 1) * inputs[i])
        split = 0 if len(self.inner) > 1 else len(self.inner) - 1
        first, counts[split] = share(counts[split], self.target.harts, hart)
        axis = self.inner[split]
        return (
            read + self.item * first * inputs[axis], write + self.item * first * outputs[axis], *counts
        )  # fmt: skip


def _take(l1: L1, size: int) -> int:
    return l1.take("tile", align(size, 8))


def moves(name: str, op: str, pieces: Sequence[Piece], y: Tensor) -> list[MovePlan]:
    """Plans that copy pieces into a tensor: those of long runs together, each other one on its own."""
    pieces = [replace(piece, box=piece.box.simplified()) for piece in pieces if piece.box.elements]
    item = y.item_bytes
    alone = [piece for piece in pieces if not suits_transfers(piece.box, item)]
    together = [piece for piece in pieces if suits_transfers(piece.box, item)]
    plans = [MovePlan(name, op, tuple(together), y)] if together else []
    for index, piece in enumerate(alone):
        suffix = f"_{index}" if index or together else ""
        plans.append(MovePlan(f"{name}{suffix}", op, (piece,), y, by_kernel=True))
    return plans
