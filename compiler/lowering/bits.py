"""Products of bit planes: all of K in one piece, columns in groups whose weights stay while the rows pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.lowering.adapters import floats, octets, write
from potluck.compiler.lowering.base import SLACK, Constant, LayerPlan, Target, Tensor, constant, share
from potluck.compiler.lowering.kernel_tile import KernelTile
from potluck.compiler.schedule.layer import Loop, LoweredOp, Memory, Tile, Transfer
from potluck.compiler.schedule.memory import align
from potluck.isa.errors import MachineError
from potluck.kernels.matmul.bits import GemmBits

F32 = NDArray[np.float32]
ROWS = 16
"""Rows of a tile if there are more."""


class BitsTile(KernelTile[GemmBits]):
    """Arguments: rows, weights, output, number of rows, factors, pitch, bias, number of columns."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        k, (x, w, out, rows, factor, pitch, bias, columns) = self.kernel, args
        if not rows or not columns:
            return
        planes = octets(memory, x, rows, k.bits, k.plane), octets(memory, w, columns, k.bits, k.plane)
        result = k.contract(*planes, floats(memory, factor, columns), floats(memory, bias, columns))
        for index, row in enumerate(result):
            write(memory, out + index * pitch, row)


@dataclass(eq=False)
class BitsPlan(LayerPlan):
    """y = clip((x w) factor + bias) of Bell Box codes of 1 or 2 bits.

    Attributes:
        name: Node.
        op: Operator.
        x: Bit planes, [rows, bits K / 8] bytes.
        y: FP32, whose rows have N values.
        weights: Bit planes, uint8 [N, bits, K / 8].
        weights_name: ONNX name.
        factor: [N].
        bias: [N].
        kernel: What multiplies.
        target: The machine.
    """

    name: str
    op: str
    x: Tensor
    y: Tensor
    weights: NDArray[np.uint8]
    weights_name: str
    factor: F32
    bias: F32
    kernel: GemmBits
    target: Target

    def __post_init__(self) -> None:
        self.n, self.rows = len(self.weights), self.x.pixels
        self.height = min(self.rows, ROWS)
        column = self.kernel.row + 8  # bytes of a column's weights, factor and bias
        free = self.target.l1().size - SLACK - 2 * align(self.height * self.kernel.row) - 8 * 64
        if self.n * column + 2 * self.height * 4 * self.n <= free:
            self.width = self.n
        else:
            self.width = min(self.n, free // (2 * (column + 4 * self.height)) // 8 * 8)
        if self.width < 1:
            raise MachineError(
                f"layer {self.name!r}: {self.height} rows and 8 columns of {self.kernel.k} bits do not fit L1",
                key=self.target.working_key,
            )
        label = f"BBQ{self.kernel.bits}"
        self.groups = [
            (
                constant(self.weights_name, "planes", self.weights[at : at + size], label, "OI planes"),
                constant(self.weights_name, "factor", self.factor[at : at + size]),
                constant(self.weights_name, "bias", self.bias[at : at + size]),
            )
            for at, size in Loop("column", self.n, self.width)
        ]

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.x,)

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.y,)

    def constants(self) -> Sequence[Constant]:
        """See `LayerPlan`."""
        return [item for group in self.groups for item in group]

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        l1 = target.l1()
        columns, rows = Loop("column", self.n, self.width), Loop("row", self.rows, self.height)
        sizes = [len(item.data) for item in self.groups[0]]
        weights = [[l1.take("weights", size) for size in sizes] for _ in range(1 + (len(columns) > 1))]
        inputs = [
            l1.take("rows", self.height * self.kernel.row) for _ in range(1 + (len(columns) * len(rows) > 1))
        ]
        outputs = [l1.take("sums", 4 * self.height * self.width) for _ in inputs]
        operands = [*self.x.operands("input"), *(item.operand("weights") for item in self.constants())]
        return LoweredOp(
            self.name,
            self.op,
            BitsTile(self.kernel),
            (columns, rows),
            (),
            tuple(self._tiles(columns, rows, weights, inputs, outputs)),
            (*operands, *self.y.operands("output")),
            self.rows * self.n * self.kernel.k,
            f"bbq{self.kernel.bits}",
            tuple(l1.taken),
        )

    def _tiles(
        self, columns: Loop, rows: Loop, weights: list[list[int]], inputs: list[int], outputs: list[int]
    ) -> Iterator[Tile]:
        step = 0
        for group, (column, width) in enumerate(columns):
            held = weights[group % len(weights)]
            for row, height in rows:
                x, out = inputs[step % len(inputs)], outputs[step % len(outputs)]
                loads = [Transfer(self.x.address + row * self.kernel.row, x, height * self.kernel.row)]
                if not row:
                    loads += [
                        Transfer(item.address, to, len(item.data))
                        for item, to in zip(self.groups[group], held, strict=True)
                    ]
                to, line = self.y.address + 4 * (row * self.n + column), 4 * width
                store = Transfer(out, to, line, height, line, 4 * self.n)
                if width == self.n:
                    store = Transfer(out, to, line * height)
                args = tuple(
                    self._args(hart, x, held, out, height, width) for hart in range(self.target.harts)
                )
                yield Tile(tuple(loads), (store,), args, f"columns {column}+{width} rows {row}+{height}")
                step += 1

    def _args(
        self, hart: int, x: int, weights: list[int], out: int, height: int, width: int
    ) -> tuple[int, ...]:
        """A share of the rows, or of the columns where rows would not keep every hart busy."""
        first = first_column = 0
        rows, count = height, width
        if height % self.target.harts == 0 or height > 4 * self.target.harts:
            first, rows = share(height, self.target.harts, hart)
        else:
            first_column, count = share(width, self.target.harts, hart)
        row, pitch = self.kernel.row, 4 * width
        w, factor, bias = weights
        return (
            x + first * row, w + first_column * row, out + first * pitch + 4 * first_column, rows,
            factor + 4 * first_column, pitch, bias + 4 * first_column, count,
        )  # fmt: skip
