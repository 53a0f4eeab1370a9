"""NumPy contract of one VMXDOTP lane: exact sum of products, scales in the exponent, one rounding.

The rules, their priorities and flags are those of the VMXDOTP fact sheet section 1.5, which reproduces the
authors' RTL; `tests/reference/mxdot_exact.py` says the same on exact integers.

**Why double precision gives the exact result.** Write v = acc + (P + Q) * 2^s.

1. *P and Q are exact doubles.* In all formats but E5M2 every product is a multiple of 2^-18 and 8 (16) of
   them stay below 2^21: 39 bits, so P is their sum and Q = 0. E5M2 products are multiples of 2^-32 up to 2^31.6
   and need 67 bits. There P takes the a_j with |a_j| >= 1 (multiples of 1/4, so the products are multiples
   of 2^-18 and their sum stays below 8 * 57344^2 < 2^35: 53 bits) and Q the others (products are multiples
   of 2^-32, sum below 8 * 57344 < 2^19: 51 bits). Every partial sum obeys the same bounds, so the order is
   irrelevant.
2. *Scaling is exact.* |s| <= 254, so no double comes near its overflow or subnormals.
3. *Three terms become one.* TwoSum (Knuth) gives u + w = P + Q and t + e = acc + u exactly. RO is rounding
   to odd at 53 bits: an inexact result is the neighbour with the odd significand. RO(t + RO(e + w)) equals
   RO(t + e + w): if e + w is itself a double, trivially. Otherwise e != 0, hence no cancellation in t by
   more than half (Sterbenz), |t| >= |u| / 2 and |e + w| <= 1.5 ulp(t); the doubles near t are t plus small
   multiples of ulp(t) / 2, numbers with even significands, and RO is monotonic and never moves an inexact
   value onto an even one, so it leaves e + w strictly between the same two of them.
4. *One rounding in effect.* A value rounded to odd at p + 2 or more bits rounds to p bits, in any mode and
   with any subnormal limit, as the exact value does (Boldo and Melquiond, "Emulation of FMA and correctly
   rounded sums", IEEE TC 2008). Here p <= 24, and an odd 53-bit number is never a p-bit number, so
   comparing the result with it gives NX.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError
from potluck.isa.formats.elements import BF16, E2M1, E2M3, E3M2, E4M3, E5M2, FP32, INT8, ElementFormat
from potluck.isa.formats.rounding import ROUNDINGS, Codes, Rounding

NV, DZ, OF, UF, NX = 16, 8, 4, 2, 1
"""Bits of ``fflags``."""

AccFormat = Literal["fp32", "bf16"]
ElementName = Literal["e5m2", "e4m3", "e2m1", "e3m2", "e2m3", "int8"]
CHUNK_ELEMENTS: dict[ElementName, int] = {"e5m2": 8, "e4m3": 8, "e2m1": 16, "e3m2": 8, "e2m3": 8, "int8": 8}
"""Elements in one 64-bit operand, by element format. The instructions reach the first three; the unit in `rtl/`
has the others by parameter, FP6 with one element in the low bits of each byte."""
_ELEMENTS: dict[ElementName, ElementFormat] = {
    "e5m2": E5M2, "e4m3": E4M3, "e2m1": E2M1, "e3m2": E3M2, "e2m3": E2M3, "int8": INT8,
}  # fmt: skip
_ACCS: dict[AccFormat, ElementFormat] = {"fp32": FP32, "bf16": BF16}

_F64 = NDArray[np.float64]
_U8 = NDArray[np.uint8]
_SCALE = np.ldexp(1.0, np.arange(256) - 127)
_SCALE[255] = np.nan  # a NaN scale then makes its lane NaN by itself
_BATCH = 1 << 13  # lanes per step, so that temporaries stay in the cache

# What the elements of one lane hold, as bits: the inputs of rules 1 to 3.
_NAN, _SIGNALLING, _INF_ZERO, _POS_INF, _NEG_INF = 1, 2, 4, 8, 16


def mxdot(
    acc: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    sa: ArrayLike,
    sb: ArrayLike,
    fmt: ElementName,
    acc_format: AccFormat = "fp32",
    frm: Rounding = "rne",
) -> tuple[Codes, _U8]:
    """``acc + 2^(sa-127) * 2^(sb-127) * sum_j a_j * b_j``, rounded once, for every lane.

    All leading dimensions broadcast against each other.

    Args:
        acc: Accumulator bits [...], uint32 (FP32) or uint16 (BF16).
        a: Element codes [..., k], unpacked, k = 8 (FP8) or 16 (FP4).
        b: As ``a``.
        sa: E8M0 codes [...] of ``a``.
        sb: E8M0 codes [...] of ``b``.
        fmt: Element format of both operands.
        acc_format: Format of accumulator and result.
        frm: Rounding mode.

    Returns:
        Result bits [...] of ``acc``'s type, and uint8 [...] with each lane's fflags (an instruction accrues
        their union).

    Raises:
        DataError: Unknown format or mode, or k that is not that of one 64-bit operand.
    """
    if fmt not in _ELEMENTS or acc_format not in _ACCS or frm not in ROUNDINGS:
        raise DataError(
            f"no VMXDOTP form with elements {fmt!r}, accumulator {acc_format!r} and rounding {frm!r}",
            hint=f"Use {'/'.join(_ELEMENTS)}, {'/'.join(_ACCS)} and {'/'.join(ROUNDINGS)}",
        )
    form, k = _ACCS[acc_format], CHUNK_ELEMENTS[fmt]
    lanes = [np.asarray(acc, form.code_dtype), np.asarray(sa, np.uint8), np.asarray(sb, np.uint8)]
    rows = [np.asarray(a, np.uint8), np.asarray(b, np.uint8)]
    if any(x.shape[-1:] != (k,) for x in rows):
        raise DataError(
            f"operands of shape {list(rows[0].shape)} and {list(rows[1].shape)}",
            hint=f"The last axis holds the {k} {fmt} elements of one 64-bit operand",
        )
    shape = np.broadcast_shapes(*(x.shape for x in lanes), *(x.shape[:-1] for x in rows))
    lanes = [np.broadcast_to(x, shape).reshape(-1) for x in lanes]
    rows = [np.broadcast_to(x, (*shape, k)).reshape(-1, k) for x in rows]
    result = np.empty(lanes[0].shape, dtype=form.code_dtype)
    flags = np.empty(lanes[0].shape, dtype=np.uint8)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        for start in range(0, result.size, _BATCH):
            part = slice(start, start + _BATCH)
            sums = _sum_of_products(rows[0][part], rows[1][part], _ELEMENTS[fmt])
            bits, scale_a, scale_b = (x[part] for x in lanes)
            result[part], flags[part] = _accumulate(bits, scale_a, scale_b, *sums, form, frm)
    return result.reshape(shape), flags.reshape(shape)


def _sum_of_products(a: _U8, b: _U8, fmt: ElementFormat) -> tuple[_F64, _F64 | None, _U8 | None]:
    """P and Q of the module's text, and what special elements each lane holds.

    Returns:
        P [n]; Q [n] or None for 0; bits of `_NAN` and the like [n], or None for none. P of a lane with E4M3
        NaNs is NaN; E5M2's special elements count as 0 in P and Q and stand in the bits alone.
    """
    va, vb = fmt.decode(a), fmt.decode(b)
    if fmt.bits <= 6 or fmt is INT8:  # at most 21 bits (E3M2: multiples of 2^-8 below 2^13): exact in FP32
        return np.einsum("nk,nk->n", va, vb).astype(np.float64), None, None
    if fmt is E4M3:  # 8-bit significands make every product exact in FP32, but not their sum
        return np.einsum("nk->n", va * vb, dtype=np.float64), None, None
    special = None
    if not (np.isfinite(va).all() and np.isfinite(vb).all()):
        special = _classify(a, b, va, vb)
        va, vb = np.where(np.isfinite(va), va, 0), np.where(np.isfinite(vb), vb, 0)
    large = np.where(np.abs(va) >= 1, va, 0)
    p = np.einsum("nk->n", large * vb, dtype=np.float64)
    q = np.einsum("nk->n", (va - large) * vb, dtype=np.float64)
    return p, q, special


def _classify(a: _U8, b: _U8, va: NDArray[np.float32], vb: NDArray[np.float32]) -> _U8:
    """Special elements and products of E5M2 lanes as bits; codes and values [n, k] give uint8 [n]."""
    product = va * vb
    nan = np.isnan(va) | np.isnan(vb)
    quiet = 1 << (E5M2.mantissa_bits - 1)
    signalling = (np.isnan(va) & (a & quiet == 0)) | (np.isnan(vb) & (b & quiet == 0))
    bits = np.where(nan, _NAN, 0) | np.where(signalling, _SIGNALLING, 0)
    bits |= np.where(np.isnan(product) & ~nan, _INF_ZERO, 0)
    bits |= np.where(product == np.inf, _POS_INF, 0) | np.where(product == -np.inf, _NEG_INF, 0)
    return np.asarray(np.bitwise_or.reduce(bits, axis=-1), dtype=np.uint8)


def _accumulate(
    acc: Codes,
    sa: _U8,
    sb: _U8,
    p: _F64,
    q: _F64 | None,
    special: _U8 | None,
    form: ElementFormat,
    frm: Rounding,
) -> tuple[Codes, _U8]:
    """Scaling, addition, the one rounding and the flags; all arrays [n]."""
    scale = _SCALE[sa] * _SCALE[sb]
    value = form.decode(acc).astype(np.float64)
    if q is None:
        u = p * scale
        exact = _to_odd(*_two_sum(value, u))
    else:
        u, w = _two_sum(p * scale, q * scale)
        t, e = _two_sum(value, u)
        exact = _to_odd(*_two_sum(t, _to_odd(*_two_sum(e, w))))
    exact += 0.0  # an exact zero is +0 in every rounding mode
    if form is FP32 and frm == "rne":
        result: Codes = exact.astype(np.float32).view(np.uint32)
    else:
        result = form.encode(exact, frm, saturate=False)

    rounded = form.decode(result).astype(np.float64)
    tiny = (result & np.array(form.inf_code, form.code_dtype)) == 0
    flags = np.where(rounded != exact, np.where(tiny, np.uint8(UF | NX), np.uint8(NX)), np.uint8(0))
    # Where a directed mode stops at max_normal, the result with unbounded exponent is 2^128 or more.
    flags[(np.abs(rounded) == np.inf) | (np.abs(exact) >= 2.0**128)] = OF | NX

    # Rules 4a and 4b: the accumulator passes untouched.
    field = (acc >> form.mantissa_bits).astype(np.int32) & 0xFF
    field += (field == 0) & (value != 0)
    shift = field + (11 - 127 + 254) - sa - sb
    far = shift > 70
    keep = far | ((shift < -24) & (u == 0))
    if keep.any():
        result = np.where(keep, acc, result)
        flags = np.where(keep, np.where(far & (u != 0), np.uint8(NX), np.uint8(0)), flags)

    odd_ones = ~np.isfinite(u) | ~np.isfinite(value)
    if special is not None:
        odd_ones |= special != 0
    where = np.flatnonzero(odd_ones)
    if where.size:
        bits = np.zeros(where.size, np.uint8) if special is None else special[where]
        result[where], flags[where] = _specials(acc[where], value[where], np.isnan(u[where]), bits, form)
    return result, flags


def _specials(
    acc: Codes, value: _F64, other_nan: NDArray[np.bool_], bits: _U8, form: ElementFormat
) -> tuple[Codes, _U8]:
    """Rules 1 to 3: NaN and infinite lanes; ``other_nan`` are NaN scales and quiet NaN elements."""
    quiet = np.array(1 << (form.mantissa_bits - 1), form.code_dtype)
    signalling = (np.isnan(value) & (acc & quiet == 0)) | (bits & _SIGNALLING != 0)
    nan = np.isnan(value) | other_nan | (bits & _NAN != 0)
    positive = (value == np.inf) | (bits & _POS_INF != 0)
    negative = (value == -np.inf) | (bits & _NEG_INF != 0)
    inf_zero = bits & _INF_ZERO != 0
    invalid = inf_zero | signalling | (~nan & positive & negative)
    infinity = np.where(positive, form.inf_code, form.inf_code | form.sign_mask)
    result = np.where(nan | invalid, form.nan_code or 0, infinity).astype(form.code_dtype)
    return result, np.where(invalid, NV, 0).astype(np.uint8)


def _two_sum(x: _F64, y: _F64) -> tuple[_F64, _F64]:
    """Knuth's TwoSum: the rounded sum and its error, exactly."""
    s = x + y
    yy = s - x
    return s, (x - (s - yy)) + (y - yy)


def _to_odd(s: _F64, error: _F64) -> _F64:
    """``s + error`` rounded to odd, for a TwoSum pair."""
    bits: NDArray[Any] = s.view(np.int64)
    # To the odd neighbour on the error's side: away from zero if the error has the sum's sign.
    step = np.where((error > 0) == (s > 0), np.int64(1), np.int64(-1))
    step[(error == 0) | (bits & 1 == 1)] = 0
    return np.asarray((bits + step).view(np.float64))
