"""The one rounding: an unrounded number to a code of a binary format, in any mode, with exact flags.

An unrounded number is ``(-1)^negative * significand * 2^(exponent - 60)`` with bit 60 the significand's first one, so
that ``exponent`` is that of the number; bits beyond what fits are one *sticky* bit, the last, which says that
something follows. That is all a rounding needs (IEEE 754-2019 section 4.3; unprivileged specification section 20.2:
tininess is detected after rounding).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from potluck.isa.arithmetic.element import bitcast, cast, clz, different, equal, select
from potluck.isa.arithmetic.floating import NX, OF, RDN, RMM, RNE, RTZ, TO_ODD, UF, Format, raised

TOP = 60
"""Place of a significand's first one."""
NO_EXPONENT = -6000
"""Exponent to give with a zero significand: below that of any number."""


@dataclass(frozen=True)
class Unrounded:
    """A number before its rounding; see the module text.

    Attributes:
        negative: b1.
        significand: u64, 0 or with bit 60 set and no higher one.
        exponent: s64, at most ``NO_EXPONENT`` for a zero significand.
    """

    negative: Any
    significand: Any
    exponent: Any


def from_double(x: Any) -> Unrounded:
    """A finite double as it is; codes that are not finite give something that may be rounded but means nothing."""
    bits = bitcast(x, "u64")
    field = bitcast((bits >> 52) & 0x7FF, "s64")
    fraction = bits & ((1 << 52) - 1)
    normal = field > 0
    # A subnormal double lies far below every narrower format: its first one need not stand at bit 60.
    significand = (fraction | (cast(normal, "u64") << 52)) << (TOP - 52)
    return Unrounded(bitcast(bits, "s64") < 0, significand, select(normal, field, 1) - 1023)


def from_integer(x: Any) -> Unrounded:
    """An integer of any width and sign."""
    negative = cast(x, "s64") < 0 if x.type.kind == "s" else equal(x, 0) & different(x, 0)
    wide = cast(x, "u64")
    size = select(negative, 0 - wide, wide)
    zeros = clz(size)
    lifted = size << (zeros & 63)
    significand = (lifted >> (63 - TOP)) | cast(different(lifted & ((1 << 63 - TOP) - 1), 0), "u64")
    exponent = select(equal(size, 0), NO_EXPONENT, 63 - bitcast(zeros, "s64"))
    return Unrounded(negative, significand, exponent)


def round_pack(number: Unrounded, to: Format, frm: int) -> tuple[Any, Any]:
    """The code in ``to`` (u64) and the flags (u8) of a number rounded in mode ``frm`` (0..4, or ``TO_ODD``)."""
    negative, significand, exponent = number.negative, number.significand, number.exponent
    normal_shift = TOP - to.mantissa
    deficit = to.least - exponent
    deficit = select(deficit > 0, deficit, 0)
    shift = deficit + normal_shift
    # Two places below the last bit is the same as any further: more than nothing, less than a half.
    shift = bitcast(select(shift > TOP + 2, TOP + 2, shift), "u64")
    code = significand >> shift
    unit = (significand * 0 + 1) << shift
    rest = significand & (unit - 1)
    inexact = different(rest, 0)

    biased = exponent - to.least
    biased = select(biased > 0, biased, 0)
    biased = select(biased > 2 * to.bias + 1, 2 * to.bias + 1, biased)
    if frm == TO_ODD:
        code = code | cast(inexact, "u64")
    elif frm != RTZ:
        code = code + cast(_away(frm, negative, code, rest, unit), "u64")
    code = code + (
        bitcast(biased, "u64") << to.mantissa
    )  # the hidden bit adds the 1 that normal exponents have

    overflow = code >= to.infinity
    code = select(overflow, _beyond(frm, negative, code, to), code)
    tiny = (exponent < to.least) & ~_reaches_normal(frm, number, to)
    flags = raised((overflow, OF | NX), (inexact & tiny, UF | NX), (inexact, NX))
    return code | cast(negative, "u64") << to.bits - 1, flags


def _away(frm: int, negative: Any, code: Any, rest: Any, unit: Any) -> Any:
    """Whether a magnitude grows by one, given what was cut off it."""
    if frm == RNE:
        return rest + rest + (code & 1) > unit
    if frm == RMM:
        return rest + rest >= unit
    some = different(rest, 0)
    return some & negative if frm == RDN else some & ~negative


def _beyond(frm: int, negative: Any, code: Any, to: Format) -> Any:
    """Where overflow goes: infinity or the largest number."""
    infinity = code * 0 + to.infinity
    if frm in (RNE, RMM):
        return infinity
    if frm in (RTZ, TO_ODD):
        return infinity - 1
    outward = negative if frm == RDN else ~negative
    return select(outward, infinity, to.infinity - 1)


def _reaches_normal(frm: int, number: Unrounded, to: Format) -> Any:
    """Whether a number below the least normal one would round up to it if exponents had no lower bound."""
    last = 1 << TOP - to.mantissa
    limit = 1 << TOP + 1
    near = equal(number.exponent, to.least - 1)
    if frm in (RNE, RMM):
        return near & (number.significand >= limit - last // 2)
    if frm in (RTZ, TO_ODD):
        return near & ~near
    outward = number.negative if frm == RDN else ~number.negative
    return near & outward & (number.significand > limit - last)
