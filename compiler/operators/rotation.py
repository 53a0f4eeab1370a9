"""Rotary positions in one layer (`potluck.compiler.graph.rotation` finds them)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from potluck.compiler.functions.rotation import BODIES
from potluck.compiler.graph.nodes import DOMAIN, constant, label, shape_of, title
from potluck.compiler.lowering.base import Source
from potluck.compiler.lowering.base import constant as make_constant
from potluck.compiler.lowering.rotation import RotatePlan
from potluck.compiler.operators.base import floats, operator

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector


@operator(*(f"{DOMAIN}.{name}" for name in BODIES), rule=floats, order="row")
def _plan(selector: Selector, node: ir.Node) -> None:
    """One pass over what is rotated."""
    x, *tables = node.inputs
    assert x is not None
    sources: list[Source] = []
    for value in tables:
        assert value is not None
        array = constant(value)
        sources.append(
            selector.tensor(value, node, channels_last=False)
            if array is None
            else make_constant(value.name or "", "values", np.asarray(array, np.float32))
        )
    assert tables[0] is not None
    rows = math.prod(shape_of(tables[0])[:-1])
    rotated = selector.tensor(x, node, channels_last=False)
    y = selector.new(node.outputs[0])
    selector.plans.append(RotatePlan(label(node), title(node), rotated, sources[0], sources[1], rows, y))
