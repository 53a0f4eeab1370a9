"""V 1.0: integer arithmetic, masks, permutations (chapters 11, 14.1, 15, 16)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from potluck.isa.arithmetic.element import (
    cast,
    ctz,
    different,
    equal,
    maximum,
    minimum,
    popcount,
    select,
)
from potluck.isa.insn import Insn, Kind
from potluck.isa.rows.rv64 import divide, modulo

Binary = Callable[[Any, Any], Any]
OP = "1010111"


def _forms(name: str, funct6: str, forms: str, f: Binary, doc: str, kind: str = "s", timing: str = "vint",
           how: Kind = Kind.MAP, result: str | None = None,
           unsigned_immediate: bool = False) -> list[Insn]:  # fmt: skip
    """Rows ``.vv .vx .vi`` of ``vd[i] = f(vs2[i], operand)``."""
    result = result or kind
    immediate = "uimm" if unsigned_immediate else "imm"
    table: dict[str, tuple[str, str, str, Callable[..., Any]]] = {
        "v": ("vv", "vs1", "000", lambda vs2, vs1: f(vs2, vs1)),
        "x": ("vx", "rs1", "100", lambda vs2, rs1: f(vs2, rs1)),
        "i": ("vi", immediate, "011", (lambda vs2, uimm: f(vs2, uimm)) if unsigned_immediate
              else (lambda vs2, imm: f(vs2, imm))),
    }  # fmt: skip
    rows = []
    for form in forms:
        suffix, source, funct3, meaning = table[form]
        field = source if form != "i" else f"{source}[4:0]"
        rows.append(Insn(f"{name}.{suffix}", f"{funct6} vm vs2 {field} {funct3} vd {OP}",
                         f"vd:{result}, vs2:{kind}, {source}:{kind}, vm", how, timing, meaning, doc, "V"))  # fmt: skip
    return rows


def _multiply_forms(name: str, funct6: str, f: Binary, doc: str, a: str = "s", b: str = "s", result: str | None = None,
                    timing: str = "vimul", second: str = "") -> list[Insn]:  # fmt: skip
    """OPMVV and OPMVX rows of ``vd[i] = f(vs2[i], operand)``; ``second`` widens the mnemonic (``.wv``)."""
    result = result or a
    letter = second or "v"
    return [
        Insn(f"{name}.{letter}v", f"{funct6} vm vs2 vs1 010 vd {OP}", f"vd:{result}, vs2:{a}, vs1:{b}, vm", Kind.MAP,
             timing, lambda vs2, vs1: f(vs2, vs1), doc, "V"),
        Insn(f"{name}.{letter}x", f"{funct6} vm vs2 rs1 110 vd {OP}", f"vd:{result}, vs2:{a}, rs1:{b}, vm", Kind.MAP,
             timing, lambda vs2, rs1: f(vs2, rs1), doc, "V"),
    ]  # fmt: skip


def _accumulate(name: str, funct6: str, f: Callable[[Any, Any, Any], Any], doc: str, multiplier: str = "s",
                multiplicand: str = "s", result: str = "s", forms: str = "vx") -> list[Insn]:  # fmt: skip
    """Rows of ``vd[i] = f(vd[i], operand, vs2[i])`` in the assembly order of multiply-adds."""
    rows = []
    if "v" in forms:
        rows.append(Insn(f"{name}.vv", f"{funct6} vm vs2 vs1 010 vd {OP}",
                         f"vd:{result}, vs1:{multiplier}, vs2:{multiplicand}, vm", Kind.MAP, "vimul",
                         lambda vd, vs1, vs2: f(vd, vs1, vs2), doc, "V"))  # fmt: skip
    rows.append(Insn(f"{name}.vx", f"{funct6} vm vs2 rs1 110 vd {OP}",
                     f"vd:{result}, rs1:{multiplier}, vs2:{multiplicand}, vm", Kind.MAP, "vimul",
                     lambda vd, rs1, vs2: f(vd, rs1, vs2), doc, "V"))  # fmt: skip
    return rows


def _shift_amount(a: Any, b: Any) -> Any:
    return b & (a.type.bits - 1)


def _narrow_shift(a: Any, b: Any) -> Any:
    return cast(a >> (cast(b, f"{a.type.kind}{a.type.bits}") & (a.type.bits - 1)), f"u{a.type.bits // 2}")


def _high(a: Any, b: Any) -> Any:
    """Upper half of a product, each factor extended by its own kind."""
    width = a.type.bits
    return cast((cast(a, f"s{2 * width}") * cast(b, f"s{2 * width}")) >> width, f"u{width}")


def _wide(a: Any, b: Any) -> tuple[Any, Any]:
    """Both factors at twice the width, each extended by its own kind."""
    return cast(a, f"s{2 * a.type.bits}"), cast(b, f"s{2 * b.type.bits}")


ARITHMETIC = [
    *_forms("vadd", "000000", "vxi", lambda a, b: a + b, "Add."),
    *_forms("vsub", "000010", "vx", lambda a, b: a - b, "Subtract."),
    *_forms("vrsub", "000011", "xi", lambda a, b: b - a, "Reverse subtract."),
    *_forms("vminu", "000100", "vx", minimum, "Unsigned minimum.", "u"),
    *_forms("vmin", "000101", "vx", minimum, "Minimum."),
    *_forms("vmaxu", "000110", "vx", maximum, "Unsigned maximum.", "u"),
    *_forms("vmax", "000111", "vx", maximum, "Maximum."),
    *_forms("vand", "001001", "vxi", lambda a, b: a & b, "And."),
    *_forms("vor", "001010", "vxi", lambda a, b: a | b, "Or."),
    *_forms("vxor", "001011", "vxi", lambda a, b: a ^ b, "Exclusive or."),
    *_forms("vsll", "100101", "vxi", lambda a, b: a << _shift_amount(a, b), "Shift left.", "u",
            unsigned_immediate=True),
    *_forms("vsrl", "101000", "vxi", lambda a, b: a >> _shift_amount(a, b), "Shift right logical.", "u",
            unsigned_immediate=True),
    *_forms("vsra", "101001", "vxi", lambda a, b: a >> _shift_amount(a, b), "Shift right arithmetic.", "s",
            unsigned_immediate=True),
    *_multiply_forms("vmul", "100101", lambda a, b: a * b, "Product, low half."),
    *_multiply_forms("vmulh", "100111", _high, "Signed product, high half."),
    *_multiply_forms("vmulhu", "100100", _high, "Unsigned product, high half.", "u", "u"),
    *_multiply_forms("vmulhsu", "100110", _high, "Signed times unsigned, high half.", "s", "u"),
    *_multiply_forms("vdivu", "100000", divide, "Unsigned quotient.", "u", "u", timing="vidiv"),
    *_multiply_forms("vdiv", "100001", divide, "Signed quotient.", timing="vidiv"),
    *_multiply_forms("vremu", "100010", modulo, "Unsigned remainder.", "u", "u", timing="vidiv"),
    *_multiply_forms("vrem", "100011", modulo, "Signed remainder.", timing="vidiv"),
    *_accumulate("vmacc", "101101", lambda d, a, b: d + a * b, "vd + operand*vs2."),
    *_accumulate("vnmsac", "101111", lambda d, a, b: d - a * b, "vd - operand*vs2."),
    *_accumulate("vmadd", "101001", lambda d, a, b: d * a + b, "vd*operand + vs2."),
    *_accumulate("vnmsub", "101011", lambda d, a, b: b - d * a, "vs2 - vd*operand."),
]  # fmt: skip

_W: Binary = lambda a, b: _wide(a, b)[0] * _wide(a, b)[1]  # noqa: E731
WIDENING = [
    *(row for name, code, kind, f, doc in (
        ("vwaddu", "110000", "u", lambda a, b: _wide(a, b)[0] + _wide(a, b)[1], "Widening unsigned sum."),
        ("vwadd", "110001", "s", lambda a, b: _wide(a, b)[0] + _wide(a, b)[1], "Widening sum."),
        ("vwsubu", "110010", "u", lambda a, b: _wide(a, b)[0] - _wide(a, b)[1], "Widening unsigned difference."),
        ("vwsub", "110011", "s", lambda a, b: _wide(a, b)[0] - _wide(a, b)[1], "Widening difference."))
      for row in _multiply_forms(name, code, f, doc, kind, kind, "2s", "vwint")),
    *(row for name, code, kind, f, doc in (
        ("vwaddu", "110100", "u", lambda a, b: a + cast(b, a.type), "Add to a wide operand, unsigned."),
        ("vwadd", "110101", "s", lambda a, b: a + cast(b, a.type), "Add to a wide operand."),
        ("vwsubu", "110110", "u", lambda a, b: a - cast(b, a.type), "Subtract from a wide operand, unsigned."),
        ("vwsub", "110111", "s", lambda a, b: a - cast(b, a.type), "Subtract from a wide operand."))
      for row in _multiply_forms(name, code, f, doc, f"2{kind}", kind, f"2{kind}", "vwint", second="w")),
    *_multiply_forms("vwmulu", "111000", _W, "Widening unsigned product.", "u", "u", "2s"),
    *_multiply_forms("vwmulsu", "111010", _W, "Widening product, vs2 signed.", "s", "u", "2s"),
    *_multiply_forms("vwmul", "111011", _W, "Widening signed product.", "s", "s", "2s"),
    *_accumulate("vwmaccu", "111100", lambda d, a, b: d + _W(a, b), "Widening multiply-add.", "u", "u", "2s"),
    *_accumulate("vwmacc", "111101", lambda d, a, b: d + _W(a, b), "Widening multiply-add.", "s", "s", "2s"),
    *_accumulate("vwmaccsu", "111111", lambda d, a, b: d + _W(a, b), "Widening multiply-add, vs2 unsigned.", "s", "u",
                 "2s"),
    *_accumulate("vwmaccus", "111110", lambda d, a, b: d + _W(a, b), "Widening multiply-add, vs2 signed.", "u", "s",
                 "2s", "x"),
    *(Insn(f"v{letter}ext.vf{n}", f"010010 vm vs2 00{code}{bit} 010 vd {OP}", f"vd:{kind}, vs2:{kind}/{n}, vm",
           Kind.MAP, "vwint", (lambda vs2, sew, kind=kind: cast(vs2, f"{kind}{sew}")), f"Extend from SEW/{n}.", "V")
      for n, code in ((2, "11"), (4, "10"), (8, "01")) for letter, kind, bit in (("z", "u", "0"), ("s", "s", "1"))),
    *(row for name, code, kind, doc in (("vnsrl", "101100", "u", "Narrowing shift right logical."),
                                        ("vnsra", "101101", "s", "Narrowing shift right arithmetic."))
      for row in (
        Insn(f"{name}.wv", f"{code} vm vs2 vs1 000 vd {OP}", f"vd:u, vs2:2{kind}, vs1:u, vm", Kind.MAP, "vwint",
             lambda vs2, vs1: _narrow_shift(vs2, vs1), doc, "V"),
        Insn(f"{name}.wx", f"{code} vm vs2 rs1 100 vd {OP}", f"vd:u, vs2:2{kind}, rs1:u, vm", Kind.MAP, "vwint",
             lambda vs2, rs1: _narrow_shift(vs2, rs1), doc, "V"),
        Insn(f"{name}.wi", f"{code} vm vs2 uimm[4:0] 011 vd {OP}", f"vd:u, vs2:2{kind}, uimm:u, vm", Kind.MAP, "vwint",
             lambda vs2, uimm: _narrow_shift(vs2, uimm), doc, "V"))),
]  # fmt: skip

COMPARES = [
    row for name, code, forms, kind, f, doc in (
        ("vmseq", "011000", "vxi", "s", equal, "Equal."), ("vmsne", "011001", "vxi", "s", different, "Different."),
        ("vmsltu", "011010", "vx", "u", lambda a, b: a < b, "Less, unsigned."),
        ("vmslt", "011011", "vx", "s", lambda a, b: a < b, "Less."),
        ("vmsleu", "011100", "vxi", "u", lambda a, b: a <= b, "Less or equal, unsigned."),
        ("vmsle", "011101", "vxi", "s", lambda a, b: a <= b, "Less or equal."),
        ("vmsgtu", "011110", "xi", "u", lambda a, b: a > b, "Greater, unsigned."),
        ("vmsgt", "011111", "xi", "s", lambda a, b: a > b, "Greater."))
    for row in _forms(name, code, forms, f, doc, kind, how=Kind.COMPARE, result="u")
]  # fmt: skip

REDUCTIONS = [
    Insn(f"{name}.vs", f"{code} vm vs2 vs1 010 vd {OP}", f"vd[0]:{kind}, vs2:{kind}, vs1[0]:{kind}, vm", Kind.REDUCE,
         "vred", f, doc, "V")
    for name, code, kind, f, doc in (
        ("vredsum", "000000", "s", lambda acc, vs2: acc + vs2, "Sum."),
        ("vredand", "000001", "s", lambda acc, vs2: acc & vs2, "And."),
        ("vredor", "000010", "s", lambda acc, vs2: acc | vs2, "Or."),
        ("vredxor", "000011", "s", lambda acc, vs2: acc ^ vs2, "Exclusive or."),
        ("vredminu", "000100", "u", lambda acc, vs2: minimum(acc, vs2), "Unsigned minimum."),
        ("vredmin", "000101", "s", lambda acc, vs2: minimum(acc, vs2), "Minimum."),
        ("vredmaxu", "000110", "u", lambda acc, vs2: maximum(acc, vs2), "Unsigned maximum."),
        ("vredmax", "000111", "s", lambda acc, vs2: maximum(acc, vs2), "Maximum."))
]  # fmt: skip

MASKS = [
    *(Insn(f"{name}.mm", f"{code} 1 vs2 vs1 010 vd {OP}", "vd:u8, vs2:u8, vs1:u8", Kind.MASK, "vmask", f, doc, "V")
      for name, code, f, doc in (
        ("vmandn", "011000", lambda vs2, vs1: vs2 & ~vs1, "And not."),
        ("vmand", "011001", lambda vs2, vs1: vs2 & vs1, "And."),
        ("vmor", "011010", lambda vs2, vs1: vs2 | vs1, "Or."),
        ("vmxor", "011011", lambda vs2, vs1: vs2 ^ vs1, "Exclusive or."),
        ("vmorn", "011100", lambda vs2, vs1: vs2 | ~vs1, "Or not."),
        ("vmnand", "011101", lambda vs2, vs1: ~(vs2 & vs1), "Not and."),
        ("vmnor", "011110", lambda vs2, vs1: ~(vs2 | vs1), "Not or."),
        ("vmxnor", "011111", lambda vs2, vs1: ~(vs2 ^ vs1), "Not exclusive or."))),
    Insn("vcpop.m", f"010000 vm vs2 10000 010 rd {OP}", "rd, vs2:u8, vm", Kind.MASK, "vmask",
         lambda acc, word, index: acc + popcount(word), "Count the set bits of a mask.", "V", {"vstart0": True}),
    Insn("vfirst.m", f"010000 vm vs2 10001 010 rd {OP}", "rd, vs2:u8, vm", Kind.MASK, "vmask",
         lambda acc, word, index: select(equal(acc, (1 << 64) - 1) & different(word, 0), index + ctz(word), acc),
         "Index of the first set bit, or -1.", "V", {"search": True, "vstart0": True}),
    Insn("vid.v", f"010100 vm 00000 10001 010 vd {OP}", "vd:u, vm", Kind.MAP, "vint", lambda i: i,
         "Element indices.", "V"),
]  # fmt: skip

MOVES = [
    *(Insn(f"vmerge.v{s}m", f"010111 0 vs2 {field} {funct3} vd {OP}", f"vd:u, vs2:u, {source}:u, v0", Kind.MAP, "vint",
           f, "Choose by mask.", "V")
      for s, field, source, funct3, f in (
        ("v", "vs1", "vs1", "000", lambda vs2, vs1, v0: select(v0, vs1, vs2)),
        ("x", "rs1", "rs1", "100", lambda vs2, rs1, v0: select(v0, rs1, vs2)),
        ("i", "imm[4:0]", "imm", "011", lambda vs2, imm, v0: select(v0, imm, vs2)))),
    Insn("vmv.v.v", f"010111 1 00000 vs1 000 vd {OP}", "vd:u, vs1:u", Kind.MAP, "vmove", lambda vs1: vs1, "Copy.", "V"),
    Insn("vmv.v.x", f"010111 1 00000 rs1 100 vd {OP}", "vd:u, rs1:u", Kind.MAP, "vmove", lambda rs1: rs1,
         "Splat a register.", "V"),
    Insn("vmv.v.i", f"010111 1 00000 imm[4:0] 011 vd {OP}", "vd:u, imm:u", Kind.MAP, "vmove", lambda imm: imm,
         "Splat an immediate.", "V"),
    Insn("vmv.x.s", f"010000 1 vs2 00000 010 rd {OP}", "rd:s, vs2[0]:s", Kind.MAP, "vxs", lambda vs2: vs2,
         "Element 0 to a register.", "V"),
    Insn("vmv.s.x", f"010000 1 00000 rs1 110 vd {OP}", "vd[0]:s, rs1:s", Kind.MAP, "vmove", lambda rs1: rs1,
         "Register to element 0.", "V"),
]  # fmt: skip

NO_OVERLAP: dict[str, Any] = {"no_overlap": True}
PERMUTATIONS = [
    *(Insn(f"vslideup.v{s}", f"001110 vm vs2 {field} {funct3} vd {OP}", f"vd:u, vs2:u, {source}:u64, vm", Kind.PERMUTE,
           "vslide", f, "Move elements up by an offset; those below stay.", "V", NO_OVERLAP)
      for s, field, source, funct3, f in (
        ("x", "rs1", "rs1", "100", lambda i, rs1: (i - rs1, i >= rs1)),
        ("i", "uimm[4:0]", "uimm", "011", lambda i, uimm: (i - uimm, i >= uimm)))),
    *(Insn(f"vslidedown.v{s}", f"001111 vm vs2 {field} {funct3} vd {OP}", f"vd:u, vs2:u, {source}:u64, vm",
           Kind.PERMUTE, "vslide", f, "Move elements down by an offset.", "V")
      for s, field, source, funct3, f in (
        ("x", "rs1", "rs1", "100", lambda i, rs1, vlmax: i + minimum(rs1, vlmax)),
        ("i", "uimm[4:0]", "uimm", "011", lambda i, uimm, vlmax: i + minimum(uimm, vlmax)))),
    *(Insn(f"vrgather.v{s}", f"001100 vm vs2 {field} {funct3} vd {OP}", f"vd:u, vs2:u, {source}, vm", Kind.PERMUTE,
           "vgather", f, "Element at an index.", "V", NO_OVERLAP)
      for s, field, source, funct3, f in (
        ("v", "vs1", "vs1:u", "000", lambda vs1: vs1), ("x", "rs1", "rs1:u64", "100", lambda rs1: rs1),
        ("i", "uimm[4:0]", "uimm:u64", "011", lambda uimm: uimm))),
]  # fmt: skip

ROWS = [*ARITHMETIC, *WIDENING, *COMPARES, *REDUCTIONS, *MASKS, *MOVES, *PERMUTATIONS]
