"""Softmax over the last axis in FP32, with a vector exponential.

**exp(z)** for z <= 0: n = round(z * log2 e) by adding 1.5 * 2^23, f = z - n * ln 2 in two fused steps (ln 2
split so that n * high is exact for |n| < 2^11), |f| <= 0.3466; a polynomial of degree 6 (minimax for the
relative error, 3e-9); 2^n by converting the float (n + 127) * 2^23 to the integer whose bits are 2^n, which
keeps the work on the floating-point units: the vector unit's integer path is 4 to 16 times slower. All steps
are fused multiply-adds. Error below `EXP_ULP` units in the last place down to z = -87.33; from -87.68 on the
result is +0 (n < -126).

**Row**: m = max (NaN ignored), e = exp(x - m), s = sum e, r = 1 / s, out = e * r. The sum is formed in 16
partial sums (element i goes to sum i mod 16, ascending) that are added 8 + 8, 4 + 4, 2 + 2, 1 + 1, so it
depends on no machine parameter. A NaN anywhere, +inf, or a row of -inf alone gives a row of NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from potluck.isa.assembly.assembler import Assembler
from potluck.kernels import fp32math
from potluck.kernels.base import Kernel, even_strip
from potluck.kernels.emission import advance, float_constant
from potluck.kernels.fp32math import F32

EXP_ULP = 1.0
"""Bound of exp's error in ulp of the result, z in [-87.33, 0]; 0.86 measured on every 23rd float there."""

LANES = 16
TOGETHER = 4
STRIP = 64
"""Elements of a register group of 512-bit registers."""
POINTERS = ("t2", "t3", "t5", "t6")
CLAMP = -200.0  # keeps n small; anything below -87.68 gives 0
LOG2E = float.fromhex("0x1.715476p+0")
MAGIC = 12582912.0  # 1.5 * 2^23
LN2_HIGH = float.fromhex("0x1.62e4p-1")
LN2_LOW = float.fromhex("0x1.7f7d1cp-20")
POLYNOMIAL = (  # descending powers of f, ending in 1 + f
    float.fromhex("0x1.6a243cp-10"), float.fromhex("0x1.1239ep-7"), float.fromhex("0x1.5558f2p-5"),
    float.fromhex("0x1.555492p-3"), float.fromhex("0x1.fffffcp-2"), 1.0, 1.0,
)  # fmt: skip
EXPONENT = 8388608.0  # 2^23
BIAS = 127 * EXPONENT

_CONSTANTS = {
    "ft1": CLAMP, "ft2": LOG2E, "ft3": MAGIC, "ft4": -LN2_HIGH, "ft5": -LN2_LOW, "ft6": EXPONENT, "ft7": BIAS,
    "ft8": 0.0, **{f"fa{i}": value for i, value in enumerate(POLYNOMIAL)},
}  # fmt: skip


def emit_exp(a: Assembler, rest: list[tuple[str, ...]]) -> None:
    """Append to ``rest`` the instructions that turn z in v0 (m4) into exp(z) in v8; ``emit_constants`` came
    before.

    Clobbers v0-v27. NaN stays NaN: converting z <= 0 to unsigned gives 0, for NaN all ones, which added as
    bits of a float is +0 or NaN.
    """
    rest += [
        ("vfcvt.xu.f.v", "v24", "v0"),
        ("vfmax.vf", "v0", "v0", "ft1"),
        ("vfmv.v.f", "v4", "ft3"),
        ("vfmacc.vf", "v4", "ft2", "v0"),
        ("vfmv.v.f", "v8", "fa0"),
        ("vfsub.vf", "v4", "v4", "ft3"),  # n
        ("vfmv.v.f", "v12", "fa1"),
        ("vfmacc.vf", "v0", "ft4", "v4"),
        ("vfmv.v.f", "v20", "ft7"),
        ("vfmacc.vf", "v0", "ft5", "v4"),  # f
        ("vfmacc.vf", "v20", "ft6", "v4"),  # (n + 127) * 2^23
        ("vfmax.vf", "v20", "v20", "ft8"),
        ("vfcvt.x.f.v", "v20", "v20"),
    ]
    groups = ("v8", "v12", "v16")
    for i in range(1, len(POLYNOMIAL)):
        previous, current = groups[(i - 1) % 3], groups[i % 3]
        rest.append(("vfmacc.vv", current, previous, "v0"))
        if i + 1 < len(POLYNOMIAL):
            rest.insert(-1, ("vfmv.v.f", groups[(i + 1) % 3], f"fa{i + 1}"))
    last = groups[(len(POLYNOMIAL) - 1) % 3]
    rest += [("vfmul.vv", "v8", last, "v20"), ("vfadd.vv", "v8", "v8", "v24")]


