"""Attention in one layer (`potluck.compiler.graph.attention` finds it)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from potluck.compiler.functions.attention import BODIES
from potluck.compiler.graph.nodes import DOMAIN, constant, ints, label, real, shape_of, title
from potluck.compiler.lowering.attention import AttentionPlan, Sizes
from potluck.compiler.lowering.attention_blocks import sizes_of
from potluck.compiler.lowering.attention_rows import BlockAttentionPlan
from potluck.compiler.lowering.base import Constant, LayerPlan, Source
from potluck.compiler.lowering.base import constant as make_constant
from potluck.compiler.operators.base import floats, operator

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector


@operator(*(f"{DOMAIN}.{name}" for name in BODIES), rule=floats, order="row")
def _plan(selector: Selector, node: ir.Node) -> None:
    """A layer of scores, softmax and values."""
    sources: list[Source] = []
    for value in node.inputs:
        assert value is not None
        array = constant(value)
        sources.append(
            selector.tensor(value, node, channels_last=False)
            if array is None
            else make_constant(value.name or "", "values", np.asarray(array, np.float32))
        )
    pieces = 1 + ("Cached" in node.op_type)
    q, keys, values = sources[0], tuple(sources[1 : 1 + pieces]), tuple(sources[1 + pieces : 1 + 2 * pieces])
    mask = sources[-1] if "Masked" in node.op_type else None
    groups, share, tokens, depth = ints(node, "queries", ())
    positions = tuple(shape_of(value)[-2] for value in node.inputs[1 : 1 + pieces] if value is not None)
    masks = ints(node, "mask", (0,))[0]
    width = ints(node, "values", ())[3]
    held = np.frombuffer(mask.data, np.float32) if isinstance(mask, Constant) else None
    sizes = sizes_of((groups, share, tokens), depth, width, positions, masks, held)
    name, op, scale = label(node), title(node), real(node, "scale", 1.0)
    y = selector.new(node.outputs[0])
    plan: LayerPlan
    if isinstance(sizes, Sizes):
        plan = AttentionPlan(name, op, sizes, scale, q, keys, values, mask, y, selector.target)
    else:
        read = mask if sizes.masks else None
        plan = BlockAttentionPlan(name, op, sizes, scale, q, keys, values, read, y, selector.target)
    selector.plans.append(plan)
