"""V 1.0: configuration, loads and stores (chapters 6 and 7).

``attributes``: ``strided``, ``indexed``, ``first_fault`` (a fault past element 0 shortens vl instead), ``segments``
(fields of a structure; field ``s`` of element ``i`` belongs to element ``i`` of the ``s``-th register group), ``mask``,
``whole_registers``.
"""

from __future__ import annotations

from typing import Any

from potluck.isa.insn import Insn, Kind

WIDTH = {8: "000", 16: "101", 32: "110", 64: "111"}
REGISTERS = {1: "000", 2: "001", 4: "011", 8: "111"}

CONFIGURE = [
    Insn("vsetvli", "0 vtypei[10:0] rs1 111 rd 1010111", "rd, rs1, vtypei", Kind.VSET, "vset", None,
         "Set vl and vtype.", "V"),
    Insn("vsetivli", "11 vtypei[9:0] uimm[4:0] 111 rd 1010111", "rd, uimm, vtypei", Kind.VSET, "vset", None,
         "Set vl from an immediate, and vtype.", "V"),
    Insn("vsetvl", "1000000 rs2 rs1 111 rd 1010111", "rd, rs1, rs2", Kind.VSET, "vset", None,
         "Set vl, and vtype from a register.", "V"),
]  # fmt: skip


def _access(load: bool, stem: str, head: str, fields: str, operands: str, kind: str, width: str, doc: str,
            **attributes: Any) -> Insn:  # fmt: skip
    register, opcode = ("vd", "0000111") if load else ("vs3", "0100111")
    return Insn(
        stem, f"{head} {fields} rs1 {width} {register} {opcode}", f"{register}:{kind}, {operands}",
        Kind.VLOAD if load else Kind.VSTORE, "vload" if load else "vstore", None, doc, "V", attributes,
    )  # fmt: skip


def _element_rows(load: bool, fields: int) -> list[Insn]:
    """Accesses of elements, or of structures of so many fields."""
    l, verb = ("l", "Load") if load else ("s", "Store")
    many = fields > 1
    seg, nf = (f"seg{fields}", f"{fields - 1:03b}") if many else ("", "000")
    what = f"structures of {fields} fields" if many else "elements"
    facts: dict[str, Any] = {"segments": fields} if many else {}
    rows = []
    for eew, width in WIDTH.items():
        rows += [
            _access(load, f"v{l}{seg}e{eew}.v", f"{nf} 0 00", "vm 00000", "(rs1), vm", f"u{eew}", width,
                    f"{verb} consecutive {what} of {eew} bits.", **facts),
            _access(load, f"v{l}s{seg}e{eew}.v", f"{nf} 0 10", "vm rs2", "(rs1), rs2, vm", f"u{eew}", width,
                    f"{verb} {what} of {eew} bits rs2 bytes apart.", strided=True, **facts),
            _access(load, f"v{l}ux{seg}ei{eew}.v", f"{nf} 0 01", "vm vs2", f"(rs1), vs2:u{eew}, vm", "u", width,
                    f"{verb} {what} at {eew}-bit offsets, in any order.", indexed=True, **facts),
            _access(load, f"v{l}ox{seg}ei{eew}.v", f"{nf} 0 11", "vm vs2", f"(rs1), vs2:u{eew}, vm", "u", width,
                    f"{verb} {what} at {eew}-bit offsets, in order.", indexed=True, **facts),
        ]  # fmt: skip
        if load:
            rows.append(
                _access(load, f"vl{seg}e{eew}ff.v", f"{nf} 0 00", "vm 10000", "(rs1), vm", f"u{eew}", width,
                        f"Load consecutive {what} of {eew} bits; a fault past element 0 ends vl there.",
                        first_fault=True, **facts)
            )  # fmt: skip
    return rows


def _rows(load: bool) -> list[Insn]:
    l, verb = ("l", "Load") if load else ("s", "Store")
    rows = [row for fields in range(1, 9) for row in _element_rows(load, fields)]
    rows.append(
        _access(load, f"v{l}m.v", "000 0 00", "1 01011", "(rs1)", "u8", "000", f"{verb} a mask.", mask=True)
    )
    for count, nf in REGISTERS.items():
        for eew, width in WIDTH.items() if load else [(8, "000")]:
            name = f"vl{count}re{eew}.v" if load else f"vs{count}r.v"
            rows.append(_access(load, name, f"{nf} 0 00", "1 01000", "(rs1)", f"u{eew}", width,
                                f"{verb} {count} whole registers.", whole_registers=count))  # fmt: skip
    return rows


ROWS = [*CONFIGURE, *_rows(True), *_rows(False)]
