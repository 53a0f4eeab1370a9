"""Protection without a check bit: values that the clean tensor cannot hold are replaced when they are read.

`exponent_clamp` and `code_clamp` write zero (the baseline that any spender of check bits has to beat); `ranger` clips
to the tensor's range (Chen et al., Ranger, DSN 2021) and turns NaN into zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import pack, unpack
from potluck.isa.formats.elements import ElementFormat
from potluck.sim.ecc.interface import BLOCK_BITS, Decoded, Encoded, Status, Words, as_bytes, as_words

Codes = NDArray[Any]


def codes_in(data: Words, bits: int) -> Codes:
    """Element codes of blocks of 256 bits, shape (rows, 256 // bits); four- and six-bit elements are packed.

    Raises:
        DataError: elements of six bits: they straddle blocks of 32 bytes.
    """
    if bits in (8, 16, 32):
        return np.ascontiguousarray(data).view(np.dtype(f"u{bits // 8}"))
    if bits != 4:
        raise DataError(
            f"{bits}-bit elements straddle blocks", hint="Store them five to a word for protection"
        )
    return unpack(as_bytes(data).ravel(), 4, data.shape[0] * 64).reshape(-1, 64)


def blocks_of(codes: Codes, bits: int) -> Words:
    """The reverse of `codes_in`."""
    if bits == 4:
        return as_words(pack(codes.ravel(), 4))
    return np.ascontiguousarray(codes).view(np.uint64)


@dataclass(frozen=True, eq=False)
class ValueFilter:
    """Replaces element codes on reading.

    Attributes:
        name: for tables.
        bits: of an element.
        replace: element codes to element codes, same shape; what it changes counts as corrected.
        possible: which codes the clean tensor could hold; a wrong block of possible codes is bounded by the range.
    """

    name: str
    bits: int
    replace: Callable[[Codes], Codes]
    possible: Callable[[Codes], NDArray[np.bool_]]
    data_bits: int = BLOCK_BITS
    check_bits: int = 0

    def encode(self, data: Words) -> Encoded:
        """Nothing is stored; data go through as they are."""
        return Encoded(data, np.zeros((len(data), 0), np.uint64))

    def decode(self, data: Words, checks: Words) -> Decoded:
        """One status per block: CORRECTED if a value was replaced."""
        codes = codes_in(data, self.bits)
        after = self.replace(codes)
        hit = (after != codes).any(axis=1)
        status = np.where(hit, Status.CORRECTED, Status.CLEAN).astype(np.uint8)
        return Decoded(blocks_of(after.astype(codes.dtype), self.bits), status[:, None])

    def bounded(self, clean: Words, read: Words) -> NDArray[np.bool_]:
        """Every value that was read is one the tensor could hold."""
        return np.asarray(self.possible(codes_in(read, self.bits)).all(axis=1))


def exponent_of(codes: Codes, element: ElementFormat) -> NDArray[np.int64]:
    """Exponent field."""
    return (codes.astype(np.int64) & element.magnitude_mask) >> element.mantissa_bits


def exponent_clamp(element: ElementFormat, largest: int) -> ValueFilter:
    """Zero for every value whose exponent field exceeds `largest`, that of the clean tensor (Inf and NaN included)."""

    def possible(codes: Codes) -> NDArray[np.bool_]:
        return exponent_of(codes, element) <= largest

    return ValueFilter("clamp", element.bits, lambda c: np.where(possible(c), c, 0), possible)


def code_clamp(element: ElementFormat, tensor: Codes) -> ValueFilter:
    """Zero for every code beyond the range of the clean tensor's, by value; NaN and Inf are never in range.

    Raises:
        DataError: the tensor's codes are all NaN or infinite.
    """
    low, high = _range(element, tensor)

    def possible(codes: Codes) -> NDArray[np.bool_]:
        values = element.decode(codes)
        return (values >= low) & (values <= high)

    return ValueFilter("clamp", element.bits, lambda c: np.where(possible(c), c, 0), possible)


def ranger(element: ElementFormat, low: float, high: float) -> ValueFilter:
    """Clip to [low, high], both rounded to the format; NaN becomes zero."""
    ends = element.encode(np.array([low, high], np.float32))
    low, high = (float(v) for v in element.decode(ends))

    def possible(codes: Codes) -> NDArray[np.bool_]:
        values = element.decode(codes)
        return (values >= low) & (values <= high)

    def replace(codes: Codes) -> Codes:
        values = element.decode(codes)
        clipped = np.where(values < low, ends[0], np.where(values > high, ends[1], codes))
        return np.where(np.isnan(values), 0, clipped)

    return ValueFilter("ranger", element.bits, replace, possible)


def _range(element: ElementFormat, tensor: Codes) -> tuple[float, float]:
    values = element.decode(tensor)
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise DataError("no finite value to take a range from")
    return float(finite.min()), float(finite.max())
