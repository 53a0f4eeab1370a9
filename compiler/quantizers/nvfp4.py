"""NVFP4: E2M1 elements, an E4M3 scale per 16 of them, an FP32 scale per tensor.

With T the tensor's scale, a block's scale is E4M3(m / (6 T)), m its largest magnitude, rounded to nearest even and
saturated; the elements are E2M1(x / (scale T)). T is the tensor's largest magnitude over 6 * 448, so that the largest
block's scale is the largest E4M3 number. A block whose scale rounds to 0 is 0. (NVIDIA, "Pretraining large language
models with NVFP4", arXiv 2509.25149, appendix; ONNX as ModelOpt writes it: two DequantizeLinear in a chain.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.isa.formats.elements import E2M1, E4M3

BLOCK = 16
F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class NvTensor:
    """A quantized tensor, codes not packed.

    Attributes:
        codes: uint8, E2M1 codes, in the shape of the original tensor.
        scales: uint8, E4M3 codes, the same shape but ``ceil(K / block)`` along ``axis``.
        factor: T.
        axis: Along which blocks run, not negative.
        block: Elements per scale.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.uint8]
    factor: np.float32
    axis: int
    block: int = BLOCK

    def dequantize(self) -> F32:
        """Values: element times FP32(scale T), each rounded once."""
        steps = np.asarray(E4M3.decode(self.scales) * self.factor, np.float32)
        spread = np.repeat(steps, self.block, self.axis)
        spread = spread[(slice(None),) * self.axis + (slice(self.codes.shape[self.axis]),)]
        return np.asarray(E2M1.decode(self.codes) * spread, np.float32)


def tensor_scale(largest: float) -> np.float32:
    """T of a tensor whose largest magnitude is given; 1 for a tensor of zeros."""
    scale = np.float32(largest) / np.float32(E2M1.max_normal * E4M3.max_normal)
    return scale if scale > 0 else np.float32(1)


def quantize(x: F32, factor: np.float32, axis: int, block: int = BLOCK, name: str = "") -> NvTensor:
    """Quantizes a tensor with a given T.

    Args:
        x: float32 array.
        factor: T.
        axis: Along which blocks run.
        block: Elements per scale.
        name: Of the tensor, for errors.

    Raises:
        DataError: NaN or infinity in the tensor.
    """
    array = np.asarray(x, np.float32)
    if not np.isfinite(array).all():
        at = [int(index) for index in np.argwhere(~np.isfinite(array))[0]]
        raise DataError(
            f"its element {at} is {array[tuple(at)]}, which no NVFP4 block can hold",
            tensor=name or None,
            hint="Repair the network, or exclude the tensor",
        )
    axis %= array.ndim
    rows = np.moveaxis(array, axis, -1)
    length = rows.shape[-1]
    padded = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, -length % block)])
    blocks = padded.reshape(*rows.shape[:-1], -1, block)
    largest = np.abs(blocks).max(-1)
    scales = E4M3.encode(largest / (np.float32(E2M1.max_normal) * factor))
    steps = np.asarray(E4M3.decode(scales) * factor, np.float32)
    with np.errstate(divide="ignore"):
        codes = E2M1.encode(blocks / np.where(steps > 0, steps, np.float32(np.inf))[..., None])
    codes = codes.reshape(*rows.shape[:-1], -1)[..., :length]
    return NvTensor(
        np.ascontiguousarray(np.moveaxis(codes, -1, axis), np.uint8),
        np.ascontiguousarray(np.moveaxis(scales, -1, axis), np.uint8),
        np.float32(factor),
        axis,
        block,
    )
