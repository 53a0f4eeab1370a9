"""Symbolic values that write LLVM assembly: the back end of the language of ``potluck.isa.arithmetic.element``.

A :class:`Symbol` is one LLVM value, a scalar or a SIMD vector of ``lanes`` elements. Meanings of instructions run on
symbols; every operator appends one line to the :class:`Body`. Scalars meeting vectors are splatted, so whatever
depends on scalar operands alone is computed once.
"""

from __future__ import annotations

import struct
from typing import Any

from potluck.isa.arithmetic.element import Type, type_of

_FLOAT = {16: "half", 32: "float", 64: "double"}
BOOL = Type("b", 1)


def llvm_type(kind: Type, lanes: int = 1) -> str:
    """LLVM spelling of an element type, as a vector if there are several lanes."""
    element = _FLOAT[kind.bits] if kind.kind == "f" else f"i{kind.bits}"
    return element if lanes == 1 else f"<{lanes} x {element}>"


class Body:
    """The text of one function under construction."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.intrinsics: set[str] = set()
        self._names = 0

    def name(self, prefix: str = "%t") -> str:
        """A fresh name."""
        self._names += 1
        return f"{prefix}{self._names}"

    def line(self, text: str) -> None:
        """Append one line."""
        self.lines.append(text)

    def value(self, text: str) -> str:
        """Append ``%new = text`` and return the new name."""
        name = self.name()
        self.lines.append(f"{name} = {text}")
        return name

    def label(self, name: str) -> None:
        """Start a basic block; ``name`` without the percent sign."""
        self.lines.append(f"{name}:")

    def intrinsic(self, name: str, result: str, *arguments: tuple[str, str]) -> str:
        """Call an intrinsic, declaring it; arguments are (type, value)."""
        self.intrinsics.add(f"declare {result} @{name}({', '.join(kind for kind, _ in arguments)})")
        return self.value(
            f"call {result} @{name}({', '.join(f'{kind} {value}' for kind, value in arguments)})"
        )

    def symbol(self, name: str, kind: Type | str, lanes: int = 1) -> Symbol:
        """Wrap an existing LLVM name."""
        return Symbol(self, name, type_of(kind), lanes)

    def constant(self, value: float, kind: Type | str, lanes: int = 1) -> Symbol:
        """A Python number as a symbol."""
        kind = type_of(kind)
        if kind.kind == "f":
            if kind.bits == 64:
                text = "0x" + struct.pack(">d", float(value)).hex()
            elif kind.bits == 32:  # LLVM writes float constants as the double of the same value
                text = "0x" + struct.pack(">d", struct.unpack("f", struct.pack("f", value))[0]).hex()
            else:
                text = "0xH" + struct.pack(">e", float(value)).hex()
        else:
            number = int(value) & ((1 << kind.bits) - 1)
            text = {0: "false", 1: "true"}[number] if kind.bits == 1 else str(number)
        if lanes > 1:
            text = f"splat ({llvm_type(kind)} {text})"
        return Symbol(self, text, kind, lanes)

    def load(self, kind: Type | str, pointer: str, lanes: int = 1) -> Symbol:
        """Load a value from a pointer of unknown alignment."""
        kind = type_of(kind)
        return Symbol(self, self.value(f"load {llvm_type(kind, lanes)}, ptr {pointer}, align 1"), kind, lanes)

    def store(self, value: Symbol, pointer: str) -> None:
        """Store a value to a pointer of unknown alignment."""
        self.line(f"store {llvm_type(value.type, value.lanes)} {value.name}, ptr {pointer}, align 1")

    def offset(self, pointer: str, by: Symbol | int) -> str:
        """``pointer`` plus bytes."""
        amount = f"i64 {by}" if isinstance(by, int) else f"i64 {by.name}"
        return self.value(f"getelementptr i8, ptr {pointer}, {amount}")


class Symbol:
    """An LLVM value with operators; see ``potluck.isa.arithmetic.element`` for their meaning."""

    __slots__ = ("body", "lanes", "name", "type")

    def __init__(self, body: Body, name: str, kind: Type, lanes: int = 1) -> None:
        self.body, self.name, self.type, self.lanes = body, name, kind, lanes

    def __bool__(self) -> bool:
        raise TypeError("a symbolic value has no truth value; use select()")

    @property
    def llvm(self) -> str:
        """The LLVM type."""
        return llvm_type(self.type, self.lanes)

    @property
    def literal(self) -> int | None:
        """The number, not negative, if the value is an integer constant."""
        if self.lanes > 1 or self.type.kind == "f":
            return None
        if self.type.kind == "b":
            return {"false": 0, "true": 1}.get(self.name)
        return int(self.name) if self.name.isdecimal() else None

    def splat(self, lanes: int) -> Symbol:
        """The same value in every lane."""
        if self.lanes == lanes:
            return self
        if self.literal is not None:
            return self.body.constant(self.literal, self.type, lanes)
        one = self.body.value(
            f"insertelement {llvm_type(self.type, lanes)} poison, {self.llvm} {self.name}, i64 0"
        )
        kind = llvm_type(self.type, lanes)
        name = self.body.value(f"shufflevector {kind} {one}, {kind} poison, <{lanes} x i32> zeroinitializer")
        return Symbol(self.body, name, self.type, lanes)

    def _with(self, other: Any) -> tuple[Symbol, Symbol]:
        """Both operands with one type and one lane count."""
        if not isinstance(other, Symbol):
            return self, self.body.constant(other, self.type, self.lanes)
        if (other.type.kind == "f") != (self.type.kind == "f") or other.type.bits != self.type.bits:
            raise TypeError(f"operands of types {self.type} and {other.type}")
        lanes = max(self.lanes, other.lanes)
        return self.splat(lanes), other.splat(lanes)

    def _make(self, text: str, kind: Type | None = None, lanes: int | None = None) -> Symbol:
        return Symbol(self.body, self.body.value(text), kind or self.type, lanes or self.lanes)

    def _binary(self, other: Any, integer: str, floating: str | None = None, swap: bool = False) -> Symbol:
        a, b = self._with(other)
        if swap:
            a, b = b, a
        operation = floating if self.type.kind == "f" else integer
        if operation is None:
            raise TypeError(f"operation {integer} on {self.type}")
        folded = _folded(operation, a, b)
        if folded is not None:
            return folded
        return a._make(f"{operation} {a.llvm} {a.name}, {b.name}")

    def _compare(self, other: Any, integer: str, floating: str) -> Symbol:
        a, b = self._with(other)
        if self.type.kind == "f":
            return a._make(f"fcmp {floating} {a.llvm} {a.name}, {b.name}", BOOL)
        if a.literal is not None and b.literal is not None:
            x, y = _value(a), _value(b)
            result = {"eq": x == y, "ne": x != y, "lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y}[
                integer
            ]
            return self.body.constant(result, BOOL)
        sign = "" if integer in ("eq", "ne") else "s" if self.type.kind == "s" else "u"
        return a._make(f"icmp {sign}{integer} {a.llvm} {a.name}, {b.name}", BOOL)

    def __add__(self, other: Any) -> Symbol:
        return self._binary(other, "add", "fadd")

    def __radd__(self, other: Any) -> Symbol:
        return self._binary(other, "add", "fadd", swap=True)

    def __sub__(self, other: Any) -> Symbol:
        return self._binary(other, "sub", "fsub")

    def __rsub__(self, other: Any) -> Symbol:
        return self._binary(other, "sub", "fsub", swap=True)

    def __mul__(self, other: Any) -> Symbol:
        return self._binary(other, "mul", "fmul")

    def __rmul__(self, other: Any) -> Symbol:
        return self._binary(other, "mul", "fmul", swap=True)

    def __and__(self, other: Any) -> Symbol:
        return self._binary(other, "and")

    def __or__(self, other: Any) -> Symbol:
        return self._binary(other, "or")

    def __xor__(self, other: Any) -> Symbol:
        return self._binary(other, "xor")

    def __rand__(self, other: Any) -> Symbol:
        return self._binary(other, "and")

    def __ror__(self, other: Any) -> Symbol:
        return self._binary(other, "or")

    def __rxor__(self, other: Any) -> Symbol:
        return self._binary(other, "xor")

    def __lshift__(self, other: Any) -> Symbol:
        return self._binary(other, "shl")

    def __rlshift__(self, other: Any) -> Symbol:
        return self._binary(other, "shl", swap=True)

    def __rshift__(self, other: Any) -> Symbol:
        return self._binary(other, "ashr" if self.type.kind == "s" else "lshr")

    def __invert__(self) -> Symbol:
        return self._binary(-1, "xor")

    def __neg__(self) -> Symbol:
        if self.type.kind == "f":
            return self._make(f"fneg {self.llvm} {self.name}")
        return self._binary(0, "sub", swap=True)

    def __lt__(self, other: Any) -> Symbol:
        return self._compare(other, "lt", "olt")

    def __le__(self, other: Any) -> Symbol:
        return self._compare(other, "le", "ole")

    def __gt__(self, other: Any) -> Symbol:
        return self._compare(other, "gt", "ogt")

    def __ge__(self, other: Any) -> Symbol:
        return self._compare(other, "ge", "oge")

    def apply(self, primitive: str, *args: Any) -> Symbol:
        """Apply a primitive of the element language."""
        return getattr(self, f"_p_{primitive}")(*args)  # type: ignore[no-any-return]

    def _p_equal(self, other: Any) -> Symbol:
        return self._compare(other, "eq", "oeq")

    def _p_different(self, other: Any) -> Symbol:
        return self._compare(other, "ne", "une")

    def _p_isnan(self) -> Symbol:
        return self._make(f"fcmp uno {self.llvm} {self.name}, {self.name}", BOOL)

    def _p_select(self, a: Any, b: Any) -> Symbol:
        x: Symbol
        y: Symbol
        if isinstance(a, Symbol):
            x, y = a._with(b)
        elif isinstance(b, Symbol):
            y, x = b._with(a)
        else:
            raise TypeError("select() of two Python numbers: give one of them a type")
        if self.literal is not None:
            return x if self.literal else y
        lanes = max(x.lanes, self.lanes)
        x, y = x.splat(lanes), y.splat(lanes)
        return x._make(f"select {self.llvm} {self.name}, {x.llvm} {x.name}, {y.llvm} {y.name}")

    def _convert(self, operation: str, to: Type) -> Symbol:
        return self._make(f"{operation} {self.llvm} {self.name} to {llvm_type(to, self.lanes)}", to)

    def _p_cast(self, to: Type) -> Symbol:
        if self.type.kind == "f" or to.kind == "f":
            raise TypeError(f"cast from {self.type} to {to}: use to_int, to_float or bitcast")
        if to.bits == self.type.bits:
            return Symbol(self.body, self.name, to, self.lanes)
        if self.literal is not None:
            return self.body.constant(_value(self), to)
        if to.bits < self.type.bits:
            return self._convert("trunc", to)
        return self._convert("sext" if self.type.kind == "s" else "zext", to)

    def _p_bitcast(self, to: Type) -> Symbol:
        if to.bits != self.type.bits:
            raise TypeError(f"bitcast from {self.type} to {to}")
        if (to.kind == "f") == (self.type.kind == "f"):
            return Symbol(self.body, self.name, to, self.lanes)
        return self._convert("bitcast", to)

    def _p_fconvert(self, to: Type) -> Symbol:
        if to.bits == self.type.bits:
            return self
        return self._convert("fpext" if to.bits > self.type.bits else "fptrunc", to)

    def _p_to_float(self, to: Type) -> Symbol:
        return self._convert("sitofp" if self.type.kind == "s" else "uitofp", to)

    def _p_to_int(self, to: Type) -> Symbol:
        return self._convert("fptosi" if to.kind == "s" else "fptoui", to)

    def _call(self, name: str, *others: Any) -> Symbol:
        operands = [self, *others]
        lanes = max(o.lanes for o in operands if isinstance(o, Symbol))
        full = [
            (o if isinstance(o, Symbol) else self.body.constant(o, self.type, lanes)).splat(lanes)
            for o in operands
        ]
        kind = llvm_type(self.type, lanes)
        suffix = kind if lanes == 1 else f"v{lanes}" + llvm_type(self.type)
        suffix = suffix.replace("half", "f16").replace("float", "f32").replace("double", "f64")
        result = self.body.intrinsic(f"llvm.{name}.{suffix}", kind, *((kind, o.name) for o in full))
        return Symbol(self.body, result, self.type, lanes)

    def _p_fma(self, b: Any, c: Any) -> Symbol:
        if self.type.bits == 16:
            raise TypeError("no host instruction rounds an FP16 multiply-add once")
        return self._call("fma", b, c)

    def _p_sqrt(self) -> Symbol:
        return self._call("sqrt")

    def _p_fabs(self) -> Symbol:
        return self._call("fabs")

    def _p_rint(self) -> Symbol:
        return self._call("roundeven")

    def _p_trunc(self) -> Symbol:
        return self._call("trunc")

    def _p_floor(self) -> Symbol:
        return self._call("floor")

    def _p_ceil(self) -> Symbol:
        return self._call("ceil")

    def _p_fdiv(self, other: Any) -> Symbol:
        return self._binary(other, "invalid", "fdiv")

    def _p_quotient(self, other: Any) -> Symbol:
        return self._binary(other, "sdiv" if self.type.kind == "s" else "udiv")

    def _p_remainder(self, other: Any) -> Symbol:
        return self._binary(other, "srem" if self.type.kind == "s" else "urem")

    def _bit_count(self, name: str, poison: bool) -> Symbol:
        suffix = llvm_type(self.type) if self.lanes == 1 else f"v{self.lanes}{llvm_type(self.type)}"
        arguments = [(self.llvm, self.name)] + ([("i1", "false")] if poison else [])
        return self.body.symbol(
            self.body.intrinsic(f"llvm.{name}.{suffix}", self.llvm, *arguments), self.type, self.lanes
        )

    def _p_clz(self) -> Symbol:
        return self._bit_count("ctlz", True)

    def _p_ctz(self) -> Symbol:
        return self._bit_count("cttz", True)

    def _p_popcount(self) -> Symbol:
        return self._bit_count("ctpop", False)


def _value(x: Symbol) -> int:
    """The number that a literal stands for."""
    number = x.literal
    assert number is not None
    return number - (1 << x.type.bits) if x.type.kind == "s" and number >> x.type.bits - 1 else number


_FOLDS = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "and": lambda x, y: x & y,
    "or": lambda x, y: x | y, "xor": lambda x, y: x ^ y,
}  # fmt: skip


def _folded(operation: str, a: Symbol, b: Symbol) -> Symbol | None:
    """The result if it is known here: of two literals, or where nothing is added or shifted."""
    x, y = a.literal, b.literal
    if y == 0 and operation in ("add", "sub", "or", "xor", "shl", "lshr", "ashr"):
        return a
    if x is None or y is None:
        return None
    if operation in _FOLDS:
        return a.body.constant(_FOLDS[operation](x, y), a.type)
    if operation in ("shl", "lshr", "ashr") and y < a.type.bits:
        return a.body.constant(x << y if operation == "shl" else _value(a) >> y, a.type)
    return None
