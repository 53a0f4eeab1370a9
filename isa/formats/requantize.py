"""Requantization: from an int32 accumulator to an 8-bit activation, by three published laws.

``ort_float_rne``: onnxruntime's QLinearConv and QLinearMatMul (MLAS): the accumulator becomes FP32 (rounded to
nearest even above 2^24), is multiplied by an FP32 factor, clipped, rounded to nearest even.

``tflite_single``: ruy and hardware after PoTAcc's PPU: a 64-bit product with a Q31 multiplier, one rounding shift, ties
towards plus infinity, saturated to 32 bits.

``tflite_double``: gemmlowp, TFLite's reference kernels and TFLM: a doubling high product rounded to nearest, then
another rounding shift with ties away from zero.

All arrays broadcast; multipliers and shifts are usually one per output channel.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError

I32 = NDArray[np.int32]
Requantization = Literal["ort_float_rne", "tflite_single", "tflite_double"]
"""The law by which accumulators become activations."""
REQUANTIZATIONS: tuple[Requantization, ...] = ("ort_float_rne", "tflite_single", "tflite_double")


def quantize_multiplier(real: ArrayLike, *, single: bool = False) -> tuple[I32, I32]:
    """A real factor as Q31 multiplier m and exponent: real = m 2^(shift - 31), m in [2^30, 2^31) (TFLite).

    Args:
        real: Factors of 0 or more, double precision.
        single: Saturate shifts above 30, as builds with one rounding do.

    Returns:
        (m, shift), int32. Factors below 2^-32 become (0, 0).

    Raises:
        DataError: A negative, infinite or NaN factor.
    """
    values = np.asarray(real, np.float64)
    if not np.all(np.isfinite(values)) or np.any(values < 0):
        raise DataError("a requantization factor is negative or not finite", hint="Check the layer's scales")
    fraction, shift = np.frexp(values)
    m = np.floor(fraction * 2.0**31 + 0.5).astype(np.int64)  # not negative: half away from zero
    full = m == 1 << 31
    m, shift = np.where(full, m >> 1, m), np.where(full, shift + 1, shift)
    m, shift = np.where(shift < -31, 0, m), np.where(shift < -31, 0, shift)
    if single:
        m, shift = np.where(shift > 30, (1 << 31) - 1, m), np.minimum(shift, 30)
    return m.astype(np.int32), shift.astype(np.int32)


def tflite_single(acc: ArrayLike, m: ArrayLike, shift: ArrayLike) -> I32:
    """sat32((acc m + 2^(t-1)) >> t) with t = 31 - shift, arithmetic shift."""
    t = 31 - np.asarray(shift, np.int64)
    product = np.asarray(acc, np.int64) * np.asarray(m, np.int64)
    scaled = product + (np.int64(1) << (t - 1)) >> t
    return np.asarray(np.clip(scaled, -(1 << 31), (1 << 31) - 1), np.int32)


def tflite_double(acc: ArrayLike, m: ArrayLike, shift: ArrayLike) -> I32:
    """Doubling high product of ``acc << max(shift, 0)`` (modulo 2^32) and m, then a shift, ties away from zero."""
    left = np.maximum(np.asarray(shift, np.int64), 0)
    right = np.maximum(-np.asarray(shift, np.int64), 0)
    a = (np.asarray(acc, np.int64) << left).astype(np.int32).astype(np.int64)
    # gemmlowp truncates after a nudge that depends on the sign: together a floor after adding one half.
    high = np.minimum(a * np.asarray(m, np.int64) + (1 << 30) >> 31, (1 << 31) - 1)
    half = (np.int64(1) << right) >> 1
    away = np.where((high < 0) & (right > 0), 1, 0)
    return np.asarray(high + half - away >> right, np.int32)


def ort_float_rne(acc: ArrayLike, factor: ArrayLike, zero_point: int, low: int, high: int) -> I32:
    """rne(clip(FP32(acc) factor, low - zero_point, high - zero_point)) + zero_point, in FP32.

    Args:
        acc: int32.
        factor: FP32: (x_scale * w_scale) / y_scale, each operation rounded to FP32.
        zero_point: Of the output.
        low: Lowest output code.
        high: Highest output code.
    """
    scaled = np.asarray(acc, np.int32).astype(np.float32) * np.asarray(factor, np.float32)
    clipped = np.clip(scaled, np.float32(low - zero_point), np.float32(high - zero_point))
    return np.rint(clipped).astype(np.int32) + np.int32(zero_point)


def requantize(
    law: Requantization,
    acc: ArrayLike,
    factor: ArrayLike,
    zero_point: int = 0,
    low: int = -128,
    high: int = 127,
) -> I32:
    """Output codes of accumulators.

    Args:
        law: Which of the three.
        acc: int32 accumulators, bias included.
        factor: x_scale * w_scale / y_scale: rounded to FP32 for ``ort_float_rne``, in double precision for the others.
        zero_point: Of the output.
        low: Lowest output code (a fused ReLU raises it).
        high: Highest output code.

    Returns:
        int32 codes within [low, high].

    Raises:
        DataError: An unknown law, or a factor that is no factor.
    """
    if law == "ort_float_rne":
        return ort_float_rne(acc, factor, zero_point, low, high)
    if law not in REQUANTIZATIONS:
        raise DataError(f"no requantization is called {law!r}", hint=f"Known: {', '.join(REQUANTIZATIONS)}")
    single = law == "tflite_single"
    m, shift = quantize_multiplier(factor, single=single)
    scaled = (tflite_single if single else tflite_double)(acc, m, shift).astype(np.int64) + zero_point
    return np.clip(scaled, low, high).astype(np.int32)


def round_half_away(values: ArrayLike) -> NDArray[np.float64]:
    """Nearest integers, ties away from zero, as C's ``round``."""
    array = np.asarray(values, np.float64)
    whole = np.trunc(array)
    return whole + np.where(np.abs(array - whole) >= 0.5, np.sign(array), 0.0)
