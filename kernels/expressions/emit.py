"""From an expression to instructions on one strip: values live in vector groups, numbers in scalar registers.

All groups have one SEW / LMUL, so one vl holds for every element width and ``vsetvli zero, zero`` changes only
the width. Numbers of floats stay in floating-point registers for the whole kernel as far as these go; others
are loaded where they are used.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.base import float_constant
from potluck.kernels.expressions.graph import (
    CASTS,
    F32,
    F64,
    FLOATING,
    I32,
    I64,
    MASK,
    U32,
    U64,
    UNSIGNED,
    WIDTHS,
    Value,
)
from potluck.kernels.expressions.registers import RATIO, WIDE, Pool, bits_of, group, multiplier

SCRATCH = "t6"
SPARE_FLOAT = "ft11"
"""Floats that found no register are loaded here, where they are used."""
LOADS = {
    "float32": 32, "int32": 32, "int64": 64, "bool": 8, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16,
    "uint32": 32, "uint64": 64, "float64": 64, "float16": 16, "bfloat16": 16,
}  # fmt: skip
"""Memory type -> bits."""
WIDEN = {"float16": "vfwcvt.f.f.v", "bfloat16": "vfwcvtbf16.f.f.v"}
"""Memory types that become FP32 when they are loaded, by an instruction at 16 bits."""
NARROW = {"float16": "vfncvt.f.f.w", "bfloat16": "vfncvtbf16.f.f.w"}
"""And back."""

_COMMUTE = ("add", "mul", "min", "max", "and", "or", "xor", "eq", "ne")
_SWAPPED = {"sub": "vfrsub", "div": "vfrdiv", "lt": "vmfgt", "le": "vmfge"}
_FLOAT_NAMES = {"add": "vfadd", "sub": "vfsub", "mul": "vfmul", "div": "vfdiv", "min": "vfmin", "max": "vfmax",
                "lt": "vmflt", "le": "vmfle", "eq": "vmfeq", "ne": "vmfne"}  # fmt: skip
_INTEGER_NAMES = {"add": "vadd", "sub": "vsub", "mul": "vmul", "div": "vdiv", "rem": "vrem", "min": "vmin",
                  "max": "vmax", "and": "vand", "or": "vor", "xor": "vxor", "shl": "vsll", "shr": "vsrl",
                  "sar": "vsra", "lt": "vmslt", "le": "vmsle", "eq": "vmseq", "ne": "vmsne"}  # fmt: skip
_ALONE = {"sqrt": "vfsqrt.v", "rec7": "vfrec7.v"}
"""Operations with an instruction of one operand."""
_IMMEDIATE = ("add", "and", "or", "xor", "eq", "ne", "le", "shl", "shr", "sar")
"""Integer operations with a five-bit immediate."""
_SIGNLESS = ("add", "sub", "mul", "and", "or", "xor", "shl", "shr", "sar", "eq", "ne")
"""Integer operations that are the same of unsigned integers; the others have a mnemonic with a u."""


@dataclass(frozen=True)
class Source:
    """Where an argument comes from on a strip.

    Attributes:
        register: Address of its first element for ``vector``; scalar register that holds it otherwise.
        dtype: In memory.
        vector: Whether it has an element per lane, or is one number.
    """

    register: str
    dtype: str
    vector: bool = True


def instruction(op: str, type: str) -> str:
    """The mnemonic of an operation of two vectors, without its form."""
    if type in FLOATING:
        return _FLOAT_NAMES[op]
    return _INTEGER_NAMES[op] + ("u" if type in UNSIGNED and op not in _SIGNLESS else "")


def double_constant(a: Assembler, register: str, value: float, scratch: str) -> None:
    """Loads an FP64 number."""
    (bits,) = struct.unpack("<q", struct.pack("<d", value))
    if bits:
        a("li", scratch, bits)
    a("fmv.d.x", register, scratch if bits else "zero")


def set_width(a: Assembler, bits: int, tail: str = "ta", ratio: int = RATIO) -> None:
    """Another element width at the same vl."""
    a("vsetvli", "zero", "zero", f"e{bits}", multiplier(bits, ratio), tail, "ma")


def store(a: Assembler, register: str, type: str, out: str, dtype: str, pool: Pool) -> None:
    """Stores a group, narrowed as far as its type in memory asks for; SEW is any before and after."""
    width, bits = WIDTHS[type], LOADS[dtype]
    if dtype in NARROW:
        narrow = f"v{pool.take(bits)}"
        set_width(a, bits, ratio=pool.ratio)
        a(NARROW[dtype], narrow, register)
        a(f"vse{bits}.v", narrow, f"({out})")
        return
    while width > bits:
        width //= 2
        narrow = f"v{pool.take(width)}"
        set_width(a, width, ratio=pool.ratio)
        a("vnsrl.wi", narrow, register, 0)
        register = narrow
    a(f"vse{bits}.v", register, f"({out})")


class Strip:
    """Emits one expression for one strip of elements; `constants` first, once per kernel.

    Args:
        a: Assembler.
        value: What to compute.
        sources: Of every argument that occurs.
        floats: Floating-point registers for constants.
    """

    def __init__(
        self, a: Assembler, value: Value, sources: Mapping[int, Source], floats: tuple[str, ...]
    ) -> None:
        self.a, self.value, self.sources = a, value, sources
        self.order = [item for item in value.walk() if item.op != "constant"]
        used = Counter(
            operand
            for item in self.order
            for operand in item.inputs
            if operand.op == "constant" and operand.type == F32
        )
        self.floats = dict(zip((item for item, _ in used.most_common()), floats, strict=False))

    def constants(self) -> None:
        """Loads the numbers that keep a register."""
        for item, register in self.floats.items():
            float_constant(self.a, register, float(item.payload), SCRATCH)

    @cached_property
    def ratio(self) -> int:
        """SEW / LMUL with which `emit` finds registers for all values: the one of longer strips, if it does."""
        trial = Strip(Assembler(), self.value, self.sources, tuple(self.floats.values()))
        try:
            trial.compute(trial.registers(WIDE))
        except DataError:
            return RATIO
        return WIDE

    def registers(self, ratio: int) -> Pool:
        """All vector registers; v0 only where nothing is selected."""
        return Pool(ratio, self.value.type == MASK or any(item.type == MASK for item in self.value.walk()))

    def emit(self, out: str, dtype: str) -> None:
        """Computes the strip and stores it at the address in ``out``; vl is set, SEW is 32 with LMUL of `ratio`."""
        self._compute(self.registers(self.ratio))
        if dtype == "bool":
            self._store_mask(out)
        else:
            store(self.a, self._vector(self.value), self.value.type, out, dtype, self.pool)

    def compute(self, pool: Pool) -> str:
        """Computes the strip without storing it; vl is set, SEW is 32 before and may be another after.

        Args:
            pool: Registers that may be used.

        Returns:
            The group of the result.
        """
        self._compute(pool)
        return self._vector(self.value)

    def _compute(self, pool: Pool) -> None:
        self.pool, self.at, self.sew = pool, dict[Value, int](), 32
        self.mask: Value | None = None
        self.left = Counter(operand for item in self.order for operand in item.inputs)
        self.left[self.value] += 1
        for item in self.order:
            if item.op == "argument":
                if self._source(item).vector:
                    self._load(item)
            else:
                _EMIT.get(item.op, Strip._binary)(self, item)

    # registers

    def _source(self, item: Value) -> Source:
        return self.sources[int(item.payload)]

    def _is_scalar(self, item: Value) -> bool:
        return item.scalar or (item.op == "argument" and not self._source(item).vector)

    def _new(self, item: Value) -> str:
        self.at[item] = self.pool.take(bits_of(item.type))
        return f"v{self.at[item]}"

    def _vector(self, item: Value) -> str:
        """The operand's group; a number is spread into one that `_done` gives back."""
        if item not in self.at:
            register = self._new(item)
            self._width(WIDTHS[item.type])
            if item.type == MASK and item.scalar:
                self.a("vmset.m" if item.payload else "vmclr.m", register)
            elif item.type == MASK:
                raw = self.pool.take(8)
                self._width(8)
                self.a("vmv.v.x", f"v{raw}", self._scalar(item))
                self.a("vmsne.vi", register, f"v{raw}", 0)
                self.pool.give(raw, 8)
            elif item.type in FLOATING:
                self.a("vfmv.v.f", register, self._scalar(item))
            elif item.scalar and -16 <= item.payload <= 15:
                self.a("vmv.v.i", register, int(item.payload))
            else:
                self.a("vmv.v.x", register, self._scalar(item))
        return f"v{self.at[item]}"

    def _scalar(self, item: Value) -> str:
        """The scalar register of a number."""
        if item.op == "argument":
            return self._source(item).register
        if item.type == F32:
            if item in self.floats:
                return self.floats[item]
            float_constant(self.a, SPARE_FLOAT, float(item.payload), SCRATCH)
            return SPARE_FLOAT
        if item.type == F64:
            double_constant(self.a, SPARE_FLOAT, float(item.payload), SCRATCH)
            return SPARE_FLOAT
        number = int(item.payload)
        self.a("li", SCRATCH, number - (1 << 64) if number >= 1 << 63 else number)
        return SCRATCH

    def _done(self, item: Value) -> None:
        """Counts one use; gives every group back that has no other."""
        for operand in item.inputs:
            self._release(operand)

    def _release(self, operand: Value, uses: int = 1) -> None:
        self.left[operand] -= uses
        if operand in self.at and (self.left[operand] == 0 or self._is_scalar(operand)):
            self.pool.give(self.at.pop(operand), bits_of(operand.type))

    def _last(self, operand: Value) -> bool:
        return self.left[operand] == 1 and not self._is_scalar(operand)

    def _move(self, old: Value, new: Value) -> str:
        """The result takes over the register of an operand that dies here."""
        self.left[old] -= 1
        self.at[new] = self.at.pop(old)
        return f"v{self.at[new]}"

    def _width(self, bits: int) -> None:
        if bits == 1:  # mask operations need only vl
            return
        if bits != self.sew:
            set_width(self.a, bits, ratio=self.pool.ratio)
            self.sew = bits

    def _select_by(self, mask: Value) -> None:
        register = self._vector(mask)
        if self.mask is not mask:
            self.a("vmv1r.v", "v0", register)
            self.mask = mask

    # memory

    def _load(self, item: Value) -> None:
        source = self._source(item)
        bits = LOADS[source.dtype]
        address = f"({source.register})"
        if source.dtype == "bool":
            raw = self.pool.take(8)
            self.a("vle8.v", f"v{raw}", address)
            self._width(8)
            self.a("vmsne.vi", self._new(item), f"v{raw}", 0)
            self.pool.give(raw, 8)
        elif source.dtype in WIDEN:
            raw = self.pool.take(bits)
            self.a(f"vle{bits}.v", f"v{raw}", address)
            self._width(bits)
            self.a(WIDEN[source.dtype], self._new(item), f"v{raw}")
            self.pool.give(raw, bits)
        elif bits < 32:
            raw = self.pool.take(bits)
            self.a(f"vle{bits}.v", f"v{raw}", address)
            self._width(32)
            extend = "vzext" if source.dtype.startswith("u") else "vsext"
            self.a(f"{extend}.vf{32 // bits}", self._new(item), f"v{raw}")
            self.pool.give(raw, bits)
        else:
            self.a(f"vle{bits}.v", self._new(item), address)

    def _store_mask(self, out: str) -> None:
        self._vector(self.value)
        self._select_by(self.value)
        self._width(8)
        raw = f"v{self.pool.take(8)}"
        self.a("vmv.v.i", raw, 0)
        self.a("vmerge.vim", raw, raw, 1, "v0")
        self.a("vse8.v", raw, f"({out})")

    # operations

    def _binary(self, item: Value) -> None:
        x, y = item.inputs
        if item.type == MASK and x.type == MASK:
            left, right = self._vector(x), self._vector(y)
            self.a(f"vm{item.op}.mm", self._new(item), left, right)
            self._done(item)
            return
        name, floating = instruction(item.op, x.type), x.type in FLOATING
        self._width(WIDTHS[x.type])
        if self._is_scalar(x) and not self._is_scalar(y):
            if item.op in _COMMUTE:
                x, y = y, x
            elif floating:
                x, y, name = y, x, _SWAPPED[item.op]
            elif item.op == "sub":
                x, y, name = y, x, "vrsub"
            elif item.op == "lt":
                x, y, name = y, x, "vmsgtu" if x.type in UNSIGNED else "vmsgt"
        left = self._vector(x)
        if not self._is_scalar(y):
            last, form = self._vector(y), "vv"
        elif floating:
            last, form = self._scalar(y), "vf"
        else:
            last, form, name = self._integer(item.op, name, y)
        self._width(WIDTHS[x.type])
        self.a(f"{name}.{form}", self._new(item), left, last)
        self._done(item)

    def _integer(self, op: str, name: str, y: Value) -> tuple[str, str, str]:
        """(operand, form, mnemonic) of an integer operation with a number."""
        number = int(y.payload) if y.scalar else None
        if number is not None:
            if op in ("shl", "shr", "sar"):
                number &= WIDTHS[y.type] - 1
                if number < 32:
                    return str(number), "vi", name
            elif -16 <= number <= 15 and (op in _IMMEDIATE or name in ("vrsub", "vmsgt", "vmsgtu")):
                return str(number), "vi", name
            elif op == "sub" and name == "vsub" and -15 <= number <= 16:
                return str(-number), "vi", "vadd"
        return self._scalar(y), "vx", name

    def _unary(self, item: Value) -> None:
        (x,) = item.inputs
        register = self._vector(x)
        self._width(WIDTHS[x.type])
        if item.op in _ALONE:
            self.a(_ALONE[item.op], self._new(item), register)
        else:
            self.a("vfsgnjn.vv" if item.op == "neg" else "vfsgnjx.vv", self._new(item), register, register)
        self._done(item)

    def _copysign(self, item: Value) -> None:
        x, sign = item.inputs
        self._width(32)
        left = self._vector(x)
        if self._is_scalar(sign):
            self.a("vfsgnj.vf", self._new(item), left, self._scalar(sign))
        else:
            self.a("vfsgnj.vv", self._new(item), left, self._vector(sign))
        self._done(item)

    def _not(self, item: Value) -> None:
        register = self._vector(item.inputs[0])
        self.a("vmnot.m", self._new(item), register)
        self._done(item)

    def _fma(self, item: Value) -> None:
        x, y, z = item.inputs
        if self._is_scalar(y) and not self._is_scalar(x):
            x, y = y, x
        self._width(32)
        y_register = self._vector(y)
        factor = self._scalar(x) if self._is_scalar(x) else self._vector(x)
        form = "vf" if self._is_scalar(x) else "vv"
        overwritable = [operand for operand in (z, y, x) if self._last(operand)]
        if z in overwritable and z not in (x, y):
            others: tuple[Value, ...] = (x, y)
            self.a(f"vfmacc.{form}", self._move(z, item), factor, y_register)
        elif y in overwritable and y not in (x, z):
            others = (x, z)
            addend = self._vector(z)
            self.a(f"vfmadd.{form}", self._move(y, item), factor, addend)
        else:
            others = (x, y, z)
            if self._is_scalar(z):
                self.a("vfmv.v.f", self._new(item), self._scalar_beside(z, factor))
            else:
                self.a(f"vmv{group(32, self.pool.ratio)}r.v", self._new(item), self._vector(z))
            self.a(f"vfmacc.{form}", f"v{self.at[item]}", factor, y_register)
        for operand in others:
            self._release(operand)

    def _scalar_beside(self, item: Value, other: str) -> str:
        """A number's register while ``other`` is in use: the spare one may be that."""
        if item.op == "argument" or item in self.floats or other != SPARE_FLOAT:
            return self._scalar(item)
        float_constant(self.a, "ft10", float(item.payload), SCRATCH)
        return "ft10"

    def _select(self, item: Value) -> None:
        mask, x, y = item.inputs
        other = self._vector(y)
        first = self._vector(x) if not self._is_scalar(x) else ""
        self._select_by(mask)
        self._width(WIDTHS[item.type])
        if first:
            self.a("vmerge.vvm", self._new(item), other, first, "v0")
        elif item.type in FLOATING:
            self.a("vfmerge.vfm", self._new(item), other, self._scalar(x), "v0")
        elif x.scalar and -16 <= x.payload <= 15:
            self.a("vmerge.vim", self._new(item), other, int(x.payload), "v0")
        else:
            self.a("vmerge.vxm", self._new(item), other, self._scalar(x), "v0")
        self._done(item)

    def _cast(self, item: Value) -> None:
        (x,) = item.inputs
        register = self._vector(x)
        if item.op in _RENAMED:
            if self._last(x):
                self._move(x, item)
            else:
                self.a(f"vmv{group(WIDTHS[x.type], self.pool.ratio)}r.v", self._new(item), register)
                self._done(item)
            return
        name, width = _CASTS[item.op, x.type]
        self._width(width)
        operands = (register, 0) if name == "vnsrl.wi" else (register,)
        self.a(name, self._new(item), *operands)
        self._done(item)


