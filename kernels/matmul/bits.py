"""Products of 1- and 2-bit Bell Box codes by population counts: ``vmxor.mm`` and ``vcpop.m`` on mask registers.

With bits of +1 and -1, the sum over K of products is K - 2 popcount(x ^ w). A symmetric 2-bit code is 2 h + l of its
high and low bit as signs, so its products are 4 hh + 2 (hl + lh) + ll, and their sum is 9 K - 2 (4 pc(hh) + 2 pc(hl) +
2 pc(lh) + pc(ll)) with pc of exclusive ors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels import fp32math
from potluck.kernels.base import Kernel, Operand, add_immediate, saved
from potluck.kernels.emission import activation_bounds

F32 = NDArray[np.float32]
TOGETHER = 4
"""Columns whose counts are under way at once: a count's latency is hidden behind the others."""
SUMS = ("s4", "s5", "s6", "s7")
LEAST_VLEN = 128


@dataclass(frozen=True)
class GemmBits(Kernel):
    """y[m, n] = clip(FP32(sum over k of x[m, k] w[n, k]) factor[n] + bias[n]), two FP32 roundings before clipping.

    Registers: a0 x, uint8 [rows][bits][K / 8] (`potluck.isa.formats.bbq.pack_planes`); a1 w, uint8 [columns][bits][K /
    8]; a2 y, FP32, rows a5 bytes apart; a3 rows (may be 0); a4 factor, FP32 [columns]; a5 pitch of y in bytes; a6 bias,
    FP32 [columns]; a7 columns (may be 0). 64 bytes below sp are used.

    Attributes:
        k: Contraction, a multiple of 8.
        bits: 1 (codes +-1) or 2 (codes +-1, +-3).
        low: Lowest output, None: unbounded.
        high: Highest output, None: unbounded.
        vlen: Vector register bits; 0: code that any machine of 128 bits or more runs.
    """

    k: int
    bits: int
    low: float | None = None
    high: float | None = None
    vlen: int = 0

    def __post_init__(self) -> None:
        if self.bits not in (1, 2) or self.k < 8 or self.k % 8:
            raise DataError(
                f"{self.name}: {self.k} products of {self.bits}-bit codes",
                hint="Use 1 or 2 bits and a multiple of 8",
            )

    @property
    def plane(self) -> int:
        """Bytes of a plane."""
        return self.k // 8

    @property
    def row(self) -> int:
        """Bytes of a row or column."""
        return self.bits * self.plane

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a3"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        done, row = a.fresh("bits_done"), a.fresh("bits_row")
        a("beqz", "a3", done)
        a("beqz", "a7", done)
        activation_bounds(a, self.low, self.high)
        with saved(a, [f"s{i}" for i in range(8)]):
            a.label(row)
            for to, origin in (("s0", "a1"), ("s1", "a4"), ("s2", "a6"), ("s3", "a2")):
                a("mv", to, origin)
            a("mv", "t0", "a7")
            self._columns(a, TOGETHER)
            self._columns(a, 1)
            add_immediate(a, "a0", self.row)
            a("add", "a2", "a2", "a5")
            a("addi", "a3", "a3", -1)
            a("bgtz", "a3", row)
        a.label(done)

    def _columns(self, a: Assembler, count: int) -> None:
        """Columns in groups of ``count`` while so many are left; t0 counts them."""
        group, none = a.fresh("bits_columns"), a.fresh("bits_next")
        a("li", "t1", count)
        a("blt", "t0", "t1", none)
        a.label(group)
        for total in SUMS[:count]:
            a("li", total, 0)
        if self.k <= (self.vlen or LEAST_VLEN):
            a("li", "t2", self.k)
            a("vsetvli", "zero", "t2", "e8", "m8", "ta", "ma")
            self._strip(a, count, "a0", "s0")
        else:
            self._strips(a, count)
        for at, total in enumerate(SUMS[:count]):
            self._finish(a, at, total)
        add_immediate(a, "s0", count * self.row)
        for pointer in ("s1", "s2", "s3"):
            a("addi", pointer, pointer, 4 * count)
        a("addi", "t0", "t0", -count)
        a("li", "t1", count)
        a("bge", "t0", "t1", group)
        a.label(none)

    def _strips(self, a: Assembler, count: int) -> None:
        """K in pieces of VLEN bits; vl is never left to the machine, which could choose no multiple of 8."""
        strip, whole = a.fresh("bits_strip"), a.fresh("bits_whole")
        a("li", "t2", self.k)
        a("mv", "t3", "a0")
        a("mv", "t4", "s0")
        a.label(strip)
        a("vsetvli", "t1", "zero", "e8", "m8", "ta", "ma")
        a("bgeu", "t2", "t1", whole)
        a("mv", "t1", "t2")
        a("vsetvli", "zero", "t1", "e8", "m8", "ta", "ma")
        a.label(whole)
        a("sub", "t2", "t2", "t1")
        a("srli", "t1", "t1", 3)
        self._strip(a, count, "t3", "t4")
        a("add", "t3", "t3", "t1")
        a("add", "t4", "t4", "t1")
        a("bnez", "t2", strip)

    def _strip(self, a: Assembler, count: int, x: str, w: str) -> None:
        """Counts of vl bits of every plane; t5 and t6 are overwritten."""
        self._load(a, "v0", x, 0)
        for at in range(count):
            self._load(a, f"v{2 + 2 * at}", w, at * self.row)
        if self.bits == 1:
            for at in range(count):
                a("vmxor.mm", f"v{2 + 2 * at}", f"v{2 + 2 * at}", "v0")
            for at in range(count):
                a("vcpop.m", "t5", f"v{2 + 2 * at}")
                a("add", SUMS[at], SUMS[at], "t5")
            return
        for at in range(count):
            for pair, (left, right) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
                a("vmxor.mm", f"v{12 + 4 * at + pair}", f"v{left}", f"v{2 + 2 * at + right}")
        for at in range(count):
            first = 12 + 4 * at
            a("vcpop.m", "t5", f"v{first}")
            a("slli", "t5", "t5", 1)
            for pair in (1, 2):
                a("vcpop.m", "t6", f"v{first + pair}")
                a("add", "t5", "t5", "t6")
            a("vcpop.m", "t6", f"v{first + 3}")
            a("slli", "t5", "t5", 1)
            a("add", "t5", "t5", "t6")
            a("add", SUMS[at], SUMS[at], "t5")

    def _load(self, a: Assembler, register: str, base: str, offset: int) -> None:
        """The planes of a row or column."""
        for plane in range(self.bits):
            at = offset + plane * self.plane
            pointer = base
            if at:
                pointer = "t5"
                add_immediate(a, "t5", at, "t6", base)
            a("vlm.v", f"v{int(register[1:]) + plane}", f"({pointer})")

    def _finish(self, a: Assembler, at: int, total: str) -> None:
        """Count to output."""
        a("slli", total, total, 1)
        a("li", "t5", self.k * (1 if self.bits == 1 else 9))
        a("sub", total, "t5", total)
        a("fcvt.s.w", "ft0", total)
        a("flw", "ft1", f"{4 * at}(s1)")
        a("flw", "ft2", f"{4 * at}(s2)")
        a("fmul.s", "ft0", "ft0", "ft1")
        a("fadd.s", "ft0", "ft0", "ft2")
        if self.low is not None:
            a("fmax.s", "ft0", "ft0", "ft8")
        if self.high is not None:
            a("fmin.s", "ft0", "ft0", "ft9")
        a("fsw", "ft0", f"{4 * at}(s3)")

    def contract(self, x: NDArray[np.uint8], w: NDArray[np.uint8], factor: F32, bias: F32) -> F32:
        """y bit for bit, FP32 [rows, columns], of planes x [rows, bits, K / 8] and w [columns, bits, K / 8]."""
        signs = [self._values(planes) for planes in (x, w)]
        acc = (signs[0] @ signs[1].T).astype(np.int32)
        return fp32math.clip(acc.astype(np.float32) * factor + bias, self.low, self.high)

    def _values(self, planes: NDArray[np.uint8]) -> NDArray[np.float64]:
        bits = np.unpackbits(planes, axis=-1, count=self.k, bitorder="little").astype(np.float64)
        weights = (1 << np.arange(self.bits)[::-1]).astype(np.float64)
        return np.asarray(np.einsum("p,...pk->...k", weights, 2 * bits - 1))

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Not a fixed list: columns are an argument."""
        raise NotImplementedError(f"{self.name}'s columns are an argument")
