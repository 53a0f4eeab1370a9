"""Elementwise kernels between FP32 and 8-bit codes: QuantizeLinear, DequantizeLinear, and the sum of two code tensors.

All arithmetic is ONNX's, in FP32: x / scale is a division (a multiplication where the scale is a power of two, which
gives the same bits), rounded to nearest even; NaN, which ONNX leaves open, becomes the lowest code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.base import Kernel
from potluck.kernels.emission import activation_bounds, float_constant
from potluck.kernels.fp32math import F32

Codes = NDArray[np.integer[Any]]
QUIET = {"divide": "ignore", "invalid": "ignore", "over": "ignore"}


@dataclass(frozen=True)
class Affine:
    """Scale and zero point of a tensor of codes.

    Attributes:
        scale: Positive FP32 value.
        zero_point: Code of 0.
        unsigned: uint8 codes, else int8.
    """

    scale: float
    zero_point: int = 0
    unsigned: bool = False

    def __post_init__(self) -> None:
        low, high = self.limits
        if not (0 < self.scale < np.inf and low <= self.zero_point <= high):
            raise DataError(
                f"no quantization {self}", hint="Scales are positive and finite, zero points are codes"
            )

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest code."""
        return (0, 255) if self.unsigned else (-128, 127)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the codes."""
        return np.dtype(np.uint8 if self.unsigned else np.int8)

    @property
    def reciprocal(self) -> float | None:
        """1 / scale if it is exact and normal: then a product has the bits of the quotient."""
        mantissa, exponent = np.frexp(np.float32(self.scale))
        return float(2.0 ** (1 - int(exponent))) if mantissa == 0.5 and -125 < exponent < 127 else None

    def values(self, codes: Codes) -> F32:
        """ONNX DequantizeLinear."""
        integers = codes.astype(np.int32) - np.int32(self.zero_point)
        return integers.astype(np.float32) * np.float32(self.scale)

    def codes(self, x: F32, low: int, high: int) -> Codes:
        """ONNX QuantizeLinear, clipped to codes from ``low`` to ``high``."""
        with np.errstate(**QUIET):  # type: ignore[arg-type]
            ratio = np.asarray(x, np.float32) / np.float32(self.scale)
        bounded = np.fmin(
            np.fmax(ratio, np.float32(low - self.zero_point)), np.float32(high - self.zero_point)
        )
        return np.asarray(np.rint(bounded).astype(np.int32) + self.zero_point, self.dtype)


def _dequantize(a: Assembler, kind: Affine, value: str, code: str, scale: str) -> None:
    """FP32 values (e32, m4) of codes (e8, m1); vtype is e32, m4; t2 is overwritten."""
    a("vzext.vf4" if kind.unsigned else "vsext.vf4", value, code)
    if kind.zero_point:
        a("li", "t2", -kind.zero_point)
        a("vadd.vx", value, value, "t2")
    a("vfcvt.f.x.v", value, value)
    a("vfmul.vf", value, value, scale)


def _quantize(a: Assembler, kind: Affine, value: str, pointer: str) -> None:
    """Store codes of FP32 values (e32, m4), which are overwritten; bounds in ft8 and ft9, the scale in ft0."""
    a("vfmul.vf" if kind.reciprocal is not None else "vfdiv.vf", value, value, "ft0")
    a("vfmax.vf", value, value, "ft8")
    a("vfmin.vf", value, value, "ft9")
    a("vsetvli", "zero", "zero", "e16", "m2", "ta", "ma")
    a("vfncvt.x.f.w", "v16", value)
    if kind.zero_point:
        a("li", "t2", kind.zero_point)
        a("vadd.vx", "v16", "v16", "t2")
    a("vsetvli", "zero", "zero", "e8", "m1", "ta", "ma")
    a("vnsrl.wi", "v16", "v16", 0)
    a("vse8.v", "v16", f"({pointer})")


def _loop(a: Assembler, count: str, body: Any) -> None:
    """Run ``body`` over strips of ``count`` elements: vl elements of e32, m4, their number in t0 and bytes in t1."""
    again, done = a.fresh("codes"), a.fresh("codes_done")
    a("blez", count, done)
    a.label(again)
    a("vsetvli", "t0", count, "e32", "m4", "ta", "ma")
    a("slli", "t1", "t0", 2)
    body()
    a("sub", count, count, "t0")
    a("bnez", count, again)
    a.label(done)


def _prologue(a: Assembler, kind: Affine, low: int, high: int) -> None:
    activation_bounds(a, float(low - kind.zero_point), float(high - kind.zero_point))
    float_constant(a, "ft0", kind.scale if kind.reciprocal is None else kind.reciprocal)


@dataclass(frozen=True)
class QuantizeInt8(Kernel):
    """out[i] = QuantizeLinear(x[i]).

    Registers: a0 x, FP32; a1 out, codes; a2 elements. Clobbers a0-a2, t0-t2, t4, ft0, ft8, ft9, v0-v17, vtype and vl.

    Attributes:
        kind: Scale and zero point.
    """

    kind: Affine

    @property
    def count_register(self) -> str:
        """Elements."""
        return "a2"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        _prologue(a, self.kind, *self.kind.limits)

        def body() -> None:
            a("vle32.v", "v8", "(a0)")
            _quantize(a, self.kind, "v8", "a1")
            a("add", "a0", "a0", "t1")
            a("add", "a1", "a1", "t0")

        _loop(a, "a2", body)

    def contract(self, x: F32) -> Codes:
        """The codes bit for bit."""
        return self.kind.codes(x, *self.kind.limits)


@dataclass(frozen=True)
class DequantizeInt8(Kernel):
    """out[i] = DequantizeLinear(codes[i]).

    Registers: a0 codes; a1 out, FP32; a2 elements. Clobbers a0-a2, t0-t2, t4, ft1, v0-v11, vtype and vl.

    Attributes:
        kind: Scale and zero point.
    """

    kind: Affine

    @property
    def count_register(self) -> str:
        """Elements."""
        return "a2"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        float_constant(a, "ft1", self.kind.scale)

        def body() -> None:
            a("vle8.v", "v0", "(a0)")
            _dequantize(a, self.kind, "v8", "v0", "ft1")
            a("vse32.v", "v8", "(a1)")
            a("add", "a0", "a0", "t0")
            a("add", "a1", "a1", "t1")

        _loop(a, "a2", body)

    def contract(self, codes: Codes) -> F32:
        """The values bit for bit."""
        return self.kind.values(codes)


@dataclass(frozen=True)
class AddInt8(Kernel):
    """out[i] = QuantizeLinear(DequantizeLinear(x[i]) + DequantizeLinear(y[i])), clipped to codes low to high.

    Registers: a0 x, a1 y, a2 out, codes; a3 elements. Clobbers a0-a3, t0-t2, t4, ft0-ft2, ft8, ft9, v0-v17, vtype
    and vl.

    Attributes:
        x: Of the first input.
        y: Of the second.
        out: Of the output.
        low: Lowest output code: its zero point for a fused ReLU.
        high: Highest output code.
    """

    x: Affine
    y: Affine
    out: Affine
    low: int
    high: int

    @property
    def count_register(self) -> str:
        """Elements."""
        return "a3"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        _prologue(a, self.out, self.low, self.high)
        float_constant(a, "ft1", self.x.scale)
        float_constant(a, "ft2", self.y.scale)

        def body() -> None:
            a("vle8.v", "v0", "(a0)")
            a("vle8.v", "v1", "(a1)")
            _dequantize(a, self.x, "v8", "v0", "ft1")
            _dequantize(a, self.y, "v12", "v1", "ft2")
            a("vfadd.vv", "v8", "v8", "v12")
            _quantize(a, self.out, "v8", "a2")
            for pointer in ("a0", "a1", "a2"):
                a("add", pointer, pointer, "t0")

        _loop(a, "a3", body)

    def contract(self, x: Codes, y: Codes) -> Codes:
        """The codes bit for bit."""
        return self.out.codes(self.x.values(x) + self.y.values(y), self.low, self.high)
