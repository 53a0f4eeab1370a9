"""V 1.0: floating point (chapter 13), its reductions (14.3), and Zvfbfwma."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from potluck.isa.element import (
    bitcast,
    cast,
    different,
    equal,
    fabs,
    fconvert,
    fdiv,
    fma,
    isnan,
    select,
    to_float,
)
from potluck.isa.insn import Insn, Kind
from potluck.isa.rows.floats import (
    RAISES,
    ROUNDS,
    canonical,
    classify,
    fmax,
    fmin,
    sign_from,
    square_root,
    to_integer,
)

Binary = Callable[[Any, Any], Any]
OP = "1010111"


def _forms(name: str, funct6: str, f: Binary, doc: str, forms: str = "vf", timing: str = "vfma",
           attributes: dict[str, Any] = ROUNDS, kind: Kind = Kind.MAP, types: tuple[str, str, str] = ("f", "f", "f"),
           letter: str = "v") -> list[Insn]:  # fmt: skip
    """Rows ``.vv`` and ``.vf`` of ``vd[i] = f(vs2[i], operand)``; ``types`` are of vd, vs2 and the operand."""
    result, a, b = types
    rows = []
    if "v" in forms:
        rows.append(Insn(f"{name}.{letter}v", f"{funct6} vm vs2 vs1 001 vd {OP}", f"vd:{result}, vs2:{a}, vs1:{b}, vm",
                         kind, timing, lambda vs2, vs1: f(vs2, vs1), doc, "V", attributes))  # fmt: skip
    if "f" in forms:
        rows.append(Insn(f"{name}.{letter}f", f"{funct6} vm vs2 fs1 101 vd {OP}", f"vd:{result}, vs2:{a}, fs1:{b}, vm",
                         kind, timing, lambda vs2, fs1: f(vs2, fs1), doc, "V", attributes))  # fmt: skip
    return rows


def _fused(name: str, funct6: str, f: Callable[[Any, Any, Any], Any], doc: str, result: str = "f",
           source: str = "f") -> list[Insn]:  # fmt: skip
    """Rows of ``vd[i] = f(vd[i], operand, vs2[i])``."""
    return [
        Insn(f"{name}.vv", f"{funct6} vm vs2 vs1 001 vd {OP}", f"vd:{result}, vs1:{source}, vs2:{source}, vm", Kind.MAP,
             "vfma", lambda vd, vs1, vs2: canonical(f(vd, vs1, vs2)), doc, "V", ROUNDS),
        Insn(f"{name}.vf", f"{funct6} vm vs2 fs1 101 vd {OP}", f"vd:{result}, fs1:{source}, vs2:{source}, vm", Kind.MAP,
             "vfma", lambda vd, fs1, vs2: canonical(f(vd, fs1, vs2)), doc, "V", ROUNDS),
    ]  # fmt: skip


def _up(x: Any) -> Any:
    """A widening instruction's source at twice its width."""
    return fconvert(x, f"f{2 * x.type.bits}")


