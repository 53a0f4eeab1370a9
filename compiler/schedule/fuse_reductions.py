"""A reduction with what is computed of its operand before it, and of its result behind it: one layer.

A norm so is a reduction, x x before it and 1 / sqrt(mean + epsilon) behind it, and one elementwise layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from potluck.compiler.lowering.base import Constant, LayerPlan, Source, Tensor
from potluck.compiler.lowering.pointwise import Axis
from potluck.compiler.lowering.reduction import Matrix, ReductionPlan, chunk_of
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.expressions.graph import F32, Value, argument, constant
from potluck.kernels.reduction import MOST

LIGHT = 2
"""Operations before a reduction at most: of a single row one core computes them all."""


@dataclass(frozen=True)
class Form:
    """An elementwise layer as an expression; attributes as those of `PointwisePlan`."""

    value: Value
    inputs: tuple[Source, ...]
    shapes: tuple[tuple[int, ...], ...]
    y: Tensor


def reduced(first: LayerPlan, before: Form, second: ReductionPlan) -> ReductionPlan | None:
    """A few operations and the reduction of their result; None if operands repeat, or the reduction takes more."""
    elements = before.y.elements
    operations = [item.op for item in before.value.walk() if item.inputs]
    axes = (*second.matrix.outer, second.matrix.kept, second.matrix.reduced)
    plain = len(second.inputs) == 1 and all(axis.varies == (True,) for axis in axes)
    full = all(math.prod(shape) == elements for shape in before.shapes)
    if not (plain and full) or len(before.inputs) > MOST or second.chunk < second.matrix.reduced.size:
        return None
    if len(operations) > LIGHT or "div" in operations or "sqrt" in operations:
        return None
    every = (True,) * len(before.inputs)
    matrix = Matrix(
        tuple(Axis(axis.size, every) for axis in second.matrix.outer),
        Axis(second.matrix.kept.size, every),
        Axis(second.matrix.reduced.size, every),
        second.matrix.last,
    )
    if chunk_of(matrix, before.inputs, second.target) < matrix.reduced.size:
        return None
    value = replaced(second.value, {0: (0, before.value)})
    return _emitted(
        replace(second, op=f"{first.op}+{second.op}", value=value, inputs=before.inputs, matrix=matrix)
    )


def reduced_and_more(first: ReductionPlan, second: LayerPlan, after: Form) -> ReductionPlan | None:
    """A reduction and what is computed of each of its results and of numbers; None if there is something else."""
    if first.chunk < first.matrix.reduced.size or first.y.dtype != "float32" or first.value.type != F32:
        return None
    if after.y.elements != first.y.elements:
        return None
    inner = first.post if first.post is not None else argument(0, F32)
    arguments: dict[int, tuple[int, Value | None]] = {}
    for index, item in enumerate(after.inputs):
        if isinstance(item, Tensor):
            if item.storage is not first.y.storage or item.elements != first.y.elements:
                return None
            arguments[index] = (0, inner)
        elif item.format == "FP32" and math.prod(item.shape) == 1:
            arguments[index] = (0, constant(_number(item)))
        else:
            return None
    return _emitted(
        replace(
            first,
            name=second.name,
            op=f"{first.op}+{second.op}",
            post=replaced(after.value, arguments),
            y=after.y,
        )
    )


def _number(item: Constant) -> float:
    return float(np.frombuffer(item.data, np.float32)[0])


def _emitted(plan: ReductionPlan) -> ReductionPlan | None:
    """The layer, if registers suffice for its values."""
    try:
        plan.kernel.emit(Assembler())
    except DataError:
        return None
    return plan


def replaced(value: Value, arguments: dict[int, tuple[int, Value | None]]) -> Value:
    """An expression with other arguments: another index, or an expression."""
    made: dict[Value, Value] = {}
    for item in value.walk():
        if item.op == "argument":
            index, inner = arguments[int(item.payload)]
            made[item] = inner if inner is not None else argument(index, item.type)
        elif item.inputs:
            made[item] = Value(item.op, item.type, tuple(made[part] for part in item.inputs), item.payload)
        else:
            made[item] = item
    return made[value]
