"""Blocks of several codewords, and codes over some of a block's bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.sim.ecc.interface import (
    BLOCK_BITS,
    Decoded,
    Encoded,
    Protection,
    Status,
    Words,
    as_bytes,
    as_words,
)


@dataclass(frozen=True)
class Unprotected:
    """Nothing is stored beside the data, nothing is checked."""

    name: str = "none"
    data_bits: int = BLOCK_BITS
    check_bits: int = 0

    def encode(self, data: Words) -> Encoded:
        """See `Protection.encode`."""
        return Encoded(data, np.zeros((len(data), 0), np.uint64))

    def decode(self, data: Words, checks: Words) -> Decoded:
        """See `Protection.decode`."""
        return Decoded(data, np.zeros((len(data), 0), np.uint8))

    def bounded(self, clean: Words, read: Words) -> NDArray[np.bool_]:
        """See `Protection.bounded`."""
        return np.zeros(len(clean), np.bool_)


@dataclass(frozen=True)
class Split:
    """Consecutive codewords of one code; a status and a check word for each.

    Attributes:
        code: over whole bytes.
        count: codewords per block.
        null: replace the data of a codeword that cannot be corrected by zeros; its status is then CORRECTED.
    """

    code: Protection
    count: int
    null: bool = False

    @property
    def name(self) -> str:
        """Of the code, with the count."""
        return f"{self.code.name}_x{self.count}"

    @property
    def data_bits(self) -> int:
        """Of the block."""
        return self.code.data_bits * self.count

    @property
    def check_bits(self) -> int:
        """Of the block."""
        return self.code.check_bits * self.count

    def _words(self, data: Words) -> Words:
        return as_words(as_bytes(data, self.data_bits), self.code.data_bits)

    def _blocks(self, words: Words) -> Words:
        return as_words(as_bytes(words, self.code.data_bits), self.data_bits)

    def encode(self, data: Words) -> Encoded:
        """See `Protection.encode`."""
        words, checks = self.code.encode(self._words(data))
        return Encoded(self._blocks(words), checks.reshape(len(data), -1))

    def decode(self, data: Words, checks: Words) -> Decoded:
        """See `Protection.decode`."""
        words, status = self.code.decode(self._words(data), checks.reshape(len(data) * self.count, -1))
        if self.null:
            lost = status[:, 0] == Status.DUE
            words = np.where(lost[:, None], np.uint64(0), words)
            status = np.where(status == Status.DUE, Status.CORRECTED, status).astype(np.uint8)
        return Decoded(self._blocks(words), status.reshape(len(data), -1))

    def bounded(self, clean: Words, read: Words) -> NDArray[np.bool_]:
        """Every codeword is right, bounded, or zero where nulling is on."""
        was, now = self._words(clean), self._words(read)
        good = (was == now).all(axis=1) | self.code.bounded(was, now)
        if self.null:
            good |= ~now.any(axis=1)
        return np.asarray(good.reshape(len(clean), -1).all(axis=1))


def gather(data: Words, positions: NDArray[np.intp]) -> Words:
    """The bits at `positions`, in that order, of rows of words; the last word is filled up with zeros."""
    bits = np.unpackbits(data.view(np.uint8), axis=1, bitorder="little")[:, positions]
    padding = -len(positions) % 64
    packed = np.packbits(np.pad(bits, [(0, 0), (0, padding)]), axis=1, bitorder="little")
    return np.ascontiguousarray(packed).view(np.uint64)


def scatter(words: Words, positions: NDArray[np.intp], width: int) -> Words:
    """The reverse of `gather`: rows of `width` words with those bits set, all others zero."""
    bits = np.zeros((len(words), width * 64), np.uint8)
    source = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
    bits[:, positions] = source[:, : len(positions)]
    return np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little")).view(np.uint64)


@dataclass(frozen=True, eq=False)
class Selected:
    """A code over the bits `positions` of a block; the other bits are passed through.

    A block whose selected bits are right counts as bounded: that is what check bits spent on raw top bits buy.
    """

    name: str
    code: Protection
    positions: NDArray[np.intp]
    data_bits: int = BLOCK_BITS

    @property
    def check_bits(self) -> int:
        """Of the code."""
        return self.code.check_bits

    def encode(self, data: Words) -> Encoded:
        """See `Protection.encode`."""
        return Encoded(data, self.code.encode(gather(data, self.positions)).checks)

    def decode(self, data: Words, checks: Words) -> Decoded:
        """See `Protection.decode`."""
        read = gather(data, self.positions)
        words, status = self.code.decode(read, checks)
        return Decoded(data ^ scatter(read ^ words, self.positions, data.shape[1]), status)

    def bounded(self, clean: Words, read: Words) -> NDArray[np.bool_]:
        """See the class's text."""
        return np.asarray(~gather(clean ^ read, self.positions).any(axis=1))


def top_bits(bits: int, of: int = 32) -> NDArray[np.intp]:
    """Positions of the uppermost bits of every value of `of` bits, lowest first within a value."""
    return np.array([base + of - bits + b for base in range(0, BLOCK_BITS, of) for b in range(bits)], np.intp)
