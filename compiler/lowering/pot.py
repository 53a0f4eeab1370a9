"""Layers on the cluster's PoT accelerator: from DRAM to DRAM, by commands that hart 0 starts.

The commands lie in DRAM beside the weights and come into L1 in batches, the next one while the accelerator works. The
PPU ends sums by `potluck.isa.pot.array.LAWS`: layers of another requantization (``tflite_double``) stay on the cores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.lowering.base import BATCH, Constant, LayerPlan, Target, Tensor, constant
from potluck.compiler.lowering.conv import ConvPlan
from potluck.compiler.lowering.depthwise import DepthwisePlan
from potluck.compiler.lowering.packing import IntegerWeights
from potluck.compiler.lowering.windows import Geometry
from potluck.compiler.schedule.layer import Group, Loop, LoweredOp, Memory, Offload, Tile
from potluck.isa.errors import DataError
from potluck.isa.machine import Pot
from potluck.isa.pot.array import LAWS, CodeSet, Requantizer, code_set
from potluck.isa.pot.codes import POT_FORMATS
from potluck.isa.pot.command import COMMAND_BYTES
from potluck.kernels.pot.conv import evaluate, integer_codes, plan
from potluck.kernels.pot.tiling import Planner, PotConv, Tiling
from potluck.kernels.pot.tiling import Tile as PotTile

CODES = ("int8", "uint8")
"""Activations of the array."""
SIGN = 128
"""The bit that UINT8 and INT8 codes of the same activation do not share; their difference, too."""


@dataclass(frozen=True, eq=False)
class PotWork:
    """What a layer's commands compute.

    Attributes:
        conv: Of one image.
        weights: Integers [filters, KH, KW, C].
        requantizer: Of each filter.
        groups: Of each group of commands, addresses of its image's input and output, and its tile; None if the tile's
            last commands are in a later group.
    """

    conv: PotConv
    weights: NDArray[np.int64]
    requantizer: Requantizer
    groups: tuple[tuple[tuple[int, int], PotTile | None], ...]

    def __call__(self, memory: Memory, groups: range) -> None:
        """See `Offload.run`: of each image all outputs are worked out, and those of the groups are written."""
        c = self.conv
        for image in dict.fromkeys(self.groups[index][0] for index in groups):
            x = memory.view(image[0], c.height * c.width * c.channels) ^ np.uint8(SIGN * c.unsigned_inputs)
            shaped = x.view(np.int8).reshape(c.height, c.width, c.channels)
            y = evaluate(c, self.weights, self.requantizer, shaped)
            new = (y.view(np.uint8) ^ np.uint8(SIGN * c.unsigned_outputs)).reshape(*y.shape, -1)
            old = memory.view(image[1], new.size).reshape(new.shape)
            for index in groups:
                place, tile = self.groups[index]
                if place == image and tile is not None:
                    part = tuple(
                        slice(span.start, span.stop) for span in (tile.rows, tile.columns, tile.filters)
                    )
                    old[part] = new[part]


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
    _offload: Offload = field(init=False)

    def __post_init__(self) -> None:
        layer = plan(self.conv, self.codes, self.requantizer, self.target.machine, (0, 0, 0), self.tiling)
        self._packed = constant(self.weights_name, "pot", layer.weights, "BYTES")
        words = np.zeros((self.images * len(layer.commands), COMMAND_BYTES // 4), np.uint32)
        self._commands = constant(self.name, "commands", words, "BYTES")

    @property
    def work(self) -> int:
        """Products of the array."""
        return self.images * self.conv.macs * self.conv.planes

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
        """See `LayerPlan`: commands name addresses, and the last one of each batch has TLAST."""
        self._commands.data = self._offload.commands.tobytes()
        return (self._commands,)

    def _images(self) -> tuple[tuple[int, int], ...]:
        size_in, size_out = (
            tensor.elements // self.images * tensor.item_bytes for tensor in (self.x, self.y)
        )
        return tuple(
            (self.x.address + n * size_in, self.y.address + n * size_out) for n in range(self.images)
        )

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`; the batches are `potluck.compiler.schedule.beside`'s."""
        images = self._images()
        layers = [
            plan(self.conv, self.codes, self.requantizer, target.machine, (x, self._packed.address, y), self.tiling)
            for x, y in images
        ]  # fmt: skip
        commands = np.concatenate([layer.commands for layer in layers])
        groups, places = [], []
        for image, layer in zip(images, layers, strict=True):
            for tile, count, read, written in layer.parts:
                sizes = [size for _, size in Loop("command", count, BATCH)]
                groups += [Group(size, read, written) for size in sizes]
                places += [(image, None)] * (len(sizes) - 1) + [(image, tile)]
        work = PotWork(
            self.conv, self.weights.levels.transpose(0, 2, 3, 1).astype(np.int64), self.requantizer, tuple(places)
        )  # fmt: skip
        offload = Offload(commands, self._commands.address, tuple(groups), work)
        self._offload = offload
        operands = [*self.x.operands("input"), *self.y.operands("output"), self._packed.operand("weights")]
        outputs = images[0][1], images[-1][1] + self.y.elements // self.images * self.y.item_bytes
        name = array_format(self.weights.format, self.conv.planes)
        return LoweredOp(
            self.name,
            self.op,
            None,
            (Loop("command", len(commands), BATCH),),
            (),
            (Tile((), (), ()),),
            tuple(operands),
            self.images * self.conv.macs,
            name,
            written=(outputs,),
            offload=offload,
        )


