"""Quantized weights in a graph, whatever their format: a grid of levels, a scale for every weight, codes to be changed.

Read from what stands in front of a product, so every scheme and every file with ``DequantizeLinear`` or
``potluck.PotDequantize`` is served; a weight is its level times its scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.integer_nodes import spread_scales
from potluck.compiler.graph.nodes import DOMAIN, constant, integer, is_op
from potluck.compiler.passes.quantize_integer import BITS_KEY, FIXED_KEY
from potluck.isa.formats.elements import E2M1, E2M3, E3M2, E4M3, E5M2, E8M0, ElementFormat

F64 = NDArray[np.float64]
ELEMENTS: dict[ir.DataType, ElementFormat] = {
    ir.DataType[item.onnx]: item
    for item in (E2M1, E2M3, E3M2, E4M3, E5M2)
    if item.onnx in ir.DataType.__members__
}
BITS = {ir.DataType.INT8: 8, ir.DataType.INT4: 4, ir.DataType.UINT8: 8, ir.DataType.UINT4: 4}


@dataclass(eq=False)
class QuantizedWeight:
    """Weights of one product.

    Attributes:
        node: That dequantizes them.
        levels: Ascending numbers that a code can stand for.
        ratio: The level of every weight, in the weights' shape.
        scale: Stored scales: FP32, or powers of two.
        axis: Of the scales.
        block: Elements along the axis that share one; 0: one scale per index.
        element: Of MX codes, None for integers and PoT.
        zero: Of integer codes.
        powers: Whether scales are powers of two.
        fixed: Whether scales may not be changed.
    """

    node: ir.Node
    levels: F64
    ratio: F64
    scale: F64
    axis: int
    block: int
    element: ElementFormat | None = None
    zero: int = 0
    powers: bool = False
    fixed: bool = False
    _codes: ir.Value = field(init=False)

    def __post_init__(self) -> None:
        codes = self.node.inputs[0]
        assert codes is not None
        self._codes = codes

    @property
    def scales(self) -> F64:
        """A scale for every weight."""
        return self.spread(self.scale)

    def spread(self, scale: F64) -> F64:
        """Other stored scales as one for every weight."""
        shape = self.ratio.shape
        return np.broadcast_to(spread_scales(scale, shape, self.axis, self.block), shape)

    def total(self, numbers: F64) -> F64:
        """Sums over the weights that share a scale, in the stored scales' shape."""
        if self.scale.size == 1:
            return np.asarray(numbers.sum()).reshape(self.scale.shape)
        axis = self.axis % numbers.ndim
        if not self.block:
            others = tuple(at for at in range(numbers.ndim) if at != axis)
            return np.asarray(numbers.sum(axis=others), np.float64)
        return np.add.reduceat(numbers, np.arange(0, numbers.shape[axis], self.block), axis=axis)

    def values(self) -> F64:
        """What the codes stand for."""
        return self.ratio * self.scales

    @property
    def users(self) -> int:
        """Products that read them."""
        return len(self.node.outputs[0].uses())

    def nearest(self, values: F64) -> F64:
        """The nearest level of every value / scale; halves go up."""
        return nearest(values / self.scales, self.levels)

    def write(self, ratio: F64) -> None:
        """Changes the codes; every number must be a level."""
        self.ratio = np.asarray(ratio, np.float64)
        value, dtype = self._codes, self._codes.dtype
        if is_op(self.node, "PotDequantize", domain=DOMAIN):
            table = np.asarray(constant(self.node.inputs[1]), np.float64)
            codes = np.zeros(ratio.shape, np.uint8)
            for code in reversed(range(len(table))):
                codes[ratio == table[code]] = code
            value.const_value = ir.tensor(codes, name=value.name)
            return
        assert dtype is not None
        if self.element is not None:
            made = self.element.encode(ratio).astype(np.uint8).view(self.element.dtype)
        else:
            made = np.rint(ratio + self.zero).astype(dtype.numpy())
        value.const_value = ir.Tensor(made, dtype=dtype, name=value.name)

    def write_scale(self, scale: F64) -> None:
        """Changes the scales; they keep their type, and what it holds is kept here."""
        value = self.node.inputs[1] if self.element is not None or not self.pot else self.node.inputs[2]
        assert value is not None
        if value.dtype is ir.DataType.FLOAT8E8M0:
            codes = E8M0.encode(scale).astype(np.uint8)
            value.const_value = ir.Tensor(codes.view(E8M0.dtype), dtype=value.dtype, name=value.name)
            self.scale = E8M0.decode(codes).astype(np.float64)
            return
        held = scale.astype(np.float32)
        value.const_value = ir.tensor(held, name=value.name)
        self.scale = held.astype(np.float64)

    @property
    def pot(self) -> bool:
        """Whether they are power-of-two codes."""
        return is_op(self.node, "PotDequantize", domain=DOMAIN)


