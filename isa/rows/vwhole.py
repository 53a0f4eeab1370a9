"""V 1.0: whole-register moves and slides by one (16.6, 16.3.3).

* ``attributes["whole_registers"]``: copy so many registers, whatever vl and vtype.
* ``attributes["insert"]``: which element takes the scalar, ``first`` (the others ``vs2[i-1]``) or ``last`` (element
  vl-1; the others ``vs2[i+1]``).
"""

from __future__ import annotations

from typing import Any

from potluck.isa.insn import Insn, Kind

OP = "1010111"


def _slide(name: str, code: str, source: str, kind: str, funct3: str, where: str, doc: str) -> Insn:
    attributes: dict[str, Any] = {"insert": where}
    if where == "first":
        attributes["no_overlap"] = True
    return Insn(name, f"{code} vm vs2 {source} {funct3} vd {OP}", f"vd:{kind}, vs2:{kind}, {source}:{kind}, vm",
                Kind.PERMUTE, "vslide", (lambda i: (i - 1, i > 0)) if where == "first" else (lambda i: i + 1),
                doc, "V", attributes)  # fmt: skip


ROWS = [
    *(Insn(f"vmv{count}r.v", f"100111 1 vs2 {count - 1:05b} 011 vd {OP}", "vd:u8, vs2:u8", Kind.MAP, "vmove",
           lambda vs2: vs2, f"Copy {count} whole registers.", "V", {"whole_registers": count})
      for count in (1, 2, 4, 8)),
    _slide("vslide1up.vx", "001110", "rs1", "s", "110", "first", "Move elements up by one, a register enters."),
    _slide("vslide1down.vx", "001111", "rs1", "s", "110", "last", "Move elements down by one, a register enters."),
    _slide("vfslide1up.vf", "001110", "fs1", "f", "101", "first", "Move elements up by one, a float enters."),
    _slide("vfslide1down.vf", "001111", "fs1", "f", "101", "last", "Move elements down by one, a float enters."),
]  # fmt: skip
