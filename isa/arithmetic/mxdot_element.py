"""What one lane of a VMXDOTP instruction computes, bit for bit, in the language of ``potluck.isa.arithmetic.element``.

The rules are those of facts vmxdotp §1.5 (rule numbers below): the exact sum of products (``mxdot_sums``),
scaled by ``2^s``, plus the accumulator, rounded once. Everything is done in doubles:

1. ``p = sum * 2^s`` is exact: ``s`` is in -254..256 and the sum has at most 53 bits between 2^-32 and 2^35.
2. ``z`` is ``acc + p`` rounded to 53 bits *to odd*: truncated, with the last bit set if anything was lost
   (two-sum gives the error exactly, since no double here overflows or becomes subnormal). An odd ``z`` is no
   number of fewer bits and no midpoint between two; hence rounding ``z`` to 51 bits or fewer, at any position
   and in any mode, gives what rounding the exact value gives (Boldo and Melquiond 2008). That covers FP32,
   BF16 and their subnormals, whose last bits 2^-149 and 2^-133 lie at or above that of every double in the
   range. When ``acc`` and ``p`` cancel, the sum is exact, its error 0 and ``z`` exact.
3. ``z`` is rounded to the result format.

FP4 into FP32 with nearest-even skips step 2. If ``acc + p`` has more than 53 bits, then, ``acc`` having 24
bits and ``p`` 12, one of the two lies wholly below bit 38 of the other. The nearest double of the sum could
mislead the second rounding only by being a midpoint of FP32: the larger term would have to be a midpoint or
within 2^-53 of one. ``acc`` is never one, ``p`` with its 12 bits neither, except in the subnormal range,
where midpoints are odd multiples of 2^-150: but then ``acc`` >= 2^-149 does not lie below ``p``'s 38th bit.

**Most sums are doubles.** Sums of E4M3 products have at most 39 bits and ``acc`` has 24: seldom does their sum need
more than 53. Where it does not, the host's addition is exact, its conversion to FP32 is the only rounding, and nothing
has to be rounded to odd (:func:`mxdot_mostly`).
"""

from __future__ import annotations

from typing import Any

from potluck.isa.arithmetic.element import bitcast, cast, different, equal, fabs, fconvert, isnan, select
from potluck.isa.arithmetic.mxdot_sums import Specials, specials, sum_of_products, sum_or_nan
from potluck.isa.arithmetic.to_odd import to_odd

NV, OF, UF, NX = 16, 4, 2, 1
_NAN64 = 0x7FF8 << 48
_MINUS_ZERO64 = 1 << 63


def mxdot(
    acc: Any, a: Any, b: Any, sa: Any, sb: Any, mx_format: str, frm: int, bfloat: bool
) -> tuple[Any, Any]:
    """One lane.

    Args:
        acc: the accumulator as f32; a BF16 accumulator widened.
        a: u64 chunk of elements, element 0 in the low bits; ``b`` likewise.
        b: see ``a``.
        sa: E8M0 scale of ``a``, u8; ``sb`` likewise.
        sb: see ``sa``.
        mx_format: "e5m2", "e4m3", "e3m2", "e2m3", "e2m1" or "int8".
        frm: rounding mode 0..4.
        bfloat: round to BF16 instead of FP32.

    Returns:
        The result's FP32 bits (u32; for BF16 the low half is 0), and the flags (u8).
    """
    total = sum_of_products(a, b, mx_format)
    special = specials(a, b, mx_format)
    exponents = cast(sa, "u64") + cast(sb, "u64")  # s + 254
    s = bitcast(exponents, "s64") - 254
    exact_acc = fconvert(acc, "f64")

    # Rule 4a: below this the sum of products does not count. With acc = 0 or subnormal the condition is s <
    # -186 or s < -185; rounding to nearest cannot tell for any other acc than 0, as |p| is below a quarter of
    # its last bit.
    ignored = _rule_4a(acc, s)
    drop = s < -186 if frm == 0 else ignored
    scale = bitcast(select(drop, 0, bitcast((exponents + (1023 - 254 + total.exponent)) << 52, "s64")), "f64")
    p = total.high * scale
    low = None if total.low is None else total.low * scale
    # Rules 4a and 4b keep the sign of a zero acc, rule 4c gives +0. Adding -0 keeps any acc; p = 0 is +0
    # otherwise. For acc = 0, 4b is -116 - s < -24; for any other acc, adding 0 of either sign is the same.
    zero = equal(p, 0.0)
    keep = zero & (drop | (s > -92))
    p = bitcast(select(keep, _MINUS_ZERO64, bitcast(p, "u64")), "f64")
    no_number = equal(sa, 255) | equal(sb, 255)
    p = _inject(p, special, no_number)

    odd = sum_to_odd(exact_acc, p, low)
    once = mx_format == "e2m1" and frm == 0 and not bfloat
    rounded = round_once(exact_acc + p if once else odd, frm, bfloat)
    bits = select(isnan(rounded), 0x7FC00000, bitcast(rounded, "u32"))

    flags = select(ignored, cast(different(total.high, 0.0), "u8"), _finite_flags(odd, rounded))
    return bits, _special_flags(flags, acc, special, no_number)


