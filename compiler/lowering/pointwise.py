"""Elementwise layers with broadcasting: any shapes become a few loops around matrices whose operands may repeat.

Neighbouring dimensions in which the same operands vary are merged. The last of what remains are the kernel's
columns, the one before its rows; further ones are loops over tiles. An operand that does not vary along rows or
columns is repeated by the kernel (`potluck.kernels.pointwise.Extent`), never copied.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from potluck.compiler.lowering.base import (
    FORMAT_NAMES,
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
from potluck.kernels.expressions.graph import Value
from potluck.kernels.expressions.simplify import simplified
from potluck.kernels.expressions.small import memory_type
from potluck.kernels.pointwise import Array, Extent, Pointwise

TILES = 8
"""Tiles that a layer is cut into if they are not too small."""
GRANULE = 16
"""Columns that are not divided among harts."""


@dataclass(frozen=True)
class Axis:
    """One merged dimension.

    Attributes:
        size: Elements.
        varies: Of each operand, whether it varies along it.
    """

    size: int
    varies: tuple[bool, ...]


def merge(shape: Sequence[int], operands: Sequence[Sequence[int]]) -> list[Axis]:
    """The fewest dimensions that say how operands of these shapes (as many dimensions each) fill ``shape``."""
    axes: list[Axis] = []
    for at, size in enumerate(shape):
        if size == 1:
            continue
        varies = tuple(operand[at] != 1 for operand in operands)
        if axes and axes[-1].varies == varies:
            axes[-1] = Axis(axes[-1].size * size, varies)
        else:
            axes.append(Axis(size, varies))
    return axes


EXTENTS: dict[tuple[bool, bool], Extent] = {
    (True, True): "full",
    (False, True): "row",
    (True, False): "column",
    (False, False): "scalar",
}


@dataclass(frozen=True)
class Piece:
    """A part of the layer: one place in the outer loops, some rows, some columns."""

    outer: tuple[int, ...]
    row: int
    rows: int
    column: int
    columns: int


class PointwiseTile(KernelTile[Pointwise]):
    """Arguments: operands, output, rows, columns."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        *pointers, out, rows, columns = args
        if not rows or not columns:
            return
        operands = [
            memory.view(pointer, array.size(rows, columns)).view(array.dtype)
            for pointer, array in zip(pointers, self.kernel.arrays, strict=True)
        ]
        result = self.kernel.contract(*operands, rows=rows, columns=columns)
        memory.view(out, result.nbytes)[:] = np.ascontiguousarray(result).view(np.uint8).reshape(-1)


@dataclass(eq=False)
class PointwisePlan(SourcesPlan):
    """One expression over tensors.

    Attributes:
        name: Node.
        op: Operator.
        value: The expression, of arguments in the order of ``inputs``.
        inputs: Activations, and constants in the order of the output's memory.
        shapes: Of the inputs in the output's dimensions, as these lie in memory.
        y: Output.
        tile: (rows, columns), None: about an eighth of all.
    """

    name: str
    op: str
    value: Value
    inputs: tuple[Source, ...]
    shapes: tuple[tuple[int, ...], ...]
    y: Tensor
    tile: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        shape = self.y.stored_shape
        axes = merge(shape, self.shapes) if all(shape) else []
        every = (True,) * len(self.inputs)
        columns = axes.pop() if axes else Axis(math.prod(shape), every)
        rows = axes.pop() if axes else Axis(1, columns.varies)  # a single row does not tell
        self.outer, self.rows, self.columns = axes, rows, columns
        self.kernel = Pointwise(
            simplified(self.value),
            tuple(
                Array(dtype_of(item), EXTENTS[rows.varies[i], columns.varies[i]])
                for i, item in enumerate(self.inputs)
            ),
            memory_type(self.y.dtype),
        )

    @property
    def sources(self) -> Sequence[Source]:
        """See `SourcesPlan`."""
        return self.inputs

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        return _Lowering(self, target).result()

    def choices(self, target: Target) -> dict[str, Choice]:
        """See `LayerPlan`: a tile is some whole rows, or a part of one."""
        made = _Lowering(self, target)
        return {
            "rows": Choice(made.step_rows, range(1, self.rows.size + 1)),
            "columns": Choice(made.step_columns, range(1, self.columns.size + 1)),
        }

    def chosen(self, target: Target, values: Mapping[str, Setting]) -> PointwisePlan:
        """See `LayerPlan`."""
        now = {name: choice.value for name, choice in self.choices(target).items()} | dict(values)
        rows, columns = int(now["rows"]), int(now["columns"])
        if rows > 1 and columns != self.columns.size:
            raise MachineError(
                f"a tile of {rows} rows has whole rows of {self.columns.size} columns, not {columns}",
                key=target.working_key,
            )
        arrays = (*self.kernel.arrays, Array(self.kernel.out))
        check_l1(2 * sum(align(array.size(rows, columns)) for array in arrays), target)
        return replace(self, tile=(rows, columns))


