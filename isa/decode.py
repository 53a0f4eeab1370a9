"""From instruction words back to rows."""

from __future__ import annotations

from collections import defaultdict

from potluck.isa.insn import Insn
from potluck.isa.table import TABLE


class Decoder:
    """Finds a word's row by its major opcode and funct3, then by mask and match; results are remembered."""

    def __init__(self) -> None:
        self._buckets: dict[int, list[Insn]] = defaultdict(list)
        for insn in TABLE.values():
            self._buckets[insn.match & 0x7F].append(insn)
        self._seen: dict[int, tuple[Insn, dict[str, int]] | None] = {}

    def decode(self, word: int) -> tuple[Insn, dict[str, int]] | None:
        """The row and its operand values, or None for an illegal word."""
        if word not in self._seen:
            self._seen[word] = self._search(word)
        return self._seen[word]

    def _search(self, word: int) -> tuple[Insn, dict[str, int]] | None:
        for insn in self._buckets[word & 0x7F]:
            if word & insn.mask == insn.match:
                return insn, insn.decode(word)
        return None
