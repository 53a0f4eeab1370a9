"""What an expression computes, in NumPy, bit for bit what its code computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes  # its types get names in NumPy
import numpy as np
from numpy.typing import NDArray

from potluck.kernels import fp32math
from potluck.kernels.expressions.graph import F32, F64, I32, I64, MASK, U32, U64, Value

Array = NDArray[Any]
DTYPES: dict[str, np.dtype[Any]] = {
    F32: np.dtype(np.float32),
    F64: np.dtype(np.float64),
    I32: np.dtype(np.int32),
    I64: np.dtype(np.int64),
    U32: np.dtype(np.uint32),
    U64: np.dtype(np.uint64),
    MASK: np.dtype(bool),
}
"""NumPy type of a value."""
REGISTER = {
    "float32": F32, "int32": I32, "int64": I64, "bool": MASK, "int8": I32, "uint8": I32, "int16": I32, "uint16": I32,
    "uint32": U32, "uint64": U64, "float64": F64, "float16": F32, "bfloat16": F32,
}  # fmt: skip
"""Memory type -> type in a register."""
HALVES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
"""Memory types that are FP32 in a register and rounded once when they are stored."""


def evaluate(value: Value, arguments: Sequence[Array]) -> Array:
    """The result for arrays that broadcast against each other, each of its argument's type.

    Returns:
        An array of the value's type.
    """
    found: dict[Value, Array] = {}
    for item in value.walk():
        if item.op == "argument":
            array = np.asarray(arguments[int(item.payload)])
            found[item] = array.astype(DTYPES[item.type], copy=False)
            if array.dtype in HALVES.values():  # a conversion makes a NaN the canonical one
                found[item] = fp32math.canonical(found[item])
        elif item.op == "constant":
            found[item] = np.asarray(item.payload, DTYPES[item.type])
        else:
            operands = [found[operand] for operand in item.inputs]
            with np.errstate(all="ignore"):
                found[item] = _apply(item, operands)
    return found[value]


def store(array: Array, dtype: str) -> Array:
    """A result as it is stored: narrow integer types keep the low bits."""
    if dtype in HALVES:
        with np.errstate(all="ignore"):
            return np.where(np.isnan(array), HALVES[dtype].type(np.nan), array.astype(HALVES[dtype]))
    return np.asarray(array.astype(np.dtype(dtype)))


def _apply(item: Value, operands: list[Array]) -> Array:
    table = {F32: _FLOAT, F64: _DOUBLE}.get(item.inputs[-1].type, _INTEGER)
    return np.asarray(table[item.op](*operands)).astype(DTYPES[item.type], copy=False)


def _truncate(limit: np.dtype[Any]) -> Callable[[Array], Array]:
    low, high = np.iinfo(limit).min, np.iinfo(limit).max

    def convert(x: Array) -> Array:
        wide = np.trunc(np.asarray(x, np.float64))
        inside = np.where(np.isnan(wide) | (wide >= float(high)), 0.0, np.maximum(wide, float(low)))
        exact = inside.astype(limit)
        return np.where(np.isnan(wide) | (wide >= float(high)), limit.type(high), exact)

    return convert


def _round(x: Array) -> Array:
    return _truncate(np.dtype(np.int32))(np.rint(np.asarray(x, np.float64)))


def _copysign(x: Array, sign: Array) -> Array:
    x, sign = np.broadcast_arrays(np.asarray(x, np.float32), np.asarray(sign, np.float32))
    magnitude = np.ascontiguousarray(x).view(np.uint32) & np.uint32(0x7FFFFFFF)
    return (magnitude | (np.ascontiguousarray(sign).view(np.uint32) & np.uint32(0x80000000))).view(np.float32)


def _negate(x: Array) -> Array:
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) ^ np.uint32(0x80000000)).view(np.float32)


def _absolute(x: Array) -> Array:
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) & np.uint32(0x7FFFFFFF)).view(np.float32)


def _select(mask: Array, x: Array, y: Array) -> Array:
    return np.where(mask, x, y)


_FLOAT: Mapping[str, Callable[..., Any]] = {
    "add": fp32math.add,
    "sub": fp32math.sub,
    "mul": fp32math.mul,
    "div": lambda x, y: fp32math.canonical(np.asarray(x, np.float32) / np.asarray(y, np.float32)),
    "min": fp32math.minimum,
    "max": fp32math.maximum,
    "fma": fp32math.fma,
    "sqrt": lambda x: fp32math.canonical(np.sqrt(np.asarray(x, np.float32))),
    "rec7": fp32math.estimated_reciprocal,
    "neg": _negate,
    "abs": _absolute,
    "copysign": _copysign,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "select": _select,
    "round": _round,
    "truncate": _truncate(np.dtype(np.int32)),
    "truncate_wide": _truncate(np.dtype(np.int64)),
    "truncate_unsigned": _truncate(np.dtype(np.uint64)),
    "double": lambda x: _canonical(np.asarray(x, np.float64)),
    "bits": lambda x: np.ascontiguousarray(x, np.float32).view(np.int32),
}


NAN64 = np.float64(np.nan)


def _canonical(x: Array) -> Array:
    return np.where(np.isnan(x), NAN64, x)


def _pick(x: Array, y: Array, larger: bool) -> Array:
    """As `potluck.kernels.fp32math.maximum`, of doubles."""
    order = np.where(np.signbit(x) == larger, y, x)
    wins = x > y if larger else x < y
    chosen = np.where(wins, x, np.where(x == y, order, y))
    return _canonical(np.where(np.isnan(y), x, np.where(np.isnan(x), y, chosen)))


def _single_odd(x: Array) -> Array:
    """To FP32, inexact results odd: towards zero with the last bit set."""
    near = x.astype(np.float32)
    down = np.where(np.abs(near.astype(np.float64)) > np.abs(x), np.nextafter(near, np.float32(0)), near)
    odd = (np.ascontiguousarray(down).view(np.uint32) | np.uint32(1)).view(np.float32)
    return fp32math.canonical(np.where(near.astype(np.float64) == x, near, odd))


_DOUBLE: Mapping[str, Callable[..., Any]] = {
    "add": lambda x, y: _canonical(x + y),
    "sub": lambda x, y: _canonical(x - y),
    "mul": lambda x, y: _canonical(x * y),
    "div": lambda x, y: _canonical(x / y),
    "min": lambda x, y: _pick(x, y, larger=False),
    "max": lambda x, y: _pick(x, y, larger=True),
    "sqrt": lambda x: _canonical(np.sqrt(x)),
    "neg": lambda x: (np.ascontiguousarray(x).view(np.uint64) ^ np.uint64(1 << 63)).view(np.float64),
    "abs": lambda x: (np.ascontiguousarray(x).view(np.uint64) & np.uint64((1 << 63) - 1)).view(np.float64),
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "select": _select,
    "truncate_wide": _truncate(np.dtype(np.int64)),
    "truncate_unsigned": _truncate(np.dtype(np.uint64)),
    "single": lambda x: fp32math.canonical(x.astype(np.float32)),
    "single_odd": _single_odd,
}


def _unsigned(x: Array) -> Array:
    return np.ascontiguousarray(x).view(np.uint32 if x.dtype.itemsize == 4 else np.uint64)


def _divide(x: Array, y: Array) -> Array:
    """As ``vdiv``: truncates; by zero gives -1; the one overflow gives the dividend."""
    x, y = np.broadcast_arrays(x, y)
    if x.dtype.kind == "u":
        return np.where(y == 0, np.iinfo(x.dtype).max, x // np.where(y == 0, x.dtype.type(1), y))
    divisor = np.where(y == 0, np.ones_like(y), y)
    size = np.floor_divide(_unsigned(np.abs(x)), _unsigned(np.abs(divisor))).view(x.dtype)
    return np.where(y == 0, np.full_like(x, -1), np.where((x < 0) != (y < 0), -size, size))


def _remainder(x: Array, y: Array) -> Array:
    """As ``vrem``: the sign of the dividend; by zero gives the dividend."""
    x, y = np.broadcast_arrays(x, y)
    return np.where(y == 0, x, x - _divide(x, y) * y).astype(x.dtype)


def _bits_of(x: Array) -> int:
    return 8 * x.dtype.itemsize - 1


_INTEGER: Mapping[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _divide,
    "rem": _remainder,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.logical_not,
    "shl": lambda x, n: np.left_shift(x, n & _bits_of(x)),
    "shr": lambda x, n: np.right_shift(_unsigned(x), _unsigned(n & _bits_of(x))).view(x.dtype),
    "sar": lambda x, n: np.right_shift(x, n & _bits_of(x)),
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "select": _select,
    "float": lambda x: x.astype(np.float32),
    "from_bits": lambda x: np.ascontiguousarray(x).view(np.float32),
    "double": lambda x: x.astype(np.float64),
    **dict.fromkeys(("widen", "narrow", "signed", "unsigned"), lambda x: x),  # by the result's type
}
