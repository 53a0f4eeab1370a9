"""Depthwise FP32 convolution: vectors over the channels, each input pixel loaded once per row of taps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels import fp32math
from potluck.kernels.base import Kernel
from potluck.kernels.conv.window import Window, split_pixels
from potluck.kernels.emission import activate, activation_bounds, advance
from potluck.kernels.fp32math import F32


def pack_weights_depthwise(weights: F32) -> F32:
    """Reorder ONNX weights [C, 1, KH, KW] to [KH, KW, C]."""
    return np.ascontiguousarray(weights[:, 0].transpose(1, 2, 0), dtype=np.float32)


GROUPS = 16  # register groups of two


@dataclass(frozen=True)
class DepthwiseFp32(Kernel):
    """out[y, x, c] = clip(bias[c] + sum over (kh, kw) of x * weights), fused, in that order.

    Registers: a0 first output row's window, FP32 [rows][in_width][C]; a1 weights, FP32 [KH][KW][C]; a2 bias,
    FP32 [C]; a3 output, FP32 [rows][out_width][C]; a4 output rows. Clobbers a0-a7, t*, ft8, ft9, v0-v31,
    vtype and vl.

    A register tile is some pixels times 32 channels (e32, m2). Up to ten taps stay in registers; of more taps, a row's
    are loaded before its pixels. The input pixels pass through the remaining registers, one load ahead of the
    multiply-adds, each feeding all taps that meet it; accumulators begin as the bias, loaded, so that the multipliers
    have nothing else to do.

    Attributes:
        window: Geometry; zero borders are in the buffer; at most 12 horizontal taps.
        channels: C.
        low: Lower bound of the fused activation (0.0: ReLU), None: none.
        high: Upper bound, None: none.
        tile: Channels per vector, at most VLEN / 16; 0: as many as the machine's registers hold.
    """

    window: Window
    channels: int
    low: float | None = None
    high: float | None = None
    tile: int = 32

    def __post_init__(self) -> None:
        if self.window.kernel[1] > 12:
            raise DataError(
                f"depthwise kernel with {self.window.kernel[1]} horizontal taps",
                hint="Use at most 12, or the dense convolution",
            )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one output row."""
        return self.window.out_width * self.window.kernel[0] * self.window.kernel[1] * self.channels

    @property
    def count_register(self) -> str:
        """Output rows."""
        return "a4"

    @property
    def resident(self) -> bool:
        """Whether all taps stay in registers."""
        return self.window.kernel[0] * self.window.kernel[1] <= GROUPS - 6

    @property
    def _weights(self) -> int:
        """Register groups that hold weights."""
        return self.window.kernel[1] * (self.window.kernel[0] if self.resident else 1)

    @property
    def _pixels(self) -> int:
        """Largest register tile: what weights and at least two inputs leave, three if pixels enough remain."""
        left = GROUPS - self._weights
        return min(8, left - (3 if left > 6 else 2))

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        window, pixel = self.window, 4 * self.channels
        names = ("full", "channels", "row", "done")
        full, channels, row, done = (a.fresh(f"depthwise_{name}") for name in names)
        a.comment(f"depthwise FP32 convolution, {window}")
        activation_bounds(a, self.low, self.high)
        a("blez", "a4", done)
        a("li", "a5", self.channels)
        a("li", "a6", pixel)
        a.label(channels)
        if self.tile:
            a("li", "t4", self.tile)
            a("bge", "a5", "t4", full)
        a("mv", "t4", "a5")
        a.label(full)
        a("vsetvli", "zero", "t4", "e32", "m2", "ta", "ma")
        for to, origin in (("t3", "a0"), ("t6", "a3"), ("a7", "a4")):
            a("mv", to, origin)
        if self.resident:
            a("mv", "t2", "a1")
            self._load_weights(a)
        a.label(row)
        for pixels, count in split_pixels(window.out_width, self._pixels):
            self._groups(a, pixels, count)
        advance(a, "t3", (window.stride[0] * window.in_width - window.out_width * window.stride[1]) * pixel)
        a("addi", "a7", "a7", -1)
        a("bgtz", "a7", row)
        if not self.tile:
            a("csrr", "t6", "vl")
            a("sub", "a5", "a5", "t6")
            a("slli", "t6", "t6", 2)
        for register in ("a0", "a1", "a2", "a3"):
            if self.tile:
                advance(a, register, 4 * self.tile)
            else:
                a("add", register, register, "t6")
        if self.tile:
            a("addi", "a5", "a5", -self.tile)
        a("bgtz", "a5", channels)
        a.label(done)

    def _load_weights(self, a: Assembler) -> None:
        """The weights at t2 into the last register groups; t2 ends behind them."""
        for k in range(self._weights):
            a("vle32.v", self._weight(k), "(t2)")
            a("add", "t2", "t2", "a6")

    def _weight(self, k: int) -> str:
        return f"v{2 * (GROUPS - self._weights + k)}"

    def _groups(self, a: Assembler, pixels: int, count: int) -> None:
        """``count`` register tiles from t3 on (output t6); both pointers advance."""
        window, pixel = self.window, 4 * self.channels
        group, taps = a.fresh("depthwise_group"), a.fresh("depthwise_taps")
        if count > 1:
            a("li", "t5", count)
            a.label(group)
        a("mv", "t1", "t3")
        if self.resident:
            self._rows_of_taps(a, pixels, window.kernel[0], starts=True)
        else:
            for i in range(pixels):
                a("vle32.v", f"v{2 * i}", "(a2)")
            a("mv", "t2", "a1")
            a("li", "t0", window.kernel[0])
            a.label(taps)
            self._load_weights(a)
            self._rows_of_taps(a, pixels, 1, starts=False)
            a("addi", "t0", "t0", -1)
            a("bnez", "t0", taps)
        for i in range(pixels):
            activate(a, f"v{2 * i}", self.low, self.high)
            a("vse32.v", f"v{2 * i}", "(t6)")
            a("add", "t6", "t6", "a6")
        advance(a, "t3", pixels * window.stride[1] * pixel)
        if count > 1:
            a("addi", "t5", "t5", -1)
            a("bnez", "t5", group)

    def _rows_of_taps(self, a: Assembler, pixels: int, rows: int, starts: bool) -> None:
        """Some rows of taps for one tile, whose weights are in registers; t1 ends at the row after them.

        ``starts``: accumulators are loaded where they are first needed, between the inputs.
        """
        window, pixel = self.window, 4 * self.channels
        taps, step, gap = window.kernel[1], window.stride[1], window.dilation[1]
        inputs = [f"v{2 * k}" for k in range(pixels, GROUPS - self._weights)]
        line = window.dilation[0] * window.in_width
        met: list[tuple[int, list[tuple[int, int]]]] = []  # place in pixels, [(output pixel, weight)]
        for row in range(rows):
            for column in range(window.columns(pixels)):
                meets = [
                    (i, row * taps + k) for i in range(pixels) for k in range(taps) if i * step + k * gap == column
                ]  # fmt: skip
                if meets:
                    met.append((row * line + column, meets))
        at = 0

        def load(n: int) -> None:
            nonlocal at
            if met[n][0] - at == 1:
                a("add", "t1", "t1", "a6")
            else:
                advance(a, "t1", (met[n][0] - at) * pixel)
            at = met[n][0]
            a("vle32.v", inputs[n % len(inputs)], "(t1)")

        started = set() if starts else set(range(pixels))
        load(0)
        for n, (_, meets) in enumerate(met):
            for i, _ in meets:
                if i not in started:
                    a("vle32.v", f"v{2 * i}", "(a2)")
            started.update(i for i, _ in meets)
            if n + 1 < len(met):
                load(n + 1)
            for i, k in meets:
                a("vfmacc.vv", f"v{2 * i}", inputs[n % len(inputs)], self._weight(k))
        advance(a, "t1", (rows * line - at) * pixel)

    def contract(self, x: F32, weights: F32, bias: F32, out_rows: int) -> F32:
        """The output bit for bit.

        Args:
            x: float32 [rows, in_width, C].
            weights: float32 [KH, KW, C].
            bias: float32 [C].
            out_rows: Output rows.

        Returns:
            float32 [out_rows, out_width, C].
        """
        acc: F32 = np.broadcast_to(bias, (out_rows, self.window.out_width, self.channels))
        for kh in range(self.window.kernel[0]):
            for kw in range(self.window.kernel[1]):
                acc = fp32math.fma(x[self.window.view((kh, kw), out_rows)], weights[kh, kw], acc)
        return fp32math.clip(acc, self.low, self.high)
