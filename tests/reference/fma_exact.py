"""Independent reference of the fused multiply-add in exact integer arithmetic, from IEEE 754-2019 and RISC-V.

Imports nothing of Potluck. Every finite product and sum is an integer multiple of 2^-UNIT.
"""

from typing import NamedTuple

NV, OF, UF, NX = 16, 4, 2, 1
RNE, RTZ, RDN, RUP, RMM = range(5)


class Form(NamedTuple):
    """Widths of the fields of a binary format."""

    exponent: int
    mantissa: int

    @property
    def top(self) -> int:
        """The highest exponent field."""
        return (1 << self.exponent) - 1

    @property
    def bias(self) -> int:
        """Of the exponent."""
        return self.top >> 1

    @property
    def infinity(self) -> int:
        """Code of +infinity."""
        return self.top << self.mantissa

    @property
    def unit(self) -> int:
        """Numbers are multiples of 2^-unit."""
        return self.bias + self.mantissa + 16


BF16, FP16, FP32, FP64 = Form(8, 7), Form(5, 10), Form(8, 23), Form(11, 52)


def _split(code: int, form: Form) -> tuple[int, int, int]:
    size = code & (1 << form.exponent + form.mantissa) - 1
    return code >> form.exponent + form.mantissa, size >> form.mantissa, size & (1 << form.mantissa) - 1


def _value(code: int, form: Form) -> int:
    """A finite number in units of 2^-unit."""
    sign, field, mantissa = _split(code, form)
    hidden = 1 << form.mantissa if field else 0
    magnitude = (mantissa + hidden) << (max(field, 1) - form.bias - form.mantissa + form.unit)
    return -magnitude if sign else magnitude


def _truncate(magnitude: int, ulp: int, negative: bool, rm: int) -> int:
    """The magnitude as a multiple of 2^ulp units, rounded."""
    low, rest, half = magnitude >> ulp, magnitude & (1 << ulp) - 1, 1 << (ulp - 1)
    if rm == RNE:
        up = rest > half or (rest == half and low % 2 == 1)
    elif rm == RMM:
        up = rest >= half
    elif rm == RTZ:
        up = False
    else:
        up = rest > 0 and negative == (rm == RDN)
    return (low + up) << ulp


def _round(v: int, rm: int, form: Form) -> tuple[int, int]:
    """A nonzero number of units 2^-2unit to bits and flags; tininess is detected after rounding."""
    unit, width = 2 * form.unit, form.mantissa
    negative, magnitude = v < 0, abs(v)
    sign = 1 << form.exponent + width if negative else 0
    # Below the number's last bit there must be room for a unit of the narrowest rounding.
    magnitude, unit = magnitude << width + 2, unit + width + 2
    top = magnitude.bit_length() - 1  # exponent plus unit
    normal = unit + 1 - form.bias
    rounded = _truncate(magnitude, max(top, normal) - width, negative, rm)
    inexact = rounded != magnitude
    if rounded >= 1 << (unit + form.bias + 1):
        away = rm in (RNE, RMM) or (rm in (RDN, RUP) and negative == (rm == RDN))
        return sign | form.infinity - (not away), OF | NX
    tiny = _truncate(magnitude, top - width, negative, rm) < 1 << normal
    flags = (NX | (UF if tiny else 0)) if inexact else 0
    if rounded < 1 << normal:
        return sign | rounded >> (normal - width), flags
    top = rounded.bit_length() - 1
    fraction = (rounded >> (top - width)) & (1 << width) - 1
    return sign | (top - unit + form.bias) << width | fraction, flags


def fma(a: int, b: int, c: int, rm: int, form: Form = BF16) -> tuple[int, int]:
    """Bits of a * b + c and fflags."""
    sa, ea, ma = _split(a, form)
    sb, eb, mb = _split(b, form)
    sc, ec, mc = _split(c, form)
    quiet, size = 1 << form.mantissa - 1, (1 << form.exponent + form.mantissa) - 1
    nans = [e == form.top and m != 0 for e, m in ((ea, ma), (eb, mb), (ec, mc))]
    signalling = any(nan and not m & quiet for nan, m in zip(nans, (ma, mb, mc), strict=True))
    infinite = [e == form.top and m == 0 for e, m in ((ea, ma), (eb, mb), (ec, mc))]
    zero_times_infinity = (infinite[0] and b & size == 0) or (infinite[1] and a & size == 0)
    if any(nans) or zero_times_infinity:
        return form.infinity | quiet, NV if signalling or zero_times_infinity else 0
    product_sign = sa ^ sb
    if infinite[0] or infinite[1]:
        if infinite[2] and product_sign != sc:
            return form.infinity | quiet, NV
        return product_sign << form.exponent + form.mantissa | form.infinity, 0
    if infinite[2]:
        return c, 0
    product, addend = _value(a, form) * _value(b, form), _value(c, form) << form.unit
    v = product + addend
    if v:
        return _round(v, rm, form)
    # Zero keeps a common sign of product and addend; otherwise it is positive, but when rounding down.
    sign = sc if product_sign == sc else rm == RDN
    return int(sign) << form.exponent + form.mantissa, 0
