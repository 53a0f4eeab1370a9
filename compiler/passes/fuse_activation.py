"""Fuses Relu and Clip into the operator that produces their input, which saves a pass over memory.

The fused operators are functions of the domain ``potluck`` (`potluck.compiler.functions`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from potluck.compiler.functions import FUSED, require
from potluck.compiler.graph.nodes import (
    DOMAIN,
    add_constant,
    constant,
    drop_unused,
    is_op,
    label,
    shape_of,
    sole_user,
)
from potluck.compiler.passes.base import GraphPass


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """(min, max) of a Relu or of a Clip with constant bounds; None for anything else."""
    if is_op(node, "Relu"):
        return 0.0, math.inf
    if not is_op(node, "Clip"):
        return None
    bounds = [-math.inf, math.inf]
    for index, value in enumerate(node.inputs[1:3]):
        if value is None:
            continue
        array = constant(value)
        if array is None:
            return None
        bounds[index] = float(array.reshape(()))
    return bounds[0], bounds[1]


@dataclass(frozen=True)
class FuseActivation(GraphPass):
    """Conv, Gemm, MatMul or Add, then Relu or Clip, becomes ``potluck.Fused*`` with attributes min and max.

    A convolution or Gemm without bias gets one of zeros: the function has no optional inputs.
    """

    name: ClassVar[str] = "fuse_activation"

    def run(self, model: ir.Model) -> int:
        """See `GraphPass.run`."""
        fused = sum(_fuse(model, node) for node in list(model.graph) if is_op(node, *FUSED))
        drop_unused(model.graph)
        return fused


def _fuse(model: ir.Model, node: ir.Node) -> bool:
    after = sole_user(node.outputs[0])
    bounds = clip_bounds(after) if after is not None else None
    if after is None or bounds is None or after.inputs[0] is not node.outputs[0]:
        return False
    name = FUSED[node.op_type]
    require(model, name)
    inputs = list(node.inputs)
    if node.op_type in ("Conv", "Gemm") and (len(inputs) == 2 or inputs[2] is None):
        channels = shape_of(node.outputs[0], node)[1]
        inputs[2:] = [add_constant(model.graph, f"{label(node)}_bias", np.zeros(channels, np.float32))]
    attributes = {key: value for key, value in node.attributes.items() if key != "auto_pad"}
    attributes["min"] = ir.AttrFloat32("min", bounds[0])
    attributes["max"] = ir.AttrFloat32("max", bounds[1])
    old = after.outputs[0]
    fused = ir.Node(DOMAIN, name, inputs, attributes.values(), name=label(node), num_outputs=1)
    fused.outputs[0].shape, fused.outputs[0].type = old.shape, old.type
    fused.outputs[0].name = old.name
    ir.convenience.replace_nodes_and_values(
        model.graph, after, [node, after], [fused], [old], [fused.outputs[0]]
    )
    return True
