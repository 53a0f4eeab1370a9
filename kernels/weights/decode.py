"""Block-scaled weights to FP32 values in working memory: each byte times the scale of its block and output channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.isa.formats.elements import E4M3, E8M0, ElementFormat
from potluck.kernels import fp32math
from potluck.kernels.base import Kernel, float_constant, loop
from potluck.kernels.emission import advance
from potluck.kernels.quantize.mx import stored_format

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
ByteElement = Literal["e4m3", "e5m2", "int8"]
ScaleFormat = Literal["e8m0", "e4m3", "fp32"]
SCALE_BYTES = {"e8m0": 1, "e4m3": 1, "fp32": 4}
"""Bytes of a scale."""
_SUBNORMAL = 0x00400000  # 2^-127, E8M0 code 0


@dataclass(frozen=True)
class DecodeWeights(Kernel):
    """out[t, k, n] = element[t, k, n] * scale[t, k / block, n], in FP32.

    Registers: a1 scales, [taps][blocks][channels]; a2 out, FP32 [taps][depth][channels]; a3 elements, bytes
    [taps][depth][channels], which may lie in ``out`` from `in_place` on: each is read before it is overwritten.
    Clobbers a1, a3, a7, t0-t6, ft0, v0-v31, vtype and vl; a2 and all other arguments stay.

    Attributes:
        taps: Positions of the kernel.
        depth: Input channels of a tap.
        channels: Output channels, those that fill a row up included.
        block: Input channels per scale.
        element: Format of a byte.
        scale: Format of a scale. E8M0's 0xFF, NaN, must not occur.
        factor: Multiplied into every scale first, in FP32 (NVFP4's scale of the tensor).
    """

    taps: int
    depth: int
    channels: int
    block: int = 32
    element: ByteElement = "e4m3"
    scale: ScaleFormat = "e8m0"
    factor: float = 1.0

    def __post_init__(self) -> None:
        if min(self.taps, self.depth, self.channels, self.block) < 1:
            raise DataError(f"no weights {self}", hint="Use sizes of 1 or more")

    @property
    def blocks(self) -> int:
        """Scales of a tap and channel."""
        return -(-self.depth // self.block)

    @property
    def count(self) -> int:
        """Elements."""
        return self.taps * self.depth * self.channels

    @property
    def in_place(self) -> int:
        """Bytes from the start of ``out`` from which on the elements may lie."""
        return 3 * self.count + min(self.block, self.depth) * self.channels

    @property
    def format(self) -> ElementFormat:
        """Of a byte."""
        return stored_format(self.element)

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        full, rest = divmod(self.depth, self.block)
        a.comment(f"{self.element} weights with {self.scale} scales to FP32")
        if self.factor != 1.0:
            float_constant(a, "ft0", self.factor)
        a("mv", "t0", "a2")
        a("li", "a7", self.taps)
        with loop(a, "a7", name="decode_tap"):
            if full:
                a("li", "t1", full)
                with loop(a, "t1", name="decode_block"):
                    self._block(a, self.block)
            if rest:
                self._block(a, rest)

    def _block(self, a: Assembler, rows: int) -> None:
        """One block of every channel; a1, a3 and t0 advance past it."""
        strip, size = a.fresh("decode_strip"), rows * self.channels
        a("li", "t3", self.channels)
        a("mv", "t5", "a3")
        a("mv", "t6", "t0")
        a.label(strip)
        a("vsetvli", "t4", "t3", "e32", "m4", "ta", "ma")
        a("sub", "t3", "t3", "t4")
        self._scales(a)
        a("slli", "t2", "t4", SCALE_BYTES[self.scale].bit_length() - 1)
        a("add", "a1", "a1", "t2")
        a("li", "t2", rows)
        # t4 is what large steps are loaded into, so the strip's length is read from vl again.
        with loop(a, "t2", name="decode_row"):
            self._row(a)
            advance(a, "t5", self.channels)
            advance(a, "t6", 4 * self.channels)
        a("csrr", "t2", "vl")
        advance(a, "t5", -size)
        advance(a, "t6", -4 * size)
        a("add", "t5", "t5", "t2")
        a("slli", "t2", "t2", 2)
        a("add", "t6", "t6", "t2")
        a("bnez", "t3", strip)
        advance(a, "a3", size)
        advance(a, "t0", 4 * size)

    def _scales(self, a: Assembler) -> None:
        """The strip's scales as FP32 in v24; vtype stays."""
        if self.scale == "fp32":
            a("vle32.v", "v24", "(a1)")
        else:
            a("vle8.v", "v0", "(a1)")
        if self.scale == "e8m0":
            a("vzext.vf4", "v24", "v0")
            a("vsll.vi", "v24", "v24", 23)
            a("li", "t2", _SUBNORMAL)
            a("vmaxu.vx", "v24", "v24", "t2")
        elif self.scale == "e4m3":
            self._widen(a, "e8", "v24")
        if self.factor != 1.0:
            a("vfmul.vf", "v24", "v24", "ft0")

    def _widen(self, a: Assembler, form: str, to: str) -> None:
        """FP8 in v0 to FP32 by way of BF16."""
        a("vsetvli", "zero", "zero", form, "m1", "ta", "ma")
        a("vfwcvtbf16.f.f.v", "v4", "v0")
        a("vsetvli", "zero", "zero", "e16", "m2", "ta", "ma")
        a("vfwcvtbf16.f.f.v", to, "v4")
        a("vsetvli", "zero", "zero", "e32", "m4", "ta", "ma")

    def _row(self, a: Assembler) -> None:
        a("vle8.v", "v0", "(t5)")
        if self.element == "int8":
            a("vsext.vf4", "v8", "v0")
            a("vfcvt.f.x.v", "v8", "v8")
        else:
            self._widen(a, "e8alt" if self.element == "e5m2" else "e8", "v8")
        a("vfmul.vv", "v8", "v8", "v24")
        a("vse32.v", "v8", "(t6)")

    def contract(self, elements: U8, scales: NDArray[np.generic]) -> F32:
        """The output bit for bit: float32 [taps, depth, channels] from the arrays of the other registers."""
        values = self.format.decode(elements.reshape(self.taps, self.depth, self.channels))
        per_block = decoded_scales(scales, self.scale, self.factor).reshape(
            self.taps, self.blocks, self.channels
        )
        return fp32math.mul(values, np.repeat(per_block, self.block, axis=1)[:, : self.depth])


def decoded_scales(scales: NDArray[np.generic], kind: ScaleFormat, factor: float = 1.0) -> F32:
    """Scales of any format as FP32, times a factor."""
    codes = {"e8m0": E8M0, "e4m3": E4M3}
    values = np.asarray(scales, np.float32) if kind == "fp32" else codes[kind].decode(scales)
    return values if factor == 1.0 else fp32math.mul(values, np.float32(factor))
