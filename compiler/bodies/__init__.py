"""Operators as graphs of simpler ones, for those that are no functions of ONNX's own: text in ONNX's syntax.

A body is declared with the operator's name; it reads the node (attributes, shapes) and returns statements over the
inputs ``x0, x1, ...`` and the outputs ``y0, y1, ...``, or None if the node is one that it does not cover.

    @body("GlobalMaxPool")
    def global_max(node): return f"y0 = ReduceMax <keepdims = 1> (x0, {ints(2, 3)})"

Statements may use `ints(...)`, `scalar(...)` and `number(...)` in place of names; they become constants.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable
from functools import cache

import onnx
import onnx_ir as ir

Body = Callable[[ir.Node], str | None]
REGISTERED: dict[str, Body] = {}
"""Operator -> body."""
MODULES = ("convolution", "normalization", "scan", "products", "recurrent", "integers", "einsum", "fourier")
"""Modules of this package that declare bodies."""
LARGEST = 1 << 62
"""Behind the end of any axis; less than it, before its start."""
EXPANDED = "potluck.expanded"
"""Domain of the functions that nodes become before they are inlined."""


def body(*names: str) -> Callable[[Body], Body]:
    """Registers a body for operators."""

    def register(made: Body) -> Body:
        REGISTERED.update(dict.fromkeys(names, made))
        return made

    return register


def ints(*values: int) -> str:
    """A constant INT64 vector."""
    return f"ints[{' '.join(map(str, values))}]"


def scalar(value: int) -> str:
    """A constant INT64 number."""
    return f"int[{value}]"


def number(value: float) -> str:
    """A constant FP32 number."""
    return f"float[{float(value).hex()}]"


@cache
def bodies() -> dict[str, Body]:
    """Operator -> body, of all modules."""
    for module in MODULES:
        importlib.import_module(f"{__name__}.{module}")
    return REGISTERED


def function_of(node: ir.Node, name: str, opset: int) -> ir.Function | None:
    """The function that a node is, by a body of ours; None if there is none."""
    made = bodies().get(node.op_type) if node.domain in ("", "ai.onnx") else None
    statements = made(node) if made else None
    if statements is None:
        return None
    inputs = ", ".join(f"x{index}" for index in range(len(node.inputs)))
    outputs = ", ".join(f"y{index}" for index in range(len(node.outputs)))
    text = (
        f'<domain: "{EXPANDED}", opset_import: ["" : {opset}]>\n{name} ({inputs}) => ({outputs}) {{\n'
        f"{_constants(statements)}\n}}"
    )
    return ir.serde.deserialize_function(onnx.parser.parse_function(text))


_CONSTANT = re.compile(r"(ints|int|float)\[([^\]]*)\]")


def _constants(statements: str) -> str:
    names: dict[str, str] = {}
    lines: list[str] = []

    def named(match: re.Match[str]) -> str:
        if match[0] not in names:
            names[match[0]] = f"constant{len(names)}"
            if match[1] == "float":
                attribute = f"value_float = {_literal(float.fromhex(match[2]))}"
            elif match[1] == "int":
                attribute = f"value_int = {match[2]}"
            else:
                attribute = f"value_ints = [{', '.join(match[2].split())}]"
            if match[2]:
                lines.append(f"{names[match[0]]} = Constant <{attribute}> ()")
            else:
                lines.append(f"{names[match[0]]} = Constant <value = int64[0] {{}}> ()")
        return names[match[0]]

    used = _CONSTANT.sub(named, statements)
    return "\n".join([*lines, used])


def _literal(value: float) -> str:
    if math.isnan(value):
        raise ValueError(f"no literal for {value}")
    text = repr(value)
    return text if math.isinf(value) or any(c in text for c in ".e") else f"{text}.0"
