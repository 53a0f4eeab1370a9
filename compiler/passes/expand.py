"""Replaces operators that have no kernel by what they consist of: ONNX's own function bodies, and ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, LiftConstantsToInitializersPass

from potluck.compiler.bodies import EXPANDED, function_of
from potluck.compiler.graph.explicit import make_explicit
from potluck.compiler.graph.nodes import drop_unused, fresh_name, operator
from potluck.compiler.importer import infer_shapes, name_nodes
from potluck.compiler.operators import rules
from potluck.compiler.operators.base import HALVES
from potluck.compiler.passes.base import GraphPass
from potluck.compiler.passes.constant_fold import ConstantFold
from potluck.compiler.passes.control_flow import unrolled

ROUNDS = 8
"""Bodies within bodies."""


@dataclass(frozen=True)
class Expand(GraphPass):
    """Expands nodes that no rule takes, until every node is taken or has no body."""

    name: ClassVar[str] = "expand"

    def run(self, model: ir.Model) -> int:
        """See `GraphPass.run`."""
        changed = 0
        for _ in range(ROUNDS):
            count = self._round(model)
            changed += count
            if not count:
                break
        return changed

    def _round(self, model: ir.Model) -> int:
        known = rules()

        def without_kernel(node: ir.Node) -> bool:
            rule = known.get(operator(node))
            return rule is None or rule(node) is not None

        count = inline(model, without_kernel)
        if count:
            name_nodes(model)
            LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
            infer_shapes(model)
            ConstantFold().run(model)
            make_explicit(model)
            drop_unused(model.graph)
        return count


def inline(model: ir.Model, chosen: Callable[[ir.Node], bool]) -> int:
    """Replaces nodes by their bodies, once; returns how many had one."""
    count, opset = 0, model.graph.opset_imports[""]
    for node in list(model.graph):
        if not chosen(node):
            continue
        if unrolled(model.graph, node) or in_single(model.graph, node):
            count += 1
            continue
        function = _function(node, f"{node.op_type}_{count}", opset)
        if function is None:
            continue
        function.opset_imports.clear()
        function.opset_imports.update({"": opset})
        model.functions[function.identifier()] = function
        node.domain, node.op_type = function.domain, function.name
        model.graph.opset_imports[EXPANDED] = 1
        count += 1
    if count:
        InlinePass(criteria=lambda function: function.domain == EXPANDED)(model)
        model.graph.opset_imports.pop(EXPANDED, None)
    return count


PREVIEW = "ai.onnx.preview"
"""ONNX's domain of operators to come, which are functions."""
OF_TYPES = ("Cast", "CastLike", "BitCast", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
"""Operators that are about types."""


def in_single(graph: ir.Graph, node: ir.Node) -> bool:
    """Has an operator of FP16 or BF16 computed in FP32 between casts, as onnxruntime does.

    Returns:
        Whether it was one that is.
    """
    if node.domain not in ("", "ai.onnx") or node.op_type in OF_TYPES:
        return False
    if not any(value is not None and value.dtype in HALVES for value in node.inputs):
        return False
    if _has_graphs(node):
        return False
    single, name = ir.TensorType(ir.DataType.FLOAT), node.name or node.op_type
    made: list[ir.Node] = []
    inputs: list[ir.Value | None] = []
    for index, value in enumerate(node.inputs):
        if value is None or value.dtype not in HALVES:
            inputs.append(value)
            continue
        cast = ir.node("Cast", [value], {"to": int(ir.DataType.FLOAT)}, name=f"{name}_single{index}")
        cast.outputs[0].name, cast.outputs[0].type = fresh_name(graph, f"{name}_x{index}"), single
        cast.outputs[0].shape = value.shape
        made.append(cast)
        inputs.append(cast.outputs[0])
    core = ir.Node(
        node.domain, node.op_type, inputs, list(node.attributes.values()), num_outputs=len(node.outputs),
        version=node.version, name=name,
    )  # fmt: skip
    made.append(core)
    results: list[ir.Value] = []
    for index, (old, new) in enumerate(zip(node.outputs, core.outputs, strict=True)):
        if old.dtype not in HALVES:
            results.append(new)
            new.type, new.shape = old.type, old.shape
            continue
        new.name, new.type, new.shape = fresh_name(graph, f"{name}_y{index}"), single, old.shape
        cast = ir.node("Cast", [new], {"to": int(old.dtype)}, name=f"{name}_rounded{index}")
        made.append(cast)
        results.append(cast.outputs[0])
    ir.convenience.replace_nodes_and_values(graph, node, [node], made, list(node.outputs), results)
    return True


def _has_graphs(node: ir.Node) -> bool:
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(item.type in kinds for item in node.attributes.values())


def _function(node: ir.Node, name: str, opset: int) -> ir.Function | None:
    """The function that a node is; None if it is none."""
    ours = function_of(node, name, opset)
    if ours is not None:
        return ours
    try:
        if _has_graphs(node):  # which onnx-ir cannot inline
            return None
        if node.domain == PREVIEW:  # versions of its own; bodies may say what only later opsets have
            schema = onnx.defs.get_schema(node.op_type, max_inclusive_version=1 << 10, domain=PREVIEW)
            opset = onnx.defs.onnx_opset_version()
        elif node.domain in ("", "ai.onnx"):
            schema = onnx.defs.get_schema(node.op_type, opset)
        else:
            return None
    except onnx.defs.SchemaError:
        return None
    proto = _schema_body(schema, node, opset)
    if proto is None:
        return None
    for key, attribute in schema.attributes.items():  # a body refers to attributes that the node leaves out
        if key not in node.attributes and attribute.default_value.name:
            node.attributes[key] = ir.serde.deserialize_attribute(attribute.default_value)
    proto.domain, proto.name = EXPANDED, name
    del proto.output[len(node.outputs) :]
    made = {output for statement in proto.node for output in statement.output}
    for output in proto.output:  # one that the node does not ask for
        if output not in made:
            proto.node.append(onnx.helper.make_node("Identity", [proto.input[0]], [output]))
    return ir.serde.deserialize_function(proto)


def _schema_body(schema: Any, node: ir.Node, opset: int) -> onnx.FunctionProto | None:
    proto = onnx.FunctionProto()
    if schema.has_context_dependent_function:
        versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
        types = [_type_of(value) for value in node.inputs]
        made = versions and schema.get_context_dependent_function_with_opset_version(
            max(versions), ir.to_proto(node).SerializeToString(), types
        )
    else:
        versions = [v for v in schema.function_opset_versions if v <= opset] if schema.has_function else []
        made = versions and schema.get_function_with_opset_version(max(versions))
    if not made:
        return None
    proto.ParseFromString(made)
    return proto


def _type_of(value: ir.Value | None) -> bytes:
    made = onnx.TypeProto()
    if value is not None and value.dtype is not None:
        shape = (
            None if value.shape is None else [size if isinstance(size, int) else None for size in value.shape]
        )
        made = onnx.helper.make_tensor_type_proto(int(value.dtype), shape)
    return bytes(made.SerializeToString())
