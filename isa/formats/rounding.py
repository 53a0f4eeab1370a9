"""Correct rounding of binary32 and binary64 arrays into any declared format, by integer arithmetic on codes.

Policies where the sources (OCP MX v1.0, OCP OFP8 v1.0, IEEE 754-2019) leave a choice:

* NaN gives the canonical quiet NaN, positive (RISC-V); in FP6, FP4 and INT8, which have none, +max_normal
  (the ONNX documentation's table for FLOAT4E2M1; ml_dtypes gives -0 there).
* Beyond max_normal, saturating: max_normal with the sign, infinities included (OFP8 saturating mode).
* Beyond max_normal, not saturating: as the rounding mode says (IEEE 754 section 7.4), and where infinity is
  due but absent: NaN (E4M3; here, positive), else max_normal with the sign (FP6, FP4, INT8).
* Zero and underflow keep their sign, except in INT8.
* INT8 is symmetric: -2.0 (0x80) can be decoded but is never produced (OCP MX v1.0 section 5.3
  allows this).
* E8M0: NaN, infinities and negative values give NaN (0xFF); zero and underflow give 0 (2^-127, as onnx;
  ml_dtypes makes zero NaN); beyond 2^127 saturating gives 254, else NaN. RNE ties go up, since the
  significand 1 is odd (ml_dtypes does the same).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError

if TYPE_CHECKING:
    from potluck.isa.formats.elements import ElementFormat

Codes = NDArray[np.unsignedinteger[Any]]
"""Codes of some format, one per array element."""

Rounding = Literal["rne", "rtz", "rdn", "rup", "rmm"]
"""A rounding mode by its RISC-V name."""
ROUNDINGS: tuple[Rounding, ...] = ("rne", "rtz", "rdn", "rup", "rmm")
"""The rounding modes in the order of their ``frm`` encoding."""


def encode(fmt: ElementFormat, values: ArrayLike, rounding: Rounding, saturate: bool) -> Codes:
    """Codes of values in ``fmt``; see `ElementFormat.encode`."""
    if rounding not in ROUNDINGS:
        raise DataError(f"unknown rounding mode {rounding!r}", hint=f"Use one of {', '.join(ROUNDINGS)}")
    given = np.asarray(values)
    if given.size > _CHUNK:  # temporaries that stay in cache are three times as fast
        x = np.ascontiguousarray(given).reshape(-1)
        codes = np.empty(x.size, dtype=fmt.code_dtype)
        for start in range(0, x.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            codes[part] = _encode(fmt, x[part], rounding, saturate)
    else:
        codes = _encode(fmt, given.reshape(-1), rounding, saturate)
    return codes.reshape(given.shape)


_CHUNK = 1 << 15


def _encode(fmt: ElementFormat, given: NDArray[Any], rounding: Rounding, saturate: bool) -> Codes:
    """`encode` of a one-dimensional array."""
    wide = given.dtype != np.float32 or fmt.kind == "scale"  # E8M0 reaches into FP32's subnormals
    src_mantissa, src_bias = (52, 1023) if wide else (23, 127)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        x = np.ascontiguousarray(given, dtype=np.float64 if wide else np.float32)
    bits: NDArray[Any] = x.view(np.int64 if wide else np.int32)

    sign = bits < 0
    magnitude = bits & np.iinfo(bits.dtype).max
    field = magnitude >> src_mantissa
    exponent = np.maximum(field, 1) - src_bias
    hidden = np.minimum(field, 1) << src_mantissa
    significand = (magnitude & ((1 << src_mantissa) - 1)) | hidden

    emin = -fmt.bias if fmt.kind == "scale" else 1 - fmt.bias
    # From src_mantissa + 2 on, every shift leaves the same: quotient 0 and a remainder below one half.
    shift = np.maximum(emin - exponent, 0) + (src_mantissa - fmt.mantissa_bits)
    shift = np.minimum(shift, src_mantissa + 2)
    quotient = significand >> shift
    remainder = significand - (quotient << shift)
    quotient += _round_up(rounding, sign, quotient, remainder, shift)
    # The quotient's hidden bit adds the one that separates field 0 (subnormal) from field 1, and a carry out
    # of the mantissa moves on into the exponent field.
    code = ((np.maximum(exponent, emin) - emin) << fmt.mantissa_bits) + quotient
    if fmt.kind == "scale":
        code = np.maximum(code - 1, 0)  # code 0 is no subnormal but 2^-bias

    special = (2 * src_bias + 1) << src_mantissa
    is_nan, is_inf = magnitude > special, magnitude == special
    over = (code > fmt.max_code) | is_inf
    if over.any():
        code = np.where(over, _overflow(fmt, rounding, saturate, sign, is_inf), code)
    negative = sign & ~is_nan
    if fmt.kind == "scale":
        code = np.where(is_inf | (sign & (magnitude > 0)), fmt.magnitude_mask, code)
    elif fmt.nan_code is not None:
        negative &= code != fmt.nan_code if fmt.nan == "all_ones" else True
    code = np.where(is_nan, fmt.max_code if fmt.nan_code is None else fmt.nan_code, code)
    codes: Codes = code.astype(fmt.code_dtype)
    if fmt.kind == "int":
        codes = np.where(negative, -codes, codes)  # modulo 2^8
    else:
        codes |= np.where(negative, fmt.code_dtype.type(fmt.sign_mask), fmt.code_dtype.type(0))
    return codes


def _overflow(
    fmt: ElementFormat, rounding: Rounding, saturate: bool, sign: NDArray[np.bool_], is_inf: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Magnitude codes for values beyond max_normal."""
    beyond = fmt.max_code if fmt.nan_code is None else fmt.nan_code
    beyond = fmt.max_code if saturate else fmt.inf_code if fmt.has_inf else beyond
    away = is_inf
    if rounding in ("rne", "rmm"):
        away = np.ones_like(sign)
    elif rounding != "rtz":
        away = is_inf | (sign if rounding == "rdn" else ~sign)
    return np.where(away, np.int64(beyond), np.int64(fmt.max_code))


def _round_up(
    rounding: Rounding,
    sign: NDArray[np.bool_],
    quotient: NDArray[Any],
    remainder: NDArray[Any],
    shift: NDArray[Any],
) -> NDArray[np.bool_]:
    """Whether the magnitude ``quotient`` grows by one; ``remainder`` are the ``shift`` bits cut off."""
    if rounding == "rtz":
        return np.zeros_like(sign)
    if rounding in ("rdn", "rup"):
        return np.asarray((sign if rounding == "rdn" else ~sign) & (remainder != 0))
    # remainder + half reaches one unit; RNE asks for a bit more where the quotient is even.
    tie_up = 1 if rounding == "rmm" else quotient & 1
    return np.asarray((remainder << 1) + tie_up > np.ones_like(shift) << shift)
