"""Convolutions: tiles of output rows and groups of output channels; matrix products are 1x1 convolutions.

The weights of a group of output channels stay in L1 while the tiles of rows pass, or the rows stay while the
groups pass, whichever moves fewer bytes. Rows of a tile are divided among the harts. If the channels are no
multiple of the group, the last group overlaps the one before it: the same values are computed and stored
twice, by the same code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from potluck.compiler.lowering.adapters import ConvFp32Tile, ConvMxTile
from potluck.compiler.lowering.base import SLACK, Constant, LayerPlan, Target, Tensor, constant
from potluck.compiler.lowering.conv_tiles import ConvTiles
from potluck.compiler.lowering.packing import ELEMENTS, Weights, pack_mx, pick
from potluck.compiler.lowering.windows import Geometry
from potluck.compiler.memory import align
from potluck.compiler.schedule import Loop, LoweredOp, TileKernel
from potluck.isa.blocks import BlockLayout
from potluck.isa.errors import MachineError
from potluck.isa.mx import MxTensor
from potluck.kernels.conv_fp32 import ConvFp32, pack_weights_fp32
from potluck.kernels.conv_mx import ConvMx

F32 = NDArray[np.float32]

TILE_OVERHEAD = 400
"""Cycles of a tile that compute nothing: barrier, transfers' commands, kernel entry. Only ranks tilings."""
ISSUE = 2.4
"""Instructions that a core issues per product instruction. Only ranks tilings."""
EFFICIENCY = 0.9
"""Share of the peak that kernels reach. Only ranks tilings."""


@dataclass(frozen=True)
class Tiling:
    """A choice of tiles.

    Attributes:
        rows: Output rows of a tile.
        channels: Output channels of a group.
        groups_outer: Whether groups are the outer loop (weights stay) or rows are (rows stay).
        single: Whether the groups share one buffer of weights: then nothing is computed while they change.
    """

    rows: int
    channels: int
    groups_outer: bool
    single: bool = False


