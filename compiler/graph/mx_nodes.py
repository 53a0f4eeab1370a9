"""How MX operands look in a graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from potluck.compiler.graph.nodes import DOMAIN, constant, integer, is_op, real
from potluck.isa.formats.blocks import BlockLayout, layout
from potluck.isa.formats.elements import E2M1, E4M3, E5M2, INTEGER8, ElementFormat, holds
from potluck.isa.formats.mx import SCALE_RULES, ScaleRule, raised_from

QUANTIZERS = ("MxQuantizeDequantize", "MxIntegerQuantizeDequantize")
"""Functions that quantize an activation."""
PRODUCTS = ("Conv", "Gemm", "MatMul")
"""Operators, fused or not, that take MX operands."""
MX_ELEMENTS = {
    ir.DataType.FLOAT8E4M3FN: "mxfp8",
    ir.DataType.FLOAT8E5M2: "mxfp8_e5m2",
    ir.DataType.FLOAT6E2M3: "mxfp6",
    ir.DataType.FLOAT6E3M2: "mxfp6_e3m2",
    ir.DataType.FLOAT4E2M1: "mxfp4",
    ir.DataType.INT8: "mxint8",
}
"""ONNX element types of MX operands, and their schemes."""
NATIVE = (E4M3, E5M2, E2M1, INTEGER8)
"""Elements that are multiplied as they are: by VMXDOTP, or as integers."""
CARRIERS = (E4M3, E5M2)
"""Elements that VMXDOTP multiplies and that others can become without a change of value."""
WIDENED_KEY = "potluck.widened"
"""Metadata of a Cast that stays a node, so that its constant stays in 16 bits; other tools' are folded."""
CHUNK_BITS = 64
"""What VMXDOTP takes at a time: no block may end inside."""


def mx_layout(dtype: ir.DataType | None, block_size: int) -> BlockLayout:
    """The MX format of an ONNX element type; INT8 as integers, which is what ONNX multiplies by the scale.

    Raises:
        KeyError: There is none.
    """
    found = layout(MX_ELEMENTS[dtype or ir.DataType.UNDEFINED], block_size)
    return found if dtype is not ir.DataType.INT8 else replace(found, element=INTEGER8)


def quantizer(value: ir.Value | None) -> ir.Node | None:
    """The function that quantizes an activation to MX codes and produces a value, if one does."""
    node = value.producer() if value is not None else None
    known = node is not None and is_op(node, *QUANTIZERS, domain=DOMAIN)
    return node if known and node is not None and multiplied(node) else None


def multiplied(node: ir.Node) -> bool:
    """Whether only products with MX weights read what a quantizer gives; otherwise it gives values in FP32."""
    for usage in node.outputs[0].uses():
        product = usage.idx == 0 and usage.node.op_type.removeprefix("Fused") in PRODUCTS
        if not product or mx_weights(usage.node.inputs[1]) is None:
            return False
    return bool(node.outputs[0].uses()) and not node.outputs[0].is_graph_output()


def dequantizer(value: ir.Value | None) -> ir.Node | None:
    """The ``DequantizeLinear`` of constants that produces a value, if one does."""
    node = value.producer() if value is not None else None
    if node is None or not is_op(node, "DequantizeLinear"):
        return None
    others = node.inputs if chained(node) is None else (node.inputs[0], *node.inputs[2:])
    return node if all(constant(item) is not None for item in others) else None


def widened(value: ir.Value | None) -> ir.Node | None:
    """The ``Cast`` of a 16-bit constant to FLOAT that produces a value and is marked to stay, if one does."""
    node = value.producer() if value is not None else None
    marked = node is not None and is_op(node, "Cast") and WIDENED_KEY in node.metadata_props
    return node if marked and node is not None and constant(node.inputs[0]) is not None else None


def packed_by_products(value: ir.Value) -> bool:
    """Whether a value is weights that are `widened`, and only products read it: they pack its constant themselves."""
    readers = [
        usage.idx == 1 and usage.node.op_type.removeprefix("Fused") in PRODUCTS for usage in value.uses()
    ]
    return widened(value) is not None and not value.is_graph_output() and bool(readers) and all(readers)


def chained(node: ir.Node) -> ir.Node | None:
    """The ``DequantizeLinear`` of constant E4M3 codes by one FP32 number that gives another its scales (NVFP4)."""
    scales = node.inputs[1]
    inner = scales.producer() if scales is not None else None
    if inner is None or not is_op(inner, "DequantizeLinear") or len(inner.inputs) != 2:
        return None
    codes, factor = inner.inputs[0], constant(inner.inputs[1])
    if codes is None or constant(codes) is None or codes.dtype is not ir.DataType.FLOAT8E4M3FN:
        return None
    return inner if factor is not None and factor.size == 1 and factor.dtype == np.float32 else None


