"""Windows of an image as channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from potluck.compiler.graph.nodes import DOMAIN, label, title
from potluck.compiler.graph.reading import geometry_of
from potluck.compiler.lowering.im2col import Im2colPlan
from potluck.compiler.operators.base import images, operator

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector


@operator(f"{DOMAIN}.Im2col", rule=images, order="NHWC")
def _plan(selector: Selector, node: ir.Node) -> None:
    """Im2col of FP32 values."""
    x, y = (
        selector.tensor(node.inputs[0], node, channels_last=True),
        selector.new(node.outputs[0], channels_last=True),
    )
    geometry = geometry_of(node, x.shape, y.shape)
    selector.plans.append(Im2colPlan(label(node), title(node), x, y, geometry, selector.target))
