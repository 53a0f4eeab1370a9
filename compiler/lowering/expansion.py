"""Weights that lie in DRAM in fewer bits than they are multiplied in, and become operands when they arrive in L1.

MX elements that VMXDOTP does not take become bytes of a format that holds them; block-scaled and 16-bit weights of FP32
activations become FP32 values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.lowering.adapters import octets, write
from potluck.compiler.lowering.base import Constant, block_word, constant
from potluck.compiler.lowering.packing import BlockWeights, HalfWeights, Weights, pack_mx, pack_scales, pick
from potluck.compiler.schedule.layer import Memory, TileKernel
from potluck.compiler.schedule.memory import align
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.formats.blocks import BlockLayout
from potluck.isa.formats.elements import INTEGER8, ElementFormat, recode
from potluck.isa.formats.mx import MxTensor
from potluck.kernels.conv.fp32 import pack_weights_fp32
from potluck.kernels.conv.mx_int8 import pack_weights_mxint8
from potluck.kernels.emission import advance
from potluck.kernels.weights.decode import SCALE_BYTES, DecodeWeights
from potluck.kernels.weights.elements import GRANULE, Bits, ExpandElements, pack_elements, packed_bytes
from potluck.kernels.weights.widen import WidenWeights

U8 = NDArray[np.uint8]
LAST = 1
"""Bit of a7, beside the address of the codes: the piece of K is the last one (`potluck.compiler.lowering.dense`)."""


@dataclass(frozen=True)
class Expansion:
    """What makes the operands of one slice of output channels.

    Attributes:
        expand: Codes to bytes, if codes are no bytes.
        decode: Bytes, or elements of two bytes, to FP32 values, if these are multiplied.
        scales: Scales of the slice, those of channels that fill a row up included.
    """

    expand: ExpandElements | None
    decode: DecodeWeights | WidenWeights | None
    scales: int

    @property
    def code_bytes(self) -> int:
        """Bytes of the codes in DRAM, their table included."""
        if self.expand is not None:
            return packed_bytes(self.expand.count, self.expand.bits)
        assert self.decode is not None
        return self.decode.count * self.decode.format.bits // 8

    @property
    def scale_bytes(self) -> int:
        """Bytes of the scales in DRAM."""
        return self.scales * (SCALE_BYTES[self.decode.scale] if isinstance(self.decode, DecodeWeights) else 1)

    @property
    def _offset(self) -> int:
        """Where in the operands' buffer the bytes lie that are to be decoded: behind the values.

        Harts that share weights make them at the same time. Bytes in the place of values (`DecodeWeights.in_place`)
        would then be written over values that another hart has already made.
        """
        return 0 if self.decode is None else align(4 * self.decode.count, 8)

    @property
    def operand_bytes(self) -> int:
        """Bytes of the buffer in L1 that receives the operands."""
        values = 0 if self.decode is None else 4 * self.decode.count
        return align(max(values, 0 if self.expand is None else self._offset + self.expand.count))

    def emit(self, a: Assembler) -> None:
        """Code that keeps every argument: a2 is the operands' buffer, a3 the scales, a7 the codes.

        Nothing happens where a7, but for `LAST`, is 0.
        """
        done = a.fresh("expanded")
        a("andi", "t0", "a7", -1 - LAST)
        a("beqz", "t0", done)
        kept = ("a1", "a2", "a3", "a7")
        a("addi", "sp", "sp", -32)
        for i, register in enumerate(kept):
            a("sd", register, f"{8 * i}(sp)")
        if self.expand is not None:
            a("mv", "a1", "t0")
            advance(a, "a2", self._offset)
            self.expand.emit(a)
            a("mv", "t0", "a2")
        if self.decode is not None:
            a("ld", "a2", "8(sp)")
            a("ld", "a1", "16(sp)")
            a("mv", "a3", "t0")
            self.decode.emit(a)
        for i, register in enumerate(kept):
            a("ld", register, f"{8 * i}(sp)")
        a("addi", "sp", "sp", 32)
        a.label(done)

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """Does the same on memory; ``args`` are a0 to a7."""
        source = args[7] & ~LAST
        if not source:
            return
        data = octets(memory, source, self.code_bytes)
        if self.expand is not None:
            data = self.expand.contract(data)
        if self.decode is None:
            write(memory, args[2], data)
            return
        if isinstance(self.decode, WidenWeights):
            write(memory, args[2], self.decode.contract(data.view(np.uint16)))
            return
        raw = octets(memory, args[3], self.scale_bytes)
        scales = raw.view(np.float32) if self.decode.scale == "fp32" else raw
        write(memory, args[2], self.decode.contract(data[: self.decode.count], scales))


@dataclass(frozen=True)
class ExpandedTile:
    """A tile that makes its weights first, if a7 says that they are new; the other arguments are those of ``tile``."""

    expansion: Expansion
    tile: TileKernel

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        self.expansion.emit(a)
        self.tile.emit(a)

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        self.expansion.evaluate(memory, args)
        self.tile.evaluate(memory, args[:7])


def expansion(
    weights: Weights, carrier: ElementFormat | None, taps: int, depth: int, channels: int
) -> Expansion | None:
    """How a slice of so many output channels becomes operands; None if weights are multiplied as they are stored.

    Args:
        weights: Of the layer.
        carrier: The elements that are multiplied; None: FP32.
        taps: Positions of the kernel.
        depth: Input channels.
        channels: Output channels.
    """
    if isinstance(weights, HalfWeights):
        return Expansion(None, WidenWeights(taps * depth * (channels + channels % 2), weights.element), 0)
    if isinstance(weights, BlockWeights):
        pitch = channels + channels % 2
        decode = DecodeWeights(
            taps, depth, pitch, weights.block, weights.element, weights.scale, weights.factor
        )
        expand = None if weights.bits == 8 else ExpandElements(align(decode.count, GRANULE), weights.bits)
        return Expansion(expand, decode, taps * decode.blocks * pitch)
    if not isinstance(weights, MxTensor) or carrier is None or weights.layout.element is carrier:
        return None
    count = taps * align(depth, 64 // carrier.bits) * channels
    scales = taps * weights.layout.blocks(depth) * align(channels, 8)
    return Expansion(
        ExpandElements(align(count, GRANULE), cast(Bits, weights.layout.element.bits)), None, scales
    )


def pack_expanded(
    weights: MxTensor | BlockWeights, carrier: ElementFormat | None
) -> tuple[U8, NDArray[np.generic]]:
    """Codes (uint8, flat) and scales of a slice, as its `Expansion` takes them."""
    if isinstance(weights, BlockWeights):
        codes = weights.codes.transpose(2, 3, 1, 0)
        scales = weights.scales.transpose(2, 3, 1, 0)
        padding = [(0, 0)] * 3 + [(0, codes.shape[-1] % 2)]
        codes, scales = np.pad(codes, padding), np.ascontiguousarray(np.pad(scales, padding))
        flat = np.ascontiguousarray(codes).reshape(-1)
        if weights.bits == 8:
            return flat, scales
        assert weights.table is not None
        return pack_elements(np.pad(flat, (0, -flat.size % GRANULE)), weights.table, weights.bits), scales
    assert carrier is not None
    own, size = weights.layout.element, 64 // carrier.bits
    codes = weights.codes.transpose(2, 3, 0, 1)
    codes = np.pad(codes, [(0, 0)] * 3 + [(0, -codes.shape[-1] % size)])
    chunks = codes.reshape(*codes.shape[:3], -1, size).transpose(0, 1, 3, 2, 4)
    flat = np.ascontiguousarray(chunks).reshape(-1)
    table = recode(np.arange(1 << own.bits, dtype=np.uint8), own, carrier)
    packed = pack_elements(np.pad(flat, (0, -flat.size % GRANULE)), table, cast(Bits, own.bits))
    return packed, pack_scales(weights)


def packed_slices(
    name: str, weights: Weights, mx: BlockLayout | None, slices: Sequence[slice], first: int, count: int
) -> list[Constant]:
    """Constants of slices of a matrix's output channels, one after the other: codes and scales, or values.

    Args:
        name: ONNX name.
        weights: [N, K, 1, 1].
        mx: Format of the activation in memory, None: FP32.
        slices: Channels of each.
        first: First input channel, a block's start.
        count: Input channels; those that do not exist are zero.
    """
    parts, names = [], [("", "", "")]
    for channels in slices:
        arrays, names = packed_weights(pick(weights, channels, first, count), mx)
        parts.append(arrays)
    return [
        constant(name, part, np.stack([arrays[i] for arrays in parts]), kind, f"slice {order}")
        for i, (part, kind, order) in enumerate(names)
    ]


def packed_weights(
    weights: Weights, mx: BlockLayout | None
) -> tuple[tuple[NDArray[Any], ...], list[tuple[str, str, str]]]:
    """Some output channels as they lie in DRAM.

    Args:
        weights: [Cout, C, KH, KW].
        mx: Format of the activation in memory, None: FP32.

    Returns:
        The arrays, and of each its part's name, format and layout.
    """
    carrier = mx.element if mx is not None else None
    if isinstance(weights, HalfWeights):
        codes = weights.codes.transpose(2, 3, 1, 0)
        codes = np.ascontiguousarray(np.pad(codes, [(0, 0)] * 3 + [(0, codes.shape[-1] % 2)]))
        return (codes,), [("values", weights.element.upper(), "HWIO")]
    if isinstance(weights, BlockWeights):
        held, blocks = weights.scale.upper(), f"HWIO{block_word(weights.block)} blocks"
        stored = ("codes", weights.element.upper(), "HWIO")
        if weights.bits < 8:
            stored = ("codes", weights.format.upper(), "table, HWIO planes")
        return pack_expanded(weights, None), [stored, ("scales", held, blocks)]
    if not isinstance(weights, MxTensor):
        return (pack_weights_fp32(weights),), [("values", "FP32", "HWIO")]
    element = weights.layout.element
    size = block_word(weights.layout.block_size)
    scales = ("scales", "E8M0", f"HWIO{size} blocks")
    if element is INTEGER8:
        return (pack_weights_mxint8(weights), pack_scales(weights)), [("codes", "INT8", "HWIO"), scales]
    if element is carrier:
        return pack_mx(weights), [("codes", element.name, f"HWIO{size} chunks"), scales]
    return pack_expanded(weights, carrier), [
        ("codes", f"{element.name} planes", "table, HWIO planes"),
        scales,
    ]
