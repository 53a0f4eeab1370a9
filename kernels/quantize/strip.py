"""Quantization of a strip: blocks at regular distances, up to one vector (LMUL 4) of them at a time.

1. Per block: load, |x|, accumulate 0*|x| (NaN in a lane if the group holds a NaN or an infinity), fold halves to
   at most 8 maxima, which go to the block's code area.
2. One lane per block: load the maxima with a stride, maximum M, clamped so that the code E - emax stays above
   0; the code is narrowed to a byte, and the multiplier 2^(127 - code) has the encoding ((254 + emax) << 23) -
   (M & 0x7F800000). It goes to the code area, too.
3. Per block: load x and the multiplier, multiply, convert, store the codes.
4. If the group holds a NaN or an infinity: scale 0xFF and codes 0 for the blocks that do.

Folding and maxima are floating-point operations, 8 lanes per cycle, where integer ones have 2 (facts vmxdotp 4).

FP8 elements are converted by ``vfncvt``. A grid coarser than the format that carries it (E2M3 in E4M3, say) is rounded
to before: an element of exponent E is a multiple of q = 2^(max(E, emin) - mantissa bits), and adding and subtracting
1.5 * 2^23 q rounds to such a multiple, ties to even; 2^E is the exponent field alone. INT8 elements are converted to
16-bit integers and narrowed.

E2M1 has no conversion. With |v| < 8 its code is min(rne(2|v|), rne(|v|) + 2, rne(|v|/2) + 4, 7), each term
rounded by an addition to B = 1.5 * 2^23 (an even number, so ties go to even). Elements are loaded as evens and
odds; the sign adds 8 to a code, and 16 * odd + even is the byte.

Registers: a0 x, a1 codes, a2 scales of the strip and a3 blocks, which stay; t0 blocks left, t1-t3 x, codes and
scales of the group, t4 its blocks, a4, a5 x and codes of the block, a6 loop counter, a7, t5, t6 scratch, s0, s1
pitches of x and codes, s2 below 0 if the group holds numbers only. v8-v15 and v16-v23 x of the blocks treated together,
then |x|; v24-v31 the sum of 0*x, v0-v7 temporaries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.formats.elements import ElementFormat
from potluck.kernels.base import Stored, add_immediate, float_constant, loop

_MAGIC = 1.5 * 2**23
_EXPONENT = 0x7F800000
ZERO, LEAST, BASE1, BASE2, BASE4, BASE7, TWO, HALF, FOUR, SIXTEEN, BIAS = (
    *(f"fa{i}" for i in range(8)),
    "fs0",
    "fs1",
    "fs2",
)
LOWEST, SHIFT, TOP, BOTTOM = "fa2", "fa3", "fa4", "fa5"
"""Of a grid or INT8: smallest normal number, 1.5 * 2^(23 - mantissa bits), largest number, its negative."""
INFINITE = "fs3"
PARTS = 2
"""Register groups whose blocks are treated together, so that one's work hides what the other waits for."""
_FACTORS = [f"ft{i}" for i in range(8)]


