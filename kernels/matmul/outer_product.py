"""The loop nest of the FP32 and INT8 matrix products: an outer product of 4 (or 1) rows and 64 columns.

A step is one k: a row of B streams into a ring of vector buffers AHEAD steps early, each scalar of A is loaded
for the next step right after its multiply-add. Nothing beyond the operands is read: the last steps of K are
straight code without the loads.

Registers: s0-s3 rows of A, s4-s7 INT8 scalars, s8 bias and s9 C of the column, t0 row of B, t1 its pitch, t2
C, t3 loop counter, t4 columns left, t5 scratch, a5 column of B, a6 pitch of C, a7 columns of the tile.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.base import Kernel, Operand, add_immediate, loop, saved

AHEAD = 4
ACC = [f"v{4 * r}" for r in range(4)]
ROWS = [f"s{r}" for r in range(4)]


@dataclass(frozen=True)
class GemmTile(Kernel):
    """What the FP32 and INT8 products share; see the subclasses for the attributes' meaning."""

    n: int
    k: int
    bias: bool = False
    onto: bool = False

    def __post_init__(self) -> None:
        if self.bias and self.onto:
            raise DataError(f"{self.name}: sums begin with a bias or with sums", hint="Use one of the two")
        if self.n < 1 or self.k < 1:
            raise DataError(f"{self.name}: {self.k} x {self.n} weights", hint="Use sizes of 1 or more")

    @property
    def macs(self) -> int:
        """Multiply-accumulates per row."""
        return self.n * self.k

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a3"

    @property
    def operands(self) -> tuple[Operand, ...]:
        """See the class."""
        arrays = [
            Operand("a0", "a", self.in_dtype, (self.k,), per_row=True),
            Operand("a1", "b", self.in_dtype, (self.k, self.n)),
            Operand("a2", "c", self.out_dtype, (self.n,), per_row=True, output=True),
        ]
        if self.bias:
            arrays.append(Operand("a4", "bias", self.out_dtype, (self.n,)))
        if self.onto:
            arrays.append(Operand("a4", "onto", self.out_dtype, (self.n,), per_row=True))
        return tuple(arrays)

    @property
    @abstractmethod
    def in_dtype(self) -> str:
        """NumPy dtype of A and B."""

    @property
    @abstractmethod
    def out_dtype(self) -> str:
        """NumPy dtype of C, four bytes."""

    @property
    @abstractmethod
    def item(self) -> int:
        """Bytes of an element of A and B."""

    @abstractmethod
    def enter(self, a: Assembler) -> None:
        """Set vtype for the k steps; vl from t4."""

    @abstractmethod
    def load_row(self, a: Assembler, slot: int) -> None:
        """Load the row of B at t0 into ring slot ``slot``."""

    @abstractmethod
    def load_scalar(self, a: Assembler, row: int, offset: int) -> None:
        """Load the scalar of row ``row`` at ``offset`` elements from its pointer."""

    def prepare(self, a: Assembler, slot: int) -> None:
        """Anything to do with a ring slot a step before its use."""

    @abstractmethod
    def multiply(self, a: Assembler, row: int, slot: int) -> None:
        """The multiply-add of a row."""

    def activate(self, a: Assembler, row: int) -> None:
        """The activation of a finished row."""

    def setup(self, a: Assembler) -> None:
        """Constants for `activate`."""

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        self.setup(a)
        with saved(a, [f"s{i}" for i in range(10)]):
            a("li", "t1", self.item * self.n)
            a("li", "a6", 4 * self.n)
            for rows in (4, 1):
                self._groups(a, rows)

    def _groups(self, a: Assembler, rows: int) -> None:
        """All groups of ``rows`` rows and their columns; a0, a2 and a3 advance past them."""
        group, column, done = a.fresh("gemm_rows"), a.fresh("gemm_columns"), a.fresh("gemm_done")
        a("li", "t5", rows)
        a("blt", "a3", "t5", done)
        a.label(group)
        a("li", "t4", self.n)
        for to, origin in (("a5", "a1"), ("s9", "a2"), ("s8", "a4")):
            a("mv", to, origin)
        a.label(column)
        self._tile(a, rows)
        for register, size in (("a5", self.item), ("s9", 4), ("s8", 4)):
            a("slli", "t5", "a7", size.bit_length() - 1)
            a("add", register, register, "t5")
        a("sub", "t4", "t4", "a7")
        a("bgtz", "t4", column)
        add_immediate(a, "a0", rows * self.k * self.item, "t5")
        add_immediate(a, "a2", rows * 4 * self.n, "t5")
        if self.onto:
            add_immediate(a, "a4", rows * 4 * self.n, "t5")
        a("addi", "a3", "a3", -rows)
        a("li", "t5", rows)
        a("bge", "a3", "t5", group)
        a.label(done)

    def _tile(self, a: Assembler, rows: int) -> None:
        """One register tile; a7 = its columns."""
        a("vsetvli", "a7", "t4", "e32", "m4", "ta", "ma")
        if self.onto:
            a("mv", "t2", "s8")
        for row in range(rows):
            if self.onto:
                a("vle32.v", ACC[row], "(t2)")
                a("add", "t2", "t2", "a6")
            elif self.bias:
                a("vle32.v", ACC[row], "(s8)")
            else:
                a("vmv.v.i", ACC[row], 0)
            add_immediate(a, ROWS[row], row * self.k * self.item, "t5", source="a0")
        a("mv", "t0", "a5")
        self.enter(a)
        for step in range(min(AHEAD, self.k)):
            self._next_row(a, step)
        for row in range(rows):
            self.load_scalar(a, row, 0)
        self.prepare(a, 0)
        turns = max(0, (self.k - AHEAD) // AHEAD)
        if turns:
            a("li", "t3", turns)
            with loop(a, "t3", name="gemm_k"):
                for step in range(AHEAD):
                    self._step(a, rows, step, step, scalars=True, vectors=True)
                for row in range(rows):
                    a("addi", ROWS[row], ROWS[row], AHEAD * self.item)
        for step in range(turns * AHEAD, self.k):
            at = step - turns * AHEAD
            self._step(a, rows, step, at, step + 1 < self.k, step + AHEAD < self.k)
        a("vsetvli", "zero", "a7", "e32", "m4", "ta", "ma")
        a("mv", "t2", "s9")
        for row in range(rows):
            self.activate(a, row)
            a("vse32.v", ACC[row], "(t2)")
            a("add", "t2", "t2", "a6")

    def _next_row(self, a: Assembler, step: int) -> None:
        self.load_row(a, step % AHEAD)
        a("add", "t0", "t0", "t1")

    def _step(self, a: Assembler, rows: int, step: int, at: int, scalars: bool, vectors: bool) -> None:
        """Multiply-adds of a step, ``at`` elements from the row pointers, and the loads for later ones."""
        if scalars:
            self.prepare(a, (step + 1) % AHEAD)
        for row in range(rows):
            self.multiply(a, row, step % AHEAD)
            if scalars:
                self.load_scalar(a, row, at + 1)
        if vectors:
            self._next_row(a, step)
