"""How 8-bit activations and integer weights look in a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.nodes import DOMAIN, constant, integer, is_op
from potluck.isa.pot.codes import POT_FORMATS
from potluck.kernels.elementwise_int8 import Affine

CODES = (ir.DataType.INT8, ir.DataType.UINT8)
"""Types of activations."""
WEIGHTS = (*CODES, ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.INT16)
"""Types of weights."""


def affine_of(node: ir.Node | None, kind: str) -> Affine | None:
    """Scale and zero point of a QuantizeLinear or DequantizeLinear of 8-bit activations with one constant scale.

    Args:
        node: Any node, or None.
        kind: The operator it should be.
    """
    if node is None or not is_op(node, kind) or integer(node, "block_size", 0):
        return None
    codes = node.inputs[0] if kind == "DequantizeLinear" else node.outputs[0]
    scale = constant(node.inputs[1])
    if codes is None or codes.dtype not in CODES or scale is None or scale.size != 1:
        return None
    if constant(codes) is not None or scale.dtype != np.float32:
        return None
    zero = constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros((), np.int8)
    if zero is None or not (0 < float(scale.reshape(())) < np.inf):
        return None
    return Affine(float(scale.reshape(())), int(zero.reshape(())), codes.dtype is ir.DataType.UINT8)


CODES_KEY = "potluck.codes"
"""Metadata of a constant of levels: the code set that stores it in four bits."""
INT4_TABLE = np.concatenate([np.arange(8), np.arange(-8, 0)]).astype(np.int16)
"""Level of each INT4 code."""


GROUP_KEY = "potluck.group"
"""Metadata of a constant of levels: how many of them along the contraction are 4-bit codes times one multiple."""
MOST_MULTIPLE = 18
"""Of a group's scale in the output channel's: 7 * 18 still fits a byte."""


def group_of(value: ir.Value | None) -> int:
    """See `GROUP_KEY`; 0 if there are no groups."""
    return int(value.metadata_props.get(GROUP_KEY, "0")) if value is not None else 0


def code_table(value: ir.Value | None) -> tuple[str, NDArray[np.int16] | None]:
    """(format, level of each code) of a constant of levels; no table if it is stored in whole bytes."""
    if value is None:
        return "int8", None
    name = value.metadata_props.get(CODES_KEY, "")
    if name in POT_FORMATS:
        return name, POT_FORMATS[name].table
    held = value.dtype.name.lower() if value.dtype is not None else "int8"
    return held, INT4_TABLE if value.dtype is ir.DataType.INT4 else None


@dataclass(frozen=True, eq=False)
class Levels:
    """Constant weights as integers.

    Attributes:
        levels: Integers less their zero point, in the shape of the weights.
        scale: FP32, one or one per index of ``axis``.
        axis: Of the scales.
        format: ``int8``, ``int4`` or a PoT code set.
        group: Levels along the contraction that are 4-bit codes times one multiple; 0: no groups.
    """

    levels: NDArray[np.int16]
    scale: NDArray[np.float32]
    axis: int
    format: str
    group: int = 0


def levels_of(value: ir.Value | None) -> Levels | None:
    """The integers behind dequantized constant weights, or None.

    Blocks along the contraction are taken where the scales of an output channel are small multiples of one number.
    """
    node = value.producer() if value is not None else None
    if node is None:
        return None
    constants = [constant(item) for item in node.inputs]
    if any(item is None for item in constants):
        return None
    if is_op(node, "PotDequantize", domain=DOMAIN):
        codes, table, scale = (np.asarray(item) for item in constants)
        levels = table[codes.astype(np.int64)].astype(np.int16)
        names = [name for name, kind in POT_FORMATS.items() if np.array_equal(kind.table, table)]
        held = names[0] if names else "codes"
        return Levels(levels, scale.astype(np.float32), integer(node, "axis", 0) % codes.ndim, held)
    if not is_op(node, "DequantizeLinear"):
        return None
    if integer(node, "block_size", 0):
        return _grouped(node)
    source = node.inputs[0]
    if source is None or source.dtype not in WEIGHTS or constants[1] is None:
        return None
    codes, scale = np.asarray(constants[0]).astype(np.int16), np.asarray(constants[1])
    if scale.dtype != np.float32 or scale.ndim > 1:
        return None
    axis = integer(node, "axis", 1) % max(codes.ndim, 1)
    zero = (
        np.asarray(constants[2]).astype(np.int16) if len(constants) > 2 else np.zeros(scale.shape, np.int16)
    )
    spread = zero if zero.ndim == 0 else zero.reshape([-1 if i == axis else 1 for i in range(codes.ndim)])
    return Levels(np.asarray(codes - spread, np.int16), scale, axis, source.dtype.name.lower())


def _grouped(node: ir.Node) -> Levels | None:
    """Integers of 8 bits behind INT4 codes in blocks, if their scales allow that."""
    source, block = node.inputs[0], integer(node, "block_size", 0)
    codes, scale = constant(source), constant(node.inputs[1])
    if source is None or source.dtype is not ir.DataType.INT4 or codes is None or scale is None:
        return None
    if scale.dtype != np.float32 or scale.ndim != codes.ndim or codes.ndim not in (2, 4):
        return None
    zero = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    along = integer(node, "axis", 1) % codes.ndim
    axis = 0 if codes.ndim == 4 else 1 - along
    rows = np.moveaxis(scale, axis, 0).reshape(scale.shape[axis], -1).astype(np.float64)
    if along == axis or (zero is not None and zero.astype(np.int64).any()) or np.any(rows <= 0):
        return None
    top = rows.max(axis=1)
    whole = codes.astype(np.int64)
    most = min(MOST_MULTIPLE, 127 // max(1, int(np.abs(whole).max(initial=1))))
    found = np.zeros(len(rows))
    for multiple in range(1, most + 1):
        parts = rows * (multiple / top)[:, None]
        exact = np.all((np.abs(parts - np.rint(parts)) < 1e-5) & (np.rint(parts) > 0), axis=1)
        found[(found == 0) & exact] = multiple
    if not found.all():
        return None
    unit = (top / found).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(codes.ndim)]
    multiples = np.rint(scale.astype(np.float64) / unit.reshape(shape)).astype(np.int64)
    levels = whole * spread_scales(multiples, codes.shape, along, block)
    return Levels(levels.astype(np.int16), unit, axis, "int4", block)


def dequantized_bias(value: ir.Value | None) -> NDArray[Any] | None:
    """Values of a constant bias, dequantized or not, in double precision; None if it is computed at run time."""
    array = constant(value)
    if array is not None:
        return np.asarray(array, np.float64)
    node = value.producer() if value is not None else None
    if node is None or not is_op(node, "DequantizeLinear"):
        return None
    codes, scale = constant(node.inputs[0]), constant(node.inputs[1])
    zero = constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros((), np.int32)
    if codes is None or scale is None or zero is None:
        return None
    return np.asarray((codes.astype(np.float64) - zero.astype(np.float64)) * scale.astype(np.float64))


def dequantized(value: ir.Value) -> NDArray[np.float32] | None:
    """FP32 values of dequantized constants, as the node that dequantizes them computes them; None if not constant."""
    levels = levels_of(value)
    node = value.producer()
    if levels is not None:
        shape = [-1 if i == levels.axis else 1 for i in range(levels.levels.ndim)]
        scale = levels.scale.reshape(shape if levels.scale.size > 1 else [1] * levels.levels.ndim)
        return np.asarray(levels.levels.astype(np.float32) * scale, np.float32)
    if node is None or not is_op(node, "DequantizeLinear"):
        return None
    constants = [constant(item) for item in node.inputs]
    if any(item is None for item in constants):
        return None
    codes, scale = np.asarray(constants[0]), np.asarray(constants[1])
    axis, block = integer(node, "axis", 1), integer(node, "block_size", 0)
    zero = np.asarray(constants[2]) if len(constants) > 2 else np.zeros(scale.shape, np.int8)
    spread = [spread_scales(item, codes.shape, axis, block) for item in (scale.astype(np.float32), zero)]
    if not np.issubdtype(codes.dtype, np.integer) and node.inputs[0] is not None:
        dtype = node.inputs[0].dtype
        if dtype is not None and dtype.is_floating_point():
            return np.asarray(codes.astype(np.float32) * spread[0], np.float32)
    whole = codes.astype(np.int64) - spread[1].astype(np.int64)
    return np.asarray(whole.astype(np.float32) * spread[0], np.float32)


def spread_scales(array: NDArray[Any], shape: tuple[int, ...], axis: int, block: int) -> NDArray[Any]:
    """Scales or zero points of DequantizeLinear as one per element of ``shape`` (broadcastable).

    Args:
        array: One, one per index of ``axis``, or one per block along it.
        shape: Of the codes.
        axis: Of the scales.
        block: Elements that share one; 0: the scales are per index.
    """
    if array.ndim == 0 or array.size == 1:
        return array.reshape(())
    axis %= len(shape)
    if not block:
        return array.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.repeat(array, block, axis)[(slice(None),) * axis + (slice(shape[axis]),)]
