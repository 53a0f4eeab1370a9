"""Sectors of MX scales: 32 E8M0 bytes under a code of their own in the same 16 check bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.sim.ecc.blocks import Split
from potluck.sim.ecc.filters import Codes, ValueFilter
from potluck.sim.ecc.interface import BLOCK_BITS, Decoded, Encoded, Status, Words
from potluck.sim.ecc.reed_solomon import ssc


def scale_clamp(low: int, high: int) -> ValueFilter:
    """No check bits: scale codes are clipped to the tensor's range [low, high].

    Raises:
        DataError: not a range of E8M0 codes.
    """
    if not 0 <= low <= high <= 254:
        raise DataError(f"scale codes {low}..{high}", hint="E8M0 numbers have codes 0 to 254")

    def possible(codes: Codes) -> NDArray[np.bool_]:
        return (codes >= low) & (codes <= high)

    return ValueFilter("scale_clamp", 8, lambda c: np.clip(c, low, high), possible)


def scale_rs34() -> Split:
    """RS(34,32) over GF(256): any one byte of the 32 scales and two check bytes."""
    return Split(ssc(34), 1)


@dataclass(frozen=True)
class ScaleDup:
    """Every scale twice, with a parity bit: bytes 0..15 and their copies 16..31, the check bits their parities.

    A sector holds 16 scales only; that the other 128 bits are the price is for the reader of a table to see
    (`check_bits` counts what is stored beside 32 bytes). Copies that differ are decided by the parity bit.
    """

    name: str = "scale_dup"
    data_bits: int = BLOCK_BITS
    check_bits: int = 16

    def encode(self, data: Words) -> Encoded:
        """See `Protection.encode`.

        Raises:
            DataError: the copies differ.
        """
        codes = data.view(np.uint8)
        if not np.array_equal(codes[:, :16], codes[:, 16:]):
            raise DataError(
                "scales and their copies differ", hint="Store each scale at byte i and at byte i + 16"
            )
        return Encoded(data, _parities(codes[:, :16]))

    def decode(self, data: Words, checks: Words) -> Decoded:
        """See `Protection.decode`; one status per sector, and on DUE the smaller of two undecidable scales."""
        codes = np.ascontiguousarray(data).view(np.uint8)
        first, second = codes[:, :16], codes[:, 16:]
        stored = (checks >> np.arange(16, dtype=np.uint64)) & np.uint64(1)
        fits_first, fits_second = (np.bitwise_count(half) & 1 == stored for half in (first, second))
        differ = first != second
        undecided = differ & (fits_first == fits_second)
        chosen = np.where(differ & fits_second, second, first)
        chosen = np.where(undecided, np.minimum(first, second), chosen)
        touched = (differ | ~fits_first).any(axis=1)
        status = np.where(
            undecided.any(axis=1), Status.DUE, np.where(touched, Status.CORRECTED, Status.CLEAN)
        )
        return Decoded(np.hstack([chosen, chosen]).view(np.uint64), status.astype(np.uint8)[:, None])

    def bounded(self, clean: Words, read: Words) -> NDArray[np.bool_]:
        """See `Protection.bounded`."""
        return np.zeros(len(clean), np.bool_)


def _parities(codes: NDArray[np.uint8]) -> Words:
    bits = (np.bitwise_count(codes) & 1).astype(np.uint64)
    return (bits << np.arange(16, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)[:, None]
