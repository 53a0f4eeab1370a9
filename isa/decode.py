"""From instruction words to rows of the table and operand values: one word, or a whole text vectorized."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from potluck.isa.insn import Insn, Piece
from potluck.isa.registers import NUMBERS
from potluck.isa.table import TABLE, table_of

_SIGNED = ("imm", "off")
Decoded = tuple[Insn, dict[str, int]]


def length(low: int) -> int:
    """Bytes of the instruction that begins with a 16-bit parcel: 2, 4, 6 or 8 (specification §1.5).

    A decoder may know shorter ones: :meth:`Decoder.length`.
    """
    if low & 3 != 3:
        return 2
    if low & 0x1F != 0x1F:
        return 4
    return 6 if low & 0x3F == 0x1F else 8


def _bucket(word: int) -> int:
    """Major opcode and funct3 (quadrant and funct3 of a compressed word): what nearly every encoding fixes."""
    if word & 3 != 3:
        return 1024 | word & 3 | (word >> 13 & 7) << 2
    return word & 0x7F | (word >> 12 & 7) << 7


@dataclass(frozen=True, slots=True)
class DecodedText:
    """A decoded text.

    Attributes:
        index: int16 [n], position in ``Decoder.insns``, -1 where the word is no instruction.
        operands: operand name -> int64 [n], values as :meth:`Insn.decode` gives them, 0 where a row
            lacks the operand.
    """

    index: NDArray[np.int16]
    operands: dict[str, NDArray[np.int64]]


class Decoder:
    """Decodes the words of a set of instructions (default: the table)."""

    def __init__(self, insns: Iterable[Insn] | None = None) -> None:
        self.insns = list(TABLE.values() if insns is None else insns)
        # Rows that are carved out of others come before them.
        carved = {name for insn in self.insns for name in insn.attributes.get("carved", ())}
        self.insns.sort(key=lambda insn: insn.mnemonic not in carved)
        # Major opcodes of 32-bit instructions that lie among those of longer ones (VMXDOTP's prototype encoding).
        self._short = {i.match & 0x7F for i in self.insns if i.length == 4 and length(i.match) != 4}
        self._buckets: dict[int, list[int]] = {}
        for number, insn in enumerate(self.insns):
            at = 13 if insn.length == 2 else 12
            for funct3 in range(8):
                if not (funct3 << at ^ insn.match) & insn.mask & 7 << at:
                    bucket = _bucket(insn.match & (3 if insn.length == 2 else 0x7F) | funct3 << at)
                    self._buckets.setdefault(bucket, []).append(number)
        self._formats: dict[tuple[Piece, ...], list[int]] = {}
        for number, insn in enumerate(self.insns):
            self._formats.setdefault(insn.pieces, []).append(number)
        self.decode = lru_cache(maxsize=1 << 16)(self._decode)
        self.execute = lru_cache(maxsize=1 << 16)(self._execute)

    def length(self, low: int) -> int:
        """Bytes of the instruction that begins with a 16-bit parcel, by its low bits and the rows."""
        return 4 if low & 0x7F in self._short else length(low)

    def find(self, word: int) -> int:
        """Index in ``insns`` of the row that a word matches, -1 if there is none.

        A compressed instruction is a word below 2^16; other bits above it make no instruction.
        """
        if word & 3 != 3 and word >> 16:
            return -1
        for number in self._buckets.get(_bucket(word), ()):
            if self.insns[number].matches(word):
                return number
        return -1

    def _decode(self, word: int) -> Decoded | None:
        """The row and the operand values of a word (do not modify them), or None. Results are cached."""
        number = self.find(word)
        return None if number < 0 else (self.insns[number], self.insns[number].decode(word))

    def _execute(self, word: int) -> Decoded | None:
        """As ``decode``, but a compressed instruction comes as what it expands to."""
        found = self.decode(word)
        return expand(*found) if found else None

    def decode_text(self, words: NDArray[np.uint32]) -> DecodedText:
        """Decode many words of 32 bits at once (50,000 in a few ms)."""
        words = np.ascontiguousarray(words, np.uint32)
        index = np.full(words.size, -1, np.int16)
        keys = words & 0x7F | (words >> 12 & 7) << 7
        order = np.argsort(keys, kind="stable")
        present, starts = np.unique(keys[order], return_index=True)
        for key, places in zip(present, np.split(order, starts[1:]), strict=True):
            chunk = words[places]
            for number in self._buckets.get(int(key), ()):
                insn = self.insns[number]
                if insn.length > 4:
                    continue
                index[places[chunk & np.uint32(insn.mask) == insn.match]] = number
        return DecodedText(index, self._operands(words, index))

    def _operands(self, words: NDArray[np.uint32], index: NDArray[np.int16]) -> dict[str, NDArray[np.int64]]:
        operands: dict[str, NDArray[np.int64]] = {}
        formats = list(self._formats)
        format_of = np.zeros(len(self.insns) + 1, np.int16)  # the last entry serves index -1
        for number, pieces in enumerate(formats):
            format_of[self._formats[pieces]] = number
        format_of[-1] = -1
        kinds = format_of[index]
        for number in np.unique(kinds[kinds >= 0]):
            places = np.flatnonzero(kinds == number)
            chunk = words[places].astype(np.int64)
            tops: dict[str, int] = {}
            for piece in formats[number]:
                array = operands.setdefault(piece.name, np.zeros(words.size, np.int64))
                array[places] |= (chunk >> piece.at & (1 << piece.width) - 1) << piece.low
                tops[piece.name] = max(tops.get(piece.name, 0), piece.low + piece.width)
            for name in _SIGNED:
                if name in tops:
                    half = 1 << tops[name] - 1
                    operands[name][places] = (operands[name][places] ^ half) - half
        return operands


def expand(insn: Insn, values: dict[str, int]) -> Decoded:
    """What a compressed instruction stands for; any other one as it is."""
    if "expands" not in insn.attributes:
        return insn, values
    base, sources = expansion(insn)
    return base, {
        name: source if isinstance(source, int) else values[source] for name, source in sources.items()
    }


def expansion(insn: Insn) -> tuple[Insn, dict[str, int | str]]:
    """Base row of a compressed one, and for each of its operands the compressed operand that it takes, or its value."""
    base, sources = _expansion(insn.attributes["expands"])
    own = {piece.name for piece in insn.pieces}
    return base, {name: text if text in own else _value(text) for name, text in sources}


def _value(text: str) -> int:
    return int(text) if text.lstrip("-").isdigit() else NUMBERS["x"][text]


@lru_cache(maxsize=256)
def _expansion(text: str) -> tuple[Insn, tuple[tuple[str, str], ...]]:
    """Base row, and for each of its operands the compressed operand, register or number that it takes."""
    mnemonic, *sources = re.split(r"[\s,()]+", text.rstrip(")"))
    base = TABLE[mnemonic]
    return base, tuple(zip((operand.name for operand in base.syntax), sources, strict=True))


@cache
def decoder(encoding: str = "spatz") -> Decoder:
    """The decoder of the table, made once per encoding of VMXDOTP (:func:`potluck.isa.table.table_of`)."""
    return Decoder(table_of(encoding).values())
