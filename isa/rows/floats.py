"""F, D and the half-precision loads and conversions of Zfhmin (unprivileged specification, chapters 20 to 22)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from potluck.isa.element import (
    bitcast,
    cast,
    ceil,
    equal,
    fabs,
    fconvert,
    fdiv,
    floor,
    fma,
    isnan,
    rint,
    select,
    sqrt,
    to_float,
    to_int,
    trunc,
)
from potluck.isa.insn import Insn, Kind

ROUNDS: dict[str, Any] = {"rounds": True, "raises": True}
RAISES: dict[str, Any] = {"raises": True}
FORMATS = {"s": ("00", "f32"), "d": ("01", "f64")}


def canonical(x: Any) -> Any:
    """NaN results are the canonical quiet NaN, whatever the operands carried.

    The choice is made on integers: LLVM may replace a choice between NaNs of floating type by either.
    """
    width = x.type.bits
    quiet = {16: 0x7E00, 32: 0x7FC00000, 64: 0x7FF8 << 48}[width]
    return bitcast(select(isnan(x), quiet, bitcast(x, f"u{width}")), x.type)


def square_root(x: Any) -> Any:
    """Square root by magnitude, as LLVM folds a choice between NaN and the root of ``x`` itself into that root."""
    width = x.type.bits
    root = bitcast(sqrt(fabs(x)), f"u{width}")
    quiet = {16: 0x7E00, 32: 0x7FC00000, 64: 0x7FF8 << 48}[width]
    bits = select(equal(x, 0.0), bitcast(x, f"u{width}"), root)  # the root of -0 is -0
    return bitcast(select(isnan(x) | (x < 0.0), quiet, bits), x.type)


def sign_bit(x: Any) -> Any:
    """Whether the sign bit is set."""
    return bitcast(x, f"s{x.type.bits}") < 0


def fmin(a: Any, b: Any) -> Any:
    """IEEE minimumNumber: a NaN loses against a number, -0 is below +0."""
    smaller = select((a < b) | (equal(a, b) & sign_bit(a)), a, b)
    return canonical(select(isnan(a), b, select(isnan(b), a, smaller)))


def fmax(a: Any, b: Any) -> Any:
    """IEEE maximumNumber: a NaN loses against a number, +0 is above -0."""
    larger = select((a > b) | (equal(a, b) & sign_bit(b)), a, b)
    return canonical(select(isnan(a), b, select(isnan(b), a, larger)))


def sign_from(a: Any, b: Any, how: str) -> Any:
    """The magnitude of ``a`` with the sign of ``b`` (``j``), its complement (``n``) or the product of signs (``x``)."""
    width = a.type.bits
    sign = 1 << width - 1
    ua, ub = bitcast(a, f"u{width}"), bitcast(b, f"u{width}")
    if how == "x":
        return bitcast(ua ^ (ub & sign), a.type)
    return bitcast((ua & (sign - 1)) | ((~ub if how == "n" else ub) & sign), a.type)


def round_to_integral(x: Any, frm: int) -> Any:
    """Round to an integral value under a static rounding mode."""
    if frm == 4:  # nearest, ties away
        down = trunc(x)
        away = fabs(x - down) >= 0.5
        one = bitcast(bitcast(x, f"u{x.type.bits}") & (1 << x.type.bits - 1), x.type) + 0.0
        step = sign_from(select(away, one * 0.0 + 1.0, 0.0), x, "j")
        return down + step
    return {0: rint, 1: trunc, 2: floor, 3: ceil}[frm](x)


def to_integer(x: Any, kind: str, frm: int) -> Any:
    """Saturating conversion: out of range goes to the nearest bound, NaN to the largest value."""
    signed, width = kind[0] == "s", int(kind[1:])
    low, high = (-(2.0 ** (width - 1)), 2.0 ** (width - 1)) if signed else (0.0, 2.0**width)
    largest = (1 << width - 1) - 1 if signed else (1 << width) - 1
    smallest = -(1 << width - 1) if signed else 0
    value = round_to_integral(x, frm)
    over = isnan(x) | (value >= high) if x.type.bits > 16 or high < 65536.0 else isnan(x) | (value > 65504.0)
    under = value < low if x.type.bits > 16 or low > -65536.0 else value < -65504.0
    safe = select(over | under, 0.0, value)
    return select(over, largest, select(under, smallest, to_int(safe, kind)))


def classify(x: Any) -> Any:
    """The ten classes of fclass as a one-hot mask, in the unsigned type of the operand's width."""
    width = x.type.bits
    fraction = {16: 10, 32: 23, 64: 52}[width]
    bits = bitcast(x, f"u{width}")
    top = (1 << width - 1 - fraction) - 1
    exponent = (bits >> fraction) & top
    mantissa = bits & ((1 << fraction) - 1)
    negative = sign_bit(x)
    zero, special, empty = equal(exponent, 0), equal(exponent, top), equal(mantissa, 0)

    def pick(minus: int, plus: int) -> Any:
        return select(negative, bits * 0 + (1 << minus), 1 << plus)

    finite = select(zero, select(empty, pick(3, 4), pick(2, 5)), pick(1, 6))
    quiet = (mantissa >> (fraction - 1)) > 0
    nan = select(quiet, bits * 0 + (1 << 9), 1 << 8)
    return select(special, select(empty, pick(0, 7), nan), finite)


