"""A NumPy back end of the value language of ``potluck.isa.arithmetic.element``: tests of meanings without LLVM.

``Array(numpy_array)`` wraps one number per lane; its type follows the array's dtype (bool is ``b1``).
Operations follow the language's rules exactly: integers wrap, comparisons are ordered, ``fma`` is fused.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.arithmetic.element import Type, type_of

_KINDS = {"i": "s", "u": "u", "f": "f", "b": "b"}
_DTYPES = {"s": "i", "u": "u", "f": "f"}


def dtype_of(kind: str | Type) -> np.dtype[Any]:
    """The NumPy dtype of a type of the language."""
    kind = type_of(kind)
    return np.dtype(bool) if kind.kind == "b" else np.dtype(f"{_DTYPES[kind.kind]}{kind.bits // 8}")


def array(data: Any, kind: str | Type) -> Array:
    """Numbers as a value of a type; integers wrap."""
    to = type_of(kind)
    if to.kind == "f":
        return Array(np.asarray(data, dtype_of(to)))
    given = np.asarray(data)
    return Array(np.asarray([int(v) & (1 << to.bits) - 1 for v in given.ravel()], f"u{to.bits // 8}")
                 .reshape(given.shape).view(dtype_of(to)))  # fmt: skip


class Array:
    """One number per lane; ``count`` counts the primitive operations done by all arrays."""

    __slots__ = ("data",)
    __array_ufunc__ = None  # numpy scalars on the left leave the operator to us
    count = 0

    def __init__(self, data: NDArray[Any]) -> None:
        self.data = data

    def __bool__(self) -> bool:
        raise TypeError("a value has no truth value; use select()")

    @property
    def type(self) -> Type:
        """The element type."""
        kind = _KINDS[self.data.dtype.kind]
        return Type(kind, 1 if kind == "b" else self.data.dtype.itemsize * 8)

    def _other(self, other: Any) -> NDArray[Any]:
        """The other operand in this one's dtype; sign of the type may differ, width may not."""
        if isinstance(other, Array):
            mine, its = self.type, other.type
            if (mine.kind == "f") != (its.kind == "f") or mine.bits != its.bits:
                raise TypeError(f"operands of types {mine} and {its}")
            return other.data if mine == its else other.data.view(self.data.dtype)
        if self.data.dtype.kind == "f":
            return np.asarray(other, self.data.dtype)
        if self.data.dtype.kind == "b":
            return np.asarray(bool(int(other) & 1))
        bits = self.data.dtype.itemsize * 8
        return np.asarray(int(other) & (1 << bits) - 1, f"u{bits // 8}").view(self.data.dtype)

    def _binary(self, operation: Any, other: Any, swap: bool = False) -> Array:
        Array.count += 1
        x, y = self.data, self._other(other)
        if swap:
            x, y = y, x
        with np.errstate(all="ignore"):
            return Array(np.asarray(operation(x, y)))

    def __add__(self, other: Any) -> Array:
        return self._binary(np.add, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Array:
        return self._binary(np.subtract, other)

    def __rsub__(self, other: Any) -> Array:
        return self._binary(np.subtract, other, swap=True)

    def __mul__(self, other: Any) -> Array:
        return self._binary(np.multiply, other)

    __rmul__ = __mul__

    def __and__(self, other: Any) -> Array:
        return self._binary(np.bitwise_and, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Array:
        return self._binary(np.bitwise_or, other)

    __ror__ = __or__

    def __xor__(self, other: Any) -> Array:
        return self._binary(np.bitwise_xor, other)

    __rxor__ = __xor__

    def __lshift__(self, other: Any) -> Array:
        return self._binary(np.left_shift, other)

    def __rlshift__(self, other: Any) -> Array:
        return self._binary(np.left_shift, other, swap=True)

    def __rshift__(self, other: Any) -> Array:
        return self._binary(np.right_shift, other)

    def __lt__(self, other: Any) -> Array:
        return self._binary(np.less, other)

    def __le__(self, other: Any) -> Array:
        return self._binary(np.less_equal, other)

    def __gt__(self, other: Any) -> Array:
        return self._binary(np.greater, other)

    def __ge__(self, other: Any) -> Array:
        return self._binary(np.greater_equal, other)

    def __invert__(self) -> Array:
        return self._new(~self.data)

    def __neg__(self) -> Array:
        return self._new(-self.data)

    def _new(self, data: NDArray[Any]) -> Array:
        Array.count += 1
        return Array(data)

    def apply(self, primitive: str, *args: Any) -> Array:
        """Apply a primitive of the element language."""
        with np.errstate(all="ignore"):
            result: Array = getattr(self, f"_p_{primitive}")(*args)
        return result

    def _p_equal(self, other: Any) -> Array:
        return self._binary(np.equal, other)

    def _p_different(self, other: Any) -> Array:
        return self._binary(np.not_equal, other)

    def _p_isnan(self) -> Array:
        return self._new(np.isnan(self.data))

    def _p_select(self, a: Any, b: Any) -> Array:
        if isinstance(a, Array):
            return self._new(np.where(self.data, a.data, a._other(b)))
        if isinstance(b, Array):
            return self._new(np.where(self.data, b._other(a), b.data))
        raise TypeError("select() of two Python numbers: give one of them a type")

    def _p_cast(self, to: Type) -> Array:
        if self.type.kind == "f" or to.kind == "f":
            raise TypeError(f"cast from {self.type} to {to}: use to_int, to_float or bitcast")
        if to.kind == "b":
            return self._new((self.data & 1).astype(bool))
        return self._new(self.data.astype(dtype_of(to)))

    def _p_bitcast(self, to: Type) -> Array:
        if to.bits != self.type.bits:
            raise TypeError(f"bitcast from {self.type} to {to}")
        return Array(self.data.view(dtype_of(to)))

    def _p_fconvert(self, to: Type) -> Array:
        return self._new(self.data.astype(dtype_of(to)))

    def _p_to_float(self, to: Type) -> Array:
        if to.bits == 16:  # NumPy goes through binary32, rounding twice
            exact = [Fraction(int(v)) for v in self.data.ravel()]
            rounded = [nearest(v, 11, -24, 65520) for v in exact]
            return self._new(np.array(rounded, "f2").reshape(self.data.shape))
        return self._new(self.data.astype(dtype_of(to)))

    _p_to_int = _p_fconvert

    def _p_fma(self, b: Any, c: Any) -> Array:
        x, y, z = np.broadcast_arrays(self.data, self._other(b), self._other(c))
        return self._new(_fma(x, y, z))

    def _p_fdiv(self, other: Any) -> Array:
        return self._binary(np.divide, other)

    def _p_sqrt(self) -> Array:
        return self._new(np.sqrt(self.data))

    def _p_fabs(self) -> Array:
        return self._new(np.abs(self.data))

    def _p_rint(self) -> Array:
        return self._new(np.rint(self.data))

    def _p_trunc(self) -> Array:
        return self._new(np.trunc(self.data))

    def _p_floor(self) -> Array:
        return self._new(np.floor(self.data))

    def _p_ceil(self) -> Array:
        return self._new(np.ceil(self.data))

    def _p_quotient(self, other: Any) -> Array:
        return self._each(other, lambda x, y: abs(x) // abs(y) * (-1 if (x < 0) != (y < 0) else 1))

    def _p_remainder(self, other: Any) -> Array:
        return self._each(other, lambda x, y: abs(x) % abs(y) * (-1 if x < 0 else 1))

    def _each(self, other: Any, function: Any) -> Array:
        x, y = np.broadcast_arrays(self.data, self._other(other))
        pairs = zip(x.ravel().tolist(), y.ravel().tolist(), strict=True)
        return self._new(np.array([function(p, q) for p, q in pairs], self.data.dtype).reshape(x.shape))

    def _bits(self, function: Any) -> Array:
        width = self.type.bits
        numbers = [int(v) & (1 << width) - 1 for v in self.data.ravel()]
        counts = np.array([function(v, width) for v in numbers], self.data.dtype)
        return self._new(counts.reshape(self.data.shape))

    def _p_clz(self) -> Array:
        return self._bits(lambda v, width: width - v.bit_length())

    def _p_ctz(self) -> Array:
        return self._bits(lambda v, width: (v & -v).bit_length() - 1 if v else width)

    def _p_popcount(self) -> Array:
        return self._bits(lambda v, width: v.bit_count())


def _fma(x: NDArray[Any], y: NDArray[Any], z: NDArray[Any]) -> NDArray[Any]:
    """x*y + z rounded once."""
    if x.dtype.itemsize < 8:  # the product is exact in binary64; round the sum to odd there, then narrow
        p, c = x.astype(np.float64) * y.astype(np.float64), z.astype(np.float64)
        total = p + c
        other = total - p
        error = (p - (total - other)) + (c - other)
        bits, sign = total.view(np.int64), error.view(np.int64)
        odd = (bits + ((bits ^ sign) >> 63)) | 1
        result: NDArray[Any] = np.where(np.abs(error) > 0, odd, bits).view(np.float64).astype(x.dtype)
        return result
    result = np.asarray(x * y + z)  # right where the product is exact or infinite
    result = np.where(np.isfinite(x) & np.isfinite(y) & np.isinf(z), z, result)  # even if it would overflow
    exact = _significant(x) + _significant(y) <= 53
    magnitude = np.abs(x * y)
    exact &= (magnitude < 2.0**1023) & ((magnitude > 2.0**-960) | _coarse(x, y)) | (x == 0) | (y == 0)
    rest = np.argwhere(~exact & np.isfinite(x) & np.isfinite(y) & np.isfinite(z))
    for position in map(tuple, rest):
        value = Fraction(float(x[position])) * Fraction(float(y[position])) + Fraction(float(z[position]))
        # An exact zero has the sign that binary64 addition gives.
        result[position] = result[position] if value == 0 else nearest(value, 53, -1074, None)
    return result


def _significant(x: NDArray[Any]) -> NDArray[Any]:
    """Bits from the first to the last 1 of the significand."""
    mantissa, _ = np.frexp(x)
    whole = np.abs(np.where(np.isfinite(mantissa), mantissa, 0) * 2.0**53).astype(np.int64)
    _, position = np.frexp((whole & -whole).astype(np.float64))
    return np.where(whole == 0, 0, 54 - position)


def _coarse(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """Whether the product's last bit is not below 2^-1074."""
    exponent = np.frexp(x)[1] - _significant(x) + np.frexp(y)[1] - _significant(y)
    return np.asarray(exponent >= -1074)


def nearest(value: Fraction, digits: int, smallest: int, limit: int | None) -> float:
    """A rational rounded to ``digits`` bits or to ``2^smallest``, ties to even; infinite from ``limit``."""
    if value == 0:
        return 0.0
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    unit = Fraction(2) ** max(exponent - digits + 1, smallest)
    rounded = round(size / unit) * unit
    try:
        result = float("inf") if limit is not None and size >= limit else float(rounded)
    except OverflowError:
        result = float("inf")
    return result if value > 0 else -result
