"""Layers that combine elements along the innermost reduced dimension; several such layers reduce several dimensions.

Neighbouring dimensions are merged as for elementwise layers. If the last one is reduced, it is the kernel's columns
and its rows are kept; otherwise the last one is kept and the one before it, the kernel's rows, is reduced. What does
not fit into L1 is reduced in chunks, whose results another layer combines.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from potluck.compiler.lowering.base import SLACK, Source, SourcesPlan, Target, Tensor, share, source_operands
from potluck.compiler.lowering.kernel_tile import KernelTile
from potluck.compiler.lowering.pointwise import EXTENTS, GRANULE, TILES, Axis, dtype_of, merge
from potluck.compiler.schedule.layer import Loop, LoweredOp, Memory, Tile, Transfer
from potluck.kernels.expressions.graph import Value
from potluck.kernels.pointwise import Array
from potluck.kernels.reduction import Operation, Reduction

ROOM = 4
"""Share of the working memory that the operands of one chunk may take: they exist twice."""


class ReductionTile(KernelTile[Reduction]):
    """Arguments: operands, output, rows, columns, and along the rows the stride."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        count = len(self.kernel.arrays)
        pointers, out, rows, columns = args[:count], args[count], args[count + 1], args[count + 2]
        if not (rows if self.kernel.along == "columns" else columns):
            return
        stride = columns if self.kernel.along == "columns" else args[count + 3]
        places = np.arange(rows)[:, None] * stride + np.arange(columns)
        operands = []
        for pointer, array in zip(pointers, self.kernel.arrays, strict=True):
            whole = array.extent == "full"
            span = (int(places.max(initial=-1)) + 1) * array.bytes if whole else array.size(rows, columns)
            data = memory.view(pointer, span).view(array.dtype)
            operands.append(data[places].reshape(-1) if whole else data)
        result = np.ascontiguousarray(self.kernel.contract(*operands, rows=rows, columns=columns))
        memory.view(out, result.nbytes)[:] = result.view(np.uint8).reshape(-1)


@dataclass(frozen=True)
class Piece:
    """A part of the layer: a place in the outer loops, some kept and some reduced elements, the chunk's number."""

    outer: tuple[int, ...]
    kept: int
    kept_count: int
    reduced: int
    reduced_count: int
    chunk: int


@dataclass(eq=False)
class ReductionPlan(SourcesPlan):
    """One reduction of an expression over tensors.

    Attributes:
        name: Node.
        op: Operator.
        combine: Operation.
        value: The expression, of arguments in the order of ``inputs``.
        post: Of the result, see `Reduction`.
        inputs: Activations, and constants in the order of the dimensions.
        matrix: What is reduced of which shapes.
        chunk: Elements that are reduced at once, see `chunk_of`.
        y: Output, which holds a result per kept element and chunk: [outer, kept, chunk], or [outer, chunk, kept] where
            the last dimension is kept.
        target: Machine.
    """

    name: str
    op: str
    combine: Operation
    value: Value
    post: Value | None
    inputs: tuple[Source, ...]
    matrix: Matrix
    chunk: int
    y: Tensor
    target: Target

    def __post_init__(self) -> None:
        self.kernel = Reduction(
            self.combine, self.value, self.matrix.arrays([dtype_of(item) for item in self.inputs]), self.y.dtype,
            "columns" if self.matrix.last else "rows", self.target.tile or 8, self.post,
        )  # fmt: skip

    @property
    def sources(self) -> Sequence[Source]:
        """See `SourcesPlan`."""
        return self.inputs

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        return _Lowering(self, target).result()


