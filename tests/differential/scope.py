"""Which rows of the table the campaign runs, in which groups, and why the others are left out.

Rows that appear in the table are in scope by themselves; what is left out stands here with its reason.
"""

from __future__ import annotations

from potluck.isa.insn import Insn, Kind
from potluck.isa.table import TABLE

NOT_IN_SPIKE = {
    "VMXDOTP": "custom instruction; checked against tests/reference/mxdot_exact.py",
    "Xf8": "Snitch's byte loads on custom-0",
    "Xdma": "Snitch's DMA on custom-1",
}
LEFT_OUT = {
    "ecall": "ends every program",
    "ebreak": "ends the program",
    "wfi": "waits for the DMA",
    "c.ebreak": "ends the program",
    "vsetvl": "taken with a legal vtype in a register only; the others: tests/sim/test_vector_spike.py",
}
RARE_CSRS = "cycle, time, instret, mhartid, fmode: no equal in Spike's hart"

FLOAT_EXTENSIONS = ("F", "D", "Zfh", "Zfhmin", "Zfbfmin")
VECTOR_FLOAT = ("Zvfbfmin", "Zvfbfwma", "Zvfofp8min")


def skipped() -> dict[str, str]:
    """Rows out of scope: mnemonic to reason."""
    found = {}
    for name, insn in TABLE.items():
        if name in LEFT_OUT and name != "vsetvl":
            found[name] = LEFT_OUT[name]
        elif insn.extension in NOT_IN_SPIKE:
            found[name] = NOT_IN_SPIKE[insn.extension]
    return found


def group_of(insn: Insn) -> str:
    """The extension group that a row is counted in; V is cut by what its rows do."""
    if insn.extension in VECTOR_FLOAT or insn.extension == "Zvdot4a8i":
        return insn.extension
    if not insn.is_vector and insn.kind is not Kind.VSET:
        return insn.extension
    if insn.kind is Kind.VSET:
        return "V configuration"
    if insn.kind in (Kind.VLOAD, Kind.VSTORE):
        return "V segments" if "segments" in insn.attributes else "V memory"
    if insn.kind in (Kind.PERMUTE, Kind.SCAN, Kind.MASK) or insn.attributes.get("whole_registers"):
        return "V masks and permutations"
    if any(operand.type.kind == "f" for operand in insn.syntax) or insn.timing.startswith("vf"):
        return "V floating point"
    return "V integer"


def groups() -> dict[str, list[Insn]]:
    """Rows in scope by group."""
    out = skipped()
    found: dict[str, list[Insn]] = {}
    for name, insn in TABLE.items():
        if name not in out:
            found.setdefault(group_of(insn), []).append(insn)
    return found