def mxdot_mostly(acc: Any, a: Any, b: Any, sa: Any, sb: Any) -> tuple[Any, Any]:
    """One lane with E4M3 elements, FP32 accumulator and rounding to nearest even, by few host operations.

    Args:
        acc: see :func:`mxdot`, and so are the others.
        a: ...
        b: ...
        sa: ...
        sb: ...

    Returns:
        The result (f32), and where it may differ from :func:`mxdot`'s (b1); elsewhere it is a number or an infinity.
    """
    exponents = cast(sa, "u64") + cast(sb, "u64")  # s + 254
    scale = (exponents + (1023 - 254)) << 52
    # Rule 4a drops what is below s = -186 also where acc is 0; NaN passes no test below.
    no_number = equal(sa, 255) | equal(sb, 255) | (exponents < 254 - 186)
    scale = bitcast(select(no_number, _NAN64, scale), "f64")
    wide, p = fconvert(acc, "f64"), sum_or_nan(a, b) * scale
    total = wide + p
    # The difference of the total and the larger term is exact (Dekker); it is the smaller one if the total is exact.
    exact = equal(total - wide, p) & equal(total - p, wide)
    minus_zero = equal(bitcast(acc, "u32"), 1 << 31)  # rules 4b and 4c: the sum's sign depends on s
    return fconvert(total, "f32"), ~exact | minus_zero


def _rule_4a(acc: Any, s: Any) -> Any:
    """sh > 70, that is e' - s > 186."""
    bits = bitcast(acc, "u32")
    field = (bits >> 23) & 255
    e = select(equal(field, 0), cast(different(bits & 0x7FFFFFFF, 0), "u32"), field)
    return bitcast(cast(e, "u64"), "s64") - s > 186


def _inject(p: Any, special: Specials | None, no_number: Any) -> Any:
    """The scaled sum, or the infinity or NaN of rules 1 to 3 in its place; plain addition does the rest."""
    nan = no_number
    if special is not None:
        wrong = special.nan
        if special.inf_zero is not None:
            p = select(different(special.positive, 0), float("inf"), p)
            p = select(different(special.negative, 0), p - float("inf"), p)  # inf - inf is NaN
            wrong = wrong | special.inf_zero
        nan = nan | different(wrong, 0)
    return bitcast(select(nan, _NAN64, bitcast(p, "u64")), "f64")


