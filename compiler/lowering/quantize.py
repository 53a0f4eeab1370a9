"""Quantization of activations as a layer's kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from potluck.compiler.lowering.adapters import floats, write
from potluck.compiler.schedule import Memory
from potluck.isa.assembler import Assembler
from potluck.kernels.quantize_mx import QuantizeMx
from potluck.kernels.round_mx import RoundMx
from potluck.kernels.round_nvfp4 import RoundNvfp4


@dataclass(frozen=True)
class QuantizeTile:
    """Arguments: input, codes, scales, pixels."""

    kernel: QuantizeMx

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        self.kernel.emit(a)

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, codes, scales, pixels = args
        if pixels:
            packed, exponents = self.kernel.contract(floats(memory, x, pixels, self.kernel.k))
            write(memory, codes, packed)
            write(memory, scales, exponents)


@dataclass(frozen=True)
class RoundTile:
    """Arguments: input, output, pixels."""

    kernel: RoundMx | RoundNvfp4

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        self.kernel.emit(a)

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, out, pixels = args
        if pixels:
            write(memory, out, self.kernel.contract(floats(memory, x, pixels, self.kernel.k)))
