"""Rotary positions: rows stream through L1; a row of angles for all stays there, others come with their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from potluck.compiler.lowering.adapters import floats, write
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
from potluck.compiler.lowering.kernel_tile import KernelTile
from potluck.compiler.lowering.stream import TILES
from potluck.compiler.schedule.layer import Loop, LoweredOp, Memory, Tile, Transfer
from potluck.compiler.schedule.memory import align
from potluck.kernels.rotation import Rotate


class RotateTile(KernelTile[Rotate]):
    """Arguments: x, cosines, sines, output, rows."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, cosines, sines, out, rows = args
        if rows:
            k, width = self.kernel, 2 * self.kernel.half
            tables = (floats(memory, at, 1 if k.single else rows, width) for at in (cosines, sines))
            write(memory, out, k.contract(floats(memory, x, rows, width), *tables))


@dataclass(eq=False)
class RotatePlan(SourcesPlan):
    """y = x rotated.

    Attributes:
        name: Node.
        op: Operator.
        x: [..., angles, width], FP32.
        cosines: [angles, width].
        sines: [angles, width].
        angles: Rows of them; 1: the same for every row of x.
        y: As x.
        tile: Rows of a tile, 0: about an eighth of all.
    """

    name: str
    op: str
    x: Tensor
    cosines: Source
    sines: Source
    angles: int
    y: Tensor
    tile: int = 0

    def __post_init__(self) -> None:
        self.row = 4 * self.x.channels
        self.single = self.angles == 1
        self.kernel = Rotate(self.x.channels // 2, self.single)
        rows = self.x.elements // self.x.channels
        self.outer, self.length = (1, rows) if self.single else (rows // self.angles, self.angles)

    @property
    def sources(self) -> Sequence[Source]:
        """See `SourcesPlan`."""
        return (self.x, self.cosines, self.sines)

    def _bytes(self, rows: int) -> int:
        """L1 of tiles of so many rows; of one tile there is one buffer."""
        copies = 1 + (self.outer * self.length > rows)
        held = align(self.row) if self.single else copies * align(rows * self.row)
        return 2 * copies * align(rows * self.row) + 2 * held

    def _rows(self, target: Target) -> int:
        """Rows of a tile."""
        if self.tile:
            return self.tile
        free = target.l1().size - SLACK - 2 * align(self.row) * self.single
        most = max(1, (free // (4 if self.single else 8) - 64) // self.row)
        wanted = max(-(-self.outer * self.length // TILES), target.least // (2 * self.row), 1)
        return min(most, self.length, -(-wanted // target.harts) * target.harts)

    def choices(self, target: Target) -> dict[str, Choice]:
        """See `LayerPlan`."""
        return {"rows": Choice(self._rows(target), range(1, self.length + 1))}

    def chosen(self, target: Target, values: Mapping[str, Setting]) -> RotatePlan:
        """See `LayerPlan`."""
        rows = int(values["rows"])
        check_l1(self._bytes(rows), target)
        return replace(self, tile=rows)

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        l1, rows = target.l1(), self._rows(target)
        loop = Loop("row", self.length, rows)
        copies = 1 + (self.outer * len(loop) > 1)
        buffers = [[l1.take("rows", rows * self.row) for _ in range(2)] for _ in range(copies)]
        if self.single:
            angles = [[l1.take("angles", self.row) for _ in range(2)]] * 2
        else:
            angles = [
                [l1.take("angles", rows * self.row) for _ in range(2)] for _ in range(min(2, len(loop)))
            ]
        tiles = tuple(self._tiles(loop, buffers, angles, target.harts))
        setup = tuple(self._angles(0, 1, angles[0])) if self.single else ()
        operands = (operand for item in self.sources for operand in source_operands(item))
        return LoweredOp(
            self.name, self.op, RotateTile(self.kernel), (loop, Loop("matrix", self.outer, 1)), setup, tiles,
            (*operands, *self.y.operands("output")), footprint=tuple(l1.taken), contained=True,
        )  # fmt: skip

    def _angles(self, start: int, rows: int, at: Sequence[int]) -> Iterator[Transfer]:
        for source, to in zip((self.cosines, self.sines), at, strict=True):
            yield Transfer(source.address + start * self.row, to, rows * self.row)

    def _tiles(
        self, loop: Loop, buffers: Sequence[Sequence[int]], angles: Sequence[Sequence[int]], harts: int
    ) -> Iterator[Tile]:
        """Rows of angles outermost, so that each comes once."""
        for number, (start, size) in enumerate(loop):
            tables = angles[number % len(angles)]
            for matrix in range(self.outer):
                x, out = buffers[(number * self.outer + matrix) % len(buffers)]
                offset = (matrix * self.length + start) * self.row
                loads = [Transfer(self.x.address + offset, x, size * self.row)]
                if not self.single and not matrix:
                    loads += self._angles(start, size, tables)
                store = Transfer(out, self.y.address + offset, size * self.row)
                args = tuple(self._args(share(size, harts, hart), x, tables, out) for hart in range(harts))
                yield Tile(tuple(loads), (store,), args, f"matrix {matrix}, rows {start}+{size}")

    def _args(self, part: tuple[int, int], x: int, tables: Sequence[int], out: int) -> tuple[int, ...]:
        first, count = part[0] * self.row, part[1]
        cosines, sines = (table + (0 if self.single else first) for table in tables)
        return x + first, cosines, sines, out + first, count
