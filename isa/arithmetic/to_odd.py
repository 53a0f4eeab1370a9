"""Rounding to odd: toward zero, with the last bit set if anything was lost.

An odd number of some width is no number of fewer bits and no midpoint between two, so that rounding it again, to a
width at least two bits smaller and in any mode, gives what rounding the exact number gives (Boldo and Melquiond 2008).
"""

from __future__ import annotations

from typing import Any

from potluck.isa.arithmetic.element import bitcast, cast, different, fabs, fconvert, isnan, select


def single_of(code: Any) -> Any:
    """A BF16 code (u16) as f32, exactly."""
    return bitcast(cast(code, "u32") << 16, "f32")


def sum_to_odd(a: Any, b: Any) -> Any:
    """``a + b`` rounded to odd, by the error of the sum (Knuth's two-sum); plain where the sum is not finite."""
    total = a + b
    other = total - a
    return to_odd(total, (a - (total - other)) + (b - other))


def to_odd(total: Any, error: Any) -> Any:
    """``total``, nearest to a number that lies on the side ``error`` of it, moved to the odd neighbour on that side."""
    width = total.type.bits
    bits, sign = bitcast(total, f"s{width}"), bitcast(error, f"s{width}")
    # One towards zero if the error has the other sign; then the last bit set: the odd one of the two around.
    odd = (bits + ((bits ^ sign) >> width - 1)) | 1
    return bitcast(select(fabs(error) > 0.0, odd, bits), total.type)  # the comparison is false for NaN


def to_odd_narrow(x: Any, to: str) -> Any:
    """Toward zero, with the last bit set if anything was lost; the sign of a zero stays."""
    nearest = fconvert(x, to)
    back = fconvert(nearest, x.type)
    bits = bitcast(nearest, "u" + to[1:])
    bits = select(fabs(back) > fabs(x), bits - 1, bits)
    odd = bitcast(select(different(back, x), bits | 1, bits), to)
    return select(isnan(x), float("nan"), odd)
