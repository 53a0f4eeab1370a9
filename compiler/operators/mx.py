"""MX quantization of activations at run time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import onnx_ir as ir

from potluck.compiler.graph.mx_nodes import MX_ELEMENTS, QUANTIZERS, carrier, multiplied, quantized, rule_of
from potluck.compiler.graph.nodes import DOMAIN, integer, shape_of
from potluck.compiler.lowering.base import Tensor
from potluck.compiler.lowering.packing import STORED
from potluck.compiler.lowering.quantize import QuantizeTile, RoundTile
from potluck.compiler.lowering.stream import Stream
from potluck.compiler.operators.base import channels_innermost, innermost_axes, operator, stream
from potluck.isa.formats.blocks import BlockLayout
from potluck.isa.formats.mx import ScaleRule
from potluck.kernels.quantize.mx import QuantizeMx
from potluck.kernels.quantize.round_mx import RoundMx

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector


def _quantize(node: ir.Node) -> str | None:
    data = node.inputs[0]
    assert data is not None
    shape = shape_of(data, node)
    if ir.DataType(integer(node, "to", 0)) not in MX_ELEMENTS or integer(node, "block_size", 32) < 1:
        return "its elements are of no MX format"
    try:
        rule_of(node)
    except ValueError as error:
        return str(error)
    if integer(node, "axis", -1) % len(shape) not in innermost_axes(shape):
        return "its blocks do not run along the innermost axis in memory"
    return None


@operator(*(f"{DOMAIN}.{name}" for name in QUANTIZERS), rule=_quantize, order=None)
def _plan_quantize(selector: Selector, node: ir.Node) -> None:
    """Activation to MX codes and scales, or to their values in FP32 where others than MX products read them."""
    last = channels_innermost(node, integer(node, "axis", -1))
    x = selector.tensor(node.inputs[0], node, last)
    mx, wide = quantized(node), carrier(node)
    if not multiplied(node):
        _round(selector, node, x, mx, None, rule_of(node))
        return
    assert wide is not None  # the products' rules have asked
    if selector.target.flat:
        _round(selector, node, x, mx, replace(mx, element=wide), rule_of(node))
        return
    element = STORED[wide.name]
    grid = "" if wide is mx.element else mx.element.name.lower()
    y = selector.new(node.outputs[0], replace(mx, element=wide), last)
    size = mx.block_size
    whole = x.channels % size == 0  # then pixels do not matter: a block is a block, and many can be divided
    row = size if whole else x.channels
    kernel = QuantizeMx(row, element, size, selector.target.vlen, grid, rule_of(node))
    outputs = (Stream(y, kernel.row_bytes), Stream(y, kernel.blocks, scales=True))
    units = x.elements // row
    stream(selector, node, (Stream(x, 4 * row),), outputs, units, QuantizeTile(kernel), 1, mx.name)


def _round(
    selector: Selector,
    node: ir.Node,
    x: Tensor,
    mx: BlockLayout,
    carried: BlockLayout | None,
    rule: ScaleRule,
) -> None:
    """Activation to MX values that stay FP32; ``carried``: the format in which software kernels multiply them."""
    y = selector.new(node.outputs[0], channels_last=x.channels_last)
    y.grid = carried
    kernel = RoundTile(RoundMx(x.channels, mx.element.name.lower(), mx.block_size, rule))
    row = 4 * x.channels
    stream(selector, node, (Stream(x, row),), (Stream(y, row),), x.pixels, kernel, 1, mx.name)
