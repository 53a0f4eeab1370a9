"""From int32 accumulators to what the next layer reads: the code that ends every integer convolution.

The laws are those of `potluck.isa.formats.requantize`; ``float`` multiplies by an FP32 factor and clips, which is
DequantizeLinear of the accumulator; ``float_bias`` adds an FP32 bias to the product before it clips.
RVV's fixed-point instructions with vxrm = rnu are the laws of TFLite:
``vwmul`` and ``vnclip`` are the single rounding with saturation, ``vsmul`` is gemmlowp's doubling high product, and
``vssra`` its rounding shift once 1 is taken from negative values, which turns ties away from zero.

Registers: v28 bias, v20 factor or multiplier, v22 right shift, v30 left shift (int32 or FP32, e32 m2), v24 scratch
(e64 m4); t4 and t5 are overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.isa.formats.requantize import (
    REQUANTIZATIONS,
    ort_float_rne,
    quantize_multiplier,
    tflite_double,
    tflite_single,
)
from potluck.kernels import fp32math
from potluck.kernels.emission import activate, activation_bounds, advance

Law = Literal["float", "float_bias", "ort_float_rne", "tflite_single", "tflite_double"]
I32 = NDArray[np.int32]
BIAS, FACTOR, RIGHT, WIDE, SIGN, LEFT = "v28", "v20", "v22", "v24", "v26", "v30"
VECTORS = {
    "float": (BIAS, FACTOR),
    "float_bias": (BIAS, FACTOR),
    "ort_float_rne": (BIAS, FACTOR),
    "tflite_single": (BIAS, FACTOR, RIGHT),
    "tflite_double": (BIAS, FACTOR, RIGHT, LEFT),
}
"""Registers of the rows of constants by law."""
FLOATS = ("float", "float_bias")
"""Laws whose outputs are FP32."""
MOST = 4
"""Accumulators that are finished together: their narrow results share v24-v27."""


@dataclass(frozen=True)
class Finish:
    """What happens to an accumulator.

    Attributes:
        law: ``float``, ``float_bias`` or a requantization.
        zero_point: Of the output codes.
        low: Lowest output code (of FP32 outputs: value, None: none).
        high: Highest output code (of FP32 outputs: value, None: none).
    """

    law: Law = "float"
    zero_point: int = 0
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.law in FLOATS:
            return
        if self.law not in REQUANTIZATIONS or self.low is None or self.high is None:
            raise DataError(f"no requantization {self}", hint="Name a law and both bounds of the codes")
        if not (-128 <= self.low <= self.high <= 127 or 0 <= self.low <= self.high <= 255):
            raise DataError(f"codes between {self.low} and {self.high} are not 8 bits wide")

    @property
    def out_bytes(self) -> int:
        """Bytes of an output value."""
        return 4 if self.law in FLOATS else 1

    @property
    def rows(self) -> int:
        """Rows of constants."""
        return len(VECTORS[self.law])

    @property
    def out_dtype(self) -> np.dtype[Any]:
        """Of the output."""
        if self.law in FLOATS:
            return np.dtype(np.float32)
        return np.dtype(np.uint8 if self.high is not None and self.high > 127 else np.int8)

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """What is clipped in FP32 or int32 before the zero point is added."""
        if self.law in FLOATS or self.low is None or self.high is None:
            return self.low, self.high
        return self.low - self.zero_point, self.high - self.zero_point

    def constants(self, bias: ArrayLike, factor: ArrayLike) -> I32:
        """Rows of constants: the bias, then what the law multiplies and shifts by.

        Args:
            bias: int32 [C], with the input's zero point folded in; FP32 for ``float_bias``.
            factor: x_scale w_scale / y_scale [C] (``float``: x_scale w_scale); FP32 for the float laws.

        Returns:
            int32 [rows, C].
        """
        floating = self.law == "float_bias"
        first = np.asarray(bias, np.float32).view(np.int32) if floating else np.asarray(bias, np.int32)
        if self.law in (*FLOATS, "ort_float_rne"):
            return np.stack(
                [first, np.broadcast_to(np.asarray(factor, np.float32), first.shape).view(np.int32)]
            )
        m, shift = quantize_multiplier(
            np.broadcast_to(factor, first.shape), single=self.law == "tflite_single"
        )
        if self.law == "tflite_single":
            return np.stack([first, m, 31 - shift])
        return np.stack([first, m, np.maximum(-shift, 0), np.maximum(shift, 0)])

    def prologue(self, a: Assembler) -> None:
        """Bounds in ft8 and ft9, or vxrm; t4 is overwritten."""
        if self.law in (*FLOATS, "ort_float_rne"):
            activation_bounds(a, *self.bounds)
        else:
            a("csrwi", "vxrm", 0)

    def load(self, a: Assembler, base: str, channels: int) -> None:
        """Constants of the channels at hand from rows of ``channels`` at ``base``; vtype is e32, m2."""
        for i, register in enumerate(VECTORS[self.law]):
            if i:
                advance(a, "t4", 4 * i * channels, source=base)
            a("vle32.v", register, f"({'t4' if i else base})")
        if self.law == "float_bias":
            a("vmv.v.i", self.start, 0)

    @property
    def start(self) -> str:
        """Register group that accumulators start from."""
        return LEFT if self.law == "float_bias" else BIAS

    def first(self, constants: I32) -> I32:
        """The contract of `start`: what [rows, C] of constants let accumulators start from."""
        return np.zeros_like(constants[0]) if self.law == "float_bias" else np.asarray(constants[0])

    def emit(self, a: Assembler, accumulators: Sequence[str], store: str, pitch: int) -> None:
        """Finish accumulators (e32, m2) and store them at the pointer ``store``, which advances by ``pitch`` each.

        vtype is e16, m1 before and after; at most `MOST` accumulators unless the outputs are FP32.
        """
        a("vsetvli", "zero", "zero", "e32", "m2", "ta", "ma")
        if self.law in FLOATS:
            for register in accumulators:
                a("vfcvt.f.x.v", register, register)
                a("vfmul.vv", register, register, FACTOR)
                if self.law == "float_bias":
                    a("vfadd.vv", register, register, BIAS)
                activate(a, register, *self.bounds)
                a("vse32.v", register, f"({store})")
                advance(a, store, pitch)
            a("vsetvli", "zero", "zero", "e16", "m1", "ta", "ma")
            return
        {"ort_float_rne": self._float, "tflite_single": self._single, "tflite_double": self._double}[
            self.law
        ](a, accumulators)
        a("vsetvli", "zero", "zero", "e16", "m1", "ta", "ma")
        narrow = [f"v{24 + i}" for i in range(len(accumulators))]
        if self.zero_point:
            a("li", "t4", self.zero_point)
        for to, register in zip(narrow, accumulators, strict=True):
            if self.law == "ort_float_rne":
                a("vfncvt.x.f.w", to, register)
            else:
                a("vnsrl.wi", to, register, 0)
            if self.zero_point:
                a("vadd.vx", to, to, "t4")
        a("vsetvli", "zero", "zero", "e8", "mf2", "ta", "ma")
        for to in narrow:
            a("vnsrl.wi", to, to, 0)
            a("vse8.v", to, f"({store})")
            advance(a, store, pitch)
        a("vsetvli", "zero", "zero", "e16", "m1", "ta", "ma")

    def _float(self, a: Assembler, accumulators: Sequence[str]) -> None:
        for register in accumulators:
            a("vfcvt.f.x.v", register, register)
            a("vfmul.vv", register, register, FACTOR)
            activate(a, register, *self.bounds)

    def _clip(self, a: Assembler, accumulators: Sequence[str]) -> None:
        low, high = self.bounds
        assert low is not None and high is not None
        a("li", "t4", int(low))
        a("li", "t5", int(high))
        for register in accumulators:
            a("vmax.vx", register, register, "t4")
            a("vmin.vx", register, register, "t5")

    def _single(self, a: Assembler, accumulators: Sequence[str]) -> None:
        for register in accumulators:
            a("vwmul.vv", WIDE, register, FACTOR)
            a("vnclip.wv", register, WIDE, RIGHT)
        self._clip(a, accumulators)

    def _double(self, a: Assembler, accumulators: Sequence[str]) -> None:
        # 1 from negative values, but only where there is a shift: the sign of acc & -shift.
        a("vrsub.vi", SIGN, RIGHT, 0)
        for register in accumulators:
            a("vsll.vv", register, register, LEFT)
            a("vsmul.vv", register, register, FACTOR)
            a("vand.vv", WIDE, register, SIGN)
            a("vsra.vi", WIDE, WIDE, 31)
            a("vsadd.vv", register, register, WIDE)
            a("vssra.vv", register, register, RIGHT)
        self._clip(a, accumulators)

    def contract(self, acc: I32, constants: I32) -> NDArray[Any]:
        """The output of accumulators [..., C], bias included, bit for bit, as `out_dtype`."""
        low, high = self.bounds
        if self.law == "float":
            factor = constants[1].view(np.float32)
            return fp32math.clip(acc.astype(np.float32) * factor, low, high)
        if self.law == "float_bias":
            bias, factor = constants.view(np.float32)
            return fp32math.clip(acc.astype(np.float32) * factor + bias, low, high)
        assert self.low is not None and self.high is not None
        if self.law == "ort_float_rne":
            factor = constants[1].view(np.float32)
            codes = ort_float_rne(acc, factor, self.zero_point, int(self.low), int(self.high))
            return codes.astype(self.out_dtype)
        if self.law == "tflite_single":
            scaled = tflite_single(acc, constants[1], 31 - constants[2])
        else:
            scaled = tflite_double(acc, constants[1], constants[3] - constants[2])
        return (np.clip(scaled, low, high) + self.zero_point).astype(self.out_dtype)


DEQUANTIZE = Finish()
"""To FP32 values, without bounds."""
