"""Convolutions and matrix products on the cluster's PoT accelerator: from a layer to commands and packed weights.

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
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError
from potluck.isa.machine import Machine, Pot, PotEngine
from potluck.isa.pot_array import CODE_SETS, CodeSet, Requantizer, code_set
from potluck.isa.pot_command import (
    INT8_PLANES,
    LINE_BYTES,
    PARAMETER_BYTES,
    Command,
    Decoded,
    decode,
    encode,
    weight_data,
)
from potluck.isa.pot_cycles import compute_cycles

LATENCY = 150  # cycles of a first transfer, for comparing tiles


@dataclass(frozen=True)
class PotConv:
    """A convolution of bytes, channels last, batch 1; a matrix product has one column of pixels and kernel 1.

    Attributes:
        height, width, channels: of the input.
        filters: output channels; as many as channels if depthwise.
        kernel, stride, dilation: vertical and horizontal.
        pads: top, left, bottom, right.
        depthwise: each channel has a filter of its own.
        planes: codes per weight: 4 for INT8 weights, else 1.
        zero: zero point of the input.
        zero_point, low, high: of the output.
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
        taps = self.conv.kernel[0] * self.conv.kernel[1]
        return self.conv.planes * (taps if self.conv.depthwise else -(-taps * channels // 4))

    def compute(self, tile: Tile, channels: int, **fields: int) -> NDArray[np.uint32]:
        """COMPUTE of a tile."""
        c = self.conv
        rows, columns, top, left = self.window(tile)
        return encode(
            Command.COMPUTE, depthwise=c.depthwise, code_set=c.kind.number, planes=c.planes, zero=c.zero,
            zero_point=c.zero_point, low=c.low, high=c.high, height=rows.size, width=columns.size, channels=channels,
            filters=tile.filters.size, out_height=tile.rows.size, out_width=tile.columns.size,
            kernel_height=c.kernel[0], kernel_width=c.kernel[1], stride_height=c.stride[0], stride_width=c.stride[1],
            dilation_height=c.dilation[0], dilation_width=c.dilation[1], pad_top=top, pad_left=left,
            last=False, **fields,
        )  # fmt: skip

    def fits(self, tiling: Tiling) -> bool:
        """Whether the largest tile fits into all buffers."""
        c, blocks = self.conv, -(-tiling.filters // 4)
        local = -(-blocks // self.pot.units)
        lines = self.lines(tiling.channels)
        taps = c.kernel[0] * c.kernel[1]
        in_rows = min(c.height, (tiling.rows - 1) * c.stride[0] + c.dilation[0] * (c.kernel[0] - 1) + 1)
        in_columns = min(c.width, (tiling.columns - 1) * c.stride[1] + c.dilation[1] * (c.kernel[1] - 1) + 1)
        pixels = tiling.rows * tiling.columns
        return (
            local * lines <= self.pot.weight_slot_lines
            and local <= self.pot.parameter_slot_groups
            and (c.depthwise or -(-taps * tiling.channels // 4) <= self.pot.input_lines)
            and in_rows * in_columns * tiling.channels <= self.pot.input_slot_bytes
            and pixels * tiling.filters <= self.engine.output_bytes
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

    def estimate(self, tiling: Tiling) -> float:
        """Cycles, taking all tiles for as large as the largest."""
        c = self.conv
        first = Tile(
            Span(0, min(tiling.rows, c.out_height)),
            Span(0, min(tiling.columns, c.out_width)),
            Span(0, tiling.filters),
        )
        command, _, _ = decode(self.compute(first, tiling.channels, first=1, final=1))
        assert command is not None
        rows, columns, _, _ = self.window(first)
        parts = -(-self._depth(tiling) // tiling.channels)
        places = -(-c.out_height // tiling.rows) * -(-c.out_width // tiling.columns)
        groups = -(-c.filters // tiling.filters)
        blocks = -(-tiling.filters // 4)
        inputs = rows.size * columns.size * tiling.channels / self.bus_bytes
        weights = blocks * (self.lines(tiling.channels) * LINE_BYTES + PARAMETER_BYTES) / self.bus_bytes
        if parts > 1:
            input_loads = weight_loads = places * groups * parts
        elif c.depthwise:
            input_loads, weight_loads = (
                places * groups,
                groups if not tiling.pixels_outside or groups <= 2 else places * groups,
            )
        elif tiling.pixels_outside:
            input_loads, weight_loads = places, groups if groups <= 2 else places * groups
        else:
            weight_loads, input_loads = groups, places if places <= 2 else places * groups
        tiles = places * groups
        work = float(compute_cycles(command, self.pot, self.engine) * tiles * parts)
        store = first.rows.size * first.columns.size * tiling.filters / self.bus_bytes
        loads = input_loads * inputs + weight_loads * weights
        steady = max(work, loads + 4 * (input_loads + weight_loads), store * tiles)
        return 2 * LATENCY + inputs + weights + store + steady + tiles * 2

    def best(self) -> Tiling:
        """The tiling of the smallest estimate.

        Raises:
            DataError: None fits.
        """
        found = min(self.tilings(), key=self.estimate, default=None)
        if found is None:
            raise DataError("the layer does not fit into the PoT accelerator's buffers in any tiling")
        return found


@dataclass(frozen=True)
class PotLayer:
    """A layer ready to run.

    Attributes:
        commands: uint32 [n, 16], the last one with TLAST.
        weights: uint8, what lies at the weights' address.
        tiling: how it was cut.
    """

    commands: NDArray[np.uint32]
    weights: NDArray[np.uint8]
    tiling: Tiling


def plan(
    conv: PotConv,
    weights: ArrayLike,
    requantizer: Requantizer,
    machine: Machine,
    addresses: tuple[int, int, int],
) -> PotLayer:
    """Commands and packed weights of a layer.

    Args:
        conv: the layer.
        weights: codes [filters, kernel height, kernel width, channels], ([channels, kernel height, kernel width] if
            depthwise), with a last axis of planes if there are several.
        requantizer: of each filter; its zero point, low and high are the layer's.
        machine: with an accelerator.
        addresses: of input, packed weights and output, channels last, dense.

    Raises:
        DataError: The machine has no accelerator, or the layer does not fit.
    """
    conv = replace(conv, zero_point=requantizer.zero_point, low=requantizer.low, high=requantizer.high)
    planner = Planner.of(conv, machine)
    tiling = planner.best()
    codes = np.asarray(weights, np.uint8).reshape(
        conv.filters, -1, 1 if conv.depthwise else conv.channels, conv.planes
    )
    parameters = np.stack([requantizer.wsum, requantizer.multiplier, requantizer.shift]).astype(np.int32)
    packed: dict[tuple[Span, Span], tuple[int, NDArray[np.uint8]]] = {}
    at = 0
    for filters in spans(conv.filters, tiling.filters):
        channels = Span(0, 1) if conv.depthwise else None
        for part in [channels] if channels else spans(conv.channels, tiling.channels):
            data = _packed(
                conv,
                codes[filters.start : filters.stop, :, part.start : part.stop],
                parameters[:, filters.start : filters.stop],
            )
            packed[filters, part] = at, data
            at += -(-data.size // 64) * 64
    out = np.zeros(at, np.uint8)
    for start, data in packed.values():
        out[start : start + data.size] = data
    emitted = _Emitter(planner, tiling, addresses, {key: start for key, (start, _) in packed.items()})
    return PotLayer(emitted.commands(), out, tiling)


def _packed(conv: PotConv, codes: NDArray[np.uint8], parameters: NDArray[np.int32]) -> NDArray[np.uint8]:
    """LOAD_WEIGHTS's bytes of codes [filters, taps, channels, planes]."""
    filters, blocks = len(codes), -(-len(codes) // 4)
    padded = np.pad(parameters, [(0, 0), (0, 4 * blocks - filters)])
    if conv.depthwise:  # lanes of the first filter are channels
        lanes = np.pad(codes[:, :, 0], [(0, 4 * blocks - filters), (0, 0), (0, 0)]).reshape(
            blocks, 4, -1, conv.planes
        )
        lines = np.zeros((blocks, lanes.shape[2], conv.planes, 4, 4), np.uint8)
        lines[:, :, :, 0] = lanes.transpose(0, 2, 3, 1)
        return weight_data(lines.reshape(blocks, -1, 4, 4), padded)
    flat = codes.reshape(filters, -1, conv.planes)
    flat = np.pad(flat, [(0, 4 * blocks - filters), (0, -flat.shape[1] % 4), (0, 0)])
    grid = flat.reshape(blocks, 4, -1, 4, conv.planes).transpose(0, 2, 4, 1, 3)
    return weight_data(grid.reshape(blocks, -1, 4, 4), padded)


@dataclass
class _Emitter:
    """Commands of a tiling, and what the slots hold."""

    planner: Planner
    tiling: Tiling
    addresses: tuple[int, int, int]
    offsets: dict[tuple[Span, Span], int]

    def __post_init__(self) -> None:
        self._held: dict[str, list[object]] = {"inputs": [None, None], "weights": [None, None]}
        self._next = {"inputs": 0, "weights": 0}
        self._out: list[NDArray[np.uint32]] = []

    def commands(self) -> NDArray[np.uint32]:
        """All of the layer."""
        conv = self.planner.conv
        for number, tile in enumerate(self.planner.tiles(self.tiling)):
            parts = [tile.filters] if conv.depthwise else spans(conv.channels, self.tiling.channels)
            for index, part in enumerate(parts):
                inputs = self._slot("inputs", (tile.rows, tile.columns, part), tile)
                weights = self._slot("weights", (tile.filters, Span(0, 1) if conv.depthwise else part), tile)
                self._out.append(
                    self.planner.compute(
                        tile,
                        part.size,
                        inputs=inputs,
                        weights=weights,
                        outputs=number % 2,
                        first=index == 0,
                        final=index == len(parts) - 1,
                    )
                )
            self._store(tile, number % 2)
        self._out[-1] = self._out[-1].copy()
        self._out[-1][0] |= 1 << 8
        return np.stack(self._out)

    def _slot(self, which: str, content: tuple[Span, ...], tile: Tile) -> int:
        """The slot that holds something, loaded if none does."""
        if content in self._held[which]:
            slot = self._held[which].index(content)
            self._next[which] = 1 - slot
            return slot
        slot = self._next[which]
        self._next[which], self._held[which][slot] = 1 - slot, content
        if which == "inputs":
            self._load_inputs(slot, tile, content[2])
        else:
            filters, part = content
            blocks = -(-filters.size // 4)
            lines = self.planner.lines(part.size)
            address = self.addresses[1] + self.offsets[filters, part]
            self._out.append(
                encode(Command.LOAD_WEIGHTS, slot=slot, address=address, blocks=blocks, lines=lines)
            )
        return slot

    def _load_inputs(self, slot: int, tile: Tile, part: Span) -> None:
        conv = self.planner.conv
        rows, columns, _, _ = self.planner.window(tile)
        pitch = conv.width * conv.channels
        start = self.addresses[0] + rows.start * pitch + columns.start * conv.channels + part.start
        if part.size == conv.channels:
            if columns.size == conv.width:  # rows that follow each other are one
                count, size, stride = 1, rows.size * pitch, 0
            else:
                count, size, stride = rows.size, columns.size * conv.channels, pitch
            self._out.append(
                encode(
                    Command.LOAD_INPUTS, slot=slot, address=start, rows=count, row_bytes=size, stride=stride
                )
            )
            return
        one = columns.size == conv.width
        for row in range(1 if one else rows.size):
            self._out.append(
                encode(
                    Command.LOAD_INPUTS,
                    slot=slot,
                    address=start + row * pitch,
                    stride=conv.channels,
                    rows=columns.size * (rows.size if one else 1),
                    row_bytes=part.size,
                    offset=row * columns.size * part.size,
                )
            )

    def _store(self, tile: Tile, slot: int) -> None:
        conv = self.planner.conv
        pitch = conv.out_width * conv.filters
        start = (
            self.addresses[2]
            + tile.rows.start * pitch
            + tile.columns.start * conv.filters
            + tile.filters.start
        )
        whole = tile.columns.size == conv.out_width
        if tile.filters.size == conv.filters:
            count, size, stride = tile.rows.size, tile.columns.size * conv.filters, pitch
            if whole:
                count, size, stride = 1, tile.rows.size * pitch, 0
            self._out.append(
                encode(Command.STORE, slot=slot, address=start, rows=count, row_bytes=size, stride=stride)
            )
            return
        for row in range(1 if whole else tile.rows.size):
            pixels = tile.columns.size * (tile.rows.size if whole else 1)
            self._out.append(
                encode(
                    Command.STORE,
                    slot=slot,
                    address=start + row * pitch,
                    rows=pixels,
                    row_bytes=tile.filters.size,
                    stride=conv.filters,
                    offset=row * tile.columns.size * tile.filters.size,
                )
            )


def int8_codes(weights: ArrayLike) -> tuple[CodeSet, NDArray[np.uint8]]:
    """Any INT8 weights as four planes of codes: the code set and codes with a last axis of 4."""
    return code_set("pot_qkeras"), INT8_PLANES[np.asarray(weights, np.int16) + 128]


__all__ = ["CODE_SETS", "Decoded", "PotConv", "PotLayer", "int8_codes", "plan"]
