"""Depthwise convolution of 8-bit activations: vectors over the channels, ``vwmacc.vv`` into int32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.base import Kernel
from potluck.kernels.conv.window import Window, split_pixels
from potluck.kernels.emission import advance
from potluck.kernels.requantize import DEQUANTIZE, Finish

I32 = NDArray[np.int32]
MOST_TAPS = 8
WEIGHTS = [f"v{8 + k}" for k in range(MOST_TAPS)]
BYTES, HALVES = ("v16", "v17"), ("v18", "v19")


def pack_weights_depthwise_int8(weights: NDArray[np.integer[Any]]) -> NDArray[np.int16]:
    """Reorder weights [C, 1, KH, KW] to int16 [KH, KW, C]: there are few, and 16 bits is what is multiplied."""
    return np.ascontiguousarray(weights[:, 0].transpose(1, 2, 0), dtype=np.int16)


@dataclass(frozen=True)
class DepthwiseInt8(Kernel):
    """out[y, x, c] = finish(bias[c] + sum over (kh, kw) of x * weights), the sum modulo 2^32.

    Registers: a0 first output row's window, int8 or uint8 [rows][in_width][C]; a1 weights, int16 [KH][KW][C]; a2
    constants, int32 [finish.rows][C]; a3 output, [rows][out_width][C]; a4 output rows. Clobbers a0-a7, t*, ft8, ft9,
    v0-v31, vtype, vl and vxrm.

    A register tile is up to 4 pixels times 32 channels (e32, m2); every input pixel is loaded once per row of taps.

    Attributes:
        window: Geometry; borders, which hold the input's zero point, are in the buffer; at most 8 horizontal taps.
        channels: C.
        finish: From accumulators to outputs.
        unsigned: Whether the activations are uint8.
        tile: Channels per vector, at most VLEN / 16; 0: as many as the machine's registers hold.
    """

    window: Window
    channels: int
    finish: Finish = DEQUANTIZE
    unsigned: bool = False
    tile: int = 32

    def __post_init__(self) -> None:
        if self.window.kernel[1] > MOST_TAPS:
            raise DataError(
                f"depthwise INT8 kernel with {self.window.kernel[1]} horizontal taps",
                hint=f"Use at most {MOST_TAPS}, or leave the layer in FP32",
            )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one output row."""
        return self.window.out_width * self.window.kernel[0] * self.window.kernel[1] * self.channels

    @property
    def count_register(self) -> str:
        """Output rows."""
        return "a4"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        window = self.window
        full, channels, row, done = (
            a.fresh(f"depthwise_{name}") for name in ("full", "channels", "row", "done")
        )
        a.comment(f"depthwise INT8 convolution, {self.finish.law}, {window}")
        self.finish.prologue(a)
        a("blez", "a4", done)
        a("li", "a5", self.channels)
        a.label(channels)
        if self.tile:
            a("li", "t4", self.tile)
            a("bge", "a5", "t4", full)
        a("mv", "t4", "a5")
        a.label(full)
        a("vsetvli", "zero", "t4", "e32", "m2", "ta", "ma")
        self.finish.load(a, "a2", self.channels)
        a("vsetvli", "zero", "zero", "e16", "m1", "ta", "ma")
        for to, origin in (("t3", "a0"), ("a6", "a3"), ("a7", "a4")):
            a("mv", to, origin)
        a.label(row)
        for pixels, count in split_pixels(window.out_width, 4):
            self._groups(a, pixels, count)
        left = window.stride[0] * window.in_width - window.out_width * window.stride[1]
        advance(a, "t3", left * self.channels)
        a("addi", "a7", "a7", -1)
        a("bgtz", "a7", row)
        a("csrr", "t6", "vl")
        a("sub", "a5", "a5", "t6")
        for register, size in (("a0", 1), ("a1", 2), ("a2", 4), ("a3", self.finish.out_bytes)):
            a("slli", "t5", "t6", size.bit_length() - 1)
            a("add", register, register, "t5")
        a("bgtz", "a5", channels)
        a.label(done)

    def _groups(self, a: Assembler, pixels: int, count: int) -> None:
        """``count`` register tiles from t3 on (output a6); both pointers advance."""
        window = self.window
        group, taps = a.fresh("depthwise_group"), a.fresh("depthwise_taps")
        a("li", "t6", count)
        a.label(group)
        for i in range(pixels):
            a("vmv2r.v", f"v{2 * i}", self.finish.start)
        a("mv", "t1", "t3")
        a("mv", "t2", "a1")
        a("li", "t0", window.kernel[0])
        a.label(taps)
        self._row_of_taps(a, pixels)
        a("addi", "t0", "t0", -1)
        a("bnez", "t0", taps)
        pitch = self.channels * self.finish.out_bytes
        self.finish.emit(a, [f"v{2 * i}" for i in range(pixels)], "a6", pitch)
        advance(a, "t3", pixels * window.stride[1] * self.channels)
        if count > 1:
            a("addi", "t6", "t6", -1)
            a("bnez", "t6", group)

    def _row_of_taps(self, a: Assembler, pixels: int) -> None:
        """One row of taps for one tile; t1 ends at the next row of taps, t2 at its weights."""
        window, pixel = self.window, self.channels
        taps, step, gap = window.kernel[1], window.stride[1], window.dilation[1]
        for register in WEIGHTS[:taps]:
            a("vle16.v", register, "(t2)")
            advance(a, "t2", 2 * pixel)
        at = used = 0
        for column in range(window.columns(pixels)):
            meets = [(i, k) for i in range(pixels) for k in range(taps) if i * step + k * gap == column]
            if not meets:
                continue
            advance(a, "t1", (column - at) * pixel)
            at, turn = column, used % 2
            used += 1
            a("vle8.v", BYTES[turn], "(t1)")
            a("vzext.vf2" if self.unsigned else "vsext.vf2", HALVES[turn], BYTES[turn])
            for i, k in meets:
                a("vwmacc.vv", f"v{2 * i}", HALVES[turn], WEIGHTS[k])
        advance(a, "t1", (window.dilation[0] * window.in_width - at) * pixel)

    def contract(
        self, x: NDArray[np.integer[Any]], weights: NDArray[np.int16], constants: I32, out_rows: int
    ) -> NDArray[Any]:
        """The output bit for bit.

        Args:
            x: int8 or uint8 [rows, in_width, C].
            weights: int16 [KH, KW, C].
            constants: int32 [finish.rows, C].
            out_rows: Output rows.

        Returns:
            [out_rows, out_width, C] of the finish's type.
        """
        shape = (out_rows, self.window.out_width, self.channels)
        acc = np.broadcast_to(self.finish.first(constants).astype(np.int64), shape)
        for kh in range(self.window.kernel[0]):
            for kw in range(self.window.kernel[1]):
                acc = acc + x[self.window.view((kh, kw), out_rows)].astype(np.int64) * weights[kh, kw]
        return self.finish.contract(acc.astype(np.int32), constants)
