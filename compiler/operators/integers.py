"""8-bit activations: quantization, dequantization, integer products and sums."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.functions.integers import LAWS
from potluck.compiler.graph.integer_nodes import CODES, affine_of, code_table, group_of, levels_of
from potluck.compiler.graph.mx_nodes import MX_ELEMENTS, dequantizer, scales_reason
from potluck.compiler.graph.nodes import DOMAIN, constant, integer, ints, label, real, shape_of, title
from potluck.compiler.graph.reading import geometry_of
from potluck.compiler.lowering.adapters_int8 import AddInt8Tile, DequantizeInt8Tile, QuantizeInt8Tile
from potluck.compiler.lowering.base import Tensor
from potluck.compiler.lowering.conv import ConvPlan
from potluck.compiler.lowering.depthwise import DepthwisePlan
from potluck.compiler.lowering.packing import IntegerWeights
from potluck.compiler.lowering.pot import cheaper
from potluck.compiler.lowering.stream import Stream
from potluck.compiler.lowering.windows import Geometry
from potluck.compiler.operators import linear
from potluck.compiler.operators.base import operator, stream
from potluck.isa.formats.requantize import REQUANTIZATIONS
from potluck.kernels.conv.int8 import narrow_steps
from potluck.kernels.elementwise_int8 import AddInt8, Affine, DequantizeInt8, QuantizeInt8
from potluck.kernels.requantize import Finish

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector

_FINISH = {short: law for law, short in LAWS.items()}
_CONVS = tuple(f"{DOMAIN}.IntegerConv{law}" for law in _FINISH)
_MATMULS = tuple(f"{DOMAIN}.IntegerMatMul{law}" for law in _FINISH)


def _quantize(node: ir.Node) -> str | None:
    return None if affine_of(node, "QuantizeLinear") is not None else linear.reason(node)


def _dequantize(node: ir.Node) -> str | None:
    if affine_of(node, "DequantizeLinear") is not None:
        return None
    if dequantizer(node.outputs[0]) is None:
        return linear.reason(node)
    codes, scale = node.inputs[0], node.inputs[1]
    assert codes is not None and scale is not None
    reason = scales_reason(node)
    if reason:
        return reason
    if scale.dtype is ir.DataType.FLOAT8E8M0:
        return None if codes.dtype in MX_ELEMENTS else "its elements are of no MX format"
    return None if scale.dtype is ir.DataType.FLOAT else "its scales are neither FP32 nor E8M0"


def _product(node: ir.Node) -> str | None:
    weights, data = node.inputs[2], node.inputs[0]
    if constant(weights) is None or any(constant(item) is None for item in node.inputs[1:]):
        return "its weights or scales are computed at run time"
    assert data is not None
    if data.dtype not in CODES:
        return "its activation is neither INT8 nor UINT8"
    return None


def _conv(node: ir.Node) -> str | None:
    reason, data = _product(node), node.inputs[0]
    assert data is not None
    shape, group = shape_of(data, node), integer(node, "group", 1)
    if reason or len(shape) != 4:
        return reason or f"its input has {len(shape)} dimensions, only images (4) have kernels"
    if group not in (1, shape[1]) or (group > 1 and shape_of(node.outputs[0], node)[1] != group):
        return f"it has {group} groups of {shape[1]} channels; only 1 group and depthwise have kernels"
    if group > 1 and ints(node, "kernel_shape", (1, 1))[1] > 8:
        return "its depthwise INT8 kernel is wider than 8"
    return None


def _matmul(node: ir.Node) -> str | None:
    reason, data = _product(node), node.inputs[0]
    assert data is not None
    rank = len(shape_of(data, node))
    return reason or ("a product of a vector and a matrix has no kernel" if rank == 1 else None)


@operator("QuantizeLinear", rule=_quantize)
def _plan_quantize(selector: Selector, node: ir.Node) -> None:
    """FP32 activation to codes."""
    affine = affine_of(node, "QuantizeLinear")
    if affine is None or selector.tensor(node.inputs[0], node).dtype != "float32":
        linear.plan_quantize(selector, node)
        return
    x = selector.tensor(node.inputs[0], node)
    y = selector.new(node.outputs[0], channels_last=x.channels_last, affine=affine)
    kernel = QuantizeInt8Tile(QuantizeInt8(affine))
    held = affine.dtype.name
    stream(selector, node, (Stream(x, 4),), (Stream(y, 1),), y.elements, kernel, 16, held)


@operator("DequantizeLinear", rule=_dequantize)
def _plan_dequantize(selector: Selector, node: ir.Node) -> None:
    """Codes to FP32; for weights nothing runs: whoever multiplies by them packs them."""
    affine = affine_of(node, "DequantizeLinear")
    if affine is None:
        if dequantizer(node.outputs[0]) is None:
            linear.plan_dequantize(selector, node)
        return
    x = selector.tensor(node.inputs[0], node)
    y = selector.new(node.outputs[0], channels_last=x.channels_last)
    kernel = DequantizeInt8Tile(DequantizeInt8(affine))
    held = affine.dtype.name
    stream(selector, node, (Stream(x, 1),), (Stream(y, 4),), y.elements, kernel, 16, held)


@operator(f"{DOMAIN}.PotDequantize", rule=lambda node: None if levels_of(node.outputs[0]) else "not constant")
def _plan_pot(selector: Selector, node: ir.Node) -> None:
    """Nothing runs: whoever multiplies by the weights packs their levels."""


def _constants(node: ir.Node, at: int) -> NDArray[np.generic]:
    array = constant(node.inputs[at])
    assert array is not None
    return array


def _integers(
    node: ir.Node, levels: NDArray[np.generic], channels: int, depthwise: bool = False
) -> tuple[IntegerWeights, Affine | None]:
    """Weights [Cout, C, KH, KW] with their constants, and what the output's codes mean (scale unknown: 1)."""
    law = _FINISH[node.op_type.removeprefix("IntegerConv").removeprefix("IntegerMatMul")]
    zero = int(_constants(node, 1).reshape(()))
    whole = levels.astype(np.int64)
    # The kernels multiply raw codes: the activation's zero point goes into the bias, modulo 2^32.
    sums = whole.reshape(channels, -1).sum(axis=1)
    bias = np.broadcast_to(_constants(node, 3).astype(np.int64).reshape(-1), (channels,)) - zero * sums
    rows = [bias.astype(np.int32)]
    count = len(node.inputs) - (4 if law == "float" else 5)
    for at in range(4, 4 + count):
        row = np.broadcast_to(_constants(node, at).reshape(-1), (channels,))
        rows.append(
            row.astype(np.float32).view(np.int32) if row.dtype == np.float32 else row.astype(np.int32)
        )
    low, high = real(node, "min", -math.inf), real(node, "max", math.inf)
    affine = None
    if law == "float":
        finish = Finish("float", 0, None if math.isinf(low) else low, None if math.isinf(high) else high)
    else:
        assert law in REQUANTIZATIONS
        out = _constants(node, len(node.inputs) - 1)
        point = int(out.reshape(()))
        finish = Finish(law, point, low + point, high + point)
        affine = Affine(1.0, point, out.dtype == np.uint8)
    held, table = code_table(node.inputs[2])
    data = node.inputs[0]
    unsigned = data is not None and data.dtype is ir.DataType.UINT8
    narrow = 0 if depthwise else narrow_steps(whole, unsigned)
    group = 0 if depthwise else group_of(node.inputs[2])
    return IntegerWeights(whole, np.stack(rows), finish, held, table, narrow, group), affine


