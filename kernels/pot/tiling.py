"""Convolutions on the cluster's PoT accelerator: how a layer is cut into tiles.

A layer is cut into tiles of output rows and columns, of weight blocks and, if the depth does not fit, of channels. The
order of the tiles and their sizes are those of the smallest estimated time: computations overlap the loads of the next
tile, so a tile is as long as the longest of its load, its computation and its store.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.isa.machine import Machine, Pot, PotEngine
from potluck.isa.pot.array import LAWS, CodeSet, Law
from potluck.isa.pot.command import Command, decode, encode, rounds_of, weight_bytes, weight_lines
from potluck.isa.pot.cycles import compute_cycles

LATENCY = 150
"""Cycles of a transfer that nothing hides, about."""


@dataclass(frozen=True)
class PotConv:
    """A convolution of bytes, channels last, batch 1; a matrix product has one column of pixels and kernel 1.

    Attributes:
        height, width, channels: of the input.
        filters: output channels; as many as channels if depthwise.
        kernel, stride, dilation: vertical and horizontal.
        pads: top, left, bottom, right.
        depthwise: each channel has a filter of its own.
        planes: codes per weight, several for integers.
        zero: zero point of the input.
        zero_point, low, high: of the output.
        law: how sums end; FP32 outputs lie between ``float_low`` and ``float_high``.
        unsigned_inputs, unsigned_outputs: activations are UINT8; zero points and bounds are those less 128.
    """

    height: int
    width: int
    channels: int
    filters: int
    kind: CodeSet
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    depthwise: bool = False
    planes: int = 1
    zero: int = 0
    zero_point: int = 0
    low: int = -128
    high: int = 127
    law: Law = "tflite_single"
    float_low: float = -np.inf
    float_high: float = np.inf
    unsigned_inputs: bool = False
    unsigned_outputs: bool = False

    @property
    def out_bytes(self) -> int:
        """Bytes of an output."""
        return 4 if self.law == "float" else 1

    @property
    def out_height(self) -> int:
        """Output rows."""
        reach = self.dilation[0] * (self.kernel[0] - 1) + 1
        return (self.height + self.pads[0] + self.pads[2] - reach) // self.stride[0] + 1

    @property
    def out_width(self) -> int:
        """Output columns."""
        reach = self.dilation[1] * (self.kernel[1] - 1) + 1
        return (self.width + self.pads[1] + self.pads[3] - reach) // self.stride[1] + 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates, padding included, planes not."""
        depth = self.kernel[0] * self.kernel[1] * (1 if self.depthwise else self.channels)
        return self.out_height * self.out_width * self.filters * depth


class Span(NamedTuple):
    """A part of an axis."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Its length."""
        return self.stop - self.start


@dataclass(frozen=True)
class Tiling:
    """Sizes of tiles, and whether tiles of pixels are the outer loop (else those of filters).

    ``channels``: of a part of the depth; all where it is not cut.
    """

    rows: int
    columns: int
    filters: int
    channels: int
    pixels_outside: bool


def spans(size: int, step: int) -> list[Span]:
    """An axis cut into parts of ``step``."""
    return [Span(start, min(start + step, size)) for start in range(0, size, step)]


def extent(out: Span, size: int, kernel: int, stride: int, dilation: int, pad: int) -> tuple[Span, int]:
    """The inputs that outputs need, and how many lie before the border."""
    start = out.start * stride - pad
    stop = (out.stop - 1) * stride - pad + dilation * (kernel - 1) + 1
    first = min(max(start, 0), size - 1)
    return Span(first, max(first + 1, min(stop, size))), first - start


@dataclass(frozen=True)
class Tile:
    """One output tile: parts of the output's rows, columns and filters."""

    rows: Span
    columns: Span
    filters: Span


