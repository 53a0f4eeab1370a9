"""V 1.0: floating point (chapter 13), its reductions (14.3), and Zvfbfwma."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from potluck.isa.arithmetic.element import select
from potluck.isa.arithmetic.floating import classify, sign_from, unbox_bf16
from potluck.isa.insn import Insn, Kind
from potluck.isa.rows.floats import RAISES, ROUNDS

Operation = Callable[[Any, Any, Any], Any]
OP = "1010111"


def _forms(name: str, funct6: str, f: Operation, doc: str, forms: str = "vf", timing: str = "vfma",
           attributes: dict[str, Any] = ROUNDS, kind: Kind = Kind.MAP, types: tuple[str, str, str] = ("f", "f", "f"),
           letter: str = "v") -> list[Insn]:  # fmt: skip
    """Rows ``.vv`` and ``.vf`` of ``vd[i] = f(fp, vs2[i], operand)``; ``types`` are of vd, vs2 and the operand."""
    result, a, b = types
    rows = []
    if "v" in forms:
        rows.append(Insn(f"{name}.{letter}v", f"{funct6} vm vs2 vs1 001 vd {OP}", f"vd:{result}, vs2:{a}, vs1:{b}, vm",
                         kind, timing, lambda vs2, vs1, fp: f(fp, vs2, vs1), doc, "V", attributes))  # fmt: skip
    if "f" in forms:
        rows.append(Insn(f"{name}.{letter}f", f"{funct6} vm vs2 fs1 101 vd {OP}", f"vd:{result}, vs2:{a}, fs1:{b}, vm",
                         kind, timing, lambda vs2, fs1, fp: f(fp, vs2, fs1), doc, "V", attributes))  # fmt: skip
    return rows


def _fused(name: str, funct6: str, f: Callable[[Any, Any, Any, Any], Any], doc: str, result: str = "f",
           source: str = "f") -> list[Insn]:  # fmt: skip
    """Rows of ``vd[i] = f(fp, vd[i], operand, vs2[i])``."""
    return [
        Insn(f"{name}.vv", f"{funct6} vm vs2 vs1 001 vd {OP}", f"vd:{result}, vs1:{source}, vs2:{source}, vm", Kind.MAP,
             "vfma", lambda vd, vs1, vs2, fp: f(fp, vd, vs1, vs2), doc, "V", ROUNDS),
        Insn(f"{name}.vf", f"{funct6} vm vs2 fs1 101 vd {OP}", f"vd:{result}, fs1:{source}, vs2:{source}, vm", Kind.MAP,
             "vfma", lambda vd, fs1, vs2, fp: f(fp, vd, fs1, vs2), doc, "V", ROUNDS),
    ]  # fmt: skip


def _up(fp: Any, x: Any) -> Any:
    """A widening instruction's source at twice its width."""
    return fp.widen(x, f"f{2 * x.type.bits}")


ARITHMETIC = [
    *_forms("vfadd", "000000", lambda fp, a, b: fp.add(a, b), "Add."),
    *_forms("vfsub", "000010", lambda fp, a, b: fp.sub(a, b), "Subtract."),
    *_forms("vfrsub", "100111", lambda fp, a, b: fp.sub(b, a), "Reverse subtract.", "f"),
    *_forms("vfmul", "100100", lambda fp, a, b: fp.mul(a, b), "Multiply."),
    *_forms("vfdiv", "100000", lambda fp, a, b: fp.div(a, b), "Divide.", timing="vfdiv"),
    *_forms("vfrdiv", "100001", lambda fp, a, b: fp.div(b, a), "Reverse divide.", "f", "vfdiv"),
    *_forms("vfmin", "000100", lambda fp, a, b: fp.minimum(a, b), "Smaller number.", timing="vfnoncomp",
            attributes=RAISES),
    *_forms("vfmax", "000110", lambda fp, a, b: fp.maximum(a, b), "Larger number.", timing="vfnoncomp",
            attributes=RAISES),
    *_forms("vfsgnj", "001000", lambda fp, a, b: sign_from(a, b, "j"), "Copy a sign.", timing="vfnoncomp",
            attributes={}),
    *_forms("vfsgnjn", "001001", lambda fp, a, b: sign_from(a, b, "n"), "Copy a negated sign.", timing="vfnoncomp",
            attributes={}),
    *_forms("vfsgnjx", "001010", lambda fp, a, b: sign_from(a, b, "x"), "Multiply signs.", timing="vfnoncomp",
            attributes={}),
    *_fused("vfmadd", "101000", lambda fp, d, a, b: fp.fma(d, a, b), "vd*operand + vs2."),
    *_fused("vfnmadd", "101001", lambda fp, d, a, b: fp.fma(-d, a, -b), "-vd*operand - vs2."),
    *_fused("vfmsub", "101010", lambda fp, d, a, b: fp.fma(d, a, -b), "vd*operand - vs2."),
    *_fused("vfnmsub", "101011", lambda fp, d, a, b: fp.fma(-d, a, b), "-vd*operand + vs2."),
    *_fused("vfmacc", "101100", lambda fp, d, a, b: fp.fma(a, b, d), "vd + operand*vs2."),
    *_fused("vfnmacc", "101101", lambda fp, d, a, b: fp.fma(-a, b, -d), "-vd - operand*vs2."),
    *_fused("vfmsac", "101110", lambda fp, d, a, b: fp.fma(a, b, -d), "operand*vs2 - vd."),
    *_fused("vfnmsac", "101111", lambda fp, d, a, b: fp.fma(-a, b, d), "vd - operand*vs2."),
    Insn("vfsqrt.v", f"010011 vm vs2 00000 001 vd {OP}", "vd:f, vs2:f, vm", Kind.MAP, "vfdiv",
         lambda vs2, fp: fp.sqrt(vs2), "Square root.", "V", ROUNDS),
    Insn("vfrec7.v", f"010011 vm vs2 00101 001 vd {OP}", "vd:f, vs2:f, vm", Kind.MAP, "vfnoncomp",
         lambda vs2, fp: fp.reciprocal7(vs2), "Reciprocal to 7 bits.", "V", ROUNDS),
    Insn("vfrsqrt7.v", f"010011 vm vs2 00100 001 vd {OP}", "vd:f, vs2:f, vm", Kind.MAP, "vfnoncomp",
         lambda vs2, fp: fp.reciprocal_root7(vs2), "Reciprocal square root to 7 bits.", "V", RAISES),
    Insn("vfclass.v", f"010011 vm vs2 10000 001 vd {OP}", "vd:u, vs2:f, vm", Kind.MAP, "vfnoncomp",
         lambda vs2: classify(vs2), "Classify.", "V"),
]  # fmt: skip