def _codes(selector: Selector, node: ir.Node, channels_last: bool) -> Tensor:
    """The activation, which knows its zero point: an input of the network does not know what its codes mean."""
    x = selector.tensor(node.inputs[0], node, channels_last)
    if x.affine is not None:
        return x
    return replace(x, affine=Affine(1.0, int(_constants(node, 1).reshape(())), x.dtype == "uint8"))


@operator(*_CONVS, rule=_conv, order="NHWC")
def _plan_conv(selector: Selector, node: ir.Node) -> None:
    """Convolutions of codes, dense and depthwise."""
    x, levels = _codes(selector, node, channels_last=True), _constants(node, 2)
    depthwise = integer(node, "group", 1) > 1
    weights, affine = _integers(node, levels, len(levels), depthwise)
    y = selector.new(node.outputs[0], channels_last=True, affine=affine)
    geometry = geometry_of(node, x.shape, y.shape)
    name, common = _name(node, 2), (label(node), title(node), x, y)
    none, bias, open_ended = np.zeros(0, np.float32), _name(node, 3), (-math.inf, math.inf)
    plan: ConvPlan | DepthwisePlan
    if depthwise:
        plan = DepthwisePlan(*common, geometry, weights, name, none, bias, open_ended, selector.target)
    else:
        plan = ConvPlan(*common, x.shape[0], geometry, weights, name, none, bias, open_ended, selector.target)
    selector.plans.append(cheaper(plan))


