"""Attention of many rows of queries as one layer: scores stay in L1, keys and values stream through it.

A block of rows is taken at a time: tiles of its scores, positions by positions; softmax of its whole rows; tiles that
mix values. Harts divide the block's rows, or each takes a head of its own. No sum is divided, so neither blocks nor
harts change a bit. A constant causal mask is not read: what it hides is neither loaded nor computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from potluck.compiler.lowering.adapters import F32, floats, write
from potluck.compiler.lowering.attention import SCORES, SHARES, VALUES, emit_phases, piecewise, rows_of
from potluck.compiler.lowering.attention_blocks import HEADS, ROWS, WORD, Blocks, BlockSizes, cut
from potluck.compiler.lowering.base import (
    Choice,
    Setting,
    Source,
    SourcesPlan,
    Target,
    Tensor,
    check_l1,
    source_operands,
)
from potluck.compiler.schedule.layer import Loop, LoweredOp, Memory, Tile, Transfer
from potluck.isa.assembly.assembler import Assembler
from potluck.kernels.attention import key_pitch
from potluck.kernels.attention_rows import GRANULE, RowMix, RowScores, RowShares


@dataclass(frozen=True)
class BlockTile:
    """Arguments: those of `RowScores`, `RowShares` or `RowMix`, a5 counted from position 0; a7: a phase, and four times
    the tile's first position."""

    scores: RowScores
    shares: RowShares
    mix: RowMix

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        a("srli", "t0", "a7", 2)
        a("sub", "a5", "a5", "t0")
        a("andi", "a7", "a7", 3)
        emit_phases(a, self.scores, self.shares, self.mix)

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        first, second, third, fourth, count, limit, rows, last = args
        phase, limit = last & 3, limit - (last >> 2)
        if not rows:
            return
        k, pitch, width = self.scores, self.scores.pitch, self.mix.width
        if phase == SCORES:
            q, keys = (
                floats(memory, first, rows, k.depth),
                rows_of(memory, second, count, k.depth, key_pitch(k.depth)),
            )
            masks = rows if k.masks > 1 else k.masks
            mask = rows_of(memory, fourth, masks, count, WORD * k.mask_pitch) if masks else None
            made = k.contract(q, keys, _rectangle(memory, third, rows, count, pitch), mask, limit)
            _put(memory, third, made, pitch)
        elif phase == SHARES:
            made = self.shares.contract(_rectangle(memory, first, rows, count, pitch), count, limit)
            _put(memory, first, made, pitch)
        else:
            s, v = _rectangle(memory, first, rows, count, pitch), floats(memory, second, count, width)
            o = floats(memory, third, rows, width)
            write(memory, third, self.mix.contract(s, v, o, bool(fourth), limit))


def _rectangle(memory: Memory, address: int, rows: int, columns: int, pitch: int) -> F32:
    return rows_of(memory, address, rows, columns, WORD * pitch)


def _put(memory: Memory, address: int, made: F32, pitch: int) -> None:
    for row, values in enumerate(made):
        write(memory, address + WORD * pitch * row, values)


