"""What layers are made of, read from a node: weights, bias, geometry, bounds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.integer_nodes import dequantized, spread_scales
from potluck.compiler.graph.mx_nodes import dequantizer, is_constant, mx_weights, widened
from potluck.compiler.graph.nodes import constant, integer, ints, label, real
from potluck.compiler.graph.scaled_weights import scaled_weights
from potluck.compiler.lowering.packing import BlockWeights, HalfWeights, Weights
from potluck.compiler.lowering.windows import Geometry
from potluck.isa.errors import ModelError
from potluck.isa.formats.blocks import BlockLayout
from potluck.isa.formats.elements import E4M3, INTEGER8, recode
from potluck.isa.formats.mx import NAN_SCALE, MxTensor
from potluck.kernels.weights.decode import ByteElement
from potluck.kernels.weights.widen import HalfElement

F32 = NDArray[np.float32]
HALVES: dict[ir.DataType, HalfElement] = {ir.DataType.BFLOAT16: "bf16", ir.DataType.FLOAT16: "fp16"}
"""Types of weights that are widened."""
INTEGERS = (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4)
"""Types of weights that are decoded as integers."""
NO_BOUNDS = (-math.inf, math.inf)


def bounds_of(node: ir.Node) -> tuple[float, float]:
    """The activation that a fused operator ends with."""
    return real(node, "min", NO_BOUNDS[0]), real(node, "max", NO_BOUNDS[1])


def open_bounds(bounds: tuple[float, float]) -> tuple[float | None, float | None]:
    """Bounds as kernels take them: None where there is none."""
    low, high = bounds
    return (None if math.isinf(low) else low), (None if math.isinf(high) else high)


def ordered(shape: tuple[int, ...]) -> bool:
    """Whether NHWC is the order of the ONNX dimensions anyway."""
    return len(shape) != 4 or shape[1] == 1 or shape[2] * shape[3] == 1


def weights_of(value: ir.Value | None, mx: BlockLayout | None, decode: bool = False) -> Weights:
    """The weights as they are stored in the graph; MX ones as values if the activation is FP32.

    Args:
        value: The product's second operand.
        mx: The activation's format in memory, None: FP32.
        decode: Whether block-scaled weights of FP32 activations can be decoded by the machine.
    """
    array = constant(value)
    if array is not None:
        return np.asarray(array, np.float32)
    assert value is not None
    half = widened(value)
    if half is not None:
        return _halves(half, decode and mx is None)
    kind = mx_weights(value)
    if kind is None:
        scaled = scaled_weights(value)
        if scaled is not None:
            return scaled.decodable() if decode and mx is None else scaled.values()
        held = _integers_to_decode(value) if decode and mx is None else None
        if held is not None:
            return held
        values = dequantized(value)
        assert values is not None
        return values
    node = dequantizer(value)
    assert node is not None
    codes, scales = constant(node.inputs[0]), constant(node.inputs[1])
    assert codes is not None and scales is not None
    made = MxTensor(codes.view(np.uint8), scales.view(np.uint8), kind, integer(node, "axis", 1) % codes.ndim)
    made.check()
    if mx is not None:
        if kind.element is INTEGER8 and np.any(made.scales == NAN_SCALE):
            raise ModelError(
                f"its weights {value.name!r} have a scale of 0xFF, NaN, which MXINT8 products do not take",
                hint="Repair the network: such blocks are lost",
            )
        return made
    if decode and not np.any(made.scales == NAN_SCALE):
        return _to_decode(made)
    values = made.dequantize()
    if bool(np.any(np.isinf(values) & np.isfinite(kind.element.decode(made.codes)))):
        raise ModelError(
            f"its weights {value.name!r} exceed FP32 when they are dequantized",
            hint="Choose a machine with VMXDOTP, which applies scales in the exponent",
        )
    return values


def _halves(node: ir.Node, decode: bool) -> HalfWeights | F32:
    """16-bit weights, or their values."""
    array, source = constant(node.inputs[0]), node.inputs[0]
    assert array is not None and source is not None and source.dtype is not None
    if not decode:
        return np.asarray(array.astype(np.float32), np.float32)
    return HalfWeights(np.ascontiguousarray(array).view(np.uint16), HALVES[source.dtype])


def _to_decode(weights: MxTensor) -> BlockWeights:
    """MX weights [.., K, ..] as what the machine decodes; the axes are still those of the graph."""
    own, kind = weights.layout.element, weights.layout
    bytes_of: dict[str, ByteElement] = {"E4M3": "e4m3", "E5M2": "e5m2", "INT8": "int8"}
    bits: Literal[4, 6, 8] = 4 if own.bits == 4 else 6 if own.bits == 6 else 8
    table = None if bits == 8 else recode(np.arange(1 << bits, dtype=np.uint8), own, E4M3)
    element = bytes_of.get(own.name, "e4m3")
    name = f"{kind.name}_weights"
    return BlockWeights(
        weights.codes, bits, table, element, weights.scales, "e8m0", kind.block_size, 1.0, name
    )


def _integers_to_decode(value: ir.Value) -> BlockWeights | None:
    """Integer weights with FP32 scales as what the machine decodes: (code - zero point) scale, which FP32 rounds once.

    Returns:
        None if they are no such weights, or integers that a byte cannot hold. The axes are still those of the graph;
        scales without blocks are those of one block that is as long as its axis: which axis that is, is not known here,
        so there is a scale for every element of it (see `as_blocks`).
    """
    node = dequantizer(value)
    if node is None or node.inputs[0] is None or node.inputs[0].dtype not in INTEGERS:
        return None
    codes, scales = constant(node.inputs[0]), constant(node.inputs[1])
    assert codes is not None and scales is not None
    if scales.dtype != np.float32:
        return None
    axis, block = integer(node, "axis", 1), integer(node, "block_size", 0)
    zeros = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    zero = np.zeros(1, np.int64) if zeros is None else zeros.astype(np.int64)
    levels = codes.astype(np.int64) - spread_scales(zero, codes.shape, axis, block)
    if levels.min(initial=0) < -128 or levels.max(initial=0) > 127:
        return None
    stored = scales if block else spread_scales(scales, codes.shape, axis, 0)
    four = levels.min(initial=0) >= -8 and levels.max(initial=0) <= 7
    table = np.concatenate([np.arange(8), np.arange(-8, 0)]).astype(np.int8).view(np.uint8)
    whole = (levels & 15).astype(np.uint8) if four else levels.astype(np.int8).view(np.uint8)
    return BlockWeights(
        whole, 4 if four else 8, table if four else None, "int8", np.asarray(stored, np.float32), "fp32", block, 1.0,
        "int4_weights" if four else "int8_weights",
    )  # fmt: skip


def as_blocks(weights: Weights) -> Weights:
    """Decoded weights [Cout, C, KH, KW] whose scales have no blocks: one for each output channel, in one block of C."""
    if not isinstance(weights, BlockWeights) or weights.block:
        return weights
    outputs, depth, *taps = weights.codes.shape
    if weights.scales.ndim == 4 and weights.scales.shape[1] > 1:  # a scale for each input channel
        scales = np.broadcast_to(weights.scales, (outputs, depth, *taps))
        return replace(weights, scales=np.ascontiguousarray(scales), block=1)
    scales = np.broadcast_to(weights.scales, (outputs, 1, *taps))
    return replace(weights, scales=np.ascontiguousarray(scales), block=depth)


def as_conv(matrix: Weights, transposed: bool) -> Weights:
    """[K, N] (or [N, K] if transposed) as [Cout, C, 1, 1]."""

    def turn(array: NDArray[np.generic]) -> NDArray[Any]:
        return np.ascontiguousarray(array if transposed else array.T)[:, :, None, None]

    if isinstance(matrix, HalfWeights):
        return replace(matrix, codes=turn(matrix.codes))
    if isinstance(matrix, BlockWeights):
        scales = matrix.scales if matrix.scales.ndim == 2 else matrix.scales.reshape(1, 1)
        return as_blocks(replace(matrix, codes=turn(matrix.codes), scales=turn(scales)))
    if isinstance(matrix, MxTensor):
        codes, scales = turn(matrix.codes), turn(matrix.scales)
        return MxTensor(codes.view(np.uint8), scales.view(np.uint8), matrix.layout, 1)
    return np.asarray(turn(matrix), np.float32)


def weights_reason(node: ir.Node) -> str | None:
    """Refuses weights and biases that are computed at run time."""
    if not is_constant(node.inputs[1]):
        return "its weights are computed at run time, only constant weights are packed"
    if len(node.inputs) > 2 and node.inputs[2] is not None and not is_constant(node.inputs[2]):
        return "its bias is computed at run time, only constant biases are taken"
    return None


def bias_of(node: ir.Node, channels: int) -> tuple[F32, str]:
    """The bias of a convolution or Gemm, zeros if it has none, and its name."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    array = constant(value)
    if array is None and value is not None:
        array = dequantized(value)
    if array is None:
        return np.zeros(channels, np.float32), f"{label(node)}_bias"
    # ONNX adds the bias to a sum, which makes +0 of -0 + 0; the kernels start from it.
    full = np.broadcast_to(np.asarray(array, np.float32).reshape(-1) + np.float32(0), (channels,))
    return np.ascontiguousarray(full), (value.name if value is not None else None) or ""


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    return values[0], values[1]


def geometry_of(node: ir.Node, x: tuple[int, ...], y: tuple[int, ...]) -> Geometry:
    """The geometry of a convolution or pool from input and output shape."""
    top, left, bottom, right = ints(node, "pads", (0, 0, 0, 0))
    return Geometry(
        x[2],
        x[3],
        _pair(ints(node, "kernel_shape", (1, 1))),
        _pair(ints(node, "strides", (1, 1))),
        _pair(ints(node, "dilations", (1, 1))),
        (top, left, bottom, right),
        y[2],
        y[3],
    )
