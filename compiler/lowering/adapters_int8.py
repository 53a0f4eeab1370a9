"""Kernels on 8-bit codes as layers use them; see `potluck.compiler.lowering.adapters`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from potluck.compiler.lowering.adapters import ConvInt8Tile, codes, floats, octets, words, write
from potluck.compiler.lowering.kernel_tile import KernelTile
from potluck.compiler.schedule.layer import Memory
from potluck.isa.assembly.assembler import Assembler
from potluck.kernels.conv.depthwise_int8 import DepthwiseInt8
from potluck.kernels.conv.int8 import ConvInt8
from potluck.kernels.elementwise_int8 import AddInt8, DequantizeInt8, QuantizeInt8
from potluck.kernels.weights.codes import ExpandCodes
from potluck.kernels.weights.groups import ExpandGroups


class DepthwiseInt8Tile(KernelTile[DepthwiseInt8]):
    """Arguments: input, weights, constants, output, output rows."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        k, (x, weights, constants, out, rows) = self.kernel, args
        if not rows:
            return
        kernel = k.window.kernel
        levels = octets(memory, weights, *kernel, 2 * k.channels).view(np.int16)
        table = words(memory, constants, k.finish.rows, k.channels)
        write(memory, out, k.contract(codes(memory, x, k, rows), levels, table, rows))


@dataclass(frozen=True)
class ExpandedConvTile:
    """Arguments as for `ConvInt8Tile`, but the second is the address of codes to expand to the weights first, or 0."""

    kernel: ConvInt8
    group: int = 0

    @property
    def _expand(self) -> ExpandCodes | ExpandGroups:
        k = self.kernel
        taps = k.window.kernel[0] * k.window.kernel[1]
        if self.group:
            return ExpandGroups(taps, k.in_channels, k.row_bytes, self.group)
        return ExpandCodes(taps * k.in_channels * k.row_bytes // k.weight_bytes, k.weight_bits)

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        expanded = a.fresh("expanded")
        a("beqz", "a1", expanded)
        self._expand.emit(a)
        a.label(expanded)
        self.kernel.emit(a)

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        if args[1]:
            packed = octets(memory, args[1], self._expand.packed_bytes)
            write(memory, args[2], self._expand.contract(packed))
        ConvInt8Tile(self.kernel).evaluate(memory, args)


class QuantizeInt8Tile(KernelTile[QuantizeInt8]):
    """Arguments: values, codes, elements."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, out, count = args
        write(memory, out, self.kernel.contract(floats(memory, x, count)))


class DequantizeInt8Tile(KernelTile[DequantizeInt8]):
    """Arguments: codes, values, elements."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, out, count = args
        raw = octets(memory, x, count).view(self.kernel.kind.dtype)
        write(memory, out, self.kernel.contract(raw))


class AddInt8Tile(KernelTile[AddInt8]):
    """Arguments: two inputs, output, elements."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, y, out, count = args
        left = octets(memory, x, count).view(self.kernel.x.dtype)
        right = octets(memory, y, count).view(self.kernel.y.dtype)
        write(memory, out, self.kernel.contract(left, right))