_WIDE = ("2f", "f", "f")
_WIDE_FIRST = ("2f", "2f", "f")
WIDENING = [
    *_forms("vfwadd", "110000", lambda fp, a, b: fp.add(_up(fp, a), _up(fp, b)), "Widening sum.", types=_WIDE),
    *_forms("vfwsub", "110010", lambda fp, a, b: fp.sub(_up(fp, a), _up(fp, b)), "Widening difference.",
            types=_WIDE),
    *_forms("vfwadd", "110100", lambda fp, a, b: fp.add(a, _up(fp, b)), "Add to a wide operand.", types=_WIDE_FIRST,
            letter="w"),
    *_forms("vfwsub", "110110", lambda fp, a, b: fp.sub(a, _up(fp, b)), "Subtract from a wide operand.",
            types=_WIDE_FIRST, letter="w"),
    *_forms("vfwmul", "111000", lambda fp, a, b: fp.mul(_up(fp, a), _up(fp, b)), "Widening product.", types=_WIDE),
    *_fused("vfwmacc", "111100", lambda fp, d, a, b: fp.fma(_up(fp, a), _up(fp, b), d),
            "vd + operand*vs2, widening.", "2f"),
    *_fused("vfwnmacc", "111101", lambda fp, d, a, b: fp.fma(-_up(fp, a), _up(fp, b), -d),
            "-vd - operand*vs2, widening.", "2f"),
    *_fused("vfwmsac", "111110", lambda fp, d, a, b: fp.fma(_up(fp, a), _up(fp, b), -d),
            "operand*vs2 - vd, widening.", "2f"),
    *_fused("vfwnmsac", "111111", lambda fp, d, a, b: fp.fma(-_up(fp, a), _up(fp, b), d),
            "vd - operand*vs2, widening.", "2f"),
]  # fmt: skip

BFLOAT = [
    Insn("vfwmaccbf16.vv", f"111011 vm vs2 vs1 001 vd {OP}", "vd:f32, vs1:u16, vs2:u16, vm", Kind.MAP, "vfma",
         lambda vd, vs1, vs2, fp: fp.fma(fp.widen_bf16(vs1), fp.widen_bf16(vs2), vd),
         "BF16 multiply-add into FP32.", "Zvfbfwma", {**ROUNDS, "sew": 16}),
    Insn("vfwmaccbf16.vf", f"111011 vm vs2 fs1 101 vd {OP}", "vd:f32, fs1:u64, vs2:u16, vm", Kind.MAP, "vfma",
         lambda vd, fs1, vs2, fp: fp.fma(fp.widen_bf16(unbox_bf16(fs1)), fp.widen_bf16(vs2), vd),
         "BF16 multiply-add into FP32.", "Zvfbfwma", {**ROUNDS, "sew": 16}),
]  # fmt: skip

COMPARES = [
    row for name, code, forms, f, doc in (
        ("vmfeq", "011000", "vf", lambda fp, a, b: fp.equal(a, b), "Equal."),
        ("vmfle", "011001", "vf", lambda fp, a, b: fp.less_equal(a, b), "Less or equal."),
        ("vmflt", "011011", "vf", lambda fp, a, b: fp.less(a, b), "Less."),
        ("vmfne", "011100", "vf", lambda fp, a, b: fp.different(a, b), "Different or unordered."),
        ("vmfgt", "011101", "f", lambda fp, a, b: fp.less(b, a), "Greater."),
        ("vmfge", "011111", "f", lambda fp, a, b: fp.less_equal(b, a), "Greater or equal."))
    for row in _forms(name, code, f, doc, forms, "vfnoncomp", RAISES, Kind.COMPARE, ("u", "f", "f"))
]  # fmt: skip


