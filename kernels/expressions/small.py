"""Elements of a byte or less as expressions: codes, which are integers in registers, and the numbers they stand for.

A float of few bits is rounded to nearest, ties to even, by adding a power of two whose last bit has the weight of its
own. Its exponent, moved to that of FP32 by one exact multiplication, then has the code in its leading bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from potluck.kernels.expressions.graph import (
    F32,
    I32,
    Value,
    cast,
    constant,
    copysign,
    differs,
    equal,
    maximum,
    minimum,
    select,
    shift_left,
    shift_right,
    unary,
)

MANTISSA = 23
"""Bits of FP32's."""
Special = Literal["ieee", "fn", "uz", "none"]
"""Infinities and NaN as in IEEE 754; NaN at all ones; NaN in place of -0; neither."""


@dataclass(frozen=True)
class Float:
    """A float with sign.

    Attributes:
        exponent: Bits.
        mantissa: Bits.
        bias: Of the exponent.
        special: What is no number.
    """

    exponent: int
    mantissa: int
    bias: int
    special: Special

    type = F32
    """Of its values in a register."""

    @property
    def sign(self) -> int:
        """Place of the sign."""
        return self.exponent + self.mantissa

    @property
    def infinite(self) -> int:
        """Code of infinity, or of NaN without one: what overflows becomes."""
        whole = (1 << self.sign) - 1
        return {"ieee": whole >> self.mantissa << self.mantissa, "fn": whole, "uz": 1 << self.sign}.get(
            self.special, whole
        )

    @property
    def nan(self) -> int:
        """Code of NaN; -0 where there is none, as ml_dtypes has it."""
        whole = (1 << self.sign) - 1
        return {"ieee": self.infinite | 1 << self.mantissa - 1, "fn": whole}.get(self.special, 1 << self.sign)

    @property
    def largest(self) -> int:
        """Code of the largest number."""
        whole = (1 << self.sign) - 1
        return {"ieee": self.infinite - 1, "fn": whole - 1}.get(self.special, whole)

    @property
    def limit(self) -> float:
        """The largest number."""
        exponent, mantissa = self.largest >> self.mantissa, self.largest & (1 << self.mantissa) - 1
        return math.ldexp(1 + mantissa / (1 << self.mantissa), exponent - self.bias)

    def decode(self, code: Value) -> Value:
        """The number of a code; codes have zeros above the sign."""
        size = code & (1 << self.sign) - 1
        scaled = cast("from_bits", shift_left(size, MANTISSA - self.mantissa)) * 2.0 ** (127 - self.bias)
        if self.special == "ieee":
            scaled = select(size >= self.infinite, constant(math.inf), scaled)
            scaled = select(size > self.infinite, constant(math.nan), scaled)
        elif self.special == "fn":
            scaled = select(equal(size, self.infinite), constant(math.nan), scaled)
        signed = copysign(scaled, cast("from_bits", shift_left(code, 31 - self.sign)))
        if self.special == "uz":
            return select(equal(code, self.infinite), constant(math.nan), signed)
        return signed

    def rounded(self, x: Value) -> Value:
        """|x| rounded to a multiple of the last mantissa bit's weight, without a largest number; NaN is any number."""
        size = minimum(unary("abs", x), 4 * self.limit)
        least = (128 - self.bias) << MANTISSA
        exponent = maximum(cast("bits", size) & 0x7F800000, least)
        weight = cast("from_bits", exponent + ((MANTISSA - self.mantissa) << MANTISSA))
        return (size + weight) - weight

    def encode(self, x: Value, saturate: bool = True, mode: str = "nearest") -> Value:
        """The code of a number; what is too large becomes the largest number, or infinity, or NaN without one."""
        scaled = self.rounded(x) * 2.0 ** (self.bias - 127)
        size = shift_right(cast("bits", scaled), MANTISSA - self.mantissa)
        beyond = constant(self.largest if saturate or self.special == "none" else self.infinite, I32)
        size = select(size > self.largest, beyond, size)
        sign = shift_left(shift_right(cast("bits", x), 31), self.sign)
        if self.special == "uz":  # zero has no sign
            sign = select(equal(size & self.nan - 1, 0), constant(0, I32), sign)
        return select(differs(x, x), constant(self.nan, I32), size | sign)


@dataclass(frozen=True)
class PowerOfTwo:
    """E8M0: an exponent of FP32, 255 being NaN."""

    type = F32

    def decode(self, code: Value) -> Value:
        """The number of a code; the smallest one is subnormal."""
        normal = cast("from_bits", shift_left(code, MANTISSA))
        number = select(equal(code, 0), constant(2.0**-127), normal)
        return select(equal(code, 255), constant(math.nan), number)

    def encode(self, x: Value, saturate: bool = True, mode: str = "up") -> Value:
        """The exponent of |x|, plus one if rounding says so; NaN of infinities."""
        bits = cast("bits", unary("abs", x))
        exponent = shift_right(bits, MANTISSA)
        if mode == "up":
            more = differs(bits & 0x7FFFFF, 0)
        elif mode == "nearest":  # ties to even, which zero is
            more = (bits & 0x7FFFFF) > select(exponent > 0, constant(0x3FFFFF, I32), constant(0x400000, I32))
        else:
            return exponent
        grown = select(more, exponent + 1, exponent)
        if saturate:
            grown = minimum(grown, 254)
        return select(exponent >= 255, constant(255, I32), grown)


@dataclass(frozen=True)
class Integer:
    """An integer of few bits; codes have zeros above it."""

    bits: int
    signed: bool

    type = I32

    def decode(self, code: Value) -> Value:
        """The number of a code."""
        if not self.signed:
            return code & (1 << self.bits) - 1
        return shift_right(shift_left(code, 32 - self.bits), 32 - self.bits, signed=True)

    def encode(self, x: Value, saturate: bool = True, mode: str = "") -> Value:
        """The low bits."""
        return x & (1 << self.bits) - 1


SMALL: dict[str, Float | PowerOfTwo | Integer] = {
    "float8_e4m3fn": Float(4, 3, 7, "fn"),
    "float8_e4m3fnuz": Float(4, 3, 8, "uz"),
    "float8_e5m2": Float(5, 2, 15, "ieee"),
    "float8_e5m2fnuz": Float(5, 2, 16, "uz"),
    "float4_e2m1fn": Float(2, 1, 1, "none"),
    "float8_e8m0fnu": PowerOfTwo(),
    "int4": Integer(4, True),
    "uint4": Integer(4, False),
    "int2": Integer(2, True),
    "uint2": Integer(2, False),
}
"""NumPy's name of a type whose elements take a byte each in memory, as ml_dtypes has them."""
FLOAT16 = Float(5, 10, 15, "ieee")


def memory_type(dtype: str) -> str:
    """What a kernel loads and stores for a type: codes of small ones are bytes."""
    return "uint8" if dtype in SMALL else dtype
