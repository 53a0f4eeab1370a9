"""What the vector unit's control has to know of each instruction, as a SystemVerilog package made from the table.

Which unit executes it, which register groups it reads and writes and how wide their elements are, where its second
operand comes from. What is computed with the operands is the lanes' business. An instruction that no unit executes has
``UNIT_NONE`` and is illegal there: what the compiler does not emit (:func:`why_not` says what and why).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from potluck.isa.insn import Insn, Kind, Operand
from potluck.isa.legality import is_mask
from potluck.isa.table import TABLE
from potluck.isa.verilog.core import route
from potluck.isa.verilog.table import op_name
from potluck.isa.verilog.vector import lane_op

PACKAGE = "potluck_vector_control_pkg"
UNITS = ("none", "vset", "vfu", "vlsu", "slide")
EEWS = ("none", "eighth", "quarter", "half", "sew", "double", "quadruple", "mask", "e8", "e16", "e32", "e64")
"""Element widths of an operand: relative to SEW, a mask, or fixed."""
SECONDS = ("none", "vector", "x", "f", "bf16", "raw_f", "imm", "uimm")
"""Where the second operand comes from; ``f`` and ``bf16``: a number that must be boxed."""
WORKS = ("lanes", "mxdotp", "reduce", "mask_and", "mask_nand", "mask_andn", "mask_xor", "mask_or", "mask_nor",
         "mask_orn", "mask_xnor", "popcount", "first", "copy", "splat", "up", "down", "gather", "to_x", "to_f",
         "whole")  # fmt: skip
_SLIDES = {
    "vmv.v.v": "copy", "vmv.v.x": "splat", "vmv.v.i": "splat", "vfmv.v.f": "splat", "vmv.s.x": "splat",
    "vfmv.s.f": "splat", "vslideup.vx": "up", "vslideup.vi": "up", "vslidedown.vx": "down", "vslidedown.vi": "down",
    "vrgather.vv": "gather", "vmv.x.s": "to_x", "vfmv.f.s": "to_f",
}  # fmt: skip
_MASKS = {"vcpop.m": "popcount", "vfirst.m": "first"} | {
    f"vm{name}.mm": f"mask_{name}" for name in ("and", "nand", "andn", "xor", "or", "nor", "orn", "xnor")
}
IDEMPOTENT = ("vredmaxu.vs", "vredmax.vs", "vredminu.vs", "vredmin.vs", "vredand.vs", "vredor.vs", "vfredmax.vs",
              "vfredmin.vs")  # fmt: skip
"""Reductions whose order does not matter and whose start may be folded in more than once."""
_SCALARS = {8: "eighth", 4: "quarter", 2: "half"}


def why_not(insn: Insn) -> str:
    """Why the RTL's vector unit does not execute a vector instruction, or "" if it does."""
    if insn.kind is Kind.VSET:
        return ""
    if not insn.is_vector:
        return "no vector instruction"
    facts = insn.attributes
    if insn.kind in (Kind.VLOAD, Kind.VSTORE):
        if "segments" in facts:
            return "segments"
        return "fault-only-first loads" if facts.get("first_fault") else ""
    if insn.kind is Kind.REDUCE:
        return _lane_lacks(insn) if insn.mnemonic in IDEMPOTENT else "sums and exclusive ors over elements"
    if insn.kind is Kind.MASK:
        return "" if insn.mnemonic in _MASKS else "mask searches other than vfirst"
    if insn.kind is Kind.SCAN:
        return "scans"
    if insn.timing in ("vmove", "vslide", "vgather", "vxs"):
        known = insn.mnemonic in _SLIDES or facts.get("whole_registers")
        return "" if known else "gathers and slides by a scalar"
    return _lane_lacks(insn)


def _lane_lacks(insn: Insn) -> str:
    """Why the lanes cannot do their part of an instruction, or ""."""
    if insn.timing == "vmxdotp" or insn.kind is Kind.MASK:
        return ""
    return "work that no lane does" if lane_op(insn) is None else ""


def unit(insn: Insn) -> str:
    """The unit that executes an instruction, one of ``UNITS``."""
    if insn.kind is Kind.VSET:
        return "vset"
    if why_not(insn):
        return "none"
    if insn.kind in (Kind.VLOAD, Kind.VSTORE):
        return "vlsu"
    return "slide" if work(insn) in {*_SLIDES.values(), "whole"} else "vfu"


def work(insn: Insn) -> str:
    """What the unit does, one of ``WORKS``."""
    if insn.attributes.get("whole_registers") and insn.kind is Kind.MAP:
        return "whole"
    if insn.timing == "vmxdotp":
        return "mxdotp"
    if insn.kind is Kind.REDUCE:
        return "reduce"
    return _SLIDES.get(insn.mnemonic) or _MASKS.get(insn.mnemonic) or "lanes"


