"""The small typed language in which an instruction's meaning is written.

A meaning is an ordinary Python function of *values*. It is executed once per back end, not once per element:
``potluck.sim`` calls it with symbolic values and obtains LLVM instructions on whole SIMD chunks, the tests call it
with numbers. A value therefore offers operators (``+ - * & | ^ ~ << >> < <= > >= == !=``) and the primitives below,
and nothing that needs its run-time content: ``if value:`` is an error, ``select(condition, a, b)`` is the way.

Rules: both sides of an operator have the same type, except that a Python number takes the type of the other side;
integer arithmetic wraps; ``>>`` and ``<`` follow the signedness of the type; shift amounts below the width are the
author's duty; comparisons give type ``b1``; floating operators round to nearest even and propagate any NaN (the
author canonicalizes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Type:
    """A scalar type: kind ``s`` (signed), ``u`` (unsigned), ``f`` (IEEE) or ``b`` (one bit), and its width."""

    kind: str
    bits: int

    def __str__(self) -> str:
        return f"{self.kind}{self.bits}"


def type_of(name: str | Type) -> Type:
    """Return the type spelled ``name``, e.g. ``s32``, ``u8``, ``f64``, ``b1``."""
    return name if isinstance(name, Type) else Type(name[0], int(name[1:]))


class Value(Protocol):
    """What a meaning computes with; see the module text for the operators."""

    @property
    def type(self) -> Type:
        """The element type."""

    def apply(self, primitive: str, *args: Any) -> Any:
        """Apply the named primitive with ``self`` as its first operand."""

    def __add__(self, other: Any) -> Any: ...
    def __radd__(self, other: Any) -> Any: ...
    def __sub__(self, other: Any) -> Any: ...
    def __rsub__(self, other: Any) -> Any: ...
    def __mul__(self, other: Any) -> Any: ...
    def __rmul__(self, other: Any) -> Any: ...
    def __and__(self, other: Any) -> Any: ...
    def __or__(self, other: Any) -> Any: ...
    def __xor__(self, other: Any) -> Any: ...
    def __lshift__(self, other: Any) -> Any: ...
    def __rshift__(self, other: Any) -> Any: ...
    def __invert__(self) -> Any: ...
    def __neg__(self) -> Any: ...
    def __lt__(self, other: Any) -> Any: ...
    def __le__(self, other: Any) -> Any: ...
    def __gt__(self, other: Any) -> Any: ...
    def __ge__(self, other: Any) -> Any: ...


def select(condition: Any, a: Any, b: Any) -> Any:
    """``a`` where ``condition`` (type ``b1``) holds, else ``b``; at most one of them may be a Python number."""
    return condition.apply("select", a, b)


def cast(x: Any, to: str | Type) -> Any:
    """Convert an integer or ``b1`` to another integer width: sign- or zero-extend by the source's kind, or truncate."""
    return x.apply("cast", type_of(to))


def bitcast(x: Any, to: str | Type) -> Any:
    """Reinterpret the bits as another type of the same width."""
    return x.apply("bitcast", type_of(to))


def fconvert(x: Any, to: str | Type) -> Any:
    """Convert between floating widths f16, f32, f64: exact when widening, nearest even when narrowing."""
    return x.apply("fconvert", type_of(to))


def to_float(x: Any, to: str | Type) -> Any:
    """Convert an integer to floating point, nearest even."""
    return x.apply("to_float", type_of(to))


def to_int(x: Any, to: str | Type) -> Any:
    """Convert a float that is integral and in range to an integer (round first with :func:`rint` or :func:`trunc`)."""
    return x.apply("to_int", type_of(to))


def fma(a: Any, b: Any, c: Any) -> Any:
    """``a*b + c`` rounded once."""
    return a.apply("fma", b, c)


def fdiv(a: Any, b: Any) -> Any:
    """Floating quotient, nearest even."""
    return a.apply("fdiv", b)


def sqrt(x: Any) -> Any:
    """Floating square root, nearest even."""
    return x.apply("sqrt")


def fabs(x: Any) -> Any:
    """The value with its sign bit cleared (also for NaN)."""
    return x.apply("fabs")


def rint(x: Any) -> Any:
    """Round to an integral float, ties to even."""
    return x.apply("rint")


def trunc(x: Any) -> Any:
    """Round to an integral float, toward zero."""
    return x.apply("trunc")


def floor(x: Any) -> Any:
    """Round to an integral float, downward."""
    return x.apply("floor")


def ceil(x: Any) -> Any:
    """Round to an integral float, upward."""
    return x.apply("ceil")


def quotient(a: Any, b: Any) -> Any:
    """Integer quotient toward zero; ``b`` must be neither 0 nor, for the most negative ``a``, -1."""
    return a.apply("quotient", b)


def remainder(a: Any, b: Any) -> Any:
    """Integer remainder with the sign of ``a``; same conditions as :func:`quotient`."""
    return a.apply("remainder", b)


def equal(a: Any, b: Any) -> Any:
    """``a == b`` as a ``b1`` value (for floats: ordered and equal)."""
    return a.apply("equal", b)


def different(a: Any, b: Any) -> Any:
    """``a != b`` as a ``b1`` value (for floats: unordered or different)."""
    return a.apply("different", b)


def isnan(x: Any) -> Any:
    """Whether a floating value is NaN."""
    return x.apply("isnan")


def clz(x: Any) -> Any:
    """Count of leading zero bits (the width for 0), in the type of ``x``."""
    return x.apply("clz")


def ctz(x: Any) -> Any:
    """Count of trailing zero bits (the width for 0), in the type of ``x``."""
    return x.apply("ctz")


def popcount(x: Any) -> Any:
    """Count of set bits, in the type of ``x``."""
    return x.apply("popcount")


def minimum(a: Any, b: Any) -> Any:
    """The smaller integer."""
    return select(a < b, a, b)


def maximum(a: Any, b: Any) -> Any:
    """The larger integer."""
    return select(a < b, b, a)
