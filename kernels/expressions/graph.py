"""Expressions: immutable nodes over machine operations, equal where they compute the same.

    x, y = argument(0, F32), argument(1, F32)
    e = select(x > y, exp(x - y), constant(0.0))

Types are what a vector element is in a register: `F32`, `F64`, signed and unsigned integers, `MASK`. Memory types
narrower than that are widened when they are loaded (`potluck.kernels.expressions.emit`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from potluck.isa.errors import DataError

F32: Final = "f32"
F64: Final = "f64"
I32: Final = "i32"
I64: Final = "i64"
U32: Final = "u32"
U64: Final = "u64"
MASK: Final = "mask"
WIDTHS = {F32: 32, F64: 64, I32: 32, I64: 64, U32: 32, U64: 64, MASK: 1}
"""Bits of an element."""
FLOATING = (F32, F64)
UNSIGNED = (U32, U64)

COMPARISONS = ("lt", "le", "eq", "ne")
SAME = ("add", "sub", "mul", "div", "rem", "min", "max", "and", "or", "xor", "shl", "shr", "sar")
"""Two operands of one type and a result of it; div and rem truncate, rem, and shifts are for integers."""
FLOATS = ("add", "sub", "mul", "div", "min", "max")
"""Those of `SAME` that floats have."""
MASKS = ("and", "or", "xor")
"""Those that masks have."""
CASTS = {
    ("round", F32): I32,  # to nearest, ties to even, as vfcvt saturates
    ("truncate", F32): I32,
    ("truncate_wide", F32): I64,
    ("truncate_wide", F64): I64,
    ("truncate_unsigned", F32): U64,
    ("truncate_unsigned", F64): U64,
    **{("float", integer): F32 for integer in (I32, I64, U32, U64)},
    **{("double", other): F64 for other in (F32, I32, I64, U32, U64)},
    ("single", F64): F32,
    (
        "single_odd",
        F64,
    ): F32,  # inexact results become odd, so that a further rounding is as good as a single one
    ("bits", F32): I32,
    ("from_bits", I32): F32,
    ("widen", I32): I64,
    ("widen", U32): U64,
    ("narrow", I64): I32,
    ("narrow", U64): U32,
    ("unsigned", I32): U32,
    ("unsigned", I64): U64,
    ("signed", U32): I32,
    ("signed", U64): I64,
}
"""(operation, operand type) -> result type."""


@dataclass(frozen=True)
class Value:
    """One value of an expression.

    Attributes:
        op: ``argument``, ``constant``, or an operation.
        type: Of the result.
        inputs: Operands.
        payload: Index of an argument, or a constant's number.
    """

    op: str
    type: str
    inputs: tuple[Value, ...] = ()
    payload: float | int = 0

    @cached_property
    def _hash(self) -> int:
        return hash((self.op, self.type, self.inputs, repr(self.payload)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Whether the two compute the same; -0 is not +0, and NaN is NaN."""
        if self is other:
            return True
        return (
            isinstance(other, Value)
            and self._hash == other._hash
            and (self.op, self.type, repr(self.payload)) == (other.op, other.type, repr(other.payload))
            and self.inputs == other.inputs
        )

    def _with(self, other: Value | float) -> Value:
        return other if isinstance(other, Value) else constant(other, self.type)

    def __add__(self, other: Value | float) -> Value:
        return binary("add", self, self._with(other))

    def __radd__(self, other: float) -> Value:
        return binary("add", self._with(other), self)

    def __sub__(self, other: Value | float) -> Value:
        return binary("sub", self, self._with(other))

    def __rsub__(self, other: float) -> Value:
        return binary("sub", self._with(other), self)

    def __mul__(self, other: Value | float) -> Value:
        return binary("mul", self, self._with(other))

    def __rmul__(self, other: float) -> Value:
        return binary("mul", self._with(other), self)

    def __truediv__(self, other: Value | float) -> Value:
        return binary("div", self, self._with(other))

    def __rtruediv__(self, other: float) -> Value:
        return binary("div", self._with(other), self)

    def __and__(self, other: Value | int) -> Value:
        return binary("and", self, self._with(other))

    def __or__(self, other: Value | int) -> Value:
        return binary("or", self, self._with(other))

    def __xor__(self, other: Value | int) -> Value:
        return binary("xor", self, self._with(other))

    def __neg__(self) -> Value:
        return unary("neg", self) if self.type in FLOATING else 0 - self

    def __invert__(self) -> Value:
        return Value("not", MASK, (self,)) if self.type == MASK else self ^ -1

    def __lt__(self, other: Value | float) -> Value:
        return binary("lt", self, self._with(other))

    def __le__(self, other: Value | float) -> Value:
        return binary("le", self, self._with(other))

    def __gt__(self, other: Value | float) -> Value:
        return binary("lt", self._with(other), self)

    def __ge__(self, other: Value | float) -> Value:
        return binary("le", self._with(other), self)

    @property
    def scalar(self) -> bool:
        """Whether it is one number for all elements."""
        return self.op == "constant"

    def walk(self) -> Iterator[Value]:
        """Every value once, operands first."""
        seen: set[Value] = set()
        stack: list[tuple[Value, bool]] = [(self, False)]
        while stack:
            value, ready = stack.pop()
            if value in seen:
                continue
            if ready:
                seen.add(value)
                yield value
            else:
                stack.append((value, True))
                stack += [(item, False) for item in reversed(value.inputs) if item not in seen]