def nearest(ratio: F64, levels: F64) -> F64:
    """The nearest of ascending levels; halves go up."""
    return levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, ratio, side="right")]


def neighbours(ratio: F64, levels: F64) -> tuple[F64, F64]:
    """The levels below (or at) and above each number; the same one twice outside the levels."""
    at = np.clip(np.searchsorted(levels, ratio, side="right") - 1, 0, len(levels) - 1)
    low = levels[at]
    high = levels[np.minimum(at + 1, len(levels) - 1)]
    outside = ratio < levels[0]
    return low, np.where(outside, levels[0], high)


def quantized_weight(value: ir.Value | None) -> QuantizedWeight | None:
    """The quantized weights that a value stands for; None if it is nothing of the kind."""
    node = value.producer() if value is not None else None
    if node is None or any(item is None or constant(item) is None for item in node.inputs):
        return None
    if is_op(node, "PotDequantize", domain=DOMAIN):
        return _pot(node)
    return _dequantized(node) if is_op(node, "DequantizeLinear") else None


def _pot(node: ir.Node) -> QuantizedWeight:
    codes, table, scale = (np.asarray(constant(item)) for item in node.inputs)
    levels = np.unique(table).astype(np.float64)
    ratio = table[codes.astype(np.int64)].astype(np.float64)
    stored = scale.astype(np.float64)
    powers = bool(np.all(np.frexp(stored)[0] == 0.5))
    return QuantizedWeight(node, levels, ratio, stored, integer(node, "axis", 0), 0, powers=powers)


def _dequantized(node: ir.Node) -> QuantizedWeight | None:
    source, scale_value = node.inputs[0], node.inputs[1]
    assert source is not None and scale_value is not None
    codes, scale = np.asarray(constant(source)), np.asarray(constant(scale_value))
    axis, block = integer(node, "axis", 1), integer(node, "block_size", 0)
    if source.dtype in ELEMENTS:
        element = ELEMENTS[source.dtype]
        powers = scale_value.dtype is ir.DataType.FLOAT8E8M0
        if len(node.inputs) > 2:
            return None
        every = element.decode(np.arange(1 << element.bits))
        levels = np.unique(every[np.isfinite(every)].astype(np.float64)) + 0.0
        ratio = element.decode(codes.view(np.uint8)).astype(np.float64)
        stored = scale.astype(np.float64)
        if not (np.all(np.isfinite(ratio)) and np.all(np.isfinite(stored))):
            return None
        return QuantizedWeight(node, levels, ratio, stored, axis, block, element, powers=powers)
    powers = scale_value.dtype is ir.DataType.FLOAT8E8M0
    if source.dtype not in BITS or not (powers or scale.dtype == np.float32):
        return None
    zeros = (
        np.asarray(constant(node.inputs[2])).astype(np.int64)
        if len(node.inputs) > 2
        else np.zeros(1, np.int64)
    )
    if zeros.size and zeros.min() != zeros.max():
        return None
    zero, whole = int(zeros.reshape(-1)[0]), codes.astype(np.int64)
    signed = source.dtype in (ir.DataType.INT8, ir.DataType.INT4)
    bits = int(source.metadata_props.get(BITS_KEY, BITS[source.dtype]))
    lowest = -(1 << bits - 1) if signed else 0
    highest = lowest + (1 << bits) - 1
    if signed and not zero and whole.min(initial=0) > lowest:
        lowest += 1  # symmetric, as it was
    levels = np.arange(lowest - zero, highest - zero + 1, dtype=np.float64)
    ratio, stored = (whole - zero).astype(np.float64), scale.astype(np.float64)
    fixed = FIXED_KEY in scale_value.metadata_props
    return QuantizedWeight(node, levels, ratio, stored, axis, block, zero=zero, powers=powers, fixed=fixed)
