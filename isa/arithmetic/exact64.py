"""Unrounded results of binary64 operations, made of host operations that are exact.

Each operand is taken apart into a significand in ±[1, 2) and an exponent, so that nothing overflows or becomes
subnormal. There the host's result ``r``, rounded to nearest, and its error ``t`` (or the error's sign, where no tie
can occur) are available: the products' and sums' errors by fused multiply-add and two-sum, that of a fused
multiply-add by Boldo and Muller (IEEE Transactions on Computers 60, 2011, algorithm ErrFmaNearest). The exact result
is ``r + t``, |t| at most half of r's last bit; ``r`` with three more bits and a sticky one says all about it that any
rounding can ask.
"""

from __future__ import annotations

from typing import Any

from potluck.isa.arithmetic.element import (
    bitcast,
    cast,
    different,
    equal,
    fabs,
    fdiv,
    fma,
    select,
    sqrt,
    to_int,
    trunc,
)
from potluck.isa.arithmetic.floating import RDN, bits_of
from potluck.isa.arithmetic.round_pack import NO_EXPONENT, Unrounded
from potluck.isa.arithmetic.to_odd import sum_to_odd

SIGN = 1 << 63
FAR = 120  # exponents further apart than this leave of the smaller term only that it is there
ZERO = -3000  # exponent of a zero: below any number's by more than FAR, twice as well


def scaled(x: Any) -> tuple[Any, Any]:
    """Significand in ±[1, 2) and exponent (s64); 0 and ``ZERO`` for zeros, anything for NaN and infinities."""
    small = fabs(x) < 2.0**-1022
    bits = bits_of(select(small, x * 2.0**64, x))
    exponent = bitcast((bits >> 52) & 0x7FF, "s64") - select(small, bits * 0 + (1023 + 64), 1023)
    significand = bitcast((bits & (SIGN | ((1 << 52) - 1))) | (1023 << 52), "f64")
    zero = equal(x, 0.0)
    return select(zero, 0.0, significand), select(zero, ZERO, exponent)


def power(exponent: Any) -> Any:
    """2 to a small exponent (s64)."""
    return bitcast((exponent + 1023) << 52, "f64")


def fused(a: Any, b: Any, c: Any, frm: int) -> Unrounded:
    """``a*b + c``; ``b`` None stands for 1 and ``c`` None for a zero that leaves the product as it is."""
    ma, base = scaled(a)
    if b is None:
        product, low, sign = ma, ma * 0.0, bits_of(a)
    else:
        mb, eb = scaled(b)
        product = ma * mb
        low = fma(ma, mb, -product)
        base = base + eb
        sign = bits_of(a) ^ bits_of(b)
    if c is None:
        return _joined(product, low, base, sign & SIGN)
    mc, ec = scaled(c)
    apart = ec - base
    base = select(apart > FAR, ec - FAR, base)
    apart = select(apart > FAR, FAR, select(apart < -FAR, -FAR, apart))
    addend = mc * power(apart)
    # A sum that is exactly zero is negative if both terms are; rounding down, if either is.
    zero_sign = (sign | bits_of(c) if frm == RDN else sign & bits_of(c)) & SIGN
    if b is None:
        total, error = _two_sum(product, addend)
        return _joined(total, error, base, zero_sign)
    total = fma(ma, mb, addend)
    first, second = _two_sum(addend, low)
    third, fourth = _two_sum(product, first)
    return _joined(total, sum_to_odd((third - total) + fourth, second), base, zero_sign)


def divided(a: Any, b: Any) -> Unrounded:
    """``a / b``; a quotient of normal exponent is never a tie."""
    ma, ea = scaled(a)
    mb, eb = scaled(b)
    quotient = fdiv(ma, mb)
    rest = fma(-quotient, mb, ma)
    error = bitcast(bits_of(rest) ^ (bits_of(mb) & SIGN), "f64")
    sign = (bits_of(a) ^ bits_of(b)) & SIGN
    return _joined(quotient, _hint(quotient, error), ea - eb, sign)


def root(x: Any) -> Unrounded:
    """The square root; never a tie."""
    significand, exponent = scaled(x)
    odd = exponent & 1
    radicand = fabs(significand) * select(equal(odd, 0), significand * 0.0 + 1.0, 2.0)
    result = sqrt(radicand)
    return _joined(
        result, _hint(result, fma(-result, result, radicand)), (exponent - odd) >> 1, bits_of(x) & SIGN
    )


def _hint(result: Any, error: Any) -> Any:
    """An error of the right sign and below a quarter of the last bit, in place of one of which only the sign counts."""
    hint = bitcast(bits_of(result * 2.0**-60) & (SIGN - 1) | (bits_of(error) & SIGN), "f64")
    return select(fabs(error) > 0.0, hint, 0.0)


def _two_sum(x: Any, y: Any) -> tuple[Any, Any]:
    total = x + y
    other = total - x
    return total, (x - (total - other)) + (y - other)


def _joined(result: Any, error: Any, base: Any, zero_sign: Any) -> Unrounded:
    """``(result + error) * 2^base``; ``zero_sign`` is that of an exact zero."""
    bits = bits_of(result)
    field = bitcast((bits >> 52) & 0x7FF, "s64")
    significand = ((bits & ((1 << 52) - 1)) | (1 << 52)) << 3
    eighths = fabs(error) * power(1023 + 52 + 3 - field)
    whole = trunc(eighths)
    step = cast(to_int(select(eighths <= 4.0, whole, 0.0), "s64"), "u64")
    step = step | cast(different(eighths, whole), "u64")
    same = bitcast(bits ^ bits_of(error), "s64") >= 0
    significand = select(same, significand + step, significand - step)
    low = significand < (1 << 55)  # below a power of two
    significand = (significand << cast(low, "u64")) << 5
    exponent = field - 1023 + base - bitcast(cast(low, "u64"), "s64")
    zero = equal(result, 0.0)
    return Unrounded(
        different(select(zero, zero_sign, bits & SIGN), 0),
        select(zero, 0, significand),
        select(zero, NO_EXPONENT, exponent),
    )
