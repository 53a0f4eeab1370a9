"""MX matrix product on VMXDOTP: C = A B (+ bias), block-scaled operands, FP32 or BF16 accumulators.

The shape of the VMXDOTP paper's kernel (facts vmxdotp 3.2): an outer product of up to 8 rows and one vector
of columns per register tile; a k step is one 64-bit chunk, 8 FP8 or 16 FP4 elements. `potluck.kernels
.matmul_tiles` emits the schedule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.arithmetic.mxdot import mxdot
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import pack, unpack
from potluck.kernels import fp32math
from potluck.kernels.base import (
    BITS,
    CHUNK,
    Accumulator,
    Element,
    Kernel,
    Operand,
    float_constant,
    saved,
    set_format,
)
from potluck.kernels.matmul.mx_tiles import BOUNDS, Problem, Tiles

U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class MatmulMx(Kernel):
    """C[m, n] = clip(bias[n] + sum over k of A[m, k] B[k, n]), one rounding per chunk of k, ascending.

    Registers: a0 A, a1 A scales, a2 B, a3 B scales, a4 C, a5 rows (may be 0), a6 bias (if ``bias``). Arrays,
    with KB = ceil(K / chunk) * 8 bytes of a packed row (codes beyond K are 0) and S = ceil(K / block):

    * A: uint8 [rows][KB], 8-byte aligned; A scales: E8M0 [rows][S].
    * B: uint8 [N][KB] (column-major, K contiguous), 8-byte aligned; or with ``packed`` uint8 [KB / 8][N][8],
      read with unit stride. B scales: E8M0 [S][N].
    * C: FP32 or BF16 [rows][N], rows ``c_pitch`` bytes apart. Bias: [N] in C's format.

    Clobbers what `potluck.kernels.base` allows; 96 bytes below sp are used.

    Attributes:
        n: Columns.
        k: Contraction length.
        element: Element format of A and B.
        accumulator: Format of the accumulators and of C.
        block: Elements per scale, a multiple of the chunk (8 for FP8, 16 for FP4).
        packed: B's layout, see above.
        bias: Accumulators start from the bias instead of +0.
        low: Lower bound of the fused activation, None: none. With BF16 accumulators only 0.
        high: Upper bound, None: none. With BF16 accumulators not negative.
        groups: Sizes of row groups, descending powers of two; rows are split greedily. Without a 1 the
            number of rows must be a multiple of the last size.
        c_pitch: Bytes between rows of C, 0: dense.
        vlen: Vector register bits of the machine.
    """

    n: int
    k: int
    element: Element = "e4m3"
    accumulator: Accumulator = "fp32"
    block: int = 32
    packed: bool = False
    bias: bool = False
    low: float | None = None
    high: float | None = None
    groups: tuple[int, ...] = (8, 4, 2, 1)
    c_pitch: int = 0
    vlen: int = 512

    def __post_init__(self) -> None:
        if self.block % self.chunk or self.block // self.chunk > 32 or self.block < 1:
            raise DataError(
                f"{self.name}: block of {self.block} {self.element} elements",
                hint=f"Use a multiple of {self.chunk}, at most {32 * self.chunk}",
            )
        if self.n < 1 or self.k < 1:
            raise DataError(f"{self.name}: {self.k} x {self.n} weights", hint="Use sizes of 1 or more")
        if self.accumulator == "bf16" and (self.low not in (None, 0.0) or (self.high or 0.0) < 0):
            raise DataError(
                f"{self.name}: bounds {self.low}, {self.high} with BF16 accumulators",
                hint="BF16 results are clipped as integers: use low=0 and a high that is not negative",
            )

    @property
    def chunk(self) -> int:
        """Elements per k step."""
        return CHUNK[self.element]

    @property
    def steps(self) -> int:
        """Chunks of K."""
        return -(-self.k // self.chunk)

    @property
    def blocks(self) -> int:
        """Scales of a row."""
        return -(-self.k // self.block)

    @property
    def macs(self) -> int:
        """Multiply-accumulates per row."""
        return self.n * self.k

    @property
    def out_dtype(self) -> str:
        """NumPy dtype of C: float32, or BF16 bits as uint16."""
        return "float32" if self.accumulator == "fp32" else "uint16"

    @property
    def operands(self) -> tuple[Operand, ...]:
        """See the class."""
        shape_b = (self.steps, self.n, 8) if self.packed else (self.n, 8 * self.steps)
        arrays = [
            Operand("a0", "a", "uint8", (8 * self.steps,), per_row=True),
            Operand("a1", "a_scales", "uint8", (self.blocks,), per_row=True),
            Operand("a2", "b", "uint8", shape_b),
            Operand("a3", "b_scales", "uint8", (self.blocks, self.n)),
            Operand("a4", "c", self.out_dtype, (self.n,), per_row=True, output=True),
        ]
        if self.bias:
            arrays.append(Operand("a6", "bias", self.out_dtype, (self.n,)))
        return tuple(arrays)

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a5"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        item = 4 if self.accumulator == "fp32" else 2
        problem = Problem(
            n=self.n,
            steps=self.steps,
            chunks=self.block // self.chunk,
            wide=item == 4,
            packed=self.packed,
            bias=self.bias,
            low=self.low,
            high=self.high,
            c_pitch=self.c_pitch or self.n * item,
            vlen=self.vlen,
        )
        set_format(a, self.element, self.accumulator)
        for register, bound in zip(BOUNDS, (self.low, self.high), strict=True):
            if bound is not None:
                float_constant(a, register, bound)
        with saved(a, [f"s{i}" for i in range(12)]):
            for rows in self.groups:
                Tiles(a, problem, rows).emit()

    def pack_a(self, codes: U8) -> U8:
        """Element codes [rows, K] as the bytes of operand A."""
        padding = [(0, 0), (0, self.steps * self.chunk - codes.shape[-1])]
        return pack(np.pad(codes, padding), BITS[self.element])

    def pack_b(self, codes: U8) -> U8:
        """Element codes [K, N] as the bytes of operand B."""
        rows = self.pack_a(np.ascontiguousarray(codes.T))
        if not self.packed:
            return rows
        return np.ascontiguousarray(rows.reshape(self.n, self.steps, 8).transpose(1, 0, 2))

    def contract(
        self, a: U8, a_scales: U8, b: U8, b_scales: U8, bias: NDArray[np.generic] | None = None
    ) -> NDArray[np.generic]:
        """C bit for bit: float32 [rows, N], or BF16 bits as uint16.

        Args:
            a: uint8 [rows, KB].
            a_scales: uint8 [rows, S].
            b: uint8 [N, KB], or [KB / 8, N, 8] with ``packed``.
            b_scales: uint8 [S, N].
            bias: [N] in C's format.
        """
        rows = len(a)
        columns = b.transpose(1, 0, 2).reshape(self.n, -1) if self.packed else b
        count = self.steps * self.chunk
        codes_a = unpack(a, BITS[self.element], count).reshape(rows, self.steps, self.chunk)
        codes_b = unpack(columns, BITS[self.element], count).reshape(self.n, self.steps, self.chunk)
        bits_type = np.uint32 if self.accumulator == "fp32" else np.uint16
        acc = np.zeros((rows, self.n), bits_type)
        if bias is not None:
            acc[:] = bias.view(bits_type)
        for step in range(self.steps):
            at = step * self.chunk // self.block
            acc, _ = mxdot(
                acc,
                codes_a[:, None, step],
                codes_b[None, :, step],
                a_scales[:, at, None],
                b_scales[None, at],
                self.element,
                self.accumulator,
            )
        return self._clip(acc)

    def _clip(self, acc: NDArray[np.generic]) -> NDArray[np.generic]:
        if self.accumulator == "bf16":
            signed = acc.view(np.int16)
            if self.low is not None:
                signed = np.maximum(signed, np.int16(0))
            if self.high is not None:
                signed = np.minimum(signed, (np.float32(self.high).view(np.int32) >> 16).astype(np.int16))
            return signed.view(np.uint16)
        result: NDArray[np.float32] = acc.view(np.float32)
        if self.low is not None:
            result = fp32math.maximum(result, np.float32(self.low))
        if self.high is not None:
            result = fp32math.minimum(result, np.float32(self.high))
        return result
