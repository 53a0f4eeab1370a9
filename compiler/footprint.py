"""What each product of a quantized network stores: codes, scales, padding, and the values that they stand for.

Everything is read from the graph, so it holds for networks that other tools quantized as well. A weight operand is
followed back to constants: through ``DequantizeLinear`` (also of scales that are quantized themselves),
``potluck.PotDequantize``, and whatever only moves values. The first input of a node carries the codes; its others are
scales and zero points.

Bytes are those of the format: codes packed to their bits, blocks stored whole (a ragged last one padded), scales and
zero points counted. The machine may store more (docs/formats.md says where).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.integer_nodes import CODES_KEY
from potluck.compiler.graph.nodes import DOMAIN, constant, integer, is_op, label, shape_of
from potluck.compiler.passes.quantize_integer import BITS_KEY, PRODUCTS
from potluck.isa.pot.codes import POT_FORMATS

F64 = NDArray[np.float64]
BELL_BOX = ("BbqMatMul", "BbqConv")
MOVING = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True, eq=False)
class Footprint:
    """One product with constant weights.

    Attributes:
        node: Its name.
        operator: ``Conv``...
        elements: Weights.
        macs: Multiply-accumulates of one batch.
        bits: Of a weight's code; 32 if it is not quantized.
        code_bytes: Of all codes, padding included.
        scale_bytes: Of scales and zero points.
        activation_bits: Of the other operand's codes; 32 if it is FP32.
        values: Name of the weights' FP32 values in the graph; empty for Bell Box, which multiplies codes.
        grid: How values become codes; None where that is not known.
    """

    node: str
    operator: str
    elements: int
    macs: int
    bits: int
    code_bytes: int
    scale_bytes: int
    activation_bits: int
    values: str
    grid: Grid | None

    @property
    def bytes(self) -> int:
        """All that is stored."""
        return self.code_bytes + self.scale_bytes

    @property
    def effective_bits(self) -> float:
        """Stored bits per weight."""
        return 8 * self.bytes / self.elements

    @property
    def bops(self) -> int:
        """Bit operations of one batch: weight bits, activation bits, multiply-accumulates."""
        return self.bits * self.activation_bits * self.macs


@dataclass(frozen=True, eq=False)
class Grid:
    """The values that weights can take.

    Attributes:
        levels: Ascending, in units of the scale.
        scale: Broadcastable to the weights.
    """

    levels: F64
    scale: F64


def footprints(model: ir.Model, constants: Mapping[str, NDArray[Any]]) -> list[Footprint]:
    """Every product with constant weights, in order.

    Args:
        model: Quantized or not.
        constants: Values that follow from constants (`potluck.compiler.host.HostNetwork.constants`).
    """
    found = []
    for node in model.graph:
        product = node.op_type in PRODUCTS and node.domain in ("", DOMAIN)
        if not (product or is_op(node, *BELL_BOX, domain=DOMAIN)):
            continue
        weight = node.inputs[1] if len(node.inputs) > 1 else None
        if weight is not None and (weight.name or "") in constants:
            found.append(_footprint(node, weight, constants))
    return found


def _footprint(node: ir.Node, weight: ir.Value, constants: Mapping[str, NDArray[Any]]) -> Footprint:
    image = node.op_type in ("Conv", "FusedConv", "BbqConv")
    elements = int(constants[weight.name or ""].size)
    bell_box = node.op_type in BELL_BOX
    if bell_box:
        array = constants[weight.name or ""]
        bits = max(1, int(np.ceil(np.log2(max(2, len(np.unique(array.astype(np.int8))))))))
        stored, side = elements * bits, _side(node.inputs[2])
        grid = None
    else:
        stored, bits, side = _stored(weight, elements)
        grid = _grid(weight, constants)
    outputs = int(np.prod(shape_of(node.outputs[0], node)))
    channels = shape_of(node.outputs[0], node)[1 if image else -1]
    return Footprint(
        label(node), node.op_type.removeprefix("Fused"), elements, outputs * elements // channels, bits,
        -(-stored // 8), side, _activation_bits(node.inputs[0]), "" if bell_box else weight.name or "", grid,
    )  # fmt: skip


def _width(value: ir.Value) -> int:
    """Bits of a constant's elements; what ONNX has no type for says them itself."""
    said = value.metadata_props.get(BITS_KEY)
    if said is not None:
        return int(said)
    if value.metadata_props.get(CODES_KEY) in POT_FORMATS:
        return 4
    assert value.dtype is not None
    return int(value.dtype.bitwidth)


