"""Operators that change a shape, not the order of elements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import onnx_ir as ir

from potluck.compiler.graph import label, shape_of, title
from potluck.compiler.lowering.base import Tensor
from potluck.compiler.lowering.stream import RelayoutPlan
from potluck.compiler.operators.base import floats, operator
from potluck.compiler.reading import ordered

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector


@operator("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", rule=floats)
def _plan(selector: Selector, node: ir.Node) -> None:
    """Flatten, Reshape, Squeeze, Unsqueeze, Identity: an alias where the order in memory stays."""
    x, value = selector.tensor(node.inputs[0], node), node.outputs[0]
    shape = shape_of(value, node)
    if not value.is_graph_output() and ((ordered(x.shape) and ordered(shape)) or x.shape == shape):
        selector.tensors[value] = Tensor(value.name or "", shape, x.storage)
        return
    if not ordered(x.shape) and x.shape != shape:
        last = ordered(shape)
        flat = selector.new(value) if last else selector.fresh(f"{value.name}_flat", (math.prod(shape),))
        n, c, h, w = x.shape
        selector.plans.append(RelayoutPlan(label(node), title(node), x, flat, (n, c, h, w), to_row=True))
        if last:
            return
        x = flat
    y = selector.new(value)
    if not ordered(shape) and x.shape != shape:
        n, c, h, w = shape
        selector.plans.append(RelayoutPlan(label(node), title(node), x, y, (n, c, h, w), to_row=False))
        return
    # A graph output needs memory of its own: one image of one channel in, the same order out.
    size = math.prod(shape)
    selector.plans.append(RelayoutPlan(label(node), title(node), x, y, (1, 1, 1, size), to_row=True))
