"""Products of two activations in FP32: batches of matrices, in tiles of rows and slices of columns.

A product whose contraction is too long for L1 is several plans over parts of it; each goes on from the sums of the one
before it, so where it is cut changes no bit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

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
from potluck.compiler.schedule.layer import Loop, LoweredOp, Memory, Tile, Transfer
from potluck.compiler.schedule.memory import align
from potluck.isa.errors import MachineError
from potluck.kernels.matmul.fp32 import GemmFp32

COLUMNS = 64
"""Slices are multiples of this, what four registers of 512 bits hold."""
ROWS = 4
"""Rows that the kernel takes together."""
WORD = 4
START, OVERHEAD = 60, 300
"""Cycles of a register tile, and of a tile, that multiply nothing."""


class MatMulTile(KernelTile[GemmFp32]):
    """Arguments: A, B, C, rows, and C once more if it holds the sums so far."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        at_a, at_b, at_c, rows, *at_onto = args
        if not rows:
            return
        n, k = self.kernel.n, self.kernel.k
        a = memory.view(at_a, rows * k * WORD).view(np.float32).reshape(rows, k)
        b = memory.view(at_b, k * n * WORD).view(np.float32).reshape(k, n)
        onto = [memory.view(at, rows * n * WORD).view(np.float32).reshape(rows, n) for at in at_onto]
        c = self.kernel.contract(a, b, onto=onto[0] if onto else None)
        memory.view(at_c, rows * n * WORD)[:] = c.view(np.uint8).reshape(-1)


@dataclass(frozen=True)
class Product:
    """Shapes of C = A B.

    Attributes:
        batch: Dimensions of the result in front of the matrices.
        a_batch: Those of A, broadcast ones being 1.
        b_batch: Those of B.
        m: Rows of A.
        k: Columns of A.
        n: Columns of B.
    """

    batch: tuple[int, ...]
    a_batch: tuple[int, ...]
    b_batch: tuple[int, ...]
    m: int
    k: int
    n: int

    @classmethod
    def of(cls, a: Sequence[int], b: Sequence[int]) -> Product:
        """From the operands' shapes, as `numpy.matmul` reads them; rows of batches that share B are merged."""
        a, b = (1, *a) if len(a) == 1 else tuple(a), (*b, 1) if len(b) == 1 else tuple(b)
        rank = max(len(a), len(b)) - 2
        a_batch = (1,) * (rank - len(a) + 2) + a[:-2]
        b_batch = (1,) * (rank - len(b) + 2) + b[:-2]
        (m, k), n = a[-2:], b[-1]
        if math.prod(b_batch) == 1:
            return cls((), (), (), math.prod(a_batch) * m, k, n)
        return cls(tuple(np.broadcast_shapes(a_batch, b_batch)), a_batch, b_batch, m, k, n)

    def offsets(self) -> Iterator[tuple[int, int]]:
        """Which matrix of A and which of B, for every matrix of C."""
        for place in itertools.product(*(range(size) for size in self.batch)):
            yield _number(place, self.a_batch), _number(place, self.b_batch)


def _number(place: Sequence[int], shape: Sequence[int]) -> int:
    found = 0
    for index, size in zip(place, shape, strict=True):
        found = found * size + (index if size > 1 else 0)
    return found


