"""Products whose weights dwarf the activation: a vector times a matrix, in pieces of K and slices of channels.

Each hart has a slice of the output channels of its own. The sum over K continues from piece to piece, because the
kernel starts from a bias that is the result of the piece before: one value per channel, which is all that one row of
the activation needs. The order of the additions is that of the whole product, so splitting changes no bit. The last
piece is filled up with zeros, which add nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.lowering.base import SLACK, Constant, LayerPlan, Target, Tensor, constant
from potluck.compiler.lowering.expansion import LAST, Expansion, expansion, packed_slices
from potluck.compiler.lowering.packing import BlockWeights, Weights, shape_of
from potluck.compiler.lowering.products import FloatConv, format_name, product_kernel, product_tile
from potluck.compiler.schedule.layer import Loop, LoweredOp, Memory, Tile, TileKernel, Transfer
from potluck.compiler.schedule.memory import align
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import MachineError
from potluck.isa.formats.elements import INTEGER8
from potluck.isa.formats.mx import MxTensor
from potluck.kernels.conv.window import Window

F32 = NDArray[np.float32]
BLOCK = 32
"""Input channels that pieces of FP32 values are multiples of."""


@dataclass(frozen=True)
class DenseTile:
    """Arguments: those of the convolution; in a7 `LAST` if the piece of K is the last one, which alone is clipped, and
    the address of codes that the weights are made of first, or 0.
    """

    kernel: FloatConv
    expansion: Expansion | None = None

    def _tile(self, last: bool) -> TileKernel:
        kernel = self.kernel if last else replace(self.kernel, low=None, high=None)
        return product_tile(kernel)

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        if self.expansion is not None:
            self.expansion.emit(a)
        if self.kernel.low is None and self.kernel.high is None:
            self._tile(True).emit(a)
            return
        last, done = a.fresh("last_piece"), a.fresh("piece_done")
        a("andi", "t0", "a7", LAST)
        a("bnez", "t0", last)
        self._tile(False).emit(a)
        a("j", done)
        a.label(last)
        self._tile(True).emit(a)
        a.label(done)

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        if self.expansion is not None:
            self.expansion.evaluate(memory, args)
        self._tile(bool(args[7] & LAST)).evaluate(memory, args[:7])


@dataclass(eq=False)
class DensePlan(LayerPlan):
    """y = clip(x W + bias), row by row of x.

    Attributes:
        name: Node.
        op: Operator.
        x: Rows, FP32 or MX.
        y: Rows, FP32.
        weights: [N, K, 1, 1], MX if ``x`` is.
        weights_name: ONNX name.
        bias: [N].
        bias_name: ONNX name.
        bounds: Of the fused activation.
        target: The machine.
    """

    name: str
    op: str
    x: Tensor
    y: Tensor
    weights: Weights
    weights_name: str
    bias: F32
    bias_name: str
    bounds: tuple[float, float]
    target: Target

    def __post_init__(self) -> None:
        self.n, self.k = shape_of(self.weights)[:2]
        self.mx = self.x.mx
        self.block = BLOCK
        if isinstance(self.weights, (MxTensor, BlockWeights)):
            held = (
                self.weights.layout.block_size if isinstance(self.weights, MxTensor) else self.weights.block
            )
            self.block = BLOCK if held >= self.k else math.lcm(BLOCK, held)  # one scale serves every piece
        harts = self.target.harts
        self.slice = min(32, self.n, align(-(-self.n // harts), 8))
        free = self.target.l1().size - SLACK - 64 * 8
        per_block = 2 * (harts * self._weight_bytes(self.block) + self.block * 4) + 2 * 64
        per_block += harts * self._operand_bytes(self.block)
        most = (free - 16 * harts * align(4 * self.slice)) // per_block
        if most < 1:
            raise MachineError(
                f"layer {self.name!r}: a block of weights does not fit L1", key=self.target.working_key
            )
        blocks = -(-self.k // self.block)
        self.pieces = -(-blocks // most)
        self.piece = -(-blocks // self.pieces) * self.block
        self.made = self._expansion(self.piece)
        self.kernel = product_kernel(
            Window(1, 1, (1, 1)), self.piece, self.slice, self.bounds, self.x, self.target.tile
        )
        self.starts = [min(at, self.n - self.slice) for at in range(0, self.n, self.slice)]
        self.groups = [self.starts[at : at + harts] for at in range(0, len(self.starts), harts)]
        self.packed = [[self._pack(group, j) for j in range(self.pieces)] for group in self.groups]
        self.biases = [
            constant(self.bias_name, "bias", np.concatenate([self._slice_bias(start) for start in group]))
            for group in self.groups
        ]

    def _expansion(self, k: int) -> Expansion | None:
        return expansion(self.weights, self.mx.element if self.mx is not None else None, 1, k, self.slice)

    def _weight_bytes(self, k: int) -> int:
        """Bytes of a slice in DRAM."""
        made = self._expansion(k)
        if made is not None:
            return made.code_bytes + made.scale_bytes
        if self.mx is None:
            return k * (self.slice + self.slice % 2) * 4
        columns = align(self.slice, 8) if self.mx.element is INTEGER8 else self.slice
        return k * columns * self.mx.element.bits // 8 + self.mx.blocks(k) * align(self.slice, 8)

    def _operand_bytes(self, k: int) -> int:
        """Bytes of the operands that a slice becomes, 0 if it is stored as such."""
        made = self._expansion(k)
        return made.operand_bytes if made is not None else 0

    def _slice_bias(self, start: int) -> F32:
        values = self.bias[start : start + self.slice].astype(np.float32)
        padded = np.zeros(align(4 * self.slice) // 4, np.float32)
        padded[: values.size] = values
        return padded

    def _pack(self, group: Sequence[int], piece: int) -> list[Constant]:
        """Weights of one piece of K for the slices of a group."""
        channels = [slice(start, start + self.slice) for start in group]
        return packed_slices(
            self.weights_name, self.weights, self.mx, channels, piece * self.piece, self.piece
        )

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.x,)

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.y,)

    def constants(self) -> Sequence[Constant]:
        """See `LayerPlan`."""
        return [*(item for group in self.packed for piece in group for item in piece), *self.biases]

    def fill_bytes(self) -> dict[str, int]:
        """See `LayerPlan`."""
        return {"zero": 4 * self.piece}

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        operands = [*self.x.operands("input"), *(item.operand("weights") for item in self.constants())]
        made = _DenseTiles(self, target)
        return LoweredOp(
            self.name,
            self.op,
            DenseTile(self.kernel, self.made),
            (
                Loop("channel", self.n, self.slice * target.harts),
                Loop("row", self.x.pixels, 1),
                Loop("k", self.k, self.piece),
            ),
            (),
            tuple(made.tiles()),
            (*operands, *self.y.operands("output")),
            self.x.pixels * self.n * self.k,
            format_name(self.x, self.weights),
            tuple(made.l1.taken),
        )


class _DenseTiles:
    """Addresses and transfers."""

    def __init__(self, plan: DensePlan, target: Target) -> None:
        self.plan, self.target = plan, target
        self.l1 = l1 = target.l1()
        harts = target.harts
        self.weights = [[l1.take("weights", len(part.data)) for part in plan.packed[0][0]] for _ in range(2)]
        self.rows = [
            (
                l1.take("row", 4 * plan.piece),
                l1.take("scales", plan.mx.blocks(plan.piece) if plan.mx is not None else 0),
            )
            for _ in range(2)
        ]
        self.operand_bytes = plan.made.operand_bytes if plan.made is not None else 0
        self.operands = l1.take("operands", harts * self.operand_bytes)
        self.slice_bytes = align(4 * plan.slice)
        self.biases = [l1.take("bias", harts * self.slice_bytes) for _ in range(2)]
        self.sums = [l1.take("sums", harts * self.slice_bytes) for _ in range(2)]

    def tiles(self) -> Iterator[Tile]:
        """Groups of slices outermost, then rows, then pieces of K."""
        plan = self.plan
        loaded, weight_turn, step, turn = (-1, -1), -1, 0, 0
        for group, starts in enumerate(plan.groups):
            for row in range(plan.x.pixels):
                turn += 1
                for piece in range(plan.pieces):
                    loads = self._row(self.rows[step % 2], row, piece)
                    fresh = (group, piece) != loaded
                    if fresh:
                        loaded, weight_turn = (group, piece), weight_turn + 1
                        for part, to in zip(
                            plan.packed[group][piece], self.weights[weight_turn % 2], strict=True
                        ):
                            loads.append(Transfer(part.address, to, len(part.data)))
                    bias, sums = self.biases[turn % 2], self.sums[turn % 2]
                    if not piece:
                        item = plan.biases[group]
                        loads.append(Transfer(item.address, bias, len(item.data)))
                    last = piece + 1 == plan.pieces
                    origin = sums if piece else bias
                    args = tuple(
                        self._args(
                            hart, len(starts), self.weights[weight_turn % 2], step, origin, sums, last, fresh
                        )
                        for hart in range(self.target.harts)
                    )
                    stores = tuple(self._stores(starts, row, sums)) if last else ()
                    yield Tile(tuple(loads), stores, args, f"channels {starts[0]}.. row {row} piece {piece}")
                    step += 1

    def _row(self, at: tuple[int, int], row: int, piece: int) -> list[Transfer]:
        plan, x, zero = self.plan, self.plan.x, self.target.fills["zero"]
        bits = 32 if plan.mx is None else plan.mx.element.bits
        parts = [(x.address, x.pixel_bytes, plan.piece * bits // 8, at[0])]
        if plan.mx is not None:
            parts.append((x.scales_address, x.scales, plan.mx.blocks(plan.piece), at[1]))
        made = []
        for base, length, size, to in parts:
            have = min(size, length - piece * size)
            made.append(Transfer(base + row * length + piece * size, to, have))
            if have < size:
                made.append(Transfer(zero, to + have, size - have))
        return made

    def _args(
        self,
        hart: int,
        slices: int,
        weights: list[int],
        step: int,
        bias: int,
        sums: int,
        last: bool,
        fresh: bool,
    ) -> tuple[int, ...]:
        plan = self.plan
        shares = [
            at + hart * (len(part.data) // len(plan.groups[0]))
            for at, part in zip(weights, plan.packed[0][0], strict=True)
        ]
        row, scales = self.rows[step % 2]
        at, mine = hart * self.slice_bytes, int(hart < slices)
        codes, blocks, source = shares[0], shares[1] if len(shares) > 1 else 0, 0
        if plan.made is not None:
            source, codes = codes if fresh and mine else 0, self.operands + hart * self.operand_bytes
        scales = scales if plan.mx is not None else 0
        return row, scales, codes, blocks, bias + at, sums + at, mine, source | (LAST if last else 0)

    def _stores(self, starts: Sequence[int], row: int, sums: int) -> Iterator[Transfer]:
        plan = self.plan
        for hart, start in enumerate(starts):
            to = plan.y.address + 4 * (row * plan.n + start)
            yield Transfer(sums + hart * self.slice_bytes, to, 4 * plan.slice)
