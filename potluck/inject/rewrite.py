"""A quantized graph in operators that onnxruntime has, with the arithmetic of the machine."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, parser

from potluck.compiler.functions.mx import BLOCKS
from potluck.isa.errors import DataError
from potluck.isa.formats.elements import E2M1, E4M3, E5M2, ElementFormat

OPSET = 22
_ELEMENTS: dict[int, ElementFormat] = {
    onnx.TensorProto.FLOAT8E4M3FN: E4M3, onnx.TensorProto.FLOAT8E5M2: E5M2, onnx.TensorProto.FLOAT4E2M1: E2M1,
}  # fmt: skip
_CAST = """
  narrow = Cast <to = {type}> (ratio)
  rounded = Cast <to = 1> (narrow)"""
_E2M1 = """
  size_of = Abs (ratio)
  sign_of = Sign (ratio)
  two_limit = Constant <value_float = 2.0> ()
  four_limit = Constant <value_float = 4.0> ()
  six_limit = Constant <value_float = 6.0> ()
  half_step = Constant <value_float = 0.5> ()
  small_value = Less (size_of, two_limit)
  middle_value = Less (size_of, four_limit)
  upper_step = Where (middle_value, one_float, two_limit)
  step = Where (small_value, half_step, upper_step)
  steps = Div (size_of, step)
  whole_steps = Round (steps)
  unbounded = Mul (whole_steps, step)
  bounded = Min (unbounded, six_limit)
  rounded = Mul (bounded, sign_of)"""
_MX = """
<opset_import: ["" : {opset}], domain: "potluck.reference">
{name} <axis, block_size> (x) => (y) {{
{blocks}
  nothing = Constant <value_float = 0.0> ()
  one_float = Constant <value_float = 1.0> ()
  half = Constant <value_float = 0.5> ()
  two = Constant <value_float = 2.0> ()
  padded = Pad (x, pads, nothing, along)
  block_shape = Concat <axis = 0> (lead, blocks, size, tail)
  grouped = Reshape (padded, block_shape)
  magnitude = Abs (grouped)
  largest = Constant <value_float = 3.4028235e38> ()
  fits = LessOrEqual (magnitude, largest)
  broken = Not (fits)
  broken_float = Cast <to = 1> (broken)
  any_broken = ReduceMax <keepdims = 1> (broken_float, after)
  good = Less (any_broken, half)
  maximum = ReduceMax <keepdims = 1> (magnitude, after)
  positive = Greater (maximum, nothing)
  usable = And (good, positive)
  m = Where (usable, maximum, one_float)
  logarithm = Log (m)
  to_base_two = Constant <value_float = 1.4426950> ()
  exponent = Mul (logarithm, to_base_two)
  floor = Floor (exponent)
  guess = Pow (two, floor)
  beyond = Greater (guess, m)
  guess_half = Mul (guess, half)
  lower = Where (beyond, guess_half, guess)
  twice = Mul (lower, two)
  short = LessOrEqual (twice, m)
  power = Where (short, twice, lower)
  per_emax = Constant <value_float = {per_emax}> ()
  raw_scale = Mul (power, per_emax)
  least = Constant <value_float = 5.877471754111438e-39> ()
  scale = Max (raw_scale, least)
  ratio = Div (grouped, scale){rounding}
  scaled = Mul (rounded, scale)
  infinite = Constant <value_float = 3.4028235e38> ()
  overflow = Mul (infinite, two)
  not_a_number = Sub (overflow, overflow)
  valid = Where (good, scaled, not_a_number)
  flat_shape = Concat <axis = 0> (lead, whole, tail)
  flat = Reshape (valid, flat_shape)
  y = Slice (flat, zero, length, along)
}}
"""


def with_biases(proto: onnx.ModelProto, names: Collection[str]) -> dict[str, tuple[str, NDArray[np.float32]]]:
    """Let products add the biases of zeros that the program gives them, as faults may change those.

    Args:
        proto: rewritten in place.
        names: tensors of the program.

    Returns:
        By a bias's name, its product's weights and its values, which the graph does not hold.
    """
    widths = {t.name: t.dims[-1] for t in proto.graph.initializer if t.dims}
    for node in proto.graph.node:  # weights have the shape of their codes, or of their halves
        if node.op_type in ("DequantizeLinear", "Cast") and node.input[0] in widths:
            widths[node.output[0]] = widths[node.input[0]]
    found, nodes = {}, []
    for node in proto.graph.node:
        nodes.append(node)
        bias = f"{node.name or node.output[0]}_bias"
        if node.op_type != "MatMul" or bias not in names or node.input[1] not in widths:
            continue
        found[bias] = node.input[1], np.zeros(widths[node.input[1]], np.float32)
        result = node.output[0]
        node.output[0] = f"{result}_product"
        nodes.append(helper.make_node("Add", [node.output[0], bias], [result]))
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return found


def runnable(
    proto: onnx.ModelProto, inputs: Sequence[onnx.ValueInfoProto], fed: Collection[str]
) -> onnx.ModelProto:
    """The graph with some of its values as inputs.

    Args:
        proto: a prepared graph.
        inputs: further graph inputs.
        fed: their names; what computed them, and constants that nobody needs then, go.

    Raises:
        DataError: an MX element type that is not known here.
    """
    functions = {f.name: f for f in proto.functions}
    nodes: list[onnx.NodeProto] = []
    made: dict[str, onnx.FunctionProto] = {}
    for node in proto.graph.node:
        if set(node.output) & set(fed):
            continue
        if node.op_type.startswith("Fused"):
            nodes += _activated(node)
        elif node.op_type == "MxQuantizeDequantize":
            nodes.append(_mx(node, made))
        else:
            nodes.append(node)
            if node.op_type in functions and node.op_type not in made:
                made[node.op_type] = _single(functions[node.op_type])
    needed = {name for node in nodes for name in node.input}
    kept = [t for t in proto.graph.initializer if t.name in needed and t.name not in fed]
    extra = [
        numpy_helper.from_array(np.array(value, np.float32), name) for name, value in _bounds(nodes).items()
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "reference", [*proto.graph.input, *inputs], list(proto.graph.output), [*kept, *extra]
    )
    domains = [("", OPSET), ("potluck", 1), ("potluck.reference", 1)]
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains]
    return helper.make_model(graph, opset_imports=opsets, functions=list(made.values()), ir_version=10)


_BOUND = "reference_bound_"


def _bounds(nodes: Sequence[onnx.NodeProto]) -> dict[str, float]:
    names = {name for node in nodes for name in node.input if name.startswith(_BOUND)}
    return {name: float(name.removeprefix(_BOUND)) for name in names}


def _activated(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The operator, and maximum and minimum as RISC-V has them: of a NaN and a number, the number."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    low, high = attributes.pop("min", -np.inf), attributes.pop("max", np.inf)
    name, last = node.output[0], f"{node.output[0]}_raw"
    out = [helper.make_node(node.op_type.removeprefix("Fused"), list(node.input), [last], **attributes)]
    for bound, test, suffix in ((low, "Greater", "low"), (high, "Less", "high")):
        if np.isinf(bound):
            continue
        limit, inside, clipped = f"{_BOUND}{bound!r}", f"{name}_{suffix}_inside", f"{name}_{suffix}"
        out.append(helper.make_node(test, [last, limit], [inside]))
        out.append(helper.make_node("Where", [inside, last, limit], [clipped]))
        last = clipped
    out.append(helper.make_node("Identity", [last], [name]))
    return out


def _mx(node: onnx.NodeProto, made: dict[str, onnx.FunctionProto]) -> onnx.NodeProto:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    kind = int(attributes["to"])
    if kind not in _ELEMENTS:
        raise DataError(f"no MX element of ONNX type {kind} here", hint="Use the engine sim")
    element = _ELEMENTS[kind]
    name = f"MxReference{element.name}"
    if name not in made:
        rounding = _E2M1 if element is E2M1 else _CAST.format(type=kind)
        text = _MX.format(
            blocks=BLOCKS, opset=OPSET, name=name, per_emax=repr(2.0**-element.emax), rounding=rounding
        )  # fmt: skip
        made[name] = parser.parse_function(text)
    return helper.make_node(
        name, list(node.input), list(node.output), domain="potluck.reference", axis=int(attributes["axis"]),
        block_size=int(attributes["block_size"]),
    )  # fmt: skip


def _single(function: onnx.FunctionProto) -> onnx.FunctionProto:
    """Double precision, which onnxruntime's Conv lacks, becomes single, exact below 2^24."""
    out = onnx.FunctionProto()
    out.CopyFrom(function)
    for node in out.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == onnx.TensorProto.DOUBLE:
                attribute.i = onnx.TensorProto.FLOAT
    for opset in out.opset_import:
        if opset.domain == "":
            opset.version = OPSET
    return out
