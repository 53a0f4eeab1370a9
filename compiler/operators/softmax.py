"""Softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from potluck.compiler.graph import integer, shape_of
from potluck.compiler.lowering.adapters import SoftmaxTile
from potluck.compiler.lowering.stream import Stream
from potluck.compiler.operators.base import floats, innermost, operator, stream
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
    inner = innermost(shape)
    return None if axis == inner else f"its axis {axis} is not the innermost one in memory ({inner})"


@operator("Softmax", rule=_softmax)
def _plan(selector: Selector, node: ir.Node) -> None:
    """Softmax along the innermost axis."""
    x, y = selector.tensor(node.inputs[0], node), selector.new(node.outputs[0])
    row = 4 * x.channels
    kernel = SoftmaxTile(Softmax(x.channels))
    stream(selector, node, (Stream(x, row),), (Stream(y, row),), x.pixels, kernel, 1)