@dataclass(frozen=True)
class Matrix:
    """A reduction as loops around a matrix.

    Attributes:
        outer: Loops.
        kept: The kept dimension of the matrix.
        reduced: The other.
        last: Whether the reduced one is innermost.
    """

    outer: tuple[Axis, ...]
    kept: Axis
    reduced: Axis
    last: bool

    @classmethod
    def of(cls, shape: Sequence[int], operands: Sequence[Sequence[int]], reduced: Sequence[int]) -> Matrix:
        """Merges dimensions; whether one is reduced distinguishes them, too.

        Args:
            shape: Of the expression's result.
            operands: Shapes of its inputs, broadcast dimensions being 1, as they lie in memory.
            reduced: The axes of ``shape`` that are reduced; neighbours but for dimensions of 1.
        """
        marks = tuple(2 if axis in reduced else 1 for axis in range(len(shape)))
        merged = merge(shape, [*operands, marks])
        axes = [Axis(axis.size, axis.varies[:-1]) for axis in merged]
        at = max((i for i, axis in enumerate(merged) if axis.varies[-1]), default=-1)
        if at < 0:  # of all reduced dimensions there is one element
            axes.append(Axis(1, axes[-1].varies if axes else (True,) * len(operands)))
            at = len(axes) - 1
        before, behind = axes[:at], axes[at + 1 :]
        assert len(behind) < 2, "kept dimensions behind the reduced one vary differently"
        if behind:
            return cls(tuple(before), behind[0], axes[at], last=False)
        kept = before.pop() if before else Axis(1, axes[at].varies)
        return cls(tuple(before), kept, axes[at], last=True)

    def arrays(self, dtypes: Sequence[str]) -> tuple[Array, ...]:
        """The kernel's operands."""
        rows, columns = (self.kept, self.reduced) if self.last else (self.reduced, self.kept)
        return tuple(
            Array(dtype, EXTENTS[rows.varies[i], columns.varies[i]]) for i, dtype in enumerate(dtypes)
        )


def chunk_of(matrix: Matrix, inputs: Sequence[Source], target: Target) -> int:
    """Elements that are reduced at once: all, or as many as L1 has room for."""
    item = sum(array.bytes for array in matrix.arrays([dtype_of(item) for item in inputs]))
    kept = 1 if matrix.last else min(GRANULE, matrix.kept.size)
    room = (target.l1().size - SLACK) // ROOM // (item * kept)
    return matrix.reduced.size if matrix.reduced.size <= room else room


