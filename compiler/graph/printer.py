"""A graph as text, one node a line: what ``--print-after PASS`` shows and golden tests compare."""

from __future__ import annotations

import onnx_ir as ir

from potluck.compiler.graph.nodes import label, written

_SHORT = {
    "FLOAT": "f32",
    "FLOAT8E4M3FN": "e4m3",
    "FLOAT8E5M2": "e5m2",
    "FLOAT4E2M1": "e2m1",
    "FLOAT8E8M0": "e8m0",
}


def _type(value: ir.Value) -> str:
    dtype = _SHORT.get(value.dtype.name, value.dtype.name.lower()) if value.dtype is not None else "?"
    shape = ",".join(str(dim) for dim in value.shape) if value.shape is not None else "..."
    return f"{dtype}[{shape}]"


def _attribute(attribute: ir.Attr) -> str:
    value = attribute.value
    if isinstance(value, (tuple, list)):
        return "[" + ",".join(str(item) for item in value) + "]"
    if attribute.type is ir.AttributeType.FLOAT:
        return f"{float(value):g}"
    return f"<{attribute.type.name.lower()}>" if isinstance(value, ir.Graph) else str(value)


def _node(node: ir.Node) -> str:
    outputs = ", ".join(f"%{value.name}:{_type(value)}" for value in node.outputs)
    inputs = ", ".join(f"%{value.name}" if value is not None else "_" for value in node.inputs)
    attributes = " ".join(f"{name}={_attribute(value)}" for name, value in sorted(node.attributes.items()))
    body = f"{outputs} = {written(node)}({inputs})" + (f" {{{attributes}}}" if attributes else "")
    return f"  {body}  # {label(node)}"


def render(model: ir.Model) -> str:
    """The main graph as text.

    Returns:
        Lines for the inputs, the constants (types only), the nodes in order with shapes and attributes, and
        the outputs; ends with a newline.
    """
    graph = model.graph
    lines = [f"graph {graph.name or 'main'} (opset {graph.opset_imports.get('', '?')})"]
    lines += [f"  input %{value.name}:{_type(value)}" for value in graph.inputs]
    lines += [f"  const %{value.name}:{_type(value)}" for value in graph.initializers.values()]
    lines += [_node(node) for node in graph]
    lines += [f"  output %{value.name}:{_type(value)}" for value in graph.outputs]
    return "\n".join(lines) + "\n"
