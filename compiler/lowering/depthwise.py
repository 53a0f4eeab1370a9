"""Depthwise convolutions: tiles of output rows and columns, slices of channels; a slice's weights come once.

A last slice or strip that is not full overlaps the one before it, as in `potluck.compiler.lowering.conv`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.lowering.adapters import DepthwiseTile
from potluck.compiler.lowering.adapters_int8 import DepthwiseInt8Tile
from potluck.compiler.lowering.base import (
    SLACK,
    Constant,
    LayerPlan,
    Target,
    Tensor,
    border_pattern,
    constant,
    share,
)
from potluck.compiler.lowering.packing import IntegerWeights
from potluck.compiler.lowering.products import format_name
from potluck.compiler.lowering.tiling import OVERHEAD, TRANSFER
from potluck.compiler.lowering.windows import Geometry, RowBuffer
from potluck.compiler.schedule.layer import Loop, LoweredOp, Tile, TileKernel, Transfer
from potluck.compiler.schedule.memory import align
from potluck.isa.errors import MachineError
from potluck.kernels.conv.depthwise import DepthwiseFp32, pack_weights_depthwise
from potluck.kernels.conv.depthwise_int8 import DepthwiseInt8, pack_weights_depthwise_int8

F32 = NDArray[np.float32]
ISSUE, PIXEL = 2.5, 6
"""Instructions that a core issues per multiply-add of a vector, and cycles of a pixel that are neither."""


class Place(NamedTuple):
    """What a tile computes: the numbers of its slice and image, first output row, rows, first output column."""

    slice: int
    image: int
    first: int
    rows: int
    column: int


@dataclass(eq=False)
class DepthwisePlan(LayerPlan):
    """A depthwise convolution; attributes as those of `potluck.compiler.lowering.conv.ConvPlan`."""

    name: str
    op: str
    x: Tensor
    y: Tensor
    geometry: Geometry
    weights: F32 | IntegerWeights
    weights_name: str
    bias: F32
    bias_name: str
    bounds: tuple[float, float]
    target: Target

    def __post_init__(self) -> None:
        self.rows, columns, self.channels = self._choose()
        if columns < self.geometry.out_width:
            self.geometry = replace(self.geometry, strip=columns)
        self.kernel = self._kernel()
        total = self.x.channels
        self.starts = [min(at, total - self.channels) for at in range(0, total, self.channels)]
        self.packed = []
        for start in self.starts:
            self.packed.append(self._pack(slice(start, start + self.channels)))

    def _kernel(self) -> DepthwiseFp32 | DepthwiseInt8:
        window, tile = self.geometry.window, self.target.tile
        if isinstance(self.weights, IntegerWeights):
            unsigned = self.x.affine is not None and self.x.affine.unsigned
            return DepthwiseInt8(window, self.channels, self.weights.finish, unsigned, tile)
        low, high = (None if np.isinf(bound) else bound for bound in self.bounds)
        return DepthwiseFp32(window, self.channels, low, high, tile)

    def _pack(self, part: slice) -> list[Constant]:
        if isinstance(self.weights, IntegerWeights):
            picked = self.weights.pick(part)
            levels = pack_weights_depthwise_int8(picked.levels)
            return [
                constant(self.weights_name, "levels", levels, "INT16", "HWC"),
                constant(self.bias_name, "requantization", picked.constants, "INT32"),
            ]
        weights = pack_weights_depthwise(self.weights[part])
        return [
            constant(self.weights_name, "values", weights, "FP32", "HWC"),
            constant(self.bias_name, "bias", self.bias[part]),
        ]

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.x,)

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.y,)

    def constants(self) -> Sequence[Constant]:
        """See `LayerPlan`."""
        return [item for group in self.packed for item in group]

    def fill_bytes(self) -> dict[str, int]:
        """See `LayerPlan`."""
        g = self.geometry
        padded = any(g.pads) or g.in_width > g.width
        return {border_pattern(self.x): g.in_width * self.x.item_bytes * self.channels} if padded else {}

    def _weight_sizes(self, channels: int) -> list[int]:
        """Bytes of a slice's weights and bias or requantization."""
        taps = self.geometry.kernel[0] * self.geometry.kernel[1]
        if isinstance(self.weights, IntegerWeights):
            return [2 * taps * channels, 4 * channels * self.weights.finish.rows]
        return [4 * taps * channels, 4 * channels]

    def _image_sizes(self, tile: Geometry, rows: int, channels: int) -> list[int]:
        """Bytes of a tile's input and output."""
        return [
            tile.rows(rows) * tile.in_width * self.x.item_bytes * channels,
            rows * tile.tile_width * self.y.item_bytes * channels,
        ]

    def _choose(self) -> tuple[int, int, int]:
        """(rows, columns, channels) of the tile that costs least."""
        g, total = self.geometry, self.x.channels
        free = self.target.l1().size - SLACK
        widths = sorted({g.out_width, *(n for n in (4, 7, 8, 14, 16, 28, 32, 56, 64) if n < g.out_width)})
        best: tuple[float, int, int, int] | None = None
        for channels in sorted({total, *(c for c in (8, 16, *range(32, total, 32)) if c < total)}):
            for columns in widths:
                tile = replace(g, strip=columns) if columns < g.out_width else g
                for rows in range(1, g.out_height + 1):
                    images = sum(align(size) for size in self._image_sizes(tile, rows, channels))
                    weights = sum(align(size) for size in self._weight_sizes(channels))
                    if 2 * images + (1 + (channels < total)) * weights > free:
                        break
                    cost = self._cost(tile, rows, channels)
                    if best is None or cost < best[0]:
                        best = cost, rows, columns, channels
        if best is None:
            raise MachineError(
                f"layer {self.name!r}: 4 output pixels of 8 channels do not fit L1",
                key=self.target.working_key,
            )
        return best[1], best[2], best[3]

    @property
    def estimate(self) -> float:
        """Estimated cycles, rather too few."""
        return self._cost(self.geometry, self.rows, self.channels)

    def _cost(self, tile: Geometry, rows: int, channels: int) -> float:
        """Estimated cycles; the estimate only ranks tiles."""
        g, target, total = self.geometry, self.target, self.x.channels
        item, whole = self.x.item_bytes, channels == total
        slices, strips = -(-total // channels), len(tile.strips)
        tiles = self.x.shape[0] * -(-g.out_height // rows) * strips * slices

        def beats(size: int) -> int:
            return -(-size // int(target.dma_rate))

        lines, columns = tile.rows(rows), tile.tile_width
        if whole:
            moved = lines * beats(tile.in_width * item * channels) + rows * beats(columns * item * channels)
        else:  # each pixel is a row of the transfer
            moved = (lines * tile.in_width + rows * columns) * beats(item * channels)
        transfers = 2 if whole or (strips == 1 and tile.in_width == g.width) else lines + rows
        lanes = target.lanes if self.x.affine is None else target.integer_lanes
        taps = g.kernel[0] * g.kernel[1]
        # A multiply-add comes with a share of loads, addresses and clipping: short vectors are limited by issue.
        vectors = target.vectors(channels)
        pixel = sum(max((taps + 2) * n / (2 * lanes), ISSUE * taps) + PIXEL for n in vectors)
        compute = tiles * (-(-rows // target.harts) * columns * pixel + OVERHEAD + TRANSFER * transfers)
        weights = slices * sum(self._weight_sizes(channels)) / target.dma_rate
        return max(tiles * moved + weights, compute) + moved

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        g, images, total, l1 = self.geometry, self.x.shape[0], self.x.channels, target.l1()
        item, fill = self.x.item_bytes, target.fills.get(border_pattern(self.x), 0)
        part = RowBuffer(g, item * self.channels, self.x.address, fill, item * total)
        loop = Loop("row", g.out_height, self.rows)
        steps = len(self.starts) * images * len(g.strips) * len(loop)
        sizes = self._image_sizes(g, self.rows, self.channels)
        buffers = [[l1.take("depthwise", size) for size in sizes] for _ in range(1 + (steps > 1))]
        held = [
            [l1.take("weights", size) for size in self._weight_sizes(self.channels)]
            for _ in range(1 + (len(self.starts) > 1))
        ]
        tiles: list[Tile] = []
        for index, start in enumerate(self.starts):
            rows = replace(part, source=self.x.address + item * start)
            weights = held[index % len(held)]
            coming = [
                Transfer(piece.address, to, len(piece.data))
                for piece, to in zip(self.packed[index], weights, strict=True)
            ]
            for image in range(images):
                for column in g.strips:
                    for first, count in loop:
                        at = [*buffers[len(tiles) % len(buffers)], *weights]
                        place = Place(index, image, first, count, column)
                        tiles.append(self._tile(rows, at, place, coming, target.harts))
                        coming = []
        operands = [*self.x.operands("input"), *(piece.operand("weights") for piece in self.constants())]
        macs = images * g.out_height * g.out_width * g.kernel[0] * g.kernel[1] * total
        loops = [Loop("channel", total, self.channels), Loop("image", images, 1)]
        if g.strip:
            loops.append(Loop("column", g.out_width, g.strip))
        return LoweredOp(
            self.name,
            self.op,
            self._tile_kernel(),
            (*loops, loop),
            tuple(transfer for at in buffers for transfer in part.sides(at[0], self.rows)),
            tuple(tiles),
            (*operands, *self.y.operands("output")),
            macs,
            format_name(self.x),
            footprint=tuple(l1.taken),
        )

    def _tile_kernel(self) -> TileKernel:
        if isinstance(self.kernel, DepthwiseInt8):
            return DepthwiseInt8Tile(self.kernel)
        return DepthwiseTile(self.kernel)

    def _tile(self, part: RowBuffer, at: list[int], place: Place, coming: list[Transfer], harts: int) -> Tile:
        g, item = self.geometry, self.y.item_bytes
        pixel, total, columns = item * self.channels, item * self.x.channels, g.tile_width
        loads = [*part.load(at[0], place.image, place.first, place.rows, place.column), *coming]
        args = []
        for hart in range(harts):
            start, rows = share(place.rows, harts, hart)
            here = at[0] + start * g.stride[0] * part.pitch
            args.append((here, at[2], at[3], at[1] + start * columns * pixel, rows))
        to = self.y.address + item * self.starts[place.slice]
        to += ((place.image * g.out_height + place.first) * g.out_width + place.column) * total
        line, row = columns * pixel, g.out_width * total
        if pixel == total and columns == g.out_width:
            stores = [Transfer(at[1], to, place.rows * line)]
        elif pixel == total:
            stores = [Transfer(at[1], to, line, place.rows, line, row)]
        elif columns == g.out_width:
            stores = [Transfer(at[1], to, pixel, place.rows * columns, pixel, total)]
        else:
            stores = [
                Transfer(at[1] + n * line, to + n * row, pixel, columns, pixel, total)
                for n in range(place.rows)
            ]
        name = f"channels {self.starts[place.slice]}+{self.channels} image {place.image} "
        name += f"rows {place.first}+{place.rows}" + f" columns {place.column}+{columns}" * (g.strip > 0)
        return Tile(tuple(loads), tuple(stores), tuple(args), name)
