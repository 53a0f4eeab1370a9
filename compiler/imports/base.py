"""What translations share: placeholders for quantized activations, and weights as DequantizeLinear."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.functions import raise_opset, require
from potluck.compiler.graph.mx_nodes import mx_layout
from potluck.compiler.graph.nodes import DOMAIN, FP6_OPSET, add_constant, fresh_name, integer, shape_of
from potluck.compiler.passes.quantize_mx import quantized_activation
from potluck.isa.errors import ModelError
from potluck.isa.formats.mx import ScaleRule, raised_from

KEY = "potluck.import"
"""Metadata of a placeholder: what it will be, as JSON."""


def replace(node: ir.Node, value: ir.Value, output: int = 0) -> None:
    """Gives a node's result to another value and removes the node once nothing needs it."""
    old = node.outputs[output]
    if old.is_graph_output():
        raise ModelError("its result is an output of the network", node=node.name, hint="Add an Identity")
    old.replace_all_uses_with(value)


def placeholder(model: ir.Model, node: ir.Node, source: ir.Value, spec: dict[str, Any]) -> None:
    """Puts an Identity where an activation is quantized, in place of the result of ``node``."""
    made = ir.Node("", "Identity", [source], name=f"{node.name}_import", num_outputs=1)
    made.metadata_props[KEY] = json.dumps(spec)
    made.outputs[0].name = f"{node.outputs[0].name}_values"
    made.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    model.graph.insert_before(node, made)
    old = node.outputs[0]
    if old.is_graph_output():
        index = model.graph.outputs.index(old)
        made.outputs[0].name, old.name = old.name, f"{old.name}_before"
        made.outputs[0].shape = old.shape
        model.graph.outputs[index] = made.outputs[0]
    old.replace_all_uses_with(made.outputs[0])


def mx_activation(
    model: ir.Model,
    node: ir.Node,
    source: ir.Value,
    axis: int,
    dtype: ir.DataType,
    block: int,
    rule: ScaleRule,
) -> None:
    """The result of ``node`` is an activation in MX."""
    spec = {"kind": "mx", "axis": axis, "to": dtype.name, "block_size": block, "rule": rule}
    placeholder(model, node, source, spec)


def finish(model: ir.Model) -> None:
    """Turns placeholders into functions; every shape is known.

    Raises:
        ModelError: A shape is not.
    """
    for node in list(model.graph):
        said = node.metadata_props.get(KEY)
        source = node.inputs[0] if node.inputs else None
        if said is None or source is None:
            continue
        spec = json.loads(said)
        axis = int(spec["axis"]) % len(shape_of(source, node))
        if spec["kind"] == "mx":
            layout = mx_layout(ir.DataType[spec["to"]], int(spec["block_size"]))
            if layout.element.bits == 6:
                raise_opset(model, FP6_OPSET)
            made = quantized_activation(
                model, source, node, axis, layout, raised_from(layout.element, spec["rule"])
            )
        else:
            made = _nvfp4(model, node, source, axis, spec)
        old = node.outputs[0]
        if old.is_graph_output():  # the placeholder stays as what it says it is
            node.replace_input_with(0, made)
            node.metadata_props.pop(KEY)
            continue
        old.replace_all_uses_with(made)
        model.graph.remove(node, safe=True)


def _nvfp4(model: ir.Model, node: ir.Node, source: ir.Value, axis: int, spec: dict[str, Any]) -> ir.Value:
    require(model, "NvQuantizeDequantize")
    factor = add_constant(model.graph, f"{source.name}_factor", np.array(spec["factor"], np.float32))
    attributes = [
        ir.AttrInt64("axis", axis),
        ir.AttrInt64("block_size", int(spec["block_size"])),
        ir.AttrInt64("to", ir.DataType.FLOAT4E2M1.value),
    ]
    made = ir.Node(DOMAIN, "NvQuantizeDequantize", [source, factor], attributes, name=f"{node.name}_nvfp4")
    made.outputs[0].name = f"{node.outputs[0].name}_nvfp4"
    made.outputs[0].shape, made.outputs[0].type = source.shape, source.type
    model.graph.insert_before(node, made)
    return made.outputs[0]