@dataclass(eq=False)
class _Group:
    """Output channels from ``start`` on; their constants are weights, scales (MX only), bias."""

    start: int
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
        weights: [Cout, C, KH, KW], MX if ``x`` is.
        weights_name: ONNX name.
        bias: [Cout].
        bias_name: ONNX name.
        bounds: Of the fused activation; infinite sides are open.
        target: The machine.
    """

    name: str
    op: str
    x: Tensor
    y: Tensor
    images: int
    geometry: Geometry
    weights: Weights
    weights_name: str
    bias: F32
    bias_name: str
    bounds: tuple[float, float]
    target: Target

    def __post_init__(self) -> None:
        self.mx: BlockLayout | None = self.weights.layout if isinstance(self.weights, MxTensor) else None
        shape = self._shape
        self.out_channels, self.in_channels = shape[0], shape[1]
        self.tiling = self._choose()
        self.kernel = self._kernel(self.tiling.channels)
        self.groups = [self._group(start) for start in self._starts()]

    @property
    def _shape(self) -> tuple[int, ...]:
        array = self.weights.codes if isinstance(self.weights, MxTensor) else self.weights
        return array.shape

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.x,)

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.y,)

    def constants(self) -> Sequence[Constant]:
        """See `LayerPlan`."""
        return [item for group in self.groups for item in group.constants]

    def fill_bytes(self) -> dict[str, int]:
        """See `LayerPlan`."""
        padded = any(self.geometry.pads) or self.geometry.in_width > self.geometry.width
        return {"zero": self.geometry.in_width * self.x.pixel_bytes} if padded else {}

    def _kernel(self, channels: int) -> ConvMx | ConvFp32:
        low, high = (None if np.isinf(bound) else bound for bound in self.bounds)
        window = self.geometry.window
        tile = min(32, self.target.vlen // 16)
        if self.mx is None:
            return ConvFp32(window, self.in_channels, channels, low, high, tile)
        element = ELEMENTS[self.mx.element.name]
        return ConvMx(window, self.in_channels, channels, low, high, tile, element=element)

    # Sizes of one group and one tile, in bytes.

    def _weight_bytes(self, channels: int) -> int:
        taps = self.geometry.kernel[0] * self.geometry.kernel[1]
        if self.mx is None:
            return align(taps * self.in_channels * (channels + channels % 2) * 4) + align(channels * 4)
        scales = taps * self.x.scales * align(channels, 8)
        return align(taps * self.x.pixel_bytes * channels) + align(scales) + align(channels * 4)

    def _in_bytes(self, rows: int) -> int:
        pixels = self.geometry.rows(rows) * self.geometry.in_width
        return align(pixels * self.x.pixel_bytes) + align(pixels * self.x.scales)

    def out_bytes(self, rows: int, channels: int) -> int:
        """Bytes of an output tile in L1."""
        return align(rows * self.geometry.out_width * channels * 4)

    def copies(self, tiling: Tiling) -> tuple[int, int, int]:
        """Numbers of buffers of weights, inputs and outputs: two of what changes during the layer."""
        groups = -(-self.out_channels // tiling.channels)
        row_tiles = self.images * -(-self.geometry.out_height // tiling.rows)
        return 1 + (groups > 1 and not tiling.single), 1 + (row_tiles > 1), 1 + (groups * row_tiles > 1)

    def _choose(self) -> Tiling:
        size = self.target.l1().size - SLACK
        best: tuple[float, Tiling] | None = None
        channels = sorted(
            {
                self.out_channels,
                *range(32, self.out_channels, 32),
                *(c for c in (8, 16) if c < self.out_channels),
            }
        )
        for count in channels:
            for rows in range(1, self.geometry.out_height + 1):
                for outer, single in ((True, False), (False, False), (True, True)):
                    tiling = Tiling(rows, count, outer, single)
                    weights, inputs, outputs = self.copies(tiling)
                    need = weights * self._weight_bytes(count) + inputs * self._in_bytes(rows)
                    if need + outputs * self.out_bytes(rows, count) > size:
                        continue
                    cost = self._cost(tiling)
                    if best is None or cost < best[0]:
                        best = cost, tiling
        if best is None:
            raise MachineError(
                f"layer {self.name!r}: one output row with 8 channels does not fit L1",
                key="memory.l1_bytes",
                hint="Give the machine a larger L1 or the network smaller images",
            )
        return best[1]

    def _cost(self, tiling: Tiling) -> float:
        """Estimated cycles; only the order of tilings matters."""
        g, target = self.geometry, self.target
        groups = -(-self.out_channels // tiling.channels)
        row_tiles = self.images * -(-g.out_height // tiling.rows)
        weights, inputs = self._weight_bytes(tiling.channels), self._in_bytes(tiling.rows)
        moved = groups * row_tiles * self.out_bytes(tiling.rows, tiling.channels)
        moved += weights * (groups if tiling.groups_outer or groups == 1 else groups * row_tiles)
        moved += inputs * (row_tiles if not tiling.groups_outer or row_tiles == 1 else groups * row_tiles)
        steps = g.kernel[0] * g.kernel[1] * (self.x.pixel_bytes / 8 if self.mx else self.in_channels)
        rate = target.lanes * (1 if self.mx else 2)  # elements of the accumulator per cycle
        strip = min(32, target.vlen // 16)
        strips = [strip] * (tiling.channels // strip) + [tiling.channels % strip]
        # A product comes with the load of a scalar and a share of the step's other instructions: short vectors
        # are limited by issue.
        vectors = sum(max(count / rate, ISSUE) for count in strips if count)
        per_row = g.out_width * vectors * steps / EFFICIENCY
        compute = groups * row_tiles * (-(-tiling.rows // target.harts) * per_row + TILE_OVERHEAD)
        if tiling.single:
            compute += (groups - 1) * (weights / target.dma_rate + target.dma_latency + TILE_OVERHEAD)
        # The first weights usually come while the layer before still runs.
        exposed = weights / 4 + inputs + self.out_bytes(tiling.rows, tiling.channels)
        return max(compute, moved / target.dma_rate) + exposed / target.dma_rate

    def _starts(self) -> list[int]:
        count = self.tiling.channels
        return [min(start, self.out_channels - count) for start in range(0, self.out_channels, count)]

    def _group(self, start: int) -> _Group:
        weights = pick(self.weights, slice(start, start + self.tiling.channels))
        name = self.weights_name
        if isinstance(weights, MxTensor):
            codes, scales = pack_mx(weights)
            made = [
                constant(name, "codes", codes, weights.layout.element.name, "HWIO chunks"),
                constant(name, "scales", scales, "E8M0", "HWIO blocks"),
            ]
        else:
            made = [constant(name, "values", pack_weights_fp32(weights), "FP32", "HWIO")]
        bias = self.bias[start : start + self.tiling.channels].astype(np.float32)
        return _Group(start, [*made, constant(self.bias_name, "bias", bias)])

    def order(self) -> Iterator[tuple[int, int, int, int]]:
        """(group, image, first row, rows) of every tile."""
        rows = Loop("row", self.geometry.out_height, self.tiling.rows)
        groups = range(len(self.groups))
        if self.tiling.groups_outer:
            yield from ((g, n, r, count) for g in groups for n in range(self.images) for r, count in rows)
        else:
            yield from ((g, n, r, count) for n in range(self.images) for r, count in rows for g in groups)

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        return ConvTiles(self, target).result()

    @property
    def macs(self) -> int:
        """Multiply-accumulates, padding of channels not counted."""
        g = self.geometry
        taps = g.kernel[0] * g.kernel[1]
        return self.images * g.out_height * g.out_width * taps * self.in_channels * self.out_channels

    @property
    def tile_kernel(self) -> TileKernel:
        """The kernel with its contract on memory."""
        return ConvMxTile(self.kernel) if isinstance(self.kernel, ConvMx) else ConvFp32Tile(self.kernel)
