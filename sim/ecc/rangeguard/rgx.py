"""RG-X (ours): values that violate the tensor's range mark their lanes as erasures of the RangeGuard code.

A distance-5 code solves 2t + e <= 4 (DSC), a distance-3 code 2t + e <= 2 with e <= 1 (SSC; two erasures would leave no
syndrome to check them by). First the erasures alone, then with errors beside them. If nothing fits, or there are too
many, the violating values are nulled, the rest passes, and the status is DUE.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.sim.cache import configure_numba
from potluck.sim.ecc.galois import GF16
from potluck.sim.ecc.interface import Decoded, Status, Words
from potluck.sim.ecc.rangeguard.codec import LANES, RangeGuard
from potluck.sim.ecc.rangeguard.ranges import SYMBOL_BITS
from potluck.sim.ecc.reed_solomon import SymbolLocator, div, mul

configure_numba()


@numba.njit(cache=True, nogil=True)
def _solve(places: NDArray[np.int64], count: int, sums: NDArray[np.uint32], values: NDArray[np.uint32],
           exp: NDArray[np.uint32], log: NDArray[np.int32]) -> bool:  # fmt: skip
    """Values at `count` known places from four power sums; False if the spare sums contradict (Gauss-Jordan)."""
    m = np.zeros((4, 5), np.uint32)
    for j in range(4):
        for k in range(count):
            m[j, k] = exp[(places[k] * j) % 15]
        m[j, 4] = sums[j]
    for k in range(count):
        pivot = k
        while m[pivot, k] == 0:  # distinct places: a Vandermonde matrix is regular
            pivot += 1
        for c in range(5):
            m[k, c], m[pivot, c] = m[pivot, c], m[k, c]
        head = m[k, k]
        for c in range(5):
            m[k, c] = div(m[k, c], head, exp, log)
        for j in range(4):
            factor = m[j, k]
            if j != k and factor != 0:
                for c in range(5):
                    m[j, c] ^= mul(factor, m[k, c], exp, log)
    for j in range(count, 4):
        if m[j, 4] != 0:
            return False
    for k in range(count):
        values[k] = m[k, 4]
    return True


@numba.njit(cache=True, nogil=True)
def _erasures(sums: Words, lanes: NDArray[np.bool_], exp: NDArray[np.uint32], log: NDArray[np.int32], flips: Words,
              solved: NDArray[np.bool_]) -> None:  # fmt: skip
    places = np.zeros(4, np.int64)
    values = np.zeros(4, np.uint32)
    four = np.zeros(4, np.uint32)
    for row in range(sums.size):
        count = 0
        for lane in range(8):
            if lanes[row, lane]:
                if count < 4:
                    places[count] = lane
                count += 1
        if count > 4:
            continue
        for j in range(4):
            four[j] = np.uint32((sums[row] >> np.uint64(4 * j)) & np.uint64(15))
        used = count
        found = _solve(places, count, four, values, exp, log)
        if not found and count <= 2:
            for place in range(12):
                if place < 8 and lanes[row, place]:
                    continue
                places[count] = place
                if _solve(places, count + 1, four, values, exp, log):
                    found = True
                    used = count + 1
                    break
        solved[row] = found
        if found:
            for k in range(used):
                if places[k] < 8:
                    flips[row] ^= np.uint64(values[k]) << np.uint64(4 * places[k])


@dataclass(frozen=True, eq=False)
class RangeGuardX(RangeGuard):
    """RangeGuard with erasures; the table has to know violations (`ranges.fitted_table`)."""

    @property
    def name(self) -> str:
        """With the scheme."""
        return f"rgx_{self.table.scheme}"

    def violating(self, data: Words) -> NDArray[np.bool_]:
        """Slots that violate the range, shape (rows, 8 lanes, slots)."""
        t = self.table
        lanes = np.ascontiguousarray(data).view(np.uint32)[:, :, None]
        places = np.arange(t.slots, dtype=np.uint32) * np.uint32(t.width)
        codes = (lanes >> places) & np.uint32((1 << t.width) - 1)
        return np.asarray(t.violates[codes >> np.uint32(t.shift)])

    def decode(self, data: Words, checks: Words) -> Decoded:
        """See `Protection.decode` and the module's text."""
        violating = self.violating(data)
        rows = violating.any(axis=(1, 2))
        plain = RangeGuard.decode(self, data, checks)
        if not rows.any():
            return plain
        out, status = plain.data.copy(), plain.status.copy()
        bad = data[rows]
        received = self.symbols(bad)[:, 0]
        syndromes = self.code.checks_of(received[:, None]) ^ checks[rows, 0]
        solve = self._solve_dsc if self.table.scheme == "dsc" else self._solve_ssc
        flips, solved = solve(syndromes, np.asarray(violating[rows].any(axis=2)))
        right = received ^ flips
        solved &= (right & ~self.used) == 0
        fixed = self.substituted(bad, np.where(solved, right, received), solved)
        out[rows] = np.where(solved[:, None], fixed, self._nulled(bad, violating[rows]))
        status[rows, 0] = np.where(solved, Status.CORRECTED, Status.DUE)
        return Decoded(out, status)

    def _nulled(self, data: Words, violating: NDArray[np.bool_]) -> Words:
        t = self.table
        masks = np.uint32((1 << t.width) - 1) << (np.arange(t.slots, dtype=np.uint32) * np.uint32(t.width))
        gone = np.bitwise_or.reduce(np.where(violating, masks, np.uint32(0)), axis=2)
        return np.asarray(
            (np.ascontiguousarray(data).view(np.uint32) & ~gone.astype(np.uint32)).view(np.uint64)
        )

    def _solve_dsc(self, syndromes: Words, lanes: NDArray[np.bool_]) -> tuple[Words, NDArray[np.bool_]]:
        locator = self.code.locator
        assert isinstance(locator, SymbolLocator)
        tables = locator.to_power_sums
        low, high = (syndromes & np.uint64(255)).astype(np.intp), (syndromes >> np.uint64(8)).astype(np.intp)
        flips = np.zeros(len(syndromes), np.uint64)
        solved = np.zeros(len(syndromes), np.bool_)
        _erasures(tables[0, low] ^ tables[1, high], lanes, GF16.exp, GF16.log, flips, solved)
        return flips, solved

    def _solve_ssc(self, syndromes: Words, lanes: NDArray[np.bool_]) -> tuple[Words, NDArray[np.bool_]]:
        """One erasure: what a plain correction would do, if it touches no other lane and no check symbol."""
        located = self.code.locator.locate(syndromes)
        bits = np.uint64(SYMBOL_BITS["ssc"])
        touched = ((located.data >> (np.arange(LANES, dtype=np.uint64) * bits)) & np.uint64(255)) != 0
        alone = (lanes.sum(axis=1) == 1) & (located.status != Status.DUE) & (located.checks == 0)
        return located.data[:, 0], np.asarray(alone & ~(touched & ~lanes).any(axis=1))
