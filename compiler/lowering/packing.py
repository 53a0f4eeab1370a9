"""Weights as they are kept until they are packed for a kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.schedule.memory import align
from potluck.isa.formats.blocks import pack
from potluck.isa.formats.mx import MxTensor
from potluck.kernels.base import Element, Stored
from potluck.kernels.conv.int8 import pack_weights_int8
from potluck.kernels.requantize import Finish
from potluck.kernels.weights.codes import TABLE_BYTES, pack_codes
from potluck.kernels.weights.decode import ByteElement, ScaleFormat
from potluck.kernels.weights.groups import pack_groups
from potluck.kernels.weights.widen import HalfElement

_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class IntegerWeights:
    """Weights of a product of 8-bit activations, and how its sums end.

    Attributes:
        levels: Integers of at most 9 bits, [Cout, C, KH, KW] ([C, 1, KH, KW] if depthwise).
        constants: int32 [finish.rows, Cout], see `Finish.constants`; the activation's zero point is folded in.
        finish: From sums to outputs.
        format: Of the weights in the network, for reports.
        table: The level of each of sixteen codes, for weights that are stored in four bits.
        narrow: See `ConvInt8`.
        group: Input channels whose levels are 4-bit codes times one multiple, which are stored instead; 0: none.
    """

    levels: NDArray[np.integer[Any]]
    constants: NDArray[np.int32]
    finish: Finish
    format: str = "int8"
    table: NDArray[np.int16] | None = None
    narrow: int = 0
    group: int = 0

    def pick(self, channels: slice) -> IntegerWeights:
        """Some output channels."""
        return replace(self, levels=self.levels[channels], constants=self.constants[:, channels])

    @cached_property
    def bits(self) -> Literal[8, 16]:
        """Of a weight that is multiplied; codes expand to 16 unless sums are narrow."""
        if self.table is not None:
            return 8 if self.narrow else 16
        fits = not self.levels.size or (self.levels.min() >= -128 and self.levels.max() <= 127)
        return 8 if fits else 16

    @property
    def coded(self) -> bool:
        """Whether they are stored as codes, which become levels in L1."""
        return self.table is not None or self.group > 0

    def pack(self) -> tuple[NDArray[Any], str, str]:
        """The weights as they lie in DRAM, the name of their format and of their order."""
        if self.group:
            grouped = pack_groups(pack_weights_int8(self.levels, 8), self.group)
            return grouped, "INT4", f"HWIO multiples of groups of {self.group}, HWIO halves"
        if self.table is None:
            return pack_weights_int8(self.levels, self.bits), f"INT{self.bits}", "HWIO"
        # Channels that fill a row up need a level too; nobody reads them.
        whole = pack_weights_int8(self.levels, self.bits, int(self.table[0]))
        return pack_codes(whole, self.table), self.format.upper(), "table, HWIO halves"

    def packed_bytes(self, elements: int) -> int:
        """Bytes of so many weights in DRAM."""
        if self.group:
            depth = int(self.levels.shape[1])
            return elements // depth * -(-depth // self.group) + elements // 2
        return elements * self.bits // 8 if self.table is None else TABLE_BYTES + elements // 2


@dataclass(frozen=True, eq=False)
class BlockWeights:
    """Block-scaled weights of a product of FP32 activations, which are decoded when they arrive in L1.

    Attributes:
        codes: uint8 [Cout, C, KH, KW].
        bits: Of a code: 4, 6 or 8.
        table: uint8 [2^bits], the byte that each code becomes; None if codes are such bytes.
        element: Format of these bytes.
        scales: [Cout, ceil(C / block), KH, KW], uint8 codes or float32.
        scale: Format of the scales.
        block: Input channels per scale.
        factor: Multiplied into every scale first.
        format: Of the weights in the network, for reports.
    """

    codes: NDArray[np.uint8]
    bits: Literal[4, 6, 8]
    table: NDArray[np.uint8] | None
    element: ByteElement
    scales: NDArray[Any]
    scale: ScaleFormat
    block: int
    factor: float = 1.0
    format: str = "mxfp8"

    def part(self, channels: slice, first: int = 0, count: int | None = None) -> BlockWeights:
        """As `pick`."""
        blocks = None if count is None else -(-count // self.block)
        codes = _part(self.codes[channels], first, count).view(np.uint8)
        return replace(self, codes=codes, scales=_part(self.scales[channels], first // self.block, blocks))


@dataclass(frozen=True, eq=False)
class HalfWeights:
    """16-bit floating-point weights of a product of FP32 activations, which are widened when they arrive in L1.

    Attributes:
        codes: uint16 [Cout, C, KH, KW].
        element: Their format.
    """

    codes: NDArray[np.uint16]
    element: HalfElement

    @property
    def format(self) -> str:
        """Of the weights in the network, for reports."""
        return f"{self.element}_weights"

    def part(self, channels: slice, first: int = 0, count: int | None = None) -> HalfWeights:
        """As `pick`."""
        return replace(self, codes=_part(self.codes[channels], first, count).view(np.uint16))


Weights = NDArray[np.float32] | MxTensor | BlockWeights | HalfWeights
"""[Cout, C, KH, KW]; MX ones and those to be decoded with blocks along C."""


def shape_of(weights: Weights) -> tuple[int, ...]:
    """Sizes of the weights' axes."""
    return weights.shape if isinstance(weights, np.ndarray) else weights.codes.shape


