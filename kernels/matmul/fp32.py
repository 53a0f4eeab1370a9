"""FP32 matrix product by ``vfmacc.vf``: the unquantized layers, and the machine's FP32 speed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from potluck.isa.assembly.assembler import Assembler
from potluck.kernels import fp32math
from potluck.kernels.base import float_constant
from potluck.kernels.fp32math import F32
from potluck.kernels.matmul.outer_product import ACC, GemmTile

_RING = [f"v{16 + 4 * slot}" for slot in range(4)]
_SCALARS = [f"ft{row}" for row in range(4)]
_BOUNDS = ("ft8", "ft9")


@dataclass(frozen=True)
class GemmFp32(GemmTile):
    """C[m, n] = clip(bias[n] + sum over k of A[m, k] B[k, n]), fused multiply-adds in ascending k.

    Registers: a0 A, FP32 [rows][K]; a1 B, FP32 [K][N]; a2 C, FP32 [rows][N]; a3 rows (may be 0); a4 bias, FP32
    [N] (if ``bias``), or the sums so far, FP32 [rows][N] (if ``onto``; may be C). 80 bytes below sp are used.

    Attributes:
        n: Columns.
        k: Contraction length.
        bias: Start from the bias instead of +0.
        onto: Start from what products of smaller k added up to.
        low: Lower bound of the fused activation (0.0: ReLU), None: none.
        high: Upper bound, None: none.
    """

    low: float | None = None
    high: float | None = None

    @property
    def in_dtype(self) -> str:
        """float32."""
        return "float32"

    @property
    def out_dtype(self) -> str:
        """float32."""
        return "float32"

    @property
    def item(self) -> int:
        """Four bytes."""
        return 4

    def setup(self, a: Assembler) -> None:
        """Bounds of the activation."""
        for register, bound in zip(_BOUNDS, (self.low, self.high), strict=True):
            if bound is not None:
                float_constant(a, register, bound)

    def enter(self, a: Assembler) -> None:
        """The accumulators' vtype serves the k steps as well."""

    def load_row(self, a: Assembler, slot: int) -> None:
        """64 columns of B."""
        a("vle32.v", _RING[slot], "(t0)")

    def load_scalar(self, a: Assembler, row: int, offset: int) -> None:
        """An element of A."""
        a("flw", _SCALARS[row], f"{4 * offset}(s{row})")

    def multiply(self, a: Assembler, row: int, slot: int) -> None:
        """acc += a * b."""
        a("vfmacc.vf", ACC[row], _SCALARS[row], _RING[slot])

    def activate(self, a: Assembler, row: int) -> None:
        """Clip."""
        if self.low is not None:
            a("vfmax.vf", ACC[row], ACC[row], _BOUNDS[0])
        if self.high is not None:
            a("vfmin.vf", ACC[row], ACC[row], _BOUNDS[1])

    def contract(self, a: F32, b: F32, bias: F32 | None = None, onto: F32 | None = None) -> F32:
        """C bit for bit: float32 [rows, N] from A [rows, K], B [K, N] and the bias [N] or the sums so far [rows, N]."""
        acc: F32 = np.zeros((len(a), self.n), np.float32)
        for start in (bias, onto):
            if start is not None:
                acc[:] = start
        for k in range(self.k):
            acc = fp32math.fma(a[:, k, None], b[None, k], acc)
        if self.low is not None:
            acc = fp32math.maximum(acc, np.float32(self.low))
        if self.high is not None:
            acc = fp32math.minimum(acc, np.float32(self.high))
        return acc
