"""F, D and Zfh (unprivileged specification, chapters 20, 21 and 24)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from potluck.isa.arithmetic.element import cast
from potluck.isa.arithmetic.floating import classify, sign_from
from potluck.isa.insn import Insn, Kind

ROUNDS: dict[str, Any] = {"rounds": True, "raises": True}
RAISES: dict[str, Any] = {"raises": True}
FORMATS = {"s": ("00", "f32"), "d": ("01", "f64"), "h": ("10", "f16")}
EXTENSIONS = {"s": "F", "d": "D", "h": "Zfh"}


def _arithmetic(letter: str) -> list[Insn]:
    code, kind = FORMATS[letter]
    extension = EXTENSIONS[letter]
    three = f"fd:{kind}, fs1:{kind}, fs2:{kind}"

    def op(name: str, head: str, timing: str, meaning: Callable[..., Any], doc: str) -> Insn:
        return Insn(f"{name}.{letter}", f"{head} {code} fs2 fs1 rm fd 1010011", f"{three}, rm", Kind.MAP, timing,
                    meaning, doc, extension, ROUNDS)  # fmt: skip

    def pick(name: str, head: str, funct3: str, meaning: Callable[..., Any], doc: str, raises: bool) -> Insn:
        return Insn(f"{name}.{letter}", f"{head} {code} fs2 fs1 {funct3} fd 1010011", three, Kind.MAP, "fmove",
                    meaning, doc, extension, RAISES if raises else {})  # fmt: skip

    def compare(name: str, funct3: str, meaning: Callable[..., Any], doc: str) -> Insn:
        return Insn(f"{name}.{letter}", f"10100 {code} fs2 fs1 {funct3} rd 1010011", f"rd, fs1:{kind}, fs2:{kind}",
                    Kind.MAP, "fmove", meaning, doc, extension, RAISES)  # fmt: skip

    def fused(name: str, opcode: str, meaning: Callable[..., Any], doc: str) -> Insn:
        return Insn(f"{name}.{letter}", f"fs3 {code} fs2 fs1 rm fd {opcode}", f"{three}, fs3:{kind}, rm", Kind.MAP,
                    "fma", meaning, doc, extension, ROUNDS)  # fmt: skip

    return [
        op("fadd", "00000", "fma", lambda fs1, fs2, fp: fp.add(fs1, fs2), "Add."),
        op("fsub", "00001", "fma", lambda fs1, fs2, fp: fp.sub(fs1, fs2), "Subtract."),
        op("fmul", "00010", "fma", lambda fs1, fs2, fp: fp.mul(fs1, fs2), "Multiply."),
        op("fdiv", "00011", "fdiv", lambda fs1, fs2, fp: fp.div(fs1, fs2), "Divide."),
        Insn(f"fsqrt.{letter}", f"01011 {code} 00000 fs1 rm fd 1010011", f"fd:{kind}, fs1:{kind}, rm", Kind.MAP,
             "fdiv", lambda fs1, fp: fp.sqrt(fs1), "Square root.", extension, ROUNDS),
        fused("fmadd", "1000011", lambda fs1, fs2, fs3, fp: fp.fma(fs1, fs2, fs3), "fs1*fs2 + fs3."),
        fused("fmsub", "1000111", lambda fs1, fs2, fs3, fp: fp.fma(fs1, fs2, -fs3), "fs1*fs2 - fs3."),
        fused("fnmsub", "1001011", lambda fs1, fs2, fs3, fp: fp.fma(-fs1, fs2, fs3), "-fs1*fs2 + fs3."),
        fused("fnmadd", "1001111", lambda fs1, fs2, fs3, fp: fp.fma(-fs1, fs2, -fs3), "-fs1*fs2 - fs3."),
        pick("fsgnj", "00100", "000", lambda fs1, fs2: sign_from(fs1, fs2, "j"), "Copy a sign.", False),
        pick("fsgnjn", "00100", "001", lambda fs1, fs2: sign_from(fs1, fs2, "n"), "Copy a negated sign.", False),
        pick("fsgnjx", "00100", "010", lambda fs1, fs2: sign_from(fs1, fs2, "x"), "Multiply signs.", False),
        pick("fmin", "00101", "000", lambda fs1, fs2, fp: fp.minimum(fs1, fs2), "Smaller number.", True),
        pick("fmax", "00101", "001", lambda fs1, fs2, fp: fp.maximum(fs1, fs2), "Larger number.", True),
        compare("feq", "010", lambda fs1, fs2, fp: fp.equal(fs1, fs2), "Equal."),
        compare("flt", "001", lambda fs1, fs2, fp: fp.less(fs1, fs2), "Less."),
        compare("fle", "000", lambda fs1, fs2, fp: fp.less_equal(fs1, fs2), "Less or equal."),
        Insn(f"fclass.{letter}", f"11100 {code} 00000 fs1 001 rd 1010011", f"rd:u64, fs1:{kind}", Kind.MAP, "fmove",
             lambda fs1: cast(classify(fs1), "u64"), "Classify.", extension),
    ]  # fmt: skip


def _conversions(letter: str) -> list[Insn]:
    code, kind = FORMATS[letter]
    extension = EXTENSIONS[letter]
    rows = []
    for name, selector, integer in (("w", "00000", "s32"), ("wu", "00001", "u32"), ("l", "00010", "s64"),
                                    ("lu", "00011", "u64")):  # fmt: skip
        result = "s32" if integer == "u32" else integer
        rows.append(Insn(
            f"fcvt.{name}.{letter}", f"11000 {code} {selector} fs1 rm rd 1010011", f"rd:{result}, fs1:{kind}, rm",
            Kind.MAP, "fcvt", _to_integer(integer), f"Convert to {integer}, saturating.", extension,
            ROUNDS))  # fmt: skip
        exact = letter == "d" and integer.endswith("32")
        rows.append(Insn(
            f"fcvt.{letter}.{name}", f"11010 {code} {selector} rs1 rm fd 1010011", f"fd:{kind}, rs1:{integer}, rm",
            Kind.MAP, "fcvt", _from_integer(kind), f"Convert from {integer}.", extension,
            {} if exact else ROUNDS))  # fmt: skip
    return rows


def _to_integer(integer: str) -> Callable[..., Any]:
    return lambda fs1, fp: fp.to_integer(fs1, integer)


def _from_integer(kind: str) -> Callable[..., Any]:
    return lambda rs1, fp: fp.from_integer(rs1, kind)


def _widen(to: str) -> Callable[..., Any]:
    return lambda fs1, fp: fp.convert(fs1, to)


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
           Kind.MAP, "fcvt", _widen(to_kind), f"Convert {of_kind} to {to_kind}.", "Zfhmin" if "h" in (to, of) else "D",
           ROUNDS if int(to_kind[1:]) < int(of_kind[1:]) else RAISES)
      for to, to_code, to_kind, of, of_code, of_kind in (
          ("s", "00", "f32", "d", "01", "f64"), ("d", "01", "f64", "s", "00", "f32"),
          ("s", "00", "f32", "h", "10", "f16"), ("h", "10", "f16", "s", "00", "f32"),
          ("d", "01", "f64", "h", "10", "f16"), ("h", "10", "f16", "d", "01", "f64"))),
]  # fmt: skip

ROWS = [*MOVES, *(row for letter in FORMATS for row in (*_arithmetic(letter), *_conversions(letter)))]
