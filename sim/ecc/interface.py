"""What every protection offers: encode, decode to data and a status per codeword.

Data are rows of little-endian uint64 words: bit b of a codeword is bit ``b & 63`` of word ``b >> 6``; bits beyond
`data_bits` are zero. The stored check bits of a codeword are one uint64.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError

Words = NDArray[np.uint64]
BLOCK_BITS = 256


class Status(IntEnum):
    """What the decoder says; the larger is the worse when several codewords make a block."""

    CLEAN = 0
    CORRECTED = 1
    DUE = 2


class Encoded(NamedTuple):
    """What is stored: `data` (rows, words) as stored, `checks` (rows, codewords per row)."""

    data: Words
    checks: Words


class Decoded(NamedTuple):
    """What is read: `data` (rows, words), `status` uint8 (rows, codewords per row), one `Status` each."""

    data: Words
    status: NDArray[np.uint8]


class Protection(Protocol):
    """A code or filter over blocks of `data_bits`."""

    @property
    def name(self) -> str:
        """As in the registry."""
        ...

    @property
    def data_bits(self) -> int:
        """Of a block."""
        ...

    @property
    def check_bits(self) -> int:
        """Stored beside a block, over all its codewords."""
        ...

    def encode(self, data: Words) -> Encoded:
        """Stored form of blocks (rows, words)."""
        ...

    def decode(self, data: Words, checks: Words) -> Decoded:
        """Blocks read back from their stored form, possibly faulty."""
        ...

    def bounded(self, clean: Words, read: Words) -> NDArray[np.bool_]:
        """Rows in which every value that differs is as wrong as the protection promises at most, shape (rows,)."""
        ...


def words_of(bits: int) -> int:
    """uint64 words that hold so many bits."""
    return -(-bits // 64)


def as_words(data: NDArray[np.generic] | bytes, bits: int = BLOCK_BITS) -> Words:
    """Blocks of `bits` data bits from bytes or an array of any element type, in memory order.

    Raises:
        DataError: the bytes are no whole number of blocks.
    """
    raw = (
        np.frombuffer(data, np.uint8)
        if isinstance(data, bytes)
        else np.ascontiguousarray(data).view(np.uint8)
    )
    size = bits // 8
    if bits % 8 or raw.size % size:
        raise DataError(f"{raw.size} bytes are no whole number of {size}-byte blocks", hint="Pad the tensor")
    padded = np.zeros((raw.size // size, words_of(bits) * 8), np.uint8)
    padded[:, :size] = raw.reshape(-1, size)
    return padded.view(np.uint64)


def as_bytes(words: Words, bits: int = BLOCK_BITS) -> NDArray[np.uint8]:
    """The bytes of blocks, shape (rows, bits / 8)."""
    return np.ascontiguousarray(words).view(np.uint8)[:, : bits // 8]


def int_rows(values: list[int], bits: int) -> Words:
    """Rows of words from Python integers of up to `bits` bits."""
    size = words_of(bits) * 8
    return np.frombuffer(b"".join(v.to_bytes(size, "little") for v in values), np.uint64).reshape(
        -1, size // 8
    )


def row_int(row: Words) -> int:
    """The integer that a row of words is."""
    return int.from_bytes(np.ascontiguousarray(row).tobytes(), "little")
