"""Pooling, and the mean over an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from potluck.compiler.graph.nodes import integer, label, title
from potluck.compiler.graph.reading import geometry_of
from potluck.compiler.lowering.pool import GlobalPoolPlan, PoolPlan
from potluck.compiler.operators.base import images, operator

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector


def _pool(node: ir.Node) -> str | None:
    reason = images(node)
    if reason:
        return reason
    if len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        return "its indices are used, only values are computed"
    if integer(node, "ceil_mode", 0) and integer(node, "count_include_pad", 0):
        return "ceil_mode together with count_include_pad is not supported"
    return None


@operator("MaxPool", "AveragePool", rule=_pool, order="NHWC")
def _plan_pool(selector: Selector, node: ir.Node) -> None:
    """MaxPool and AveragePool."""
    x, y = (
        selector.tensor(node.inputs[0], node, channels_last=True),
        selector.new(node.outputs[0], channels_last=True),
    )
    average = node.op_type == "AveragePool"
    count_pad = bool(integer(node, "count_include_pad", 0))
    geometry = geometry_of(node, x.shape, y.shape)
    selector.plans.append(
        PoolPlan(label(node), title(node), x, y, geometry, average, count_pad, selector.target)
    )


@operator("GlobalAveragePool", rule=images, order="NHWC")
def _plan_global(selector: Selector, node: ir.Node) -> None:
    """The mean over height and width."""
    x, y = (
        selector.tensor(node.inputs[0], node, channels_last=True),
        selector.new(node.outputs[0], channels_last=True),
    )
    selector.plans.append(GlobalPoolPlan(label(node), title(node), x, y))
