"""Pooling: tiles of output rows for windows, slices of channels for the mean over a whole image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from potluck.compiler.lowering.adapters import GlobalPoolTile, PoolTile
from potluck.compiler.lowering.base import SLACK, Constant, LayerPlan, Target, Tensor, constant, share
from potluck.compiler.lowering.windows import Geometry, RowBuffer
from potluck.compiler.schedule.layer import Loop, LoweredOp, Tile, Transfer
from potluck.compiler.schedule.memory import align
from potluck.isa.errors import MachineError
from potluck.kernels.pool import GlobalAveragePool, Pool, reciprocals


@dataclass(eq=False)
class PoolPlan(LayerPlan):
    """MaxPool or AveragePool.

    Attributes:
        name: Node.
        op: Operator.
        x: Input image.
        y: Output image.
        geometry: Window and sizes.
        average: Mean instead of maximum.
        count_pad: The mean divides by the window's taps even where they meet the border.
        target: The machine.
    """

    name: str
    op: str
    x: Tensor
    y: Tensor
    geometry: Geometry
    average: bool
    count_pad: bool
    target: Target

    def __post_init__(self) -> None:
        g = self.geometry
        self.padded = any(g.pads) or g.in_width > g.width or g.rows(g.out_height) > g.height
        self.factors: Constant | None = None
        if self.average and self.padded and not self.count_pad:
            factors = reciprocals(g.height, g.width, g.window, g.pads, g.out_height)
            self.factors = constant(self.name, "factors", factors)
        self.rows, self.channels = self._choose()
        counted = self.factors is not None
        self.kernel = Pool(g.window, self.channels, self.average, counted, self.target.vlen)

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.x,)

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.y,)

    def constants(self) -> Sequence[Constant]:
        """See `LayerPlan`."""
        return () if self.factors is None else (self.factors,)

    @property
    def fill(self) -> str:
        """What the border holds."""
        return "zero" if self.average else "-inf"

    def fill_bytes(self) -> dict[str, int]:
        """See `LayerPlan`."""
        return {self.fill: self.geometry.in_width * 4 * self.channels} if self.padded else {}

    def _sizes(self, rows: int, channels: int) -> tuple[int, int, int]:
        g = self.geometry
        factors = 4 * rows * g.out_width if self.factors else 0
        return g.rows(rows) * g.in_width * 4 * channels, rows * g.out_width * 4 * channels, factors

    def _choose(self) -> tuple[int, int]:
        """(rows, channels) of a tile: the fewest bytes moved, and not so few tiles that the ends are exposed."""
        g, total, harts = self.geometry, self.x.channels, self.target.harts
        free = self.target.l1().size - SLACK
        most = align(-(-g.out_height * self.x.shape[0] // 8), harts)
        best: tuple[float, int, int] | None = None
        for channels in sorted({total, *(c for c in (8, 16, *range(32, total, 32)) if c < total)}):
            for rows in range(1, min(most, g.out_height) + 1):
                sizes = self._sizes(rows, channels)
                if 2 * sum(align(size) for size in sizes) > free:
                    break
                tiles = self.x.shape[0] * -(-g.out_height // rows) * -(-total // channels)
                idle = -(-rows // harts) * harts / rows
                cost = tiles * (sum(sizes) / self.target.dma_rate * idle + 400)
                if best is None or cost < best[0]:
                    best = cost, rows, channels
        if best is None:
            raise MachineError(
                f"layer {self.name!r}: one row of 8 channels does not fit L1", key=self.target.working_key
            )
        return best[1], best[2]

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        g, images, total, l1 = self.geometry, self.x.shape[0], self.x.channels, target.l1()
        fill = target.fills.get(self.fill, 0)
        part = RowBuffer(g, 4 * self.channels, self.x.address, fill, 4 * total)
        starts = [min(at, total - self.channels) for at in range(0, total, self.channels)]
        loop = Loop("row", g.out_height, self.rows)
        copies = 1 + (len(starts) * images * len(loop) > 1)
        buffers = [
            [l1.take("pool", size) for size in self._sizes(self.rows, self.channels)] for _ in range(copies)
        ]
        tiles: list[Tile] = []
        for start in starts:
            rows = replace(part, source=self.x.address + 4 * start)
            for image in range(images):
                for first, count in loop:
                    at = buffers[len(tiles) % copies]
                    tiles.append(self._tile(rows, at, start, image, first, count, target.harts))
        constants = (item.operand("factors") for item in self.constants())
        return LoweredOp(
            self.name,
            self.op,
            PoolTile(self.kernel),
            (Loop("channel", total, self.channels), Loop("image", images, 1), loop),
            tuple(transfer for at in buffers for transfer in part.sides(at[0], self.rows)),
            tuple(tiles),
            (*self.x.operands("input"), *constants, *self.y.operands("output")),
            footprint=tuple(l1.taken),
            contained=True,
        )

    def _tile(
        self, part: RowBuffer, at: list[int], start: int, image: int, first: int, count: int, harts: int
    ) -> Tile:
        g, pixel, total = self.geometry, 4 * self.channels, 4 * self.x.channels
        loads = part.load(at[0], image, first, count)
        if self.factors is not None:
            line = 4 * g.out_width
            loads.append(Transfer(self.factors.address + first * line, at[2], count * line))
        args = []
        for hart in range(harts):
            begin, rows = share(count, harts, hart)
            args.append(
                (
                    at[0] + begin * g.stride[0] * part.pitch,
                    at[1] + begin * g.out_width * pixel,
                    rows,
                    at[2] + 4 * begin * g.out_width if self.factors is not None else 0,
                )
            )
        out = self.y.address + (image * g.out_height + first) * g.out_width * total + 4 * start
        pixels = count * g.out_width
        whole = pixel == total
        store = (
            Transfer(at[1], out, pixels * pixel)
            if whole
            else Transfer(at[1], out, pixel, pixels, pixel, total)
        )
        name = f"channels {start}+{self.channels} image {image} rows {first}+{count}"
        return Tile(tuple(loads), (store,), tuple(args), name)


@dataclass(eq=False)
class GlobalPoolPlan(LayerPlan):
    """GlobalAveragePool, or ReduceMean over H and W.

    A unit is a slice of the channels of one image, gathered by the DMA; harts share a tile's units.

    Attributes:
        name: Node.
        op: Operator.
        x: Input image.
        y: Output, one value per channel of each image.
    """

    name: str
    op: str
    x: Tensor
    y: Tensor

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.x,)

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.y,)

    def _slice(self, target: Target) -> int:
        """Channels of a unit: a divisor of C of which one per hart fits twice, all harts busy if possible."""
        pixels, channels = self.x.pixels // self.x.shape[0], self.x.channels
        free = target.l1().size - SLACK
        fitting = [
            count
            for count in range(1, channels + 1)
            if channels % count == 0 and 2 * target.harts * align((pixels + 1) * count * 4) <= free
        ]
        if not fitting:
            raise MachineError(f"layer {self.name!r}: one channel does not fit L1", key=target.working_key)
        busy = [count for count in fitting if channels // count * self.x.shape[0] >= target.harts]
        return max(busy or fitting)

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        images, channels, l1 = self.x.shape[0], self.x.channels, target.l1()
        pixels, part = self.x.pixels // images, self._slice(target)
        slices = channels // part
        loop = Loop("slice", images * slices, target.harts)
        copies = 1 + (len(loop) > 1)
        block = pixels * part * 4
        buffers = [
            (l1.take("input", target.harts * block), l1.take("output", target.harts * part * 4))
            for _ in range(copies)
        ]
        tiles: list[Tile] = []
        for index, (start, count) in enumerate(loop):
            data, out = buffers[index % copies]
            loads = []
            for unit in range(count):
                image, piece = divmod(start + unit, slices)
                source = self.x.address + 4 * (image * pixels * channels + piece * part)
                at = data + unit * block
                if part == channels:
                    loads.append(Transfer(source, at, block))
                else:
                    loads.append(Transfer(source, at, 4 * part, pixels, 4 * channels, 4 * part))
            store = Transfer(out, self.y.address + 4 * start * part, count * part * 4)
            args = []
            for hart in range(target.harts):
                first, units = share(count, target.harts, hart)
                args.append((data + first * block, out + first * part * 4, units))
            tiles.append(Tile(tuple(loads), (store,), tuple(args), f"slices {start}+{count}"))
        factor = float(np.float32(1) / np.float32(pixels))
        return LoweredOp(
            self.name,
            self.op,
            GlobalPoolTile(GlobalAveragePool(part, factor), pixels),
            (loop,),
            (),
            tuple(tiles),
            (*self.x.operands("input"), *self.y.operands("output")),
            footprint=tuple(l1.taken),
            contained=True,
        )
