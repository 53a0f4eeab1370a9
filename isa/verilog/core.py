"""SystemVerilog made from the instruction table for the scalar core: what it has to know of every instruction.

Package ``potluck_core_pkg`` says of each ``op_e`` of :mod:`potluck.isa.verilog.table` where it goes, which registers it
reads and writes and how wide its accesses and results are. What a row means is in the units; a row that none of them
executes goes nowhere and is an illegal instruction.
"""

from __future__ import annotations

from collections.abc import Iterable

from potluck.isa.arithmetic.element import Type
from potluck.isa.insn import Insn, Kind, Operand
from potluck.isa.table import TABLE
from potluck.isa.verilog.table import op_name

PACKAGE = "potluck_core_pkg"
ROUTES = (
    "none", "alu", "multiply", "divide", "branch", "jump", "load", "store", "atomic", "csr", "fence", "fence_i",
    "ecall", "ebreak", "wfi", "dma", "float_load", "float_store", "move", "float", "vset", "vector", "vector_load",
    "vector_store",
)  # fmt: skip
"""Where an instruction goes; those from ``float_load`` on through the FP sequencer, from ``float`` on to the vector
unit behind it."""
USES = ("rd", "rs1", "rs2", "fd", "fs1", "fs2", "fs3")
"""Registers that an instruction may name, one bit of its facts each."""
EXTENSIONS = ("I", "M", "A", "Zicsr", "Zifencei", "Priv", "Xdma")
"""Extensions of integer operands that the core executes: the compiler emits no other one."""
_BY_TIMING = {
    "alu": "alu", "mul": "multiply", "div": "divide", "branch": "branch", "jump": "jump", "load": "load",
    "store": "store", "amo": "atomic", "csr": "csr", "fence": "fence", "fence_i": "fence_i", "dma": "dma", "system": "",
}  # fmt: skip
_VECTOR = {Kind.VSET: "vset", Kind.VLOAD: "vector_load", Kind.VSTORE: "vector_store"}


def route(insn: Insn) -> str:
    """Where an instruction goes, one of ``ROUTES``."""
    if insn.is_vector or insn.kind is Kind.VSET:
        return _VECTOR.get(insn.kind, "vector")
    if insn.timing in ("fload", "fstore"):
        return "float_load" if insn.timing == "fload" else "float_store"
    if any(operand.bank == "f" for operand in insn.syntax):
        return "move" if insn.mnemonic.startswith("fmv.") else "float"
    if insn.extension not in EXTENSIONS:
        return "none"
    return _BY_TIMING[insn.timing] or insn.mnemonic


def uses(insn: Insn) -> tuple[str, ...]:
    """The scalar registers that an instruction names."""
    named = {operand.name for operand in insn.syntax if operand.bank in ("x", "f")}
    return tuple(name for name in USES if name in named)


def access(insn: Insn) -> tuple[int, bool]:
    """Binary logarithm of the bytes of an access, move or integer result, and whether a load extends by zeros."""
    kind = _kind(insn)
    return (kind.bits // 8).bit_length() - 1, kind.kind == "u"


def _kind(insn: Insn) -> Type:
    found = route(insn)
    operands: tuple[Operand, ...] = insn.syntax
    if found == "move":  # the FP register's side says how wide, the integer's is always extended by its sign
        operand = next(operand for operand in operands if operand.bank == "f")
        return Type("s", operand.type.bits)
    if found in ("alu", "multiply", "divide", "load", "store", "atomic", "float_load", "float_store"):
        return operands[0].type.at(64)
    return Type("s", 64)


def core_package(insns: Iterable[Insn] | None = None) -> str:
    """Text of package ``potluck_core_pkg`` (default: of the table's rows of 32 bits)."""
    rows = [insn for insn in (TABLE.values() if insns is None else insns) if insn.length == 4]
    width = (len(ROUTES) - 1).bit_length()
    names = [f"    ROUTE_{name.upper()} = {width}'d{code}" for code, name in enumerate(ROUTES)]
    lines = [
        "// Generated from the instruction table; change the table.",
        f"package {PACKAGE};",
        "  import potluck_isa_pkg::*;",
        f"  typedef enum logic [{width - 1}:0] {{",
        ",\n".join(names),
        "  } route_e;",
        "  typedef struct packed {",
        "    route_e route;",
        *(f"    logic   {name};" for name in USES),
        "    logic [1:0] size;         // of an access, a move or an integer result: 2^size bytes",
        "    logic   zero_extended;",
        "  } facts_t;",
        "  function automatic facts_t facts(input op_e op);",
        "    case (op)",
    ]
    groups: dict[str, list[str]] = {}
    for insn in rows:
        groups.setdefault(_literal(insn), []).append(op_name(insn.mnemonic))
    for literal, ops in groups.items():
        if not literal.startswith("'{ROUTE_NONE,"):
            lines.append("      " + ",\n      ".join(ops) + f": return {literal};")
    lines += [
        "      default: return '{ROUTE_NONE, " + "1'b0, " * len(USES) + "2'd3, 1'b0};",
        "    endcase",
        "  endfunction",
        "endpackage",
        "",
    ]
    return "\n".join(lines)


def _literal(insn: Insn) -> str:
    named = uses(insn)
    size, unsigned = access(insn)
    bits = ", ".join(f"1'b{int(name in named)}" for name in USES)
    return f"'{{ROUTE_{route(insn).upper()}, {bits}, 2'd{size}, 1'b{int(unsigned)}}}"
