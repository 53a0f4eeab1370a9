"""Add, Relu and Clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from potluck.compiler.graph import DOMAIN, constant, label, shape_of, title
from potluck.compiler.lowering.adapters import AddTile, ClipTile, ColumnTile
from potluck.compiler.lowering.base import constant as make_constant
from potluck.compiler.lowering.stream import Stream, StreamPlan
from potluck.compiler.mx_nodes import is_constant
from potluck.compiler.operators.base import floats, innermost, operator, stream
from potluck.compiler.passes.fuse_activation import clip_bounds
from potluck.compiler.reading import NO_BOUNDS, bounds_of, open_bounds
from potluck.kernels.elementwise import Add, Clip, ColumnAffine

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector


def column_constant(node: ir.Node) -> int | None:
    """Index of the Add's input that is a constant with one value per innermost element, or None."""
    for index in (0, 1):
        array, other = constant(node.inputs[index]), node.inputs[1 - index]
        if array is None or other is None or constant(other) is not None:
            continue
        shape = shape_of(other, node)
        full = (1,) * (len(shape) - array.ndim) + array.shape
        axis = innermost(shape)
        if len(full) == len(shape) and all(
            size == 1 or (at == axis and size == shape[at]) for at, size in enumerate(full)
        ):
            return index
    return None


def _add(node: ir.Node) -> str | None:
    reason = floats(node)
    if reason:
        return reason
    left, right = node.inputs[0], node.inputs[1]
    assert left is not None and right is not None
    if column_constant(node) is not None:
        return None
    if is_constant(left) or is_constant(right):
        return "its constant operand is not one value per channel"
    shapes = shape_of(left, node), shape_of(right, node)
    return None if shapes[0] == shapes[1] else f"it broadcasts {list(shapes[0])} and {list(shapes[1])}"


def _clip(node: ir.Node) -> str | None:
    return floats(node) or (None if clip_bounds(node) else "its bounds are computed at run time")


@operator("Add", f"{DOMAIN}.FusedAdd", rule=_add)
def _plan_add(selector: Selector, node: ir.Node) -> None:
    """Sum of two activations, or of one and a constant per channel."""
    low, high = open_bounds(bounds_of(node))
    at = column_constant(node)
    if at is not None:
        x, y = selector.tensor(node.inputs[1 - at], node), selector.new(node.outputs[0])
        array = constant(node.inputs[at])
        assert array is not None
        values = np.broadcast_to(np.asarray(array, np.float32).reshape(-1), (x.channels,))
        shared = make_constant(node.inputs[at].name or "", "bias", values)  # type: ignore[union-attr]
        kernel = ColumnTile(ColumnAffine(x.channels, False, low, high))
        plan = StreamPlan(
            label(node), title(node), (Stream(x, 4 * x.channels),), (Stream(y, 4 * x.channels),),
            x.pixels, kernel, shared=(shared,),
        )  # fmt: skip
        selector.plans.append(plan)
        return
    left, right = selector.tensor(node.inputs[0], node), selector.tensor(node.inputs[1], node)
    y = selector.new(node.outputs[0])
    inputs = (Stream(left, 4), Stream(right, 4))
    stream(selector, node, inputs, (Stream(y, 4),), y.elements, AddTile(Add(low, high)), 16)


@operator("Relu", "Clip", rule=_clip)
def _plan_clip(selector: Selector, node: ir.Node) -> None:
    """Relu and Clip that could not be fused."""
    x, y = selector.tensor(node.inputs[0], node), selector.new(node.outputs[0])
    kernel = ClipTile(Clip(*open_bounds(clip_bounds(node) or NO_BOUNDS)))
    stream(selector, node, (Stream(x, 4),), (Stream(y, 4),), y.elements, kernel, 16)