ELEMENTS: dict[str, Element] = {"E4M3": "e4m3", "E5M2": "e5m2", "E2M1": "e2m1"}
"""Names in `potluck.kernels` of the element formats that VMXDOTP multiplies."""

STORED: dict[str, Stored] = {**ELEMENTS, "INT8": "int8"}
"""Names in `potluck.kernels` of the element formats of MX operands in memory."""


def pick(weights: Weights, channels: slice, first: int = 0, count: int | None = None) -> Weights:
    """Some output channels, and of these ``count`` input channels from ``first`` (a block's start) on.

    Input channels that do not exist are zero.
    """
    if isinstance(weights, BlockWeights | HalfWeights):
        return weights.part(channels, first, count)
    if isinstance(weights, MxTensor):
        size = weights.layout.block_size
        blocks = None if count is None else -(-count // size)
        codes = _part(weights.codes[channels], first, count)
        scales = _part(weights.scales[channels], first // size, blocks)
        return MxTensor(codes.view(np.uint8), scales.view(np.uint8), weights.layout, weights.axis)
    return np.asarray(_part(weights[channels], first, count), np.float32)


def _part(array: NDArray[_T], first: int, count: int | None) -> NDArray[_T]:
    if count is None:
        return array[:, first:]
    part = array[:, first : first + count]
    return _extended(part, 1, count)


def _extended(array: NDArray[_T], axis: int, size: int, fill: int = 0) -> NDArray[_T]:
    """The array with an axis of ``size``; it itself if that is so (np.pad takes longer than to pack a slice)."""
    missing = size - array.shape[axis]
    if not missing:
        return array
    return np.pad(array, [(0, missing * (k == axis)) for k in range(array.ndim)], constant_values=fill)


def pack_mx(weights: MxTensor) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Codes and scales in the order of `potluck.kernels.conv.mx.pack_weights`, which starts from values.

    Returns:
        Codes [KH, KW, chunks of C, Cout, 8] and scales [KH, KW, blocks of C, Cout to a multiple of 8].
    """
    bits = weights.layout.element.bits
    codes = weights.codes.transpose(2, 3, 0, 1)
    codes = _extended(codes, 3, align(codes.shape[-1], 64 // bits))
    rows = pack(codes, bits)
    chunks = rows.reshape(*rows.shape[:3], -1, 8).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(chunks), pack_scales(weights)


def pack_scales(weights: MxTensor) -> NDArray[np.uint8]:
    """Scales [KH, KW, blocks of C, Cout to a multiple of 8], 1.0 for channels that do not exist."""
    scales = weights.scales.transpose(2, 3, 1, 0)
    return np.ascontiguousarray(_extended(scales, 3, align(scales.shape[-1], 8), 127))
