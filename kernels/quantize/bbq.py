"""FP32 to Bell Box codes on the machine: rounding to 8 bits, Walsh-Hadamard transform in int16, threshold binning.

The transform has constant geometry: a stage reads pairs of neighbours as one 32-bit element, takes them apart with two
narrowing shifts, and puts sums into the lower half and differences into the upper. The index's low bit becomes its
high one, so after log2(chunk) stages every bit has been low once and the order is that of Sylvester's matrix again.
Blocks longer than a register group begin with butterflies of whole groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.isa.formats.bbq import BLOCKS, PEAK, BbqFormat, integer_codes, pack_planes
from potluck.kernels.base import Kernel, Operand, S, add_immediate, float_constant, loop, saved

GROUPS = ("v16", "v20", "v24", "v28")
"""Chunks of a block, int16, m4."""
SPARE, EVEN, ODD, LATE = "v12", "v4", "v6", "v8"
LIMITS = ("a3", "a4", "a5", "a6", "a7", "t3", "t4", "t5", "t6")
"""Registers that hold thresholds less 1; further ones are s registers."""
LEAST_VLEN = 128


@dataclass(frozen=True)
class QuantizeBbq(Kernel):
    """Codes of FP32 rows, see `potluck.isa.formats.bbq.integer_codes`.

    Registers: a0 x, FP32 [rows][K]; a1 codes, int8 [rows][K], or with ``planes`` uint8 [rows][bits][K / 8] as
    `potluck.isa.formats.bbq.pack_planes` makes them; a2 rows (may be 0). 48 bytes below sp are used.

    Attributes:
        k: Elements of a row, a multiple of the block.
        block: Of the transform: 8, 16, 32, 64 or 128.
        kind: Codes.
        rate: Steps of the 8-bit rounding per unit of x, an FP32 value.
        thresholds: 2^bits - 1 integers, ascending.
        planes: Write bit planes (1 and 2 bits).
        vlen: Vector register bits; 0: code that any machine of 128 bits or more runs.
    """

    k: int
    block: int
    kind: BbqFormat
    rate: float
    thresholds: tuple[int, ...]
    planes: bool = False
    vlen: int = 0

    def __post_init__(self) -> None:
        if self.block not in BLOCKS or self.k < 1 or self.k % self.block:
            raise DataError(
                f"{self.name}: rows of {self.k} elements in blocks of {self.block}",
                hint=f"Use blocks of {', '.join(map(str, sorted(BLOCKS)))} that divide the row",
            )
        if len(self.thresholds) != self.kind.levels - 1 or (self.planes and self.kind.bits > 2):
            raise DataError(
                f"{self.name}: {len(self.thresholds)} thresholds of {self.kind.bits}-bit codes, planes={self.planes}",
                hint="Give 2^bits - 1; planes are for 1 and 2 bits",
            )
        if any(not -(2**15) < t < 2**15 for t in self.thresholds):
            raise DataError(f"{self.name}: a threshold is beyond int16", hint="Clip it to 127 block + 1")

    @property
    def chunk(self) -> int:
        """Elements that one group of registers transforms."""
        return min(self.block, (self.vlen or LEAST_VLEN) // 4)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row's codes."""
        return self.kind.bits * self.k // 8 if self.planes else self.k

    @property
    def operands(self) -> tuple[Operand, ...]:
        """See the class."""
        kind, shape = ("uint8", (self.kind.bits, self.k // 8)) if self.planes else ("int8", (self.k,))
        return (
            Operand("a0", "x", "float32", (self.k,), per_row=True),
            Operand("a1", "codes", kind, shape, per_row=True, output=True),
        )

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a2"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        done = a.fresh("bbq_quantized")
        extra = S[: max(0, len(self.thresholds) - len(LIMITS))]
        a("beqz", "a2", done)
        with saved(a, extra):
            for register, value in (("fa0", self.rate), ("fa1", -PEAK), ("fa2", PEAK)):
                float_constant(a, register, value)
            limits = (*LIMITS, *extra)[: len(self.thresholds)]
            for register, threshold in zip(limits, self.thresholds, strict=True):
                a("li", register, threshold - 1)
            a("li", "t0", self.chunk)
            a("li", "t1", self.chunk // 2)
            with self._blocks(a):
                groups = self._rounded(a)
                groups = self._butterflies(a, groups)
                for group in groups:
                    self._transform(a, group)
                a("vsetvli", "zero", "t0", "e16", "m4", "ta", "ma")
                for index, group in enumerate(groups):
                    if self.planes:
                        self._store_planes(a, group, limits)
                    else:
                        self._store_bytes(a, group, limits, index + 1 < len(groups))
        a.label(done)

    @contextmanager
    def _blocks(self, a: Assembler) -> Iterator[None]:
        """All blocks; the planes of a row are apart, so rows have a loop of their own there."""
        count = self.k // self.block
        if not self.planes or self.kind.bits == 1:
            a("li", "t2", count)
            a("mul", "a2", "a2", "t2")
            with loop(a, "a2", name="bbq_block"):
                yield
            return
        with loop(a, "a2", name="bbq_row"):
            a("li", "t2", count)
            with loop(a, "t2", name="bbq_block"):
                yield
            add_immediate(a, "a1", self.k // 8)

    def _rounded(self, a: Assembler) -> list[str]:
        """Activations as int16, one group of registers for each chunk."""
        groups = list(GROUPS[: self.block // self.chunk])
        for group in groups:
            a("vsetvli", "zero", "t0", "e32", "m8", "ta", "ma")
            a("vle32.v", "v8", "(a0)")
            a("addi", "a0", "a0", 4 * self.chunk)
            a("vfmul.vf", "v8", "v8", "fa0")
            a("vfmax.vf", "v8", "v8", "fa1")
            a("vfmin.vf", "v8", "v8", "fa2")
            a("vsetvli", "zero", "t0", "e16", "m4", "ta", "ma")
            a("vfncvt.x.f.w", group, "v8")
        return groups

    def _butterflies(self, a: Assembler, groups: list[str]) -> list[str]:
        """Stages between chunks; a sum goes to the spare group, its first operand's becomes spare."""
        spare, stride = SPARE, 1
        while stride < len(groups):
            for low in range(len(groups)):
                if not low & stride:
                    one, other = groups[low], groups[low + stride]
                    a("vadd.vv", spare, one, other)
                    a("vsub.vv", other, one, other)
                    groups[low], spare = spare, one
            stride *= 2
        return groups

    def _transform(self, a: Assembler, group: str) -> None:
        """Stages within a chunk, in place."""
        exact = self.vlen and self.chunk == self.vlen // 4
        upper = f"v{int(group[1:]) + 2}"
        for stage in range(self.chunk.bit_length() - 1):
            if not exact or not stage:
                a("vsetvli", "zero", "t1", "e16", "m2", "ta", "ma")
            a("vnsrl.wi", EVEN, group, 0)
            a("vnsrl.wi", ODD, group, 16)
            a("vadd.vv", group, EVEN, ODD)
            a("vsub.vv", upper if exact else LATE, EVEN, ODD)
            if not exact:
                a("vsetvli", "zero", "t0", "e16", "m4", "ta", "ma")
                a("vslideup.vx", group, LATE, "t1")

    def _store_bytes(self, a: Assembler, group: str, limits: tuple[str, ...], more: bool) -> None:
        a("vmv.v.i", "v4", self.kind.lowest)
        for limit in limits:
            a("vmsgt.vx", "v0", group, limit)
            a("vadd.vi", "v4", "v4", self.kind.multiple, "v0.t")
        a("vsetvli", "zero", "t0", "e8", "m2", "ta", "ma")
        a("vnsrl.wi", "v8", "v4", 0)
        a("vse8.v", "v8", "(a1)")
        a("addi", "a1", "a1", self.chunk)
        if more:
            a("vsetvli", "zero", "t0", "e16", "m4", "ta", "ma")

    def _store_planes(self, a: Assembler, group: str, limits: tuple[str, ...]) -> None:
        """k's high bit is the middle threshold, its low bit the parity of all three."""
        middle = limits[len(limits) // 2]
        a("vmsgt.vx", "v1", group, middle)
        a("vsm.v", "v1", "(a1)")
        if self.kind.bits == 2:
            a("vmsgt.vx", "v2", group, limits[0])
            a("vmsgt.vx", "v3", group, limits[2])
            a("vmxor.mm", "v2", "v2", "v1")
            a("vmxor.mm", "v2", "v2", "v3")
            add_immediate(a, "a7", self.k // 8, source="a1")
            a("vsm.v", "v2", "(a7)")
        a("addi", "a1", "a1", self.chunk // 8)

    def contract(self, x: NDArray[np.float32]) -> NDArray[np.generic]:
        """Codes of x [rows, K], bit for bit."""
        codes = integer_codes(x, self.rate, self.thresholds, self.kind, self.block)
        return pack_planes(codes, self.kind) if self.planes else codes
