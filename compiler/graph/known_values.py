"""Values that are known when a network is compiled, beyond what onnxscript's folding finds: they become initializers.

Evaluated by ONNX's reference evaluator are nodes of constant inputs, those of several outputs too, and nodes that
depend on nothing but the shape of their input, which may have no elements.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from potluck.compiler.graph.mx_nodes import WIDENED_KEY
from potluck.compiler.graph.nodes import constant, operator, shape_of
from potluck.isa.errors import ModelError

KEPT = ("DequantizeLinear", "QuantizeLinear")
"""A quantized weight is a constant that is to stay quantized."""


def kept(node: ir.Node) -> bool:
    """Whether a node of constants stays a node."""
    return node.op_type in KEPT or WIDENED_KEY in node.metadata_props


_SHAPE_ONLY = ("EyeLike", "Shape", "Size")
"""Operators that do not read their input's elements."""
_RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)


def fold_known(model: ir.Model, limit: int) -> int:
    """Replaces nodes whose outputs are known by initializers.

    Args:
        model: Edited.
        limit: Largest tensor, in elements, that is made.

    Returns:
        Nodes that were replaced.
    """
    count = 0
    for node in list(model.graph):
        outputs = _outputs(model, node, limit)
        if outputs is None:
            continue
        for value, array in zip(node.outputs, outputs, strict=True):
            if value.uses() or value.is_graph_output():
                _hold(model.graph, value, array)
        model.graph.remove(node, safe=True)
        count += 1
    return count


def _outputs(model: ir.Model, node: ir.Node, limit: int) -> list[NDArray[np.generic]] | None:
    """What a node gives, or None if it is not known."""
    if node.domain not in ("", "ai.onnx") or kept(node) or node.op_type in _RANDOM:
        return None
    if any(
        item.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for item in node.attributes.values()
    ):
        return None
    try:
        if node.op_type != "Constant" and sum(math.prod(shape_of(x)) for x in node.outputs if x.name) > limit:
            return None
    except ModelError:
        return None
    feeds: dict[str, NDArray[np.generic]] = {}
    for value in node.inputs:
        if value is None:
            continue
        array = constant(value)
        if (
            array is None
            and value.shape is not None
            and value.shape.is_static()
            and (node.op_type in _SHAPE_ONLY or 0 in value.shape)
        ):
            assert value.dtype is not None
            array = np.zeros(shape_of(value), value.dtype.numpy())
        if array is None:
            return None
        feeds[value.name or ""] = array
    proto = ir.to_proto(node)
    graph = onnx.helper.make_graph(
        [proto], "known",
        [onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
         for name, array in feeds.items()],
        [onnx.ValueInfoProto(name=name) for name in proto.output if name],
    )  # fmt: skip
    opset = onnx.helper.make_opsetid("", model.graph.opset_imports[""])
    try:
        with np.errstate(all="ignore"):
            single = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=11)
            found = dict(zip((name for name in proto.output if name),
                             ReferenceEvaluator(single).run(None, feeds), strict=True))  # fmt: skip
    except Exception:  # the evaluator has gaps; what it cannot evaluate is judged as any other node
        return None
    if not all(isinstance(array, np.ndarray | np.generic) for array in found.values()):
        return None
    return [np.asarray(found.get(name, np.zeros(0))) for name in proto.output]


def _hold(graph: ir.Graph, value: ir.Value, array: NDArray[np.generic]) -> None:
    """Puts an initializer in a value's place, as output of the graph too, under its name."""
    name = value.name or operator(value.producer())  # type: ignore[arg-type]
    value.name = f"{name}_computed"
    tensor = ir.tensor(array, name=name)
    made = ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(made)
    value.replace_all_uses_with(made, replace_graph_outputs=True)
