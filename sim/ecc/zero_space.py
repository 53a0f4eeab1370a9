"""In-place zero-space ECC for INT8 weights (Guan et al., NeurIPS 2019): SEC-DED without a stored check bit.

Training leaves seven of eight weights in [-64, 63], whose bit 6 repeats the sign. These seven bits hold the check bits
of a Hsiao (64,57) code over the others. The large weight is the last of its eight bytes (our choice).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.sim.ecc.blocks import gather, scatter
from potluck.sim.ecc.hsiao import hsiao
from potluck.sim.ecc.interface import Decoded, Encoded, Words

SPARE = np.array([8 * i + 6 for i in range(7)], np.intp)
USED = np.array([b for b in range(64) if b not in set(SPARE.tolist())], np.intp)


class ZeroSpace:
    """Eight INT8 weights in 64 bits that hold their own check bits."""

    name = "zero_space"
    data_bits = 64
    check_bits = 0

    def __init__(self) -> None:
        self.code = hsiao(57, 7)

    def encode(self, data: Words) -> Encoded:
        """See `Protection.encode`.

        Raises:
            DataError: a weight other than the last of its eight is outside [-64, 63].
        """
        if not np.array_equal(gather(data, SPARE), gather(data, SPARE + 1)):
            raise DataError("a small weight is outside [-64, 63]", hint="Train or clip for zero-space ECC")
        checks = self.code.encode(gather(data, USED)).checks
        kept = scatter(gather(data, USED), USED, 1)
        return Encoded(kept | scatter(checks, SPARE, 1), np.zeros((len(data), 0), np.uint64))

    def decode(self, data: Words, checks: Words) -> Decoded:
        """See `Protection.decode`."""
        read, status = self.code.decode(gather(data, USED), gather(data, SPARE))
        words = scatter(read, USED, 1)
        return Decoded(words | scatter(gather(words, SPARE + 1), SPARE, 1), status)

    def bounded(self, clean: Words, read: Words) -> NDArray[np.bool_]:
        """A code promises nothing about a wrong block."""
        return np.zeros(len(clean), np.bool_)
