"""Quantizes the matrix products of a network to an MX format, written as standard ONNX.

A weight becomes ``DequantizeLinear(codes, E8M0 scales, axis, block_size)``. An activation passes through
``potluck.MxQuantizeDequantize``, a function of standard operators that quantizes at run time, as the machine
does; one such node serves every product that reads the same tensor. Blocks run along the contraction axis:
C_in of a convolution (within one tap of its kernel, so an activation is quantized once, before any im2col),
K of a product. Networks with FP6 elements become opset 28, the first that has them.

Kept in FP32, on purpose: convolutions and products that contract fewer than ``min_channels`` elements (the
first layer of an image network: a block of 32 would hold 1 or 3 elements, so its cost would rise and its
accuracy fall), grouped and depthwise convolutions (a block may not straddle groups), and whatever ``exclude``
names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.functions import raise_opset, require
from potluck.compiler.graph.mx_nodes import CARRIERS, CHUNK_BITS, NATIVE, mx_layout
from potluck.compiler.graph.nodes import (
    DOMAIN,
    FP6_OPSET,
    add_constant,
    constant,
    drop_unused,
    integer,
    ints,
    label,
    real,
    shape_of,
)
from potluck.compiler.passes.base import GraphPass
from potluck.compiler.quantizers.mx import WeightRule, check_rule, machine_rule, quantize_constant
from potluck.isa.errors import ModelError
from potluck.isa.formats.blocks import LAYOUTS, BlockLayout
from potluck.isa.formats.elements import E8M0, ElementFormat, holds
from potluck.isa.formats.mx import raised_from

_CONVS, _GEMMS, _MATMULS = ("Conv", "FusedConv"), ("Gemm", "FusedGemm"), ("MatMul", "FusedMatMul")


@dataclass(frozen=True)
class QuantizeMx(GraphPass):
    """Conv, Gemm and MatMul with a constant second operand get MX operands.

    Attributes:
        scheme: MX format of the weights, one of `potluck.isa.formats.blocks.LAYOUTS`.
        activations: MX format of the activations; empty: that of the weights; ``fp32``: weights only.
        block_size: Elements per scale; a multiple of what VMXDOTP takes at a time, 8 bytes.
        scale_rule: One of `potluck.compiler.quantizers.mx.WEIGHT_RULES`.
        min_channels: Products that contract fewer elements stay in FP32.
        exclude: Names of nodes or weights that stay in FP32.
        small_k: Whether convolutions of fewer channels become products of their flattened windows, if these have as
            many elements: then blocks run along (kh, kw, c).
    """

    name: ClassVar[str] = "quantize_mx"
    scheme: str = "mxfp8"
    activations: str = ""
    block_size: int = 32
    scale_rule: WeightRule = "floor"
    min_channels: int = 16
    exclude: tuple[str, ...] = ()
    small_k: bool = False

    def run(self, model: ir.Model) -> int:
        """See `GraphPass.run`; counts the quantized products."""
        weights, activations = self._formats()
        check_exclude(model, self.exclude)
        if self.small_k:
            for node in list(model.graph):
                if self._small(node):
                    flatten_window(model, node)
        nodes = [node for node in model.graph if wanted(node, self.min_channels, self.exclude)]
        if any(kind.element.bits == 6 for kind in (weights, activations) if kind is not None) and nodes:
            raise_opset(model, FP6_OPSET)
        shared: dict[tuple[ir.Value, int], ir.Value] = {}
        for node in nodes:
            axes = contraction(node)
            assert axes is not None
            if activations is not None:
                node.replace_input_with(0, self._activation(model, node, axes[0], activations))
            node.replace_input_with(1, _weight(model, node, axes[1], weights, self.scale_rule, shared))
        drop_unused(model.graph)
        return len(nodes)

    def _formats(self) -> tuple[BlockLayout, BlockLayout | None]:
        """Formats of weights and activations."""
        check_rule(self.scale_rule)
        weights = self._format(self.scheme)
        if self.activations == "fp32":
            return weights, None
        activations = self._format(self.activations or self.scheme)
        element, other = weights.element, activations.element
        common = [wide for wide in CARRIERS if holds(wide, element) and holds(wide, other)]
        if element is other and element in NATIVE:
            common = [element]
        if not common:
            raise ModelError(
                f"no product takes {weights.name} weights and {activations.name} activations",
                hint="Use formats whose elements E4M3 or E5M2 holds",
            )
        chunk = CHUNK_BITS // common[0].bits
        if self.block_size % chunk or self.block_size < chunk:
            raise ModelError(
                f"block size {self.block_size} with {self.scheme}", hint=f"Use a multiple of {chunk}"
            )
        return weights, activations

    def _format(self, name: str) -> BlockLayout:
        if name not in LAYOUTS:
            raise ModelError(f"unknown scheme {name!r}", hint=f"Use one of fp32, {', '.join(LAYOUTS)}")
        return mx_layout(ir.DataType[LAYOUTS[name].element.onnx], self.block_size)

    def _small(self, node: ir.Node) -> bool:
        """Whether a convolution has too few channels to be quantized, but a window that is not too small."""
        if node.op_type not in _CONVS or wanted(node, self.min_channels, self.exclude):
            return False
        weight = node.inputs[1]
        return (
            wanted(node, 1, self.exclude)
            and weight is not None
            and (int(np.prod(shape_of(weight, node)[1:])) >= self.min_channels)
        )

    def _activation(self, model: ir.Model, node: ir.Node, axis: int, mx: BlockLayout) -> ir.Value:
        source = node.inputs[0]
        assert source is not None
        return quantized_activation(
            model, source, node, axis, mx, raised_from(mx.element, machine_rule(self.scale_rule))
        )


def flatten_window(model: ir.Model, node: ir.Node) -> None:
    """Makes a convolution one with 1x1 taps whose input has the windows as channels, in the order (kh, kw, c)."""
    source, weight = node.inputs[0], node.inputs[1]
    assert source is not None and weight is not None
    array = np.asarray(constant(weight), np.float32)
    flat = array.transpose(0, 2, 3, 1).reshape(len(array), -1, 1, 1)
    keys = ("dilations", "kernel_shape", "pads", "strides")
    defaults = {"dilations": (1, 1), "kernel_shape": array.shape[2:], "pads": (0, 0, 0, 0), "strides": (1, 1)}
    require(model, "Im2col")
    attributes = [ir.AttrInt64s(key, ints(node, key, defaults[key])) for key in keys]
    made = ir.Node(DOMAIN, "Im2col", [source], attributes, name=f"{label(node)}_windows", num_outputs=1)
    made.outputs[0].name = f"{label(node)}_windows"
    images, _, height, width = shape_of(node.outputs[0], node)
    made.outputs[0].shape = ir.Shape([images, flat.shape[1], height, width])
    made.outputs[0].type = source.type
    model.graph.insert_before(node, made)
    node.replace_input_with(0, made.outputs[0])
    node.replace_input_with(1, add_constant(model.graph, f"{weight.name}_flat", np.ascontiguousarray(flat)))
    for key, value in (
        ("dilations", (1, 1)),
        ("kernel_shape", (1, 1)),
        ("pads", (0,) * 4),
        ("strides", (1, 1)),
    ):
        node.attributes[key] = ir.AttrInt64s(key, value)


def check_exclude(model: ir.Model, exclude: Sequence[str]) -> None:
    """Refuses names of nothing.

    Raises:
        ModelError: Names them.
    """
    known = {label(node) for node in model.graph} | set(model.graph.initializers)
    unknown = sorted(set(exclude) - known)
    if unknown:
        raise ModelError(f"exclude names {unknown}, which are neither nodes nor weights of the model")


def wanted(node: ir.Node, min_channels: int, exclude: Sequence[str]) -> bool:
    """Whether a node is a product with constant FP32 weights of so many channels, and not excluded."""
    axes = contraction(node)
    if axes is None:
        return False
    weight = node.inputs[1]
    if weight is None or constant(weight) is None or weight.dtype is not ir.DataType.FLOAT:
        return False
    if label(node) in exclude or weight.name in exclude:
        return False
    return shape_of(weight, node)[axes[1]] >= min_channels


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


def quantized_activation(
    model: ir.Model, source: ir.Value, reader: ir.Node, axis: int, mx: BlockLayout, limit: float
) -> ir.Value:
    """An activation in MX: made once, before ``reader``.

    Args:
        model: Edited.
        source: The activation.
        reader: The first product that reads it.
        axis: Along which blocks run.
        mx: The format.
        limit: Where scales are doubled, see `potluck.isa.formats.mx.raised_from`.
    """
    name = "MxIntegerQuantizeDequantize" if mx.element.kind == "int" else "MxQuantizeDequantize"
    attributes = {"axis": axis, "block_size": mx.block_size, "to": ir.DataType[mx.element.onnx].value}
    for usage in source.uses():
        other = usage.node
        same = other.op_type == name and all(
            other.attributes[key].as_int() == attributes[key] for key in attributes
        )
        if same and real(other, "raised_from", float("inf")) == np.float32(limit):
            return other.outputs[0]
    require(model, name)
    given = [ir.AttrInt64(key, value) for key, value in attributes.items()]
    given.append(ir.AttrFloat32("raised_from", limit))
    made = ir.Node(DOMAIN, name, [source], given, name=f"{source.name}_mx", num_outputs=1)
    made.outputs[0].name = f"{source.name}_{mx.name}"
    made.outputs[0].shape, made.outputs[0].type = source.shape, source.type
    model.graph.insert_before(reader, made)
    return made.outputs[0]


def _weight(
    model: ir.Model,
    node: ir.Node,
    axis: int,
    mx: BlockLayout,
    rule: WeightRule,
    made_before: dict[tuple[ir.Value, int], ir.Value],
) -> ir.Value:
    source = node.inputs[1]
    assert source is not None
    alpha = real(node, "alpha", 1.0)
    if (
        alpha == 1.0 and (source, axis) in made_before
    ):  # two products may share one weight, as tied embeddings do
        return made_before[source, axis]
    array = np.asarray(constant(source), np.float32)
    if alpha != 1.0:  # Gemm's factor: MX operands are multiplied as they are
        array = array * np.float32(alpha)
        node.attributes["alpha"] = ir.AttrFloat32("alpha", 1.0)
    quantized = quantize_constant(array, mx, axis, rule, source.name or "")
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
    if alpha == 1.0:
        made_before[source, axis] = made.outputs[0]
    return made.outputs[0]


def typed(codes: NDArray[np.uint8], element: ElementFormat) -> ir.Tensor[NDArray[np.generic]]:
    """Codes as an ONNX tensor of their type (4- and 6-bit ones are packed when it is serialized)."""
    return ir.Tensor(codes.view(element.dtype), dtype=ir.DataType[element.onnx])