def mx_weights(value: ir.Value | None) -> BlockLayout | None:
    """The MX format of constant weights, if they have one."""
    node = dequantizer(value)
    if node is None or node.inputs[0] is None or node.inputs[1] is None:
        return None
    dtype = node.inputs[0].dtype
    if node.inputs[1].dtype is not ir.DataType.FLOAT8E8M0 or dtype not in MX_ELEMENTS:
        return None
    return mx_layout(dtype, max(integer(node, "block_size", 32), 1))


def scales_reason(node: ir.Node) -> str | None:
    """Why the scales of a blocked ``DequantizeLinear`` of constants cannot be its; None if they can."""
    codes, scales = constant(node.inputs[0]), constant(node.inputs[1])
    block = integer(node, "block_size", 0)
    if codes is None or scales is None or not block:
        return None
    axis = integer(node, "axis", 1) % max(codes.ndim, 1)
    expected = [-(-size // block) if i == axis else size for i, size in enumerate(codes.shape)]
    if list(scales.shape) == expected:
        return None
    name = node.inputs[1].name if node.inputs[1] is not None else None
    return (
        f"its scales {name!r} have shape {list(scales.shape)}; codes of shape {list(codes.shape)} in blocks of {block} "
        f"along axis {axis} need {expected}"
    )


def quantized(node: ir.Node) -> BlockLayout:
    """The MX format that an activation's quantizer writes."""
    return mx_layout(ir.DataType(integer(node, "to", 0)), integer(node, "block_size", 32))


def rule_of(node: ir.Node) -> ScaleRule:
    """The scale rule of an activation's quantizer.

    Raises:
        ValueError: None that the machine has.
    """
    element, given = quantized(node).element, real(node, "raised_from", raised_from(E4M3, "floor"))
    for rule in SCALE_RULES:
        if given == raised_from(element, rule):
            return rule
    raise ValueError(f"scales are doubled from {given} on, which is no rule of {', '.join(SCALE_RULES)}")


def carrier(node: ir.Node) -> ElementFormat | None:
    """The elements that a quantizer's result is multiplied as, the same in all its products; None: there are none.

    They are its own, if the weights have the same and there are products of them, or those of a format that holds the
    activation and all weights.
    """
    held = {quantized(node).element.name: quantized(node).element}
    for usage in node.outputs[0].uses():
        weights = mx_weights(usage.node.inputs[1]) if len(usage.node.inputs) > 1 else None
        if weights is not None:
            held[weights.element.name] = weights.element
    if len(held) == 1 and (only := next(iter(held.values()))) in NATIVE:
        return only
    fits = (wide for wide in CARRIERS if all(holds(wide, narrow) for narrow in held.values()))
    return next(fits, None)


def decodable(node: ir.Node, weight_axis: int) -> bool:
    """Whether the machine can decode a product's weights: blocks run along the contraction axis, or there are none."""
    if widened(node.inputs[1]) is not None:
        return True
    weight = dequantizer(node.inputs[1])
    if weight is None or weight.inputs[0] is None or weight.inputs[0].shape is None:
        return False
    if not integer(weight, "block_size", 0):
        return True
    return integer(weight, "axis", 1) % len(weight.inputs[0].shape) == weight_axis


def is_constant(value: ir.Value | None) -> bool:
    """Whether a weight is known at compile time, quantized or not."""
    node = value.producer() if value is not None else None
    pot = node is not None and is_op(node, "PotDequantize", domain=DOMAIN)
    held = dequantizer(value) is not None or widened(value) is not None
    return constant(value) is not None or held or pot


def operands_reason(node: ir.Node, data_axis: int, weight_axis: int) -> str | None:
    """Why a product of MX operands cannot be compiled; None if it can, or if its activation is not MX."""
    data, weight = quantizer(node.inputs[0]), dequantizer(node.inputs[1])
    if data is None:
        return None
    kind = mx_weights(node.inputs[1])
    if weight is None or kind is None:
        return "its activation is MX but its weights are not"
    own, common = quantized(data), carrier(data)
    if common is None:
        return (
            f"its activation ({own.element}) and weights ({kind.element}) are of element formats that no product takes "
            "and no format of VMXDOTP holds"
        )
    if own.block_size != kind.block_size:
        return f"its activation has MX blocks of {own.block_size}, its weights of {kind.block_size}"
    chunk = CHUNK_BITS // common.bits
    if own.block_size % chunk:
        return f"its MX block size {own.block_size} is no multiple of {chunk}, which are multiplied together"
    if integer(data, "axis", -1) != data_axis or integer(weight, "axis", 1) != weight_axis:
        return "its MX blocks do not run along the contraction axis"
    return None
