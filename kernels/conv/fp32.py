"""Direct FP32 convolution: ``vfmacc.vf`` of a pixel's value with a vector of weights over output channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels import fp32math
from potluck.kernels.conv.pipeline import DATA
from potluck.kernels.conv.tile import BIAS, ConvTile
from potluck.kernels.conv.window import Plan, Step, plan
from potluck.kernels.emission import advance
from potluck.kernels.fp32math import F32

UNIT = 8  # K steps of the inner loop when a row of taps is too long to unroll


def pack_weights_fp32(weights: F32) -> F32:
    """Reorder ONNX weights [Cout, C, KH, KW] to [KH, KW, C, ceil(Cout/2)*2], rows 8-byte aligned."""
    padding = [(0, 0)] * 3 + [(0, weights.shape[0] % 2)]
    return np.ascontiguousarray(np.pad(weights.transpose(2, 3, 1, 0), padding), dtype=np.float32)


@dataclass(frozen=True)
class ConvFp32(ConvTile):
    """out[y, x, :] = clip(bias + sum over (kh, kw, c) of x * weights), fused, in that order.

    Registers: a0 first output row's window, FP32 [rows][in_width][C]; a2 weights as `pack_weights_fp32` makes
    them; a4 bias, FP32 [Cout]; a5 output, FP32 [rows][out_width][Cout]; a6 output rows; a1 and a3 are not
    used (the order is that of `ConvMx`). Clobbers a2-a7, t*, ft*, v0-v31, vtype and vl.

    Attributes:
        window: Geometry; zero borders are in the buffer.
        in_channels: C.
        out_channels: Cout.
        low: Lower bound of the fused activation (0.0: ReLU), None: none.
        high: Upper bound, None: none.
        tile: Output channels per vector, at most VLEN / 16; 0: as many as the machine's registers hold.
    """

    def __post_init__(self) -> None:
        if min(self.in_channels, self.out_channels, self.tile + 1) < 1:
            raise DataError(f"no convolution {self}", hint="Use sizes of 1 or more")

    @property
    def pixel_bytes(self) -> int:
        """Bytes of an input pixel."""
        return 4 * self.in_channels

    @property
    def scales(self) -> int:
        """None."""
        return 0

    @property
    def plan(self) -> Plan:
        """The order of the K steps."""
        return plan(self.window, 4, self.in_channels, UNIT, self.window.in_width * self.pixel_bytes)

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        a.comment(f"FP32 convolution, {self.window}")
        super().emit(a)

    @property
    def grouping(self) -> str:
        """LMUL of FP32 values."""
        return "m2"

    def weights(self, parity: int) -> str:
        """Register of a step's weights."""
        return f"v{16 + 2 * parity}"

    def load_weights(self, a: Assembler, parity: int) -> None:
        """Weights of the next step."""
        a("vle32.v", self.weights(parity), "(s7)")
        advance(a, "s7", 4 * (self.out_channels + self.out_channels % 2))

    def load_weight_scales(self, a: Assembler, parity: int) -> None:
        """None."""

    def multiply(self, a: Assembler, pixel: int, parity: int, step: Step) -> None:
        """One fused multiply-add."""
        a("vfmacc.vf", f"v{2 * pixel}", DATA[pixel], self.weights(parity))

    def channel_tile(self, a: Assembler) -> None:
        """The bias stays in its register group."""
        a("vsetvli", "zero", "t4", "e32", self.grouping, "ta", "ma")
        a("vle32.v", BIAS, "(a4)")

    def contract(self, x: F32, weights: F32, bias: F32, out_rows: int) -> NDArray[np.float32]:
        """The output bit for bit.

        Args:
            x: float32 [rows, in_width, C].
            weights: float32 [KH, KW, C, >= Cout].
            bias: float32 [Cout].
            out_rows: Output rows.

        Returns:
            float32 [out_rows, out_width, Cout].
        """
        acc: F32 = np.broadcast_to(bias, (out_rows, self.window.out_width, self.out_channels))
        for kh in range(self.window.kernel[0]):
            for kw in range(self.window.kernel[1]):
                pixels = x[self.window.view((kh, kw), out_rows)]
                for c in range(self.in_channels):
                    acc = fp32math.fma(pixels[..., c, None], weights[kh, kw, c, : self.out_channels], acc)
        return fp32math.clip(acc, self.low, self.high)
