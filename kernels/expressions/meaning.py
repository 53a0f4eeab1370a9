"""What an expression computes, in NumPy, bit for bit what its code computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.kernels import fp32math
from potluck.kernels.expressions.graph import F32, I32, I64, MASK, Value

Array = NDArray[Any]
DTYPES: dict[str, np.dtype[Any]] = {
    F32: np.dtype(np.float32),
    I32: np.dtype(np.int32),
    I64: np.dtype(np.int64),
    MASK: np.dtype(bool),
}
"""NumPy type of a value."""
REGISTER = {
    "float32": F32, "int32": I32, "int64": I64, "bool": MASK, "int8": I32, "uint8": I32, "int16": I32, "uint16": I32,
}  # fmt: skip
"""Memory type -> type in a register."""


def evaluate(value: Value, arguments: Sequence[Array]) -> Array:
    """The result for arrays that broadcast against each other, each of its argument's type.

    Returns:
        An array of the value's type.
    """
    found: dict[Value, Array] = {}
    for item in value.walk():
        if item.op == "argument":
            array = np.asarray(arguments[int(item.payload)]).astype(DTYPES[item.type], copy=False)
            found[item] = array
        elif item.op == "constant":
            found[item] = np.asarray(item.payload, DTYPES[item.type])
        else:
            operands = [found[operand] for operand in item.inputs]
            with np.errstate(all="ignore"):
                found[item] = _apply(item, operands)
    return found[value]


def store(array: Array, dtype: str) -> Array:
    """A result as it is stored: narrow integer types keep the low bits."""
    return np.asarray(array.astype(np.dtype(dtype)))


def _apply(item: Value, operands: list[Array]) -> Array:
    table = _FLOAT if item.inputs[-1].type == F32 else _INTEGER
    return np.asarray(table[item.op](*operands)).astype(DTYPES[item.type], copy=False)


def _truncate(limit: np.dtype[Any]) -> Callable[[Array], Array]:
    low, high = np.iinfo(limit).min, np.iinfo(limit).max

    def convert(x: Array) -> Array:
        wide = np.trunc(np.asarray(x, np.float64))
        inside = np.where(np.isnan(wide), 0.0, np.clip(wide, float(low), float(high)))
        exact = np.where(inside >= float(high), high, inside.astype(np.int64))
        return np.where(np.isnan(wide), high, exact).astype(limit)

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
    "bits": lambda x: np.ascontiguousarray(x, np.float32).view(np.int32),
}


def _unsigned(x: Array) -> Array:
    return x.view(np.uint32 if x.dtype.itemsize == 4 else np.uint64)


def _divide(x: Array, y: Array) -> Array:
    """As ``vdiv``: truncates; by zero gives -1; the one overflow gives the dividend."""
    x, y = np.broadcast_arrays(x, y)
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
    "widen": lambda x: x.astype(np.int64),
    "narrow": lambda x: x.astype(np.int32),
}
