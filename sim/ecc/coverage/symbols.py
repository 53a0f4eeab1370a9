"""Exact coverage of HBM3's CRC-16 over RS(19,17), whose 48-bit syndromes are too many to list.

Correctable patterns are 19 families, one for each symbol, every family a space of dimension 16 that meets the others
in 0 only. For a box ``t + S`` and a family F the accepted pairs solve H(t + u + f) = 0; H is injective on F, so their
share of the box is 2^(16 - rank[H_S H_F]) if t is in reach, else 0.
"""

from __future__ import annotations

import numpy as np

from potluck.sim.ecc.coverage.exact import Shares, basis_of, reduce_by
from potluck.sim.ecc.crc import crc16
from potluck.sim.ecc.interface import BLOCK_BITS, Words, int_rows
from potluck.sim.ecc.linear import byte_tables, checks_into
from potluck.sim.ecc.outcomes import Outcome
from potluck.sim.ecc.reed_solomon import hbm3_on_die

SYMBOL = 16


class Hbm3Counter:
    """Counts for errors in the 256 data bits; a word that either code refuses is a DUE."""

    def __init__(self) -> None:
        crc, rs = crc16(), hbm3_on_die()
        # joint syndrome: 32 bits of the on-die code, above them the CRC after correction
        data = rs.columns[:BLOCK_BITS] | crc.columns << np.uint64(32)
        metadata = rs.columns[BLOCK_BITS:] | np.uint64(1) << np.arange(32, 48, dtype=np.uint64)
        checks = np.uint64(1) << np.arange(32, dtype=np.uint64)
        self.columns: Words = data
        self.tables = byte_tables(data)
        every = np.concatenate([data, metadata, checks]).reshape(-1, SYMBOL)
        self.families = [[int(c) for c in family] for family in every]

    def shares(self, free: int, offsets: list[int]) -> Shares:
        """See `exact.WordCounter`."""
        columns = [int(self.columns[b]) for b in range(BLOCK_BITS) if free >> b & 1]
        rows = int_rows(offsets, BLOCK_BITS)
        syndromes = np.empty(len(rows), np.uint64)
        checks_into(rows, self.tables, syndromes)
        basis = basis_of(columns)
        clean = (reduce_by(basis, syndromes) == 0) * 2.0 ** -len(basis)
        accepted = clean.copy()
        for family in self.families:
            joint = basis_of(columns + family)
            accepted += (reduce_by(joint, syndromes) == 0) * 2.0 ** (SYMBOL - len(joint)) - clean
        size = 2.0 ** -free.bit_count()
        outside = rows & ~int_rows([free], BLOCK_BITS)[0]
        untouched = ~outside.any(axis=1) * size
        right = untouched.copy()
        halves = outside.view(np.uint16)
        for symbol in range(BLOCK_BITS // SYMBOL):
            others = np.delete(halves, symbol, axis=1)
            inside = (free >> (SYMBOL * symbol) & 0xFFFF).bit_count()
            right += ~others.any(axis=1) * size * 2.0**inside - untouched
        out = np.zeros((len(rows), len(Outcome)))
        out[:, Outcome.CE] = right
        out[:, Outcome.UND] = clean - untouched
        out[:, Outcome.MIS] = accepted - clean - (right - untouched)
        out[:, Outcome.DUE] = 1 - accepted
        return out
