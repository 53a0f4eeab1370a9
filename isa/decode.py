"""From instruction words to rows of the table and operand values: one word, or a whole text vectorized."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from potluck.isa.insn import Insn, Piece
from potluck.isa.table import TABLE

_SIGNED = ("imm", "off")


def _bucket(word: int) -> int:
    """Major opcode and funct3: what nearly every encoding fixes."""
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
        self._buckets: dict[int, list[int]] = {}
        for number, insn in enumerate(self.insns):
            for funct3 in range(8):
                if not (funct3 << 12 ^ insn.match) & insn.mask & 0x7000:
                    self._buckets.setdefault(insn.match & 0x7F | funct3 << 7, []).append(number)
        self._formats: dict[tuple[Piece, ...], list[int]] = {}
        for number, insn in enumerate(self.insns):
            self._formats.setdefault(insn.pieces, []).append(number)
        self.decode = lru_cache(maxsize=1 << 16)(self._decode)

    def find(self, word: int) -> int:
        """Index in ``insns`` of the row that a word matches, -1 if there is none."""
        for number in self._buckets.get(_bucket(word), ()):
            insn = self.insns[number]
            if word & insn.mask == insn.match:
                return number
        return -1

    def _decode(self, word: int) -> tuple[Insn, dict[str, int]] | None:
        """The row and the operand values of a word (do not modify them), or None. Results are cached."""
        number = self.find(word)
        return None if number < 0 else (self.insns[number], self.insns[number].decode(word))

    def decode_text(self, words: NDArray[np.uint32]) -> DecodedText:
        """Decode many words at once (50,000 in a few ms)."""
        words = np.ascontiguousarray(words, np.uint32)
        index = np.full(words.size, -1, np.int16)
        keys = words & 0x7F | (words >> 12 & 7) << 7
        order = np.argsort(keys, kind="stable")
        present, starts = np.unique(keys[order], return_index=True)
        for key, places in zip(present, np.split(order, starts[1:]), strict=True):
            chunk = words[places]
            for number in self._buckets.get(int(key), ()):
                insn = self.insns[number]
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


@lru_cache(maxsize=1)
def decoder() -> Decoder:
    """The decoder of the table, made once."""
    return Decoder()
