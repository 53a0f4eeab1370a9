"""Zvdot4a8i, draft 0.1 (once Zvqdotq): four 8-bit products of each 32-bit element added to the accumulator.

SEW must be 32. ``u``: both unsigned, ``su``: vs2 signed and the operand unsigned, ``us``: the other way round. The
sum wraps at 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from potluck.isa.arithmetic.element import cast
from potluck.isa.insn import Insn, Kind

OP = "1010111"


def _part(x: Any, k: int, kind: str) -> Any:
    """Byte ``k`` of each 32-bit element, extended by ``kind``; shifts keep the lanes where they are."""
    return cast(cast(x, f"{kind}32") << 24 - 8 * k, f"{kind}32") >> 24


def _dot(vd: Any, a: Any, b: Any, kind_a: str, kind_b: str) -> Any:
    total = vd
    for k in range(4):
        total = total + cast(_part(a, k, kind_a), "u32") * cast(_part(b, k, kind_b), "u32")
    return total


def _rows(name: str, code: str, forms: str, of_vs2: str, of_operand: str, doc: str) -> list[Insn]:
    forms_of: dict[str, tuple[str, str, Callable[..., Any]]] = {
        "v": ("vs1", "010", lambda vd, vs2, vs1: _dot(vd, vs2, vs1, of_vs2, of_operand)),
        "x": ("rs1", "110", lambda vd, vs2, rs1: _dot(vd, vs2, rs1, of_vs2, of_operand)),
    }
    return [
        Insn(f"{name}.v{form}", f"{code} vm vs2 {source} {funct3} vd {OP}", f"vd:u32, vs2:u32, {source}:u32, vm",
             Kind.MAP, "vimul", meaning, doc, "Zvdot4a8i", {"sew": 32})
        for form in forms for source, funct3, meaning in [forms_of[form]]
    ]  # fmt: skip


ROWS = [
    *_rows("vdot4a", "101100", "vx", "s", "s", "Add four signed byte products."),
    *_rows("vdot4au", "101000", "vx", "u", "u", "Add four unsigned byte products."),
    *_rows("vdot4asu", "101010", "vx", "s", "u", "Add four products of signed and unsigned bytes."),
    *_rows("vdot4aus", "101110", "x", "u", "s", "Add four products of unsigned and signed bytes."),
]
