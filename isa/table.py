"""The instruction table: every row of ``potluck.isa.rows`` by mnemonic."""

from __future__ import annotations

from potluck.isa.insn import Insn
from potluck.isa.rows import floats, rv64, vfloat, vinteger, vmemory, vmxdotp, xsnitch, zvfofp8min

TABLE: dict[str, Insn] = {
    row.mnemonic: row
    for module in (rv64, floats, xsnitch, vmemory, vinteger, vfloat, vmxdotp, zvfofp8min)
    for row in module.ROWS
}


def overlaps() -> list[tuple[str, str]]:
    """Pairs of rows that some word would match both of; must be empty."""
    rows = list(TABLE.values())
    found = []
    for index, a in enumerate(rows):
        for b in rows[index + 1 :]:
            common = a.mask & b.mask
            if a.match & common == b.match & common:
                found.append((a.mnemonic, b.mnemonic))
    return found
