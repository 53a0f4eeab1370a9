"""Conv and its fused form."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from potluck.compiler.graph.mx_nodes import decodable, operands_reason, quantizer
from potluck.compiler.graph.nodes import DOMAIN, integer, ints, label, shape_of, title
from potluck.compiler.graph.reading import (
    as_blocks,
    bias_of,
    bounds_of,
    geometry_of,
    weights_of,
    weights_reason,
)
from potluck.compiler.lowering.base import Tensor
from potluck.compiler.lowering.conv import ConvPlan
from potluck.compiler.lowering.conv_parts import conv_plans
from potluck.compiler.lowering.depthwise import DepthwisePlan
from potluck.compiler.operators.base import images, operator

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector


def _conv(node: ir.Node) -> str | None:
    reason = images(node) or weights_reason(node)
    if reason:
        return reason
    data, out, group = node.inputs[0], node.outputs[0], integer(node, "group", 1)
    assert data is not None
    channels, outputs = shape_of(data, node)[1], shape_of(out, node)[1]
    if group == 1:
        return operands_reason(node, 1, 1)
    if group != channels or group != outputs:
        return f"it has {group} groups of {channels} channels; only 1 group and depthwise have kernels"
    if quantizer(data) is not None:
        return "depthwise convolutions run in FP32 only"
    if ints(node, "kernel_shape", (1, 1))[1] > 12:
        return "its depthwise kernel is wider than 12"
    return None


@operator("Conv", f"{DOMAIN}.FusedConv", rule=_conv, order="NHWC")
def _plan(selector: Selector, node: ir.Node) -> None:
    """Conv and its fused form."""
    x, y = (
        selector.tensor(node.inputs[0], node, channels_last=True),
        selector.new(node.outputs[0], channels_last=True),
    )
    decode = integer(node, "group", 1) == 1 and decodable(node, 1) and not selector.target.flat
    weights = as_blocks(weights_of(node.inputs[1], x.mx, decode))
    bias, bias_name = bias_of(node, y.shape[1])
    weights_name = (node.inputs[1].name if node.inputs[1] is not None else None) or ""
    if integer(node, "group", 1) > 1:
        assert isinstance(weights, np.ndarray)
        selector.plans.append(
            DepthwisePlan(
                label(node), title(node), x, y, geometry_of(node, x.shape, y.shape), weights, weights_name, bias,
                bias_name, bounds_of(node), selector.target,
            )
        )  # fmt: skip
        return

    def make(name: str, x: Tensor, y: Tensor, *rest: Any) -> ConvPlan:
        weights, bias, bounds = rest
        geometry = geometry_of(node, x.shape, y.shape)
        return ConvPlan(
            name, title(node), x, y, x.shape[0], geometry, weights, weights_name, bias, bias_name, bounds,
            selector.target,
        )  # fmt: skip

    name, bounds = label(node), bounds_of(node)
    if x.mx is None and isinstance(weights, np.ndarray) and not selector.target.flat:
        fresh = partial(selector.fresh, channels_last=True)
        selector.plans += conv_plans(make, fresh, name, x, y, weights, bias, bounds)
    else:
        selector.plans.append(make(name, x, y, weights, bias, bounds))
