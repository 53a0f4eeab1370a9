"""Every row of the instruction table."""

from __future__ import annotations

from itertools import groupby

from potluck.isa.insn import Insn
from potluck.isa.table import TABLE
from potluck.reference.markdown import cell, code, table

_HEAD = """# Instructions

{count} rows of the instruction table, by extension. `potluck isa MNEMONIC` shows all that is known of one: the fields
of its encoding, its meaning, timing and energy on a machine, the vtypes at which it is legal.

"""


def page() -> str:
    """Markdown; a heading per extension."""
    parts = [_HEAD.format(count=len(TABLE))]
    rows = sorted(
        TABLE.values(), key=lambda insn: insn.extension
    )  # stable: the table's order within an extension
    for extension, members in groupby(rows, key=lambda insn: insn.extension):
        parts += [f"## {extension}\n\n", table(_COLUMNS, map(_row, members)), "\n"]
    return "".join(parts)


_COLUMNS = ("instruction", "operands", "encoding", "timing class", "what it does")


def _row(insn: Insn) -> list[str]:
    return [code(insn.mnemonic), code(insn.operands), code(insn.encoding), code(insn.timing), cell(insn.doc)]