_CASTS = {
    ("round", F32): ("vfcvt.x.f.v", 32),
    ("truncate", F32): ("vfcvt.rtz.x.f.v", 32),
    ("truncate_wide", F32): ("vfwcvt.rtz.x.f.v", 32),
    ("truncate_wide", F64): ("vfcvt.rtz.x.f.v", 64),
    ("truncate_unsigned", F32): ("vfwcvt.rtz.xu.f.v", 32),
    ("truncate_unsigned", F64): ("vfcvt.rtz.xu.f.v", 64),
    ("float", I32): ("vfcvt.f.x.v", 32),
    ("float", U32): ("vfcvt.f.xu.v", 32),
    ("float", I64): ("vfncvt.f.x.w", 32),
    ("float", U64): ("vfncvt.f.xu.w", 32),
    ("double", F32): ("vfwcvt.f.f.v", 32),
    ("double", I32): ("vfwcvt.f.x.v", 32),
    ("double", U32): ("vfwcvt.f.xu.v", 32),
    ("double", I64): ("vfcvt.f.x.v", 64),
    ("double", U64): ("vfcvt.f.xu.v", 64),
    ("single", F64): ("vfncvt.f.f.w", 32),
    ("single_odd", F64): ("vfncvt.rod.f.f.w", 32),
    ("widen", I32): ("vsext.vf2", 64),
    ("widen", U32): ("vzext.vf2", 64),
    ("narrow", I64): ("vnsrl.wi", 32),
    ("narrow", U64): ("vnsrl.wi", 32),
}
"""(operation, operand) -> instruction and the element width at which it runs."""
_RENAMED = ("bits", "from_bits", "signed", "unsigned")
"""Casts that leave every bit."""
_EMIT = {
    **dict.fromkeys(("neg", "abs", *_ALONE), Strip._unary),
    **dict.fromkeys({op for op, _ in CASTS}, Strip._cast),
    "copysign": Strip._copysign,
    "not": Strip._not,
    "fma": Strip._fma,
    "select": Strip._select,
}
