"""Sylvester's Hadamard matrix times blocks of FP32 values, by additions.

The transform has constant geometry, as in `potluck.kernels.quantize.bbq`: a stage reads neighbours as one 64-bit
element, takes them apart with two narrowing shifts, and puts sums into the lower half and differences into the upper.
The index's low bit becomes its high one, so after log2(block) stages the order is that of the matrix again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels import fp32math
from potluck.kernels.base import Kernel, Operand, loop

F32 = NDArray[np.float32]
VALUES, EVEN, ODD, LATE = "v8", "v16", "v20", "v24"
LEAST_VLEN = 128
MOST_GROUP = 8
"""Registers of a group."""


@dataclass(frozen=True)
class Hadamard(Kernel):
    """out[r] = H x[r].

    Registers: a0 x, FP32 [rows][block]; a1 out, FP32 [rows][block], which may be x; a2 rows (may be 0).

    Attributes:
        block: Size of the matrix, a power of two from 4 on that a group of eight registers holds.
        vlen: Vector register bits; 0: code that any machine of 128 bits or more runs.
    """

    block: int
    vlen: int = 0

    def __post_init__(self) -> None:
        most = MOST_GROUP * (self.vlen or LEAST_VLEN) // 32
        if self.block < 4 or self.block & (self.block - 1) or self.block > most:
            known = f"of {self.vlen} bits" if self.vlen else "of any length"
            raise DataError(
                f"{self.name}: blocks of {self.block} on vectors {known}",
                hint=f"Use a power of two from 4 to {most}",
            )

    @property
    def operands(self) -> tuple[Operand, ...]:
        """See the class."""
        return (
            Operand("a0", "x", "float32", (self.block,), per_row=True),
            Operand("a1", "out", "float32", (self.block,), per_row=True, output=True),
        )

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a2"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        done = a.fresh("hadamard")
        registers = max(1, 32 * self.block // (self.vlen or LEAST_VLEN))
        whole, half = f"m{registers}", f"m{registers // 2}" if registers > 1 else "mf2"
        # Where a block fills its registers, its upper half is registers of its own.
        exact = bool(self.vlen) and registers > 1
        upper = f"v{int(VALUES[1:]) + registers // 2}"
        a.comment(f"Hadamard transform of blocks of {self.block}")
        a("beqz", "a2", done)
        a("li", "t0", self.block)
        a("li", "t1", self.block // 2)
        a("li", "t2", 32)
        with loop(a, "a2", name="hadamard_block"):
            a("vsetvli", "zero", "t0", "e32", whole, "ta", "ma")
            a("vle32.v", VALUES, "(a0)")
            a("addi", "a0", "a0", 4 * self.block)
            for stage in range(self.block.bit_length() - 1):
                if not exact or not stage:
                    a("vsetvli", "zero", "t1", "e32", half, "ta", "ma")
                a("vnsrl.wi", EVEN, VALUES, 0)
                a("vnsrl.wx", ODD, VALUES, "t2")
                a("vfadd.vv", VALUES, EVEN, ODD)
                a("vfsub.vv", upper if exact else LATE, EVEN, ODD)
                if not exact:
                    a("vsetvli", "zero", "t0", "e32", whole, "ta", "ma")
                    a("vslideup.vx", VALUES, LATE, "t1")
            if exact:
                a("vsetvli", "zero", "t0", "e32", whole, "ta", "ma")
            a("vse32.v", VALUES, "(a1)")
            a("addi", "a1", "a1", 4 * self.block)
        a.label(done)

    def contract(self, x: F32) -> F32:
        """The output bit for bit: float32 [rows, block] from the same."""
        stride, values = 1, np.asarray(x, np.float32).reshape(-1, self.block)
        while stride < self.block:
            pairs = values.reshape(len(values), -1, 2, stride)
            low, high = pairs[:, :, 0], pairs[:, :, 1]
            values = np.stack([fp32math.add(low, high), fp32math.sub(low, high)], axis=2).reshape(len(x), -1)
            stride *= 2
        return values
