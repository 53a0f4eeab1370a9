"""Folds BatchNormalization into the Conv or Gemm before it, which is exact algebra on constants.

With s = gamma / sqrt(variance + epsilon), BN(W x + b) = (s W) x + (s (b - mean) + beta). The products are
formed in double precision and rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.nodes import (
    add_constant,
    constant,
    drop_unused,
    integer,
    is_op,
    label,
    real,
    sole_user,
)
from potluck.compiler.passes.base import GraphPass

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class FoldBatchnorm(GraphPass):
    """Conv or Gemm with constant weights, then BatchNormalization, becomes one Conv or Gemm."""

    name: ClassVar[str] = "fold_batchnorm"

    def run(self, model: ir.Model) -> int:
        """See `GraphPass.run`."""
        folded = sum(_fold(model.graph, node) for node in list(model.graph) if is_op(node, "Conv", "Gemm"))
        drop_unused(model.graph)
        return folded


def _double(value: ir.Value | None) -> F64 | None:
    array = constant(value)
    return None if array is None else np.asarray(array, np.float64)


def _fold(graph: ir.Graph, node: ir.Node) -> bool:
    norm = sole_user(node.outputs[0])
    if norm is None or not is_op(norm, "BatchNormalization") or norm.inputs[0] is not node.outputs[0]:
        return False
    if integer(norm, "training_mode", 0) or any(output.uses() for output in norm.outputs[1:]):
        return False
    bias_value = node.inputs[2] if len(node.inputs) > 2 else None
    weight, bias = _double(node.inputs[1]), _double(bias_value)
    gamma, beta, mean, variance = (_double(value) for value in norm.inputs[1:5])
    if weight is None or gamma is None or beta is None or mean is None or variance is None:
        return False
    if bias_value is not None and bias is None:
        return False
    factor = gamma / np.sqrt(variance + real(norm, "epsilon", 1e-5))
    if bias is None:
        bias = np.zeros_like(factor)
    if node.op_type == "Gemm":
        # alpha and beta scale the same constants: they are folded on the way.
        weight = weight * real(node, "alpha", 1.0) * (factor[:, None] if _transposed(node) else factor)
        bias = bias * real(node, "beta", 1.0)
        for name in ("alpha", "beta"):
            node.attributes[name] = ir.AttrFloat32(name, 1.0)
    else:
        weight = weight * factor[:, None, None, None] if weight.ndim == 4 else _per_output(weight, factor)
    bias = (bias - mean) * factor + beta

    folded_weight = add_constant(graph, f"{label(node)}_weight_folded", weight.astype(np.float32))
    folded_bias = add_constant(graph, f"{label(node)}_bias_folded", bias.astype(np.float32))
    node.replace_input_with(1, folded_weight)
    node.resize_inputs(3)
    node.replace_input_with(2, folded_bias)
    _take_over(graph, node, norm)
    return True


def _per_output(weight: F64, factor: F64) -> F64:
    return weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))


def _transposed(node: ir.Node) -> bool:
    return bool(integer(node, "transB", 0))


def _take_over(graph: ir.Graph, node: ir.Node, after: ir.Node) -> None:
    """``node`` now computes what ``after`` did; the outer name survives, it may be the graph's output."""
    old, new = node.outputs[0], after.outputs[0]
    name, shape, kind = new.name, new.shape, new.type
    new.replace_all_uses_with(old, replace_graph_outputs=True)
    graph.remove(after, safe=True)
    old.name, old.shape, old.type = name, shape, kind
