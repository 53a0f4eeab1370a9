"""The RangeGuard block codec: 16 check bits over the RIDs of 32 bytes, the real decoder and the artifact's oracle.

Reading: RIDs of the received values, syndrome, decoding; where a value's RID is not the corrected one, the value
becomes its representative, with the received bits that the table keeps. All else passes through, also on DUE.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.sim.cache import configure_numba
from potluck.sim.ecc.interface import BLOCK_BITS, Decoded, Encoded, Status, Words
from potluck.sim.ecc.rangeguard.ranges import SYMBOL_BITS, RangeTable
from potluck.sim.ecc.reed_solomon import SymbolCode, dsc16, extended_ssc

configure_numba()
LANES = 8
Lanes = NDArray[np.uint32]


@numba.njit(cache=True, nogil=True)
def _symbols(
    lanes: Lanes, width: int, slots: int, rid_bits: int, shift: int, rid: NDArray[np.uint8], symbol_bits: int,
    out: Words,
) -> None:  # fmt: skip
    mask = np.uint32((1 << width) - 1) if width < 32 else np.uint32(0xFFFFFFFF)
    for row in range(lanes.shape[0]):
        word = np.uint64(0)
        for lane in range(8):
            symbol = np.uint64(0)
            for slot in range(slots):  # the lowest slot in the uppermost field
                code = (lanes[row, lane] >> np.uint32(width * slot)) & mask
                symbol = (symbol << np.uint64(rid_bits)) | np.uint64(rid[code >> np.uint32(shift)])
            word |= symbol << np.uint64(symbol_bits * lane)
        out[row] = word


@numba.njit(cache=True, nogil=True)
def _substitute(
    lanes: Lanes, width: int, slots: int, rid_bits: int, shift: int, rid: NDArray[np.uint8], symbol_bits: int,
    right: Words, representative: NDArray[np.uint32], keep: int, violates: NDArray[np.bool_],
    replace_violations: NDArray[np.bool_],
) -> None:  # fmt: skip
    mask = np.uint32((1 << width) - 1) if width < 32 else np.uint32(0xFFFFFFFF)
    for row in range(lanes.shape[0]):
        for lane in range(8):
            value = lanes[row, lane]
            for slot in range(slots):
                place = np.uint32(width * slot)
                code = (value >> place) & mask
                field = symbol_bits * lane + rid_bits * (slots - 1 - slot)
                wanted = (right[row] >> np.uint64(field)) & np.uint64((1 << rid_bits) - 1)
                index = code >> np.uint32(shift)
                if np.uint64(rid[index]) != wanted or (replace_violations[row] and violates[index]):
                    code = (code & np.uint32(keep)) | representative[wanted]
                    value = (value & ~(mask << place)) | (code << place)
            lanes[row, lane] = value


@dataclass(frozen=True, eq=False)
class RangeGuard:
    """RangeGuard over blocks of 32 bytes.

    Attributes:
        table: RIDs and representatives.
    """

    table: RangeTable
    data_bits: int = BLOCK_BITS
    check_bits: int = 16

    @property
    def name(self) -> str:
        """With the scheme."""
        return f"rangeguard_{self.table.scheme}"

    @cached_property
    def code(self) -> SymbolCode:
        """RS(12,8) over GF(16) or the doubly extended RS(10,8) over GF(256), over eight RID symbols."""
        return dsc16() if self.table.scheme == "dsc" else extended_ssc()

    @cached_property
    def used(self) -> np.uint64:
        """Bits of the symbols that RIDs occupy: five-slot lanes leave three of eight unused."""
        each = (1 << (self.table.slots * self.table.rid_bits)) - 1
        return np.uint64(sum(each << (SYMBOL_BITS[self.table.scheme] * lane) for lane in range(LANES)))

    def symbols(self, data: Words) -> Words:
        """RID symbols of blocks, packed into one word each, shape (rows, 1)."""
        t = self.table
        out = np.empty((len(data), 1), np.uint64)
        lanes = np.ascontiguousarray(data).view(np.uint32)
        _symbols(lanes, t.width, t.slots, t.rid_bits, t.shift, t.rid, SYMBOL_BITS[t.scheme], out[:, 0])
        return out

    def encode(self, data: Words) -> Encoded:
        """See `Protection.encode`."""
        return Encoded(data, self.code.checks_of(self.symbols(data))[:, None])

    def substituted(self, data: Words, right: Words, violations: NDArray[np.bool_] | None = None) -> Words:
        """Data with a representative wherever the RID is not the one of the symbols `right` (rows,).

        Args:
            data: blocks.
            right: packed RID symbols.
            violations: rows in which values that violate the range are replaced even if their RID is right.
        """
        t = self.table
        lanes = np.ascontiguousarray(data).view(np.uint32).copy()
        rows = np.zeros(len(data), np.bool_) if violations is None else violations
        _substitute(lanes, t.width, t.slots, t.rid_bits, t.shift, t.rid, SYMBOL_BITS[t.scheme], right,
                    t.representative, t.keep, t.violates, rows)  # fmt: skip
        return lanes.view(np.uint64)

    def decode(self, data: Words, checks: Words) -> Decoded:
        """See `Protection.decode`; a correction to an RID that no value has is a DUE."""
        received = self.symbols(data)
        right, status = self.code.decode(received, checks)
        impossible = np.asarray((right & ~self.used).any(axis=1))
        right = np.where(impossible[:, None], received, right)
        status = np.where(impossible[:, None], np.uint8(Status.DUE), status)
        return Decoded(self.substituted(data, right[:, 0]), status)

    def decode_oracle(self, data: Words, clean: Words) -> Decoded:
        """`compat_artifact`: the artifact's fast decoder, which knows the clean data and never mis-corrects.

        It corrects iff at most `code.errors` symbols are wrong and takes check bits as fault-free.
        """
        received, right = self.symbols(data), self.symbols(clean)
        bits = np.uint64(SYMBOL_BITS[self.table.scheme])
        places = np.arange(LANES, dtype=np.uint64) * bits
        symbols = ((received ^ right) >> places) & np.uint64((1 << int(bits)) - 1)
        wrong = np.count_nonzero(symbols, axis=1)
        status = np.where(
            wrong == 0, Status.CLEAN, np.where(wrong <= self.code.errors, Status.CORRECTED, Status.DUE)
        )
        right = np.where((wrong <= self.code.errors)[:, None], right, received)
        return Decoded(self.substituted(data, right[:, 0]), status.astype(np.uint8)[:, None])

    def bounded(self, clean: Words, read: Words) -> NDArray[np.bool_]:
        """Every value has the range it had."""
        return np.asarray((self.symbols(clean) == self.symbols(read))[:, 0])
