"""Divisions whose divisors repeat become products with reciprocals, which are computed once.

A division takes a machine without pipelined dividers tens of cycles per element. A product with the rounded reciprocal
differs from the quotient by at most 1.5 ulp, as long as both are normal numbers: known constants are checked, and the
square root of any FP32 number has a normal reciprocal. ONNX states LayerNormalization this way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from potluck.compiler.graph.nodes import add_constant, constant, drop_unused, is_op, label, shape_of
from potluck.compiler.passes.base import GraphPass

OFTEN = 4
"""Times that a divisor is used at least for its reciprocal to pay."""
STEPS = frozenset({
    "Floor", "Ceil", "Round", "Cast", "CastLike", "Mod", "Sign", "Equal", "Less", "LessOrEqual", "Greater",
    "GreaterOrEqual", "ArgMax", "ArgMin", "TopK", "NonZero", "Unique", "Hardmax", "QuantizeLinear",
    "DynamicQuantizeLinear", "Resize", "GridSample", "Range",
})  # fmt: skip
"""Operators where a last bit decides: floor(x / 41) of x = 41 is 1 by division and 0 by product."""
SMOOTH = frozenset({
    "MatMul", "Gemm", "Conv", "Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization", "ReduceMean",
    "ReduceSum", "Tanh", "Erf", "Sigmoid", "Exp",
})  # fmt: skip
"""Operators behind which a last bit is one of many: what follows them is not looked at."""


@dataclass(frozen=True)
class Reciprocals(GraphPass):
    """FP32 Div by a constant, or by a square root that is broadcast, becomes Mul."""

    name: ClassVar[str] = "reciprocals"

    def run(self, model: ir.Model) -> int:
        """See `GraphPass.run`."""
        made: dict[ir.Value, ir.Value] = {}
        changed = sum(_multiply(model.graph, node, made) for node in list(model.graph) if is_op(node, "Div"))
        drop_unused(model.graph)
        return changed


def _multiply(graph: ir.Graph, node: ir.Node, made: dict[ir.Value, ir.Value]) -> bool:
    """Whether a division became a product; ``made``: reciprocals of roots so far."""
    divisor, result = node.inputs[1], node.outputs[0]
    if divisor is None or result.dtype is not ir.DataType.FLOAT or constant(node.inputs[0]) is not None:
        return False
    if math.prod(shape_of(result, node)) < OFTEN or _decides(result):
        return False
    if constant(divisor) is not None:
        factor = _constant(graph, node, divisor)
    else:
        factor = made.get(divisor) or _root(graph, node, divisor)
        if factor is not None:
            made[divisor] = factor
    if factor is None:
        return False
    product = ir.Node("", "Mul", [node.inputs[0], factor], name=label(node), num_outputs=1)
    product.outputs[0].shape, product.outputs[0].type = result.shape, result.type
    product.outputs[0].name = result.name
    ir.convenience.replace_nodes_and_values(graph, node, [node], [product], [result], [product.outputs[0]])
    return True


def _decides(value: ir.Value) -> bool:
    """Whether a step hangs on a value, be it over sums, products and moves."""
    seen, left = {value}, [value]
    while left:
        for user in left.pop().consumers():
            if user.op_type in STEPS:
                return True
            if user.op_type in SMOOTH:
                continue
            new = [output for output in user.outputs if output not in seen]
            seen.update(new)
            left += new
    return False


def _constant(graph: ir.Graph, node: ir.Node, divisor: ir.Value) -> ir.Value | None:
    values = np.asarray(constant(divisor), np.float32)
    with np.errstate(all="ignore"):
        made = np.asarray(np.float32(1) / values, np.float32)
    tiny = np.finfo(np.float32).tiny
    if not all(np.all(np.isfinite(part) & (np.abs(part) >= tiny)) for part in (values, made)):
        return None
    return add_constant(graph, f"{divisor.name}_reciprocal", made)


def _root(graph: ir.Graph, node: ir.Node, divisor: ir.Value) -> ir.Value | None:
    uses = math.prod(shape_of(node.outputs[0], node)) / max(1, math.prod(shape_of(divisor, node)))
    if not is_op(divisor.producer(), "Sqrt") or uses < OFTEN:
        return None
    made = ir.Node("", "Reciprocal", [divisor], name=f"{label(node)}_reciprocal", num_outputs=1)
    made.outputs[0].name = f"{divisor.name}_reciprocal"
    made.outputs[0].shape, made.outputs[0].type = divisor.shape, divisor.type
    graph.insert_before(node, made)
    return made.outputs[0]