def argument(index: int, type: str) -> Value:
    """The ``index``-th operand of the kernel."""
    return Value("argument", type, payload=index)


def constant(number: float, type: str = F32) -> Value:
    """One number for all elements; an integer type takes an int."""
    return Value("constant", type, payload=float(number) if type in FLOATING else int(number))


def binary(op: str, x: Value, y: Value) -> Value:
    """An operation of two operands of one type.

    Raises:
        DataError: The types differ, or have no such operation.
    """
    floating = (*FLOATS, *COMPARISONS)
    allowed = {F32: floating, F64: floating, MASK: MASKS}.get(x.type, (*SAME, *COMPARISONS))
    if x.type != y.type or op not in allowed:
        raise DataError(f"no operation {op} of {x.type} and {y.type}", hint="Cast one operand first")
    return Value(op, MASK if op in COMPARISONS else x.type, (x, y))


def unary(op: str, x: Value) -> Value:
    """``neg``, ``abs`` or ``sqrt`` of a float; ``rec7`` of `F32`, an estimate of 1 / x."""
    if x.type not in FLOATING or op not in ("neg", "abs", "sqrt", "rec7") or (op == "rec7" and x.type != F32):
        raise DataError(f"no operation {op} of {x.type}")
    return Value(op, x.type, (x,))


def cast(op: str, x: Value) -> Value:
    """One of `CASTS`."""
    if (op, x.type) not in CASTS:
        raise DataError(f"no cast {op} of {x.type}")
    return Value(op, CASTS[op, x.type], (x,))


def fma(x: Value | float, y: Value, z: Value | float) -> Value:
    """x * y + z of floats, rounded once."""
    x, z = y._with(x), y._with(z)
    if {x.type, y.type, z.type} != {F32}:
        raise DataError(f"no fused multiply-add of {x.type}, {y.type} and {z.type}")
    return Value("fma", F32, (x, y, z))


def copysign(x: Value, sign: Value) -> Value:
    """|x| with the sign of ``sign``."""
    return Value("copysign", F32, (x, sign))


def minimum(x: Value, y: Value | float) -> Value:
    """The smaller one; of floats as `potluck.kernels.fp32math.minimum`."""
    return binary("min", x, x._with(y))


def maximum(x: Value, y: Value | float) -> Value:
    """The larger one; of floats as `potluck.kernels.fp32math.maximum`."""
    return binary("max", x, x._with(y))


def equal(x: Value, y: Value | float) -> Value:
    """Where x == y."""
    return binary("eq", x, x._with(y))


def differs(x: Value, y: Value | float) -> Value:
    """Where x != y; true for NaN."""
    return binary("ne", x, x._with(y))


def shift_left(x: Value, bits: int) -> Value:
    """x << bits."""
    return binary("shl", x, x._with(bits))


def shift_right(x: Value, bits: int, signed: bool = False) -> Value:
    """x >> bits."""
    return binary("sar" if signed else "shr", x, x._with(bits))


def select(mask: Value, x: Value | float, y: Value | float) -> Value:
    """x where the mask is set, else y."""
    like = x if isinstance(x, Value) else y
    if not isinstance(like, Value):
        raise DataError("select between two numbers has no type", hint="Give one as constant(number, type)")
    x, y = like._with(x), like._with(y)
    if mask.type != MASK or x.type != y.type:
        raise DataError(f"select by {mask.type} between {x.type} and {y.type}")
    if x.type == MASK:
        return (mask & x) | (~mask & y)
    return Value("select", x.type, (mask, x, y))