@operator(*_MATMULS, rule=_matmul, order="row")
def _plan_matmul(selector: Selector, node: ir.Node) -> None:
    """Products of codes and a matrix: 1x1 convolutions whose image is the rows."""
    x, levels = _codes(selector, node, channels_last=False), _constants(node, 2)
    weights, affine = _integers(node, levels.T[:, :, None, None], levels.shape[1])
    y = selector.new(node.outputs[0], affine=affine)
    rows = math.prod(y.shape[:-1])
    width = next((size for size in range(8, 3, -1) if rows % size == 0), rows if rows < 64 else 1)
    ones, zeros = (1, 1), (0, 0, 0, 0)
    geometry = Geometry(rows // width, width, ones, ones, ones, zeros, rows // width, width)
    none, open_ended = np.zeros(0, np.float32), (-math.inf, math.inf)
    plan = ConvPlan(
        label(node), title(node), x, y, 1, geometry, weights, _name(node, 2), none, _name(node, 3), open_ended,
        selector.target,
    )  # fmt: skip
    column = replace(geometry, height=rows, width=1, out_height=rows, out_width=1)
    selector.plans.append(cheaper(plan, column))


def _name(node: ir.Node, at: int) -> str:
    value = node.inputs[at]
    return (value.name if value is not None else None) or f"{label(node)}_{at}"


def _sum(node: ir.Node) -> str | None:
    if any(constant(item) is None for item in (*node.inputs[1:3], *node.inputs[4:])):
        return "its scales are computed at run time"
    left, right = node.inputs[0], node.inputs[3]
    assert left is not None and right is not None
    if left.dtype not in CODES or right.dtype not in CODES or shape_of(left, node) != shape_of(right, node):
        return "its operands are not codes of one shape"
    return None


@operator(f"{DOMAIN}.IntegerAdd", rule=_sum)
def _plan_sum(selector: Selector, node: ir.Node) -> None:
    """Sum of two tensors of codes."""

    def affine(at: int) -> Affine:
        zero = _constants(node, at + 1)
        return Affine(float(_constants(node, at).reshape(())), int(zero.reshape(())), zero.dtype == np.uint8)

    left, right, out = affine(1), affine(4), affine(6)
    a = selector.tensor(node.inputs[0], node)
    b = selector.tensor(node.inputs[3], node, a.channels_last)
    y = selector.new(node.outputs[0], channels_last=a.channels_last, affine=out)
    bounds = np.array([real(node, "min", -math.inf), real(node, "max", math.inf)], np.float32)
    low, high = (int(code) for code in out.codes(bounds, *out.limits))
    kernel = AddInt8Tile(AddInt8(left, right, out, low, high))
    inputs = (Stream(a, 1), Stream(b, 1))
    stream(selector, node, inputs, (Stream(y, 1),), y.elements, kernel, 16, out.dtype.name)
