"""FP32 arithmetic of the machine in NumPy: what kernel contracts compute with.

NumPy's single-precision add, subtract, multiply and divide are IEEE operations, as the machine's are. Three
things differ and live here: a fused multiply-add, minimum and maximum (IEEE 754-2019
``minimumNumber``/``maximumNumber``, as RISC-V prescribes: -0 < +0, and a NaN operand yields the other one),
and the bits of a NaN result (the canonical 0x7FC00000).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

F32 = NDArray[np.float32]
"""A float32 array."""

CANONICAL_NAN = np.uint32(0x7FC00000).view(np.float32)
"""What every RISC-V floating-point operation returns for NaN."""


def canonical(x: ArrayLike) -> F32:
    """``x`` with every NaN replaced by the canonical one."""
    values = np.asarray(x, dtype=np.float32)
    return np.where(np.isnan(values), CANONICAL_NAN, values)


def add(x: ArrayLike, y: ArrayLike) -> F32:
    """``vfadd``: x + y, rounded once."""
    with np.errstate(all="ignore"):
        return canonical(np.asarray(x, np.float32) + np.asarray(y, np.float32))


def sub(x: ArrayLike, y: ArrayLike) -> F32:
    """``vfsub``: x - y, rounded once."""
    with np.errstate(all="ignore"):
        return canonical(np.asarray(x, np.float32) - np.asarray(y, np.float32))


def mul(x: ArrayLike, y: ArrayLike) -> F32:
    """``vfmul``: x * y, rounded once."""
    with np.errstate(all="ignore"):
        return canonical(np.asarray(x, np.float32) * np.asarray(y, np.float32))


def fma(x: ArrayLike, y: ArrayLike, z: ArrayLike) -> F32:
    """``vfmacc``/``vfmadd``: x * y + z, rounded once; the product of two FP32 numbers is exact in double precision."""
    with np.errstate(all="ignore"):
        return add_double(z, np.asarray(x, np.float32).astype(np.float64) * np.asarray(y, np.float32))


def add_double(z: ArrayLike, product: NDArray[np.float64]) -> F32:
    """z + product, an FP32 and an FP64 number, rounded once to FP32.

    The sum is formed with TwoSum (Knuth) and rounded to odd at 53 bits, after which rounding to 24 bits equals
    rounding the exact value (Boldo and Melquiond, IEEE TC 2008).
    """
    with np.errstate(all="ignore"):
        addend = np.asarray(z, np.float32).astype(np.float64)
        total = product + addend
        back = total - product
        error = (product - (total - back)) + (addend - back)
        bits = np.asarray(total).view(np.int64)
        step = np.where((error > 0) == (total > 0), np.int64(1), np.int64(-1))
        move = (error != 0) & ((bits & 1) == 0) & np.isfinite(total)
        return canonical((bits + step * move).view(np.float64).astype(np.float32))


def maximum(x: ArrayLike, y: ArrayLike) -> F32:
    """``vfmax``: the larger operand; -0 < +0; a NaN loses against a number."""
    return _pick(np.asarray(x, np.float32), np.asarray(y, np.float32), larger=True)


def minimum(x: ArrayLike, y: ArrayLike) -> F32:
    """``vfmin``: the smaller operand; -0 < +0; a NaN loses against a number."""
    return _pick(np.asarray(x, np.float32), np.asarray(y, np.float32), larger=False)


def clip(x: ArrayLike, low: float | None, high: float | None) -> F32:
    """``vfmax`` with ``low``, then ``vfmin`` with ``high``; None leaves that side open.

    With a bound, a NaN becomes that bound (the first one applied): ONNX's Relu and Clip would keep it. With
    low = +0, -0 becomes +0.
    """
    result = np.asarray(x, np.float32)
    if low is not None:
        result = maximum(result, np.float32(low))
    return result if high is None else minimum(result, np.float32(high))


_RECIPROCALS = np.rint((256.0 / (np.arange(128) + 128.5) - 1.0) * 128.0).astype(np.int32)
"""Significands of `estimated_reciprocal`: of 2 / x at the middle of each interval of x in [1, 2)."""


def estimated_reciprocal(x: ArrayLike) -> F32:
    """``vfrec7``: 1 / x with 7 bits (V 1.0, section 13.10), rounding to nearest."""
    values = np.asarray(x, np.float32)
    with np.errstate(all="ignore"):
        fraction, exponent = np.frexp(np.abs(values))  # |x| = fraction 2^exponent, fraction in [0.5, 1)
        index = np.where(np.isfinite(values), fraction * 256.0 - 128.0, 0).astype(np.int32)
        estimate = (1.0 + _RECIPROCALS[np.clip(index, 0, 127)] / 128.0) * np.exp2(-1.0 * exponent)
        estimate = np.where(exponent < -127, np.inf, estimate)
        size = np.where(values == 0, np.inf, np.where(np.isinf(values), 0.0, estimate))
        return canonical(np.where(np.isnan(values), values, np.copysign(size, values)))


def _pick(x: F32, y: F32, larger: bool) -> F32:
    order = np.where(np.signbit(x) == larger, y, x)  # for equal operands, which differ only as zeros
    wins = x > y if larger else x < y
    chosen = np.where(wins, x, np.where(x == y, order, y))
    return canonical(np.where(np.isnan(y), x, np.where(np.isnan(x), y, chosen)))
