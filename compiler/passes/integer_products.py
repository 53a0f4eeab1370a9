"""Turns QDQ graphs into integer arithmetic: products of codes that end by a declared requantization.

``DequantizeLinear``, product, ``QuantizeLinear`` becomes ``potluck.Integer{Conv,MatMul}{Ort,Single,Double}``; without a
QuantizeLinear behind it ``...Float``. Two dequantized operands of an Add whose sum is quantized become
``potluck.IntegerAdd``. What has no such neighbours stays, and its operands are dequantized for it.

QDQ says what is computed in real numbers; this pass fixes how the machine rounds. Sums are exact integers, the bias is
rounded to a multiple of the product's scale, and the output is rounded once by the law, as integer runtimes do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.functions import require
from potluck.compiler.functions.integers import LAWS
from potluck.compiler.graph.integer_nodes import (
    CODES_KEY,
    GROUP_KEY,
    Levels,
    affine_of,
    dequantized_bias,
    levels_of,
)
from potluck.compiler.graph.nodes import (
    DOMAIN,
    add_constant,
    constant,
    drop_unused,
    integer,
    is_op,
    label,
    real,
    shape_of,
    sole_user,
)
from potluck.compiler.passes.base import GraphPass
from potluck.compiler.passes.quantize_integer import CONVS, GEMMS, LAW_KEY, PRODUCTS, SUMS, output_axis
from potluck.isa.errors import ModelError
from potluck.isa.formats.requantize import (
    REQUANTIZATIONS,
    Requantization,
    quantize_multiplier,
    round_half_away,
)
from potluck.isa.pot.codes import POT_FORMATS
from potluck.kernels.elementwise_int8 import Affine


@dataclass(frozen=True)
class IntegerProducts(GraphPass):
    """See the module.

    Attributes:
        requantization: The law; empty: the model's own (metadata ``potluck.requantization``), or ``ort_float_rne``.
    """

    name: ClassVar[str] = "integer_products"
    requantization: str = ""

    def run(self, model: ir.Model) -> int:
        """See `GraphPass.run`; counts products and sums."""
        law = self.requantization or model.metadata_props.get(LAW_KEY, REQUANTIZATIONS[0])
        if law not in REQUANTIZATIONS:
            raise ModelError(
                f"unknown requantization {law!r}", hint=f"Use one of {', '.join(REQUANTIZATIONS)}"
            )
        changed = 0
        for node in list(model.graph):
            if node.domain in ("", DOMAIN) and node.op_type in PRODUCTS:
                changed += _product(model, node, law)
            elif node.domain in ("", DOMAIN) and node.op_type in SUMS:
                changed += _sum(model, node)
        drop_unused(model.graph)
        return changed


def _code_bounds(node: ir.Node, out: Affine) -> tuple[float, float]:
    """The activation's bounds as codes less the zero point; rounding is monotonic, so it may come first."""
    bounds = np.array([real(node, "min", -math.inf), real(node, "max", math.inf)], np.float32)
    low, high = (int(code) - out.zero_point for code in out.codes(bounds, *out.limits))
    return float(low), float(high)


def _product(model: ir.Model, node: ir.Node, law: Requantization) -> bool:
    data, weight, axis = node.inputs[0], node.inputs[1], output_axis(node)
    source = data.producer() if data is not None else None
    x, levels = affine_of(source, "DequantizeLinear"), levels_of(weight)
    if source is None or weight is None or x is None or levels is None or axis is None:
        return False
    if levels.scale.size > 1 and levels.axis != axis:
        return False  # its scales run along the contraction: sums of codes have none in common
    if node.op_type in GEMMS and (real(node, "alpha", 1.0) != 1.0 or real(node, "beta", 1.0) != 1.0):
        return False
    given = node.inputs[2] if len(node.inputs) > 2 else None
    bias = dequantized_bias(given) if given is not None else np.zeros(1)
    channels = levels.levels.shape[axis]
    if bias is None or bias.size not in (1, channels):
        return False
    scale = np.broadcast_to(np.float32(x.scale) * levels.scale, (channels,)).astype(np.float32)
    exact = np.float64(np.float32(x.scale)) * np.broadcast_to(levels.scale, (channels,)).astype(np.float64)
    sums = round_half_away(np.broadcast_to(bias.reshape(-1), (channels,)) / exact)
    codes = np.clip(sums, -(2**31), 2**31 - 1)
    after = sole_user(node.outputs[0])
    out = affine_of(after, "QuantizeLinear") if after is not None else None
    rows, bounds = _law_rows(law, scale, exact, out, node)
    made = _node(model, node, source, levels, axis, codes.astype(np.int32), rows, bounds)
    last = node.outputs[0]
    if out is not None and after is not None:
        last = after.outputs[0]
    made.outputs[0].shape, made.outputs[0].type, made.outputs[0].name = last.shape, last.type, last.name
    old = [node] if out is None or after is None else [node, after]
    ir.convenience.replace_nodes_and_values(model.graph, old[-1], old, [made], [last], [made.outputs[0]])
    return True


Rows = tuple[str, list[tuple[str, NDArray[np.generic]]], NDArray[np.generic] | None]


