"""Uniform integers of 8, 6, 4 and 2 bits: symmetric or asymmetric, one scale per tensor, channel or group.

Codes, scales and zero points are those of ONNX QuantizeLinear (opset 21): code = saturate(rne(x / scale) + zero
point), value = (code - zero point) scale, all in FP32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError

F32 = NDArray[np.float32]
DTYPES: dict[tuple[int, bool], np.dtype[Any]] = {
    (8, True): np.dtype(np.int8),
    (8, False): np.dtype(np.uint8),
    (4, True): np.dtype(ml_dtypes.int4),
    (4, False): np.dtype(ml_dtypes.uint4),
    (6, True): np.dtype(np.int8),
    (2, True): np.dtype(ml_dtypes.int4),
}
"""(bits, signed) -> NumPy type of the codes in ONNX, which has no 6 bits, and 2 only from opset 25."""


@dataclass(frozen=True)
class IntegerFormat:
    """How a tensor becomes integers.

    Attributes:
        bits: 8, 6, 4 or 2.
        symmetric: Zero point 0 and a range that is symmetric too (-127..127, -7..7, -1..1), so that negation is exact.
        axis: Axis with a scale of its own per index; None: one scale for the tensor.
        group: Elements along ``axis`` that share a scale (ONNX block_size); 0: one scale per index of ``axis``.
        signed: Two's complement codes; asymmetric unsigned codes are onnxruntime's default for activations.
    """

    bits: int = 8
    symmetric: bool = True
    axis: int | None = None
    group: int = 0
    signed: bool = True

    def __post_init__(self) -> None:
        if (self.bits, self.signed) not in DTYPES or self.group < 0 or (self.symmetric and not self.signed):
            raise DataError(
                f"no integer format {self}", hint="Use 8, 6, 4 or 2 bits; symmetric formats are signed"
            )
        if self.group and self.axis is None:
            raise DataError("a group needs the axis along which it runs", hint="Give axis")

    @property
    def lowest(self) -> int:
        """Lowest code that the quantizer makes."""
        if not self.signed:
            return 0
        return -(1 << self.bits - 1) + int(self.symmetric)

    @property
    def highest(self) -> int:
        """Highest code."""
        return (1 << self.bits - int(self.signed)) - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the codes in ONNX."""
        return DTYPES[self.bits, self.signed]


@dataclass(frozen=True, eq=False)
class IntegerTensor:
    """A quantized tensor.

    Attributes:
        codes: int8, or uint8 if unsigned, of the tensor's shape.
        scale: FP32: a scalar, [n] along ``axis``, or the tensor's shape with ``axis`` divided by the group.
        zero_point: Of the codes' type and the scale's shape.
        format: How it was made.
    """

    codes: NDArray[np.generic]
    scale: F32
    zero_point: NDArray[np.generic]
    format: IntegerFormat

    def dequantize(self) -> F32:
        """FP32 values, as ONNX DequantizeLinear computes them."""
        shape = self.codes.shape
        zero = spread(self.zero_point, shape, self.format).astype(np.int32)
        values = (self.codes.astype(np.int32) - zero).astype(np.float32)
        return np.asarray(values * spread(self.scale, shape, self.format), np.float32)


def spread(values: NDArray[Any], shape: tuple[int, ...], kind: IntegerFormat) -> NDArray[Any]:
    """Scales or zero points as one per element of ``shape`` (broadcastable)."""
    if kind.axis is None:
        return values.reshape(())
    axis = kind.axis % len(shape)
    if kind.group:
        return np.repeat(values, kind.group, axis)[(slice(None),) * axis + (slice(shape[axis]),)]
    return values.reshape([-1 if i == axis else 1 for i in range(len(shape))])


