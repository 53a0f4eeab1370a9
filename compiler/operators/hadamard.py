"""Rotation of activations by a Hadamard matrix (`potluck.compiler.functions.hadamard`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from potluck.compiler.functions.hadamard import BLOCKS
from potluck.compiler.graph.nodes import DOMAIN, integer, shape_of
from potluck.compiler.lowering.adapters import floats as read_floats
from potluck.compiler.lowering.adapters import write
from potluck.compiler.lowering.kernel_tile import KernelTile
from potluck.compiler.lowering.stream import Stream
from potluck.compiler.operators.base import channels_innermost, floats, innermost_axes, operator, stream
from potluck.compiler.schedule.layer import Memory
from potluck.kernels.quantize.hadamard import Hadamard

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector

NAMES = {f"Hadamard{block}": block for block in BLOCKS}


def _rule(node: ir.Node) -> str | None:
    reason = floats(node)
    if reason:
        return reason
    data = node.inputs[0]
    assert data is not None
    shape, block = shape_of(data, node), NAMES[node.op_type]
    axis = integer(node, "axis", -1) % len(shape)
    if axis not in innermost_axes(shape):
        return "its blocks do not run along the innermost axis in memory"
    return None if shape[axis] % block == 0 else f"{shape[axis]} channels are no multiple of {block}"


class HadamardTile(KernelTile[Hadamard]):
    """Arguments: input, output, blocks."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, out, rows = args
        if rows:
            write(memory, out, self.kernel.contract(read_floats(memory, x, rows, self.kernel.block)))


@operator(*(f"{DOMAIN}.{name}" for name in NAMES), rule=_rule, order=None)
def _plan(selector: Selector, node: ir.Node) -> None:
    """Blocks of channels, one after the other: pixels do not matter."""
    last = channels_innermost(node, integer(node, "axis", -1))
    x = selector.tensor(node.inputs[0], node, last)
    y = selector.new(node.outputs[0], channels_last=last)
    block = NAMES[node.op_type]
    kernel = HadamardTile(Hadamard(block, 0 if selector.target.flat else selector.target.vlen))
    row = 4 * block
    stream(selector, node, (Stream(x, row),), (Stream(y, row),), x.elements // block, kernel, 1)
