"""Depthwise convolutions in FP32: tiles of output rows, slices of channels if a row of all is too long.

A last slice that is not full overlaps the one before it, as in `potluck.compiler.lowering.conv`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.lowering.adapters import DepthwiseTile
from potluck.compiler.lowering.base import SLACK, Constant, LayerPlan, Target, Tensor, constant, share
from potluck.compiler.lowering.windows import Geometry, RowBuffer
from potluck.compiler.memory import align
from potluck.compiler.schedule import Loop, LoweredOp, Tile, Transfer
from potluck.isa.errors import MachineError
from potluck.kernels.conv_depthwise import DepthwiseFp32, pack_weights_depthwise

F32 = NDArray[np.float32]


@dataclass(eq=False)
class DepthwisePlan(LayerPlan):
    """A depthwise convolution; attributes as those of `potluck.compiler.lowering.conv.ConvPlan`."""

    name: str
    op: str
    x: Tensor
    y: Tensor
    geometry: Geometry
    weights: F32
    weights_name: str
    bias: F32
    bias_name: str
    bounds: tuple[float, float]
    target: Target

    def __post_init__(self) -> None:
        self.rows, self.channels = self._choose()
        low, high = (None if np.isinf(bound) else bound for bound in self.bounds)
        tile = self.target.tile
        self.kernel = DepthwiseFp32(self.geometry.window, self.channels, low, high, tile)
        total = self.x.channels
        self.starts = [min(at, total - self.channels) for at in range(0, total, self.channels)]
        self.packed = []
        for start in self.starts:
            pick = slice(start, start + self.channels)
            weights = pack_weights_depthwise(self.weights[pick])
            self.packed.append(
                [
                    constant(self.weights_name, "values", weights, "FP32", "HWC"),
                    constant(self.bias_name, "bias", self.bias[pick]),
                ]
            )

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
        return {"zero": g.in_width * 4 * self.channels} if padded else {}

    def _sizes(self, rows: int, channels: int) -> list[int]:
        g = self.geometry
        taps = g.kernel[0] * g.kernel[1]
        return [
            g.rows(rows) * g.in_width * 4 * channels,
            rows * g.out_width * 4 * channels,
            taps * 4 * channels,
            4 * channels,
        ]

    def _choose(self) -> tuple[int, int]:
        """(rows, channels) of a tile: the widest slice with enough rows that few are loaded twice."""
        g, total = self.geometry, self.x.channels
        free = self.target.l1().size - SLACK
        best: tuple[float, int, int] | None = None
        for channels in sorted({total, *(c for c in (8, 16, *range(32, total, 32)) if c < total)}):
            for rows in range(1, g.out_height + 1):
                if 2 * sum(align(size) for size in self._sizes(rows, channels)) > free:
                    break
                tiles = self.x.shape[0] * -(-g.out_height // rows) * -(-total // channels)
                sizes = self._sizes(rows, channels)
                moved = tiles * sum(sizes) / self.target.dma_rate
                work = g.kernel[0] * g.kernel[1] * g.out_width * channels / (2 * self.target.lanes)
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
        part = RowBuffer(g, 4 * self.channels, self.x.address, target.fills.get("zero", 0), 4 * total)
        loop = Loop("row", g.out_height, self.rows)
        steps = len(self.starts) * images * len(loop)
        copies = 1 + (steps > 1)
        buffers = [
            [l1.take("depthwise", size) for size in self._sizes(self.rows, self.channels)]
            for _ in range(copies)
        ]
        tiles: list[Tile] = []
        for index, start in enumerate(self.starts):
            rows = replace(part, source=self.x.address + 4 * start)
            for image in range(images):
                for first, count in loop:
                    at = buffers[len(tiles) % copies]
                    tiles.append(self._tile(rows, at, index, image, first, count, target.harts))
        operands = [*self.x.operands("input"), *(item.operand("weights") for item in self.constants())]
        macs = images * g.out_height * g.out_width * g.kernel[0] * g.kernel[1] * total
        return LoweredOp(
            self.name,
            self.op,
            DepthwiseTile(self.kernel),
            (Loop("channel", total, self.channels), Loop("image", images, 1), loop),
            tuple(transfer for at in buffers for transfer in part.sides(at[0], self.rows)),
            tuple(tiles),
            (*operands, *self.y.operands("output")),
            macs,
            footprint=tuple(l1.taken),
        )

    def _tile(
        self, part: RowBuffer, at: list[int], index: int, image: int, first: int, count: int, harts: int
    ) -> Tile:
        g, pixel, total = self.geometry, 4 * self.channels, 4 * self.x.channels
        loads = part.load(at[0], image, first, count)
        # The weights of a slice come with every tile: they are few, and so each buffer has its own.
        for item, to in zip(self.packed[index], at[2:], strict=True):
            loads.append(Transfer(item.address, to, len(item.data)))
        args = []
        for hart in range(harts):
            start, rows = share(count, harts, hart)
            here = at[0] + start * g.stride[0] * part.pitch
            args.append((here, at[2], at[3], at[1] + start * g.out_width * pixel, rows))
        pixels = count * g.out_width
        to = self.y.address + (image * g.out_height + first) * g.out_width * total + 4 * self.starts[index]
        whole = pixel == total
        store = (
            Transfer(at[1], to, pixels * pixel) if whole else Transfer(at[1], to, pixel, pixels, pixel, total)
        )
        name = f"channels {self.starts[index]}+{self.channels} image {image} rows {first}+{count}"
        return Tile(tuple(loads), (store,), tuple(args), name)
