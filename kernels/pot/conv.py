"""Layers on the cluster's PoT accelerator: commands, packed weights, and what they compute."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError
from potluck.isa.machine import Machine
from potluck.isa.pot.array import CodeSet, Requantizer, code_set
from potluck.isa.pot.command import BEAT_BYTES, Command, encode, planes_of, weight_data
from potluck.kernels.pot.tiling import Planner, PotConv, Span, Tile, Tiling, spans


class Part(NamedTuple):
    """The commands of an output tile.

    ``commands``: how many. ``read``, ``written``: the addresses of whole rows of pixels that its inputs and outputs lie
    in, the first one and the first one behind.
    """

    tile: Tile
    commands: int
    read: tuple[int, int]
    written: tuple[int, int]


@dataclass(frozen=True)
class PotLayer:
    """A layer ready to run.

    Attributes:
        commands: uint32 [n, 16], the last one with TLAST.
        weights: uint8, what lies at the weights' address.
        tiling: how it was cut.
        parts: the commands, by output tile.
    """

    commands: NDArray[np.uint32]
    weights: NDArray[np.uint8]
    tiling: Tiling
    parts: tuple[Part, ...]


def plan(
    conv: PotConv,
    weights: ArrayLike,
    requantizer: Requantizer,
    machine: Machine,
    addresses: tuple[int, int, int],
    tiling: Tiling | None = None,
) -> PotLayer:
    """Commands and packed weights of a layer.

    Args:
        conv: the layer.
        weights: codes [filters, kernel height, kernel width, channels], ([channels, kernel height, kernel width] if
            depthwise), with a last axis of planes if there are several.
        requantizer: of each filter; its law, zero point and bounds are the layer's.
        machine: with an accelerator.
        addresses: of input, packed weights (a multiple of 16 bytes a unit) and output, channels last, dense.
        tiling: how to cut it; by default as takes least time.

    Raises:
        DataError: The machine has no accelerator, or the layer does not fit.
    """
    end = requantizer
    conv = replace(
        conv, zero_point=end.zero_point, low=end.low, high=end.high, law=end.law, float_low=end.float_low,
        float_high=end.float_high,
    )  # fmt: skip
    planner = Planner.of(conv, machine)
    tiling = tiling or planner.best()
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
                planner.pot.units,
            )
            packed[filters, part] = at, data
            beat = BEAT_BYTES * planner.pot.units
            at += -(-data.size // beat) * beat
    out = np.zeros(at, np.uint8)
    for start, data in packed.values():
        out[start : start + data.size] = data
    emitted = _Emitter(planner, tiling, addresses, {key: start for key, (start, _) in packed.items()})
    return PotLayer(emitted.commands(), out, tiling, tuple(emitted.parts))


def _packed(
    conv: PotConv, codes: NDArray[np.uint8], parameters: NDArray[np.int32], units: int
) -> NDArray[np.uint8]:
    """LOAD_WEIGHTS's bytes of codes [filters, taps, channels, planes]."""
    filters, blocks = len(codes), -(-len(codes) // 4)
    padded = np.pad(parameters, [(0, 0), (0, 4 * blocks - filters)])
    if conv.depthwise:  # lanes are channels, filters are planes
        rest = [(0, 4 * blocks - filters), (0, 0), (0, -conv.planes % 4)]
        lanes = np.pad(codes[:, :, 0], rest).reshape(blocks, 4, codes.shape[1], -1)
        lines = np.ascontiguousarray(lanes.transpose(0, 2, 3, 1))
        return weight_data(lines.reshape(blocks, -1, 4, 4), padded, units, conv.kind.weight_bits)
    flat = codes.reshape(filters, -1, conv.planes)
    flat = np.pad(flat, [(0, 4 * blocks - filters), (0, -flat.shape[1] % 4), (0, 0)])
    grid = flat.reshape(blocks, 4, -1, 4, conv.planes).transpose(0, 2, 4, 1, 3)
    return weight_data(grid.reshape(blocks, -1, 4, 4), padded, units, conv.kind.weight_bits)


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
        self.parts: list[Part] = []

    def commands(self) -> NDArray[np.uint32]:
        """All of the layer."""
        conv = self.planner.conv
        for number, tile in enumerate(self.planner.tiles(self.tiling)):
            begun = len(self._out)
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
            self.parts.append(Part(tile, len(self._out) - begun, *self._rows(tile)))
        self._out[-1] = self._out[-1].copy()
        self._out[-1][0] |= 1 << 8
        return np.stack(self._out)

    def _rows(self, tile: Tile) -> tuple[tuple[int, int], tuple[int, int]]:
        """Addresses of the rows of inputs and of outputs."""
        conv, rows = self.planner.conv, self.planner.window(tile)[0]
        pitch, out_pitch = conv.width * conv.channels, conv.out_width * conv.filters * conv.out_bytes
        source, target = self.addresses[0], self.addresses[2]
        return (
            (source + rows.start * pitch, source + rows.stop * pitch),
            (target + tile.rows.start * out_pitch, target + tile.rows.stop * out_pitch),
        )

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
        pixel, part = conv.filters * conv.out_bytes, tile.filters.size * conv.out_bytes
        pitch = conv.out_width * pixel
        start = (
            self.addresses[2]
            + tile.rows.start * pitch
            + tile.columns.start * pixel
            + tile.filters.start * conv.out_bytes
        )
        whole = tile.columns.size == conv.out_width
        if tile.filters.size == conv.filters:
            count, size, stride = tile.rows.size, tile.columns.size * pixel, pitch
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
                    row_bytes=part,
                    stride=pixel,
                    offset=row * tile.columns.size * part,
                )
            )


