"""Correct rounding of FP32 values into BF16 and FP8, in the language of ``potluck.isa.arithmetic.element``.

A double of exponent ``e`` is rounded to ``m`` mantissa bits by adding and subtracting 1.5 * 2^(e+52-m), whose
last bit is 2^(e-m); taking the target's least exponent for any smaller ``e`` rounds subnormals where their
last bit is. Every intermediate result is exact in a double, whose range dwarfs that of the source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from potluck.isa.arithmetic.element import bitcast, cast, different, equal, fabs, fconvert, isnan, select

NV, OF, UF, NX = 16, 4, 2, 1


@dataclass(frozen=True)
class Target:
    """A format: bits, bias, largest finite value, and the codes of infinity (None: there is none) and NaN."""

    bits: int
    mantissa: int
    bias: int
    largest: float
    infinity: int | None
    nan: int

    @property
    def least(self) -> int:
        """Exponent of the least normal number."""
        return 1 - self.bias


BF16 = Target(16, 7, 127, (2 - 2.0**-7) * 2.0**127, 0x7F80, 0x7FC0)
E5M2 = Target(8, 2, 15, 57344.0, 0x7C, 0x7F)  # Zvfofp8min: the canonical NaN of both FP8 formats is 0x7F
E4M3 = Target(8, 3, 7, 448.0, None, 0x7F)


def narrow(bits: Any, to: Target, frm: int, saturate: bool = False) -> tuple[Any, Any]:
    """An FP32 value rounded to a narrower format.

    Saturating, infinities and overflows give the largest finite value (OFP8 v1.0). Not saturating, overflows
    go as IEEE 754 section 7.4 says, with NaN for an infinity the format does not have; so do infinities,
    without flags.

    Args:
        bits: u32.
        to: the format.
        frm: rounding mode 0..4.
        saturate: whether to saturate.

    Returns:
        The code (u16 or u8) and the flags (u8).
    """
    x = fconvert(bitcast(bits, "f32"), "f64")
    rounded = _rounded(x, to.mantissa, to.least, frm)
    size, wide = fabs(rounded), 52 - to.mantissa
    normal = bitcast(size, "u64") >> wide
    subnormal = (bitcast(size + 2.0**to.least, "u64") >> wide) - (1 << to.mantissa)
    code = select(size < 2.0**to.least, subnormal, normal) - ((1023 - to.bias) << to.mantissa)

    overflow = size > to.largest
    negative = different(bits >> 31, 0)
    infinite = equal(bits & 0x7FFFFFFF, 0x7F800000)
    largest = to.nan - 1 if to.infinity is None else to.infinity - 1
    beyond = to.nan if to.infinity is None else to.infinity
    code = select(overflow, largest, code)
    if not saturate:
        outward = {1: infinite, 2: infinite | negative, 3: infinite | ~negative}.get(frm, overflow)
        code = select(overflow & outward, beyond, code)
    sign = cast(bits >> 31, "u64") << (to.bits - 1)
    no_number = isnan(x)
    if to.infinity is None and not saturate:
        no_number = no_number | equal(code, to.nan)
    code = select(no_number, to.nan, code | sign)

    inexact = different(rounded, x) | overflow
    # Tiny after rounding (RISC-V): as if the exponent had no lower bound.
    tiny = fabs(_rounded(x, to.mantissa, to.least - 1, frm)) < 2.0**to.least
    flags = select(inexact & tiny, UF | NX, cast(inexact, "u8"))
    flags = select(overflow, OF | NX, flags)
    flags = select(infinite | isnan(x), 0, flags)
    flags = select(isnan(x) & equal(bits & 0x400000, 0), NV, flags)
    return cast(code, f"u{to.bits}"), flags


def _rounded(x: Any, mantissa: int, least: int, frm: int) -> Any:
    """``x`` rounded to ``mantissa`` bits and a multiple of ``2^(least-mantissa)``; a zero loses its sign."""
    e = bitcast(x, "s64") & (0x7FF << 52)
    low, high = (1023 + least) << 52, (1023 + 200) << 52  # finite constants for infinite x
    e = select(e < low, low, e)
    e = select(e > high, high, e)
    unit = bitcast(e - (mantissa << 52), "f64")
    magic = unit * (1.5 * 2.0**52)
    nearest = (x + magic) - magic
    if frm == 0:
        return nearest
    down, up = nearest - unit, nearest + unit
    negative = x < 0.0
    if frm == 1:
        return select(fabs(nearest) > fabs(x), select(negative, up, down), nearest)
    if frm == 2:
        return select(nearest > x, down, nearest)
    if frm == 3:
        return select(nearest < x, up, nearest)
    tie = equal(fabs(x) - fabs(nearest), unit * 0.5)
    return select(tie, select(negative, down, up), nearest)