def array_format(weights: str, planes: int) -> str:
    """Name of a layer's format in reports: the weights', on the array, and how many lines one takes."""
    return f"{weights} on array" if planes == 1 else f"{weights} on array x{planes}"


def coded(weights: IntegerWeights, pot: Pot) -> tuple[CodeSet, NDArray[np.uint8]]:
    """The code set of integer weights, and codes [Cout, KH, KW, C, planes].

    Raises:
        DataError: The array cannot have them.
    """
    levels = weights.levels.transpose(0, 2, 3, 1)
    if weights.format in POT_FORMATS and not pot.multipliers:
        return code_set(weights.format), POT_FORMATS[weights.format].encode(levels)[..., None]
    return integer_codes(levels, pot.multipliers)


def cheaper(plan: ConvPlan | DepthwisePlan, geometry: Geometry | None = None) -> LayerPlan:
    """An integer layer on the machine's accelerator if it has one that takes the layer, and less time; else as it is.

    Args:
        plan: On the cores.
        geometry: If the accelerator has another view of the image, of the same values in memory.
    """
    weights, target = plan.weights, plan.target
    if not isinstance(weights, IntegerWeights) or weights.finish.law not in LAWS or target.flat:
        return plan
    pot = target.machine.pot
    if pot is None or pot.engine is None or plan.x.dtype not in CODES:
        return plan
    images = plan.images if isinstance(plan, ConvPlan) else plan.x.shape[0]
    try:
        kind, codes = coded(weights, pot)
        conv = _conv(plan, geometry or plan.geometry, kind, codes.shape[-1])
        if max(conv.height, conv.width, conv.channels, conv.filters) >= 1 << 16:
            return plan
        planner = Planner.of(conv, target.machine)
        tiling = planner.best()
    except DataError:  # weights that are no codes, or no tiling fits
        return plan
    if images * planner.estimate(tiling) > plan.estimate:
        return plan
    requantizer = _requantizer(conv, weights)
    return PotPlan(
        plan.name, plan.op, plan.x, plan.y, images, conv, codes, weights, plan.weights_name, requantizer, tiling, target
    )  # fmt: skip


def _conv(plan: ConvPlan | DepthwisePlan, g: Geometry, kind: CodeSet, planes: int) -> PotConv:
    """One image of a layer as the accelerator sees it."""
    weights, zero = plan.weights, plan.x.affine
    assert isinstance(weights, IntegerWeights) and zero is not None
    finish, (filters, channels) = weights.finish, weights.levels.shape[:2]
    depthwise, law = isinstance(plan, DepthwisePlan), finish.law
    assert law != "float_bias" and law != "tflite_double"
    low = -math.inf if finish.low is None else finish.low
    high = math.inf if finish.high is None else finish.high
    unsigned = plan.x.dtype == "uint8", plan.y.dtype == "uint8"
    less_in, less_out = (SIGN * value for value in unsigned)
    ends = (
        (0, -SIGN, SIGN - 1, law, low, high)
        if law == "float"
        else (finish.zero_point - less_out, int(low) - less_out, int(high) - less_out, law)
    )
    conv = PotConv(
        g.height, g.width, filters if depthwise else channels, filters, kind, g.kernel, g.stride, g.dilation, g.pads,
        depthwise, planes, zero.zero_point - less_in, *ends,
    )  # fmt: skip
    return replace(conv, unsigned_inputs=unsigned[0], unsigned_outputs=unsigned[1])


def _requantizer(conv: PotConv, weights: IntegerWeights) -> Requantizer:
    """The PPU's parameters."""
    wsum, multiplier, *shift = weights.constants
    if conv.unsigned_inputs:  # the PEs see activations less 128
        sums = weights.levels.reshape(conv.filters, -1).sum(axis=1, dtype=np.int64)
        wsum = (wsum + SIGN * sums).astype(np.int32)
    return Requantizer(
        wsum, multiplier, shift[0] if shift else np.zeros_like(wsum), conv.zero_point, conv.low, conv.high, conv.law,
        conv.float_low, conv.float_high,
    )  # fmt: skip
