"""CRC-16/CCITT of HBM3's metadata: polynomial 0x1021, initial value 0, no reflection, no final XOR; detects only.

Payload bits are fed in order (bit 0 of a byte first). The 16 metadata bits carry the CRC with its most significant bit
first, so that payload and metadata are 17 symbols of GF(2^16) whose first bit is the most significant.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from potluck.sim.ecc.interface import BLOCK_BITS, words_of
from potluck.sim.ecc.linear import Detector, LinearCode

POLYNOMIAL = 0x1021


def reverse16(value: int) -> int:
    """The 16 bits in the other order."""
    return int(f"{value:016b}"[::-1], 2)


@cache
def crc16(data_bits: int = BLOCK_BITS) -> LinearCode:
    """The CRC as a code: check bit r is the CRC's bit 15 - r."""
    columns: list[int] = []
    value = 1  # the CRC that a last bit of 1 leaves is x^16 mod g, one step after x^15
    for _ in range(data_bits):
        for _ in range(1 if columns else 16):
            value = (value << 1) ^ (0x11021 if value & 0x8000 else 0)
        columns.append(reverse16(value))
    code = np.array(columns[::-1], np.uint64)
    return LinearCode("crc16", data_bits, 16, code, Detector(words_of(data_bits)))
