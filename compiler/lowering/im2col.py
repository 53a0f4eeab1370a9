"""Windows of an image as channels: tiles of output rows, copied on the core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from potluck.compiler.lowering.adapters import octets, write
from potluck.compiler.lowering.base import SLACK, LayerPlan, Target, Tensor, share
from potluck.compiler.lowering.kernel_tile import KernelTile
from potluck.compiler.lowering.windows import Geometry, RowBuffer
from potluck.compiler.schedule.layer import Loop, LoweredOp, Memory, Tile, Transfer
from potluck.compiler.schedule.memory import align
from potluck.isa.errors import MachineError
from potluck.kernels.layout import Im2col

ITEM = 4
"""Bytes of a value."""


class Im2colTile(KernelTile[Im2col]):
    """Arguments: input, output, output rows."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        k, (x, out, rows) = self.kernel, args
        if not rows:
            return
        window = k.window
        height, width = window.rows(rows), window.in_width
        missing = (width - window.columns(window.out_width)) * k.pixel_bytes
        data = octets(memory, x, height * width * k.pixel_bytes - missing)
        image = np.pad(data, (0, missing)).reshape(height, width, k.pixel_bytes)
        write(memory, out, k.contract(image, rows))


@dataclass(eq=False)
class Im2colPlan(LayerPlan):
    """Im2col of an FP32 image.

    Attributes:
        name: Node.
        op: Operator.
        x: Input image.
        y: Output image, whose channels are the windows.
        geometry: Window and sizes.
        target: The machine.
    """

    name: str
    op: str
    x: Tensor
    y: Tensor
    geometry: Geometry
    target: Target

    def __post_init__(self) -> None:
        g = self.geometry
        self.pixel, self.out_pixel = ITEM * self.x.channels, ITEM * self.y.channels
        self.padded = any(g.pads) or g.in_width > g.width or g.rows(g.out_height) > g.height
        self.rows = self._choose()
        self.kernel = Im2col(g.window, self.pixel)

    def _sizes(self, rows: int) -> tuple[int, int]:
        g = self.geometry
        return g.rows(rows) * g.in_width * self.pixel, rows * g.out_width * self.out_pixel

    def _choose(self) -> int:
        """Output rows of a tile: as many as fit twice, in no fewer than eight tiles."""
        g, free = self.geometry, self.target.l1().size - SLACK
        wanted = align(-(-g.out_height * self.x.shape[0] // 8), self.target.harts)
        rows = min(wanted, g.out_height)
        while rows and 2 * sum(align(size) for size in self._sizes(rows)) > free:
            rows -= 1
        if not rows:
            raise MachineError(
                f"layer {self.name!r}: one row of windows does not fit L1", key=self.target.working_key
            )
        return rows

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.x,)

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.y,)

    def fill_bytes(self) -> dict[str, int]:
        """See `LayerPlan`."""
        return {"zero": self.geometry.in_width * self.pixel} if self.padded else {}

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        g, images, l1 = self.geometry, self.x.shape[0], target.l1()
        part = RowBuffer(g, self.pixel, self.x.address, target.fills.get("zero", 0))
        loop = Loop("row", g.out_height, self.rows)
        copies = 1 + (images * len(loop) > 1)
        buffers = [[l1.take("windows", size) for size in self._sizes(self.rows)] for _ in range(copies)]
        tiles: list[Tile] = []
        line = g.out_width * self.out_pixel
        for image in range(images):
            for first, count in loop:
                source, out = buffers[len(tiles) % copies]
                args = []
                for hart in range(target.harts):
                    begin, rows = share(count, target.harts, hart)
                    args.append((source + begin * g.stride[0] * part.pitch, out + begin * line, rows))
                to = self.y.address + (image * g.out_height + first) * line
                loads = tuple(part.load(source, image, first, count))
                name = f"image {image} rows {first}+{count}"
                tiles.append(Tile(loads, (Transfer(out, to, count * line),), tuple(args), name))
        return LoweredOp(
            self.name,
            self.op,
            Im2colTile(self.kernel),
            (Loop("image", images, 1), loop),
            tuple(transfer for at in buffers for transfer in part.sides(at[0], self.rows)),
            tuple(tiles),
            (*self.x.operands("input"), *self.y.operands("output")),
            footprint=tuple(l1.taken),
        )
