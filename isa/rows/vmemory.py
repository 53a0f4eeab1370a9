"""V 1.0: configuration, loads and stores (chapters 6 and 7)."""

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


def _rows(load: bool) -> list[Insn]:
    l, verb = ("l", "Load") if load else ("s", "Store")
    rows = []
    for eew, width in WIDTH.items():
        rows += [
            _access(load, f"v{l}e{eew}.v", "000 0 00", "vm 00000", "(rs1), vm", f"u{eew}", width,
                    f"{verb} consecutive {eew}-bit elements."),
            _access(load, f"v{l}se{eew}.v", "000 0 10", "vm rs2", "(rs1), rs2, vm", f"u{eew}", width,
                    f"{verb} {eew}-bit elements rs2 bytes apart.", strided=True),
            _access(load, f"v{l}uxei{eew}.v", "000 0 01", "vm vs2", f"(rs1), vs2:u{eew}, vm", "u", width,
                    f"{verb} elements at {eew}-bit offsets, in any order.", indexed=True),
            _access(load, f"v{l}oxei{eew}.v", "000 0 11", "vm vs2", f"(rs1), vs2:u{eew}, vm", "u", width,
                    f"{verb} elements at {eew}-bit offsets, in order.", indexed=True),
        ]  # fmt: skip
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
