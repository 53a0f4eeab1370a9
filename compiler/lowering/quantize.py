"""Quantization of activations as a layer's kernel."""

from __future__ import annotations

from collections.abc import Sequence

from potluck.compiler.lowering.adapters import floats, write
from potluck.compiler.lowering.kernel_tile import KernelTile
from potluck.compiler.schedule.layer import Memory
from potluck.kernels.quantize.mx import QuantizeMx
from potluck.kernels.quantize.round_mx import RoundMx
from potluck.kernels.quantize.round_nvfp4 import RoundNvfp4


class QuantizeTile(KernelTile[QuantizeMx]):
    """Arguments: input, codes, scales, pixels."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, codes, scales, pixels = args
        if pixels:
            packed, exponents = self.kernel.contract(floats(memory, x, pixels, self.kernel.k))
            write(memory, codes, packed)
            write(memory, scales, exponents)


class RoundTile(KernelTile[RoundMx | RoundNvfp4]):
    """Arguments: input, output, pixels."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, out, pixels = args
        if pixels:
            write(memory, out, self.kernel.contract(floats(memory, x, pixels, self.kernel.k)))
