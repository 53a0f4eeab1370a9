"""Why a node cannot be compiled: one rule per operator, each a reason in words or None.

The rules read only the graph, so that the whole network is judged before anything is tiled or packed.
"""

from __future__ import annotations

import onnx_ir as ir

from potluck.compiler.graph import DOMAIN, constant, integer, ints, is_op, real, shape_of
from potluck.compiler.passes.fuse_activation import clip_bounds
from potluck.compiler.support import Rule
from potluck.isa.errors import ModelError

MX_ELEMENTS = {
    ir.DataType.FLOAT8E4M3FN: "mxfp8",
    ir.DataType.FLOAT8E5M2: "mxfp8_e5m2",
    ir.DataType.FLOAT4E2M1: "mxfp4",
}
"""ONNX element types that VMXDOTP multiplies, and their schemes."""
BLOCK = 32
"""Elements per scale that the kernels are written for."""


def quantizer(value: ir.Value | None) -> ir.Node | None:
    """The ``MxQuantizeDequantize`` that produces a value, if one does."""
    node = value.producer() if value is not None else None
    return node if node is not None and is_op(node, "MxQuantizeDequantize", domain=DOMAIN) else None


def dequantizer(value: ir.Value | None) -> ir.Node | None:
    """The ``DequantizeLinear`` of constants that produces a value, if one does."""
    node = value.producer() if value is not None else None
    if node is None or not is_op(node, "DequantizeLinear"):
        return None
    return node if all(constant(item) is not None for item in node.inputs[:2]) else None


def is_constant(value: ir.Value | None) -> bool:
    """Whether a weight is known at compile time, quantized or not."""
    return constant(value) is not None or dequantizer(value) is not None


def innermost(shape: tuple[int, ...]) -> int:
    """The ONNX axis that is innermost in memory: channels of an image (NHWC), else the last."""
    return 1 if len(shape) == 4 else len(shape) - 1


def _floats(node: ir.Node) -> str | None:
    for value in (*node.inputs[:1], *node.outputs[:1]):
        if value is not None and value.dtype not in (None, ir.DataType.FLOAT):
            assert value.dtype is not None
            return f"its tensor {value.name!r} is {value.dtype.name}, only FLOAT is computed"
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.shape is None and value.uses():
            return f"the shape of its tensor {value.name!r} is not known"
    try:
        for value in (*node.inputs[:1], *node.outputs[:1]):
            if value is not None:
                shape_of(value, node)
    except ModelError as error:
        return error.message
    return None


def _rank4(node: ir.Node) -> str | None:
    data = node.inputs[0]
    assert data is not None
    rank = len(shape_of(data, node))
    return None if rank == 4 else f"its input has {rank} dimensions, only images (4) have kernels"


def _weights(node: ir.Node) -> str | None:
    if not is_constant(node.inputs[1]):
        return "its weights are computed at run time, only constant weights are packed"
    if len(node.inputs) > 2 and node.inputs[2] is not None and constant(node.inputs[2]) is None:
        return "its bias is computed at run time, only constant biases are taken"
    return None


def _mx(node: ir.Node, data_axis: int, weight_axis: int) -> str | None:
    data, weight = quantizer(node.inputs[0]), dequantizer(node.inputs[1])
    if data is None:
        return None
    if weight is None:
        return "its activation is MX but its weights are not"
    element = ir.DataType(integer(data, "to", 0))
    codes = weight.inputs[0]
    if element not in MX_ELEMENTS or codes is None or codes.dtype is not element:
        return "its activation and weights are of different element formats, or of one that VMXDOTP lacks"
    if integer(data, "block_size", 0) != BLOCK or integer(weight, "block_size", 0) != BLOCK:
        return f"its MX block size is not {BLOCK}"
    if integer(data, "axis", -1) != data_axis or integer(weight, "axis", 1) != weight_axis:
        return "its MX blocks do not run along the contraction axis"
    return None


def _conv(node: ir.Node) -> str | None:
    reason = _floats(node) or _rank4(node) or _weights(node)
    if reason:
        return reason
    data, out, group = node.inputs[0], node.outputs[0], integer(node, "group", 1)
    assert data is not None
    channels, outputs = shape_of(data, node)[1], shape_of(out, node)[1]
    if group == 1:
        return _mx(node, 1, 1)
    if group != channels or group != outputs:
        return f"it has {group} groups of {channels} channels; only 1 group and depthwise have kernels"
    if quantizer(data) is not None:
        return "depthwise convolutions run in FP32 only"
    if ints(node, "kernel_shape", (1, 1))[1] > 12:
        return "its depthwise kernel is wider than 12"
    return None


def _gemm(node: ir.Node) -> str | None:
    reason = _floats(node) or _weights(node)
    if reason:
        return reason
    if integer(node, "transA", 0):
        return "transA is set, which has no kernel"
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is not None and bias.size not in (1, shape_of(node.outputs[0], node)[1]):
        return f"its bias of shape {list(bias.shape)} is not one value per column"
    if quantizer(node.inputs[0]) is not None and real(node, "alpha", 1.0) != 1.0:
        return "alpha is not 1 in an MX product"
    return _mx(node, 1, 1 if integer(node, "transB", 0) else 0)


