"""Expressions with less work and the same bits."""

from __future__ import annotations

from potluck.kernels.expressions.graph import Value


def simplified(value: Value) -> Value:
    """The same bits: a product with x gives NaN of a NaN x by itself, so its other factor need not.

    x * select(x != x, x, r) becomes x * r, as in x sigmoid(x).
    """
    made: dict[Value, Value] = {}
    for item in value.walk():
        inputs = tuple(made[part] for part in item.inputs)
        if item.op == "mul":
            x, y = inputs
            inputs = (_beside(y, x), _beside(x, y))
        made[item] = Value(item.op, item.type, inputs, item.payload) if inputs else item
    return made[value]


def _beside(x: Value, factor: Value) -> Value:
    """What is left of a factor that is only careful to be NaN where x is."""
    if factor.op != "select":
        return factor
    where, kept, result = factor.inputs
    return result if kept == x and where.op == "ne" and where.inputs == (x, x) else factor