def dtype_of(item: Source) -> str:
    """An operand's type in memory."""
    if isinstance(item, Tensor):
        return memory_type(item.dtype)
    names = {short: name for name, short in FORMAT_NAMES.items()}
    return memory_type(names.get(item.format, item.format.lower()))


class _Lowering:
    """Tiles of one plan."""

    def __init__(self, plan: PointwisePlan, target: Target) -> None:
        self.plan, self.target, self.l1 = plan, target, target.l1()
        self.arrays = plan.kernel.arrays
        self.item = int(np.dtype(plan.y.dtype).itemsize)
        self.step_rows, self.step_columns = self._steps()
        self.strides = [self._strides(i) for i in range(len(self.arrays))]

    def _steps(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        if self.plan.tile is not None:
            return self.plan.tile
        rows, columns = self.plan.rows.size, self.plan.columns.size
        per_element = self.item + sum(array.bytes for array in self.arrays if array.extent == "full")
        along_columns = sum(array.bytes for array in self.arrays if array.extent == "row")
        along_rows = sum(array.bytes for array in self.arrays if array.extent == "column")
        free = (self.l1.size - SLACK - 64 * 2 * (len(self.arrays) + 1)) // 2
        whole = rows * columns * math.prod(axis.size for axis in self.plan.outer)
        wanted = max(-(-whole // TILES), self.target.least // per_element, 1)
        most = max(1, free // (per_element + along_columns + along_rows))
        if rows == 1 and columns <= min(most, wanted):
            return 1, columns
        if columns > most or rows == 1:
            granules = min(wanted, most, columns) // (GRANULE * self.target.harts)
            return 1, max(1, granules) * GRANULE * self.target.harts if granules else min(columns, most)
        fitting = (free - along_columns * columns) // (per_element * columns + along_rows)
        step = max(1, min(rows, fitting, -(-wanted // columns)))
        return (step - step % self.target.harts or step), columns

    def _strides(self, index: int) -> tuple[list[int], int, int]:
        """Bytes from one place to the next of an operand (-1: the output): outer dimensions, rows, columns."""
        plan = self.plan
        item = self.item if index < 0 else self.arrays[index].bytes
        axes = [*plan.outer, plan.rows, plan.columns]
        strides, size = [], item
        for axis in reversed(axes):
            varies = index < 0 or axis.varies[index]
            strides.append(size if varies else 0)
            size *= axis.size if varies else 1
        *outer, rows, columns = reversed(strides)
        return outer, rows, columns

    def pieces(self) -> Iterator[Piece]:
        """Every tile's part."""
        plan = self.plan
        rows = Loop("row", plan.rows.size, self.step_rows)
        columns = Loop("column", plan.columns.size, self.step_columns)
        for outer in itertools.product(*(range(axis.size) for axis in plan.outer)):
            for (row, height), (column, width) in itertools.product(rows, columns):
                yield Piece(outer, row, height, column, width)

    def result(self) -> LoweredOp:
        """The layer."""
        plan, pieces = self.plan, list(self.pieces())
        copies = 1 + (len(pieces) > 1)
        whole = self.step_columns == plan.columns.size
        fixed = {
            i
            for i, array in enumerate(self.arrays)
            if array.extent in ("row", "scalar")
            and (whole or array.extent == "scalar")
            and not any(axis.varies[i] for axis in plan.outer)
        }
        sizes = [
            array.size(self.step_rows, self.step_columns) for array in (*self.arrays, Array(plan.kernel.out))
        ]
        buffers = [
            [self.l1.take("fixed" if i in fixed else "operand", size)] * 2
            if i in fixed
            else [self.l1.take("operand", size) for _ in range(copies)] + [0] * (2 - copies)
            for i, size in enumerate(sizes)
        ]
        setup = tuple(self._load(i, pieces[0], buffers[i][0]) for i in sorted(fixed))
        tiles = []
        for number, piece in enumerate(pieces):
            at = [slots[number % copies] for slots in buffers]
            loads = tuple(self._load(i, piece, at[i]) for i in range(len(self.arrays)) if i not in fixed)
            outer, row_bytes, column_bytes = self._strides(-1)
            start = plan.y.address + self._offset((outer, row_bytes, column_bytes), piece)
            store = Transfer(at[-1], start, piece.rows * piece.columns * self.item)
            args = tuple(self._args(piece, at, hart) for hart in range(self.target.harts))
            tiles.append(Tile(loads, (store,), args, f"{piece}"))
        loops = (
            *(Loop(f"outer {i}", axis.size, 1) for i, axis in enumerate(plan.outer)),
            Loop("row", plan.rows.size, self.step_rows),
            Loop("column", plan.columns.size, self.step_columns),
        )
        operands = [operand for item in plan.inputs for operand in source_operands(item)]
        return LoweredOp(
            plan.name, plan.op, PointwiseTile(plan.kernel), loops, setup, tuple(tiles),
            (*operands, *plan.y.operands("output")), format=plan.y.dtype if plan.y.dtype != "float32" else "fp32",
            footprint=tuple(self.l1.taken), contained=True,
        )  # fmt: skip

    @staticmethod
    def _offset(strides: tuple[list[int], int, int], piece: Piece) -> int:
        outer, row, column = strides
        return (
            sum(a * b for a, b in zip(outer, piece.outer, strict=True))
            + piece.row * row
            + piece.column * column
        )

    def _load(self, index: int, piece: Piece, at: int) -> Transfer:
        item, array = self.plan.inputs[index], self.arrays[index]
        source = item.address + self._offset(self.strides[index], piece)
        return Transfer(source, at, array.size(piece.rows, piece.columns))

    def _args(self, piece: Piece, at: list[int], hart: int) -> tuple[int, ...]:
        """A hart's share: rows, or columns of one row, which several divide if there are fewer rows than harts."""
        harts = self.target.harts
        row, rows, column, columns = 0, piece.rows, 0, piece.columns
        if rows >= harts > 1:
            row, rows = share(rows, harts, hart)
        elif harts > 1 or rows == 1:
            together = harts // rows
            row = hart // together
            first, granules = share(-(-columns // GRANULE), together, hart % together)
            column = min(first * GRANULE, columns)
            columns = min(granules * GRANULE, columns - column)
            rows = int(columns > 0 and row < rows)
            row *= rows
        pointers = []
        for array, address in zip((*self.arrays, Array(self.plan.kernel.out)), at, strict=True):
            steps = {"full": row * piece.columns + column, "row": column, "column": row, "scalar": 0}
            pointers.append(address + steps[array.extent] * array.bytes)
        return (*pointers, rows, columns)


def padded(shape: Sequence[int], rank: int) -> tuple[int, ...]:
    """A shape with leading ones, as broadcasting has it."""
    return (1,) * (rank - len(shape)) + tuple(shape)
