"""The 7-bit reciprocal estimates of V 1.0 (sections 13.9 and 13.10).

The specification gives two tables of 128 significands. Each entry is the estimate of the reciprocal (square root) at
the middle of the interval of significands that its index stands for, rounded to 7 bits: that rule reproduces both
tables and is what is computed here.
"""

from __future__ import annotations

from typing import Any

from potluck.isa.arithmetic.element import (
    bitcast,
    cast,
    clz,
    equal,
    fdiv,
    isnan,
    rint,
    select,
    sqrt,
    to_float,
    to_int,
)
from potluck.isa.arithmetic.floating import (
    DZ,
    IEEE,
    NV,
    NX,
    OF,
    RDN,
    RTZ,
    RUP,
    Format,
    bits_of,
    raised,
    sign_bit,
    signalling,
)

INDEX_BITS = 7


def _float_of(index: Any) -> Any:
    """A table index as a float; single precision is enough for either rule."""
    width = max(index.type.bits, 32)
    return to_float(cast(index, f"u{width}"), f"f{width}")


def _code(estimate: Any, kind: str) -> Any:
    """The significand bits of an estimate in [1, 2)."""
    whole = rint((estimate - 1.0) * 128.0)
    return cast(to_int(whole, f"u{whole.type.bits}"), kind)


def reciprocal_entry(index: Any) -> Any:
    """Table of vfrec7: 2/x at the middle of ``[1 + index/128, 1 + (index+1)/128)``."""
    return _code(fdiv(_float_of(index) * 0.0 + 256.0, _float_of(index) + 128.5), str(index.type))


def root_entry(index: Any) -> Any:
    """Table of vfrsqrt7: 2/sqrt(x) at the middle of an interval of [1, 4).

    The upper half of the indices has odd exponent fields, that is x in [1, 2); the others x in [2, 4).
    """
    x = (_float_of(index & 63) + 64.5) * (1 / 64)
    x = select(index > 63, x, x * 2.0)
    return _code(fdiv(x * 0.0 + 2.0, sqrt(x)), str(index.type))


def _normalized(x: Any, form: Format) -> tuple[Any, Any]:
    """Exponent field (s, at most 0 for subnormals) and stored significand bits of a nonzero finite number."""
    kind = f"s{form.bits}"
    bits = bits_of(x)
    fraction = bits & ((1 << form.mantissa) - 1)
    field = (bits >> form.mantissa) & (2 * form.bias + 1)
    zeros = clz(fraction) - (form.bits - form.mantissa)  # above the first one, within the stored bits
    subnormal = equal(field, 0)
    shifted = (fraction << (select(subnormal, zeros + 1, 0) & (form.bits - 1))) & ((1 << form.mantissa) - 1)
    exponent = select(subnormal, 0 - bitcast(zeros, kind), bitcast(field, kind))
    return exponent, select(subnormal, shifted, fraction)


def reciprocal(x: Any, frm: int) -> tuple[Any, Any]:
    """The estimate of 1/x and its flags; overflow follows the rounding mode, nothing else does."""
    form = IEEE[x.type.bits]
    unsigned = f"u{form.bits}"
    exponent, fraction = _normalized(x, form)
    estimate = reciprocal_entry(fraction >> form.mantissa - INDEX_BITS) << form.mantissa - INDEX_BITS
    result = (2 * form.bias - 1) - exponent
    below = select(result < 1, 1 - result, 0)  # 1 or 2 places for a subnormal result
    hidden = select(result < 1, (estimate * 0) + (1 << form.mantissa), 0)
    size = (estimate | hidden) >> (bitcast(below, unsigned) & 3)
    size = size | (bitcast(select(result < 1, 0, result), unsigned) << form.mantissa)

    negative = sign_bit(x)
    zero, beyond = equal(x, 0.0), exponent < -1
    infinity = estimate * 0 + form.infinity
    largest = {RTZ: equal(infinity, infinity), RDN: ~negative, RUP: negative}.get(frm)
    size = select(beyond, infinity if largest is None else select(largest, infinity - 1, infinity), size)
    size = select(zero, infinity, size)
    size = select(_infinite(x, form), 0, size)
    code = select(isnan(x), form.nan, size | (bits_of(x) & form.sign))
    flags = raised((signalling(x), NV), (zero, DZ), (beyond, OF | NX))
    return bitcast(code, x.type), flags


def _infinite(x: Any, form: Format) -> Any:
    return equal(bits_of(x) & (form.sign - 1), form.infinity)


def reciprocal_root(x: Any) -> tuple[Any, Any]:
    """The estimate of 1/sqrt(x) and its flags."""
    form = IEEE[x.type.bits]
    unsigned = f"u{form.bits}"
    exponent, fraction = _normalized(x, form)
    odd = (bitcast(exponent, unsigned) & 1) << 6
    estimate = root_entry(odd | fraction >> form.mantissa - INDEX_BITS + 1) << form.mantissa - INDEX_BITS
    size = estimate | (bitcast((3 * form.bias - 1) - exponent >> 1, unsigned) << form.mantissa)

    zero = equal(x, 0.0)
    size = select(zero, form.infinity | (bits_of(x) & form.sign), size)
    size = select(_infinite(x, form), 0, size)
    invalid = signalling(x) | (x < 0.0)
    code = select(isnan(x) | (x < 0.0), form.nan, size)
    return bitcast(code, x.type), raised((invalid, NV), (zero, DZ))