def _arithmetic(letter: str) -> list[Insn]:
    code, kind = FORMATS[letter]
    three = f"fd:{kind}, fs1:{kind}, fs2:{kind}"

    def op(name: str, head: str, timing: str, meaning: Callable[..., Any], doc: str) -> Insn:
        return Insn(f"{name}.{letter}", f"{head} {code} fs2 fs1 rm fd 1010011", f"{three}, rm", Kind.MAP, timing,
                    meaning, doc, "F", ROUNDS)  # fmt: skip

    def pick(name: str, head: str, funct3: str, meaning: Callable[..., Any], doc: str, raises: bool) -> Insn:
        return Insn(f"{name}.{letter}", f"{head} {code} fs2 fs1 {funct3} fd 1010011", three, Kind.MAP, "fmove",
                    meaning, doc, "F", RAISES if raises else {})  # fmt: skip

    def compare(name: str, funct3: str, meaning: Callable[..., Any], doc: str) -> Insn:
        return Insn(f"{name}.{letter}", f"10100 {code} fs2 fs1 {funct3} rd 1010011", f"rd, fs1:{kind}, fs2:{kind}",
                    Kind.MAP, "fmove", meaning, doc, "F", RAISES)  # fmt: skip

    def fused(name: str, opcode: str, meaning: Callable[..., Any], doc: str) -> Insn:
        return Insn(f"{name}.{letter}", f"fs3 {code} fs2 fs1 rm fd {opcode}", f"{three}, fs3:{kind}, rm", Kind.MAP,
                    "fma", meaning, doc, "F", ROUNDS)  # fmt: skip

    return [
        op("fadd", "00000", "fma", lambda fs1, fs2: canonical(fs1 + fs2), "Add."),
        op("fsub", "00001", "fma", lambda fs1, fs2: canonical(fs1 - fs2), "Subtract."),
        op("fmul", "00010", "fma", lambda fs1, fs2: canonical(fs1 * fs2), "Multiply."),
        op("fdiv", "00011", "fdiv", lambda fs1, fs2: canonical(fdiv(fs1, fs2)), "Divide."),
        Insn(f"fsqrt.{letter}", f"01011 {code} 00000 fs1 rm fd 1010011", f"fd:{kind}, fs1:{kind}, rm", Kind.MAP,
             "fdiv", lambda fs1: square_root(fs1), "Square root.", "F", ROUNDS),
        fused("fmadd", "1000011", lambda fs1, fs2, fs3: canonical(fma(fs1, fs2, fs3)), "fs1*fs2 + fs3."),
        fused("fmsub", "1000111", lambda fs1, fs2, fs3: canonical(fma(fs1, fs2, -fs3)), "fs1*fs2 - fs3."),
        fused("fnmsub", "1001011", lambda fs1, fs2, fs3: canonical(fma(-fs1, fs2, fs3)), "-fs1*fs2 + fs3."),
        fused("fnmadd", "1001111", lambda fs1, fs2, fs3: canonical(fma(-fs1, fs2, -fs3)), "-fs1*fs2 - fs3."),
        pick("fsgnj", "00100", "000", lambda fs1, fs2: sign_from(fs1, fs2, "j"), "Copy a sign.", False),
        pick("fsgnjn", "00100", "001", lambda fs1, fs2: sign_from(fs1, fs2, "n"), "Copy a negated sign.", False),
        pick("fsgnjx", "00100", "010", lambda fs1, fs2: sign_from(fs1, fs2, "x"), "Multiply signs.", False),
        pick("fmin", "00101", "000", lambda fs1, fs2: fmin(fs1, fs2), "Smaller number.", True),
        pick("fmax", "00101", "001", lambda fs1, fs2: fmax(fs1, fs2), "Larger number.", True),
        compare("feq", "010", lambda fs1, fs2: equal(fs1, fs2), "Equal."),
        compare("flt", "001", lambda fs1, fs2: fs1 < fs2, "Less."),
        compare("fle", "000", lambda fs1, fs2: fs1 <= fs2, "Less or equal."),
        Insn(f"fclass.{letter}", f"11100 {code} 00000 fs1 001 rd 1010011", f"rd:u64, fs1:{kind}", Kind.MAP, "fmove",
             lambda fs1: cast(classify(fs1), "u64"), "Classify.", "F"),
    ]  # fmt: skip


