"""Linear systematic codes: check bits by tables of bytes, correction by syndrome.

A code is its data columns: bit r of ``columns[b]`` says whether data bit b takes part in check bit r. Check bit r has
column ``1 << r``, so the syndrome is the recomputed check bits XOR the stored ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.sim.cache import configure_numba
from potluck.sim.ecc.interface import Decoded, Encoded, Status, Words, int_rows, words_of

configure_numba()


class Located(NamedTuple):
    """The decision for each syndrome: `status` (n,), bits to flip in `data` (n, words) and `checks` (n,)."""

    status: NDArray[np.uint8]
    data: Words
    checks: Words


class Locator(Protocol):
    """Turns syndromes into error patterns."""

    def locate(self, syndromes: Words) -> Located:
        """Decide on syndromes, shape (n,)."""
        ...


@numba.njit(cache=True, nogil=True)
def checks_into(data: Words, tables: Words, out: Words) -> None:
    """XOR of the byte tables over each row of `data`, written to `out`."""
    for row in range(data.shape[0]):
        value = np.uint64(0)
        for position in range(tables.shape[0]):
            byte = (data[row, position >> 3] >> np.uint64(8 * (position & 7))) & np.uint64(255)
            value ^= tables[position, byte]
        out[row] = value


@dataclass(frozen=True, eq=False)
class LinearCode:
    """A linear code over one codeword.

    Attributes:
        name: for messages and tables.
        data_bits, check_bits: lengths; at most 64 check bits.
        columns: uint64 (data_bits,), see the module's text.
        locator: the decoder proper.
    """

    name: str
    data_bits: int
    check_bits: int
    columns: Words
    locator: Locator

    def __post_init__(self) -> None:
        if self.columns.shape != (self.data_bits,) or not 0 < self.check_bits <= 64:
            raise DataError(f"{self.name}: {self.columns.shape} columns for {self.data_bits} data bits")

    @cached_property
    def tables(self) -> Words:
        """Check bits of each value of each data byte, shape (bytes, 256)."""
        return byte_tables(self.columns)

    @cached_property
    def parity_matrix(self) -> NDArray[np.uint8]:
        """H = [columns | identity] as bits, shape (check_bits, data_bits + check_bits)."""
        rows = np.arange(self.check_bits, dtype=np.uint64)[:, None]
        left = (self.columns[None, :] >> rows) & np.uint64(1)
        return np.hstack([left.astype(np.uint8), np.eye(self.check_bits, dtype=np.uint8)])

    def xor_masks(self) -> list[int]:
        """Per check bit the mask of the data bits whose parity it is."""
        bits = self.parity_matrix[:, : self.data_bits]
        return [sum(1 << int(b) for b in np.flatnonzero(row)) for row in bits]

    def checks_of(self, data: Words) -> Words:
        """Check bits of codewords (n, words), shape (n,)."""
        if data.ndim != 2 or data.shape[1] != words_of(self.data_bits):
            raise DataError(f"{self.name}: data of shape {data.shape} for {self.data_bits} bits per row")
        out = np.empty(len(data), np.uint64)
        checks_into(np.ascontiguousarray(data), self.tables, out)
        return out

    def encode(self, data: Words) -> Encoded:
        """See `Protection.encode`."""
        return Encoded(data, self.checks_of(data)[:, None])

    def decode(self, data: Words, checks: Words) -> Decoded:
        """See `Protection.decode`."""
        located = self.locator.locate(self.checks_of(data) ^ checks[:, 0])
        return Decoded(data ^ located.data, located.status[:, None])

    def bounded(self, clean: Words, read: Words) -> NDArray[np.bool_]:
        """A code promises nothing about a wrong block."""
        return np.zeros(len(clean), np.bool_)


def byte_tables(columns: Words) -> Words:
    """For each byte of the data and each of its values the XOR of its bits' columns, shape (bytes, 256)."""
    padded = np.zeros(-(-len(columns) // 8) * 8, np.uint64)
    padded[: len(columns)] = columns
    tables = np.zeros((len(padded) // 8, 256), np.uint64)
    for bit in range(8):
        half = 1 << bit
        tables[:, half : 2 * half] = tables[:, :half] ^ padded[bit::8, None]
    return tables


@dataclass(frozen=True, eq=False)
class Patterns:
    """Error patterns, distinct and not zero: `data` (m, words), `checks` (m,)."""

    data: Words
    checks: Words


class TableLocator:
    """Corrects a given set of patterns: one look-up by syndrome, for codes of up to 20 check bits.

    Attributes:
        patterns: as given; row 0 of the internal table is the empty pattern.
        slots: int32 (2^check_bits,), pattern number + 1; 0 for the zero syndrome, -1 where nothing is correctable.
    """

    def __init__(self, columns: Words, check_bits: int, patterns: Patterns) -> None:
        """Build the table.

        Raises:
            DataError: two patterns share a syndrome, so that the code cannot correct both, or the table is too large.
        """
        if check_bits > 20:
            raise DataError(f"a syndrome table of 2^{check_bits} entries", hint="Use an algebraic locator")
        self.patterns = patterns
        syndromes = np.empty(len(patterns.checks), np.uint64)
        checks_into(patterns.data, byte_tables(columns), syndromes)
        syndromes ^= patterns.checks
        self.slots = np.full(1 << check_bits, -1, np.int32)
        self.slots[0] = 0
        if len(np.unique(syndromes)) != len(syndromes) or not syndromes.all():
            raise DataError(
                "two correctable patterns share a syndrome", hint="The code's distance is too small"
            )
        self.slots[syndromes] = np.arange(1, len(syndromes) + 1, dtype=np.int32)
        self._data = np.vstack([np.zeros((1, patterns.data.shape[1]), np.uint64), patterns.data])
        self._check_flips = np.concatenate([np.zeros(1, np.uint64), patterns.checks])

    def locate(self, syndromes: Words) -> Located:
        """See `Locator`."""
        slots = self.slots[syndromes]
        status = np.where(slots < 0, Status.DUE, np.where(slots > 0, Status.CORRECTED, Status.CLEAN))
        known = np.maximum(slots, 0)
        return Located(status.astype(np.uint8), self._data[known], self._check_flips[known])


class Detector:
    """Detects and corrects nothing."""

    def __init__(self, words: int) -> None:
        self.words = words

    def locate(self, syndromes: Words) -> Located:
        """See `Locator`."""
        status = np.where(syndromes != 0, Status.DUE, Status.CLEAN).astype(np.uint8)
        return Located(status, np.zeros((len(syndromes), self.words), np.uint64), np.zeros_like(syndromes))


def bit_patterns(data_bits: int, check_bits: int, supports: Sequence[tuple[int, ...]]) -> Patterns:
    """Patterns from lists of bit numbers; check bit r has number ``data_bits + r``."""
    values = [sum(1 << b for b in support) for support in supports]
    low = (1 << data_bits) - 1
    checks = np.array([v >> data_bits for v in values], np.uint64)
    return Patterns(int_rows([v & low for v in values], data_bits), checks)


def table_code(
    name: str, columns: list[int], check_bits: int, supports: Sequence[tuple[int, ...]]
) -> LinearCode:
    """A code whose decoder corrects exactly the patterns with these supports."""
    array = np.array(columns, np.uint64)
    patterns = bit_patterns(len(columns), check_bits, supports)
    return LinearCode(name, len(columns), check_bits, array, TableLocator(array, check_bits, patterns))