def integer_codes(weights: ArrayLike, multipliers: bool = False) -> tuple[CodeSet, NDArray[np.uint8]]:
    """Integer weights for an array: the code set, and codes with a last axis of planes.

    Args:
        weights: of 9 bits at most; 8 for multipliers.
        multipliers: the array has them, instead of shift-PEs.

    Raises:
        DataError: an integer that the array cannot have.
    """
    values = np.asarray(weights, np.int64)
    if multipliers:
        if values.size and (values.min() < -128 or values.max() > 127):
            raise DataError("a weight has more than the 8 bits of the array's multipliers")
        return code_set("int8"), values.astype(np.int8).view(np.uint8)[..., None]
    codes = planes_of(values)
    if codes is None:
        raise DataError("a weight is no sum of five powers of two up to 128")
    return code_set("pot_qkeras"), codes


def evaluate(
    conv: PotConv, weights: NDArray[np.int64], requantizer: Requantizer, x: NDArray[np.int8]
) -> NDArray[Any]:
    """What a layer computes, in NumPy: the contract of its commands.

    Args:
        conv: the layer.
        weights: integers [filters, kernel height, kernel width, channels] (channels: 1 if depthwise).
        requantizer: of each filter.
        x: int8 [height, width, channels]; of UINT8 activations those less 128.

    Returns:
        int8 (of UINT8 activations those less 128) or float32 [out height, out width, filters].
    """
    top, left, bottom, right = conv.pads
    padded = np.pad(x.astype(np.float64), ((top, bottom), (left, right), (0, 0)), constant_values=conv.zero)
    acc = np.zeros((conv.out_height, conv.out_width, conv.filters))
    for ky, kx in np.ndindex(*conv.kernel):
        y0, x0 = ky * conv.dilation[0], kx * conv.dilation[1]
        rows = slice(y0, y0 + (conv.out_height - 1) * conv.stride[0] + 1, conv.stride[0])
        columns = slice(x0, x0 + (conv.out_width - 1) * conv.stride[1] + 1, conv.stride[1])
        tap = weights[:, ky, kx].astype(np.float64)  # sums stay far below 2^53: exact in any order
        acc += padded[rows, columns] * tap[:, 0] if conv.depthwise else padded[rows, columns] @ tap.T
    return requantizer.finish((acc.astype(np.int64) + requantizer.wsum).astype(np.int32))
