"""SystemVerilog made from the instruction table for the lanes of the vector unit: what they do for every instruction.

Package ``potluck_vector_pkg`` has the operations of ``rtl/vector/`` and, for each ``op_e`` of
:mod:`potluck.isa.verilog.table`, the operation (``vector_op_t``), its latency class and where its operands come from.
Widths, signedness and operand kinds are those of the row; only the operation itself is named here, by the
mnemonic's stem.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from potluck.isa.insn import Insn, Kind, Operand, OperandType
from potluck.isa.table import TABLE
from potluck.isa.verilog.table import op_name

PACKAGE = "potluck_vector_pkg"
UNITS = ("none", "integer", "multiply", "divide", "fma", "noncomp", "convert", "float_divide")
"""Datapaths of a lane; what has none is done elsewhere (loads, stores, slides, gathers, searches in masks, VMXDOTP)."""
LATENCIES = ("integer", "fma", "noncomp", "convert", "divide")
"""Classes of latency, named after the machine's keys (``divide``: ``timing.divide_per_element``)."""
SOURCES = ("none", "vector", "integer", "float", "signed", "unsigned")
"""Where the second operand comes from: vs1, rs1, fs1, a signed or unsigned immediate."""
CODES = {
    "integer": (
        "add", "sub", "and", "or", "xor", "andn", "orn", "nand", "nor", "xnor", "min", "max", "shift_left",
        "shift_right", "equal", "different", "less", "less_equal", "merge", "copy_a", "copy_b", "carry", "borrow",
        "add_saturating", "sub_saturating", "add_average", "sub_average", "shift_rounding", "clip",
    ),
    "multiply": ("low", "high", "accumulate", "multiply_add", "fractional", "dot"),
    "divide": ("quotient", "remainder"),
    "fma": ("fadd", "fmul", "facc", "fmadd", "fwiden"),
    "noncomp": (
        "fmin", "fmax", "sign", "sign_not", "sign_xor", "feq", "fne", "flt", "fle", "classify", "rec7", "rsqrt7",
    ),
    "convert": ("to_float", "to_integer", "from_integer"),
    "float_divide": ("fdiv", "fsqrt"),
}  # fmt: skip
"""Operations of each datapath."""
FLAGS = (
    "d_signed", "a_signed", "b_signed", "swap", "negate_product", "negate_addend", "bf16", "toward_zero", "to_odd",
    "saturate", "compare", "carry_in",
)  # fmt: skip
"""Bits of ``vector_op_t`` beside unit, operation and widths; rtl/vector/vector_lane.sv says what they mean."""

_STEMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "vadd": ("add", ()), "vsub": ("sub", ()), "vrsub": ("sub", ("swap",)),
    "vmin": ("min", ()), "vminu": ("min", ()), "vmax": ("max", ()), "vmaxu": ("max", ()),
    "vand": ("and", ()), "vor": ("or", ()), "vxor": ("xor", ()),
    "vsll": ("shift_left", ()), "vsrl": ("shift_right", ()), "vsra": ("shift_right", ()),
    "vnsrl": ("shift_right", ()), "vnsra": ("shift_right", ()),
    "vwadd": ("add", ()), "vwaddu": ("add", ()), "vwsub": ("sub", ()), "vwsubu": ("sub", ()),
    "vzext": ("copy_a", ()), "vsext": ("copy_a", ()),
    "vmseq": ("equal", ()), "vmsne": ("different", ()), "vmslt": ("less", ()), "vmsltu": ("less", ()),
    "vmsle": ("less_equal", ()), "vmsleu": ("less_equal", ()), "vmsgt": ("less", ("swap",)),
    "vmsgtu": ("less", ("swap",)),
    "vmandn": ("andn", ()), "vmorn": ("orn", ()), "vmnand": ("nand", ()), "vmnor": ("nor", ()),
    "vmxnor": ("xnor", ()), "vmand": ("and", ()), "vmor": ("or", ()), "vmxor": ("xor", ()),
    "vmerge": ("merge", ()), "vfmerge": ("merge", ()), "vmv": ("copy_b", ()), "vfmv": ("copy_b", ()),
    "vadc": ("add", ("carry_in",)), "vsbc": ("sub", ("carry_in",)), "vmadc": ("carry", ()), "vmsbc": ("borrow", ()),
    "vsadd": ("add_saturating", ()), "vsaddu": ("add_saturating", ()), "vssub": ("sub_saturating", ()),
    "vssubu": ("sub_saturating", ()), "vaadd": ("add_average", ()), "vaaddu": ("add_average", ()),
    "vasub": ("sub_average", ()), "vasubu": ("sub_average", ()), "vssrl": ("shift_rounding", ()),
    "vssra": ("shift_rounding", ()), "vnclip": ("clip", ()), "vnclipu": ("clip", ()),
    "vredsum": ("add", ()), "vredand": ("and", ()), "vredor": ("or", ()), "vredxor": ("xor", ()),
    "vredmin": ("min", ()), "vredminu": ("min", ()), "vredmax": ("max", ()), "vredmaxu": ("max", ()),
    "vwredsum": ("add", ()), "vwredsumu": ("add", ()),
    "vmul": ("low", ()), "vmulh": ("high", ()), "vmulhu": ("high", ()), "vmulhsu": ("high", ()),
    "vwmul": ("low", ()), "vwmulu": ("low", ()), "vwmulsu": ("low", ()),
    "vmacc": ("accumulate", ()), "vnmsac": ("accumulate", ("negate_product",)), "vmadd": ("multiply_add", ()),
    "vnmsub": ("multiply_add", ("negate_product",)), "vwmacc": ("accumulate", ()), "vwmaccu": ("accumulate", ()),
    "vwmaccsu": ("accumulate", ()), "vwmaccus": ("accumulate", ()), "vsmul": ("fractional", ()),
    "vdot4a": ("dot", ("a_signed", "b_signed")), "vdot4au": ("dot", ()), "vdot4asu": ("dot", ("a_signed",)),
    "vdot4aus": ("dot", ("b_signed",)),
    "vdiv": ("quotient", ()), "vdivu": ("quotient", ()), "vrem": ("remainder", ()), "vremu": ("remainder", ()),
    "vfadd": ("fadd", ()), "vfsub": ("fadd", ("negate_product",)), "vfrsub": ("fadd", ("negate_addend",)),
    "vfwadd": ("fadd", ()), "vfwsub": ("fadd", ("negate_product",)), "vfmul": ("fmul", ()), "vfwmul": ("fmul", ()),
    "vfmacc": ("facc", ()), "vfnmacc": ("facc", ("negate_product", "negate_addend")),
    "vfmsac": ("facc", ("negate_addend",)), "vfnmsac": ("facc", ("negate_product",)),
    "vfwmacc": ("facc", ()), "vfwnmacc": ("facc", ("negate_product", "negate_addend")),
    "vfwmsac": ("facc", ("negate_addend",)), "vfwnmsac": ("facc", ("negate_product",)),
    "vfmadd": ("fmadd", ()), "vfnmadd": ("fmadd", ("negate_product", "negate_addend")),
    "vfmsub": ("fmadd", ("negate_addend",)), "vfnmsub": ("fmadd", ("negate_product",)),
    "vfwmaccbf16": ("facc", ("bf16",)), "vfmacc.bf16": ("facc", ("bf16",)), "vfwcvt.h.b": ("fwiden", ()),
    "vfredusum": ("fadd", ()), "vfredosum": ("fadd", ()), "vfwredusum": ("fadd", ()), "vfwredosum": ("fadd", ()),
    "vfredmin": ("fmin", ()), "vfredmax": ("fmax", ()),
    "vfmin": ("fmin", ()), "vfmax": ("fmax", ()), "vfsgnj": ("sign", ()), "vfsgnjn": ("sign_not", ()),
    "vfsgnjx": ("sign_xor", ()), "vmfeq": ("feq", ()), "vmfne": ("fne", ()), "vmflt": ("flt", ()),
    "vmfle": ("fle", ()), "vmfgt": ("flt", ("swap",)), "vmfge": ("fle", ("swap",)), "vfclass": ("classify", ()),
    "vfrec7": ("rec7", ()), "vfrsqrt7": ("rsqrt7", ()),
    "vfdiv": ("fdiv", ()), "vfrdiv": ("fdiv", ("swap",)), "vfsqrt": ("fsqrt", ()),
    "vfwcvtbf16.f.f": ("to_float", ("bf16",)), "vfncvtbf16.f.f": ("to_float", ("bf16",)),
    "vfncvtbf16.sat.f.f": ("to_float", ("bf16", "saturate")), "vfncvt.sat.f.f": ("to_float", ("saturate",)),
    "vfncvt.f.f": ("to_float", ()), "vfwcvt.f.f": ("to_float", ()), "vfncvt.rod.f.f": ("to_float", ("to_odd",)),
    **{f"vf{size}cvt{mode}.{integer}.f": ("to_integer", ("toward_zero",) if mode else ())
       for size in ("", "w", "n") for mode in ("", ".rtz") for integer in ("x", "xu")},
    **{f"vf{size}cvt.f.{integer}": ("from_integer", ()) for size in ("", "w", "n") for integer in ("x", "xu")},
}  # fmt: skip
"""Mnemonic without its operand suffix -> operation, flags that its operands do not tell."""
_UNIT_OF = {code: unit for unit, codes in CODES.items() for code in codes}
_LATENCY_OF = {"vint": "integer", "vwint": "integer", "vmask": "integer", "vimul": "integer", "vmove": "integer",
               "vred": "integer", "vidiv": "divide", "vfma": "fma", "vfred": "fma", "vfnoncomp": "noncomp",
               "vfcvt": "convert", "vfdiv": "divide"}  # fmt: skip
