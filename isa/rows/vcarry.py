"""V 1.0: additions with carry, widening reductions and what else works on more than one element width (11.4, 14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from potluck.isa.arithmetic.element import cast
from potluck.isa.insn import Insn, Kind
from potluck.isa.rows.floats import ROUNDS

OP = "1010111"
_FORMS = {"v": ("vs1", "vs1", "000"), "x": ("rs1", "rs1", "100"), "i": ("imm[4:0]", "imm", "011")}
Meaning = Callable[[Any, Any, Any], Any]


def _with_carry(f: Meaning, source: str) -> Callable[..., Any]:
    """``f(vs2, operand, carry)`` for a form; the carry is the mask bit."""
    forms: dict[str, Callable[..., Any]] = {
        "vs1": lambda vs2, vs1, v0: f(vs2, vs1, cast(v0, vs2.type)),
        "rs1": lambda vs2, rs1, v0: f(vs2, rs1, cast(v0, vs2.type)),
        "imm": lambda vs2, imm, v0: f(vs2, imm, cast(v0, vs2.type)),
    }
    return forms[source]


def _without_carry(f: Meaning, source: str) -> Callable[..., Any]:
    forms: dict[str, Callable[..., Any]] = {
        "vs1": lambda vs2, vs1: f(vs2, vs1, 0),
        "rs1": lambda vs2, rs1: f(vs2, rs1, 0),
        "imm": lambda vs2, imm: f(vs2, imm, 0),
    }
    return forms[source]


def _carry_out(a: Any, b: Any, carry: Any) -> Any:
    total = a + b
    return (total < a) | (total + carry < total)


def _borrow_out(a: Any, b: Any, borrow: Any) -> Any:
    return (a < b) | (a - b < borrow)


def _rows(
    name: str, code: str, forms: str, f: Meaning, doc: str, kind: Kind = Kind.MAP, carry: bool = True
) -> list[Insn]:
    rows = []
    for form in forms:
        field, source, funct3 = _FORMS[form]
        suffix, tail, vm = (f".v{form}m", ", v0", "0") if carry else (f".v{form}", "", "1")
        meaning = _with_carry(f, source) if carry else _without_carry(f, source)
        rows.append(
            Insn(name + suffix, f"{code} {vm} vs2 {field} {funct3} vd {OP}", f"vd:u, vs2:u, {source}:u{tail}",
                 kind, "vint", meaning, doc, "V")
        )  # fmt: skip
    return rows


CARRY = [
    *_rows("vadc", "010000", "vxi", lambda a, b, c: a + b + c, "Add with carry."),
    *_rows("vmadc", "010001", "vxi", _carry_out, "Carry of an addition with carry.", Kind.COMPARE),
    *_rows("vmadc", "010001", "vxi", _carry_out, "Carry of an addition.", Kind.COMPARE, False),
    *_rows("vsbc", "010010", "vx", lambda a, b, c: a - b - c, "Subtract with borrow."),
    *_rows("vmsbc", "010011", "vx", _borrow_out, "Borrow of a subtraction with borrow.", Kind.COMPARE),
    *_rows("vmsbc", "010011", "vx", _borrow_out, "Borrow of a subtraction.", Kind.COMPARE, False),
]


def _wide_sum(acc: Any, vs2: Any) -> Any:
    return acc + cast(vs2, acc.type)


def _wide_float_sum(acc: Any, vs2: Any, fp: Any) -> Any:
    return fp.add(acc, fp.widen(vs2, str(acc.type)))


def _reduction(
    name: str,
    code: str,
    funct3: str,
    kind: str,
    timing: str,
    f: Callable[..., Any],
    doc: str,
    **attributes: Any,
) -> Insn:
    return Insn(name, f"{code} vm vs2 vs1 {funct3} vd {OP}", f"vd[0]:2{kind}, vs2:{kind}, vs1[0]:2{kind}, vm",
                Kind.REDUCE, timing, f, doc, "V", attributes)  # fmt: skip


REDUCTIONS = [
    _reduction("vwredsumu.vs", "110000", "000", "u", "vred", _wide_sum, "Widening sum, unsigned."),
    _reduction("vwredsum.vs", "110001", "000", "s", "vred", _wide_sum, "Widening sum."),
    _reduction("vfwredusum.vs", "110001", "001", "f", "vfred", _wide_float_sum,
               "Widening sum in any order; here in order.", **ROUNDS),
    _reduction("vfwredosum.vs", "110011", "001", "f", "vfred", _wide_float_sum,
               "Widening sum in element order.", **ROUNDS),
]  # fmt: skip

GATHER = [
    Insn("vrgatherei16.vv", f"001110 vm vs2 vs1 000 vd {OP}", "vd:u, vs2:u, vs1:u16, vm", Kind.PERMUTE, "vgather",
         lambda vs1: vs1, "Element at a 16-bit index.", "V", {"no_overlap": True}),
]  # fmt: skip

ROWS = [*CARRY, *REDUCTIONS, *GATHER]
