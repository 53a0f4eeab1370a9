"""Latencies in a machine file: a number, a table by element width, or an expression, as in Ramulator's declarations.

``fma = 3``, ``fma = { e64 = 5, e32 = 4, e16 = 3, e8 = 2 }``, ``reduction_tail = "4 * log2(lanes)"``.
A formula is evaluated once per decoded instruction and vtype, never while a program runs, so it may not name ``vl``:
what depends on vl is a rate, not a latency.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from potluck.isa.errors import MachineError

NAMES = {
    "sew": "selected element width of vtype in bits",
    "width": "bits of the widest vector or floating operand (or integer, if there is no other) of the instruction",
    "lmul": "register group multiplier of vtype",
    "vlmax": "elements of a register group",
    "vlen": "bits of a vector register",
    "lanes": "64-bit lanes that the instruction runs on",
    "ports": "64-bit memory ports",
    "nf": "fields of a segment access, else 1",
}
"""What a formula may name."""

WIDTHS = (8, 16, 32, 64)
LONGEST = 10_000

_OPERATORS: dict[type[ast.AST], Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_FUNCTIONS: dict[str, Any] = {
    "max": lambda *values: max(values),
    "min": lambda *values: min(values),
    "ceil": math.ceil,
    "log2": lambda value: max(0, math.ceil(value) - 1).bit_length(),  # rounded up; 0 for 1 and less
}


@dataclass(frozen=True)
class Formula:
    """A latency that depends on the instruction and on vtype; ``source`` as the machine file has it."""

    source: str

    @cached_property
    def _tree(self) -> ast.expr:
        return _checked(self.source)

    def at(self, names: Mapping[str, int | Fraction], key: str) -> int:
        """Cycles, rounded up.

        Args:
            names: a value for each of :data:`NAMES`.
            key: the machine key, for errors.

        Raises:
            MachineError: a division by zero.
        """
        try:
            cycles: int = math.ceil(_value(self._tree, names))
        except ZeroDivisionError:
            raise MachineError(f"{self.source!r} divides by zero", key=key) from None
        return cycles


@dataclass(frozen=True)
class ByWidth:
    """A latency by ``width``: cycles of 8-, 16-, 32- and 64-bit work."""

    cycles: tuple[int, int, int, int]

    @property
    def source(self) -> dict[str, int]:
        """As the machine file has it."""
        return {f"e{width}": value for width, value in zip(WIDTHS, self.cycles, strict=True)}

    def at(self, names: Mapping[str, int | Fraction], key: str) -> int:
        """Cycles; work narrower than 8 bits counts as 8-bit work.

        Raises:
            MachineError: work wider than 64 bits.
        """
        for width, value in zip(WIDTHS, self.cycles, strict=True):
            if names["width"] <= width:
                return value
        raise MachineError(f"no latency for {names['width']}-bit work", key=key)


def parse(value: Any) -> int | Formula | ByWidth:
    """What a machine file gives as a latency; a constant expression becomes its number.

    Raises:
        ValueError: not a latency, or a name, function or operator that formulas do not have.
    """
    if isinstance(value, Formula | ByWidth) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, dict):
        wanted = {f"e{width}" for width in WIDTHS}
        if set(value) != wanted or not all(isinstance(v, int) and 1 <= v <= LONGEST for v in value.values()):
            raise ValueError(
                f"a latency by width has the keys e8, e16, e32 and e64, each 1 to {LONGEST} cycles"
            )
        return ByWidth((value["e8"], value["e16"], value["e32"], value["e64"]))
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no latency: give cycles, a table by width or an expression")
    tree = _checked(value)
    if any(isinstance(node, ast.Name) and node.id in NAMES for node in ast.walk(tree)):
        return Formula(value)
    try:
        constant: int = math.ceil(_value(tree, {}))
    except ZeroDivisionError:
        raise ValueError(f"{value!r} divides by zero") from None
    return constant


def evaluate(source: str, names: Mapping[str, int | Fraction], largest: int = 10 * LONGEST) -> int:
    """The value of an expression over any names, rounded up; the same operators and functions as in a latency.

    Args:
        source: the expression, e.g. ``"nCL + nBL + 2 - nCWL"``.
        names: what it may name.
        largest: the largest constant.

    Raises:
        ValueError: not an expression, an unknown name, or a division by zero.
    """
    try:
        value: int = math.ceil(_value(_checked(source, names, largest), names))
    except ZeroDivisionError:
        raise ValueError(f"{source!r} divides by zero") from None
    return value


def _checked(source: str, known: Collection[str] = NAMES, largest: int = LONGEST) -> ast.expr:
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        raise ValueError(f"{source!r} is not an expression") from None
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in _FUNCTIONS and id(node) not in called:
            raise ValueError(f"{source!r}: {node.id} is a function")
        _refuse(node, source, known, largest)
    return tree


def _refuse(node: ast.AST, source: str, known: Collection[str], largest: int) -> None:
    """Raise for a part that formulas do not have."""
    if isinstance(node, ast.Name):
        if node.id not in known and node.id not in _FUNCTIONS:
            hint = " (known only at run time)" if node.id == "vl" else ""
            raise ValueError(f"unknown name {node.id!r}{hint} in {source!r}; known: {', '.join(known)}")
    elif isinstance(node, ast.Constant):
        if type(node.value) is not int or node.value > largest:
            raise ValueError(f"{node.value!r} in {source!r}: constants are whole numbers up to {largest}")
    elif isinstance(node, ast.Call):
        callable_ = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
        if not callable_ or node.keywords or not node.args:
            raise ValueError(f"{source!r}: the functions are {', '.join(_FUNCTIONS)}")
        if isinstance(node.func, ast.Name) and node.func.id in ("ceil", "log2") and len(node.args) != 1:
            raise ValueError(f"{source!r}: {node.func.id} takes one argument")
    elif isinstance(node, ast.Compare):
        if len(node.ops) != 1:
            raise ValueError(f"{source!r}: write one comparison at a time")
    elif not isinstance(node, ast.BinOp | ast.IfExp | ast.Load) and type(node) not in _OPERATORS:
        raise ValueError(f"{source!r}: {type(node).__name__} is not part of a latency")


def _value(node: ast.expr, names: Mapping[str, int | Fraction]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_value(node.left, names), _value(node.right, names))
    if isinstance(node, ast.Compare):
        return _OPERATORS[type(node.ops[0])](_value(node.left, names), _value(node.comparators[0], names))
    if isinstance(node, ast.IfExp):
        return _value(node.body if _value(node.test, names) else node.orelse, names)
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return _FUNCTIONS[node.func.id](*(_value(argument, names) for argument in node.args))