@dataclass(frozen=True)
class Planner:
    """A layer on a machine's accelerator.

    Raises:
        MachineError: The machine has none.
    """

    conv: PotConv
    pot: Pot
    engine: PotEngine
    bus_bytes: int

    @staticmethod
    def of(conv: PotConv, machine: Machine) -> Planner:
        """The planner of a machine.

        Raises:
            DataError: It has no accelerator.
        """
        if machine.pot is None or machine.pot.engine is None:
            raise DataError(f"{machine.name} has no PoT accelerator", hint="spatz-mx-pot has one")
        return Planner(conv, machine.pot, machine.pot.engine, machine.dma.width_bits // 8)

    def window(self, tile: Tile) -> tuple[Span, Span, int, int]:
        """Input rows and columns of a tile, and its padding above and to the left."""
        c = self.conv
        rows, top = extent(tile.rows, c.height, c.kernel[0], c.stride[0], c.dilation[0], c.pads[0])
        columns, left = extent(tile.columns, c.width, c.kernel[1], c.stride[1], c.dilation[1], c.pads[1])
        return rows, columns, top, left

    def lines(self, channels: int) -> int:
        """Weight lines of a block for a part of the depth."""
        c, taps = self.conv, self.conv.kernel[0] * self.conv.kernel[1]
        return weight_lines(taps if c.depthwise else taps * channels, c.planes, c.depthwise)

    def compute(self, tile: Tile, channels: int, **fields: int) -> NDArray[np.uint32]:
        """COMPUTE of a tile."""
        c = self.conv
        rows, columns, top, left = self.window(tile)
        float_low, float_high = np.array([c.float_low, c.float_high], np.float32).view(np.uint32).tolist()
        return encode(
            Command.COMPUTE, depthwise=c.depthwise, code_set=c.kind.number, planes=c.planes, zero=c.zero,
            zero_point=c.zero_point, low=c.low, high=c.high, height=rows.size, width=columns.size, channels=channels,
            filters=tile.filters.size, out_height=tile.rows.size, out_width=tile.columns.size,
            kernel_height=c.kernel[0], kernel_width=c.kernel[1], stride_height=c.stride[0], stride_width=c.stride[1],
            dilation_height=c.dilation[0], dilation_width=c.dilation[1], pad_top=top, pad_left=left,
            law=LAWS.index(c.law), float_low=float_low, float_high=float_high, unsigned_inputs=c.unsigned_inputs,
            unsigned_outputs=c.unsigned_outputs, last=False, **fields,
        )  # fmt: skip

    def fits(self, tiling: Tiling) -> bool:
        """Whether the largest tile fits into all buffers."""
        c, blocks = self.conv, -(-tiling.filters // 4)
        local = rounds_of(blocks, self.pot.units)
        lines = self.lines(tiling.channels)
        taps = c.kernel[0] * c.kernel[1]
        window = 4 * self.pot.units * taps if c.depthwise else -(-taps * tiling.channels // 4)
        in_rows = min(c.height, (tiling.rows - 1) * c.stride[0] + c.dilation[0] * (c.kernel[0] - 1) + 1)
        in_columns = min(c.width, (tiling.columns - 1) * c.stride[1] + c.dilation[1] * (c.kernel[1] - 1) + 1)
        pixels = tiling.rows * tiling.columns
        return (
            local * lines <= self.pot.weight_slot_lines
            and local <= self.pot.parameter_slot_groups
            and window <= self.pot.input_lines
            and in_rows * in_columns * tiling.channels <= self.pot.input_slot_bytes
            and pixels * tiling.filters * c.out_bytes <= self.engine.output_bytes
            and (
                tiling.channels >= self._depth(tiling)
                or -(-pixels // 4) * local <= self.engine.accumulator_groups
            )
        )

    def _depth(self, tiling: Tiling) -> int:
        """Channels that a tile's sums run over: its own, if depthwise."""
        return tiling.filters if self.conv.depthwise else self.conv.channels

    def tilings(self) -> Iterator[Tiling]:
        """Candidates that fit."""
        c = self.conv
        rows = sorted({-(-c.out_height // n) for n in range(1, c.out_height + 1)}, reverse=True)
        columns = [-(-c.out_width // n) for n in (1, 2, 4, 8, 16)]
        blocks = -(-c.filters // 4)
        filters = sorted({min(c.filters, 4 * -(-blocks // n)) for n in range(1, blocks + 1)}, reverse=True)
        cut = [-(-c.channels // (4 * n)) * 4 for n in (2, 4, 8, 16, 32, 64)]
        depths = [c.channels, *([] if c.depthwise else cut)]
        for depth, column in product(depths, columns):
            found = False
            for row, filter_ in product(rows, filters):
                tiling = Tiling(row, column, filter_, filter_ if c.depthwise else depth, True)
                if self.fits(tiling):
                    found = True
                    yield tiling
                    yield replace(tiling, pixels_outside=False)
            if found:
                return

    def tiles(self, tiling: Tiling) -> Iterator[Tile]:
        """Tiles in the order of a tiling."""
        c = self.conv
        places = list(product(spans(c.out_height, tiling.rows), spans(c.out_width, tiling.columns)))
        parts = spans(c.filters, tiling.filters)
        if tiling.pixels_outside:
            for (rows, columns), filters in product(places, parts):
                yield Tile(rows, columns, filters)
        else:
            for filters, (rows, columns) in product(parts, places):
                yield Tile(rows, columns, filters)

    def _loads(self, tiling: Tiling) -> tuple[int, int]:
        """How often inputs and weights of a tile are loaded."""
        places = -(-self.conv.out_height // tiling.rows) * -(-self.conv.out_width // tiling.columns)
        groups = -(-self.conv.filters // tiling.filters)
        parts, tiles = -(-self._depth(tiling) // tiling.channels), places * groups
        if parts > 1:
            return tiles * parts, tiles * parts
        kept = groups if groups <= 2 else tiles  # weights that stay while places change
        if self.conv.depthwise:
            return tiles, kept if tiling.pixels_outside else groups
        return (places, kept) if tiling.pixels_outside else (places if places <= 2 else tiles, groups)

    def _sizes(self, tiling: Tiling) -> tuple[int, int]:
        """Bytes of the inputs and of the weights of the first tile."""
        rows, columns, _, _ = self.window(self._first(tiling))
        blocks, lines = -(-tiling.filters // 4), self.lines(tiling.channels)
        weights = weight_bytes(blocks, lines, self.pot.units, self.pot.weight_bits)
        return rows.size * columns.size * tiling.channels, weights

    def _first(self, tiling: Tiling) -> Tile:
        c = self.conv
        rows, columns = min(tiling.rows, c.out_height), min(tiling.columns, c.out_width)
        return Tile(Span(0, rows), Span(0, columns), Span(0, tiling.filters))

    def loaded(self, tiling: Tiling) -> int:
        """Bytes of inputs and weights that are loaded, taking all tiles for as large as the first."""
        return sum(n * size for n, size in zip(self._loads(tiling), self._sizes(tiling), strict=True))

    def estimate(self, tiling: Tiling) -> float:
        """Cycles, taking all tiles for as large as the first."""
        c, first = self.conv, self._first(tiling)
        command, _, _ = decode(self.compute(first, tiling.channels, first=1, final=1))
        assert command is not None
        parts = -(-self._depth(tiling) // tiling.channels)
        tiles = (
            -(-c.out_height // tiling.rows)
            * -(-c.out_width // tiling.columns)
            * -(-c.filters // tiling.filters)
        )
        inputs, weights = (size / self.bus_bytes for size in self._sizes(tiling))
        work = float(compute_cycles(command, self.pot, self.engine) * tiles * parts)
        store = first.rows.size * first.columns.size * tiling.filters * c.out_bytes / self.bus_bytes
        loads = self.loaded(tiling) / self.bus_bytes
        steady = max(work, loads + 4 * sum(self._loads(tiling)), store * tiles)
        ends = 3 * LATENCY  # of the commands, the first loads and the last store
        return ends + inputs + weights + store + steady + tiles * 2

    def _bands(self, tiling: Tiling) -> int:
        """Bands of rows of which one is done before the next one begins."""
        one_by_one = tiling.pixels_outside or tiling.filters >= self.conv.filters
        return -(-self.conv.out_height // tiling.rows) if one_by_one else 1

    def best(self) -> Tiling:
        """The tiling of the smallest estimate.

        Raises:
            DataError: None fits.
        """
        found = min(self.tilings(), key=self.estimate, default=None)
        if found is None:
            raise DataError("the layer does not fit into the PoT accelerator's buffers in any tiling")
        return found

    def in_bands(self, tiling: Tiling, bands: int, more: float) -> Tiling | None:
        """A layer cut into bands of rows, one done after the other, in the shortest time.

        Args:
            tiling: how it is cut otherwise.
            bands: at least.
            more: how many times as many bytes as otherwise may be loaded.

        Returns:
            None if it has too few rows, or would load more.
        """
        most = more * self.loaded(tiling)
        found = (item for item in self.tilings() if self._bands(item) >= bands and self.loaded(item) <= most)
        return min(found, key=self.estimate, default=None)