def eew(insn: Insn, name: str) -> str:
    """The element width of a vector operand, one of ``EEWS``."""
    operand = next((operand for operand in insn.syntax if operand.name == name), None)
    if operand is None:
        return "none"
    if is_mask(operand, insn) and insn.kind not in (Kind.VLOAD, Kind.VSTORE):
        return "mask"
    kind = operand.type
    if not kind.scale:
        return f"e{kind.bits}"
    if kind.scale < 1:
        return _SCALARS[round(1 / kind.scale)]
    return {1: "sew", 2: "double", 4: "quadruple"}[int(kind.scale)]


def second(insn: Insn) -> str:
    """Where the second operand comes from, one of ``SECONDS``."""
    named: dict[str, Operand] = {operand.name: operand for operand in insn.syntax}
    if "vs1" in named:
        return "vector"
    if "fs1" in named:
        kind = named["fs1"].type
        if kind.kind == "f":
            return "f"
        return "bf16" if kind.bits == 64 and insn.timing != "vmxdotp" else "raw_f"
    if "rs1" in named:
        return "x"
    return next((name for name in ("imm", "uimm") if name in named), "none")


_WIDTHS = {"d": 64, "s": 32, "h": 16, "bf16": 16, "w": 32, "wu": 32, "l": 64, "lu": 64}
_SAME = {"madd": "macc", "msub": "msac", "nmadd": "nmacc", "nmsub": "nmsac"}


@dataclass(frozen=True)
class ScalarForm:
    """The vector instruction that does on one element what a scalar FP instruction does.

    Attributes:
        mnemonic: of the vector instruction.
        sew: bits that it is done at.
        source: bits of the first operand; of the others and a float result those of ``sew`` or ``result``.
        result: bits of the result.
        bfloat: operands and result of 16 bits are BF16.
    """

    mnemonic: str
    sew: int
    source: int
    result: int
    bfloat: bool = False


def scalar_form(insn: Insn) -> ScalarForm | None:
    """How the first lane does a scalar FP instruction; None if it does not: no lane has it, a step over two widths."""
    form = None if insn.is_vector or route(insn) != "float" else _form(insn)
    return None if form is None or _lane_lacks(TABLE[form.mnemonic]) else form


def _form(insn: Insn) -> ScalarForm | None:
    name, *types = insn.mnemonic.split(".")
    if any(kind not in _WIDTHS for kind in types):
        return None
    stem = name[1:]
    if stem == "cvt":
        to, source = types
        of, into = _WIDTHS[source], _WIDTHS[to]
        if 64 in (of, into) and 16 in (of, into):
            return None
        if source.startswith(("w", "l")):
            size = {of == into: "", of > into: "n"}.get(True, "w")
            tail = "w" if size == "n" else "v"
            return ScalarForm(f"vf{size}cvt.f.x{source[1:]}.{tail}", min(of, into), of, into)
        if to.startswith(("w", "l")):
            size = {of == into: "", of > into: "n"}.get(True, "w")
            tail = "w" if size == "n" else "v"
            return ScalarForm(f"vf{size}cvt.x{to[1:]}.f.{tail}", min(of, into), of, into)
        bfloat = "bf16" if "bf16" in types else ""
        form = f"vfwcvt{bfloat}.f.f.v" if of < into else f"vfncvt{bfloat}.f.f.w"
        return ScalarForm(form, min(of, into), of, into, bool(bfloat))
    bits = _WIDTHS[types[-1]]
    if stem in ("eq", "lt", "le"):
        return ScalarForm(f"vmf{stem}.vv", bits, bits, bits)
    tail = "v" if stem in ("sqrt", "class") else "vv"
    return ScalarForm(f"vf{_SAME.get(stem, stem)}.{tail}", bits, bits, bits)


_FIELDS = ("unit", "work", "vd", "vs2", "vs1", "second")
_FLAGS = ("floating", "vd_read", "element0", "maskable", "mask_data", "at_end", "unchained", "credits", "store",
          "strided", "indexed", "mask_access", "rounds")  # fmt: skip


