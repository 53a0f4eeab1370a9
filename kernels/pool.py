"""Pooling of NHWC images in FP32: vectors over the channels, up to four output pixels at a time.

Sums start from +0 and add the taps in the order (kh, kw), one rounding each; the average multiplies by the
FP32 reciprocal of the count (the machine's vector unit has no fast division), which differs from ONNX's
quotient by one ulp at most. Maxima start from -inf and ignore NaN (ONNX leaves NaN open).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.kernels import fp32math
from potluck.kernels.base import Kernel
from potluck.kernels.conv.window import Window, split_pixels
from potluck.kernels.emission import advance, float_constant
from potluck.kernels.fp32math import F32


def reciprocals(
    height: int, width: int, window: Window, pads: tuple[int, int, int, int], out_rows: int
) -> NDArray[np.float32]:
    """1 / (taps that meet the image) of every output pixel: ONNX AveragePool with ``count_include_pad`` = 0.

    Args:
        height: Rows of the image without borders.
        width: Columns of the image without borders.
        window: Geometry of the pooling.
        pads: Borders (top, left, bottom, right), as in ONNX.
        out_rows: Output rows.

    Returns:
        float32 [out_rows, out_width].
    """
    counts = []
    for axis, (size, before, outputs) in enumerate(
        ((height, pads[0], out_rows), (width, pads[1], window.out_width))
    ):
        start = np.arange(outputs)[:, None] * window.stride[axis] - before
        at = start + np.arange(window.kernel[axis]) * window.dilation[axis]
        counts.append(((at >= 0) & (at < size)).sum(axis=1))
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / np.outer(*counts), dtype=np.float32)


@dataclass(frozen=True)
class Pool(Kernel):
    """Maximum or average over windows.

    Registers: a0 first output row's window, FP32 [rows][in_width][C], borders included (-inf for a maximum, 0
    for an average); a1 output, FP32 [rows][out_width][C]; a2 output rows; a3, only with ``counted``, the
    factors of the output pixels, FP32 [rows][out_width] (`reciprocals`). Clobbers a0-a7, t0-t6, ft0-ft3, ft8,
    v0-v31, vtype and vl.

    Attributes:
        window: Geometry.
        channels: C.
        average: Average instead of maximum.
        counted: The average's factor comes from memory; otherwise it is 1 / (KH * KW) everywhere.
        vlen: VLEN of the machine in bits.
    """

    window: Window
    channels: int
    average: bool = False
    counted: bool = False
    vlen: int = 512

    @property
    def lmul(self) -> int:
        """Register group size: the smallest that holds the channels, at most 4."""
        return next((m for m in (1, 2) if m * self.vlen // 32 >= self.channels), 4)

    @property
    def factor(self) -> np.float32:
        """The average's common factor."""
        return np.float32(1) / np.float32(self.window.kernel[0] * self.window.kernel[1])

    @property
    def count_register(self) -> str:
        """Output rows."""
        return "a2"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        window, pixel = self.window, 4 * self.channels
        strip, row, done = a.fresh("pool_channels"), a.fresh("pool_row"), a.fresh("pool_done")
        a.comment(f"{'average' if self.average else 'maximum'} pooling, {window}")
        float_constant(a, "ft8", float(self.factor) if self.average else -np.inf)
        if self.average:
            a("fmv.w.x", "ft9", "zero")
        a("blez", "a2", done)
        a("li", "a4", self.channels)
        a.label(strip)
        a("vsetvli", "t6", "a4", "e32", f"m{self.lmul}", "ta", "ma")
        for to, origin in (("t2", "a0"), ("t3", "a1"), ("a5", "a2"), ("a6", "a3")):
            a("mv", to, origin)
        a.label(row)
        for pixels, count in split_pixels(window.out_width, 4):
            self._groups(a, pixels, count)
        advance(a, "t2", (window.stride[0] * window.in_width - window.stride[1] * window.out_width) * pixel)
        a("addi", "a5", "a5", -1)
        a("bgtz", "a5", row)
        a("sub", "a4", "a4", "t6")
        a("slli", "t6", "t6", 2)
        a("add", "a0", "a0", "t6")
        a("add", "a1", "a1", "t6")
        a("bgtz", "a4", strip)
        a.label(done)

    def _groups(self, a: Assembler, pixels: int, count: int) -> None:
        """``count`` groups of output pixels from t2 on (output t3, factors a6); the pointers advance."""
        window, pixel, lmul = self.window, 4 * self.channels, self.lmul
        group, taps = a.fresh("pool_group"), a.fresh("pool_taps")
        totals = [f"v{lmul * i}" for i in range(pixels)]
        ring = [f"v{register}" for register in range(16, 32, lmul)]
        a("li", "t5", count)
        a.label(group)
        if self.average and self.counted:
            for i in range(pixels):
                a("flw", f"ft{i}", f"{4 * i}(a6)")
            a("addi", "a6", "a6", 4 * pixels)
        for register in totals:
            a("vfmv.v.f", register, "ft9" if self.average else "ft8")
        a("mv", "t1", "t2")
        a("li", "t0", window.kernel[0])
        a.label(taps)
        at = used = 0
        for k in range(window.kernel[1]):
            for i, register in enumerate(totals):
                column = i * window.stride[1] + k * window.dilation[1]
                advance(a, "t1", (column - at) * pixel)
                at, operand = column, ring[used % len(ring)]
                used += 1
                a("vle32.v", operand, "(t1)")
                a("vfadd.vv" if self.average else "vfmax.vv", register, register, operand)
        advance(a, "t1", (window.dilation[0] * window.in_width - at) * pixel)
        a("addi", "t0", "t0", -1)
        a("bnez", "t0", taps)
        for i, register in enumerate(totals):
            if self.average:
                a("vfmul.vf", register, register, f"ft{i}" if self.counted else "ft8")
            a("vse32.v", register, "(t3)")
            advance(a, "t3", pixel)
        advance(a, "t2", pixels * window.stride[1] * pixel)
        if count > 1:
            a("addi", "t5", "t5", -1)
            a("bnez", "t5", group)

    def contract(self, x: F32, out_rows: int, factors: F32 | None = None) -> F32:
        """The output bit for bit.

        Args:
            x: float32 [rows, in_width, C].
            out_rows: Output rows.
            factors: float32 [out_rows, out_width] if ``counted``.

        Returns:
            float32 [out_rows, out_width, C].
        """
        shape = (out_rows, self.window.out_width, self.channels)
        result: F32 = np.full(shape, 0.0 if self.average else -np.inf, dtype=np.float32)
        combine = fp32math.add if self.average else fp32math.maximum
        for kh in range(self.window.kernel[0]):
            for kw in range(self.window.kernel[1]):
                result = combine(result, x[self.window.view((kh, kw), out_rows)])
        if not self.average:
            return result
        return fp32math.mul(result, self.factor if factors is None else factors[..., None])