def _conversions(letter: str) -> list[Insn]:
    code, kind = FORMATS[letter]
    rows = []
    for name, selector, integer in (("w", "00000", "s32"), ("wu", "00001", "u32"), ("l", "00010", "s64"),
                                    ("lu", "00011", "u64")):  # fmt: skip
        result = "s32" if integer == "u32" else integer
        rows.append(Insn(
            f"fcvt.{name}.{letter}", f"11000 {code} {selector} fs1 rm rd 1010011", f"rd:{result}, fs1:{kind}, rm",
            Kind.MAP, "fcvt", _to_integer(integer), f"Convert to {integer}, saturating.", "F", ROUNDS))  # fmt: skip
        exact = letter == "d" and integer.endswith("32")
        rows.append(Insn(
            f"fcvt.{letter}.{name}", f"11010 {code} {selector} rs1 rm fd 1010011", f"fd:{kind}, rs1:{integer}, rm",
            Kind.MAP, "fcvt", _from_integer(kind), f"Convert from {integer}.", "F",
            {} if exact else ROUNDS))  # fmt: skip
    return rows


def _to_integer(integer: str) -> Callable[..., Any]:
    return lambda fs1, frm: to_integer(fs1, integer, frm)


def _from_integer(kind: str) -> Callable[..., Any]:
    return lambda rs1: to_float(rs1, kind)


def _widen(to: str) -> Callable[..., Any]:
    return lambda fs1: canonical(fconvert(fs1, to))


MOVES = [
    Insn("flh", "imm[11:0] rs1 001 fd 0000111", "fd:f16, imm(rs1)", Kind.LOAD, "fload", None, "Load FP16.", "Zfhmin"),
    Insn("flw", "imm[11:0] rs1 010 fd 0000111", "fd:f32, imm(rs1)", Kind.LOAD, "fload", None, "Load FP32.", "F"),
    Insn("fld", "imm[11:0] rs1 011 fd 0000111", "fd:f64, imm(rs1)", Kind.LOAD, "fload", None, "Load FP64.", "D"),
    Insn("fsh", "imm[11:5] fs2 rs1 001 imm[4:0] 0100111", "fs2:f16, imm(rs1)", Kind.STORE, "fstore", None,
         "Store FP16.", "Zfhmin"),
    Insn("fsw", "imm[11:5] fs2 rs1 010 imm[4:0] 0100111", "fs2:f32, imm(rs1)", Kind.STORE, "fstore", None,
         "Store FP32.", "F"),
    Insn("fsd", "imm[11:5] fs2 rs1 011 imm[4:0] 0100111", "fs2:f64, imm(rs1)", Kind.STORE, "fstore", None,
         "Store FP64.", "D"),
    Insn("fmv.x.h", "11100 10 00000 fs1 000 rd 1010011", "rd:s16, fs1:u16", Kind.MAP, "fmove",
         lambda fs1: fs1, "Move FP16 bits.", "Zfhmin"),
    Insn("fmv.h.x", "11110 10 00000 rs1 000 fd 1010011", "fd:u16, rs1:u16", Kind.MAP, "fmove",
         lambda rs1: rs1, "Move bits to FP16.", "Zfhmin"),
    Insn("fmv.x.w", "11100 00 00000 fs1 000 rd 1010011", "rd:s32, fs1:u32", Kind.MAP, "fmove",
         lambda fs1: fs1, "Move FP32 bits.", "F"),
    Insn("fmv.w.x", "11110 00 00000 rs1 000 fd 1010011", "fd:u32, rs1:u32", Kind.MAP, "fmove",
         lambda rs1: rs1, "Move bits to FP32.", "F"),
    Insn("fmv.x.d", "11100 01 00000 fs1 000 rd 1010011", "rd:u64, fs1:u64", Kind.MAP, "fmove",
         lambda fs1: fs1, "Move FP64 bits.", "D"),
    Insn("fmv.d.x", "11110 01 00000 rs1 000 fd 1010011", "fd:u64, rs1:u64", Kind.MAP, "fmove",
         lambda rs1: rs1, "Move bits to FP64.", "D"),
    *(Insn(f"fcvt.{to}.{of}", f"01000 {to_code} 000{of_code} fs1 rm fd 1010011", f"fd:{to_kind}, fs1:{of_kind}, rm",
           Kind.MAP, "fcvt", _widen(to_kind), f"Convert {of_kind} to {to_kind}.", "F",
           ROUNDS if int(to_kind[1:]) < int(of_kind[1:]) else RAISES)
      for to, to_code, to_kind, of, of_code, of_kind in (
          ("s", "00", "f32", "d", "01", "f64"), ("d", "01", "f64", "s", "00", "f32"),
          ("s", "00", "f32", "h", "10", "f16"), ("h", "10", "f16", "s", "00", "f32"))),
]  # fmt: skip

ROWS = [*MOVES, *(row for letter in FORMATS for row in (*_arithmetic(letter), *_conversions(letter)))]