ARITHMETIC = [
    *_forms("vfadd", "000000", lambda a, b: canonical(a + b), "Add."),
    *_forms("vfsub", "000010", lambda a, b: canonical(a - b), "Subtract."),
    *_forms("vfrsub", "100111", lambda a, b: canonical(b - a), "Reverse subtract.", "f"),
    *_forms("vfmul", "100100", lambda a, b: canonical(a * b), "Multiply."),
    *_forms("vfdiv", "100000", lambda a, b: canonical(fdiv(a, b)), "Divide.", timing="vfdiv"),
    *_forms("vfrdiv", "100001", lambda a, b: canonical(fdiv(b, a)), "Reverse divide.", "f", "vfdiv"),
    *_forms("vfmin", "000100", fmin, "Smaller number.", timing="vfnoncomp", attributes=RAISES),
    *_forms("vfmax", "000110", fmax, "Larger number.", timing="vfnoncomp", attributes=RAISES),
    *_forms("vfsgnj", "001000", lambda a, b: sign_from(a, b, "j"), "Copy a sign.", timing="vfnoncomp", attributes={}),
    *_forms("vfsgnjn", "001001", lambda a, b: sign_from(a, b, "n"), "Copy a negated sign.", timing="vfnoncomp",
            attributes={}),
    *_forms("vfsgnjx", "001010", lambda a, b: sign_from(a, b, "x"), "Multiply signs.", timing="vfnoncomp",
            attributes={}),
    *_fused("vfmadd", "101000", lambda d, a, b: fma(d, a, b), "vd*operand + vs2."),
    *_fused("vfnmadd", "101001", lambda d, a, b: fma(-d, a, -b), "-vd*operand - vs2."),
    *_fused("vfmsub", "101010", lambda d, a, b: fma(d, a, -b), "vd*operand - vs2."),
    *_fused("vfnmsub", "101011", lambda d, a, b: fma(-d, a, b), "-vd*operand + vs2."),
    *_fused("vfmacc", "101100", lambda d, a, b: fma(a, b, d), "vd + operand*vs2."),
    *_fused("vfnmacc", "101101", lambda d, a, b: fma(-a, b, -d), "-vd - operand*vs2."),
    *_fused("vfmsac", "101110", lambda d, a, b: fma(a, b, -d), "operand*vs2 - vd."),
    *_fused("vfnmsac", "101111", lambda d, a, b: fma(-a, b, d), "vd - operand*vs2."),
    Insn("vfsqrt.v", f"010011 vm vs2 00000 001 vd {OP}", "vd:f, vs2:f, vm", Kind.MAP, "vfdiv",
         lambda vs2: square_root(vs2), "Square root.", "V", ROUNDS),
    Insn("vfclass.v", f"010011 vm vs2 10000 001 vd {OP}", "vd:u, vs2:f, vm", Kind.MAP, "vfnoncomp",
         lambda vs2: classify(vs2), "Classify.", "V"),
]  # fmt: skip

_WIDE = ("2f", "f", "f")
_WIDE_FIRST = ("2f", "2f", "f")
WIDENING = [
    *_forms("vfwadd", "110000", lambda a, b: canonical(_up(a) + _up(b)), "Widening sum.", types=_WIDE),
    *_forms("vfwsub", "110010", lambda a, b: canonical(_up(a) - _up(b)), "Widening difference.", types=_WIDE),
    *_forms("vfwadd", "110100", lambda a, b: canonical(a + _up(b)), "Add to a wide operand.", types=_WIDE_FIRST,
            letter="w"),
    *_forms("vfwsub", "110110", lambda a, b: canonical(a - _up(b)), "Subtract from a wide operand.", types=_WIDE_FIRST,
            letter="w"),
    *_forms("vfwmul", "111000", lambda a, b: canonical(_up(a) * _up(b)), "Widening product.", types=_WIDE),
    *_fused("vfwmacc", "111100", lambda d, a, b: fma(_up(a), _up(b), d), "vd + operand*vs2, widening.", "2f"),
    *_fused("vfwnmacc", "111101", lambda d, a, b: fma(-_up(a), _up(b), -d), "-vd - operand*vs2, widening.", "2f"),
    *_fused("vfwmsac", "111110", lambda d, a, b: fma(_up(a), _up(b), -d), "operand*vs2 - vd, widening.", "2f"),
    *_fused("vfwnmsac", "111111", lambda d, a, b: fma(-_up(a), _up(b), d), "vd - operand*vs2, widening.", "2f"),
]  # fmt: skip


def _bf16(x: Any) -> Any:
    """BF16 bits as FP32, exactly."""
    return bitcast(cast(x, "u32") << 16, "f32")


def _unbox(raw: Any) -> Any:
    """BF16 bits of a float register; the canonical NaN if they are not NaN-boxed."""
    return select(equal(raw >> 16, (1 << 48) - 1), cast(raw, "u16"), 0x7FC0)