def emit_constants(a: Assembler) -> None:
    """Load the constants of `emit_exp`: ft1-ft8, fa0-fa6."""
    for register, value in _CONSTANTS.items():
        float_constant(a, register, value)


def exp(z: F32) -> F32:
    """The vector exponential bit for bit; float32 z <= 0 or NaN."""
    nan = np.where(np.isnan(z), fp32math.CANONICAL_NAN, np.float32(0))
    clamped = fp32math.maximum(z, np.float32(CLAMP))
    n = fp32math.sub(fp32math.fma(clamped, LOG2E, MAGIC), MAGIC)
    f = fp32math.fma(n, -LN2_LOW, fp32math.fma(n, -LN2_HIGH, clamped))
    p: F32 = np.broadcast_to(np.float32(POLYNOMIAL[0]), f.shape)
    for coefficient in POLYNOMIAL[1:]:
        p = fp32math.fma(p, f, coefficient)
    bits = fp32math.maximum(fp32math.fma(n, EXPONENT, BIAS), np.float32(0)).astype(np.int32)
    return fp32math.add(fp32math.mul(p, bits.view(np.float32)), nan)


@dataclass(frozen=True)
class Softmax(Kernel):
    """Softmax of every row of a matrix, four rows at a time, so that none waits for its maximum or sum.

    Registers: a0 x, a1 out (may be x), FP32 [rows][columns]; a2 rows. Clobbers a0-a7, t0-t6, ft0-ft8, fa0-fa6,
    fs0-fs3, v0-v31, vtype and vl.

    Attributes:
        columns: Length of a row, at least 1.
        pitch: Elements from row to row, 0: dense.
    """

    columns: int
    pitch: int = 0

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a2"

    @property
    def row_bytes(self) -> int:
        """From row to row."""
        return 4 * (self.pitch or self.columns)

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        a.comment(f"softmax of rows of {self.columns}")
        emit_constants(a)
        a("li", "a7", self.columns)
        a("li", "a6", even_strip(self.columns, STRIP))
        for rows in (TOGETHER, 1):
            head, done = a.fresh("softmax_rows"), a.fresh("softmax_done")
            a("li", "t1", rows)
            a("blt", "a2", "t1", done)
            a.label(head)
            self.emit_rows(a, rows)
            for register in ("a0", "a1"):
                advance(a, register, rows * self.row_bytes)
            a("addi", "a2", "a2", -rows)
            a("li", "t1", rows)
            a("bge", "a2", "t1", head)
            a.label(done)

    def emit_rows(self, a: Assembler, rows: int) -> None:
        """The same for at most `TOGETHER` rows behind `emit_constants`; a7 columns, a6 length of a strip.

        Keeps a0-a2, a6 and a7.
        """
        self._maxima(a, rows)
        for row in range(rows):
            body: list[tuple[str, ...]] = [("vle32.v", "v0", "(a3)"), ("vfsub.vf", "v0", "v0", f"fs{row}")]
            emit_exp(a, body)
            self._strips(a, row, [*body, ("vse32.v", "v8", "(a4)")])
        self._sums(a, rows)
        for row in range(rows):
            scaled = ("vfmul.vf", "v0", "v0", f"fs{row}")
            self._strips(a, row, [("vle32.v", "v0", "(a4)"), scaled, ("vse32.v", "v0", "(a4)")])

    def _strips(self, a: Assembler, row: int, body: list[tuple[str, ...]]) -> None:
        """Runs ``body`` on the strips of a row: x at a3, out at a4."""
        head, whole = a.fresh("softmax_strip"), a.fresh("softmax_length")
        advance(a, "a3", row * self.row_bytes, source="a0")
        advance(a, "a4", row * self.row_bytes, source="a1")
        a("mv", "a5", "a7")
        a.label(head)
        a("mv", "t0", "a6")
        a("bgeu", "a5", "a6", whole)
        a("mv", "t0", "a5")
        a.label(whole)
        a("vsetvli", "t0", "t0", "e32", "m4", "ta", "ma")
        a("slli", "t1", "t0", 2)
        for instruction in body:
            a(*instruction)
        a("add", "a3", "a3", "t1")
        a("add", "a4", "a4", "t1")
        a("sub", "a5", "a5", "t0")
        a("bnez", "a5", head)

    def _maxima(self, a: Assembler, rows: int) -> None:
        """fs0... = max of each row."""
        a("li", "t4", int(np.float32(-np.inf).view(np.int32)))
        a("fmv.w.x", "ft0", "t4")
        a("vsetvli", "t0", "zero", "e32", "m4", "ta", "ma")
        for row in range(rows):
            a("vfmv.s.f", f"v{8 + 4 * row}", "ft0")
        for row in range(rows):
            top, buffer = f"v{8 + 4 * row}", f"v{4 * (row % 2)}"
            self._strips(a, row, [("vle32.v", buffer, "(a3)"), ("vfredmax.vs", top, buffer, top)])
        for row in range(rows):
            a("vfmv.f.s", f"fs{row}", f"v{8 + 4 * row}")

    def _sums(self, a: Assembler, rows: int) -> None:
        """fs0... = 1 / sum of the exponentials in each output row."""
        sums, parts = ([f"v{first + 4 * row}" for row in range(rows)] for first in (0, 16))
        loop, rest, done = a.fresh("softmax_sum"), a.fresh("softmax_rest"), a.fresh("softmax_summed")
        for row in range(rows):
            advance(a, POINTERS[row], row * self.row_bytes, source="a1")
        a("li", "t1", LANES)
        a("vsetvli", "t0", "t1", "e32", "m4", "ta", "ma")
        for total in sums:
            a("vmv.v.i", total, 0)

        def add() -> None:
            for part, pointer in zip(parts, POINTERS, strict=False):
                a("vle32.v", part, f"({pointer})")
                a("addi", pointer, pointer, 4 * LANES)
            for total, part in zip(sums, parts, strict=True):
                a("vfadd.vv", total, total, part)

        a("sub", "a5", "a7", "t1")
        a("bltz", "a5", rest)
        a.label(loop)
        add()
        a("addi", "a5", "a5", -LANES)
        a("bgez", "a5", loop)
        a.label(rest)
        a("addi", "a5", "a5", LANES)
        a("beqz", "a5", done)
        a("vsetvli", "t0", "a5", "e32", "m4", "tu", "ma")  # the other partial sums stay as they are
        add()
        a.label(done)
        for half in (8, 4, 2, 1):
            a("li", "t1", half)
            a("vsetvli", "t0", "t1", "e32", "m4", "ta", "ma")
            for total, part in zip(sums, parts, strict=True):
                a("vslidedown.vi", part, total, half)
            for total, part in zip(sums, parts, strict=True):
                a("vfadd.vv", total, total, part)
        for row, total in enumerate(sums):
            a("vfmv.f.s", f"fs{row}", total)
        for row in range(rows):
            a("fdiv.s", f"fs{row}", "fa6", f"fs{row}")

    def contract(self, x: F32) -> F32:
        """The output bit for bit; float32 [rows, columns]."""
        top: F32 = np.full((len(x), 1), -np.inf, np.float32)
        for column in range(self.columns):
            top = fp32math.maximum(top, x[:, column : column + 1])
        e = exp(fp32math.sub(x, top))
        lanes = np.zeros((len(x), LANES), np.float32)
        for start in range(0, self.columns, LANES):
            part = e[:, start : start + LANES]
            lanes[:, : part.shape[1]] = fp32math.add(lanes[:, : part.shape[1]], part)
        for half in (8, 4, 2, 1):
            lanes = fp32math.add(lanes[:, :half], lanes[:, half : 2 * half])
        with np.errstate(all="ignore"):
            return fp32math.mul(e, fp32math.canonical(np.float32(1) / lanes))
