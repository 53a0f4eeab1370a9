"""Rotary positions: the two halves of every row turn by the angles of its position.

A row x has halves a and b, cosines and sines have halves of their own: out = [a c0 - b s0, b c1 + a s1], every product
and sum rounded by itself, as the operators do that exporters write (x cos + rotate_half(x) sin).
"""

from __future__ import annotations

from dataclasses import dataclass

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels import fp32math
from potluck.kernels.base import Kernel, add_immediate
from potluck.kernels.fp32math import F32

TOGETHER = 2
"""Rows at a time, so that one's loads hide what the other waits for."""
X, OUT, COSINES, SINES, ROWS, HALF = "t1", "t2", "t3", "t4", "t5", "a6"


@dataclass(frozen=True)
class Rotate(Kernel):
    """See the module's text.

    Registers: a0 x, a1 cosines, a2 sines, a3 out, FP32 [rows][2 half] each; a4 rows (may be 0). Clobbers a0-a7, t0-t6,
    v0-v31, vtype and vl.

    Attributes:
        half: Elements of half a row.
        single: Whether cosines and sines are one row for all.
    """

    half: int
    single: bool = False

    def __post_init__(self) -> None:
        if self.half < 1:
            raise DataError(f"{self.name}: rows of {2 * self.half}", hint="Use 2 or more")

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a4"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        strip, done = a.fresh("rotate_strip"), a.fresh("rotate_done")
        a("beqz", "a4", done)
        a("li", "a5", self.half)
        a.label(strip)
        a("vsetvli", "t0", "a5", "e32", "m2", "ta", "ma")
        for register, source in ((X, "a0"), (COSINES, "a1"), (SINES, "a2"), (OUT, "a3"), (ROWS, "a4")):
            a("mv", register, source)
        if self.single:
            self._tables(a, 0)
        for rows in (TOGETHER, 1):
            head, over = a.fresh("rotate_rows"), a.fresh("rotate_rows_end")
            a("addi", "t6", ROWS, -rows)
            a("bltz", "t6", over)
            a.label(head)
            self._rows(a, rows)
            a("addi", ROWS, ROWS, -rows)
            if rows > 1:
                a("addi", "t6", ROWS, -rows)
                a("bgez", "t6", head)
            a.label(over)
        a("slli", "t6", "t0", 2)
        for register in ("a0", "a1", "a2", "a3"):
            a("add", register, register, "t6")
        a("sub", "a5", "a5", "t0")
        a("bnez", "a5", strip)
        a.label(done)

    def _halves(self, a: Assembler, operation: str, registers: tuple[str, str], pointer: str) -> None:
        """Loads or stores both halves of a row; its pointer goes to the next one."""
        a(operation, registers[0], f"({pointer})")
        add_immediate(a, HALF, 4 * self.half, scratch="a7", source=pointer)
        a(operation, registers[1], f"({HALF})")
        add_immediate(a, pointer, 8 * self.half, scratch="a7")

    def _tables(self, a: Assembler, row: int) -> None:
        first = 16 * row
        self._halves(a, "vle32.v", (f"v{first}", f"v{first + 2}"), COSINES)
        self._halves(a, "vle32.v", (f"v{first + 4}", f"v{first + 6}"), SINES)

    def _rows(self, a: Assembler, rows: int) -> None:
        """Some rows: tables in the first half of 16 registers, then the halves, then products."""
        parts = [[f"v{16 * row + 2 * at}" for at in range(8)] for row in range(rows)]
        for row, (*_, first, second, _, _) in enumerate(parts):
            self._halves(a, "vle32.v", (first, second), X)
            if not self.single:
                self._tables(a, row)
        for row, (*_, first, second, left, right) in enumerate(parts):
            c0, c1, s0, s1 = parts[0 if self.single else row][:4]
            a("vfmul.vv", left, first, c0)
            a("vfmul.vv", right, second, s0)
            a("vfmul.vv", second, second, c1)
            a("vfmul.vv", first, first, s1)
            a("vfsub.vv", left, left, right)
            a("vfadd.vv", second, second, first)
        for *_, second, left, _ in parts:
            self._halves(a, "vse32.v", (left, second), OUT)

    def contract(self, x: F32, cosines: F32, sines: F32) -> F32:
        """out [rows, 2 half] bit for bit; cosines and sines [rows or 1, 2 half]."""
        h = self.half
        first, second = x[:, :h], x[:, h:]
        result = x.copy()
        result[:, :h] = fp32math.sub(fp32math.mul(first, cosines[:, :h]), fp32math.mul(second, sines[:, :h]))
        result[:, h:] = fp32math.add(fp32math.mul(second, cosines[:, h:]), fp32math.mul(first, sines[:, h:]))
        return result