def _flags(insn: Insn) -> dict[str, bool]:
    facts = insn.attributes
    memory = insn.kind in (Kind.VLOAD, Kind.VSTORE)
    indexed = bool(facts.get("indexed"))
    widths = {(operand.type.bits, operand.type.scale) for operand in insn.syntax if operand.bank == "v"}
    return {
        "floating": insn.timing.startswith("vf") or insn.timing == "vmxdotp",
        "vd_read": "vd" in insn.parameters or insn.kind is Kind.COMPARE or work(insn).startswith("mask_"),
        "element0": insn.syntax[0].element0,
        "maskable": insn.maskable,
        "mask_data": "v0" in insn.parameters,
        "at_end": insn.kind in (Kind.REDUCE, Kind.COMPARE, Kind.MASK) or insn.timing == "vgather",
        "unchained": bool(facts.get("strided")) or indexed or insn.mnemonic.startswith("vslideup"),
        "credits": unit(insn) == "vfu" and len(widths) > 1,
        "store": insn.kind is Kind.VSTORE,
        "strided": bool(facts.get("strided")),
        "indexed": indexed,
        "mask_access": memory and bool(facts.get("mask")),
        "rounds": any(operand.type.kind == "f" for operand in insn.syntax) or bool(
            {"rounds", "raises", "flags"} & facts.keys()
        ),
    }  # fmt: skip


def _literal(insn: Insn) -> str:
    data = "vd" if insn.kind is not Kind.VSTORE else "vs3"
    names = [f"UNIT_{unit(insn)}", f"WORK_{work(insn)}", f"EEW_{eew(insn, data)}", f"EEW_{eew(insn, 'vs2')}",
             f"EEW_{eew(insn, 'vs1')}", f"SECOND_{second(insn)}"]  # fmt: skip
    found = _flags(insn)
    bits = ", ".join(f"1'b{int(found[name])}" for name in _FLAGS)
    whole = int(insn.attributes.get("whole_registers") or 0)
    return f"'{{{', '.join(name.upper() for name in names)}, 4'd{whole}, {bits}}}"


def control_package(insns: Iterable[Insn] | None = None) -> str:
    """Text of package ``potluck_vector_control_pkg`` (default: of the table's rows of 32 bits)."""
    rows = [insn for insn in (TABLE.values() if insns is None else insns) if insn.length == 4]
    lines = [
        "// Generated from the instruction table; change the table.",
        f"package {PACKAGE};",
        "  import potluck_isa_pkg::*;",
    ]
    for name, values in (("unit", UNITS), ("eew", EEWS), ("second", SECONDS), ("work", WORKS)):
        width = (len(values) - 1).bit_length()
        lines.append(f"  typedef enum logic [{width - 1}:0] {{")
        lines.append(
            ",\n".join(
                f"    {name.upper()}_{value.upper()} = {width}'d{code}" for code, value in enumerate(values)
            )
        )
        lines.append(f"  }} {name}_e;")
    lines += [
        "  typedef struct packed {",
        "    unit_e   unit;",
        "    work_e   work;",
        "    eew_e    vd;      // of the data, for a store",
        "    eew_e    vs2;",
        "    eew_e    vs1;",
        "    second_e second;",
        "    logic [3:0] whole;  // registers that are copied, loaded or stored whatever vl is",
        *(f"    logic    {name};" for name in _FLAGS),
        "  } control_t;",
        "  function automatic control_t control(input op_e op);",
        "    case (op)",
    ]
    groups: dict[str, list[str]] = {}
    for insn in rows:
        if unit(insn) != "none":
            groups.setdefault(_literal(insn), []).append(op_name(insn.mnemonic))
    for literal, ops in groups.items():
        lines.append("      " + ",\n      ".join(ops) + f": return {literal};")
    zeros = ", ".join(["1'b0"] * len(_FLAGS))
    return_none = "'{1'b0, OP_NONE, 2'd0, 2'd0, 2'd0, 1'b0}"
    scalars = [
        "  typedef struct packed {",
        "    logic       valid;",
        "    op_e        op;      // the vector instruction",
        "    logic [1:0] sew;     // binary logarithms of bytes",
        "    logic [1:0] source;",
        "    logic [1:0] result;",
        "    logic       bfloat;",
        "  } scalar_form_t;",
        "  function automatic scalar_form_t scalar_form(input op_e op);",
        "    case (op)",
    ]
    for insn in rows:
        if (form := scalar_form(insn)) is not None:
            widths = ", ".join(
                f"2'd{(bits // 8).bit_length() - 1}" for bits in (form.sew, form.source, form.result)
            )
            scalars.append(f"      {op_name(insn.mnemonic)}: return '{{1'b1, {op_name(form.mnemonic)}, {widths}, "
                           f"1'b{int(form.bfloat)}}};")  # fmt: skip
    scalars += [f"      default: return {return_none};", "    endcase", "  endfunction", "endpackage", ""]
    lines += [
        "      default: return '{UNIT_NONE, WORK_LANES, EEW_NONE, EEW_NONE, EEW_NONE, SECOND_NONE, 4'd0, "
        + zeros
        + "};",
        "    endcase",
        "  endfunction",
        *scalars,
    ]
    return "\n".join(lines)


__all__ = ["IDEMPOTENT", "PACKAGE", "ScalarForm", "control_package", "eew", "scalar_form", "second", "unit", "why_not",
           "work"]  # fmt: skip
