"""If, Loop and Scan: branches side by side, iterations one behind the other. What decides must be known, but in If."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from potluck.compiler.graph.nodes import add_constant, constant, integer, ints, is_op, label, shape_of

MOST = 4096
"""Iterations."""


def reason(node: ir.Node) -> str:
    """Why one of these operators cannot be taken apart; asked of those that were not."""
    if node.op_type == "If":
        return "its condition is computed at run time, and its branches give tensors of other shapes or types"
    if node.op_type == "Loop":
        found = _iterations(node)
        return found if isinstance(found, str) else "nothing is known of what it collects"
    return "the length of its sequence is not known"


def unrolled(graph: ir.Graph, node: ir.Node) -> bool:
    """Takes an If, Loop or Scan apart; whether it was one that can be."""
    if node.domain not in ("", "ai.onnx"):
        return False
    made = {"If": _if, "Loop": _loop, "Scan": _scan}.get(node.op_type)
    results = made(_Splicer(graph, node)) if made else None
    if results is None:
        return False
    last = [ir.node("Identity", [value], name=f"{label(node)}_{i}") for i, value in enumerate(results)]
    for old, new in zip(node.outputs, last, strict=True):
        new.outputs[0].type = old.type
        new.outputs[0].shape = old.shape
    outputs = [item.outputs[0] for item in last]
    ir.convenience.replace_nodes_and_values(graph, node, [node], last, list(node.outputs), outputs)
    return True


class _Splicer:
    """Puts copies of bodies and single nodes before a node.

    Args:
        graph: Edited.
        node: Before which.
    """

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self.graph, self.node, self.count = graph, node, 0
        self.constants: dict[bytes, ir.Value] = {}

    def constant(self, array: np.ndarray) -> ir.Value:
        """A constant of the graph."""
        key = array.dtype.str.encode() + str(array.shape).encode() + array.tobytes()
        if key not in self.constants:
            self.constants[key] = add_constant(self.graph, f"{label(self.node)}_constant", array)
        return self.constants[key]

    def body(self, name: str) -> ir.Graph:
        """A body."""
        return self.node.attributes[name].as_graph()

    def copy(self, body: ir.Graph, feeds: Sequence[ir.Value]) -> list[ir.Value]:
        """One copy of a body with values for its inputs; its outputs."""
        made = body.clone(allow_outer_scope_values=True)
        prefix = f"{label(self.node)}_{self.count}"
        self.count += 1
        for value, feed in zip(made.inputs, feeds, strict=True):
            value.replace_all_uses_with(feed, replace_graph_outputs=True)
        outputs = list(made.outputs)
        held = list(made.initializers.values())
        made.initializers.clear()
        for value in held:
            value.name = f"{prefix}_{value.name}"
            self.graph.register_initializer(value)
        nodes = list(made)
        made.outputs.clear()
        made.remove(nodes)
        for node in nodes:
            node.name = f"{prefix}_{node.name or node.op_type}"
            for output in node.outputs:
                output.name = f"{prefix}_{output.name}"
        self.graph.insert_before(self.node, nodes)
        return outputs

    def add(self, op: str, inputs: Sequence[ir.Value], **attributes: int) -> ir.Value:
        """One node."""
        made = ir.node(op, inputs, attributes, name=f"{label(self.node)}_{op}_{self.count}")
        made.outputs[0].name = f"{label(self.node)}_value_{self.count}"
        self.count += 1
        self.graph.insert_before(self.node, made)
        return made.outputs[0]

    def stacked(self, parts: Sequence[ir.Value], axis: int) -> ir.Value:
        """Parts as elements of a new axis."""
        where = self.constant(np.array([axis], np.int64))
        return self.add("Concat", [self.add("Unsqueeze", [part, where]) for part in parts], axis=axis)


def _if(splicer: _Splicer) -> list[ir.Value] | None:
    """The branch that is taken, or both and a choice."""
    node = splicer.node
    condition, value = constant(node.inputs[0]), node.inputs[0]
    if condition is not None:
        taken = "then_branch" if bool(condition.reshape(())) else "else_branch"
        return splicer.copy(splicer.body(taken), [])
    branches = [splicer.body(name) for name in ("then_branch", "else_branch")]
    for a, b in zip(*(branch.outputs for branch in branches), strict=True):
        if (
            a.shape is None
            or b.shape is None
            or not a.shape.is_static()
            or a.shape != b.shape
            or a.dtype != b.dtype
        ):
            return None
    assert value is not None
    both = [splicer.copy(branch, []) for branch in branches]
    return [splicer.add("Where", [value, a, b]) for a, b in zip(*both, strict=True)]


def _iterations(node: ir.Node) -> int | str:
    """How often a Loop runs, or why that is not known."""
    trips = node.inputs[0] if node.inputs else None
    count = constant(trips)
    if trips is None or count is None:
        return "its number of iterations is computed at run time, only constants are taken: see --bind"
    condition = node.inputs[1] if len(node.inputs) > 1 else None
    if condition is not None and constant(condition) is None:
        return "its condition is computed at run time, only constants are taken: see --bind"
    if condition is not None and not bool(np.asarray(constant(condition)).reshape(())):
        return 0
    body = node.attributes["body"].as_graph()
    last: ir.Value | None = body.outputs[0]
    while last is not None and is_op(last.producer(), "Identity", "Cast"):
        last = last.producer().inputs[0]  # type: ignore[union-attr]
    source = last.producer() if last is not None else None
    kept = last is not None and (last is body.inputs[1] or last is condition)
    if not kept:
        held = constant(last)
        if source is not None and is_op(source, "Constant"):
            tensor = source.attributes.get("value")
            held = np.asarray(tensor.as_tensor().numpy()) if tensor is not None else None
        if held is None or not bool(held.reshape(())):
            return "its condition is computed in its body, only its number of iterations may end it"
    times = int(count.reshape(()))
    return times if times <= MOST else f"its {times} iterations are more than the {MOST} that are unrolled"


def _loop(splicer: _Splicer) -> list[ir.Value] | None:
    """Every iteration."""
    node = splicer.node
    times = _iterations(node)
    if isinstance(times, str):
        return None
    body, states = splicer.body("body"), [value for value in node.inputs[2:] if value is not None]
    collected: list[list[ir.Value]] = [[] for _ in body.outputs[1 + len(states) :]]
    if not times and collected:
        return None
    going = splicer.constant(np.array(True))
    for index in range(times):
        outputs = splicer.copy(body, [splicer.constant(np.array(index, np.int64)), going, *states])
        states = outputs[1 : 1 + len(states)]
        for parts, value in zip(collected, outputs[1 + len(states) :], strict=True):
            parts.append(value)
    return [*states, *(splicer.stacked(parts, 0) for parts in collected)]


def _scan(splicer: _Splicer) -> list[ir.Value] | None:
    """Every step of the sequences."""
    node = splicer.node
    count = integer(node, "num_scan_inputs", 0)
    values = [value for value in node.inputs if value is not None]
    if len(values) != len(node.inputs):
        return None
    states, sequences = values[: len(values) - count], values[len(values) - count :]
    if any(value.shape is None or not value.shape.is_static() for value in sequences):
        return None
    axes = ints(node, "scan_input_axes", (0,) * count)
    turned = ints(node, "scan_input_directions", (0,) * count)
    body = splicer.body("body")
    results = len(body.outputs) - len(states)
    out_axes = ints(node, "scan_output_axes", (0,) * results)
    out_turned = ints(node, "scan_output_directions", (0,) * results)
    shapes = [shape_of(value, node) for value in sequences]
    axes = tuple(axis % len(shape) for axis, shape in zip(axes, shapes, strict=True))
    length = shapes[0][axes[0]] if shapes else 0
    if not 0 < length <= MOST:
        return None
    made_axes = []
    for axis, output in zip(out_axes, body.outputs[len(states) :], strict=True):
        if axis < 0 and output.shape is None:
            return None
        made_axes.append(axis if axis >= 0 else axis + len(output.shape or ()) + 1)
    collected: list[list[ir.Value]] = [[] for _ in range(results)]
    for step in range(length):
        feeds = []
        for value, axis, back in zip(sequences, axes, turned, strict=True):
            at = length - 1 - step if back else step
            feeds.append(splicer.add("Gather", [value, splicer.constant(np.array(at, np.int64))], axis=axis))
        outputs = splicer.copy(body, [*states, *feeds])
        states = outputs[: len(states)]
        for parts, result in zip(collected, outputs[len(states) :], strict=True):
            parts.append(result)
    return [
        *states,
        *(
            splicer.stacked(parts[::-1] if back else parts, axis)
            for parts, axis, back in zip(collected, made_axes, out_turned, strict=True)
        ),
    ]
