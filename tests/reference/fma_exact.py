"""Independent reference of the BF16 fused multiply-add in exact integer arithmetic, from IEEE 754-2019 and RISC-V.

Imports nothing of Potluck. Every finite product and sum is an integer multiple of 2^-300.
"""

NV, OF, UF, NX = 16, 4, 2, 1
RNE, RTZ, RDN, RUP, RMM = range(5)
QNAN = 0x7FC0
UNIT = 300


def _split(code: int) -> tuple[int, int, int]:
    return code >> 15, code >> 7 & 255, code & 127


def _value(code: int) -> int:
    """A finite number in units of 2^-150."""
    sign, field, mantissa = _split(code)
    magnitude = (mantissa + (128 if field else 0)) << (max(field, 1) - 127 - 7 + 150)
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


def _round(v: int, rm: int) -> tuple[int, int]:
    """A nonzero number of units 2^-300 to BF16 bits and flags; tininess is detected after rounding."""
    negative, magnitude = v < 0, abs(v)
    sign = 0x8000 if negative else 0
    top = magnitude.bit_length() - 1  # exponent plus UNIT
    normal = UNIT - 126
    rounded = _truncate(magnitude, max(top, normal) - 7, negative, rm)
    inexact = rounded != magnitude
    if rounded >= 1 << (UNIT + 128):
        away = rm in (RNE, RMM) or (rm in (RDN, RUP) and negative == (rm == RDN))
        return sign | (0x7F80 if away else 0x7F7F), OF | NX
    tiny = _truncate(magnitude, top - 7, negative, rm) < 1 << normal
    flags = (NX | (UF if tiny else 0)) if inexact else 0
    if rounded < 1 << normal:
        return sign | rounded >> (normal - 7), flags
    top = rounded.bit_length() - 1
    return sign | (top - UNIT + 127) << 7 | (rounded >> (top - 7)) & 127, flags


def fma(a: int, b: int, c: int, rm: int) -> tuple[int, int]:
    """BF16 bits of a * b + c and fflags."""
    sa, ea, ma = _split(a)
    sb, eb, mb = _split(b)
    sc, ec, mc = _split(c)
    nans = [e == 255 and m != 0 for e, m in ((ea, ma), (eb, mb), (ec, mc))]
    signalling = any(nan and not m & 64 for nan, m in zip(nans, (ma, mb, mc), strict=True))
    infinite = [e == 255 and m == 0 for e, m in ((ea, ma), (eb, mb), (ec, mc))]
    zero_times_infinity = (infinite[0] and b & 0x7FFF == 0) or (infinite[1] and a & 0x7FFF == 0)
    if any(nans) or zero_times_infinity:
        return QNAN, NV if signalling or zero_times_infinity else 0
    product_sign = sa ^ sb
    if infinite[0] or infinite[1]:
        if infinite[2] and product_sign != sc:
            return QNAN, NV
        return product_sign << 15 | 0x7F80, 0
    if infinite[2]:
        return c, 0
    product, addend = _value(a) * _value(b), _value(c) << (UNIT - 150)
    v = product + addend
    if v:
        return _round(v, rm)
    # Zero keeps a common sign of product and addend; otherwise it is positive, but when rounding down.
    sign = sc if product_sign == sc else rm == RDN
    return sign << 15, 0
