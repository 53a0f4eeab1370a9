"""Softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from potluck.compiler.graph.nodes import integer, shape_of
from potluck.compiler.lowering.adapters import SoftmaxTile
from potluck.compiler.lowering.stream import Stream
from potluck.compiler.operators.base import channels_innermost, floats, innermost_axes, operator, stream
from potluck.kernels.softmax import Softmax

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector


def _softmax(node: ir.Node) -> str | None:
    reason = floats(node)
    if reason:
        return reason
    data = node.inputs[0]
    assert data is not None
    shape = shape_of(data, node)
    axis = integer(node, "axis", -1) % len(shape)
    if axis in innermost_axes(shape):
        return None
    return f"its axis {axis} is not one that can be innermost in memory {innermost_axes(shape)}"


@operator("Softmax", rule=_softmax, order=None)
def _plan(selector: Selector, node: ir.Node) -> None:
    """Softmax along the innermost axis."""
    last = channels_innermost(node, integer(node, "axis", -1))
    x, y = selector.tensor(node.inputs[0], node, last), selector.new(node.outputs[0], channels_last=last)
    row = 4 * x.channels
    kernel = SoftmaxTile(Softmax(x.channels))
    stream(selector, node, (Stream(x, row),), (Stream(y, row),), x.pixels, kernel, 1)
