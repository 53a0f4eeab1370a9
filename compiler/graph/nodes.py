"""Small readings of an onnx-ir graph that every pass and the lowering need."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.isa.errors import ModelError

OPSET = 24
"""The opset of every graph inside the compiler: the first whose Q/DQ takes E8M0 scales."""
FP6_OPSET = 28
"""The first opset with FLOAT6E2M3 and FLOAT6E3M2, for networks that hold them."""
IR_VERSIONS = {OPSET: 12, FP6_OPSET: 14}
"""IR version that came with an opset's types."""
LARGEST_EXACT = 1 << 24
"""Integers below it, and their sums that stay below it, are exact in FP32."""
DOMAIN = "potluck"
"""Domain of Potluck's functions; their bodies are standard operators."""

HOST = f"{DOMAIN}.Host"
"""Operator of nodes that the host computes, and key in their ``meta`` of the reason why the machine does not."""


def label(node: ir.Node) -> str:
    """The node's name, or what identifies it if it has none: its first output."""
    return node.name or (node.outputs[0].name if node.outputs else "") or node.op_type


def written(node: ir.Node) -> str:
    """``Conv`` or ``potluck.FusedConv``: the operator with its domain, where that is not ONNX's."""
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type


def operator(node: ir.Node) -> str:
    """What decides how a node is compiled: the operator as it is `written`, or `HOST` where the host computes it."""
    return HOST if HOST in node.meta else written(node)


def title(node: ir.Node) -> str:
    """The operator for people: ``Conv`` for a fused one too, since that is what their network holds."""
    name = written(node)
    if name.endswith("QuantizeDequantize"):
        return "QuantizeMx"
    for law in ("Float", "Ort", "Single", "Double") if name.startswith(f"{DOMAIN}.Integer") else ():
        name = name.removesuffix(law)
    for family in ("Fused", "Integer", ""):
        name = name.removeprefix(f"{DOMAIN}.{family}")
    return name


def is_op(node: ir.Node | None, *op_types: str, domain: str = "") -> bool:
    """Whether the node is one of the named operators of a domain."""
    return node is not None and (node.domain or "") == domain and node.op_type in op_types


def constant(value: ir.Value | None) -> NDArray[np.generic] | None:
    """The value of an initializer that is not also an input, or None if it is not known."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return np.asarray(value.const_value.numpy())


def shape_of(value: ir.Value, node: ir.Node | None = None) -> tuple[int, ...]:
    """The static shape of a value.

    Raises:
        ModelError: A dimension, or the rank, is unknown; `node` is who asks.
    """
    if value.shape is None or not all(isinstance(dim, int) for dim in value.shape):
        raise ModelError(
            f"tensor {value.name!r} has the shape {value.shape or 'unknown'}, which is not static",
            node=label(node) if node is not None else None,
            hint="Bind every dynamic dimension, e.g. dims={'batch': 1}",
        )
    return tuple(int(dim) for dim in value.shape if isinstance(dim, int))


def sole_user(value: ir.Value) -> ir.Node | None:
    """The only node that reads a value, if the value is not a graph output too."""
    users = {usage.node for usage in value.uses()}
    if len(users) != 1 or len(value.uses()) != 1 or value.is_graph_output():
        return None
    return next(iter(users))


def fresh_name(graph: ir.Graph, base: str) -> str:
    """``base``, or ``base_1``...: a name that no value of the graph has."""
    taken = {value.name for value in graph.inputs} | set(graph.initializers)
    taken |= {output.name for node in graph for output in node.outputs}
    name, count = base, 0
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    return name


def add_constant(graph: ir.Graph, base: str, array: NDArray[np.generic] | ir.TensorProtocol) -> ir.Value:
    """Registers an initializer under a fresh name and returns its value."""
    name = fresh_name(graph, base)
    tensor = ir.tensor(array, name=name) if isinstance(array, np.ndarray) else array
    shape = ir.Shape(int(dim) for dim in tensor.numpy().shape)
    value = ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.initializers[name] = value
    return value


def drop_unused(graph: ir.Graph) -> None:
    """Removes nodes and initializers that nothing reads."""
    for node in reversed(graph):
        if not any(output.uses() or output.is_graph_output() for output in node.outputs):
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]


def ints(node: ir.Node, name: str, default: Iterable[int]) -> tuple[int, ...]:
    """An integer-list attribute, or its default."""
    attribute = node.attributes.get(name)
    return tuple(attribute.as_ints()) if attribute is not None else tuple(default)


def integer(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute, or its default."""
    attribute = node.attributes.get(name)
    return attribute.as_int() if attribute is not None else default


def real(node: ir.Node, name: str, default: float) -> float:
    """A float attribute, or its default."""
    attribute = node.attributes.get(name)
    return attribute.as_float() if attribute is not None else default


def text(node: ir.Node, name: str, default: str) -> str:
    """A string attribute, or its default."""
    attribute = node.attributes.get(name)
    return attribute.as_string() if attribute is not None else default
