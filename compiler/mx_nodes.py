"""How MX operands look in a graph."""

from __future__ import annotations

import onnx_ir as ir

from potluck.compiler.graph import DOMAIN, constant, integer, is_op

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
    return node if all(constant(item) is not None for item in node.inputs) else None


def is_constant(value: ir.Value | None) -> bool:
    """Whether a weight is known at compile time, quantized or not."""
    node = value.producer() if value is not None else None
    pot = node is not None and is_op(node, "PotDequantize", domain=DOMAIN)
    return constant(value) is not None or dequantizer(value) is not None or pot


def operands_reason(node: ir.Node, data_axis: int, weight_axis: int) -> str | None:
    """Why a product of MX operands cannot be compiled; None if it can, or if its operands are not MX."""
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