def ranges(array: F32, kind: IntegerFormat) -> tuple[F32, F32]:
    """(lowest, highest) value of each scale's elements, in the scale's shape."""
    if kind.axis is None:
        return np.asarray(array.min()), np.asarray(array.max())
    axis = kind.axis % array.ndim
    if not kind.group:
        others = tuple(i for i in range(array.ndim) if i != axis)
        return array.min(axis=others), array.max(axis=others)
    short = -array.shape[axis] % kind.group
    # The last group's missing elements repeat one of its own: they change neither bound.
    pads = [(0, short if i == axis else 0) for i in range(array.ndim)]
    padded = np.pad(array, pads, mode="edge")
    shape = (*array.shape[:axis], padded.shape[axis] // kind.group, kind.group, *array.shape[axis + 1 :])
    grouped = padded.reshape(shape)
    return grouped.min(axis=axis + 1), grouped.max(axis=axis + 1)


def parameters(low: ArrayLike, high: ArrayLike, kind: IntegerFormat) -> tuple[F32, NDArray[np.generic]]:
    """(scale, zero point) for values between ``low`` and ``high``; the range is extended to hold 0.

    An empty range gets the scale 1. Zero points are int8, or uint8 if unsigned.

    Raises:
        DataError: A bound is NaN or infinite.
    """
    lows = np.minimum(np.asarray(low, np.float64), 0.0)
    highs = np.maximum(np.asarray(high, np.float64), 0.0)
    if not (np.all(np.isfinite(lows)) and np.all(np.isfinite(highs))):
        raise DataError("a range to quantize is NaN or infinite", hint="Look for NaN or Inf in the tensor")
    stored = np.int8 if kind.signed else np.uint8
    if kind.symmetric:
        scale = np.maximum(-lows, highs) / kind.highest
        safe = np.asarray(_usable(scale), np.float32)
        return safe, np.zeros(safe.shape, stored)
    safe = np.asarray(_usable((highs - lows) / (kind.highest - kind.lowest)), np.float32)
    zero = np.clip(np.rint(kind.lowest - lows / safe), kind.lowest, kind.highest)
    return safe, np.asarray(zero, stored)


def _usable(scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 for scales of 0 and those that FP32 holds as subnormals: x / scale would overflow."""
    return np.where(scale >= np.finfo(np.float32).tiny, scale, 1.0)


def quantize(array: ArrayLike, kind: IntegerFormat) -> IntegerTensor:
    """Quantizes with scales from the tensor's own range (weights).

    Raises:
        DataError: NaN or infinity in the tensor, or the axis does not exist.
    """
    values = np.asarray(array, np.float32)
    if not values.size or (kind.axis is not None and not -values.ndim <= kind.axis < values.ndim):
        raise DataError(f"a tensor of the shape {values.shape} has no axis {kind.axis} to quantize along")
    if not np.all(np.isfinite(values)):
        raise DataError("the tensor holds NaN or infinity", hint="Repair the network before quantizing it")
    scale, zero = parameters(*ranges(values, kind), kind)
    return quantize_with(values, scale, zero, kind)


def quantize_with(
    array: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, kind: IntegerFormat
) -> IntegerTensor:
    """Quantizes with given scales and zero points, as ONNX QuantizeLinear does: x / scale in FP32, ties to even.

    Raises:
        DataError: The scale's shape does not fit the tensor.
    """
    values, scales = np.asarray(array, np.float32), np.asarray(scale, np.float32)
    stored = np.dtype(np.int8 if kind.signed else np.uint8)
    zeros = np.asarray(zero_point).astype(stored)
    if scales.shape != expected_shape(values.shape, kind) or zeros.shape != scales.shape:
        raise DataError(
            f"scales of the shape {scales.shape} and zero points of {zeros.shape} for a tensor of {values.shape}",
            hint=f"Both have the shape {expected_shape(values.shape, kind)} here",
        )
    ratio = values / spread(scales, values.shape, kind)
    codes = np.rint(ratio).astype(np.float64) + spread(zeros, values.shape, kind).astype(np.float64)
    return IntegerTensor(np.clip(codes, kind.lowest, kind.highest).astype(stored), scales, zeros, kind)


def expected_shape(shape: tuple[int, ...], kind: IntegerFormat) -> tuple[int, ...]:
    """Shape of the scales of a tensor."""
    if kind.axis is None:
        return ()
    axis = kind.axis % len(shape)
    if not kind.group:
        return (shape[axis],)
    return tuple(-(-size // kind.group) if i == axis else size for i, size in enumerate(shape))
