"""Nodes that the machine does not take and that the user allows the host to compute (``--allow-host``)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir

from potluck.compiler.engine import OnnxEngine
from potluck.compiler.graph.nodes import HOST, IR_VERSIONS, OPSET, constant, label, shape_of, title
from potluck.compiler.host import inputs_of
from potluck.compiler.lowering.host import HostPlan
from potluck.compiler.operators.base import MOVED, SMALL, operator
from potluck.isa.errors import ModelError, ProgramError
from potluck.isa.manifest import HostNode, Tensor

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector

TYPES = tuple(kind for kind in MOVED if kind not in (*SMALL, ir.DataType.BFLOAT16))
"""Types of tensors in memory that a host's engines and NumPy take as they are."""
CONTAINERS = ("If", "Loop", "Scan", "SequenceMap")
"""Operators that are as random as the nodes inside them."""
RANDOM = onnx.defs.OpSchema.NodeDeterminism.NonDeterministic


def refusal(model: ir.Model, node: ir.Node) -> str | None:
    """Why not even the host can compute a node for a program; None if it can."""
    one = _Alone(model, node)
    for value in (*one.activations, *one.results):
        if not isinstance(value.type, ir.TensorType) or value.dtype not in TYPES:
            return f"its tensor {value.name!r} is of type {value.type}, which has no place in memory"
        try:
            shape_of(value)
        except ModelError as error:
            return error.message
    random = [inner.op_type for inner in _nodes(one.proto) if _is_random(inner)]
    if random:
        return f"{random[0]} gives other values with every run"
    try:
        inputs, outputs = ([_unplaced(value) for value in side] for side in (one.activations, one.results))
        OnnxEngine().prepare(HostNode(label(node), title(node), "", one.model(), inputs, outputs))
    except ProgramError as error:
        return error.message
    return None


def _reason(node: ir.Node) -> str:
    return str(node.meta[HOST])


@operator(HOST, rule=_reason, order=None)
def _plan(selector: Selector, node: ir.Node) -> None:
    """One host call; tensors of four dimensions have whatever order suits the layers around it."""
    one = _Alone(selector.model, node)
    inputs = tuple((value.name or "", selector.tensor(value, node)) for value in one.activations)
    outputs = tuple(
        (value.name or "", selector.new(value, channels_last=selector.seen_as_image(value)))
        for value in one.results
    )
    if any(tensor.elements for _, tensor in outputs):  # nobody calls for nothing
        index = sum(isinstance(plan, HostPlan) for plan in selector.plans)
        selector.plans.append(
            HostPlan(label(node), title(node), index, _reason(node), one.model(), inputs, outputs)
        )


class _Alone:
    """A node on its own.

    Attributes:
        proto: The node.
        activations: What it, and the graphs inside it, reads that is computed at run time.
        constants: What else it reads.
        results: Outputs that somebody reads.
    """

    def __init__(self, model: ir.Model, node: ir.Node) -> None:
        graph, self._model = model.graph, model
        every = [
            *graph.inputs,
            *graph.initializers.values(),
            *(out for item in graph for out in item.outputs),
        ]
        named = {value.name or "": value for value in every}
        self.proto = ir.to_proto(node)
        read = [named[name] for name in dict.fromkeys(inputs_of(self.proto))]
        self.constants = [value for value in read if constant(value) is not None]
        self.activations = [value for value in read if constant(value) is None]
        self.results = [value for value in node.outputs if value.uses() or value.is_graph_output()]

    def model(self) -> str:
        """An ONNX model of the node with its constants and the functions that it calls, as base64."""
        weights = []
        for value in self.constants:
            held = value.const_value
            assert held is not None
            if isinstance(held, ir.ExternalTensor):  # the program has no files beside it
                held = ir.tensor(held.numpy(), dtype=held.dtype)
            weight = ir.to_proto(held)
            weight.name = value.name or ""
            weights.append(weight)
        inputs, outputs = ([_info(value) for value in side] for side in (self.activations, self.results))
        graph = onnx.helper.make_graph([self.proto], "host", inputs, outputs, weights)
        # Later opsets differ from ours in types alone, and onnxruntime refuses those that it does not know yet.
        functions, domains = self._functions(), {**self._model.graph.opset_imports}
        for imported in (item for function in functions for item in function.opset_import):
            imported.version = min(imported.version, OPSET)
            domains.setdefault(imported.domain, imported.version)
        imports = [onnx.helper.make_opsetid(name, min(version, OPSET)) for name, version in domains.items()]
        made = onnx.helper.make_model(
            graph, ir_version=IR_VERSIONS[OPSET], functions=functions, opset_imports=imports
        )
        return base64.b64encode(made.SerializeToString(deterministic=True)).decode()

    def _functions(self) -> list[onnx.FunctionProto]:
        known = {(domain, name): item for (domain, name, _), item in self._model.functions.items()}
        found: dict[tuple[str, str], onnx.FunctionProto] = {}
        todo = list(_nodes(self.proto))
        while todo:
            node = todo.pop()
            key = node.domain, node.op_type
            if key in known and key not in found:
                found[key] = ir.to_proto(known[key])
                todo += [inner for statement in found[key].node for inner in _nodes(statement)]
        return list(found.values())


def _unplaced(value: ir.Value) -> Tensor:
    """A tensor before it has an address."""
    assert value.dtype is not None
    return Tensor(value.name or "", value.dtype.numpy().name, list(shape_of(value)), "row", 0, 0)


def _info(value: ir.Value) -> onnx.ValueInfoProto:
    assert value.dtype is not None
    return onnx.helper.make_tensor_value_info(value.name or "", int(value.dtype), shape_of(value))


def _nodes(proto: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """The node and those of the graphs inside it."""
    yield proto
    for attribute in proto.attribute:
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            for inner in graph.node:
                yield from _nodes(inner)


def _is_random(proto: onnx.NodeProto) -> bool:
    if proto.domain not in ("", "ai.onnx") or proto.op_type in CONTAINERS:
        return False
    try:
        schema = onnx.defs.get_schema(proto.op_type, OPSET)
        return bool(schema.node_determinism == RANDOM)  # type: ignore[attr-defined]  # its stub lacks it
    except onnx.defs.SchemaError:
        return False
