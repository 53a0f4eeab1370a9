"""The exact sum of products of two 64-bit chunks of MX elements, in the language of ``potluck.isa.arithmetic.element``.

Nothing here crosses SIMD lanes: every element is cut out of its 64-bit lane by shifts and becomes a double
(FP8) or a digit of an integer (FP4) in the same lane. Facts vmxdotp §1.2 and §6 give the layouts and formats.

**FP8.** Sign, exponent and mantissa bits of a byte, moved to the places of a double's, are the double ``x *
2^(bias-1023)``: subnormal elements become subnormal doubles, so no case distinction is needed. ``b`` stays so
(raw), ``a`` is multiplied by ``2^(1023-bias)`` or more, which is exact, and one product of both is ``a*b *
2^(bias-1023)`` or more. All sums below are multiples of ``2^-1040`` or more, above the smallest double ``2^-1074``,
and their width is below 53 bits, so that every fused multiply-add is exact and the order does not matter. The
host must not flush subnormals to zero (MXCSR FTZ and DAZ clear, the default).

* FP6: a code with its sign moved to the byte's top is a byte with a short exponent, and goes as E4M3 does.
* INT8: eight products of integers, in units of 2^-12.
* E4M3: a product is a multiple of 2^-18 and at most 448^2 < 2^17.7; eight of them span 39 bits.
* E5M2: a product is a multiple of 2^-32, eight of them sum to less than 2^34.7: 67 bits, too many. So ``a``
  is split by the top exponent bit. ``|a| >= 2``: multiples of 2^-1 times multiples of 2^-16, below 2^34.7: 52
  bits. ``|a| < 2``: multiples of 2^-32 below 8 * 2 * 57344 < 2^20: 52 bits.

**FP4.** Twice an E2M1 value is an integer of at most 12. Sixteen products take four 64-bit integer
multiplications: four elements of ``a`` as base-2^16 digits times four elements of ``b`` as digits in the
opposite order have the dot product of the four as digit 3, the top digit modulo 2^64. The digits below sum to
less than 2^43 in magnitude, so adding 2^47 before the shift undoes their borrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from potluck.isa.arithmetic.element import bitcast, different, fma, select, to_float


def every(byte: int) -> int:
    """The 64-bit number with ``byte`` in each of its bytes."""
    return byte * 0x0101010101010101


@dataclass(frozen=True)
class Sum:
    """The exact sum of products ``(high + low) * 2^exponent``; f64 values, a zero sum is +0.

    ``low`` is None if the sum fits one double, else ``high`` is the nearest double to the sum.
    """

    high: Any
    low: Any | None
    exponent: int


def sum_of_products(a: Any, b: Any, mx_format: str) -> Sum:
    """Exact sum of the products of finite elements; special elements count as some finite number."""
    if mx_format == "int8":
        return _sum_int8(a, b)
    if mx_format in _NARROW:
        return _sum_narrow(a, b, *_NARROW[mx_format])
    return _sum_e5m2(a, b) if mx_format == "e5m2" else _sum_e2m1(a, b)


def _raw(x: Any, j: int, mantissa: int) -> Any:
    """Bits (s64) of element ``j`` as a double whose value is too small by ``2^(1023-bias)``."""
    up = x if j == 7 else x << (56 - 8 * j)
    # The arithmetic shift moves the seven bits from 62:56 down to the mantissa's place while the sign stays.
    keep = -(1 << 63) | 0x7F << (52 - mantissa)
    return (bitcast(up, "s64") >> (4 + mantissa)) & keep


_NARROW = {"e4m3": (3, 7), "e2m3": (3, 1), "e3m2": (2, 3)}
"""Bits of mantissa and bias of the formats whose sums fit one double."""


def _sum_narrow(a: Any, b: Any, mantissa: int, bias: int) -> Sum:
    if bias != 7:
        a, b = _fp6_as_bytes(a), _fp6_as_bytes(b)
    left, right = ([_raw(x, j, mantissa) for j in range(8)] for x in (a, b))
    return _sum_of_raw(left, right, bias)


def _sum_of_raw(a: list[Any], b: list[Any], bias: int) -> Sum:
    parts: list[Any] = [0.0, 0.0]  # two chains, for the host's instruction-level parallelism
    for j, (x, y) in enumerate(
        zip(a, b, strict=True)
    ):  # by more than a's unit: the host is slow at subnormal sums
        parts[j % 2] = fma(bitcast(x, "f64") * 2.0**1023 * 2.0**64, bitcast(y, "f64"), parts[j % 2])
    return Sum((parts[0] + parts[1]) * 2.0 ** (959 - 2 * bias), None, 0)


def sum_or_nan(a: Any, b: Any) -> Any:
    """The exact sum of eight E4M3 products (f64); NaN if an element is NaN."""
    raw = []
    for x in (a, b):
        elements = [_raw(x, j, 3) for j in range(8)]
        nan = different(((x & every(0x7F)) + every(1)) & every(0x80), 0)  # as in specials
        elements[0] = select(nan, 0x7FF8 << 48, elements[0])
        raw.append(elements)
    return _sum_of_raw(raw[0], raw[1], 7).high


def _fp6_as_bytes(x: Any) -> Any:
    """Six-bit codes with their sign in the top bit of the byte."""
    return x & every(0x1F) | (x & every(0x20)) << 2


def _sum_int8(a: Any, b: Any) -> Sum:
    total: Any = None
    for j in range(8):
        x, y = (bitcast(v << 56 - 8 * j, "s64") >> 56 for v in (a, b))
        total = x * y if total is None else total + x * y
    return Sum(to_float(total, "f64"), None, -12)


def _sum_e5m2(a: Any, b: Any) -> Sum:
    unit = 2.0 ** (1023 - 15)
    high: Any = None
    low: Any = None
    for j in range(8):
        bits = _raw(a, j, 2)
        large = (bits << 7) >> 63  # bit 56 is the top exponent bit: all ones where |a| >= 2
        x = bitcast(bitcast(bits, "f64") * unit, "s64")
        y = bitcast(_raw(b, j, 2), "f64")
        high = fma(bitcast(x & large, "f64"), y, 0.0 if high is None else high)
        low = fma(bitcast(x & ~large, "f64"), y, 0.0 if low is None else low)
    # Fast two-sum. It wants |high| >= |low|; otherwise |high| < 2^20 as well, both are multiples of 2^-32,
    # and the sum is exact in 53 bits, so that the error below comes out as 0.
    total = high + low
    return Sum(total * unit, (low - (total - high)) * unit, 0)


def _sum_e2m1(a: Any, b: Any) -> Sum:
    half = a >> 32 | a << 32  # a's 16-bit parts in the opposite order
    turned = ((half >> 16) & 0x0000FFFF0000FFFF) | ((half << 16) & 0xFFFF0000FFFF0000)
    products: Any = None
    for x, y in zip(_digits(turned), _digits(b), strict=True):
        products = x * y if products is None else products + x * y
    dot = bitcast(products + (1 << 47), "s64") >> 48
    return Sum(to_float(dot, "f64"), None, -2)


def _digits(x: Any) -> list[Any]:
    """Four u64: base-2^16 numbers whose signed digits are twice the elements g, g+4, g+8, g+12."""
    # Twice the magnitude of s e1 e0 m is 000m, 001m, 01m0, 1m00 for exponents 0 to 3, bit by bit in each
    # nibble:
    left, left2, right = x << 1, x << 2, x >> 1
    bit0 = x & ~(x >> 2) & every(0x11)
    bit1 = ((x & ~right) | (right & ~x & left)) & every(0x22)
    bit2 = x & (~left | left2) & every(0x44)
    bit3 = left & left2 & every(0x88)
    magnitude = bit0 | bit1 | bit2 | bit3
    sign = x & every(0x88)
    negative = sign | (sign - (sign >> 3))  # all four bits of a negative nibble
    minus, plus = magnitude & negative, magnitude & ~negative
    digit = 0x000F000F000F000F
    return [((plus >> 4 * g) & digit) - ((minus >> 4 * g) & digit) for g in range(4)]


@dataclass(frozen=True)
class Specials:
    """Where special elements stand: u64 masks with the top bit of each byte; E4M3 fills only ``nan``.

    ``inf_zero`` also holds NaN times zero. ``signalling`` are the signalling NaNs, ``positive`` and
    ``negative`` infinite products (with garbage where there is a NaN, too).
    """

    nan: Any
    inf_zero: Any = None
    invalid: Any = None
    signalling: Any = None
    positive: Any = None
    negative: Any = None


def specials(a: Any, b: Any, mx_format: str) -> Specials | None:
    """NaN and infinite elements; None for FP4, FP6 and INT8, which have neither (facts vmxdotp §6)."""
    if mx_format not in ("e5m2", "e4m3"):
        return None
    x, y, top = a & every(0x7F), b & every(0x7F), every(0x80)
    if mx_format == "e4m3":  # OCP: only S.1111.111 is NaN; adding 1 carries into the top bit just there
        return Specials(((x + every(1)) | (y + every(1))) & top)
    special_a, special_b = x + every(4), y + every(4)  # top bit: exponent 31
    nan_a, nan_b = x + every(3), y + every(3)  # top bit: above the infinity 0x7C
    zero_a, zero_b = top - x, top - y  # top bit: zero; no borrow crosses a byte, as 0x80 >= x
    inf = (special_a | special_b) & top
    sign = a ^ b
    return Specials(
        nan=(nan_a | nan_b) & top,
        inf_zero=((special_a & zero_b) | (special_b & zero_a)) & top,
        invalid=((special_a & ~nan_a & zero_b) | (special_b & ~nan_b & zero_a)) & top,
        # The only signalling NaN is 0x7D: NaN, and not 0x7E or 0x7F.
        signalling=((nan_a & ~(x + every(2))) | (nan_b & ~(y + every(2)))) & top,
        positive=inf & ~sign,
        negative=inf & sign,
    )