_SOURCE_OF = {"vs1": "vector", "rs1": "integer", "fs1": "float", "imm": "signed", "uimm": "unsigned"}


@dataclass(frozen=True)
class LaneOp:
    """What a lane does for an instruction.

    Attributes:
        code: operation, one of ``CODES``.
        latency: one of ``LATENCIES``.
        d, a, b: widths of result and operands relative to SEW, as binary logarithms; what is absent has the result's.
        flags: of ``FLAGS``, those that are set.
        source: where operand b comes from, one of ``SOURCES``.
        reads_vd: whether operand c, the old vd, matters.
        reduction: a folding step: a is the accumulator (vs1[0] first), b an element of vs2.
        mask: all three are masks: 64 bits of them at SEW=64.
        merges: the mask is data (an operand, a carry), not a condition.
    """

    code: str
    latency: str
    d: int
    a: int
    b: int
    flags: frozenset[str]
    source: str
    reads_vd: bool
    reduction: bool
    mask: bool
    merges: bool

    @property
    def unit(self) -> str:
        """The datapath, one of ``UNITS``."""
        return _UNIT_OF[self.code]

    @property
    def widest(self) -> int:
        """Width of the widest of result and operands, as those: 64 bits of it are a step."""
        return max(self.d, self.a, self.b)


def lane_op(insn: Insn) -> LaneOp | None:
    """What a lane does for an instruction; None if none of its datapaths has to do with it.

    Raises:
        ValueError: a row computes on vectors in a way that is not named here.
    """
    stem = _stem(insn)
    if stem is None:
        return None
    code, given = _STEMS[stem]
    kinds = {operand.name: operand for operand in insn.syntax}
    reduction, mask = insn.kind is Kind.REDUCE, insn.kind is Kind.MASK
    first, second = (kinds.get("vs1"), kinds.get("vs2")) if reduction else (kinds.get("vs2"), _second(kinds))
    d, a, b = (
        0 if mask else _scale(operand or kinds["vd"], insn) for operand in (kinds["vd"], first, second)
    )
    if insn.kind is Kind.COMPARE:  # the result's bits are as many as the elements of the sources
        d = a
    signed = {f"{letter}_signed" for letter, operand in zip("dab", (kinds["vd"], first, second), strict=True)
              if operand is not None and operand.type.kind == "s"}  # fmt: skip
    flags = signed | set(given) | ({"compare"} if insn.kind is Kind.COMPARE else set())
    if insn.kind is Kind.COMPARE and "v0" in kinds:
        flags.add("carry_in")
    source = next((_SOURCE_OF[name] for name in _SOURCE_OF if name in kinds), "none")
    return LaneOp(code, _LATENCY_OF[insn.timing], d, a, b, frozenset(flags), source, "vd" in insn.parameters, reduction,
                  mask, "v0" in kinds)  # fmt: skip


def _stem(insn: Insn) -> str | None:
    if insn.length != 4 or insn.timing not in _LATENCY_OF or insn.attributes.get("whole_registers"):
        return None
    if not any(operand.name == "vd" for operand in insn.syntax) or insn.kind not in (
        Kind.MAP, Kind.COMPARE, Kind.REDUCE, Kind.MASK
    ):  # fmt: skip
        return None
    if insn.attributes.get("first") or insn.mnemonic == "vid.v":
        return None
    found = next((name for name in (insn.mnemonic, re.sub(r"\.[a-z0-9]+$", "", insn.mnemonic),
                                    insn.mnemonic.partition(".")[0]) if name in _STEMS), None)  # fmt: skip
    if found is None:
        raise ValueError(f"{insn.mnemonic}: no operation of a vector lane; name one in {__name__}")
    return found


def _second(kinds: dict[str, Operand]) -> Operand | None:
    return next((kinds[name] for name in _SOURCE_OF if name in kinds), None)


