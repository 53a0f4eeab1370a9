"""Add, Relu and Clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from potluck.compiler.graph.nodes import DOMAIN, constant, label, shape_of, title
from potluck.compiler.graph.reading import bounds_of, open_bounds
from potluck.compiler.lowering.adapters import AddTile, ClipTile, ColumnTile
from potluck.compiler.lowering.base import constant as make_constant
from potluck.compiler.lowering.stream import Stream, StreamPlan
from potluck.compiler.operators import pointwise
from potluck.compiler.operators.base import operator, stream
from potluck.compiler.passes.fuse_activation import clip_bounds
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
        axis = 1 if len(shape) == 4 else len(shape) - 1
        if len(full) == len(shape) and all(
            size == 1 or (at == axis and size == shape[at]) for at, size in enumerate(full)
        ):
            return index
    return None


@operator("Add", f"{DOMAIN}.FusedAdd", rule=pointwise.rule)
def _plan_add(selector: Selector, node: ir.Node) -> None:
    """Sum of two activations, or of one and a constant per channel; other sums are pointwise expressions."""
    low, high = open_bounds(bounds_of(node))
    at = column_constant(node)
    if at is not None and node.inputs[1 - at] is not None:
        x = selector.tensor(node.inputs[1 - at], node)
        if x.dtype == "float32" and (len(x.shape) != 4 or x.channels_last):
            array = constant(node.inputs[at])
            assert array is not None
            values = np.broadcast_to(np.asarray(array, np.float32).reshape(-1), (x.channels,))
            shared = make_constant(node.inputs[at].name or "", "bias", values)  # type: ignore[union-attr]
            kernel = ColumnTile(ColumnAffine(x.channels, False, low, high))
            unit = 4 * x.channels
            plan = StreamPlan(
                label(node), title(node), (Stream(x, unit),), (Stream(x, unit),), x.pixels, kernel, shared=(shared,)
            )  # fmt: skip
            if plan.fits(selector.target):  # else the layer is cut along the constant, too
                plan.outputs = (Stream(selector.new(node.outputs[0], channels_last=x.channels_last), unit),)
                selector.plans.append(plan)
                return
    varying = [value for value in node.inputs if constant(value) is None]
    tensors = [selector.tensor(value, node) for value in varying]
    if len(tensors) == 2 and tensors[0].shape == tensors[1].shape and tensors[0].dtype == "float32":
        left = tensors[0]
        right = selector.tensor(varying[1], node, left.channels_last)
        y = selector.new(node.outputs[0], channels_last=left.channels_last)
        inputs = (Stream(left, 4), Stream(right, 4))
        stream(selector, node, inputs, (Stream(y, 4),), y.elements, AddTile(Add(low, high)), 16)
        return
    pointwise.plan(selector, node)


@operator("Relu", "Clip", rule=pointwise.rule)
def _plan_clip(selector: Selector, node: ir.Node) -> None:
    """Relu and Clip that could not be fused."""
    x, bounds = selector.tensor(node.inputs[0], node), clip_bounds(node)
    if x.dtype != "float32" or bounds is None:
        pointwise.plan(selector, node)
        return
    y = selector.new(node.outputs[0], channels_last=x.channels_last)
    kernel = ClipTile(Clip(*open_bounds(bounds)))
    stream(selector, node, (Stream(x, 4),), (Stream(y, 4),), y.elements, kernel, 16)