def dequantized(
    model: ir.Model,
    node: ir.Node,
    codes: ir.TensorProtocol | NDArray[Any],
    scales: ir.TensorProtocol | NDArray[Any],
    axis: int,
    block: int,
    zero: ir.TensorProtocol | NDArray[Any] | None = None,
    name: str = "",
) -> ir.Value:
    """A ``DequantizeLinear`` of constants in blocks, before ``node``."""
    base = name or node.outputs[0].name or "weights"
    inputs = [
        add_constant(model.graph, f"{base}_codes", codes),
        add_constant(model.graph, f"{base}_scales", scales),
    ]
    if zero is not None:
        inputs.append(add_constant(model.graph, f"{base}_zeros", zero))
    attributes = [ir.AttrInt64("axis", axis), ir.AttrInt64("block_size", block)]
    if inputs[0].dtype in (ir.DataType.FLOAT6E2M3, ir.DataType.FLOAT6E3M2):
        raise_opset(model, FP6_OPSET)
    if inputs[1].dtype is ir.DataType.FLOAT8E8M0:
        attributes.append(ir.AttrInt64("output_dtype", ir.DataType.FLOAT.value))
    made = ir.Node("", "DequantizeLinear", inputs, attributes, name=f"{base}_dequantize", num_outputs=1)
    made.outputs[0].name = fresh_name(model.graph, f"{base}_values")
    made.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    made.outputs[0].shape = inputs[0].shape
    model.graph.insert_before(node, made)
    return made.outputs[0]


def push_transposes(model: ir.Model) -> None:
    """Transposes constants instead of what DequantizeLinear makes of them, so that their blocks are found."""
    for node in list(model.graph):
        if node.op_type != "Transpose" or node.domain not in ("", "ai.onnx"):
            continue
        source = node.inputs[0]
        inner = source.producer() if source is not None else None
        if inner is None or inner.op_type != "DequantizeLinear" or node.outputs[0].is_graph_output():
            continue
        turned = _turned(model, node, inner)
        if turned is not None:
            node.outputs[0].replace_all_uses_with(turned)


def _turned(model: ir.Model, node: ir.Node, inner: ir.Node) -> ir.Value | None:
    codes = inner.inputs[0]
    if (
        codes is None
        or codes.const_value is None
        or codes.shape is None
        or not integer(inner, "block_size", 0)
    ):
        return None
    rank = len(codes.shape)
    order = node.attributes.get("perm")
    perm = tuple(order.as_ints()) if order is not None else tuple(reversed(range(rank)))
    inputs: list[ir.Value | None] = []
    for value in inner.inputs:
        made = _turned_value(model, inner, value, perm)
        if value is not None and made is None:
            return None
        inputs.append(made)
    axis = perm.index(integer(inner, "axis", 1) % rank)
    attributes = [attribute for key, attribute in inner.attributes.items() if key != "axis"]
    again = ir.Node(
        "", "DequantizeLinear", inputs, [*attributes, ir.AttrInt64("axis", axis)], name=f"{node.name}_turned"
    )
    again.outputs[0].name = f"{node.outputs[0].name}_turned"
    again.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    again.outputs[0].shape = ir.Shape([codes.shape[i] for i in perm])
    model.graph.insert_before(node, again)
    return again.outputs[0]


def _turned_value(
    model: ir.Model, inner: ir.Node, value: ir.Value | None, perm: tuple[int, ...]
) -> ir.Value | None:
    if value is None:
        return None
    if value.const_value is not None:
        array = np.ascontiguousarray(value.const_value.numpy().transpose(perm))
        return add_constant(model.graph, f"{value.name}_turned", ir.Tensor(array, dtype=value.dtype))
    scale_node = value.producer()  # E4M3 scales of NVFP4
    if scale_node is None or scale_node.op_type != "DequantizeLinear" or scale_node.inputs[0] is None:
        return None
    held = scale_node.inputs[0]
    if held.const_value is None:
        return None
    turned = _turned_value(model, inner, held, perm)
    made = ir.Node("", "DequantizeLinear", [turned, *scale_node.inputs[1:]], name=f"{scale_node.name}_turned")
    made.outputs[0].name, made.outputs[0].type = f"{value.name}_turned", ir.TensorType(ir.DataType.FLOAT)
    model.graph.insert_before(inner, made)
    return made.outputs[0]