def _scale(operand: Operand, insn: Insn) -> int:
    """Binary logarithm of an operand's width over SEW; absolute types belong to rows of one SEW."""
    kind: OperandType = operand.type
    if kind.scale:
        return {0.125: -3, 0.25: -2, 0.5: -1, 1: 0, 2: 1, 4: 2}[kind.scale]
    if (
        operand.bank == "f" and kind.kind == "u" and kind.bits == 64
    ):  # a raw register, of which the element is unboxed
        return 0
    return kind.bits.bit_length() - int(insn.attributes["sew"]).bit_length()


def vector_package(insns: Iterable[Insn] | None = None) -> str:
    """Text of package ``potluck_vector_pkg`` (default: of the table's rows of 32 bits)."""
    rows = [insn for insn in (TABLE.values() if insns is None else insns) if insn.length == 4]
    codes = [code for unit in UNITS for code in CODES.get(unit, ())]
    lines = ["// Generated from the instruction table; change the table.", f"package {PACKAGE};",
             "  import potluck_isa_pkg::*;",
             *_enumeration("vector_unit_e", "VU", UNITS), *_enumeration("vector_code_e", "VOP", codes),
             *_enumeration("vector_latency_e", "VL", LATENCIES), *_enumeration("vector_source_e", "VS", SOURCES),
             "  // What a lane does; rtl/vector/vector_lane.sv has the meaning of every field.",
             "  typedef struct packed {",
             "    vector_unit_e unit;",
             "    vector_code_e code;",
             "    logic signed [2:0] d_scale;  // width of the result over SEW, as a power of two",
             "    logic signed [2:0] a_scale;",
             "    logic signed [2:0] b_scale;",
             *(f"    logic {flag};" for flag in FLAGS),
             "  } vector_op_t;",
             "  // What the control has to know beside: operands and the class of latency.",
             "  typedef struct packed {",
             "    vector_op_t op;",
             "    logic signed [2:0] widest;  // the widest of result and operands: 64 bits of it are a step",
             "    vector_latency_e latency;",
             "    vector_source_e source;  // of operand b",
             "    logic reads_vd;    // operand c matters",
             "    logic reduction;   // a is the accumulator, b an element of vs2",
             "    logic mask;        // operands and result are masks, 64 bits of them at SEW=64",
             "    logic merges;      // v0 is data, not a condition",
             "  } vector_facts_t;",
             "  function automatic vector_facts_t vector_facts(input op_e op);",
             "    case (op)"]  # fmt: skip
    groups: dict[str, list[str]] = {}
    for insn in rows:
        if (found := lane_op(insn)) is not None:
            groups.setdefault(_literal(found), []).append(op_name(insn.mnemonic))
    for literal, ops in groups.items():
        lines.append("      " + ",\n      ".join(ops) + f": return {literal};")
    nothing = LaneOp(codes[0], LATENCIES[0], 0, 0, 0, frozenset(), "none", False, False, False, False)
    lines += [
        f"      default: return {_literal(nothing, 'none')};",
        "    endcase",
        "  endfunction",
        "endpackage",
        "",
    ]
    return "\n".join(lines)


def _enumeration(name: str, prefix: str, values: Iterable[str]) -> list[str]:
    values = list(values)
    width = (len(values) - 1).bit_length()
    entries = ",\n".join(
        f"    {prefix}_{value.upper()} = {width}'d{code}" for code, value in enumerate(values)
    )
    return [f"  typedef enum logic [{width - 1}:0] {{", entries, f"  }} {name};"]


def encoded_op(op: LaneOp) -> int:
    """The bits of ``vector_op_t``, as a harness hands them to the RTL."""
    codes = [code for unit in UNITS for code in CODES.get(unit, ())]
    fields = [(UNITS.index(op.unit), (len(UNITS) - 1).bit_length()),
              (codes.index(op.code), (len(codes) - 1).bit_length()),
              *((scale & 7, 3) for scale in (op.d, op.a, op.b)),
              *((int(flag in op.flags), 1) for flag in FLAGS)]  # fmt: skip
    value = 0
    for field, width in fields:
        value = value << width | field
    return value


def _literal(op: LaneOp, unit: str = "") -> str:
    scales = [f"-3'sd{-scale}" if scale < 0 else f"3'sd{scale}" for scale in (op.d, op.a, op.b, op.widest)]
    flags = ", ".join(f"1'b{int(flag in op.flags)}" for flag in FLAGS)
    bits = ", ".join(f"1'b{int(bit)}" for bit in (op.reads_vd, op.reduction, op.mask, op.merges))
    inner = f"'{{VU_{(unit or op.unit).upper()}, VOP_{op.code.upper()}, {', '.join(scales[:3])}, {flags}}}"
    return f"'{{{inner}, {scales[3]}, VL_{op.latency.upper()}, VS_{op.source.upper()}, {bits}}}"