def _round_to_odd(x: Any, sew: int) -> Any:
    """Toward zero, with the last bit set if anything was lost."""
    nearest = fconvert(x, f"f{sew}")
    back = fconvert(nearest, x.type)
    bits = bitcast(nearest, f"u{sew}")
    bits = select(fabs(back) > fabs(x), bits - 1, bits)
    odd = bitcast(select(different(back, x), bits | 1, bits), f"f{sew}")
    return select(isnan(x), float("nan"), odd)


BFLOAT = [
    Insn("vfwmaccbf16.vv", f"111011 vm vs2 vs1 001 vd {OP}", "vd:f32, vs1:u16, vs2:u16, vm", Kind.MAP, "vfma",
         lambda vd, vs1, vs2: canonical(fma(_bf16(vs1), _bf16(vs2), vd)), "BF16 multiply-add into FP32.", "Zvfbfwma",
         {**ROUNDS, "sew": 16}),
    Insn("vfwmaccbf16.vf", f"111011 vm vs2 fs1 101 vd {OP}", "vd:f32, fs1:u64, vs2:u16, vm", Kind.MAP, "vfma",
         lambda vd, fs1, vs2: canonical(fma(_bf16(_unbox(fs1)), _bf16(vs2), vd)), "BF16 multiply-add into FP32.",
         "Zvfbfwma", {**ROUNDS, "sew": 16}),
]  # fmt: skip

COMPARES = [
    row for name, code, forms, f, doc in (
        ("vmfeq", "011000", "vf", equal, "Equal."), ("vmfle", "011001", "vf", lambda a, b: a <= b, "Less or equal."),
        ("vmflt", "011011", "vf", lambda a, b: a < b, "Less."),
        ("vmfne", "011100", "vf", different, "Different or unordered."),
        ("vmfgt", "011101", "f", lambda a, b: a > b, "Greater."),
        ("vmfge", "011111", "f", lambda a, b: a >= b, "Greater or equal."))
    for row in _forms(name, code, f, doc, forms, "vfnoncomp", RAISES, Kind.COMPARE, ("u", "f", "f"))
]  # fmt: skip


def _unary(name: str, code: str, result: str, source: str, f: Callable[..., Any], doc: str,
           attributes: dict[str, Any] = ROUNDS) -> Insn:  # fmt: skip
    return Insn(name, f"010010 vm vs2 {code} 001 vd {OP}", f"vd:{result}, vs2:{source}, vm", Kind.MAP, "vfcvt", f, doc,
                "V", attributes)  # fmt: skip


def _to_int(kind: str, scale: float, toward_zero: bool) -> Callable[..., Any]:
    if toward_zero:
        return lambda vs2, sew: to_integer(vs2, f"{kind}{int(sew * scale)}", 1)
    return lambda vs2, sew, frm: to_integer(vs2, f"{kind}{int(sew * scale)}", frm)


def _from_int(scale: float) -> Callable[..., Any]:
    return lambda vs2, sew: to_float(vs2, f"f{int(sew * scale)}")


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
    rows.append(_unary("vfwcvt.f.f.v", "01100", "2f", "f", lambda vs2: canonical(_up(vs2)), "Widen.", RAISES))
    rows.append(_unary("vfncvt.f.f.w", "10100", "f", "2f",
                       lambda vs2, sew: canonical(fconvert(vs2, f"f{sew}")), "Narrow."))  # fmt: skip
    rows.append(_unary("vfncvt.rod.f.f.w", "10101", "f", "2f", lambda vs2, sew: _round_to_odd(vs2, sew),
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
        ("vfredusum", "000001", lambda acc, vs2: canonical(acc + vs2), "Sum in any order; here in order.", ROUNDS),
        ("vfredosum", "000011", lambda acc, vs2: canonical(acc + vs2), "Sum in element order.", ROUNDS),
        ("vfredmin", "000101", lambda acc, vs2: fmin(acc, vs2), "Smallest number.", RAISES),
        ("vfredmax", "000111", lambda acc, vs2: fmax(acc, vs2), "Largest number.", RAISES))
]  # fmt: skip

ROWS = [*ARITHMETIC, *WIDENING, *BFLOAT, *COMPARES, *CONVERSIONS, *MOVES, *REDUCTIONS]
