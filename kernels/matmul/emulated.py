"""The MX matrix product without VMXDOTP: the software-emulated baseline of the VMXDOTP paper (facts vmxdotp §3.4).

Outer products of two rows and up to 64 columns. Per k, a row of B widens from FP8 to FP16 and multiplies two scalars
of A into unscaled FP32 block accumulators; per block, the scales of B are added to the scale of A, shifted into the
exponent field of an FP32 number, and multiply the block into the real accumulators. As in the paper's kernel, scales
of NaN and sums outside FP32's exponents are not treated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.isa.formats.elements import FORMATS
from potluck.kernels import fp32math
from potluck.kernels.base import Element, Kernel, Operand, S, add_immediate, saved, set_format

U8 = NDArray[np.uint8]
COLUMNS = 64
"""Columns of a strip: e32 at LMUL 4 with VLEN 512."""


@dataclass(frozen=True)
class MatmulEmulated(Kernel):
    """C[m, n] = sum over blocks of 2^(SA + SB - 254) times the block's sum of products, FP32 throughout.

    Registers: a0 A, codes [rows][K]; a1 scales of A [rows][blocks]; a2 B, codes [K][N]; a3 scales of B [blocks][N];
    a4 C, float32 [rows][N]; a5 rows (may be 0). 96 bytes below sp are used.

    Attributes:
        n: Columns.
        k: Contraction length.
        element: ``e4m3`` or ``e5m2``.
        block: Elements that share a scale.
    """

    n: int
    k: int
    element: Element = "e4m3"
    block: int = 32

    def __post_init__(self) -> None:
        """Reject what the code cannot do."""
        if self.element == "e2m1" or self.n < 1 or self.k < 1 or not 1 <= self.block <= 64:
            raise DataError(
                f"{self.name}: {self.element}, {self.k} x {self.n}, block {self.block}",
                hint="Use an FP8 element, sizes of 1 or more and blocks of at most 64",
            )

    @property
    def blocks(self) -> int:
        """Scales of a row."""
        return -(-self.k // self.block)

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
            Operand("a4", "c", "float32", (self.n,), per_row=True, output=True),
        )

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a5"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        rows, done = a.fresh("rows"), a.fresh("done")
        set_format(a, self.element)
        with saved(a, S):
            a("blez", "a5", done)
            a.label(rows)
            # An odd last row is computed twice into the same place.
            for second, first, stride in (
                ("s2", "a0", self.k),
                ("s3", "a1", self.blocks),
                ("s5", "a4", 4 * self.n),
            ):
                add_immediate(a, second, stride, "t6", first)
            pair = a.fresh("pair")
            a("addi", "t0", "a5", -1)
            a("bnez", "t0", pair)
            for second, first in (("s2", "a0"), ("s3", "a1"), ("s5", "a4")):
                a("mv", second, first)
            a.label(pair)
            self._strips(a)
            add_immediate(a, "a0", 2 * self.k, "t6")
            add_immediate(a, "a1", 2 * self.blocks, "t6")
            add_immediate(a, "a4", 8 * self.n, "t6")
            a("addi", "a5", "a5", -2)
            a("bgtz", "a5", rows)
            a.label(done)

    def _strips(self, a: Assembler) -> None:
        """All columns of two rows, up to 64 at a time."""
        strip = a.fresh("strip")
        a("li", "s6", self.n)
        for to, of in (("s7", "a2"), ("s8", "a3"), ("s9", "a4"), ("s10", "s5")):
            a("mv", to, of)
        a("li", "s4", self.n)
        a.label(strip)
        a("vsetvli", "s11", "s6", "e32", "m4", "ta", "ma")
        a("vmv.v.i", "v0", 0)
        a("vmv.v.i", "v4", 0)
        for to, of in (("a6", "a0"), ("a7", "s2"), ("t3", "s7"), ("t4", "s8"), ("t5", "a1"), ("t6", "s3")):
            a("mv", to, of)
        full, rest = divmod(self.k, self.block)
        if full:
            again = a.fresh("block")
            a("li", "t1", full)
            a.label(again)
            self._block(a, self.block)
            a("addi", "t1", "t1", -1)
            a("bnez", "t1", again)
        if rest:
            self._block(a, rest)
        a("vse32.v", "v0", "(s9)")
        a("vse32.v", "v4", "(s10)")
        for pointer, size in (("s7", 1), ("s8", 1), ("s9", 4), ("s10", 4)):
            a("slli", "t0", "s11", size.bit_length() - 1)
            a("add", pointer, pointer, "t0")
        a("sub", "s6", "s6", "s11")
        a("bnez", "s6", strip)

    def _block(self, a: Assembler, length: int) -> None:
        """Products of one block, then its scales.

        A row of B is loaded a step ahead of its use, and scalars of A are converted between the multiply-adds of the
        step before: a conversion runs in the vector unit, and the in-order sequencer would wait for its result.
        """
        bytes_, halves = ("v24", "v25"), ("v26", "v28")
        rows = (("a6", "v8"), ("a7", "v12"))
        a("vsetvli", "zero", "s11", "e8", "m1", "ta", "ma")
        a("vle8.v", bytes_[0], "(t3)")
        a("add", "t3", "t3", "s4")
        for row, (pointer, _) in enumerate(rows):
            a("flb", f"ft{row}", f"0({pointer})")
            a("fcvt.h.b", f"ft{row}", f"ft{row}")
        for step in range(length):
            more = step + 1 < length
            now, following = 2 * (step % 2), 2 * ((step + 1) % 2)
            if step:
                a("vsetvli", "zero", "s11", "e8", "m1", "ta", "ma")
            if more:
                a("vle8.v", bytes_[(step + 1) % 2], "(t3)")
                a("add", "t3", "t3", "s4")
            a("vfwcvt.h.b", halves[step % 2], bytes_[step % 2])
            if more:
                for row, (pointer, _) in enumerate(rows):
                    a("flb", f"ft{following + row}", f"{step + 1}({pointer})")
            a("vsetvli", "zero", "s11", "e16", "m2", "ta", "ma")
            for row, (_, group) in enumerate(rows):
                if step:
                    a("vfwmacc.vf", group, f"ft{now + row}", halves[step % 2])
                else:
                    a("vfwmul.vf", group, halves[step % 2], f"ft{now + row}")
                if more:
                    a("fcvt.h.b", f"ft{following + row}", f"ft{following + row}")
        a("addi", "a6", "a6", length)
        a("addi", "a7", "a7", length)
        self._scale(a)

    def _scale(self, a: Assembler) -> None:
        """2^(SA + SB - 254) as FP32 bits: (SA + SB - 127) << 23."""
        a("vsetvli", "zero", "s11", "e8", "m1", "ta", "ma")
        a("vle8.v", "v24", "(t4)")
        a("add", "t4", "t4", "s4")
        a("vwaddu.vx", "v26", "v24", "zero")
        a("vsetvli", "zero", "s11", "e16", "m2", "ta", "ma")
        for pointer, scalar, scales in (("t5", "t0", "v16"), ("t6", "t2", "v20")):
            a("lbu", scalar, f"0({pointer})")
            a("addi", pointer, pointer, 1)
            a("addi", scalar, scalar, -127)
            a("vwadd.vx", scales, "v26", scalar)
        a("vsetvli", "zero", "s11", "e32", "m4", "ta", "ma")
        a("vsll.vi", "v16", "v16", 23)
        a("vsll.vi", "v20", "v20", 23)
        a("vfmacc.vv", "v0", "v16", "v8")
        a("vfmacc.vv", "v4", "v20", "v12")

    def contract(self, a: U8, a_scales: U8, b: U8, b_scales: U8) -> NDArray[np.float32]:
        """C bit for bit: float32 [rows, N] from codes and scales as the operands list them."""
        form = FORMATS[self.element]
        left, right = form.decode(a), form.decode(b)
        acc = np.zeros((a.shape[0], self.n), np.float32)
        for index in range(self.blocks):
            part = range(index * self.block, min(self.k, (index + 1) * self.block))
            total = fp32math.mul(left[:, part[0], None], right[part[0]])
            for k in part[1:]:
                total = fp32math.fma(left[:, k, None], right[k], total)
            exponent = a_scales[:, index, None].astype(np.int32) + b_scales[index].astype(np.int32) - 127
            acc = fp32math.fma((exponent << 23).view(np.float32), total, acc)
        return acc