@dataclass(frozen=True)
class Shape:
    """Static facts of a strip.

    Attributes:
        element: Format of the codes in memory.
        grid: Format that elements are rounded to; what ``element`` names, or one that it holds.
        addend: What is added to a block's maximum before its exponent is taken, see `potluck.isa.formats.mx`.
        length: Elements of each block, at most VLEN / 4.
        area: Bytes of its codes, padding included.
        x_pitch: Bytes from block to block in x.
        code_pitch: The same in the codes.
        scale_pitch: The same in the scales.
        vlen: Vector register bits.
        positive: Whether no x has a sign or is NaN.
    """

    element: Stored
    grid: ElementFormat
    addend: int
    length: int
    area: int
    x_pitch: int
    code_pitch: int
    scale_pitch: int
    vlen: int
    positive: bool = False

    @property
    def lanes(self) -> int:
        """FP32 elements of a register."""
        return self.vlen // 32

    @property
    def coarse(self) -> bool:
        """Whether the grid is coarser than what carries it."""
        return self.grid.name.lower() != self.element

    @property
    def registers(self) -> int:
        """Of a block: a power of two, as groups are."""
        return 1 << (-(-self.length // self.lanes) - 1).bit_length()

    @property
    def dense(self) -> bool:
        """Whether blocks lie one behind the other, in memory and in registers."""
        full = self.length * 4 == self.x_pitch and self.area == self.code_pitch
        return full and self.length == self.registers * self.lanes


def _lmul(eighths: int) -> str:
    """LMUL of so many eighths of a register, at least mf4."""
    return f"m{eighths // 8}" if eighths >= 8 else f"mf{8 // max(eighths, 2)}"


class Strip:
    """Emits one strip."""

    def __init__(self, a: Assembler, shape: Shape) -> None:
        self.a, self.s = a, shape
        self.size = shape.registers
        self.unroll = 4 if self.size == 1 else 8 // self.size
        half = -(-(shape.area if shape.element == "e2m1" else 0) // shape.lanes)
        self.half = 1 << max(0, half - 1).bit_length() if half else 1  # registers of a block's even elements
        self.maxima = min(shape.lanes, 8, 1 << (shape.area // 4).bit_length() - 1)
        self.emax = shape.grid.emax

    def _vl(self, count: int, width: str, registers: int) -> None:
        """vl = count elements, exactly."""
        if count < 32:
            self.a("vsetivli", "zero", count, width, _lmul(8 * registers), "ta", "ma")
        else:
            self.a("li", "t6", count)
            self.a("vsetvli", "zero", "t6", width, _lmul(8 * registers), "ta", "ma")

    def emit(self) -> None:
        """The whole strip."""
        a, s = self.a, self.s
        self._constants()
        for to, origin in (("t0", "a3"), ("t1", "a0"), ("t2", "a1"), ("t3", "a2")):
            a("mv", to, origin)
        group = a.fresh("mx_group")
        a.label(group)
        a("vsetvli", "t4", "t0", "e32", "m4", "ta", "ma")
        if not s.positive:
            self._clear("v24")
        self._per_block(self.unroll * PARTS, self._maximum)
        if not s.positive:
            a("vsetvli", "t6", "zero", "e32", "m8", "ta", "ma")
            a("vmfne.vv", "v0", "v24", "v24")
            a("vfirst.m", "s2", "v0")
        self._scales()
        if s.element == "e2m1":
            self._per_block(8 // (2 * self.half) if self.half < 4 else 1, self._convert_fp4)
        else:
            single = s.element == "int8" or s.coarse  # their temporaries take the room of a second part
            convert = self._convert_int8 if s.element == "int8" else self._convert_fp8
            self._per_block(self.unroll * (1 if single else PARTS), convert)
        self._specials()
        a("mv", "t1", "a4")
        a("mv", "t2", "a5")
        a("li", "t5", s.scale_pitch)
        a("mul", "t5", "t5", "t4")
        a("add", "t3", "t3", "t5")
        a("sub", "t0", "t0", "t4")
        a("bgtz", "t0", group)

    def _constants(self) -> None:
        a, s = self.a, self.s
        a("li", "s0", s.x_pitch)
        a("li", "s1", s.code_pitch)
        constants = {ZERO: 0.0, LEAST: 2.0 ** (self.emax - 127)}
        if s.positive:
            constants[INFINITE] = float("inf")
        if s.element == "e2m1":
            constants |= {
                BASE1: _MAGIC,
                BASE2: _MAGIC + 2,
                BASE4: _MAGIC + 4,
                BASE7: _MAGIC + 7,
                TWO: 2.0,
                HALF: 0.5,
                FOUR: 4.0,
                SIXTEEN: 16.0,
                BIAS: _MAGIC - 4,
            }
        elif s.coarse or s.element == "int8":
            top = s.grid.max_normal
            constants |= {TOP: top, BOTTOM: -top}
        if s.coarse:
            constants |= {LOWEST: s.grid.min_normal, SHIFT: _MAGIC / 2**s.grid.mantissa_bits}
        for register, value in constants.items():
            float_constant(a, register, value)

    def _clear(self, *registers: str) -> None:
        self.a("vsetvli", "t6", "zero", "e32", "m8", "ta", "ma")
        for register in registers:
            self.a("vmv.v.i", register, 0)

    def _per_block(self, unroll: int, emit: Callable[[int], None]) -> None:
        """Run ``emit(blocks)`` over the group's blocks: in turns of ``unroll``, of a part, then singly."""
        a = self.a
        a("mv", "a4", "t1")
        a("mv", "a5", "t2")
        counts = list(dict.fromkeys([unroll, min(unroll, self.unroll), 1]))
        for before, count in zip([0, *counts], counts, strict=False):
            skip = a.fresh("mx_blocks_end")
            if before:
                a("andi", "a6", "t4", before - 1)
            if not before or count > 1:
                a("srli", "a6", "a6" if before else "t4", count.bit_length() - 1)
            a("beqz", "a6", skip)
            if not self.s.dense:  # what loads do not write must be 0
                self._clear("v8", "v16")
            with loop(a, "a6", name="mx_blocks"):
                emit(count)
            a.label(skip)

    def _parts(self, count: int) -> list[tuple[int, int]]:
        """(first register, blocks) of what is loaded at once."""
        each = min(count, self.unroll)
        return [(8 + 8 * part, each) for part in range(count // each)] if count else []

    def _blocks(self, count: int) -> list[int]:
        """First register of each block."""
        return [first + i * self.size for first, each in self._parts(count) for i in range(each)]

    def _load(self, count: int) -> None:
        """x of ``count`` blocks; a4 advances; vl covers whole registers."""
        a, s = self.a, self.s
        if s.dense:
            for first, each in self._parts(count):
                self._vl(each * s.length, "e32", each * self.size)
                a("vle32.v", f"v{first}", "(a4)")
                add_immediate(a, "a4", each * s.x_pitch)
            return
        self._vl(s.length, "e32", self.size)
        for v in self._blocks(count):
            a("vle32.v", f"v{v}", "(a4)")
            a("add", "a4", "a4", "s0")

    def _maximum(self, count: int) -> None:
        """Step 1."""
        a, s, size = self.a, self.s, self.size
        self._load(count)
        for first, each in self._parts(0 if s.positive else count):
            if not s.dense:
                self._vl(each * size * s.lanes, "e32", each * size)
            a("vfsgnjx.vv", f"v{first}", f"v{first}", f"v{first}")
            a("vfmacc.vf", "v24", ZERO, f"v{first}")
        blocks = self._blocks(count)
        width = size // 2
        while width:
            self._vl(width * s.lanes, "e32", width)
            for v in blocks:
                a("vfmax.vv", f"v{v}", f"v{v}", f"v{v + width}")
            width //= 2
        left = s.lanes
        while left > self.maxima:
            left //= 2
            self._vl(left, "e32", 1)
            for i, v in enumerate(blocks):
                a(
                    "vslidedown.vx" if left > 31 else "vslidedown.vi",
                    f"v{i}",
                    f"v{v}",
                    "t6" if left > 31 else left,
                )
            for i, v in enumerate(blocks):
                a("vfmax.vv", f"v{v}", f"v{v}", f"v{i}")
        self._vl(self.maxima, "e32", 1)
        for v in blocks:
            a("vse32.v", f"v{v}", "(a5)")
            a("add", "a5", "a5", "s1")

    def _scales(self) -> None:
        """Step 2."""
        a, s = self.a, self.s
        a("vsetvli", "zero", "t4", "e32", "m4", "ta", "ma")
        a("vlse32.v", "v0", "(t2)", "s1")
        for i in range(1, self.maxima):
            v = f"v{4 + 4 * (i % 2)}"
            a("addi", "t5", "t2", 4 * i)
            a("vlse32.v", v, "(t5)", "s1")
            a("vfmax.vv", "v0", "v0", v)
        if s.positive:
            a("vmfeq.vf", "v12", "v0", INFINITE)
            a("vfirst.m", "s2", "v12")
        a("vfmax.vf", "v0", "v0", LEAST)
        if s.addend:
            a("li", "t5", s.addend)
            a("vadd.vx", "v0", "v0", "t5")
        a("li", "t5", _EXPONENT)
        a("vand.vx", "v4", "v0", "t5")
        a("li", "t5", (254 + self.emax) << 23)
        a("vrsub.vx", "v4", "v4", "t5")
        a("vsse32.v", "v4", "(t2)", "s1")
        a("vsetvli", "zero", "t4", "e16", "m2", "ta", "ma")
        a("vnsrl.wi", "v8", "v0", 23)
        a("vsetvli", "zero", "t4", "e8", "m1", "ta", "ma")
        a("vnsrl.wi", "v10", "v8", 0)
        a("vadd.vi", "v10", "v10", -self.emax)
        if s.scale_pitch == 1:
            a("vse8.v", "v10", "(t3)")
        else:
            a("li", "t5", s.scale_pitch)
            a("vsse8.v", "v10", "(t3)", "t5")

    def _factors(self, count: int) -> None:
        """The multipliers of the next blocks into ft0 and following."""
        a = self.a
        a("mv", "a7", "a5")
        for i in range(count):
            a("flw", _FACTORS[i], "0(a7)")
            if i + 1 < count:
                a("add", "a7", "a7", "s1")

    def _scaled(self, count: int) -> None:
        """x of ``count`` blocks divided by their scales, v8 and following."""
        a, s, size = self.a, self.s, self.size
        self._load(count)
        self._factors(count)
        if not s.dense or count > 1:
            self._vl(size * s.lanes, "e32", size)
        for v, factor in zip(self._blocks(count), _FACTORS, strict=False):
            a("vfmul.vf", f"v{v}", f"v{v}", factor)

    def _to_grid(self, count: int) -> None:
        """Rounds v8 and following to the grid, signs of zeros included."""
        a, s = self.a, self.s
        self._vl(count * self.size * s.lanes, "e32", count * self.size)
        a("li", "t5", _EXPONENT)
        a("vand.vx", "v16", "v8", "t5")
        a("vfmax.vf", "v16", "v16", LOWEST)
        a("vfmul.vf", "v16", "v16", SHIFT)
        a("vfadd.vv", "v24", "v8", "v16")
        a("vfsub.vv", "v24", "v24", "v16")
        a("vfmin.vf", "v24", "v24", TOP)
        a("vfmax.vf", "v24", "v24", BOTTOM)
        a("vfsgnj.vv", "v8", "v24", "v8")

    def _convert_int8(self, count: int) -> None:
        """Step 3 for INT8."""
        a, s, size = self.a, self.s, self.size
        self._scaled(count)
        self._vl(count * size * s.lanes, "e32", count * size)
        a("vfmin.vf", "v8", "v8", TOP)
        a("vfmax.vf", "v8", "v8", BOTTOM)
        together = count if s.dense else 1
        a("li", "t6", together * s.area)
        for i in range(count // together):
            v = f"v{8 + i * size}"
            a("vsetvli", "zero", "t6", "e16", _lmul(4 * size * together), "ta", "ma")
            a("vfncvt.x.f.w", "v0", v)
            a("vsetvli", "zero", "t6", "e8", _lmul(2 * size * together), "ta", "ma")
            a("vnsrl.wi", "v4", "v0", 0)
            a("vse8.v", "v4", "(a5)")
            add_immediate(a, "a5", together * s.code_pitch)

    def _convert_fp8(self, count: int) -> None:
        """Step 3 for E4M3 and E5M2."""
        a, s, size = self.a, self.s, self.size
        form = "e8alt" if s.element == "e5m2" else "e8"
        self._scaled(count)
        if s.coarse:
            self._to_grid(count)
        together = min(count, self.unroll) if s.dense else 1
        a("li", "t6", together * s.area)
        a("vsetvli", "zero", "t6", form, _lmul(2 * size * together), "ta", "ma")
        made = [
            (v, f"v{4 * i if s.dense else i * max(1, size // 4)}")
            for i, v in enumerate(self._blocks(count)[::together])
        ]
        for v, codes in made:
            a("vfncvt.sat.f.f.q", codes, f"v{v}")
        for _, codes in made:
            a("vse8.v", codes, "(a5)")
            add_immediate(a, "a5", together * s.code_pitch)

    def _convert_fp4(self, count: int) -> None:
        """Step 3 for E2M1: v8 x, evens in the lower half of the group; v0 |x|, v16, v24 terms."""
        a, s, half = self.a, self.s, self.half
        a("li", "a7", 8)
        for odd in (0, 1):
            number = (s.length + 1 - odd) // 2
            if number == 0:
                continue
            self._vl(number, "e32", half)
            a("addi", "t5", "a4", 4 * odd)
            for i in range(count):
                a("vlse32.v", f"v{8 + (odd * count + i) * half}", "(t5)", "a7")
                a("add", "t5", "t5", "s0")
        add_immediate(a, "a4", count * s.x_pitch)
        self._factors(count)
        self._vl(half * s.lanes, "e32", half)
        for i in range(2 * count):
            a("vfmul.vf", f"v{8 + i * half}", f"v{8 + i * half}", _FACTORS[i % count])
        self._vl(2 * count * half * s.lanes, "e32", 2 * count * half)
        a("vfmv.v.f", "v16", BASE1)
        a("vfsgnjx.vv", "v0", "v8", "v8")
        a("vfmacc.vf", "v16", TWO, "v0")
        a("vfadd.vf", "v24", "v0", BASE2)
        a("vfmin.vv", "v16", "v16", "v24")
        a("vfmv.v.f", "v24", BASE4)
        a("vfmacc.vf", "v24", HALF, "v0")
        a("vfmin.vv", "v16", "v16", "v24")
        a("vfmin.vf", "v16", "v16", BASE7)
        a("vfmv.v.f", "v24", FOUR)
        a("vfsgnj.vv", "v24", "v24", "v8")
        a("vfsub.vv", "v16", "v16", "v24")
        a("vfsub.vf", "v16", "v16", BIAS)
        odds = 16 + count * half
        self._vl(count * half * s.lanes, "e32", count * half)
        a("vfmacc.vf", "v16", SIXTEEN, f"v{odds}")
        self._pack(count)

    def _pack(self, count: int) -> None:
        """Bytes of ``count`` blocks, FP32 in v16 and following, to the code area."""
        a, s, half = self.a, self.s, self.half
        together = count if s.dense and s.area == half * s.lanes else 1
        a("li", "t6", together * s.area)
        parts = range(count // together)
        a("vsetvli", "zero", "t6", "e16", _lmul(4 * half * together), "ta", "ma")
        for i in parts:
            a("vfncvt.xu.f.w", f"v{i}" if together == 1 else "v0", f"v{16 + i * half}")
        a("vsetvli", "zero", "t6", "e8", _lmul(2 * half * together), "ta", "ma")
        for i in parts:
            a("vnsrl.wi", f"v{4 + i}", f"v{i}", 0)
            a("vse8.v", f"v{4 + i}", "(a5)")
            add_immediate(a, "a5", together * s.code_pitch)

    def _specials(self) -> None:
        """Step 4: look at every block again, if the sum of 0*x is not 0 somewhere."""
        a, s = self.a, self.s
        none, block, regular = a.fresh("mx_numbers"), a.fresh("mx_special"), a.fresh("mx_regular")
        a("bltz", "s2", none)
        a("mv", "a6", "t4")
        for to, origin in (("a4", "t1"), ("a5", "t2"), ("a7", "t3")):
            a("mv", to, origin)
        a.label(block)
        self._vl(s.length, "e32", self.size)
        a("vle32.v", "v8", "(a4)")
        a("vfmul.vf", "v8", "v8", ZERO)
        a("vmfne.vv", "v0", "v8", "v8")
        a("vfirst.m", "t5", "v0")
        a("bltz", "t5", regular)
        a("li", "t5", 0xFF)
        a("sb", "t5", "0(a7)")
        held = -(-8 * s.area // s.vlen)
        self._vl(s.area // 8, "e64", 1 << (held - 1).bit_length())
        a("vmv.v.i", "v8", 0)
        a("vse64.v", "v8", "(a5)")
        a.label(regular)
        a("add", "a4", "a4", "s0")
        a("add", "a5", "a5", "s1")
        add_immediate(a, "a7", s.scale_pitch)
        a("addi", "a6", "a6", -1)
        a("bnez", "a6", block)
        a.label(none)