def _unary(name: str, code: str, result: str, source: str, f: Callable[..., Any], doc: str,
           attributes: dict[str, Any] = ROUNDS) -> Insn:  # fmt: skip
    return Insn(name, f"010010 vm vs2 {code} 001 vd {OP}", f"vd:{result}, vs2:{source}, vm", Kind.MAP, "vfcvt", f, doc,
                "V", attributes)  # fmt: skip


def _to_int(kind: str, scale: float, toward_zero: bool) -> Callable[..., Any]:
    if toward_zero:
        return lambda vs2, sew, fp: fp.truncate(vs2, f"{kind}{int(sew * scale)}")
    return lambda vs2, sew, fp: fp.to_integer(vs2, f"{kind}{int(sew * scale)}")


def _from_int(scale: float) -> Callable[..., Any]:
    return lambda vs2, sew, fp: fp.from_integer(vs2, f"f{int(sew * scale)}")


def _conversions() -> list[Insn]:
    rows = []
    groups = (
        ("vfcvt", "v", "00", "", "", 1),
        ("vfwcvt", "v", "01", "2", "", 2),
        ("vfncvt", "w", "10", "", "2", 1),
    )
    for stem, tail, group, to, of, scale in groups:
        for kind, name, bit in (("u", "xu", "0"), ("s", "x", "1")):
            rows.append(_unary(f"{stem}.{name}.f.{tail}", f"{group}00{bit}", f"{to}{kind}", f"{of}f",
                               _to_int(kind, scale, False), "Float to integer, saturating."))  # fmt: skip
            rows.append(_unary(f"{stem}.rtz.{name}.f.{tail}", f"{group}11{bit}", f"{to}{kind}", f"{of}f",
                               _to_int(kind, scale, True), "Float to integer toward zero, saturating.",
                               RAISES))  # fmt: skip
            rows.append(_unary(f"{stem}.f.{name}.{tail}", f"{group}01{bit}", f"{to}f", f"{of}{kind}",
                               _from_int(scale), "Integer to float.",
                               {} if stem == "vfwcvt" else ROUNDS))  # fmt: skip
    rows.append(
        _unary(
            "vfwcvt.f.f.v",
            "01100",
            "2f",
            "f",
            lambda vs2, sew, fp: fp.convert(vs2, f"f{2 * sew}"),
            "Widen.",
            RAISES,
        )
    )
    rows.append(_unary("vfncvt.f.f.w", "10100", "f", "2f",
                       lambda vs2, sew, fp: fp.convert(vs2, f"f{sew}"), "Narrow."))  # fmt: skip
    rows.append(_unary("vfncvt.rod.f.f.w", "10101", "f", "2f", lambda vs2, sew, fp: fp.convert_to_odd(vs2, f"f{sew}"),
                       "Narrow, rounding to odd.", RAISES))  # fmt: skip
    return rows


CONVERSIONS = _conversions()

MOVES = [
    Insn("vfmerge.vfm", f"010111 0 vs2 fs1 101 vd {OP}", "vd:f, vs2:f, fs1:f, v0", Kind.MAP, "vint",
         lambda vs2, fs1, v0: select(v0, fs1, vs2), "Choose by mask.", "V"),
    Insn("vfmv.v.f", f"010111 1 00000 fs1 101 vd {OP}", "vd:f, fs1:f", Kind.MAP, "vmove", lambda fs1: fs1,
         "Splat a float.", "V"),
    Insn("vfmv.f.s", f"010000 1 vs2 00000 001 fd {OP}", "fd:f, vs2[0]:f", Kind.MAP, "vxs", lambda vs2: vs2,
         "Element 0 to a float register.", "V"),
    Insn("vfmv.s.f", f"010000 1 00000 fs1 101 vd {OP}", "vd[0]:f, fs1:f", Kind.MAP, "vmove", lambda fs1: fs1,
         "Float to element 0.", "V"),
]  # fmt: skip

REDUCTIONS = [
    Insn(f"{name}.vs", f"{code} vm vs2 vs1 001 vd {OP}", "vd[0]:f, vs2:f, vs1[0]:f, vm", Kind.REDUCE, "vfred", f, doc,
         "V", attributes)
    for name, code, f, doc, attributes in (
        ("vfredusum", "000001", lambda acc, vs2, fp: fp.add(acc, vs2), "Sum in any order; here in order.", ROUNDS),
        ("vfredosum", "000011", lambda acc, vs2, fp: fp.add(acc, vs2), "Sum in element order.", ROUNDS),
        ("vfredmin", "000101", lambda acc, vs2, fp: fp.minimum(acc, vs2), "Smallest number.", RAISES),
        ("vfredmax", "000111", lambda acc, vs2, fp: fp.maximum(acc, vs2), "Largest number.", RAISES))
]  # fmt: skip

ROWS = [*ARITHMETIC, *WIDENING, *BFLOAT, *COMPARES, *CONVERSIONS, *MOVES, *REDUCTIONS]