def _stored(weight: ir.Value, elements: int) -> tuple[int, int, int]:
    """(bits of all codes with padding, bits of one, bytes of scales and zero points)."""
    node, size, side, width = weight.producer(), elements, 0, 0
    value: ir.Value | None = weight
    while node is not None and constant(value) is None:
        value = node.inputs[0]
        assert value is not None
        if is_op(node, "PotDequantize", domain=DOMAIN):
            side, width = side + _side(node.inputs[2]), 4  # the table is one for the network
        elif not is_op(node, *MOVING):
            side += sum(_side(item) for item in node.inputs[1:])
            size = _padded(node, value, size)
        node = value.producer()
    assert value is not None
    width = width or _width(value)
    return size * width, width, side


def _padded(node: ir.Node, codes: ir.Value, size: int) -> int:
    """Elements with the last block of each row made whole."""
    block, shape = integer(node, "block_size", 0), codes.shape
    if not block or shape is None:
        return size
    length = shape_of(codes, node)[integer(node, "axis", 1)]
    return size // length * -(-length // block) * block


def _side(value: ir.Value | None) -> int:
    """Bytes of scales, which may be quantized themselves, or of a zero point that is not all zero."""
    if value is None:
        return 0
    node = value.producer()
    if node is not None:
        return sum((_side(item) for item in node.inputs), 0)
    array = constant(value)
    if array is None or value.dtype is None or value.dtype is ir.DataType.INT64:
        return 0  # a shape or an axis
    if value.dtype.is_integer() and not np.any(array.astype(np.int32)):
        return 0  # symmetric
    return -(-int(array.size) * int(value.dtype.bitwidth) // 8)


def _activation_bits(value: ir.Value | None) -> int:
    """Bits of the codes that an activation went through, or 32."""
    node = value.producer() if value is not None else None
    while node is not None and is_op(node, *MOVING):
        value = node.inputs[0]
        node = value.producer() if value is not None else None
    if node is None or value is None:
        return 32
    if is_op(node, "BbqQuantize", "BbqQuantizeImage", domain=DOMAIN):
        thresholds = node.inputs[2]
        assert thresholds is not None
        return int(np.ceil(np.log2(shape_of(thresholds, node)[0] + 1)))
    if is_op(node, "DequantizeLinear") and node.inputs[0] is not None and node.inputs[0].dtype is not None:
        return int(node.inputs[0].dtype.bitwidth)
    if node.domain == DOMAIN and "to" in node.attributes:  # a quantizer that runs on the machine
        return int(ir.DataType(integer(node, "to", 1)).bitwidth)
    return 32


def _grid(weight: ir.Value, constants: Mapping[str, NDArray[Any]]) -> Grid | None:
    node = weight.producer()
    if node is None or node.inputs[0] is None:
        return None
    if is_op(node, "PotDequantize", domain=DOMAIN):
        codes, table, scale = (constants[value.name or ""] for value in node.inputs[:3] if value is not None)
        levels = np.unique(table.astype(np.float64))
        return Grid(levels, _spread(scale, codes.shape, integer(node, "axis", 1), 0))
    source = node.inputs[0]
    if not is_op(node, "DequantizeLinear") or source.dtype is None:
        return None
    codes, scale = constants[source.name or ""], constants[_name(node, 1)]
    axis, block = integer(node, "axis", 1), integer(node, "block_size", 0)
    levels = _levels(source)
    zero = constants.get(_name(node, 2)) if len(node.inputs) > 2 else None
    if zero is not None and np.any(zero.astype(np.int32)):
        return None  # asymmetric weights have another grid in each channel
    return Grid(levels, _spread(scale.astype(np.float64), codes.shape, axis, block))


def _name(node: ir.Node, index: int) -> str:
    value = node.inputs[index]
    return (value.name or "") if value is not None else ""


def _levels(codes: ir.Value) -> F64:
    """Every finite value of a code; symmetric integers leave their lowest one out."""
    bits = _width(codes)
    assert codes.dtype is not None
    if codes.dtype.is_integer():
        half = 1 << bits - 1
        return (
            np.arange(1 - half, half, dtype=np.float64) if codes.dtype.is_signed() else np.arange(2.0 * half)
        )
    every = np.arange(1 << bits, dtype=np.uint8).view(codes.dtype.numpy()).astype(np.float64)
    return np.unique(every[np.isfinite(every)])


def _spread(scale: NDArray[Any], shape: tuple[int, ...], axis: int, block: int) -> F64:
    array = np.asarray(scale, np.float64)
    if array.size == 1:
        return array.reshape(())
    axis %= len(shape)
    if not block:
        return array.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.repeat(array, block, axis)[(slice(None),) * axis + (slice(shape[axis]),)]
