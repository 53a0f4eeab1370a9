"""Layers on the cluster's PoT accelerator: from DRAM to DRAM, by commands that hart 0 starts.

The commands lie in DRAM beside the weights and come into L1 in pieces, the next one while the accelerator works. The
PPU rounds once (``tflite_single``), so only layers whose requantization is that law can go there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.lowering.base import Constant, LayerPlan, Target, Tensor, constant
from potluck.compiler.lowering.base import copy as transfer
from potluck.compiler.lowering.conv import ConvPlan
from potluck.compiler.lowering.depthwise import DepthwisePlan
from potluck.compiler.lowering.packing import IntegerWeights
from potluck.compiler.lowering.windows import Geometry
from potluck.compiler.schedule import Loop, LoweredOp, Memory, Tile
from potluck.isa.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.isa.pot import POT_FORMATS
from potluck.isa.pot_array import CodeSet, Requantizer, code_set
from potluck.isa.pot_command import COMMAND_BYTES
from potluck.kernels.pot_conv import evaluate, int8_codes, plan
from potluck.kernels.pot_queue import PotQueue
from potluck.kernels.pot_tiling import Planner, PotConv, Tiling

PIECE = 256
"""Commands in L1 at once."""
LAST = np.uint32(1 << 8)
"""TLAST in a command's first word."""