def _matmul(node: ir.Node) -> str | None:
    reason = _floats(node) or _weights(node)
    if reason:
        return reason
    data, weight = node.inputs[0], node.inputs[1]
    assert data is not None and weight is not None
    rank = len(shape_of(data, node))
    if rank == 4 or len(shape_of(weight, node)) != 2 or rank < 2:
        return (
            "only products of a tensor of 2, 3 or 5 and more dimensions with a constant matrix are compiled"
        )
    return _mx(node, rank - 1, 0)


def column_constant(node: ir.Node) -> int | None:
    """Index of the Add's input that is a constant with one value per innermost element, or None."""
    for index in (0, 1):
        array, other = constant(node.inputs[index]), node.inputs[1 - index]
        if array is None or other is None or constant(other) is not None:
            continue
        shape = shape_of(other, node)
        full = (1,) * (len(shape) - array.ndim) + array.shape
        axis = innermost(shape)
        if len(full) == len(shape) and all(
            size == 1 or (at == axis and size == shape[at]) for at, size in enumerate(full)
        ):
            return index
    return None


def _add(node: ir.Node) -> str | None:
    reason = _floats(node)
    if reason:
        return reason
    left, right = node.inputs[0], node.inputs[1]
    assert left is not None and right is not None
    if column_constant(node) is not None:
        return None
    if is_constant(left) or is_constant(right):
        return "its constant operand is not one value per channel"
    shapes = shape_of(left, node), shape_of(right, node)
    return None if shapes[0] == shapes[1] else f"it broadcasts {list(shapes[0])} and {list(shapes[1])}"


def _clip(node: ir.Node) -> str | None:
    return _floats(node) or (None if clip_bounds(node) else "its bounds are computed at run time")


def _pool(node: ir.Node) -> str | None:
    reason = _floats(node) or _rank4(node)
    if reason:
        return reason
    if len(node.outputs) > 1 and node.outputs[1].uses():
        return "its indices are used, only values are computed"
    if integer(node, "ceil_mode", 0) and integer(node, "count_include_pad", 0):
        return "ceil_mode together with count_include_pad is not supported"
    return None


def _reduce_mean(node: ir.Node) -> str | None:
    reason = _floats(node) or _rank4(node)
    if reason:
        return reason
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes is None or {int(axis) % 4 for axis in axes.reshape(-1)} != {2, 3}:
        return "only the mean over height and width (axes 2 and 3) has a kernel"
    return None


def _softmax(node: ir.Node) -> str | None:
    reason = _floats(node)
    if reason:
        return reason
    data = node.inputs[0]
    assert data is not None
    shape = shape_of(data, node)
    axis = integer(node, "axis", -1) % len(shape)
    inner = innermost(shape)
    return None if axis == inner else f"its axis {axis} is not the innermost one in memory ({inner})"


def _quantize(node: ir.Node) -> str | None:
    data = node.inputs[0]
    assert data is not None
    shape = shape_of(data, node)
    if integer(node, "axis", -1) != innermost(shape):
        return "its blocks do not run along the innermost axis in memory"
    if node.outputs[0].is_graph_output():
        return "its result is an output of the network, which is FP32 on the machine"
    for usage in node.outputs[0].uses():
        if usage.idx != 0 or usage.node.op_type.removeprefix("Fused") not in ("Conv", "Gemm", "MatMul"):
            return f"its result feeds {usage.node.op_type}, only products take MX operands"
    return None


def _dequantize(node: ir.Node) -> str | None:
    if dequantizer(node.outputs[0]) is None:
        return "it dequantizes a tensor that is not constant"
    scale = node.inputs[1]
    assert scale is not None
    if scale.dtype is not ir.DataType.FLOAT8E8M0:
        return "its scales are not E8M0: only MX weights are taken"
    codes = node.inputs[0]
    assert codes is not None
    if codes.dtype not in MX_ELEMENTS:
        return "its elements are of a format that VMXDOTP lacks"
    return None


RULES: dict[str, Rule] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Relu": _clip,
    "Clip": _clip,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": lambda node: _floats(node) or _rank4(node),
    "ReduceMean": _reduce_mean,
    "Flatten": _floats,
    "Reshape": _floats,
    "Squeeze": _floats,
    "Unsqueeze": _floats,
    "Identity": _floats,
    "Softmax": _softmax,
    "DequantizeLinear": _dequantize,
    f"{DOMAIN}.MxQuantizeDequantize": _quantize,
    f"{DOMAIN}.FusedConv": _conv,
    f"{DOMAIN}.FusedGemm": _gemm,
    f"{DOMAIN}.FusedMatMul": _matmul,
    f"{DOMAIN}.FusedAdd": _add,
}
"""Every operator that compiles, with its rule."""
