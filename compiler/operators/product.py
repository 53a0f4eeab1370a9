"""Gemm and MatMul: with a constant matrix, which is packed, and of two tensors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from potluck.compiler.graph.mx_nodes import decodable, operands_reason, quantizer
from potluck.compiler.graph.nodes import DOMAIN, constant, integer, label, real, shape_of, title
from potluck.compiler.graph.reading import as_conv, bias_of, bounds_of, weights_of, weights_reason
from potluck.compiler.lowering import gemv
from potluck.compiler.lowering.base import Tensor
from potluck.compiler.lowering.base import constant as make_constant
from potluck.compiler.lowering.conv import ConvPlan
from potluck.compiler.lowering.dense import DensePlan
from potluck.compiler.lowering.matmul import MatMulPlan, Product, parts
from potluck.compiler.lowering.windows import Geometry
from potluck.compiler.operators.base import floats, operator
from potluck.isa.errors import MachineError
from potluck.isa.formats.mx import MxTensor

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector


def _gemm(node: ir.Node) -> str | None:
    reason = floats(node) or weights_reason(node)
    if reason:
        return reason
    if integer(node, "transA", 0):
        return "transA is set, which has no kernel"
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is not None and bias.size not in (1, shape_of(node.outputs[0], node)[1]):
        return f"its bias of shape {list(bias.shape)} is not one value per column"
    if quantizer(node.inputs[0]) is not None and real(node, "alpha", 1.0) != 1.0:
        return "alpha is not 1 in an MX product"
    return operands_reason(node, 1, 1 if integer(node, "transB", 0) else 0)


def _matmul(node: ir.Node) -> str | None:
    reason = floats(node)
    if reason:
        return reason
    if _general(node):
        return _general_reason(node)
    reason = weights_reason(node)
    if reason:
        return reason
    data = node.inputs[0]
    assert data is not None
    return operands_reason(node, len(shape_of(data, node)) - 1, 0)


def _general(node: ir.Node) -> bool:
    """Whether a product is one of two tensors; a constant matrix is packed."""
    data, weight = node.inputs[0], node.inputs[1]
    assert data is not None and weight is not None
    matrices = len(shape_of(weight, node)) == 2 and len(shape_of(data, node)) >= 2
    return not matrices or (constant(data) is not None) or (weights_reason(node) is not None)


def _general_reason(node: ir.Node) -> str | None:
    for value in node.inputs[:2]:
        assert value is not None
        if value.dtype not in (None, ir.DataType.FLOAT):
            assert value.dtype is not None
            return f"its tensor {value.name!r} is {value.dtype.name}, only FLOAT is computed"
        if quantizer(value) is not None:
            return "products of two MX activations have no kernel"
        if 0 in shape_of(value, node):
            return f"its tensor {value.name!r} has no elements"
    return "its bias needs a constant matrix" if len(node.inputs) > 2 else None


def _plan_general(selector: Selector, node: ir.Node) -> None:
    """A product of two tensors, in parts of the contraction that each go on from the sums of the one before."""
    operands, shapes = [], []
    for value in node.inputs[:2]:
        assert value is not None
        array = constant(value)
        shapes.append(shape_of(value, node))
        operands.append(
            selector.tensor(value, node, channels_last=False)
            if array is None
            else make_constant(value.name or "", "values", np.asarray(array, np.float32))
        )
    product, y = Product.of(*shapes), selector.new(node.outputs[0])
    pieces = parts(product.k, selector.target)
    bounds, open_ends = bounds_of(node), (-math.inf, math.inf)
    left, right = operands
    total: Tensor | None = None
    for number, (first, length) in enumerate(pieces):
        last = number + 1 == len(pieces)
        made = y if last else selector.fresh(f"{label(node)}_part{number}", y.shape)
        limits = bounds if last else open_ends
        selector.plans.append(
            MatMulPlan(
                label(node),
                title(node),
                product,
                left,
                right,
                made,
                first,
                length,
                limits,
                selector.target,
                total,
            )
        )
        total = made


@operator("MatMul", f"{DOMAIN}.FusedMatMul", rule=_matmul, order="row")
@operator("Gemm", f"{DOMAIN}.FusedGemm", rule=_gemm, order="row")
def _plan(selector: Selector, node: ir.Node) -> None:
    """Gemm and MatMul: a 1x1 convolution whose image is the rows of the matrix."""
    if "MatMul" in node.op_type and _general(node):
        _plan_general(selector, node)
        return
    x, y = selector.tensor(node.inputs[0], node, channels_last=False), selector.new(node.outputs[0])
    transposed = bool(integer(node, "transB", 0))
    alpha, beta = real(node, "alpha", 1.0), real(node, "beta", 1.0)
    along = decodable(node, 1 if transposed else 0) and alpha == 1.0 and not selector.target.flat
    weights = as_conv(weights_of(node.inputs[1], x.mx, along), transposed)
    if isinstance(weights, np.ndarray):
        weights = np.asarray(weights * np.float32(alpha), np.float32)
    bias, bias_name = bias_of(node, y.shape[-1])
    bias = np.asarray(bias * np.float32(beta), np.float32)
    name = node.inputs[1].name if node.inputs[1] is not None else None
    rows = math.prod(y.shape[:-1])
    bounds, name = bounds_of(node), name or ""
    if rows > 1:
        width = next((size for size in range(8, 3, -1) if rows % size == 0), rows if rows < 64 else 1)
        ones, zeros = (1, 1), (0, 0, 0, 0)
        geometry = Geometry(rows // width, width, ones, ones, ones, zeros, rows // width, width)
        try:
            selector.plans.append(
                ConvPlan(
                    label(node), title(node), x, y, 1, geometry, weights, name, bias, bias_name, bounds,
                    selector.target,
                )
            )  # fmt: skip
            return
        except MachineError:  # even 8 columns of weights are too many: take them in pieces
            pass
    if isinstance(weights, MxTensor) and gemv.takes(x, weights, selector.target):
        selector.plans.append(
            gemv.GemvPlan(
                label(node),
                title(node),
                x,
                (gemv.Part(weights, name, y),),
                bias,
                bias_name,
                bounds,
                selector.target,
            )
        )
        return
    selector.plans.append(
        DensePlan(label(node), title(node), x, y, weights, name, bias, bias_name, bounds, selector.target)
    )
