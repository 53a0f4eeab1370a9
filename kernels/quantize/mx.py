"""FP32 to MX on the machine: block maxima, scales by exponent arithmetic, one conversion.

The result is `potluck.isa.formats.mx.quantize`, bit for bit. Elements that VMXDOTP does not take are rounded to their
own grid and written in the format that carries them (`potluck.isa.formats.elements.holds`). A block's scale and the
number of blocks at work decide how: `potluck.kernels.quantize.strip` treats up to 64 blocks at a time, one lane per
block where scales are computed, and keeps its intermediate values in the code area that it overwrites at last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import BlockLayout, pack
from potluck.isa.formats.elements import FORMATS, INTEGER8, ElementFormat, holds, recode
from potluck.isa.formats.mx import ScaleRule, quantize, scale_addend
from potluck.kernels.base import BITS, CHUNK, Kernel, Operand, Stored, add_immediate, loop, saved
from potluck.kernels.fp32math import F32
from potluck.kernels.quantize.strip import Shape, Strip


def stored_format(element: Stored) -> ElementFormat:
    """The element format of that name; INT8 as integers."""
    return INTEGER8 if element == "int8" else FORMATS[element]


@dataclass(frozen=True)
class QuantizeMx(Kernel):
    """MX codes and E8M0 scales of FP32 rows; blocks run along the row, the last one may be ragged.

    Registers: a0 x, FP32 [rows][K]; a1 codes, uint8 [rows][KB] with KB = ceil(K / chunk) * 8, codes beyond K are
    0, 8-byte aligned; a2 scales, uint8 [rows][ceil(K / block)]; a3 rows (may be 0). 32 bytes below sp are used.

    Attributes:
        k: Elements of a row.
        element: Element format of the codes in memory.
        block: Elements per scale, a multiple of the chunk (8 for FP8, 16 for FP4) up to VLEN / 4.
        vlen: Vector register bits of the machine.
        grid: Element format that values are rounded to, if it is not ``element`` but one that ``element`` holds.
        rule: From a block's maximum to its scale, see `potluck.isa.formats.mx`.
        positive: Whether no x has a sign or is NaN, as after a rectifier: then neither is looked for.
    """

    k: int
    element: Stored = "e4m3"
    block: int = 32
    vlen: int = 512
    grid: str = ""
    rule: ScaleRule = "floor"
    positive: bool = False

    def __post_init__(self) -> None:
        most = self.vlen // 4
        if not 0 < self.block <= most or self.block % CHUNK[self.element]:
            raise DataError(
                f"{self.name}: block of {self.block} {self.element} elements",
                hint=f"With VLEN {self.vlen} use a multiple of {CHUNK[self.element]} up to {most}",
            )
        scale_addend(self.format, self.rule)
        if self.grid and (self.element not in ("e4m3", "e5m2") or not holds(self.carrier, self.format)):
            raise DataError(f"{self.name}: {self.element} does not carry {self.grid}", hint="Use e4m3")
        if self.k < 1:
            raise DataError(f"{self.name}: rows of {self.k} elements", hint="Use 1 or more")

    @property
    def carrier(self) -> ElementFormat:
        """Format of the codes."""
        return stored_format(self.element)

    @property
    def format(self) -> ElementFormat:
        """Format of the values."""
        return FORMATS[self.grid] if self.grid else self.carrier

    @property
    def row_bytes(self) -> int:
        """Bytes of a row's codes, KB."""
        return -(-self.k // CHUNK[self.element]) * 8

    @property
    def blocks(self) -> int:
        """Scales of a row."""
        return -(-self.k // self.block)

    @property
    def operands(self) -> tuple[Operand, ...]:
        """See the class."""
        return (
            Operand("a0", "x", "float32", (self.k,), per_row=True),
            Operand("a1", "codes", "uint8", (self.row_bytes,), per_row=True, output=True),
            Operand("a2", "scales", "uint8", (self.blocks,), per_row=True, output=True),
        )

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a3"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        done = a.fresh("mx_quantized")
        a("beqz", "a3", done)
        area = self.block * BITS[self.element] // 8
        with saved(a, ["s0", "s1", "s2", "s3"]):
            if self.k % self.block == 0:  # all blocks alike and dense: one strip of rows * blocks
                a("li", "t0", self.blocks)
                a("mul", "a3", "a3", "t0")
                self._strip(a, self.block, area, (4 * self.block, area, 1))
            else:
                self._columns(a, area)
        a.label(done)

    def _strip(self, a: Assembler, length: int, area: int, pitches: tuple[int, int, int]) -> None:
        addend = scale_addend(self.format, self.rule)
        Strip(
            a, Shape(self.element, self.format, addend, length, area, *pitches, self.vlen, self.positive)
        ).emit()

    def _columns(self, a: Assembler, area: int) -> None:
        """One strip per block column: the full ones in a loop, then the ragged one."""
        full, rest = divmod(self.k, self.block)
        pitches = (4 * self.k, self.row_bytes, self.blocks)
        if full:
            a("li", "s3", full)
            with loop(a, "s3", name="mx_columns"):
                self._strip(a, self.block, area, pitches)
                for register, step in (("a0", 4 * self.block), ("a1", area), ("a2", 1)):
                    add_immediate(a, register, step)
        self._strip(a, rest, self.row_bytes - full * area, pitches)

    def contract(self, x: F32) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Codes [rows, KB] and scales [rows, blocks] of x [rows, K], bit for bit."""
        tensor = quantize(
            x, BlockLayout(self.format.name, self.format, block_size=self.block), scale_rule=self.rule
        )
        codes = recode(tensor.codes, self.format, self.carrier)
        padding = self.row_bytes * 8 // BITS[self.element] - self.k
        return pack(np.pad(codes, [(0, 0), (0, padding)]), BITS[self.element]), tensor.scales
