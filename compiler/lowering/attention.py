"""Attention of few queries as one layer: keys and values pass through L1 once, as they lie in DRAM.

Groups are taken in sets whose scores fit L1. A set's tiles: scores of each group's positions, softmax of all rows,
values of each group's positions. Harts divide positions of scores, rows of the softmax, columns of values. No sum is
divided, so neither tiles nor harts change a bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from potluck.compiler.lowering.adapters import F32, floats, write
from potluck.compiler.lowering.base import (
    SLACK,
    Choice,
    Setting,
    Source,
    SourcesPlan,
    Target,
    Tensor,
    check_l1,
    share,
    source_operands,
)
from potluck.compiler.schedule.layer import Loop, LoweredOp, Memory, Tile, Transfer
from potluck.compiler.schedule.memory import align
from potluck.isa.assembly.assembler import Assembler
from potluck.kernels.attention import LENGTHS, Mix, Scores, key_pitch
from potluck.kernels.base import Kernel, even_strip
from potluck.kernels.softmax import Softmax

WORD = 4
SCORES, SHARES, VALUES = range(3)
"""Phases, the last argument of a tile."""


@dataclass(frozen=True)
class Sizes:
    """What an attention is about.

    Attributes:
        groups: Of keys and values.
        rows: Of queries, each group's.
        depth: Length of a query.
        width: Of a value.
        positions: Keys of each group, by piece: those of a cache, then new ones.
        masks: Rows of the mask, which repeat; 0: none.
    """

    groups: int
    rows: int
    depth: int
    width: int
    positions: tuple[int, ...]
    masks: int = 0

    @property
    def length(self) -> int:
        """Positions in all."""
        return sum(self.positions)

    @property
    def pitch(self) -> int:
        """Elements from row to row of the scores: rows begin at whole 64-bit words."""
        return self.length + self.length % 2

    def bytes(self, chunk: int, groups: int) -> int:
        """L1 that tiles of so many positions take, for sets of so many groups."""
        rows = groups * self.rows
        held = (rows * self.depth, rows * self.pitch, rows * self.width, self.masks * self.length)
        return sum(align(WORD * size) for size in held) + 2 * self.operand_bytes(chunk)

    def operand_bytes(self, chunk: int) -> int:
        """Keys or values of so many positions."""
        return align(chunk * max(key_pitch(self.depth), WORD * self.width))

    def tiling(self, room: int) -> tuple[int, int] | None:
        """(positions of a tile, groups of a set): as few tiles as possible; None if nothing fits."""
        for parts in range(1, self.length + 1):
            chunk = -(-self.length // parts)
            for groups in range(self.groups, 0, -1):
                if self.bytes(chunk, groups) <= room:
                    return chunk, groups
        return None


def emit_phases(a: Assembler, scores: Kernel, shares: Kernel, mix: Kernel) -> None:
    """The code of three kernels, of which a7 chooses one."""
    softmax, values, done = (a.fresh(f"attention_{name}") for name in ("shares", "values", "done"))
    a("li", "t0", SHARES)
    a("beq", "a7", "t0", softmax)
    a("bgtu", "a7", "t0", values)
    scores.emit(a)
    a("j", done)
    a.label(softmax)
    shares.emit(a)
    a("j", done)
    a.label(values)
    mix.emit(a)
    a.label(done)


@dataclass(frozen=True)
class AttentionTile:
    """Arguments: those of `Scores`, `Softmax` or `Mix`; a7 says whose."""

    scores: Scores
    shares: Softmax
    mix: Mix

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        emit_phases(a, self.scores, self.shares, self.mix)

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        phase = args[7]
        if phase == SCORES:
            self._scores(memory, args)
        elif phase == SHARES:
            k = self.shares
            for row in range(args[2]):
                at = args[0] + WORD * k.pitch * row
                write(memory, at, k.contract(floats(memory, at, 1, k.columns)))
        else:
            self._values(memory, args)

    def _scores(self, memory: Memory, args: Sequence[int]) -> None:
        k, (at_q, at_k, at_s, at_mask, count) = self.scores, args[:5]
        if not count:
            return
        keys = rows_of(memory, at_k, count, k.depth, key_pitch(k.depth))
        mask = rows_of(memory, at_mask, k.masks, count, WORD * k.mask_pitch) if k.masks else None
        made = k.contract(floats(memory, at_q, k.rows, k.depth), keys, mask)
        for row in range(k.rows):
            write(memory, at_s + WORD * k.pitch * row, made[row])

    def _values(self, memory: Memory, args: Sequence[int]) -> None:
        k, (at_s, at_v, at_o, _, count, columns, again) = self.mix, args[:7]
        if not columns:
            return
        before = rows_of(memory, at_o, k.rows, columns, WORD * k.width) if again else None
        shares = rows_of(memory, at_s, k.rows, count, WORD * k.pitch)
        made = k.contract(shares, rows_of(memory, at_v, count, columns, WORD * k.width), before)
        for row in range(k.rows):
            write(memory, at_o + WORD * k.width * row, made[row])


def rows_of(memory: Memory, address: int, rows: int, columns: int, pitch: int) -> F32:
    """Rows of a matrix that lie ``pitch`` bytes apart."""
    return np.concatenate([floats(memory, address + pitch * row, 1, columns) for row in range(rows)])


def piecewise(
    pieces: Sequence[Source],
    positions: Sequence[int],
    row: tuple[int, int],
    group: int,
    part: tuple[int, int],
    to: int,
) -> list[Transfer]:
    """Loads some keys or values of a group.

    Args:
        pieces: Where they are, each [groups, positions, ...].
        positions: Of each piece.
        row: Bytes from one to the next in L1, and of one.
        group: Whose.
        part: First position and number.
        to: Address in L1.
    """
    (start, count), (pitch, size) = part, row
    found: list[Transfer] = []
    base = 0
    for piece, held in zip(pieces, positions, strict=True):
        low, high = max(start, base), min(start + count, base + held)
        if low < high:
            source = piece.address + size * (group * held + low - base)
            at, rows = to + pitch * (low - start), high - low
            if pitch == size or rows == 1:
                found.append(Transfer(source, at, size * rows))
            else:
                found.append(Transfer(source, at, size, rows, size, pitch))
        base += held
    return found


@dataclass(eq=False)
class AttentionPlan(SourcesPlan):
    """y = softmax(scale q keysᵀ + mask) values.

    Attributes:
        name: Node.
        op: Operator.
        sizes: Of the operands.
        scale: Factor.
        q: [groups, rows, depth].
        keys: A piece or two, each [groups, positions, depth].
        values: The same with ``width``.
        mask: [masks, positions], if there is one.
        y: [groups, rows, width].
        target: The machine.
        tiles: (positions of a tile, groups of a set), None: as many as fit.
    """

    name: str
    op: str
    sizes: Sizes
    scale: float
    q: Source
    keys: tuple[Source, ...]
    values: tuple[Source, ...]
    mask: Source | None
    y: Tensor
    target: Target
    tiles: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        found = self.tiles or self.sizes.tiling(self.target.l1().size - SLACK)
        assert found is not None, "the pass asks whether it fits"
        self.chunk, self.set = found

    @property
    def sources(self) -> Sequence[Source]:
        """See `SourcesPlan`."""
        return (self.q, *self.keys, *self.values, *(() if self.mask is None else (self.mask,)))

    def choices(self, target: Target) -> dict[str, Choice]:
        """See `LayerPlan`."""
        s = self.sizes
        return {
            "positions": Choice(self.chunk, range(1, s.length + 1)), "groups": Choice(self.set, range(1, s.groups + 1))
        }  # fmt: skip

    def chosen(self, target: Target, values: Mapping[str, Setting]) -> AttentionPlan:
        """See `LayerPlan`."""
        chunk, groups = int(values.get("positions", self.chunk)), int(values.get("groups", self.set))
        check_l1(self.sizes.bytes(chunk, groups), target)
        return replace(self, tiles=(chunk, groups))

    @cached_property
    def kernel(self) -> AttentionTile:
        """The code of a tile."""
        s = self.sizes
        return AttentionTile(
            Scores(s.rows, s.depth, self.scale, s.pitch, s.masks, s.length),
            Softmax(s.length, s.pitch),
            Mix(s.rows, s.width, s.pitch),
        )

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        made, s = _AttentionTiles(self, target), self.sizes
        loops = (Loop("group", s.groups, self.set), Loop("position", s.length, self.chunk))
        operands = [item for source in self.sources for item in source_operands(source)]
        return LoweredOp(
            self.name, self.op, self.kernel, loops, tuple(made.setup()), tuple(made.tiles()),
            (*operands, *self.y.operands("output")), s.groups * s.rows * s.length * (s.depth + s.width),
            footprint=tuple(made.l1.taken), contained=True,
        )  # fmt: skip


class _AttentionTiles:
    """Addresses and transfers."""

    def __init__(self, plan: AttentionPlan, target: Target) -> None:
        self.plan, self.harts, self.s = plan, target.harts, plan.sizes
        self.l1 = l1 = target.l1()
        s, rows = self.s, plan.set * self.s.rows
        self.q = l1.take("queries", WORD * rows * s.depth)
        self.scores = l1.take("scores", WORD * rows * s.pitch)
        self.out = l1.take("mixed", WORD * rows * s.width)
        self.mask = l1.take("mask", WORD * s.masks * s.length) if s.masks else 0
        self.operands = [l1.take("operand", s.operand_bytes(plan.chunk)) for _ in range(2)]

    def setup(self) -> Iterator[Transfer]:
        """The mask."""
        if self.plan.mask is not None:
            yield Transfer(self.plan.mask.address, self.mask, WORD * self.s.masks * self.s.length)

    def tiles(self) -> Iterator[Tile]:
        """Sets outermost, then phases, groups, positions."""
        s, step = self.s, 0
        for first, groups in Loop("group", s.groups, self.plan.set):
            every = [
                (group, *part) for group in range(groups) for part in Loop("", s.length, self.plan.chunk)
            ]
            for group, start, count in every:
                at = self.operands[step % 2]
                loads: list[Transfer] = []
                if not group and not start:
                    size = WORD * s.rows * s.depth
                    loads.append(Transfer(self.plan.q.address + first * size, self.q, groups * size))
                row = key_pitch(s.depth), WORD * s.depth
                loads += piecewise(self.plan.keys, s.positions, row, first + group, (start, count), at)
                args = tuple(self._scores(hart, group, start, count, at) for hart in range(self.harts))
                yield Tile(tuple(loads), (), args, f"scores {first + group}, {start}+{count}")
                step += 1
            args = tuple(self._shares(hart, groups * s.rows) for hart in range(self.harts))
            yield Tile((), (), args, f"shares {first}+{groups}")
            for group, start, count in every:
                at = self.operands[step % 2]
                row = WORD * s.width, WORD * s.width
                loads = piecewise(self.plan.values, s.positions, row, first + group, (start, count), at)
                args = tuple(self._values(hart, group, start, count, at) for hart in range(self.harts))
                last = group + 1 == groups and start + count == s.length
                size = WORD * s.rows * s.width
                store = Transfer(self.out, self.plan.y.address + first * size, groups * size)
                yield Tile(tuple(loads), (store,) * last, args, f"values {first + group}, {start}+{count}")
                step += 1

    def _scores(self, hart: int, group: int, start: int, count: int, at: int) -> tuple[int, ...]:
        s = self.s
        first, mine = share(count, self.harts, hart)
        place = start + first
        to = self.scores + WORD * (group * s.rows * s.pitch + place)
        mask = self.mask + WORD * place if s.masks else 0
        keys = at + first * key_pitch(s.depth)
        return (
            self.q + WORD * group * s.rows * s.depth,
            keys,
            to,
            mask,
            mine,
            even_strip(mine, LENGTHS),
            0,
            SCORES,
        )

    def _shares(self, hart: int, rows: int) -> tuple[int, ...]:
        first, mine = share(rows, self.harts, hart)
        at = self.scores + WORD * first * self.s.pitch
        return at, at, mine, 0, 0, 0, 0, SHARES

    def _values(self, hart: int, group: int, start: int, count: int, at: int) -> tuple[int, ...]:
        s = self.s
        pairs = math.ceil(s.width / 2)  # a hart's columns begin at a whole 64-bit word
        first, mine = (2 * part for part in share(pairs, self.harts, hart))
        mine = max(0, min(mine, s.width - first))
        shares = self.scores + WORD * (group * s.rows * s.pitch + start)
        out = self.out + WORD * (group * s.rows * s.width + first)
        return shares, at + WORD * first, out, 0, count, mine, int(start > 0), VALUES
