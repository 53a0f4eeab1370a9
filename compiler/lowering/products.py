"""Which kernel multiplies what a tensor holds."""

from __future__ import annotations

import math

from potluck.compiler.lowering.adapters import ConvFp32Tile, ConvMxInt8Tile, ConvMxTile
from potluck.compiler.lowering.base import Tensor
from potluck.compiler.lowering.packing import ELEMENTS, BlockWeights, HalfWeights, IntegerWeights, Weights
from potluck.isa.formats.elements import INTEGER8
from potluck.isa.formats.mx import MxTensor
from potluck.kernels.conv.fp32 import ConvFp32
from potluck.kernels.conv.int8 import ConvInt8
from potluck.kernels.conv.mx import ConvMx
from potluck.kernels.conv.mx_int8 import ConvMxInt8
from potluck.kernels.conv.mx_soft import ConvMxSoft
from potluck.kernels.conv.window import Window

FloatConv = ConvMx | ConvMxInt8 | ConvFp32
"""Convolutions with FP32 results."""


def product_tile(kernel: FloatConv) -> ConvMxTile | ConvMxInt8Tile | ConvFp32Tile:
    """A convolution with its contract on memory."""
    if isinstance(kernel, ConvMxInt8):
        return ConvMxInt8Tile(kernel)
    return ConvMxTile(kernel) if isinstance(kernel, ConvMx) else ConvFp32Tile(kernel)


def product_kernel(
    window: Window, in_channels: int, channels: int, bounds: tuple[float, float], x: Tensor, tile: int
) -> FloatConv:
    """The convolution of an activation: VMXDOTP or integers on MX codes, software on MX values, else FP32.

    Args:
        window: Geometry.
        in_channels: C.
        channels: Output channels that the kernel computes.
        bounds: Of the fused activation; infinite sides are open.
        x: The activation.
        tile: Channels of a vector, 0: known at run time, as always in software.
    """
    low, high = (None if math.isinf(bound) else bound for bound in bounds)
    if x.mx is not None and x.mx.element is INTEGER8:
        return ConvMxInt8(window, in_channels, channels, low, high, tile, x.mx.block_size)
    if x.mx is not None:
        element = ELEMENTS[x.mx.element.name]
        return ConvMx(window, in_channels, channels, low, high, tile, element=element, block=x.mx.block_size)
    if x.grid is not None:
        element = ELEMENTS[x.grid.element.name]
        return ConvMxSoft(window, in_channels, channels, low, high, tile=0, element=element)
    return ConvFp32(window, in_channels, channels, low, high, tile)


def integer_kernel(
    window: Window, in_channels: int, channels: int, weights: IntegerWeights, x: Tensor, tile: int
) -> ConvInt8:
    """The convolution of 8-bit codes."""
    unsigned = x.affine is not None and x.affine.unsigned
    return ConvInt8(
        window,
        in_channels,
        channels,
        None,
        None,
        tile,
        weights.finish,
        weights.bits,
        unsigned,
        weights.narrow,
    )


def format_name(x: Tensor, weights: Weights | IntegerWeights | None = None) -> str:
    """Format of the products of an activation and weights, for reports."""
    if isinstance(weights, BlockWeights | HalfWeights):
        return weights.format
    if isinstance(weights, MxTensor) and x.mx is not None and weights.layout.name != x.mx.name:
        return f"{weights.layout.name}_{x.mx.name}"
    held = x.mx or x.grid
    if x.affine is not None:
        return x.affine.dtype.name
    return held.name if held is not None else "fp32"
