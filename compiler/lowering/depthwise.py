"""Depthwise convolutions: tiles of output rows, slices of channels if a row of all is too long.

A last slice that is not full overlaps the one before it, as in `potluck.compiler.lowering.conv`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
from potluck.compiler.lowering.windows import Geometry, RowBuffer
from potluck.compiler.memory import align
from potluck.compiler.schedule import Loop, LoweredOp, Tile, TileKernel, Transfer
from potluck.isa.errors import MachineError
from potluck.kernels.conv_depthwise import DepthwiseFp32, pack_weights_depthwise
from potluck.kernels.conv_depthwise_int8 import DepthwiseInt8, pack_weights_depthwise_int8

F32 = NDArray[np.float32]


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
        self.rows, self.channels = self._choose()
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

    def _sizes(self, rows: int, channels: int) -> list[int]:
        g = self.geometry
        taps = g.kernel[0] * g.kernel[1]
        integers = self.weights if isinstance(self.weights, IntegerWeights) else None
        return [
            g.rows(rows) * g.in_width * self.x.item_bytes * channels,
            rows * g.out_width * self.y.item_bytes * channels,
            taps * (4 if integers is None else 2) * channels,
            4 * channels * (1 if integers is None else integers.finish.rows),
        ]

    def _choose(self) -> tuple[int, int]:
        """(rows, channels) of a tile: the widest slice with enough rows that few are loaded twice."""
        g, total = self.geometry, self.x.channels
        free = self.target.l1().size - SLACK
        lanes = self.target.lanes if self.x.affine is None else self.target.integer_lanes
        best: tuple[float, int, int] | None = None
        for channels in sorted({total, *(c for c in (8, 16, *range(32, total, 32)) if c < total)}):
            for rows in range(1, g.out_height + 1):
                if 2 * sum(align(size) for size in self._sizes(rows, channels)) > free:
                    break
                tiles = self.x.shape[0] * -(-g.out_height // rows) * -(-total // channels)
                sizes = self._sizes(rows, channels)
                moved = tiles * sum(sizes) / self.target.dma_rate
                work = g.kernel[0] * g.kernel[1] * g.out_width * channels / (2 * lanes)
                compute = tiles * (-(-rows // self.target.harts) * work * 1.5 + 400)
                cost = max(moved, compute) + sum(sizes) / self.target.dma_rate
                if best is None or cost < best[0]:
                    best = cost, rows, channels
        if best is None:
            raise MachineError(
                f"layer {self.name!r}: one output row of 8 channels does not fit L1",
                key=self.target.working_key,
            )
        return best[1], best[2]

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        g, images, total, l1 = self.geometry, self.x.shape[0], self.x.channels, target.l1()
        item, fill = self.x.item_bytes, target.fills.get(border_pattern(self.x), 0)
        part = RowBuffer(g, item * self.channels, self.x.address, fill, item * total)
        loop = Loop("row", g.out_height, self.rows)
        steps = len(self.starts) * images * len(loop)
        copies = 1 + (steps > 1)
        buffers = [
            [l1.take("depthwise", size) for size in self._sizes(self.rows, self.channels)]
            for _ in range(copies)
        ]
        tiles: list[Tile] = []
        for index, start in enumerate(self.starts):
            rows = replace(part, source=self.x.address + item * start)
            for image in range(images):
                for first, count in loop:
                    at = buffers[len(tiles) % copies]
                    tiles.append(self._tile(rows, at, index, image, first, count, target.harts))
        operands = [*self.x.operands("input"), *(item.operand("weights") for item in self.constants())]
        macs = images * g.out_height * g.out_width * g.kernel[0] * g.kernel[1] * total
        return LoweredOp(
            self.name,
            self.op,
            self._tile_kernel(),
            (Loop("channel", total, self.channels), Loop("image", images, 1), loop),
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

    def _tile(
        self, part: RowBuffer, at: list[int], index: int, image: int, first: int, count: int, harts: int
    ) -> Tile:
        g, item = self.geometry, self.y.item_bytes
        pixel, total = item * self.channels, item * self.x.channels
        loads = part.load(at[0], image, first, count)
        # The weights of a slice come with every tile: they are few, and so each buffer has its own.
        for held, to in zip(self.packed[index], at[2:], strict=True):
            loads.append(Transfer(held.address, to, len(held.data)))
        args = []
        for hart in range(harts):
            start, rows = share(count, harts, hart)
            here = at[0] + start * g.stride[0] * part.pitch
            args.append((here, at[2], at[3], at[1] + start * g.out_width * pixel, rows))
        pixels = count * g.out_width
        to = self.y.address + (image * g.out_height + first) * g.out_width * total + item * self.starts[index]
        whole = pixel == total
        store = (
            Transfer(at[1], to, pixels * pixel) if whole else Transfer(at[1], to, pixel, pixels, pixel, total)
        )
        name = f"channels {self.starts[index]}+{self.channels} image {image} rows {first}+{count}"
        return Tile(tuple(loads), (store,), tuple(args), name)