@dataclass(eq=False)
class BlockAttentionPlan(SourcesPlan):
    """y = softmax(scale q keysᵀ + mask) values.

    Attributes:
        name: Node.
        op: Operator.
        sizes: Of the operands.
        scale: Factor.
        q: [heads, rows, depth].
        keys: A piece or two, each [heads / share, positions, depth].
        values: The same with ``width``.
        mask: [masks, positions], if one is read.
        y: [heads, rows, width].
        target: The machine.
        blocks: How the work is cut, None: as takes the fewest cycles.
    """

    name: str
    op: str
    sizes: BlockSizes
    scale: float
    q: Source
    keys: tuple[Source, ...]
    values: tuple[Source, ...]
    mask: Source | None
    y: Tensor
    target: Target
    blocks: Blocks | None = None

    def __post_init__(self) -> None:
        found = self.blocks or cut(self.sizes, self.target)
        assert found is not None, "the pass asks whether it fits"
        self.cut = found

    @property
    def sources(self) -> Sequence[Source]:
        """See `SourcesPlan`."""
        return (self.q, *self.keys, *self.values, *(() if self.mask is None else (self.mask,)))

    @property
    def estimate(self) -> float:
        """See `LayerPlan`."""
        return self.cut.cycles(self.sizes, self.target.harts, self.target.lanes)

    def choices(self, target: Target) -> dict[str, Choice]:
        """See `LayerPlan`."""
        s, splits = self.sizes, (ROWS, HEADS)[: 1 + (1 < target.harts <= self.sizes.heads)]
        rows = tuple(dict.fromkeys((*range(GRANULE, s.rows, GRANULE), s.rows)))
        return {
            "rows": Choice(self.cut.rows, rows), "positions": Choice(self.cut.positions, range(1, s.length + 1)),
            "cores_split": Choice(self.cut.split, splits),
        }  # fmt: skip

    def chosen(self, target: Target, values: Mapping[str, Setting]) -> BlockAttentionPlan:
        """See `LayerPlan`."""
        rows, positions = (
            int(values.get("rows", self.cut.rows)),
            int(values.get("positions", self.cut.positions)),
        )
        blocks = Blocks(rows, positions, str(values.get("cores_split", self.cut.split)))
        check_l1(blocks.bytes(self.sizes, target.harts), target)
        return replace(self, blocks=blocks)

    @cached_property
    def kernel(self) -> BlockTile:
        """The code of a tile."""
        s, c = self.sizes, self.cut
        step, ahead = 1 if c.split == HEADS else self.target.harts, s.ahead is not None
        return BlockTile(
            RowScores(s.depth, self.scale, s.pitch, step, min(s.masks, 2), c.positions, ahead),
            RowShares(s.pitch, step, ahead),
            RowMix(s.width, s.pitch, step, ahead),
        )

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        made, s, c = _BlockTiles(self, target), self.sizes, self.cut
        loops = (
            Loop("head", s.heads, c.heads(target.harts)), Loop("row", s.rows, c.rows),
            Loop("position", s.length, c.positions),
        )  # fmt: skip
        operands = [item for source in self.sources for item in source_operands(source)]
        return LoweredOp(
            self.name, self.op, self.kernel, loops, tuple(made.setup()), tuple(made.tiles()),
            (*operands, *self.y.operands("output")), s.macs, footprint=tuple(made.l1.taken), contained=True,
        )  # fmt: skip


