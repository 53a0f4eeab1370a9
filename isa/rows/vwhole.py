"""V 1.0: whole-register moves and slides by one (16.6, 16.3.3).

The code templates of the simulator have no place yet for a copy that ignores vl, nor for a scalar that enters a slide.
Until they do, executing one of these is a ProgramError that says so; everything else knows them.

* ``attributes["whole_registers"]``: copy so many registers, whatever vl and vtype.
* ``attributes["insert"]``: which element takes the scalar, ``first`` (the others ``vs2[i-1]``) or ``last`` (element
  vl-1; the others ``vs2[i+1]``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from potluck.isa.errors import ProgramError
from potluck.isa.insn import Insn, Kind

OP = "1010111"


def _unmodeled(name: str) -> Callable[..., NoReturn]:
    def meaning() -> NoReturn:
        raise ProgramError(
            f"{name} cannot be executed yet", hint="Use vmv.v.v or vslideup/vslidedown and vmv.s.x."
        )

    return meaning


def _slide(name: str, code: str, source: str, kind: str, funct3: str, where: str, doc: str) -> Insn:
    attributes: dict[str, Any] = {"insert": where}
    if where == "first":
        attributes["no_overlap"] = True
    return Insn(name, f"{code} vm vs2 {source} {funct3} vd {OP}", f"vd:{kind}, vs2:{kind}, {source}:{kind}, vm",
                Kind.PERMUTE, "vslide", _unmodeled(name), doc, "V", attributes)  # fmt: skip


ROWS = [
    *(Insn(f"vmv{count}r.v", f"100111 1 vs2 {count - 1:05b} 011 vd {OP}", "vd:u8, vs2:u8", Kind.MAP, "vmove",
           _unmodeled(f"vmv{count}r.v"), f"Copy {count} whole registers.", "V", {"whole_registers": count})
      for count in (1, 2, 4, 8)),
    _slide("vslide1up.vx", "001110", "rs1", "s", "110", "first", "Move elements up by one, a register enters."),
    _slide("vslide1down.vx", "001111", "rs1", "s", "110", "last", "Move elements down by one, a register enters."),
    _slide("vfslide1up.vf", "001110", "fs1", "f", "101", "first", "Move elements up by one, a float enters."),
    _slide("vfslide1down.vf", "001111", "fs1", "f", "101", "last", "Move elements down by one, a float enters."),
]  # fmt: skip