@dataclass(eq=False)
class MatMulPlan(SourcesPlan):
    """C = clip(onto + A[:, first : first + length] B[first : first + length]).

    Attributes:
        name: Node.
        op: Operator.
        product: Shapes.
        a: Left operand.
        b: Right operand.
        y: Result.
        first: Where the part of the contraction begins.
        length: Its length.
        bounds: Of the fused activation.
        target: The machine.
        onto: The sums so far, None: +0.
        tiles: (rows, columns) of a tile, None: as many as fit.
    """

    name: str
    op: str
    product: Product
    a: Source
    b: Source
    y: Tensor
    first: int
    length: int
    bounds: tuple[float, float]
    target: Target
    onto: Tensor | None = None
    tiles: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self.rows, self.columns = self.tiles or self._fitting()
        low, high = (None if math.isinf(bound) else bound for bound in self.bounds)
        self.kernel = GemmFp32(self.columns, self.length, onto=self.onto is not None, low=low, high=high)

    def _fitting(self) -> tuple[int, int]:
        free = room(self.target)
        p = self.product
        # Half for B: as many columns as fit twice; then as many rows of A and C.
        most = max(1, free // 2 // (WORD * self.length))
        columns = p.n if p.n <= most else max(most // COLUMNS * COLUMNS, min(most, COLUMNS))
        rest = free - WORD * self.length * columns
        rows = min(p.m, rest // (WORD * (self.length + columns)))
        if rows < 1:
            raise MachineError(
                f"layer {self.name!r}: a row of {self.length} values does not fit L1",
                key=self.target.working_key,
            )
        group = ROWS * self.target.harts
        return rows // group * group or rows, columns

    @property
    def estimate(self) -> float:
        """See `LayerPlan`: the products at the peak, but for what a tile and each row of B take beside them."""
        p, rate = self.product, 2 * self.target.lanes
        tiles = math.prod(p.batch) * math.ceil(p.m / self.rows) * math.ceil(p.n / self.columns)
        rows = math.ceil(min(self.rows, p.m) / self.target.harts)
        groups = rows // ROWS + rows % ROWS
        full, rest = divmod(self.columns, COLUMNS)
        widths = [COLUMNS] * full + [rest] * (rest > 0)
        step = sum(max(count * ROWS / rate, 2 * ROWS + 3) for count in widths)
        compute = groups * (self.length * step + START * len(widths)) * (rows / (groups * ROWS))
        return tiles * (compute + OVERHEAD)

    def choices(self, target: Target) -> dict[str, Choice]:
        """See `LayerPlan`."""
        p = self.product
        steps = {p.n, self.columns, *range(COLUMNS, p.n, COLUMNS)}
        return {
            "rows": Choice(self.rows, range(1, p.m + 1)), "columns": Choice(self.columns, tuple(sorted(steps)))
        }  # fmt: skip

    def chosen(self, target: Target, values: Mapping[str, Setting]) -> MatMulPlan:
        """See `LayerPlan`."""
        rows, columns = int(values.get("rows", self.rows)), int(values.get("columns", self.columns))
        parts = (rows * self.length, self.length * columns, rows * columns)
        check_l1(2 * sum(align(WORD * size) for size in parts), target)
        return replace(self, tiles=(rows, columns))

    @property
    def sources(self) -> Sequence[Source]:
        """See `SourcesPlan`."""
        return (self.a, self.b, self.onto) if self.onto else (self.a, self.b)

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        p, l1 = self.product, target.l1()
        buffers = [
            [l1.take(role, WORD * size) for _ in range(2)]
            for role, size in (
                ("a", self.rows * self.length), ("b", self.length * self.columns), ("c", self.rows * self.columns),
            )
        ]  # fmt: skip
        starts = [min(at, p.n - self.columns) for at in range(0, p.n, self.columns)]
        rows = Loop("row", p.m, self.rows)
        tiles: list[Tile] = []
        turn = -1
        for batch, (left, right) in enumerate(p.offsets()):
            for column in starts:
                turn += 1
                for row, count in rows:
                    at_a, at_c = buffers[0][len(tiles) % 2], buffers[2][len(tiles) % 2]
                    at_b = buffers[1][turn % 2]
                    loads = [self._left(left * p.m + row, count, at_a)]
                    if not row:
                        loads.append(self._right(right, column, at_b))
                    if self.onto:
                        loads.append(self._so_far(self.onto, batch * p.m + row, count, column, at_c))
                    store = self._result(batch * p.m + row, count, column, at_c)
                    args = tuple(self._args(at_a, at_b, at_c, count, hart) for hart in range(target.harts))
                    tiles.append(Tile(tuple(loads), (store,), args, f"{batch}, {row}+{count}, {column}"))
        operands = [item for source in self.sources for item in source_operands(source, held="weights")]
        loops = (Loop("batch", math.prod(p.batch), 1), Loop("column", p.n, self.columns), rows)
        return LoweredOp(
            self.name, self.op, MatMulTile(self.kernel), loops, (), tuple(tiles),
            (*operands, *self.y.operands("output")), math.prod(p.batch) * p.m * self.length * p.n,
            footprint=tuple(l1.taken),
        )  # fmt: skip

    def _left(self, row: int, count: int, to: int) -> Transfer:
        k, size = self.product.k, WORD * self.length
        source = self.a.address + WORD * (row * k + self.first)
        if size == WORD * k or count == 1:
            return Transfer(source, to, size * count)
        return Transfer(source, to, size, count, WORD * k, size)

    def _right(self, matrix: int, column: int, to: int) -> Transfer:
        p, size = self.product, WORD * self.columns
        source = self.b.address + WORD * ((matrix * p.k + self.first) * p.n + column)
        if self.columns == p.n or self.length == 1:
            return Transfer(source, to, size * self.length)
        return Transfer(source, to, size, self.length, WORD * p.n, size)

    def _result(self, row: int, count: int, column: int, at: int) -> Transfer:
        n, size = self.product.n, WORD * self.columns
        to = self.y.address + WORD * (row * n + column)
        if self.columns == n or count == 1:
            return Transfer(at, to, size * count)
        return Transfer(at, to, size, count, size, WORD * n)

    def _so_far(self, source: Tensor, row: int, count: int, column: int, to: int) -> Transfer:
        """The way back of a result: behind the store of the tile before last, whose buffer it takes."""
        back = self._result(row, count, column, to)
        at = back.destination - self.y.address + source.address
        strides = {"source_stride": back.destination_stride, "destination_stride": back.source_stride}
        return replace(back, source=at, destination=to, **strides)

    def _args(self, a: int, b: int, c: int, count: int, hart: int) -> tuple[int, ...]:
        first, rows = share(count, self.target.harts, hart)
        own = c + WORD * first * self.columns
        return a + WORD * first * self.length, b, own, rows, *([own] if self.onto else [])


def room(target: Target) -> int:
    """Bytes for one copy of the operands' and the result's tiles."""
    return (target.l1().size - SLACK) // 2 - 3 * 64


def parts(length: int, target: Target) -> list[tuple[int, int]]:
    """(first, length) of the parts of a contraction: as few as leave room for some columns of B and rows of A."""
    most = room(target) // (2 * WORD * COLUMNS)
    count = -(-length // most)
    size = -(-length // count)
    return [(first, min(size, length - first)) for first in range(0, length, size)]
