"""The compressed form of an instruction, found from the rows' ``expands``."""

from __future__ import annotations

from functools import lru_cache

from potluck.isa.decode import decoder, expand
from potluck.isa.insn import COMPRESSED_REGISTERS, Insn
from potluck.isa.operands import width
from potluck.isa.table import TABLE


@lru_cache(maxsize=1)
def _candidates() -> dict[str, list[Insn]]:
    """Compressed rows by the mnemonic that they stand for."""
    found: dict[str, list[Insn]] = {}
    for insn in TABLE.values():
        if "expands" in insn.attributes:
            found.setdefault(insn.attributes["expands"].split()[0], []).append(insn)
    return found


def compressed(insn: Insn, values: dict[str, int]) -> tuple[Insn, dict[str, int]]:
    """The two-byte form of an instruction with raw operand values if there is one, else the instruction itself.

    A hint is never made from an instruction that is none.
    """
    if insn.mnemonic == "addi" and values["imm"] == 0 and values["rs1"] and values["rd"]:  # mv
        insn_, values_ = TABLE["add"], {"rd": values["rd"], "rs1": 0, "rs2": values["rs1"]}
        return compressed(insn_, values_)
    for row in _candidates().get(insn.mnemonic, ()):
        found = _operands(row, insn, values)
        if found is not None:
            return row, found
    return insn, values


def _operands(row: Insn, base: Insn, values: dict[str, int]) -> dict[str, int] | None:
    """Operands of a compressed row that make it mean the instruction, or None."""
    sources = row.attributes["expands"].replace(",", " ").replace("(", " ").replace(")", " ").split()[1:]
    found: dict[str, int] = {}
    names = {operand.name for operand in row.syntax} - {"sp"}
    for operand, source in zip(base.syntax, sources, strict=True):
        if source in names and found.setdefault(source, values[operand.name]) != values[operand.name]:
            return None
    if any(not _fits(row, name, value) for name, value in found.items()):
        return None
    if found.get("rd") == 0:
        return None  # a hint
    # What cannot be said in the row's fields comes out different.
    decoded = decoder().decode(row.encode(found))
    if decoded is None or decoded[0] is not row or expand(*decoded) != (base, values):
        return None
    return found


def _fits(row: Insn, name: str, value: int) -> bool:
    if name in COMPRESSED_REGISTERS:
        return 8 <= value < 16
    _, high = width(row, name)
    if name in ("imm", "off"):
        return -(1 << high - 1) <= value < 1 << high - 1
    return 0 <= value < 1 << high
