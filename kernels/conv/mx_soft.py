"""MX convolution on the base vector ISA: the sums of VMXDOTP, bit for bit, from operands that FP32 holds.

Activations (`potluck.kernels.quantize.round_mx`) and weights are values of an MX format stored as FP32: element times
scale, which FP32 holds exactly. A chunk of K is what one VMXDOTP takes, 8 FP8 or 16 FP4 elements that share their
scales. As with VMXDOTP (`potluck.isa.arithmetic.mxdot`), the sum of a chunk is exact and each chunk rounds the
accumulator once.

* **E4M3**: the products of a chunk are multiples of one power of two, their sum has at most 39 bits, so FP64 holds
  it. The sum with the accumulator is a TwoSum in FP64 rounded to odd, after which the narrowing conversion rounds as
  if there had been no rounding before (Boldo and Melquiond, IEEE TC 2008).
* **E2M1**: the sum of a chunk has 12 bits, so FP32 holds it and one addition rounds it. This needs the product of
  the two scales to lie between 2^-147 and 2^117; beyond that FP32's own range rounds the sum of a chunk.

One thing differs from VMXDOTP: the sign of a zero to which a result underflows, where the instruction leaves an
accumulator of +0 alone (its rule 4, product of scales below 2^-91).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels import fp32math
from potluck.kernels.base import CHUNK, Element
from potluck.kernels.conv.fp32 import ConvFp32
from potluck.kernels.conv.pipeline import DATA
from potluck.kernels.conv.tile import BIAS
from potluck.kernels.conv.window import Plan, Step, plan
from potluck.kernels.emission import activate
from potluck.kernels.fp32math import F32

_ZERO = "fa0"
_SUM, _BACK, _ERROR = "v22", "v24", "v26"


@dataclass(frozen=True)
class ConvMxSoft(ConvFp32):
    """out[y, x, :] = clip(bias + sum over chunks of x * weights), one rounding a chunk; order (kh, kw, c).

    Operands and registers are those of `ConvFp32`; clobbers fa0 as well.

    With E4M3 a register tile is 6 pixels times VLEN / 32 channels: accumulators v1-v6 (FP32), sums of the chunk
    v8-v19 (FP64), weights v20 and v21, v22-v27 temporaries, bias v28, v0 mask. With E2M1 it is 6 pixels times
    VLEN / 16 channels: accumulators v0-v11, sums v12-v23, weights v24-v27, bias v28.

    Attributes:
        window: Geometry; zero borders are in the buffer.
        in_channels: C.
        out_channels: Cout.
        low: Lower bound of the fused activation (0.0: ReLU), None: none.
        high: Upper bound, None: none.
        tile: Output channels per vector; 0: as many as the machine's registers hold.
        element: Element format: e4m3 or e2m1.
    """

    element: Element = "e4m3"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.element == "e5m2":
            raise DataError("no software kernel for E5M2: its sums need more than FP64", hint="Use E4M3")

    @property
    def wide(self) -> bool:
        """Whether chunks are summed in FP64."""
        return self.element == "e4m3"

    @property
    def most_pixels(self) -> int:
        """Register tile."""
        return 6

    @property
    def turns(self) -> bool:
        """Not: a step's end is longer than a multiply-add."""
        return False

    @property
    def plan(self) -> Plan:
        """The order of the K steps; a segment is a chunk."""
        row = self.window.in_width * self.pixel_bytes
        return plan(self.window, 4, self.in_channels, CHUNK[self.element], row)

    @property
    def grouping(self) -> str:
        """LMUL of FP32 values."""
        return "m1" if self.wide else "m2"

    def _accumulator(self, pixel: int) -> str:
        return f"v{1 + pixel}" if self.wide else f"v{2 * pixel}"

    def _sum(self, pixel: int) -> str:
        return f"v{8 + 2 * pixel}" if self.wide else f"v{12 + 2 * pixel}"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        a.comment(f"MX {self.element} by base vector instructions")
        if self.wide:
            a("fmv.d.x", _ZERO, "zero")
        super().emit(a)

    def weights(self, parity: int) -> str:
        """Register of a step's weights."""
        return f"v{20 + parity}" if self.wide else f"v{24 + 2 * parity}"

    def start(self, a: Assembler, pixel: int) -> None:
        """The bias."""
        a("vmv.v.v", self._accumulator(pixel), BIAS)

    def multiply(self, a: Assembler, pixel: int, parity: int, step: Step) -> None:
        """One product into the chunk's sum, which the chunk's first one starts."""
        widen, total, weights = "vfw" if self.wide else "vf", self._sum(pixel), self.weights(parity)
        if step.first:
            a(f"{widen}mul.vf", total, weights, DATA[pixel])
        else:
            a(f"{widen}macc.vf", total, DATA[pixel], weights)

    def step_end(self, a: Assembler, pixels: int, step: Step) -> None:
        """The chunk's sums to the accumulators."""
        if not step.last:
            return
        for pixel in range(pixels):
            if self.wide:
                self._round(a, self._accumulator(pixel), self._sum(pixel))
            else:
                a("vfadd.vv", self._accumulator(pixel), self._accumulator(pixel), self._sum(pixel))

    def _round(self, a: Assembler, acc: str, total: str) -> None:
        """acc = FP32(acc + total), rounded once; comments name the variables of TwoSum(total, acc)."""
        a("vfwcvt.f.f.v", _ERROR, acc)
        a("vsetvli", "zero", "zero", "e64", "m2", "ta", "ma")
        a("vfadd.vv", _SUM, total, _ERROR)
        a("vfsub.vv", _BACK, _SUM, total)  # what the sum took of acc
        a("vfsub.vv", _ERROR, _ERROR, _BACK)
        a("vfsub.vv", _BACK, _SUM, _BACK)  # and of total
        a("vfsub.vv", total, total, _BACK)
        a("vfadd.vv", _ERROR, _ERROR, total)
        # To odd: towards zero by one unit if the error points there, then the last bit set. A NaN error stands for
        # an infinite or NaN sum, which stays.
        a("li", "t4", 63)
        a("vxor.vv", _BACK, _ERROR, _SUM)
        a("vfsgnjx.vv", _ERROR, _ERROR, _ERROR)
        a("vsra.vx", _BACK, _BACK, "t4")
        a("vmfgt.vf", "v0", _ERROR, _ZERO)
        a("vadd.vv", _SUM, _SUM, _BACK, "v0.t")
        a("vor.vi", _SUM, _SUM, 1, "v0.t")
        a("vsetvli", "zero", "zero", "e32", "m1", "ta", "ma")
        a("vfncvt.f.f.w", acc, _SUM)

    def tile_end(self, a: Assembler, pixels: int) -> None:
        """Activation and store."""
        for pixel in range(pixels):
            activate(a, self._accumulator(pixel), self.low, self.high)
            self.store(a, self._accumulator(pixel))

    def contract(self, x: F32, weights: F32, bias: F32, out_rows: int) -> NDArray[np.float32]:
        """The output bit for bit; arguments as for `ConvFp32.contract`."""
        acc: F32 = np.broadcast_to(bias, (out_rows, self.window.out_width, self.out_channels))
        size = CHUNK[self.element]
        for kh in range(self.window.kernel[0]):
            for kw in range(self.window.kernel[1]):
                pixels = x[self.window.view((kh, kw), out_rows)]
                columns = weights[kh, kw, :, : self.out_channels]
                for start in range(0, self.in_channels, size):
                    part = slice(start, start + size)
                    acc = self._chunk(acc, pixels[..., part], columns[part])
        return fp32math.clip(acc, self.low, self.high)

    def _chunk(self, acc: F32, x: F32, weights: F32) -> F32:
        """One chunk; x [rows, width, k], weights [k, Cout]."""
        if not self.wide:
            total = fp32math.mul(x[..., 0, None], weights[0])
            for k in range(1, len(weights)):
                total = fp32math.fma(x[..., k, None], weights[k], total)
            return fp32math.add(acc, total)
        with np.errstate(invalid="ignore"):
            left, right = x.astype(np.float64), weights.astype(np.float64)
            exact = left[..., 0, None] * right[0]
            for k in range(1, len(weights)):
                exact = exact + left[..., k, None] * right[k]
        return fp32math.add_double(acc, exact)
