"""Convolutions: tiles of output rows and groups of output channels; matrix products are 1x1 convolutions.

The weights of a group of output channels stay in L1 while the tiles of rows pass, or the rows stay while the
groups pass, whichever is cheaper. Harts divide the rows of a tile, or the slices of the group's channels, or both.
If the channels are no multiple of the slice, the last slice overlaps the one before it: the same values are
computed and stored twice, by the same code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.lowering.adapters import ConvInt8Tile
from potluck.compiler.lowering.adapters_int8 import ExpandedConvTile
from potluck.compiler.lowering.base import (
    Choice,
    Constant,
    LayerPlan,
    Setting,
    Target,
    Tensor,
    border_pattern,
    constant,
)
from potluck.compiler.lowering.conv_tiles import ConvTiles
from potluck.compiler.lowering.ending import EndedTile, Ending, Quantized
from potluck.compiler.lowering.expansion import ExpandedTile, Expansion, expansion, packed_weights
from potluck.compiler.lowering.packing import IntegerWeights, Weights, pick, shape_of
from potluck.compiler.lowering.products import FloatConv, integer_kernel, product_kernel, product_tile
from potluck.compiler.lowering.tiling import Cost, Sizes, Tiling
from potluck.compiler.lowering.windows import Geometry
from potluck.compiler.schedule.layer import Loop, LoweredOp, TileKernel
from potluck.isa.formats.blocks import BlockLayout
from potluck.isa.formats.elements import INTEGER8
from potluck.kernels.conv.int8 import ConvInt8

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Place:
    """The part of the output image that a tile computes.

    Attributes:
        image: Number in the batch.
        row: First output row.
        rows: Output rows.
        column: First output column.
    """

    image: int
    row: int
    rows: int
    column: int


@dataclass(eq=False)
class Group:
    """Output channels whose weights are in L1 together.

    Attributes:
        starts: First channel of each slice.
        constants: Weights, scales (MX only) and bias, each slice after slice.
    """

    starts: list[int]
    constants: list[Constant]


@dataclass(eq=False)
class ConvPlan(LayerPlan):
    """A dense convolution.

    Attributes:
        name: Node.
        op: Operator.
        x: Input image, FP32 or MX.
        y: Output image, FP32.
        geometry: Window and sizes.
        weights: [Cout, C, KH, KW], MX if ``x`` is; integers, which bring their bias and end, if ``x`` is codes; values,
            or what becomes values in L1, if ``x`` is FP32.
        weights_name: ONNX name.
        bias: [Cout].
        bias_name: ONNX name.
        bounds: Of the fused activation; infinite sides are open.
        target: The machine.
        tiles: Its tiles, None: those of the lowest estimate.
        quantized: What its tiles end with.
        kept: Whether somebody reads ``y``.
    """

    name: str
    op: str
    x: Tensor
    y: Tensor
    images: int
    geometry: Geometry
    weights: Weights | IntegerWeights
    weights_name: str
    bias: F32
    bias_name: str
    bounds: tuple[float, float]
    target: Target
    tiles: Tiling | None = None
    quantized: tuple[Quantized, ...] = ()
    kept: bool = True

    def __post_init__(self) -> None:
        self.mx: BlockLayout | None = self.x.mx
        shape = self._shape
        self.out_channels, self.in_channels = shape[0], shape[1]
        self.sizes = Sizes(
            self.name,
            self.geometry,
            self.images,
            self.in_channels,
            self.out_channels,
            self.x.pixel_bytes,
            self.x.scales,
            self.mx.element.bits if self.mx is not None else 32,
            self.target,
            self.weights if isinstance(self.weights, IntegerWeights) else None,
            cache(self.expansion),
            self.mx is not None and self.mx.element is INTEGER8,
            Ending(self.y.item_bytes, tuple(item.kernel for item in self.quantized), self.kept),
        )
        self.tiling = self.tiles or self.sizes.choose()
        self.made = self.expansion(self.tiling.channels)
        self.tile = self.sizes.tile(self.tiling)
        self.kernel = self._kernel(self.tiling.channels)

    @cached_property
    def groups(self) -> list[Group]:
        """Slices that are computed together, with their packed weights."""
        starts, slices = self.sizes.starts(self.tiling.channels), self.tiling.slices
        return [self._group(starts[at : at + slices]) for at in range(0, len(starts), slices)]

    @property
    def _shape(self) -> tuple[int, ...]:
        if isinstance(self.weights, IntegerWeights):
            return self.weights.levels.shape
        return shape_of(self.weights)

    def expansion(self, channels: int) -> Expansion | None:
        """How the weights of a slice of so many channels become operands, if they are not stored as such."""
        if isinstance(self.weights, IntegerWeights):
            return None
        carrier = self.mx.element if self.mx is not None else None
        kh, kw = self.geometry.kernel
        return expansion(self.weights, carrier, kh * kw, self.in_channels, channels)

    @property
    def border(self) -> str:
        """Pattern that pads the image: the code of 0."""
        return border_pattern(self.x)

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.x,)

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (*((self.y,) if self.kept else ()), *(item.y for item in self.quantized))

    def constants(self) -> Sequence[Constant]:
        """See `LayerPlan`."""
        return [item for group in self.groups for item in group.constants]

    def fill_bytes(self) -> dict[str, int]:
        """See `LayerPlan`."""
        padded = any(self.geometry.pads) or self.geometry.in_width > self.geometry.width
        return {self.border: self.tile.in_width * self.x.pixel_bytes} if padded else {}

    def _kernel(self, channels: int) -> FloatConv | ConvInt8:
        common = self.tile.window, self.in_channels, channels
        if isinstance(self.weights, IntegerWeights):
            return integer_kernel(*common, self.weights, self.x, self.target.tile)
        return product_kernel(*common, self.bounds, self.x, self.target.tile)

    def _group(self, starts: list[int]) -> Group:
        parts: list[tuple[NDArray[Any], ...]] = []
        biases: list[NDArray[Any]] = []
        names = [("values", "FP32", "HWIO")]
        for start in starts:
            part = slice(start, start + self.tiling.channels)
            if isinstance(self.weights, IntegerWeights):
                picked = self.weights.pick(part)
                whole, element, order = picked.pack()
                parts.append((whole,))
                names = [("codes" if picked.coded else "levels", element, order)]
                biases.append(picked.constants.reshape(-1))
                continue
            arrays, names = packed_weights(pick(self.weights, part), self.mx)
            parts.append(arrays)
            biases.append(self.bias[part].astype(np.float32))
        made = []
        for index, (part_name, element, order) in enumerate(names):
            stack = np.stack([packed[index] for packed in parts])
            # One slice is the common case: its layout is named without the axis of slices.
            array, full = (stack[0], order) if len(starts) == 1 else (stack, f"slice {order}")
            made.append(constant(self.weights_name, part_name, array, element, full))
        if isinstance(self.weights, IntegerWeights):
            made.append(constant(self.bias_name, "requantization", np.concatenate(biases), "INT32"))
        else:
            made.append(constant(self.bias_name, "bias", np.concatenate(biases)))
        return Group(starts, made)

    @property
    def expands(self) -> bool:
        """Whether the weights are codes of integers, which become levels in L1."""
        return isinstance(self.weights, IntegerWeights) and self.weights.coded

    def order(self) -> Iterator[tuple[int, Place]]:
        """(group, place) of every tile."""
        rows, groups = Loop("row", self.geometry.out_height, self.tiling.rows), range(len(self.groups))
        places = [
            Place(n, r, count, column)
            for n in range(self.images)
            for column in self.tile.strips
            for r, count in rows
        ]
        if self.tiling.groups_outer:
            yield from ((group, place) for group in groups for place in places)
        else:
            yield from ((group, place) for place in places for group in groups)

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        return ConvTiles(self, target).result()

    def choices(self, target: Target) -> dict[str, Choice]:
        """See `LayerPlan`."""
        return self.sizes.choices(self.tiling)

    def chosen(self, target: Target, values: Mapping[str, Setting]) -> ConvPlan:
        """See `LayerPlan`."""
        return replace(self, tiles=self.sizes.chosen(self.tiling, values))

    @property
    def cost(self) -> Cost:
        """Where the estimated cycles go."""
        return self.sizes.estimate(self.tiling)

    @property
    def estimate(self) -> float:
        """Estimated cycles, rather too few."""
        return self.cost.total

    @property
    def macs(self) -> int:
        """Multiply-accumulates, padding of channels not counted."""
        g = self.geometry
        taps = g.kernel[0] * g.kernel[1]
        return self.images * g.out_height * g.out_width * taps * self.in_channels * self.out_channels

    @property
    def tile_kernel(self) -> TileKernel:
        """The kernel with its contract on memory."""
        if isinstance(self.kernel, ConvInt8) and self.expands:
            assert isinstance(self.weights, IntegerWeights)
            return ExpandedConvTile(self.kernel, self.weights.group)
        if isinstance(self.kernel, ConvInt8):
            return ConvInt8Tile(self.kernel)
        tile: TileKernel = product_tile(self.kernel)
        if self.made is not None:
            tile = ExpandedTile(self.made, tile)
        kernels = self.sizes.ending.kernels
        return EndedTile(tile, self.words, kernels) if kernels else tile

    @property
    def words(self) -> int:
        """Arguments of the product."""
        return 7 if self.made is None else 8
