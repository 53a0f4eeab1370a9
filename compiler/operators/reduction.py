"""Reductions over any axes, and the places of extremes: expressions that are combined dimension by dimension."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from potluck.compiler.graph.nodes import constant as known
from potluck.compiler.graph.nodes import integer, ints, label, shape_of, title
from potluck.compiler.lowering.base import Constant, Tensor
from potluck.compiler.lowering.base import constant as make_constant
from potluck.compiler.lowering.pointwise import PointwisePlan
from potluck.compiler.lowering.reduction import Matrix, ReductionPlan, chunk_of
from potluck.compiler.operators.base import TYPES, UNSIGNED, operator, typed
from potluck.compiler.operators.pointwise import absolute, convert
from potluck.kernels.expressions import functions as f
from potluck.kernels.expressions import graph as g
from potluck.kernels.expressions.graph import F32, FLOATING, I32, I64, MASK, Value, argument
from potluck.kernels.expressions.meaning import DTYPES, REGISTER
from potluck.kernels.reduction import Operation, identity

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector

NHWC = (0, 2, 3, 1)


@dataclass(frozen=True)
class Rule:
    """One operator.

    Attributes:
        combine: Operation.
        before: Of each element.
        after: Of the combined value and the number of elements.
    """

    combine: Operation
    before: Callable[[Value], Value] = lambda x: x
    after: Callable[[Value, int], Value] | None = None


def _mean(total: Value, count: int) -> Value:
    exact = total.type in FLOATING and count & (count - 1) == 0
    return total * (1 / count) if exact else total / count


RULES = {
    "ReduceSum": Rule("add"),
    "ReduceMean": Rule("add", after=_mean),
    "ReduceMax": Rule("max"),
    "ReduceMin": Rule("min"),
    "ReduceProd": Rule("mul"),
    "ReduceSumSquare": Rule("add", lambda x: x * x),
    "ReduceL1": Rule("add", absolute),
    "ReduceL2": Rule("add", lambda x: x * x, lambda x, _: g.unary("sqrt", x)),
    "ReduceLogSum": Rule("add", after=lambda x, _: f.log(x)),
}


def _axes(node: ir.Node) -> tuple[int, ...] | None:
    """The reduced axes; None if they are not known."""
    assert node.inputs[0] is not None
    rank = len(shape_of(node.inputs[0], node))
    if "axes" in node.attributes:
        axes: Sequence[int] = ints(node, "axes", ())
    elif len(node.inputs) > 1 and node.inputs[1] is not None:
        array = known(node.inputs[1])
        if array is None:
            return None
        axes = [int(axis) for axis in np.asarray(array).reshape(-1)]
    else:
        axes = ()
    if not axes and not integer(node, "noop_with_empty_axes", 0):
        axes = range(rank)
    return tuple(sorted({axis % rank for axis in axes}))


def _reduce_rule(node: ir.Node) -> str | None:
    real = ("ReduceLogSum", "ReduceLogSumExp")
    doubles = () if node.op_type in real else (ir.DataType.DOUBLE,)
    reason = typed(node, (*TYPES, *UNSIGNED, *doubles))
    if reason:
        return reason
    if _axes(node) is None:
        return "its axes are not constant"
    data = node.inputs[0]
    assert data is not None
    if data.dtype not in (None, ir.DataType.FLOAT, *doubles) and node.op_type in (*real, "ReduceL2"):
        assert data.dtype is not None
        return f"its input is {data.dtype.name}, only FLOAT has a kernel"
    if 0 in shape_of(data, node):
        return "its input has no elements"
    return None


class Combination:
    """Adds the layers of one reduction.

    Args:
        selector: To.
        node: Of.
        axes: Reduced, in the order of ONNX.
        keeps: Whether they stay as dimensions of 1.
    """

    def __init__(self, selector: Selector, node: ir.Node, axes: Sequence[int], keeps: bool) -> None:
        self.selector, self.node = selector, node
        x = selector.tensor(node.inputs[0], node)
        if x.channels_last and not keeps:
            left = [axis for axis in NHWC if axis not in axes and x.shape[axis] > 1]
            if left != sorted(
                left
            ):  # what is left would lie in another order than a tensor of less dimensions
                x = selector.ordered(x, channels_last=False)
        self.x = x
        order = NHWC if x.channels_last else range(len(x.shape))
        self.shape = tuple(x.shape[axis] for axis in order)
        self.axes = tuple(place for place, axis in enumerate(order) if axis in axes)
        self.kept = tuple(1 if place in self.axes else size for place, size in enumerate(self.shape))
        self.last = x.channels_last and keeps

    def add(
        self,
        combine: Operation,
        value: Value,
        post: Value | None,
        others: Sequence[tuple[Tensor | Constant, tuple[int, ...]]] = (),
        y: Tensor | None = None,
    ) -> Tensor:
        """Combines one expression.

        Args:
            combine: Operation.
            value: Of the node's first input and ``others``.
            post: Of the result.
            others: Further operands and their shapes as they lie in memory.
            y: Where to; by default a tensor of its own that keeps the reduced axes.
        """
        return combined(
            self.selector, self.node, combine, value, post, [(self.x, self.shape), *others], self.shape, self.axes, y
        )  # fmt: skip


def combined(
    selector: Selector,
    node: ir.Node,
    combine: Operation,
    value: Value,
    post: Value | None,
    operands: Sequence[tuple[Tensor | Constant, tuple[int, ...]]],
    shape: tuple[int, ...],
    axes: Sequence[int],
    y: Tensor | None = None,
) -> Tensor:
    """Combines an expression of broadcast operands along axes: one layer for each run of neighbours among them.

    Args:
        selector: To.
        node: Of.
        combine: Operation.
        value: Of ``operands``.
        post: Of the result.
        operands: With their shapes as they lie in memory.
        shape: What the operands broadcast to.
        axes: Reduced ones of ``shape``.
        y: Where to; by default a tensor of its own that keeps the reduced axes.
    """
    inputs: list[Tensor | Constant] = [item for item, _ in operands]
    shapes = [size for _, size in operands]
    name = DTYPES[value.type].name
    while True:
        group = _innermost(shape, axes)
        matrix = Matrix.of(shape, shapes, group)
        chunk = chunk_of(matrix, inputs, selector.target)
        chunks = -(-matrix.reduced.size // chunk)  # the results of several are combined by the next turn
        final = chunks == 1 and group == [axis for axis in axes if shape[axis] > 1]
        shape = _after(shape, group, chunks)
        target = y if final and y is not None else _fresh(selector, node, shape, name)
        selector.plans.append(
            ReductionPlan(
                label(node), title(node), combine, value, post if final else None, tuple(inputs), matrix, chunk,
                target, selector.target,
            )
        )  # fmt: skip
        if final:
            return target
        inputs, shapes, value = [target], [shape], argument(0, value.type)


def _innermost(shape: Sequence[int], axes: Sequence[int]) -> list[int]:
    """The last reduced axes that have no kept ones between them."""
    group: list[int] = []
    for axis in reversed(range(len(shape))):
        if axis in axes and shape[axis] > 1:
            group.insert(0, axis)
        elif group and shape[axis] > 1:
            break
    return group


def _after(shape: Sequence[int], group: Sequence[int], chunks: int) -> tuple[int, ...]:
    first = group[:1]
    return tuple(chunks if axis in first else 1 if axis in group else size for axis, size in enumerate(shape))


def _fresh(selector: Selector, node: ir.Node, shape: tuple[int, ...], dtype: str) -> Tensor:
    return selector.fresh(f"{label(node)}_partial{len(selector.plans)}", shape, dtype)


def _accumulated(x: Value) -> Value:
    """In a type that results are collected in."""
    return convert(x, I32) if x.type == MASK else x


@operator(*RULES, rule=_reduce_rule)
def _reduce(selector: Selector, node: ir.Node) -> None:
    """One expression, combined."""
    axes, keeps = _axes(node), bool(integer(node, "keepdims", 1))
    assert axes is not None
    made = Combination(selector, node, axes, keeps)
    rule = RULES[node.op_type]
    value = rule.before(_accumulated(argument(0, REGISTER[made.x.dtype])))
    count = math.prod(made.shape[axis] for axis in made.axes)
    post = None if rule.after is None else rule.after(argument(0, value.type), count)
    y = selector.new(node.outputs[0], channels_last=made.last)
    made.add(rule.combine, value, post, y=y)


@operator("ReduceLogSumExp", rule=_reduce_rule)
def _log_sum_exp(selector: Selector, node: ir.Node) -> None:
    """The maximum, the logarithm of the sum of exponentials relative to it, and their sum."""
    axes, keeps = _axes(node), bool(integer(node, "keepdims", 1))
    assert axes is not None
    made = Combination(selector, node, axes, keeps)
    x, top = argument(0, F32), argument(1, F32)
    base = g.select(g.equal(g.unary("abs", top), math.inf), g.constant(0.0), top)
    highest = made.add("max", x, None)
    logarithm = made.add("add", f.exp(x - base), f.log(argument(0, F32)), [(highest, made.kept)])
    y = selector.new(node.outputs[0], channels_last=made.last)
    sum_ = argument(0, F32) + base
    shape = y.stored_shape
    selector.plans.append(
        PointwisePlan(label(node), title(node), sum_, (logarithm, highest), (shape, shape), y)
    )


def _place_rule(node: ir.Node) -> str | None:
    reason = typed(node, (*TYPES, *UNSIGNED))
    if reason:
        return reason
    assert node.inputs[0] is not None
    return "its input has no elements" if 0 in shape_of(node.inputs[0], node) else None


@operator("ArgMax", "ArgMin", rule=_place_rule)
def _place(selector: Selector, node: ir.Node) -> None:
    """The extreme, then the smallest (or largest) place where it lies."""
    assert node.inputs[0] is not None
    rank = len(shape_of(node.inputs[0], node))
    made = Combination(selector, node, [integer(node, "axis", 0) % rank], bool(integer(node, "keepdims", 1)))
    x = _accumulated(argument(0, REGISTER[made.x.dtype]))
    extreme: Operation = "max" if node.op_type == "ArgMax" else "min"
    first: Operation = "max" if integer(node, "select_last_index", 0) else "min"
    (axis,) = made.axes
    count = made.shape[axis]
    found = made.add(extreme, x, None)
    sizes = tuple(count if place == axis else 1 for place in range(rank))
    places = make_constant(
        f"{label(node)}_places", "values", np.arange(count, dtype=np.int32).reshape(sizes), "INT32"
    )
    here = g.equal(x, argument(1, x.type))
    nowhere = g.constant(-1 if first == "max" else identity("min", I64), I64)
    value = g.select(here, g.cast("widen", argument(2, I32)), nowhere)
    y = selector.new(node.outputs[0], channels_last=made.last)
    made.add(first, value, None, [(found, made.kept), (places, sizes)], y)
