"""Quantizes the matrix products of a network to an MX format, written as standard ONNX.

A weight becomes ``DequantizeLinear(codes, E8M0 scales, axis, block_size)``. An activation passes through
``potluck.MxQuantizeDequantize``, a function of standard operators that quantizes at run time, as the machine
does; one such node serves every product that reads the same tensor. Blocks run along the contraction axis:
C_in of a convolution (within one tap of its kernel, so an activation is quantized once, before any im2col),
K of a product.

Kept in FP32, on purpose: convolutions and products that contract fewer than ``min_channels`` elements (the
first layer of an image network: a block of 32 would hold 1 or 3 elements, so its cost would rise and its
accuracy fall), grouped and depthwise convolutions (a block may not straddle groups), and whatever ``exclude``
names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.functions import require
from potluck.compiler.graph import DOMAIN, add_constant, constant, drop_unused, integer, label, real, shape_of
from potluck.compiler.passes.base import GraphPass
from potluck.isa.blocks import BlockLayout, layout
from potluck.isa.errors import ModelError
from potluck.isa.formats import E8M0, ElementFormat
from potluck.isa.mx import quantize

_CONVS, _GEMMS, _MATMULS = ("Conv", "FusedConv"), ("Gemm", "FusedGemm"), ("MatMul", "FusedMatMul")
ELEMENTS = ("mxfp8", "mxfp8_e5m2", "mxfp4")
"""The MX formats that VMXDOTP multiplies."""


@dataclass(frozen=True)
class QuantizeMx(GraphPass):
    """Conv, Gemm and MatMul with a constant second operand get MX operands.

    Attributes:
        scheme: MX format, one of `ELEMENTS`.
        block_size: Elements per scale; a multiple of 8 (FP8) or 16 (FP4), VMXDOTP's hardware block.
        min_channels: Products that contract fewer elements stay in FP32.
        exclude: Names of nodes or weights that stay in FP32.
    """

    name: ClassVar[str] = "quantize_mx"
    scheme: str = "mxfp8"
    block_size: int = 32
    min_channels: int = 16
    exclude: tuple[str, ...] = ()

    def run(self, model: ir.Model) -> int:
        """See `GraphPass.run`; counts the quantized products."""
        if self.scheme not in ELEMENTS:
            raise ModelError(
                f"unknown scheme {self.scheme!r}", hint=f"Use one of fp32, {', '.join(ELEMENTS)}"
            )
        mx = layout(self.scheme, self.block_size)
        chunk = 64 // mx.element.bits
        if self.block_size % chunk:
            raise ModelError(
                f"block size {self.block_size} with {self.scheme}", hint=f"Use a multiple of {chunk}"
            )
        self._check_exclude(model)
        nodes = [node for node in model.graph if self._wanted(node)]
        for node in nodes:
            _quantize_node(model, node, mx)
        drop_unused(model.graph)
        return len(nodes)

    def _check_exclude(self, model: ir.Model) -> None:
        known = {label(node) for node in model.graph} | set(model.graph.initializers)
        unknown = sorted(set(self.exclude) - known)
        if unknown:
            raise ModelError(f"exclude names {unknown}, which are neither nodes nor weights of the model")

    def _wanted(self, node: ir.Node) -> bool:
        axes = contraction(node)
        if axes is None:
            return False
        weight = node.inputs[1]
        if weight is None or constant(weight) is None or weight.dtype is not ir.DataType.FLOAT:
            return False
        if label(node) in self.exclude or weight.name in self.exclude:
            return False
        return shape_of(weight, node)[axes[1]] >= self.min_channels


def contraction(node: ir.Node) -> tuple[int, int] | None:
    """(activation axis, weight axis) that a product contracts in blocks.

    Returns:
        None for nodes that are not products of this kind: grouped convolutions, transposed A, weights of
        other than two dimensions.
    """
    if node.domain not in ("", DOMAIN) or len(node.inputs) < 2:
        return None
    data, weight = node.inputs[0], node.inputs[1]
    if data is None or weight is None or weight.shape is None or data.shape is None:
        return None
    if node.op_type in _CONVS and len(weight.shape) == 4:
        return (1, 1) if integer(node, "group", 1) == 1 else None
    if node.op_type in _GEMMS and not integer(node, "transA", 0):
        return 1, (1 if integer(node, "transB", 0) else 0)
    if node.op_type in _MATMULS and len(weight.shape) == 2 and len(data.shape) >= 2:
        return len(data.shape) - 1, 0
    return None


def _quantize_node(model: ir.Model, node: ir.Node, mx: BlockLayout) -> None:
    axes = contraction(node)
    assert axes is not None
    node.replace_input_with(0, _activation(model, node, axes[0], mx))
    node.replace_input_with(1, _weight(model, node, axes[1], mx))


def _activation(model: ir.Model, node: ir.Node, axis: int, mx: BlockLayout) -> ir.Value:
    source = node.inputs[0]
    assert source is not None
    wanted = {"axis": axis, "block_size": mx.block_size, "to": ir.DataType[mx.element.onnx].value}
    for usage in source.uses():
        other = usage.node
        if other.op_type == "MxQuantizeDequantize" and all(
            other.attributes[key].as_int() == value for key, value in wanted.items()
        ):
            return other.outputs[0]
    require(model, "MxQuantizeDequantize")
    attributes = [ir.AttrInt64(key, value) for key, value in wanted.items()]
    made = ir.Node(
        DOMAIN, "MxQuantizeDequantize", [source], attributes, name=f"{source.name}_mx", num_outputs=1
    )
    made.outputs[0].name = f"{source.name}_{mx.name}"
    made.outputs[0].shape, made.outputs[0].type = source.shape, source.type
    model.graph.insert_before(node, made)
    return made.outputs[0]


def _weight(model: ir.Model, node: ir.Node, axis: int, mx: BlockLayout) -> ir.Value:
    source = node.inputs[1]
    assert source is not None
    alpha = real(node, "alpha", 1.0)
    for usage in source.uses() if alpha == 1.0 else ():
        # Two products may share one weight, as tied embeddings do.
        if usage.node.op_type == "DequantizeLinear" and integer(usage.node, "axis", -9) == axis:
            return usage.node.outputs[0]
    array = np.asarray(constant(source), np.float32)
    if alpha != 1.0:  # Gemm's factor: MX operands are multiplied as they are
        array = array * np.float32(alpha)
        node.attributes["alpha"] = ir.AttrFloat32("alpha", 1.0)
    quantized = quantize(array, mx, axis=axis)
    codes = add_constant(model.graph, f"{source.name}_codes", typed(quantized.codes, mx.element))
    scales = add_constant(model.graph, f"{source.name}_scales", typed(quantized.scales, E8M0))
    attributes = [
        ir.AttrInt64("axis", axis),
        ir.AttrInt64("block_size", mx.block_size),
        ir.AttrInt64("output_dtype", ir.DataType.FLOAT.value),
    ]
    made = ir.Node(
        "", "DequantizeLinear", [codes, scales], attributes, name=f"{source.name}_dequantize", num_outputs=1
    )
    made.outputs[0].name = f"{source.name}_{mx.name}"
    made.outputs[0].shape, made.outputs[0].type = source.shape, source.type
    model.graph.insert_before(node, made)
    return made.outputs[0]


def typed(codes: NDArray[np.uint8], element: ElementFormat) -> ir.Tensor[NDArray[np.generic]]:
    """Codes as an ONNX tensor of their type (4-bit ones are packed when it is serialized)."""
    return ir.Tensor(codes.view(element.dtype), dtype=ir.DataType[element.onnx])
