"""QuantizeLinear and DequantizeLinear of any type and granularity: one expression, scales given or computed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from potluck.compiler.graph.nodes import constant, integer, label, shape_of, title
from potluck.compiler.lowering.base import FORMAT_NAMES, Constant, Tensor
from potluck.compiler.lowering.base import constant as make_constant
from potluck.compiler.lowering.pointwise import PointwisePlan
from potluck.compiler.operators.base import HALVES, SMALL, TYPES, UNSIGNED, typed
from potluck.compiler.operators.pointwise import convert, loaded, stored
from potluck.kernels.expressions import functions as f
from potluck.kernels.expressions import graph as g
from potluck.kernels.expressions.graph import F32, I32, Value
from potluck.kernels.expressions.small import FLOAT16

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector

LIMITS = {
    "int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535), "int4": (-8, 7),
    "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3),
}  # fmt: skip
"""Integers that codes are."""
FLOATS = (ir.DataType.FLOAT, *HALVES)


def reason(node: ir.Node) -> str | None:
    """Refuses types and granularities that the expression does not cover."""
    found = typed(node, (*TYPES, *HALVES, *UNSIGNED, *SMALL))
    if found:
        return found
    quantizes = node.op_type == "QuantizeLinear"
    real = node.inputs[0] if quantizes else node.outputs[0]
    assert real is not None and node.inputs[1] is not None
    if real.dtype not in FLOATS:
        assert real.dtype is not None
        return (
            f"its tensor {real.name!r} is {real.dtype.name}, only FLOAT, FLOAT16 and BFLOAT16 are quantized"
        )
    if integer(node, "precision", 1) not in (0, 1):
        return "its attribute precision is not FLOAT"
    return None if extended(node) is not None else "its blocks do not divide the axis"


def extended(node: ir.Node) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Shapes of the input and of the scales that broadcast against each other; None if there are none."""
    assert node.inputs[0] is not None and node.inputs[1] is not None
    shape, scales = shape_of(node.inputs[0], node), shape_of(node.inputs[1], node)
    if math.prod(scales) == 1:
        return shape, (1,) * len(shape)
    axis, block = integer(node, "axis", 1) % max(1, len(shape)), integer(node, "block_size", 0)
    if not block:
        return shape, tuple(size if place == axis else 1 for place, size in enumerate(shape))
    if shape[axis] % block:
        return None
    parts = (*shape[:axis], shape[axis] // block, block, *shape[axis + 1 :])
    return parts, (*parts[: axis + 1], 1, *parts[axis + 2 :])


class _Layer:
    """Operands of one node."""

    def __init__(self, selector: Selector, node: ir.Node) -> None:
        self.selector, self.node = selector, node
        made = extended(node)
        assert made is not None
        self.shape, self.scales = made
        self.inputs: list[Tensor | Constant] = []
        self.shapes: list[tuple[int, ...]] = []
        x = node.inputs[0]
        whole = math.prod(self.scales) == 1
        held = constant(x) is None and whole and selector.tensor(x, node).channels_last
        self.last = held
        n = self.shape
        self.order = (n[0], n[2], n[3], n[1]) if held else n
        self.operands = [self._operand(index) for index in range(len(node.inputs))]

    def _operand(self, index: int) -> Value | None:
        value = self.node.inputs[index]
        if value is None:
            return None
        array = constant(value)
        self.shapes.append(self.scales if index else self.order)
        if array is None:
            tensor = self.selector.tensor(value, self.node, self.last if not index else False)
            self.inputs.append(tensor)
            return loaded(len(self.inputs) - 1, tensor.dtype)
        dtype = array.dtype.name
        values = np.ascontiguousarray(array).reshape(self.shapes[-1])
        name = FORMAT_NAMES.get(dtype, dtype.upper())
        self.inputs.append(make_constant(value.name or "", "values", values, name))
        return loaded(len(self.inputs) - 1, dtype)

    def add(self, result: Value, y: Tensor) -> None:
        """The plan; blocks are dimensions of their own while it computes."""
        if y.stored_shape != self.order:
            y = replace(y, shape=self.order, channels_last=False)
        name = label(self.node)
        self.selector.plans.append(
            PointwisePlan(name, title(self.node), result, tuple(self.inputs), tuple(self.shapes), y)
        )


def plan_quantize(selector: Selector, node: ir.Node) -> None:
    """saturate(round(x / scale) + zero point), or a cast of x / scale to a float."""
    layer = _Layer(selector, node)
    x, scale, zero = (*layer.operands, None)[:3]
    assert x is not None and scale is not None
    y = selector.new(node.outputs[0], channels_last=layer.last)
    quotient = x / scale
    if (
        node.inputs[1] is not None
        and node.inputs[1].dtype is ir.DataType.FLOAT16
        and not integer(node, "precision", 0)
    ):
        # The division is one of FP16: what it gives there is a number of eleven bits.
        quotient = FLOAT16.decode(FLOAT16.encode(quotient, saturate=False))
    if y.dtype in LIMITS:
        low, high = LIMITS[y.dtype]
        code = f.rint(quotient)
        if zero is not None:
            code = code + convert(zero, F32)
        quotient = g.minimum(g.maximum(code, float(low)), float(high))
    layer.add(stored(quotient, y.dtype, bool(integer(node, "saturate", 1))), y)


def plan_dequantize(selector: Selector, node: ir.Node) -> None:
    """(x - zero point) scale."""
    layer = _Layer(selector, node)
    x, scale, zero = (*layer.operands, None)[:3]
    assert x is not None and scale is not None
    if zero is not None and x.type == I32:
        x = x - zero
    y = selector.new(node.outputs[0], channels_last=layer.last)
    layer.add(stored(convert(x, F32) * scale, y.dtype), y)
