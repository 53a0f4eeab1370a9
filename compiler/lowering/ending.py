"""How a product's tile ends: its values are quantized in L1, by the hart that has just computed them.

Codes and scales leave for DRAM; the values only if somebody else reads them. The quantizer is the one that would be a
layer of its own, and sees the same values in the same blocks, so no bit depends on where it runs. A block lies within
what one hart computes, so nobody waits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from potluck.compiler.codegen.records import HEADER, TRANSFER
from potluck.compiler.lowering.base import RECORD_BYTES, REGISTERS, Tensor
from potluck.compiler.lowering.quantize import QuantizeTile
from potluck.compiler.schedule.layer import Memory, TileKernel
from potluck.compiler.schedule.overlap import MOST
from potluck.isa.assembly.assembler import Assembler
from potluck.kernels.base import Stored
from potluck.kernels.quantize.mx import QuantizeMx

START, SINGLE, BLOCK = 115, 25, 10
"""Cycles of a quantizer that do not grow with its blocks, of each block beside whole fours, and of each block."""
RATES: dict[Stored, float] = {"e4m3": 2.8, "e5m2": 2.8, "e2m1": 9.1, "int8": 5.0}
"""Cycles of a lane for each value of a block."""
SIGN = 0.8
"""Those of looking for signs and NaN."""
OUT = 5
"""Which argument of a product is the address of its result."""


@dataclass(frozen=True)
class Unit:
    """What is stored of so many values that follow each other.

    Attributes:
        values: How many.
        bytes: What they become.
    """

    values: int
    bytes: int


@dataclass(frozen=True)
class Ending:
    """What becomes of a tile's values.

    Attributes:
        item: Bytes of a value.
        kernels: Quantizers, each of which makes codes and scales of them.
        kept: Whether they go to DRAM themselves.
    """

    item: int = 4
    kernels: tuple[QuantizeMx, ...] = ()
    kept: bool = True

    @property
    def made(self) -> tuple[Unit, ...]:
        """What quantizers make: of each its codes, then its scales."""
        return tuple(
            Unit(kernel.k, size) for kernel in self.kernels for size in (kernel.row_bytes, kernel.blocks)
        )

    @property
    def stored(self) -> tuple[Unit, ...]:
        """What goes to DRAM."""
        return (*((Unit(1, self.item),) if self.kept else ()), *self.made)

    def takes(self, channels: int, total: int) -> bool:
        """Whether slices of so many channels consist of whole blocks."""
        return all(not (channels % unit.values or total % unit.values) for unit in self.made)

    def cycles(self, values: int, lanes: int) -> float:
        """Estimated cycles of a hart for so many values of a tile."""
        total = 0.0
        for kernel in self.kernels:
            blocks = math.ceil(values / kernel.k) * kernel.blocks
            total += START + SINGLE * (blocks % 4) + BLOCK * blocks
            total += (RATES[kernel.element] - SIGN * kernel.positive) * values / lanes
        return total

    def fits_record(self, stores: int, harts: int) -> bool:
        """Whether a tile's record has room for so many stores beside what the next layer loads early."""
        words = REGISTERS + 3 * len(self.kernels)
        return not self.kernels or HEADER + TRANSFER * (stores + MOST) + 4 * harts * words <= RECORD_BYTES


PLAIN = Ending()
"""FP32 values go to DRAM, nothing else."""


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantization that has become part of a product.

    Attributes:
        op: Its operator.
        y: Codes and scales.
        kernel: The quantizer.
    """

    op: str
    y: Tensor
    kernel: QuantizeMx

    @property
    def addresses(self) -> tuple[int, int]:
        """Of codes and scales in DRAM."""
        return self.y.address, self.y.scales_address


@dataclass(frozen=True)
class EndedTile:
    """A product, then its quantizers. Arguments: the product's; of each quantizer codes, scales and rows.

    Those that do not fit the registers are in memory: t0 points to all of them.

    Attributes:
        product: The product.
        words: Its arguments.
        kernels: Quantizers of its result.
    """

    product: TileKernel
    words: int
    kernels: tuple[QuantizeMx, ...]

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        a("addi", "sp", "sp", -16)
        a("sd", "t0", "0(sp)")
        self.product.emit(a)
        for number, kernel in enumerate(self.kernels):
            a("ld", "t0", "0(sp)")
            for register, word in enumerate(self._words(number)):
                a("lwu", f"a{register}", f"{4 * word}(t0)")
            kernel.emit(a)
        a("addi", "sp", "sp", 16)

    def _words(self, number: int) -> tuple[int, ...]:
        """Which arguments a quantizer has: values, codes, scales, rows."""
        first = self.words + 3 * number
        return OUT, first, first + 1, first + 2

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        self.product.evaluate(memory, args[: self.words])
        for number, kernel in enumerate(self.kernels):
            QuantizeTile(kernel).evaluate(memory, [args[word] for word in self._words(number)])
