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
from potluck.kernels.base import Kernel
from potluck.kernels.elementwise import strips
from potluck.kernels.emission import advance, float_constant
from potluck.kernels.fp32math import F32

EXP_ULP = 1.0
"""Bound of exp's error in ulp of the result, z in [-87.33, 0]; 0.86 measured on every 23rd float there."""

LANES = 16
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
    """Softmax of every row of a matrix.

    Registers: a0 x, a1 out (may be x), FP32 [rows][columns]; a2 rows. Clobbers a0-a6, t0, t1, t4, ft0-ft9,
    fa0-fa6, v0-v31, vtype and vl.

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

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        row, done = a.fresh("softmax_row"), a.fresh("softmax_done")
        a.comment(f"softmax of rows of {self.columns}")
        emit_constants(a)
        a("blez", "a2", done)
        a.label(row)
        self._maximum(a)
        body: list[tuple[str, ...]] = [("vle32.v", "v0", "(a3)"), ("vfsub.vf", "v0", "v0", "ft0")]
        emit_exp(a, body)
        self._strips(a, [*body, ("vse32.v", "v8", "(a4)")])
        self._sum(a)
        self._strips(
            a, [("vle32.v", "v0", "(a4)"), ("vfmul.vf", "v0", "v0", "ft9"), ("vse32.v", "v0", "(a4)")]
        )
        for register in ("a0", "a1"):
            advance(a, register, 4 * (self.pitch or self.columns))
        a("addi", "a2", "a2", -1)
        a("bnez", "a2", row)
        a.label(done)

    def _strips(self, a: Assembler, body: list[tuple[str, ...]]) -> None:
        a("mv", "a3", "a0")
        a("mv", "a4", "a1")
        a("li", "a5", self.columns)
        strips(a, "a5", 4, ("a3", "a4"), body)

    def _maximum(self, a: Assembler) -> None:
        """ft0 = max of the row."""
        a("li", "t4", int(np.float32(-np.inf).view(np.int32)))
        a("fmv.w.x", "ft0", "t4")
        a("vsetvli", "t0", "zero", "e32", "m4", "ta", "ma")
        a("vfmv.s.f", "v8", "ft0")
        self._strips(a, [("vle32.v", "v0", "(a3)"), ("vfredmax.vs", "v8", "v0", "v8")])
        a("vfmv.f.s", "ft0", "v8")

    def _sum(self, a: Assembler) -> None:
        """ft9 = 1 / sum of the exponentials in the output row."""
        loop = a.fresh("softmax_sum")
        a("li", "t1", LANES)
        a("vsetvli", "t0", "t1", "e32", "m4", "ta", "ma")
        a("vmv.v.i", "v0", 0)
        a("mv", "a4", "a1")
        for count, whole in ((self.columns // LANES, True), (self.columns % LANES, False)):
            if not count:
                continue
            a("li", "a5", count)
            if whole:
                a.label(loop)
            else:  # the other partial sums stay as they are
                a("vsetvli", "t0", "a5", "e32", "m4", "tu", "ma")
            a("vle32.v", "v8", "(a4)")
            a("vfadd.vv", "v0", "v0", "v8")
            if whole:
                a("addi", "a4", "a4", 4 * LANES)
                a("addi", "a5", "a5", -1)
                a("bnez", "a5", loop)
        for half in (8, 4, 2, 1):
            a("li", "t1", half)
            a("vsetvli", "t0", "t1", "e32", "m4", "ta", "ma")
            a("vslidedown.vi", "v8", "v0", half)
            a("vfadd.vv", "v0", "v0", "v8")
        a("vfmv.f.s", "ft9", "v0")
        a("fdiv.s", "ft9", "fa6", "ft9")

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