@dataclass(frozen=True)
class GlobalAveragePool(Kernel):
    """out[c] = (start[c] + x[0, c] + x[1, c] + ...) * factor, added in that order, one rounding each.

    Registers: a0 x, FP32 [pixels][C]; a1 out, FP32 [C], which holds the start unless ``first``; a2 pixels.
    Clobbers a0-a6, t0-t3, ft8, v0-v31, vtype and vl.

    Attributes:
        channels: C.
        factor: 1 / (pixels of the whole image), rounded to FP32; None leaves the sum, for images in several
            tiles.
        first: Start from +0.
    """

    channels: int
    factor: float | None = None
    first: bool = True

    @property
    def count_register(self) -> str:
        """Pixels."""
        return "a2"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code: strips of 4 registers of channels, four pixels in flight."""
        strip, four, one, rest, end = (a.fresh("global_pool") for _ in range(5))
        if self.factor is not None:
            float_constant(a, "ft8", self.factor)
        a("li", "a3", self.channels)
        a("li", "t3", 4)
        a.label(strip)
        a("vsetvli", "t0", "a3", "e32", "m4", "ta", "ma")
        a(*(("vmv.v.i", "v0", 0) if self.first else ("vle32.v", "v0", "(a1)")))
        a("mv", "a4", "a2")
        a("mv", "a5", "a0")
        a("blt", "a4", "t3", rest)
        a.label(four)
        for i in range(4):
            self._pixel(a, f"v{16 + 4 * i}")
        a("addi", "a4", "a4", -4)
        a("bge", "a4", "t3", four)
        a.label(rest)
        a("blez", "a4", end)
        a.label(one)
        self._pixel(a, "v8")
        a("addi", "a4", "a4", -1)
        a("bnez", "a4", one)
        a.label(end)
        if self.factor is not None:
            a("vfmul.vf", "v0", "v0", "ft8")
        a("vse32.v", "v0", "(a1)")
        a("slli", "t1", "t0", 2)
        a("add", "a0", "a0", "t1")
        a("add", "a1", "a1", "t1")
        a("sub", "a3", "a3", "t0")
        a("bnez", "a3", strip)

    def _pixel(self, a: Assembler, register: str) -> None:
        a("vle32.v", register, "(a5)")
        advance(a, "a5", 4 * self.channels)
        a("vfadd.vv", "v0", "v0", register)

    def contract(self, x: F32, start: F32 | None = None) -> F32:
        """The output bit for bit; x float32 [pixels, C], start and result float32 [C]."""
        total: F32 = np.zeros(self.channels, np.float32) if start is None else start
        for pixel in x:
            total = fp32math.add(total, pixel)
        return total if self.factor is None else fp32math.mul(total, np.float32(self.factor))