class _BlockTiles:
    """Addresses and transfers."""

    def __init__(self, plan: BlockAttentionPlan, target: Target) -> None:
        self.plan, self.harts, self.s, self.c = plan, target.harts, plan.sizes, plan.cut
        self.l1 = l1 = target.l1()
        s, c, heads = self.s, self.c, range(self.c.heads(target.harts))
        self.q = [l1.take("queries", WORD * c.rows * s.depth) for _ in heads]
        self.scores = [l1.take("scores", WORD * c.rows * s.pitch) for _ in heads]
        self.out = [l1.take("mixed", WORD * c.rows * s.width) for _ in heads]
        self.operands = [[l1.take("operand", c.operand(s)) for _ in range(2)] for _ in heads]
        self.masks: list[int] = []
        if s.masks == 1:
            self.masks = [l1.take("mask", WORD * s.length)]
        elif s.masks:
            self.masks = [l1.take("mask", WORD * c.rows * c.positions) for _ in range(2)]
        self.step = 0

    def setup(self) -> Iterator[Transfer]:
        """A mask that all rows share."""
        if self.plan.mask is not None and self.s.masks == 1:
            yield Transfer(self.plan.mask.address, self.masks[0], WORD * self.s.length)

    def tiles(self) -> Iterator[Tile]:
        """Heads outermost, then blocks, phases, positions."""
        for first, heads in Loop("head", self.s.heads, self.c.heads(self.harts)):
            for row, rows in Loop("row", self.s.rows, self.c.rows):
                yield from self._block(first, heads, row, rows)

    def _block(self, first: int, heads: int, row: int, rows: int) -> Iterator[Tile]:
        s, plan = self.s, self.plan
        where = f"{first}+{heads}, {row}+{rows}"
        parts = tuple(Loop("position", s.limit(row + rows), self.c.positions))
        for start, count in parts:
            turn, loads = self.step % 2, list[Transfer]()
            if not start:
                for place in range(heads):
                    source = plan.q.address + WORD * s.depth * ((first + place) * s.rows + row)
                    loads.append(Transfer(source, self.q[place], WORD * s.depth * rows))
            loads += self._operands(plan.keys, key_pitch(s.depth), s.depth, (first, heads), (start, count))
            if s.masks > 1:
                loads.append(self._mask(row, rows, start, count, self.masks[turn]))
            args = tuple(self._scores(hart, heads, row, rows, (start, count)) for hart in range(self.harts))
            yield Tile(tuple(loads), (), args, f"scores {where}, {start}+{count}")
            self.step += 1
        args = tuple(self._shares(hart, heads, row, rows) for hart in range(self.harts))
        yield Tile((), (), args, f"shares {where}")
        for start, count in parts:
            loads = self._operands(plan.values, WORD * s.width, s.width, (first, heads), (start, count))
            args = tuple(self._values(hart, heads, row, rows, (start, count)) for hart in range(self.harts))
            stores = [
                Transfer(
                    self.out[place], plan.y.address + WORD * s.width * ((first + place) * s.rows + row),
                    WORD * s.width * rows,
                )
                for place in range(heads) if (start, count) == parts[-1]
            ]  # fmt: skip
            yield Tile(tuple(loads), tuple(stores), args, f"values {where}, {start}+{count}")
            self.step += 1

    def _operands(
        self, pieces: Sequence[Source], pitch: int, length: int, heads: tuple[int, int], part: tuple[int, int]
    ) -> list[Transfer]:
        """Keys or values of some positions, for some heads."""
        (first, count), found = heads, list[Transfer]()
        for place in range(count):
            to, group = self.operands[place][self.step % 2], (first + place) // self.s.share
            found += piecewise(pieces, self.s.positions, (pitch, WORD * length), group, part, to)
        return found

    def _mask(self, row: int, rows: int, start: int, count: int, to: int) -> Transfer:
        assert self.plan.mask is not None
        source = self.plan.mask.address + WORD * (row * self.s.length + start)
        return Transfer(source, to, WORD * count, rows, WORD * self.s.length, WORD * self.c.positions)

    def _mine(self, hart: int, heads: int, rows: int) -> tuple[int, int, int]:
        """(head's place, first row, rows from there on) of a hart in a block; no rows if it has nothing to do."""
        if self.c.split == HEADS:
            return min(hart, heads - 1), 0, rows if hart < heads else 0
        first = GRANULE * hart
        return (0, first, rows - first) if first < rows else (0, 0, 0)

    def _limit(self, row: int) -> int:
        """Positions that the four rows from one on see."""
        return row + GRANULE + self.s.ahead if self.s.ahead is not None else 0

    def _scores(self, hart: int, heads: int, row: int, rows: int, part: tuple[int, int]) -> tuple[int, ...]:
        s, (start, count) = self.s, part
        place, first, mine = self._mine(hart, heads, rows)
        mask = 0
        if s.masks == 1:
            mask = self.masks[0] + WORD * start
        elif s.masks:
            mask = self.masks[self.step % 2] + WORD * self.c.positions * first
        return (
            self.q[place] + WORD * s.depth * first, self.operands[place][self.step % 2],
            self.scores[place] + WORD * (s.pitch * first + start), mask, count, self._limit(row + first), mine,
            SCORES + 4 * start,
        )  # fmt: skip

    def _shares(self, hart: int, heads: int, row: int, rows: int) -> tuple[int, ...]:
        place, first, mine = self._mine(hart, heads, rows)
        at = self.scores[place] + WORD * self.s.pitch * first
        return at, 0, 0, 0, self.s.limit(row + rows), self._limit(row + first), mine, SHARES

    def _values(self, hart: int, heads: int, row: int, rows: int, part: tuple[int, int]) -> tuple[int, ...]:
        s, (start, count) = self.s, part
        place, first, mine = self._mine(hart, heads, rows)
        return (
            self.scores[place] + WORD * (s.pitch * first + start), self.operands[place][self.step % 2],
            self.out[place] + WORD * s.width * first, int(start > 0), count, self._limit(row + first), mine,
            VALUES + 4 * start,
        )  # fmt: skip
