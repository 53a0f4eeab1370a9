"""Operators that change a shape, not the order of elements."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import onnx_ir as ir

from potluck.compiler.graph.nodes import label, shape_of, title
from potluck.compiler.lowering.base import Tensor
from potluck.compiler.lowering.stream import RelayoutPlan
from potluck.compiler.operators.base import movable, operator

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector


@operator("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", rule=movable, order="row")
def _plan(selector: Selector, node: ir.Node) -> None:
    """Flatten, Reshape, Squeeze, Unsqueeze, Identity: the same memory with another shape."""
    value, shape = node.outputs[0], shape_of(node.outputs[0], node)
    x = selector.tensor(node.inputs[0], node)
    if x.shape != shape:
        x = selector.tensor(node.inputs[0], node, channels_last=False)
    if not value.is_graph_output():
        selector.tensors[value] = replace(x, name=value.name or "", shape=shape)
        return
    # A graph output needs memory of its own: one image of one channel in, the same order out.
    y = selector.new(value, channels_last=x.channels_last)
    flat: Tensor = replace(x, channels_last=False)
    copied = (1, 1, 1, math.prod(shape))
    selector.plans.append(RelayoutPlan(label(node), title(node), flat, y, copied, to_row=True))
