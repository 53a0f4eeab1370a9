"""NVFP4 quantization of activations at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from potluck.compiler.graph.nodes import DOMAIN, constant, integer, shape_of
from potluck.compiler.lowering.quantize import RoundTile
from potluck.compiler.lowering.stream import Stream
from potluck.compiler.operators.base import channels_innermost, floats, innermost_axes, operator, stream
from potluck.kernels.quantize.round_nvfp4 import RoundNvfp4

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector


def _quantize(node: ir.Node) -> str | None:
    reason = floats(node)
    if reason:
        return reason
    data, factor = node.inputs[0], constant(node.inputs[1])
    assert data is not None
    if factor is None or factor.size != 1 or not 0 < float(factor.reshape(())) < np.inf:
        return "the scale of its tensor is not one positive FP32 constant"
    if integer(node, "axis", -1) % len(shape_of(data, node)) not in innermost_axes(shape_of(data, node)):
        return "its blocks do not run along the innermost axis in memory"
    return None


@operator(f"{DOMAIN}.NvQuantizeDequantize", rule=_quantize, order=None)
def _plan_quantize(selector: Selector, node: ir.Node) -> None:
    """Activation to NVFP4 values, which stay FP32: their products are emulated."""
    last = channels_innermost(node, integer(node, "axis", -1))
    x = selector.tensor(node.inputs[0], node, last)
    y = selector.new(node.outputs[0], channels_last=x.channels_last)
    factor = constant(node.inputs[1])
    assert factor is not None
    kernel = RoundNvfp4(x.channels, float(factor.reshape(())), integer(node, "block_size", 16))
    row = 4 * x.channels
    stream(selector, node, (Stream(x, row),), (Stream(y, row),), x.pixels, RoundTile(kernel), 1, "nvfp4")
