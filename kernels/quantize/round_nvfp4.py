"""FP32 to the values of NVFP4, as FP32: activations of products that are emulated.

One block at a time, on base V. The largest encoding of |x| gives m; the scale E4M3(m / (6 T)) is rounded by adding and
subtracting 1.5 * 2^23 units of the last place, as are the elements E2M1(x / (scale T)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.isa.formats.elements import E2M1, E4M3
from potluck.kernels import fp32math
from potluck.kernels.base import Kernel, Operand, float_constant
from potluck.kernels.fp32math import F32

_INFINITY = 0x7F800000
_MAGIC = 1.5 * 2**23
TOP6, MAGIC, LEAST, MOST, TENSOR, LIMIT, BOTTOM, NAN, HUGE, ONE = (
    *(f"fa{i}" for i in range(8)),
    "fs0",
    "fs1",
)
"""6 T, unit of E4M3, its least normal and largest number, T, E2M1's limits, NaN, infinity, E2M1's least normal."""
UNIT, ZERO = "fs2", "fs3"


@dataclass(frozen=True)
class RoundNvfp4(Kernel):
    """out = the NVFP4 values of FP32 rows; blocks run along the row, the last one may be ragged.

    A block that holds a NaN becomes NaN.

    Registers: a0 x, a1 out (may be x), FP32 [rows][K]; a2 rows (may be 0). Clobbers a0-a3, a6, a7, t0-t6, ft0-ft5, fa*,
    fs0-fs3, v0-v31, vtype and vl.

    Attributes:
        k: Elements of a row.
        factor: T, the scale of the tensor.
        block: Elements per scale, at most 32, which is VLMAX at VLEN 128.
    """

    k: int
    factor: float
    block: int = 16

    def __post_init__(self) -> None:
        if not 0 < self.block <= 32 or self.k < 1 or not 0 < self.factor < np.inf:
            raise DataError(
                f"{self.name}: rows of {self.k} elements, blocks of {self.block}, scale {self.factor}",
                hint="Use rows of 1 or more elements, blocks of at most 32 and a positive scale",
            )

    @property
    def operands(self) -> tuple[Operand, ...]:
        """See the class."""
        return (
            Operand("a0", "x", "float32", (self.k,), per_row=True),
            Operand("a1", "out", "float32", (self.k,), per_row=True, output=True),
        )

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a2"

    @property
    def _six(self) -> np.float32:
        return np.float32(E2M1.max_normal) * np.float32(self.factor)

    def _constants(self, a: Assembler) -> None:
        a("li", "a6", _INFINITY)
        a("li", "a7", 0x7FFFFFFF)
        values = {
            TOP6: float(self._six),
            MAGIC: _MAGIC / 2**E4M3.mantissa_bits,
            LEAST: E4M3.min_normal,
            MOST: E4M3.max_normal,
            TENSOR: self.factor,
            LIMIT: E2M1.max_normal,
            BOTTOM: -E2M1.max_normal,
            NAN: float("nan"),
            HUGE: float("inf"),
            ONE: E2M1.min_normal,
            UNIT: _MAGIC / 2**E2M1.mantissa_bits,
            ZERO: 0.0,
        }
        for register, value in values.items():
            float_constant(a, register, value)

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        row, block, whole, onward, special, done = (
            a.fresh(f"nvfp4_{name}") for name in ("row", "block", "whole", "onward", "special", "done")
        )
        a.comment(f"round to NVFP4, blocks of {self.block}")
        a("blez", "a2", done)
        self._constants(a)
        a.label(row)
        a("li", "a3", self.k)
        a.label(block)
        a("li", "t0", self.block)
        a("bge", "a3", "t0", whole)
        a("mv", "t0", "a3")
        a.label(whole)
        a("vsetvli", "zero", "t0", "e32", "m8", "ta", "ma")
        a("vle32.v", "v0", "(a0)")
        self._scale(a, special)
        a("vfdiv.vf", "v8", "v0", "ft1")
        a("vfmin.vf", "v8", "v8", LIMIT)
        a("vfmax.vf", "v8", "v8", BOTTOM)
        a("vand.vx", "v16", "v8", "a6")
        a("vfmax.vf", "v16", "v16", ONE)
        a("vfmul.vf", "v16", "v16", UNIT)
        a("vfadd.vv", "v8", "v8", "v16")
        a("vfsub.vv", "v8", "v8", "v16")
        a("vfsgnj.vv", "v8", "v8", "v0")
        a("vfmul.vf", "v8", "v8", "ft2")
        a.label(onward)
        a("vse32.v", "v8", "(a1)")
        a("slli", "t1", "t0", 2)
        a("add", "a0", "a0", "t1")
        a("add", "a1", "a1", "t1")
        a("sub", "a3", "a3", "t0")
        a("bnez", "a3", block)
        a("addi", "a2", "a2", -1)
        a("bnez", "a2", row)
        a("j", done)
        a.label(special)
        a("vfmv.v.f", "v8", NAN)
        a("j", onward)
        a.label(done)

    def _scale(self, a: Assembler, special: str) -> None:
        """ft2 = scale T of the block in v0, ft1 = the same or, if it is 0, infinity; with a NaN, go to ``special``."""
        positive = a.fresh("nvfp4_positive")
        a("vand.vx", "v8", "v0", "a7")
        a("vmv.s.x", "v24", "zero")
        a("vredmaxu.vs", "v24", "v8", "v24")
        a("vmv.x.s", "t4", "v24")
        a("bgtu", "t4", "a6", special)
        a("fmv.w.x", "ft0", "t4")
        a("fdiv.s", "ft0", "ft0", TOP6)
        a("fmin.s", "ft0", "ft0", MOST)
        a("fmv.x.w", "t4", "ft0")
        a("and", "t4", "t4", "a6")
        a("fmv.w.x", "ft3", "t4")
        a("fmax.s", "ft3", "ft3", LEAST)
        a("fmul.s", "ft3", "ft3", MAGIC)
        a("fadd.s", "ft0", "ft0", "ft3")
        a("fsub.s", "ft0", "ft0", "ft3")
        a("fmul.s", "ft2", "ft0", TENSOR)
        a("fmv.s", "ft1", "ft2")
        a("feq.s", "t4", "ft2", ZERO)
        a("beqz", "t4", positive)
        a("fmv.s", "ft1", HUGE)
        a.label(positive)

    def contract(self, x: F32) -> F32:
        """The output bit for bit; float32 [rows, K]."""
        rows = np.asarray(x, np.float32)
        padded = np.pad(rows, [(0, 0), (0, -self.k % self.block)])
        blocks = padded.reshape(len(rows), -1, self.block)
        with np.errstate(all="ignore"):
            largest = np.abs(blocks).max(-1)
            scales = E4M3.decode(E4M3.encode(largest / self._six))
            steps = np.asarray(scales * np.float32(self.factor), np.float32)
            divided = blocks / np.where(steps == 0, np.float32(np.inf), steps)[..., None]
            values = E2M1.decode(E2M1.encode(divided)) * steps[..., None]
        # E2M1 has no NaN, but a block with one has a scale of NaN.
        values = np.where(np.isnan(largest)[..., None], np.float32(np.nan), values)
        return fp32math.canonical(np.asarray(values.reshape(len(rows), -1)[:, : self.k], np.float32))
