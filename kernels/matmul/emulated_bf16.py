"""The MX matrix product without VMXDOTP in BF16: FP8 to BF16 conversions, then BF16 arithmetic throughout.

The variant that facts vmxdotp §3.4 calls ``min``, inferred to be the paper's BF16 reference: outer products of four
rows and up to 64 columns. On Spatz the conversion and the arithmetic want different format bits in fcsr, so every k
writes fcsr twice, and each write waits until the vector unit is idle. Our rows name their formats, but the writes are
kept: they are what the baseline costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.isa.formats.elements import BF16, FORMATS
from potluck.kernels.base import FCSR, FCSR_BF16, Kernel, Operand, S, add_immediate, saved, set_format

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
ROWS = 4


def multiply_add(x: U16, y: U16, z: U16) -> U16:
    """BF16 ``x*y + z`` rounded once, NaN canonical; arrays of BF16 bits, broadcast.

    The product of two BF16 numbers is exact in FP64; the sum is rounded to odd there, so that rounding it to BF16
    rounds the exact value.
    """
    a, b, c = (BF16.decode(v).astype(np.float64) for v in (x, y, z))
    with np.errstate(all="ignore"):
        p = a * b
        total = p + c
        other = total - p
        error = (p - (total - other)) + (c - other)
    bits, sign = total.view(np.int64), error.view(np.int64)
    odd = ((bits + ((bits ^ sign) >> 63)) | 1).view(np.float64)
    total = np.where(np.abs(error) > 0, odd, total)
    result: U16 = BF16.encode(total, saturate=False).astype(np.uint16)
    return np.where(np.isnan(total), np.uint16(0x7FC0), result)


@dataclass(frozen=True)
class MatmulEmulatedBf16(Kernel):
    """C[m, n] in BF16 from MXFP8 operands, block accumulators and scales in BF16.

    Registers: a0 A, codes [rows][K]; a1 scales of A [rows][blocks]; a2 B, codes [K][N]; a3 scales of B [blocks][N];
    a4 C, BF16 [rows][N]; a5 rows, a multiple of 4. 96 bytes below sp are used.

    Attributes:
        n: Columns, at most 64.
        k: Contraction length, a multiple of the block.
        block: Elements that share a scale.
    """

    n: int
    k: int
    block: int = 32

    def __post_init__(self) -> None:
        """Reject what the code cannot do."""
        if not 1 <= self.n <= 64 or self.k < 1 or self.k % self.block:
            raise DataError(
                f"{self.name}: {self.k} x {self.n}, block {self.block}",
                hint="Use at most 64 columns and whole blocks",
            )

    @property
    def blocks(self) -> int:
        """Scales of a row."""
        return self.k // self.block

    @property
    def macs(self) -> int:
        """Multiply-accumulates per row."""
        return self.n * self.k

    @property
    def operands(self) -> tuple[Operand, ...]:
        """See the class."""
        return (
            Operand("a0", "a", "uint8", (self.k,), per_row=True),
            Operand("a1", "a_scales", "uint8", (self.blocks,), per_row=True),
            Operand("a2", "b", "uint8", (self.k, self.n)),
            Operand("a3", "b_scales", "uint8", (self.blocks, self.n)),
            Operand("a4", "c", "uint16", (self.n,), per_row=True, output=True),
        )

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a5"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        rows, block, done = a.fresh("rows"), a.fresh("block"), a.fresh("done")
        set_format(a, "e4m3", "bf16")
        with saved(a, S):
            a("li", "s11", self.n)
            a("li", "s9", (FCSR["e4m3"] | FCSR_BF16) >> 8)
            a("li", "s10", FCSR_BF16 >> 8)
            a("blez", "a5", done)
            a.label(rows)
            for row in range(ROWS):
                add_immediate(a, f"s{row}", row * self.k, "t6", "a0")
                add_immediate(a, f"s{4 + row}", row * self.blocks, "t6", "a1")
            a("mv", "t3", "a2")
            a("mv", "t4", "a3")
            a("vsetvli", "zero", "s11", "e16", "m2", "ta", "ma")
            for row in range(ROWS):
                a("vmv.v.i", f"v{2 * row}", 0)
            a("li", "t1", self.blocks)
            a.label(block)
            self._block(a)
            a("addi", "t1", "t1", -1)
            a("bnez", "t1", block)
            for row in range(ROWS):
                a("vse16.v", f"v{2 * row}", "(a4)")
                add_immediate(a, "a4", 2 * self.n, "t6")
            add_immediate(a, "a0", ROWS * self.k, "t6")
            add_immediate(a, "a1", ROWS * self.blocks, "t6")
            a("addi", "a5", "a5", -ROWS)
            a("bgtz", "a5", rows)
            a.label(done)

    def _block(self, a: Assembler) -> None:
        """Products of one block into v8, v10, v12, v14, then its scales."""
        a("vsetvli", "zero", "s11", "e16", "m2", "ta", "ma")
        for row in range(ROWS):
            a("vmv.v.i", f"v{8 + 2 * row}", 0)
        a("vsetvli", "zero", "s11", "e8", "m1", "ta", "ma")
        for step in range(self.block):
            if step:
                a("vsetvli", "zero", "s11", "e8", "m1", "ta", "ma")
            a("vle8.v", "v24", "(t3)")
            a("add", "t3", "t3", "s11")
            for row in range(ROWS):
                a("flb", f"ft{row}", f"{step}(s{row})")
            a("csrw", "fmode", "s9")
            a("vfwcvtbf16.f.f.v", "v26", "v24")
            for row in range(ROWS):
                a("fcvt.bf16.b", f"ft{row}", f"ft{row}")
            a("csrw", "fmode", "s10")
            a("vsetvli", "zero", "s11", "e16", "m2", "ta", "ma")
            for row in range(ROWS):
                a("vfmacc.bf16.vf", f"v{8 + 2 * row}", f"ft{row}", "v26")
        a("csrw", "fmode", "s9")
        self._scale(a)
        for row in range(ROWS):
            a("addi", f"s{row}", f"s{row}", self.block)

    def _scale(self, a: Assembler) -> None:
        """2^(SA + SB - 254) as BF16 bits: (SA + SB - 127) << 7."""
        a("vsetvli", "zero", "s11", "e8", "m1", "ta", "ma")
        a("vle8.v", "v24", "(t4)")
        a("add", "t4", "t4", "s11")
        a("vwaddu.vx", "v26", "v24", "zero")
        a("vsetvli", "zero", "s11", "e16", "m2", "ta", "ma")
        for row in range(ROWS):
            a("lbu", "t0", f"0(s{4 + row})")
            a("addi", f"s{4 + row}", f"s{4 + row}", 1)
            a("addi", "t0", "t0", -127)
            a("vadd.vx", f"v{16 + 2 * row}", "v26", "t0")
            a("vsll.vi", f"v{16 + 2 * row}", f"v{16 + 2 * row}", 7)
            a("vfmacc.bf16.vv", f"v{2 * row}", f"v{16 + 2 * row}", f"v{8 + 2 * row}")

    def contract(self, a: U8, a_scales: U8, b: U8, b_scales: U8) -> U16:
        """C bit for bit: BF16 bits [rows, N] from codes and scales as the operands list them."""
        form = FORMATS["e4m3"]
        left, right = (BF16.encode(form.decode(codes), saturate=False).astype(np.uint16) for codes in (a, b))
        acc = np.zeros((a.shape[0], self.n), np.uint16)
        for index in range(self.blocks):
            total = np.zeros_like(acc)
            for k in range(index * self.block, (index + 1) * self.block):
                total = multiply_add(left[:, k, None], right[k], total)
            exponent = a_scales[:, index, None].astype(np.int16) + b_scales[index].astype(np.int16) - 127
            acc = multiply_add((exponent << 7).view(np.uint16), total, acc)
        return acc
