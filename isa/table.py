"""The instruction table: every row of ``potluck.isa.rows`` and of installed packages, by mnemonic.

A third-party package adds rows through an entry point of the group ``potluck.instructions`` that names a list
of :class:`~potluck.isa.insn.Insn`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache

from potluck.isa import rows
from potluck.isa.insn import Insn
from potluck.isa.plugins import added


def overlaps(insns: Iterable[Insn] | None = None) -> list[tuple[str, str]]:
    """Pairs of mnemonics (default: of the table) whose encodings share a word; must be empty."""
    known: dict[int, list[Insn]] = {}
    found = []
    for insn in TABLE.values() if insns is None else insns:
        group = known.setdefault(insn.match & (0x7F if insn.length > 2 else 3), [])
        for other in group:
            if _share(insn, other) and not _share_is_settled(insn, other):
                found.append((other.mnemonic, insn.mnemonic))
        group.append(insn)
    return found


def _share(a: Insn, b: Insn) -> bool:
    both = a.mask & b.mask
    if a.match & both != b.match & both:
        return False
    # A field that must not be zero in one row and is fixed at zero in the other keeps them apart.
    return not any(
        bits & other.mask == bits and not other.match & bits
        for row, other in ((a, b), (b, a))
        for bits in row.nonzero
    )


def _share_is_settled(a: Insn, b: Insn) -> bool:
    return a.mnemonic in b.attributes.get("carved", ()) or b.mnemonic in a.attributes.get("carved", ())


def collect(sources: Iterable[Iterable[Insn]]) -> dict[str, Insn]:
    """Rows as one table.

    Raises:
        ValueError: a mnemonic occurs twice, or a row's encoding and operands do not name the same fields.
    """
    table: dict[str, Insn] = {}
    for source in sources:
        for insn in source:
            if insn.mnemonic in table:
                raise ValueError(f"instruction {insn.mnemonic!r} is declared twice")
            fields = {piece.name for piece in insn.pieces}
            named = {operand.name for operand in insn.syntax} - {"v0", "sp"}
            if fields != named:
                raise ValueError(f"instruction {insn.mnemonic!r}: encoded fields {fields}, operands {named}")
            table[insn.mnemonic] = insn
    return table


def _own_rows() -> list[list[Insn]]:
    names = sorted(module.name for module in pkgutil.iter_modules(rows.__path__))
    return [importlib.import_module(f"{rows.__name__}.{name}").ROWS for name in names]


def _foreign_rows() -> list[list[Insn]]:
    return [list(insns) for _, insns in added("potluck.instructions")]


TABLE: dict[str, Insn] = collect([*_own_rows(), *_foreign_rows()])
"""All instructions by mnemonic."""


@cache
def table_of(encoding: str = "spatz") -> dict[str, Insn]:
    """The table of a machine whose VMXDOTP has the given encoding (machine key ``isa.vmxdotp_encoding``).

    A row may have others in its place there (``attributes["instead"]``), and take that of whole extensions
    (``attributes["takes"]``).
    """
    taken = {name for insn in TABLE.values() for name in insn.attributes.get("takes", {}).get(encoding, ())}
    found = [
        row for insn in TABLE.values() for row in insn.attributes.get("instead", {}).get(encoding, [insn])
    ]
    return collect([[insn for insn in found if insn.extension not in taken]])


def lookup(mnemonic: str) -> Insn:
    """The row of a mnemonic.

    Raises:
        KeyError: no such instruction; the text names near ones.
    """
    try:
        return TABLE[mnemonic]
    except KeyError:
        from difflib import get_close_matches

        near = ", ".join(get_close_matches(mnemonic, TABLE, 3))
        raise KeyError(f"no instruction {mnemonic!r}" + (f"; near: {near}" if near else "")) from None
