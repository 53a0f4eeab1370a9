"""The cluster's accelerator's computation: values by the contract, windows gathered by compiled code."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.isa.pot.array import CODE_SETS, Requantizer
from potluck.isa.pot.command import Decoded, rounds_of, unpack_weights
from potluck.sim.cache import configure_numba

configure_numba()


@numba.njit(nogil=True, cache=True)
def _gather(pixels: NDArray[Any], sizes: NDArray[Any], zero: int, out: NDArray[Any]) -> None:
    """Windows of an image.

    Args:
        pixels: int8 [height * width * channels].
        sizes: int64 [13]: height, width, channels, then output, kernel, stride, dilation, padding, vertical first.
        zero: what lies beyond the border.
        out: int8 [output pixels, at least kernel * channels], filled.
    """
    height, width, channels, out_height, out_width, kernel_height, kernel_width = sizes[:7]
    stride_height, stride_width, dilation_height, dilation_width, top, left = sizes[7:]
    for oy in range(out_height):
        for ox in range(out_width):
            row, at = oy * out_width + ox, 0
            for ky in range(kernel_height):
                y = oy * stride_height - top + ky * dilation_height
                for kx in range(kernel_width):
                    x = ox * stride_width - left + kx * dilation_width
                    if 0 <= y < height and 0 <= x < width:
                        start = (y * width + x) * channels
                        for c in range(channels):
                            out[row, at + c] = pixels[start + c]
                    else:
                        for c in range(channels):
                            out[row, at + c] = zero
                    at += channels


_SIZES = (
    "height", "width", "channels", "out_height", "out_width", "kernel_height", "kernel_width", "stride_height",
    "stride_width", "dilation_height", "dilation_width", "pad_top", "pad_left",
)  # fmt: skip


def windows(command: Decoded, inputs: NDArray[np.uint8]) -> NDArray[np.int8]:
    """int8 [pixels, kernel * channels] of an input slot; nothing is filled up."""
    sizes = np.array([command[name] for name in _SIZES], np.int64)
    taps = command["kernel_height"] * command["kernel_width"]
    out = np.empty((command.pixels, taps * command["channels"]), np.int8)
    pixels = inputs ^ 0x80 if command["unsigned_inputs"] else inputs
    _gather(pixels.view(np.int8), sizes, command["zero"], out)
    return out


class Weights:
    """What LOAD_WEIGHTS has put into a slot: blocks of lines and parameters.

    Args:
        data: its bytes.
        blocks: how many weight blocks.
        lines: of each.
        units: of the array.
        bits: of a weight's code.
    """

    def __init__(self, data: NDArray[np.uint8], blocks: int, lines: int, units: int, bits: int) -> None:
        self.blocks, self.lines = blocks, lines
        whole = rounds_of(blocks, units) * units  # what the last round's other units have, too
        self._codes, self.parameters = unpack_weights(data, whole, lines, units, bits)

    def levels(self, command: Decoded) -> NDArray[np.int64]:
        """What each code stands for, [blocks, lines, 4, 4], of whole rounds."""
        kind = CODE_SETS[command["code_set"]]
        return kind.weights(self._codes if kind.pot else self._codes.view(np.int8)).astype(np.int64)

    def values(self, command: Decoded) -> NDArray[np.int64]:
        """Sums over planes: [filters, depth filled up to lines], or [channels, taps] if depthwise."""
        planes, blocks = command["planes"], command.weight_blocks
        levels = self.levels(command)[:blocks]
        if command["depthwise"]:  # what lies in filters beyond the planes does not count
            held = levels.reshape(blocks, command.depth, -1, 4)[:, :, :planes].sum(axis=2)
            return np.ascontiguousarray(held.transpose(0, 2, 1).reshape(4 * blocks, -1))
        levels = levels.reshape(blocks, self.lines // planes, planes, 4, 4).sum(axis=2)
        return np.ascontiguousarray(levels.transpose(0, 2, 1, 3).reshape(4 * blocks, -1))


def sums(command: Decoded, inputs: NDArray[np.uint8], weights: Weights) -> NDArray[np.int64]:
    """What the products of a computation add up to, [pixels, 4 blocks], not yet modulo 2^32.

    Sums of integers in float64 are exact below 2^53, in any order; 2^16 depths of 2^7 times 2^9 stay far below.
    """
    found, values = windows(command, inputs), weights.values(command)
    if command["depthwise"]:
        taps = found.reshape(command.pixels, command.depth, command["channels"])
        partial = np.zeros((command.pixels, len(values)), np.int64)
        for tap in range(command.depth):
            partial[:, : command["channels"]] += taps[:, tap] * values[: command["channels"], tap]
        return partial
    product = found.astype(np.float64) @ values[:, : found.shape[1]].T.astype(np.float64)
    return np.asarray(product, np.float64).astype(np.int64)


def outputs(command: Decoded, acc: NDArray[np.int64], weights: Weights) -> NDArray[np.uint8]:
    """Bytes of the output slot: pixels after each other, ``filters`` outputs each.

    Args:
        command: the computation.
        acc: sums of the whole depth [pixels, 4 blocks].
        weights: its slot.
    """
    wsum, multiplier, shift = weights.parameters[:, : acc.shape[1]]
    word = np.asarray(acc + wsum, np.int64).astype(np.int32)
    bounds = np.array([command["float_low"], command["float_high"]], np.uint32).view(np.float32)
    end = Requantizer(
        wsum, multiplier, shift, command["zero_point"], command["low"], command["high"], command.law,
        float(bounds[0]), float(bounds[1]),
    )  # fmt: skip
    found = np.ascontiguousarray(end.finish(word)[:, : command["filters"]]).view(np.uint8).ravel()
    if command["unsigned_outputs"] and command.out_bytes == 1:
        found ^= np.uint8(0x80)
    return found