class _Lowering:
    """Tiles of one plan."""

    def __init__(self, plan: ReductionPlan, target: Target) -> None:
        self.plan, self.target, self.l1 = plan, target, target.l1()
        self.matrix, self.arrays = plan.matrix, plan.kernel.arrays
        self.item = int(np.dtype(plan.y.dtype).itemsize)
        self.chunks = -(-self.matrix.reduced.size // plan.chunk)
        self.step = self._step()

    def _step(self) -> int:
        """Kept elements of a tile."""
        matrix, harts = self.matrix, self.target.harts
        if matrix.last and self.chunks > 1:
            return 1
        per_kept = self.plan.chunk * sum(array.bytes for array in self.arrays) + self.item
        free = (self.l1.size - SLACK) // 2 - 64 * (len(self.arrays) + 1)
        whole = matrix.kept.size * int(np.prod([axis.size for axis in matrix.outer]))
        wanted = max(-(-whole // TILES), self.target.least // per_kept, 1)
        granule = harts if matrix.last else GRANULE * harts
        most = min(max(1, free // per_kept), matrix.kept.size)
        step = min(most, -(-wanted // granule) * granule)
        return step if step == matrix.kept.size else max(1, step // granule * granule or step)

    def _strides(self, index: int) -> tuple[tuple[int, ...], int, int]:
        """Bytes from one place to the next of an operand: outer dimensions, kept, reduced."""
        matrix, item = self.matrix, self.arrays[index].bytes
        inner = (matrix.kept, matrix.reduced) if matrix.last else (matrix.reduced, matrix.kept)
        strides, size = [], item
        for axis in reversed((*matrix.outer, *inner)):
            strides.append(size if axis.varies[index] else 0)
            size *= axis.size if axis.varies[index] else 1
        *outer, first, second = reversed(strides)
        return tuple(outer), *((first, second) if matrix.last else (second, first))

    def _out_strides(self) -> tuple[tuple[int, ...], int, int]:
        """The same of the output, chunks taking the place of the reduced dimension."""
        kept, chunks = self.matrix.kept.size, self.chunks
        inner = (chunks, 1) if self.matrix.last else (1, kept)
        strides, size = [], kept * chunks
        for axis in reversed(self.matrix.outer):
            strides.append(size * self.item)
            size *= axis.size
        return tuple(reversed(strides)), inner[0] * self.item, inner[1] * self.item

    def pieces(self) -> Iterator[Piece]:
        """Every tile's part."""
        matrix = self.matrix
        kept = Loop("kept", matrix.kept.size, self.step)
        reduced = Loop("reduced", matrix.reduced.size, self.plan.chunk)
        for outer in itertools.product(*(range(axis.size) for axis in matrix.outer)):
            for (first, count), (chunk, (begin, size)) in itertools.product(kept, enumerate(reduced)):
                yield Piece(outer, first, count, begin, size, chunk)

    def result(self) -> LoweredOp:
        """The layer."""
        plan, pieces = self.plan, list(self.pieces())
        copies = 1 + (len(pieces) > 1)
        largest = replace(pieces[0], kept_count=self.step, reduced_count=plan.chunk)
        sizes = [self._bytes(index, largest) for index in range(len(self.arrays))] + [self.step * self.item]
        buffers = [[self.l1.take("operand", size) for _ in range(copies)] for size in sizes]
        tiles = []
        for number, piece in enumerate(pieces):
            at = [slots[number % copies] for slots in buffers]
            loads = tuple(self._load(index, piece, at[index]) for index in range(len(self.arrays)))
            outer, kept, chunk = self._out_strides()
            start = plan.y.address + piece.kept * kept + piece.chunk * chunk
            start += sum(a * b for a, b in zip(outer, piece.outer, strict=True))
            store = Transfer(at[-1], start, piece.kept_count * self.item)
            args = tuple(self._args(piece, at, hart) for hart in range(self.target.harts))
            tiles.append(Tile(loads, (store,), args, f"{piece}"))
        loops = (
            *(Loop(f"outer {i}", axis.size, 1) for i, axis in enumerate(self.matrix.outer)),
            Loop("kept", self.matrix.kept.size, self.step),
            Loop("reduced", self.matrix.reduced.size, plan.chunk),
        )
        operands = [operand for item in plan.inputs for operand in source_operands(item)]
        return LoweredOp(
            plan.name, plan.op, ReductionTile(plan.kernel), loops, (), tuple(tiles),
            (*operands, *plan.y.operands("output")), format=plan.y.dtype if plan.y.dtype != "float32" else "fp32",
            footprint=tuple(self.l1.taken), contained=True,
        )  # fmt: skip

    def _counts(self, piece: Piece) -> tuple[int, int]:
        """Rows and columns of a tile."""
        counts = piece.kept_count, piece.reduced_count
        return counts if self.matrix.last else (counts[1], counts[0])

    def _bytes(self, index: int, piece: Piece) -> int:
        return self.arrays[index].size(*self._counts(piece))

    def _load(self, index: int, piece: Piece, at: int) -> Transfer:
        """An operand's part; rows of a full operand that are parts of longer ones are gathered."""
        outer, kept, reduced = self._strides(index)
        source = self.plan.inputs[index].address + piece.kept * kept + piece.reduced * reduced
        source += sum(a * b for a, b in zip(outer, piece.outer, strict=True))
        rows, columns = self._counts(piece)
        size = columns * self.arrays[index].bytes
        stride = kept if self.matrix.last else reduced
        if self.arrays[index].extent != "full" or rows == 1 or stride == size:
            return Transfer(source, at, self._bytes(index, piece))
        return Transfer(source, at, size, rows, stride, size)

    def _args(self, piece: Piece, at: list[int], hart: int) -> tuple[int, ...]:
        """A hart's share: kept elements."""
        harts, rows, columns = self.target.harts, *self._counts(piece)
        stride: tuple[int, ...] = ()
        if self.matrix.last:
            first, rows = share(rows, harts, hart)
            steps = {"full": first * columns, "row": 0, "column": first, "scalar": 0}
        else:
            stride = (columns,)
            start, granules = share(-(-columns // GRANULE), harts, hart)
            first = min(start * GRANULE, columns)
            columns = min(granules * GRANULE, columns - first)
            steps = {"full": first, "row": first, "column": 0, "scalar": 0}
        pointers = (
            address + steps[array.extent] * array.bytes
            for array, address in zip(self.arrays, at, strict=False)
        )
        return (*pointers, at[-1] + first * self.item, rows, columns, *stride)