@dataclass(frozen=True, eq=False)
class PotTile:
    """Arguments: those of `PotQueue`, and whether this is the layer's last piece.

    Attributes:
        queue: Starts the accelerator.
        conv: Of one image.
        weights: Integers [filters, KH, KW, C].
        requantizer: Of each filter.
        images: Addresses of input and output of each image.
    """

    queue: PotQueue
    conv: PotConv
    weights: NDArray[np.int64]
    requantizer: Requantizer
    images: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        c = self.conv
        return f"PotQueue({c.kind}, {c.planes} planes{', depthwise' if c.depthwise else ''})"

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        self.queue.emit(a)

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`; the whole layer at its last piece."""
        if not args[2]:
            return
        c = self.conv
        for source, target in self.images:
            x = memory.view(source, c.height * c.width * c.channels).view(np.int8)
            y = evaluate(c, self.weights, self.requantizer, x.reshape(c.height, c.width, c.channels))
            memory.view(target, y.size)[:] = y.view(np.uint8).ravel()


@dataclass(eq=False)
class PotPlan(LayerPlan):
    """A convolution or matrix product on the accelerator.

    Attributes:
        name: Node.
        op: Operator.
        x: Input codes, channels last.
        y: Output codes, channels last.
        images: In the batch.
        conv: Of one image.
        codes: Weights' codes [filters, KH, KW, C], with a last axis of planes.
        weights: As the cores would have them.
        weights_name: ONNX name.
        requantizer: Of each filter.
        tiling: How an image is cut.
        target: The machine.
    """

    name: str
    op: str
    x: Tensor
    y: Tensor
    images: int
    conv: PotConv
    codes: NDArray[np.uint8]
    weights: IntegerWeights
    weights_name: str
    requantizer: Requantizer
    tiling: Tiling
    target: Target
    _packed: Constant = field(init=False)
    _commands: Constant = field(init=False)

    def __post_init__(self) -> None:
        layer = plan(self.conv, self.codes, self.requantizer, self.target.machine, (0, 0, 0), self.tiling)
        self._packed = constant(self.weights_name, "pot", layer.weights, "BYTES")
        words = np.zeros((self.images * len(layer.commands), COMMAND_BYTES // 4), np.uint32)
        self._commands = constant(self.name, "commands", words, "BYTES")

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.x,)

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.y,)

    def constants(self) -> Sequence[Constant]:
        """See `LayerPlan`."""
        return (self._packed, self._commands)

    def addressed(self) -> Sequence[Constant]:
        """See `LayerPlan`: commands name addresses."""
        return (self._commands,)

    def _images(self) -> tuple[tuple[int, int], ...]:
        size_in, size_out = (
            tensor.elements // self.images * tensor.item_bytes for tensor in (self.x, self.y)
        )
        return tuple(
            (self.x.address + n * size_in, self.y.address + n * size_out) for n in range(self.images)
        )

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        machine, images = target.machine, self._images()
        commands = np.concatenate([
            plan(self.conv, self.codes, self.requantizer, machine, (x, self._packed.address, y), self.tiling).commands
            for x, y in images
        ])  # fmt: skip
        commands[:, 0] &= ~LAST
        pieces = Loop("command", len(commands), PIECE)
        commands[[start + count - 1 for start, count in pieces], 0] |= LAST
        self._commands.data = commands.tobytes()
        l1 = target.l1()
        size = min(len(commands), PIECE) * COMMAND_BYTES
        buffers = [l1.take(f"commands of {self.name}", size) for _ in range(min(2, len(pieces)))]
        tiles = []
        for index, (start, count) in enumerate(pieces):
            buffer = buffers[index % len(buffers)]
            load = transfer(self._commands.address + start * COMMAND_BYTES, buffer, count * COMMAND_BYTES)
            args = (buffer, count, int(index == len(pieces) - 1))
            tiles.append(
                Tile((load,), (), (args, *[(buffer, 0, 0)] * (target.harts - 1)), f"commands {start}")
            )
        operands = [*self.x.operands("input"), *self.y.operands("output"), self._packed.operand("weights")]
        kernel = PotTile(
            PotQueue(int(machine.memory.pot_base)), self.conv,
            self.weights.levels.transpose(0, 2, 3, 1).astype(np.int64), self.requantizer, images,
        )  # fmt: skip
        written = ((images[0][1], images[-1][1] + self.y.elements // self.images * self.y.item_bytes),)
        name = array_format(self.weights.format, self.conv.planes)
        return LoweredOp(
            self.name, self.op, kernel, (pieces,), (), tuple(tiles), tuple(operands), self.images * self.conv.macs,
            name, tuple(l1.taken), (), written,
        )  # fmt: skip


def array_format(weights: str, planes: int) -> str:
    """Name of a layer's format in reports: the weights', on the array, and how many lines one takes."""
    return f"{weights} on array" if planes == 1 else f"{weights} on array x{planes}"


def coded(weights: IntegerWeights) -> tuple[CodeSet, NDArray[np.uint8]] | None:
    """The code set of integer weights, and codes [Cout, KH, KW, C, planes]; None if the array cannot have them."""
    levels = weights.levels.transpose(0, 2, 3, 1)
    if weights.format in POT_FORMATS:
        return code_set(weights.format), POT_FORMATS[weights.format].encode(levels)[..., None]
    if weights.group or levels.min(initial=0) < -128 or levels.max(initial=0) > 127:
        return None
    return int8_codes(levels)


def cheaper(plan: ConvPlan | DepthwisePlan, geometry: Geometry | None = None) -> LayerPlan:
    """An integer layer on the machine's accelerator if it has one that takes the layer, and less time; else as it is.

    Args:
        plan: On the cores.
        geometry: If the accelerator has another view of the image, of the same values in memory.
    """
    weights, target = plan.weights, plan.target
    if not isinstance(weights, IntegerWeights) or weights.finish.law != "tflite_single" or target.flat:
        return plan
    if target.machine.pot is None or target.machine.pot.engine is None:
        return plan
    if plan.x.dtype != "int8" or plan.y.dtype != "int8" or (found := coded(weights)) is None:
        return plan
    kind, codes = found
    images = plan.images if isinstance(plan, ConvPlan) else plan.x.shape[0]
    conv = _conv(plan, geometry or plan.geometry, kind, codes.shape[-1])
    if max(conv.height, conv.width, conv.channels, conv.filters) >= 1 << 16:
        return plan
    planner = Planner.of(conv, target.machine)
    try:
        tiling = planner.best()
    except DataError:  # no tiling fits
        return plan
    if images * planner.estimate(tiling) > plan.estimate:
        return plan
    wsum, multiplier, shift = weights.constants
    requantizer = Requantizer(wsum, multiplier, shift, conv.zero_point, conv.low, conv.high)
    return PotPlan(
        plan.name, plan.op, plan.x, plan.y, images, conv, codes, weights, plan.weights_name, requantizer, tiling, target
    )  # fmt: skip


def _conv(plan: ConvPlan | DepthwisePlan, g: Geometry, kind: CodeSet, planes: int) -> PotConv:
    """One image of a layer as the accelerator sees it."""
    weights, zero = plan.weights, plan.x.affine
    assert isinstance(weights, IntegerWeights) and zero is not None
    finish, (filters, channels) = weights.finish, weights.levels.shape[:2]
    assert finish.low is not None and finish.high is not None
    depthwise = isinstance(plan, DepthwisePlan)
    return PotConv(
        g.height, g.width, filters if depthwise else channels, filters, kind, g.kernel, g.stride, g.dilation, g.pads,
        depthwise, planes, zero.zero_point, finish.zero_point, int(finish.low), int(finish.high),
    )  # fmt: skip
