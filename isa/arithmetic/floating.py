"""Binary floating-point formats and what the rows do with their bits: classes, signs, NaNs, saturation.

Everything here is written in the language of ``potluck.isa.arithmetic.element``. Choices between NaNs are made on
integers: LLVM may replace a choice between NaNs of floating type, or between NaN and a square root, by either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from potluck.isa.arithmetic.element import (
    bitcast,
    cast,
    ceil,
    equal,
    fabs,
    floor,
    isnan,
    rint,
    select,
    to_int,
    trunc,
)

NV, DZ, OF, UF, NX = 16, 8, 4, 2, 1
"""fflags: invalid operation, division by zero, overflow, underflow, inexact."""

RNE, RTZ, RDN, RUP, RMM = range(5)
"""Rounding modes by their ``frm`` encoding."""
TO_ODD = 5
"""Toward zero, with the last bit set if anything was lost (``vfncvt.rod.f.f.w``); no value of frm asks for it."""


@dataclass(frozen=True)
class Format:
    """An IEEE 754 binary interchange format, or BF16.

    Attributes:
        bits: width.
        mantissa: stored bits of the significand.
    """

    bits: int
    mantissa: int

    @property
    def bias(self) -> int:
        """Exponent bias, also the largest exponent."""
        return (1 << self.bits - self.mantissa - 2) - 1

    @property
    def least(self) -> int:
        """Exponent of the least normal number."""
        return 1 - self.bias

    @property
    def infinity(self) -> int:
        """Code of +infinity."""
        return (2 * self.bias + 1) << self.mantissa

    @property
    def quiet_bit(self) -> int:
        """The bit that tells a quiet NaN from a signalling one."""
        return 1 << self.mantissa - 1

    @property
    def nan(self) -> int:
        """Code of the canonical NaN: positive, quiet, no payload."""
        return self.infinity | self.quiet_bit

    @property
    def sign(self) -> int:
        """The sign bit."""
        return 1 << self.bits - 1


IEEE = {16: Format(16, 10), 32: Format(32, 23), 64: Format(64, 52)}
"""The formats of the language's types f16, f32 and f64."""
BF16 = Format(16, 7)


def bits_of(x: Any) -> Any:
    """The code of a floating value, unsigned."""
    return bitcast(x, f"u{x.type.bits}")


def canonical(x: Any) -> Any:
    """NaN results are the canonical quiet NaN, whatever the operands carried."""
    return bitcast(select(isnan(x), IEEE[x.type.bits].nan, bits_of(x)), x.type)


def sign_bit(x: Any) -> Any:
    """Whether the sign bit is set."""
    return bitcast(x, f"s{x.type.bits}") < 0


def signalling(x: Any) -> Any:
    """Whether a floating value is a signalling NaN."""
    return signalling_code(bits_of(x), IEEE[x.type.bits])


def signalling_code(code: Any, form: Format) -> Any:
    """Whether a code of a format is a signalling NaN."""
    size = code & (form.sign - 1)
    return (size > form.infinity) & (size < form.nan)


def unbox_bf16(raw: Any) -> Any:
    """The BF16 code (u16) in a float register (u64); the canonical NaN if it is not NaN-boxed."""
    return select(equal(raw >> 16, (1 << 48) - 1), cast(raw, "u16"), BF16.nan)


def infinite(x: Any) -> Any:
    """Whether a floating value is infinite."""
    return equal(fabs(x), float("inf"))


def sign_from(a: Any, b: Any, how: str) -> Any:
    """The magnitude of ``a`` with the sign of ``b`` (``j``), its complement (``n``) or the product of signs (``x``)."""
    width = a.type.bits
    sign = 1 << width - 1
    ua, ub = bitcast(a, f"u{width}"), bitcast(b, f"u{width}")
    if how == "x":
        return bitcast(ua ^ (ub & sign), a.type)
    return bitcast((ua & (sign - 1)) | ((~ub if how == "n" else ub) & sign), a.type)


def classify(x: Any) -> Any:
    """The ten classes of fclass as a one-hot mask, in the unsigned type of the operand's width."""
    width = x.type.bits
    fraction = IEEE[width].mantissa
    bits = bitcast(x, f"u{width}")
    top = (1 << width - 1 - fraction) - 1
    exponent = (bits >> fraction) & top
    mantissa = bits & ((1 << fraction) - 1)
    negative = sign_bit(x)
    zero, special, empty = equal(exponent, 0), equal(exponent, top), equal(mantissa, 0)

    def pick(minus: int, plus: int) -> Any:
        return select(negative, bits * 0 + (1 << minus), 1 << plus)

    finite = select(zero, select(empty, pick(3, 4), pick(2, 5)), pick(1, 6))
    quiet = (mantissa >> (fraction - 1)) > 0
    nan = select(quiet, bits * 0 + (1 << 9), 1 << 8)
    return select(special, select(empty, pick(0, 7), nan), finite)


def round_to_integral(x: Any, frm: int) -> Any:
    """Round to an integral value under a static rounding mode."""
    if frm == RMM:
        down = trunc(x)
        away = fabs(x - down) >= 0.5
        one = bitcast(bitcast(x, f"u{x.type.bits}") & (1 << x.type.bits - 1), x.type) + 0.0
        step = sign_from(select(away, one * 0.0 + 1.0, 0.0), x, "j")
        return down + step
    return {RNE: rint, RTZ: trunc, RDN: floor, RUP: ceil}[frm](x)


def to_integer(x: Any, kind: str, frm: int) -> tuple[Any, Any, Any]:
    """Saturating conversion: out of range goes to the nearest bound, NaN to the largest value.

    Returns:
        The integer; whether ``x`` is out of range or NaN; and ``x`` rounded to an integral float.
    """
    signed, width = kind[0] == "s", int(kind[1:])
    low, high = (-(2.0 ** (width - 1)), 2.0 ** (width - 1)) if signed else (0.0, 2.0**width)
    largest = (1 << width - 1) - 1 if signed else (1 << width) - 1
    smallest = -(1 << width - 1) if signed else 0
    value = round_to_integral(x, frm)
    over = isnan(x) | (value >= high) if x.type.bits > 16 or high < 65536.0 else isnan(x) | (value > 65504.0)
    under = value < low if x.type.bits > 16 or low > -65536.0 else value < -65504.0
    invalid = over | under
    safe = select(invalid, 0.0, value)
    return select(over, largest, select(under, smallest, to_int(safe, kind))), invalid, value


def raised(*cases: tuple[Any, int]) -> Any:
    """Flags (u8) of the first case whose condition holds, else none."""
    flags: Any = None
    for condition, value in reversed(cases):
        number = cast(condition, "u8") * value
        flags = number if flags is None else select(condition, value, flags)
    return flags