def _law_rows(
    law: Requantization,
    scale: NDArray[np.float32],
    exact: NDArray[np.float64],
    out: Affine | None,
    node: ir.Node,
) -> tuple[Rows, tuple[float, float]]:
    """How the function's name ends, its constants per channel, its output's zero point; and its bounds."""
    if out is None:
        bounds = real(node, "min", -math.inf), real(node, "max", math.inf)
        return ("Float", [("factor", scale)], None), bounds
    zero, y_scale = np.asarray(out.zero_point, out.dtype), np.float32(out.scale)
    short, bounds = LAWS[law], _code_bounds(node, out)
    if law == "ort_float_rne":
        return (short, [("factor", (scale / y_scale).astype(np.float32))], zero), bounds
    m, shift = quantize_multiplier(exact / np.float64(y_scale), single=law == "tflite_single")
    if law == "tflite_single":
        return (short, [("m", m), ("t", 31 - shift)], zero), bounds
    rows = [("m", m), ("right", np.maximum(-shift, 0)), ("left", np.maximum(shift, 0))]
    return (short, [(name, row.astype(np.int32)) for name, row in rows], zero), bounds


def _node(
    model: ir.Model,
    node: ir.Node,
    source: ir.Node,
    levels: Levels,
    axis: int,
    bias: NDArray[np.int32],
    law: Rows,
    bounds: tuple[float, float],
) -> ir.Node:
    convolution, base, graph = node.op_type in CONVS, label(node), model.graph
    short, rows, zero = law
    name = f"Integer{'Conv' if convolution else 'MatMul'}{short}"
    require(model, name)
    shape = (1, -1, 1, 1) if convolution else (-1,)
    x_zero = source.inputs[2] if len(source.inputs) > 2 else None
    if x_zero is None:
        x_zero = add_constant(graph, f"{base}_zero", np.zeros((), np.int8))
    inputs = [source.inputs[0], x_zero, _weights(model, node, levels, axis)]
    inputs.append(add_constant(graph, f"{base}_sums", bias.reshape(shape)))
    inputs += [add_constant(graph, f"{base}_{part}", row.reshape(shape)) for part, row in rows]
    if zero is not None:
        inputs.append(add_constant(graph, f"{base}_out_zero", zero))
    kept = ("dilations", "group", "kernel_shape", "pads", "strides") if convolution else ()
    attributes = [node.attributes[key] for key in kept]
    attributes += [ir.AttrFloat32(key, bound) for key, bound in zip(("min", "max"), bounds, strict=True)]
    return ir.Node(DOMAIN, name, inputs, attributes, name=base, num_outputs=1)


def _weights(model: ir.Model, node: ir.Node, levels: Levels, axis: int) -> ir.Value:
    """The levels as a constant of the smallest type; [K, N] for a matrix."""
    array, source = levels.levels, node.inputs[1]
    assert source is not None
    if node.op_type in GEMMS and axis == 0:
        array = np.ascontiguousarray(array.T)
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    if levels.group:
        made = add_constant(model.graph, f"{source.name}_levels", array.astype(np.int8))
        made.metadata_props[GROUP_KEY] = str(levels.group)
        return made
    if levels.format == "int4" and low >= -8 and high <= 7:
        tensor = ir.Tensor(array.astype(ir.DataType.INT4.numpy()), dtype=ir.DataType.INT4)
        return add_constant(model.graph, f"{source.name}_levels", tensor)
    fits = low >= -128 and high <= 127
    made = add_constant(model.graph, f"{source.name}_levels", array.astype(np.int8 if fits else np.int16))
    if levels.format in POT_FORMATS:
        made.metadata_props[CODES_KEY] = levels.format
    return made


def _sum(model: ir.Model, node: ir.Node) -> bool:
    after = sole_user(node.outputs[0])
    out = affine_of(after, "QuantizeLinear") if after is not None else None
    sources = [value.producer() if value is not None else None for value in node.inputs[:2]]
    if after is None or out is None or any(affine_of(item, "DequantizeLinear") is None for item in sources):
        return False
    left, right = sources
    assert left is not None and right is not None
    a, b = left.inputs[0], right.inputs[0]
    assert a is not None and b is not None
    if shape_of(a, node) != shape_of(b, node) or not is_op(after, "QuantizeLinear"):
        return False
    require(model, "IntegerAdd")
    inputs = [*_with_zero(model, left), *_with_zero(model, right), *_with_zero(model, after)[1:]]
    bounds = real(node, "min", -math.inf), real(node, "max", math.inf)
    attributes = [ir.AttrFloat32(key, bound) for key, bound in zip(("min", "max"), bounds, strict=True)]
    made = ir.Node(DOMAIN, "IntegerAdd", inputs, attributes, name=label(node), num_outputs=1)
    last = after.outputs[0]
    made.outputs[0].shape, made.outputs[0].type, made.outputs[0].name = last.shape, last.type, last.name
    ir.convenience.replace_nodes_and_values(
        model.graph, after, [node, after], [made], [last], [made.outputs[0]]
    )
    return True


def _with_zero(model: ir.Model, node: ir.Node) -> list[ir.Value | None]:
    """Input, scale and zero point of a Q or DQ node; the zero point is written out."""
    inputs = list(node.inputs[:3])
    if len(inputs) < 3 or inputs[2] is None:
        inputs[2:] = [add_constant(model.graph, f"{label(node)}_zero", np.zeros((), np.int8))]
    assert constant(inputs[2]) is not None and not integer(node, "block_size", 0)
    return inputs