def sum_to_odd(acc: Any, p: Any, low: Any | None = None) -> Any:
    """``acc + p + low`` rounded to odd; not finite if ``acc`` or ``p`` is not."""
    total = acc + p
    other = total - acc
    error = (acc - (total - other)) + (p - other)  # two-sum; NaN if the total is not finite
    if low is not None:
        # E5M2. With u = 2^(s-32): p = high part and low are multiples of u, |low| <= 2^13 u and at most half
        # a last bit of p; low != 0 needs |p| > 2^53 u. Let q be acc's last bit; |acc| < 2^24 q. ``rest``
        # replaces error + low. Where its rounding loses anything, either q >= u and |error| > 2^38 |low|, or
        # q < u and then error = acc, far below low. Either way the exact sum and ``rest`` lie on the same
        # side of ``total``, before its neighbour, and rounding to odd sees no more than that. The fast
        # two-sum wants |total| >= |low|. If not, acc cancels p, so q >= 2^29 u, and everything is a multiple
        # of u below 2^53 u: exact.
        rest = error + low
        rest = select(fabs(rest) > 0.0, rest, -0.0)  # -0 changes no total, and NaN goes
        new = total + rest
        total, error = new, rest - (new - total)
    return to_odd(total, error)


def round_once(z: Any, frm: int, bfloat: bool) -> Any:
    """``z`` rounded to FP32, or to BF16 as an f32, in a rounding mode; NaN stays NaN."""
    nearest = fconvert(_nearest_bfloat(z) if bfloat else z, "f32")
    if frm == 0:
        return nearest
    bits, back = bitcast(nearest, "u32"), fconvert(nearest, "f64")
    step = 1 << 16 if bfloat else 1
    negative = different(bits >> 31, 0)
    outward, inward = bits + step, bits - step
    if frm == 1:
        bits = select(fabs(back) > fabs(z), inward, bits)
    elif frm == 2:
        bits = select(back > z, select(negative, outward, inward), bits)
    elif frm == 3:
        bits = select(back < z, select(negative, inward, outward), bits)
    else:  # a tie went to the even neighbour towards zero: the other one is as near
        size, small = fabs(z), fabs(back)
        large = fabs(fconvert(bitcast(outward, "f32"), "f64"))
        bits = select((small < size) & equal(size - small, large - size), outward, bits)
    return bitcast(bits, "f32")


def _nearest_bfloat(z: Any) -> Any:
    """``z`` rounded to 8 bits, or to a multiple of 2^-133, ties to even; beyond the range 2^128 and more.

    Adding and subtracting 1.5 * 2^(e+45), whose last bit is 2^(e-7), rounds at that bit.
    """
    e = bitcast(z, "s64") & (0x7FF << 52)
    low, high = (1023 - 126) << 52, (1023 + 400) << 52  # not into infinity for an infinite z
    e = select(e < low, low, e)
    e = select(e > high, high, e)
    magic = bitcast(e + ((45 << 52) + (1 << 51)), "f64")
    rounded = bitcast((z + magic) - magic, "u64")
    return bitcast(rounded | (bitcast(z, "u64") & (1 << 63)), "f64")  # the sign of a zero


def _finite_flags(z: Any, rounded: Any) -> Any:
    """Flags of a rounding; for finite ``z``."""
    size = fabs(fconvert(rounded, "f64"))
    inexact = different(size, fabs(z))
    overflow = (size > 2.0**128 * (1 - 2.0**-25)) | (fabs(z) >= 2.0**128)
    tiny = (size < 2.0**-126) & inexact
    return select(inexact, select(overflow, OF | NX, select(tiny, UF | NX, cast(inexact, "u8"))), 0)


def _special_flags(flags: Any, acc: Any, special: Specials | None, no_number: Any) -> Any:
    """Rules 1 to 3: the finite flags count only where nothing special stands."""
    bits = bitcast(acc, "u32")
    size = bits & 0x7FFFFFFF
    acc_inf, acc_nan = equal(size, 0x7F800000), size > 0x7F800000
    invalid = acc_nan & (size < 0x7FC00000)
    unusual = (size >= 0x7F800000) | no_number
    if special is not None:
        nan = acc_nan | no_number | different(special.nan, 0)
        unusual = unusual | nan
        if special.positive is not None:
            negative = different(bits >> 31, 0)
            plus, minus = different(special.positive, 0), different(special.negative, 0)
            opposite = (plus & minus) | (acc_inf & ((plus & negative) | (minus & ~negative)))
            invalid = invalid | different(special.invalid | special.signalling, 0) | (opposite & ~nan)
            unusual = unusual | plus | minus
    flags = select(unusual, 0, flags)
    return select(invalid, NV, flags)
