"""Quantization of activations as a layer's kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from potluck.compiler.lowering.adapters import floats, write
from potluck.compiler.schedule import Memory
from potluck.isa.assembler import Assembler
from potluck.isa.blocks import BlockLayout, pack
from potluck.isa.mx import quantize


@dataclass(frozen=True)
class QuantizeTile:
    """Arguments: input, codes, scales, pixels."""

    channels: int
    layout: BlockLayout

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        raise NotImplementedError

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, codes, scales, pixels = args
        if not pixels:
            return
        tensor = quantize(floats(memory, x, pixels, self.channels), self.layout)
        bits = self.layout.element.bits
        padding = -self.channels % (64 // bits)
        write(memory, codes, pack(np.pad(tensor.codes, [(0, 0), (0, padding)]), bits))
        write(memory, scales, tensor.scales)
