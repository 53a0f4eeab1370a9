"""Constant floating-point weights whose blocks have FP32 scales, or E4M3 scales and one of the tensor.

``DequantizeLinear(codes, scales, axis, block_size)``, where the scales are FP32 constants or themselves
``DequantizeLinear`` of E4M3 constants by one FP32 number (NVFP4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.mx_nodes import chained, dequantizer
from potluck.compiler.graph.nodes import constant, integer
from potluck.compiler.lowering.packing import BlockWeights
from potluck.isa.formats.elements import E2M1, E2M3, E3M2, E4M3, ElementFormat, recode
from potluck.kernels.weights.decode import ByteElement, ScaleFormat, decoded_scales

NARROW: dict[ir.DataType, ElementFormat] = {
    ir.DataType.FLOAT4E2M1: E2M1,
    ir.DataType.FLOAT6E2M3: E2M3,
    ir.DataType.FLOAT6E3M2: E3M2,
}
"""Elements that become E4M3."""
BYTES: dict[ir.DataType, ByteElement] = {
    ir.DataType.FLOAT8E4M3FN: "e4m3",
    ir.DataType.FLOAT8E5M2: "e5m2",
}
"""Elements that are decoded as they are."""


@dataclass(frozen=True, eq=False)
class ScaledWeights:
    """Weights in the axes of the graph.

    Attributes:
        codes: As onnx-ir gives them, in their own type.
        dtype: ONNX type of the codes.
        scales: FP32, or uint8 E4M3 codes.
        kind: Which.
        factor: Multiplied into E4M3 scales.
        axis: Along which blocks run, not negative.
        block: Elements per scale.
    """

    codes: NDArray[Any]
    dtype: ir.DataType
    scales: NDArray[Any]
    kind: ScaleFormat
    factor: float
    axis: int
    block: int

    def values(self) -> NDArray[np.float32]:
        """What DequantizeLinear gives."""
        steps = np.repeat(decoded_scales(self.scales, self.kind, self.factor), self.block, self.axis)
        steps = steps[(slice(None),) * self.axis + (slice(self.codes.shape[self.axis]),)]
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return np.asarray(self.codes.astype(np.float32) * steps, np.float32)

    def decodable(self) -> BlockWeights:
        """What the machine decodes in L1."""
        name = f"{self.dtype.name.lower()}_blocks"
        common = (self.scales, self.kind, self.block, self.factor, name)
        codes = self.codes.view(np.uint8)
        if self.dtype in BYTES:
            return BlockWeights(codes, 8, None, BYTES[self.dtype], *common)
        own = NARROW[self.dtype]
        bits: Literal[4, 6] = 4 if own.bits == 4 else 6
        table = recode(np.arange(1 << bits, dtype=np.uint8), own, E4M3)
        return BlockWeights(codes, bits, table, "e4m3", *common)


def scaled_weights(value: ir.Value | None) -> ScaledWeights | None:
    """The block-scaled weights that a value is, if it is a ``DequantizeLinear`` of them; E8M0 scales are MX's."""
    node = dequantizer(value)
    block = integer(node, "block_size", 0) if node is not None else 0
    if node is None or not block or node.inputs[0] is None or len(node.inputs) > 2:
        return None
    codes, dtype = constant(node.inputs[0]), node.inputs[0].dtype
    if codes is None or dtype is None or (dtype not in NARROW and dtype not in BYTES):
        return None
    inner, axis = chained(node), integer(node, "axis", 1) % codes.ndim
    if inner is None:
        scales = constant(node.inputs[1])
        if scales is None or scales.dtype != np.float32:
            return None
        return ScaledWeights(np.asarray(codes), dtype, np.asarray(scales), "fp32", 1.0, axis, block)
    held, whole = constant(inner.inputs[0]), constant(inner.inputs[1])
    assert held is not None and whole is not None
    factor = float(np.asarray(whole).reshape(()))
    return ScaledWeights(np.asarray(codes), dtype, held.view(np.uint8), "e4m3", factor, axis, block)
