"""FP32 to the values of an MX format, as FP32: what machines without FP8 conversions keep of a quantized activation.

One block at a time. The largest encoding of |x| gives the scale by integer operations (`potluck.isa.formats.mx`). With
y = x / scale, an element of exponent E is a multiple of q = 2^(max(E, emin) - mantissa bits), and adding and
subtracting 1.5 * 2^23 * q rounds y to such a multiple, ties to even. Only base V is used, with any VLEN.
"""

from __future__ import annotations

from dataclasses import dataclass

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import BlockLayout
from potluck.isa.formats.elements import FORMATS, INTEGER8, ElementFormat
from potluck.isa.formats.mx import ScaleRule, quantize, scale_addend
from potluck.kernels import fp32math
from potluck.kernels.base import Kernel, Operand, float_constant
from potluck.kernels.fp32math import F32

_INFINITY = 0x7F800000
_SUBNORMAL_SCALE = 0x00400000  # 2^-127


@dataclass(frozen=True)
class RoundMx(Kernel):
    """out = the nearest values of an MX format to FP32 rows; blocks run along the row, the last one may be ragged.

    A block that holds a NaN or an infinity becomes NaN, as with the NaN scale.

    Registers: a0 x, a1 out (may be x), FP32 [rows][K]; a2 rows (may be 0). Clobbers a0-a3, a6, a7, t0-t6, ft0-ft5,
    v0-v31, vtype and vl.

    Attributes:
        k: Elements of a row.
        element: Element format: one of `potluck.isa.formats.elements` with at most 8 bits; ``int8`` are integers.
        block: Elements per scale, at most 32, which is VLMAX at VLEN 128.
        rule: From a block's maximum to its scale.
    """

    k: int
    element: str = "e4m3"
    block: int = 32
    rule: ScaleRule = "floor"

    def __post_init__(self) -> None:
        if not 0 < self.block <= 32 or self.k < 1:
            raise DataError(
                f"{self.name}: rows of {self.k} elements, blocks of {self.block}",
                hint="Use rows of 1 or more elements and blocks of at most 32",
            )

    @property
    def format(self) -> ElementFormat:
        """Of the elements."""
        return INTEGER8 if self.element == "int8" else FORMATS[self.element]

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

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        element = self.format
        row, block, onward, special, done = (
            a.fresh(f"round_{name}") for name in ("row", "block", "onward", "special", "done")
        )
        a.comment(f"round to MX {self.element}, blocks of {self.block}")
        a("blez", "a2", done)
        a("li", "a6", _INFINITY)
        a("li", "a7", 0x7FFFFFFF)
        smallest = 1 - element.bias  # exponent of the smallest normal number
        a("li", "t3", (smallest + 127) << 23)
        a("li", "t2", ((23 - element.mantissa_bits) << 23) + (1 << 22))
        float_constant(a, "ft3", element.max_normal)
        float_constant(a, "ft4", -element.max_normal)
        float_constant(a, "ft5", float("nan"))
        a.label(row)
        a("li", "a3", self.k)
        a.label(block)
        whole = a.fresh("round_whole")
        a("li", "t0", self.block)
        a("bge", "a3", "t0", whole)
        a("mv", "t0", "a3")
        a.label(whole)
        a("vsetvli", "zero", "t0", "e32", "m8", "ta", "ma")
        a("vle32.v", "v0", "(a0)")
        self._scale(a, special)
        a("vfmul.vf", "v8", "v0", "ft1")
        a("vand.vx", "v16", "v8", "a6")
        a("vmaxu.vx", "v16", "v16", "t3")
        a("vadd.vx", "v16", "v16", "t2")
        a("vfadd.vv", "v8", "v8", "v16")
        a("vfsub.vv", "v8", "v8", "v16")
        a("vfmin.vf", "v8", "v8", "ft3")
        a("vfmax.vf", "v8", "v8", "ft4")
        a("vfmul.vf", "v8", "v8", "ft2")
        if element.kind == "float":  # integers have one zero
            a("vfsgnj.vv", "v8", "v8", "v0")
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
        a("vfmv.v.f", "v8", "ft5")
        a("j", onward)
        a.label(done)

    def _scale(self, a: Assembler, special: str) -> None:
        """ft1 = 1 / scale and ft2 = scale of the block in v0; blocks with a NaN or an infinity go to ``special``."""
        element = self.format
        positive, normal = a.fresh("round_positive"), a.fresh("round_normal")
        a("vand.vx", "v8", "v0", "a7")
        a("vmv.s.x", "v24", "zero")
        a("vredmaxu.vs", "v24", "v8", "v24")
        a("vmv.x.s", "t4", "v24")
        a("bgeu", "t4", "a6", special)
        addend = scale_addend(element, self.rule)
        if addend:
            a("li", "t5", addend)
            a("add", "t4", "t4", "t5")
        a("srli", "t4", "t4", 23)
        a("addi", "t4", "t4", -element.emax)
        a("bgez", "t4", positive)
        a("li", "t4", 0)
        a.label(positive)
        a("li", "t5", 254)
        a("sub", "t5", "t5", "t4")
        a("slli", "t5", "t5", 23)
        a("fmv.w.x", "ft1", "t5")
        a("slli", "t5", "t4", 23)
        a("bnez", "t4", normal)
        a("li", "t5", _SUBNORMAL_SCALE)
        a.label(normal)
        a("fmv.w.x", "ft2", "t5")

    def contract(self, x: F32) -> F32:
        """The output bit for bit; float32 [rows, K]."""
        layout = BlockLayout(self.element, self.format, block_size=self.block)
        return fp32math.canonical(quantize(x, layout, scale_rule=self.rule).dequantize())
