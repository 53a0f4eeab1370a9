"""INT8 matrix product into INT32 with the base vector ISA: ``vwmacc.vx`` on sign-extended bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.kernels.matmul.outer_product import ACC, AHEAD, GemmTile

_BYTES = [f"v{16 + slot}" for slot in range(AHEAD)]
_HALVES = ["v20", "v22"]
_SCALARS = [f"s{4 + row}" for row in range(4)]


@dataclass(frozen=True)
class GemmInt8(GemmTile):
    """C[m, n] = bias[n] + sum over k of A[m, k] B[k, n], modulo 2^32.

    Registers: a0 A, int8 [rows][K]; a1 B, int8 [K][N]; a2 C, int32 [rows][N]; a3 rows (may be 0); a4 bias, int32
    [N] (if ``bias``). 80 bytes below sp are used.

    Attributes:
        n: Columns.
        k: Contraction length.
        bias: Start from the bias instead of 0.
    """

    @property
    def in_dtype(self) -> str:
        """int8."""
        return "int8"

    @property
    def out_dtype(self) -> str:
        """int32."""
        return "int32"

    @property
    def item(self) -> int:
        """One byte."""
        return 1

    def enter(self, a: Assembler) -> None:
        """SEW of the widening multiply-add's sources; the accumulators are e32, m4."""
        a("vsetvli", "zero", "a7", "e16", "m2", "ta", "ma")

    def load_row(self, a: Assembler, slot: int) -> None:
        """64 columns of B."""
        a("vle8.v", _BYTES[slot], "(t0)")

    def load_scalar(self, a: Assembler, row: int, offset: int) -> None:
        """An element of A."""
        a("lb", _SCALARS[row], f"{offset}(s{row})")

    def prepare(self, a: Assembler, slot: int) -> None:
        """Bytes to halves, a step before their use."""
        a("vsext.vf2", _HALVES[slot % 2], _BYTES[slot])

    def multiply(self, a: Assembler, row: int, slot: int) -> None:
        """acc += a * b."""
        a("vwmacc.vx", ACC[row], _SCALARS[row], _HALVES[slot % 2])

    def contract(
        self, a: NDArray[np.int8], b: NDArray[np.int8], bias: NDArray[np.int32] | None = None
    ) -> NDArray[np.int32]:
        """C bit for bit: int32 [rows, N] from A [rows, K], B [K, N] and the bias [N]."""
        product: NDArray[np.int32] = a.astype(np.int32) @ b.astype(np.int32)
        return product if bias is None else product + bias
