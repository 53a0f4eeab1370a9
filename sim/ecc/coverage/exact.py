"""Exact coverage of a linear code: for each box of errors, count the syndromes of its coset that the decoder corrects.

The syndromes of ``offset + free bits`` are a coset of the space V that the free bits' columns span, each hit by equally
many errors. Reduced modulo V, correctable syndromes of one coset share a representative, so one histogram serves all
offsets. A decoded error is right where a correctable pattern itself lies in the box.

Several codewords of a block are independent given the box; classes combine as `outcomes.Outcome` orders them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from potluck.sim.ecc.coverage.patterns import Term, terms_of
from potluck.sim.ecc.interface import Status, Words, int_rows
from potluck.sim.ecc.linear import LinearCode
from potluck.sim.ecc.outcomes import Outcome

Shares = NDArray[np.float64]
"""Probabilities of the outcomes, in their order, shape (offsets, 5)."""


class WordCounter(Protocol):
    """Probabilities of outcomes of one codeword."""

    def shares(self, free: int, offsets: list[int]) -> Shares:
        """For errors ``offset + uniform free bits`` of the codeword's data."""
        ...


@dataclass(frozen=True)
class Part:
    """One codeword of a block: its counter and the bits of the block that it covers, lowest first.

    Attributes:
        counter: of the code.
        bits: positions in the block; other bits do not matter to it.
    """

    counter: WordCounter
    bits: tuple[int, ...]

    @cached_property
    def mask(self) -> int:
        """As a mask of the block."""
        return sum(1 << b for b in self.bits)

    def gather(self, value: int) -> int:
        """The codeword's bits of a block."""
        first, size = self.bits[0], len(self.bits)
        if self.bits[-1] - first == size - 1:
            return value >> first & ((1 << size) - 1)
        return sum((value >> b & 1) << i for i, b in enumerate(self.bits))


def basis_of(vectors: list[int]) -> list[int]:
    """Reduced echelon basis of the span over GF(2), largest leading bit first."""
    basis: list[int] = []
    for vector in vectors:
        for known in basis:
            vector = min(vector, vector ^ known)
        if vector:
            basis = [min(known, known ^ vector) for known in basis]
            basis.append(vector)
            basis.sort(reverse=True)
    return basis


def reduce_by(basis: list[int], values: Words) -> Words:
    """Representatives modulo the span."""
    out = values.copy()
    for vector in basis:
        out = np.minimum(out, out ^ np.uint64(vector))
    return out


class TableCounter:
    """Counts for a code whose syndromes can be listed.

    Args:
        code: of at most 20 check bits.
        detected: the outcome of a DUE: `Outcome.DUE`, or `Outcome.BND` where the word is nulled.
    """

    def __init__(self, code: LinearCode, detected: Outcome = Outcome.DUE) -> None:
        self.code = code
        self.detected = detected
        everywhere = np.arange(1 << code.check_bits, dtype=np.uint64)
        located = code.locator.locate(everywhere)
        known = located.status != Status.DUE
        self.syndromes = everywhere[known]
        self.patterns = located.data[
            known & (located.checks == 0)
        ]  # errors in the data alone, the empty one too

    def shares(self, free: int, offsets: list[int]) -> Shares:
        """See `WordCounter`."""
        code = self.code
        columns = [int(code.columns[b]) for b in range(code.data_bits) if free >> b & 1]
        basis = basis_of(columns)
        rows = int_rows(offsets, code.data_bits)
        own = reduce_by(basis, code.checks_of(rows))
        keys, counts = np.unique(reduce_by(basis, self.syndromes), return_counts=True)
        place = np.minimum(np.searchsorted(keys, own), len(keys) - 1)
        correctable = np.where(keys[place] == own, counts[place], 0) / 2.0 ** len(basis)
        clean = (own == 0) / 2.0 ** len(basis)
        fixed = int_rows([~free & ((1 << code.data_bits) - 1)], code.data_bits)[0]
        right = self._matches(rows, fixed) / 2.0 ** len(columns)
        untouched = ~(rows & fixed).any(axis=1) / 2.0 ** len(columns)
        out = np.zeros((len(offsets), len(Outcome)))
        out[:, Outcome.CE] = right
        out[:, Outcome.UND] = clean - untouched
        out[:, Outcome.MIS] = correctable - clean - (right - untouched)
        out[:, self.detected] += 1 - correctable
        return out

    def _matches(self, rows: Words, fixed: Words) -> NDArray[np.int64]:
        """For each row the number of correctable data patterns that equal it in the fixed bits."""
        known = _keys(self.patterns & fixed)
        values, counts = np.unique(known, return_counts=True)
        wanted = _keys(rows & fixed)
        place = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
        return np.where(values[place] == wanted, counts[place], 0)


def _keys(rows: Words) -> NDArray[np.bytes_]:
    """Rows as comparable scalars (big-endian, so that no trailing zero byte is lost)."""
    marked = np.hstack([rows, np.ones((len(rows), 1), np.uint64)])  # NumPy strips zero bytes at the end
    return np.ascontiguousarray(marked).view(f"S{marked.shape[1] * 8}")[:, 0]


def block_shares(parts: list[Part], term: Term) -> Shares:
    """Outcomes of a block of independent codewords, of several the worst, for each offset of a term."""
    upto = np.ones((len(term.offsets), len(Outcome)))  # probability of this outcome or a better one
    for part in parts:
        mask = part.mask
        if not (term.free | _union(term.offsets)) & mask:
            continue  # error-free
        words = [part.gather(offset) for offset in term.offsets]
        unique = sorted(set(words))
        row = {word: i for i, word in enumerate(unique)}
        shares = part.counter.shares(part.gather(term.free), unique)
        upto *= np.cumsum(shares, axis=1)[[row[word] for word in words]]
    return np.asarray(np.diff(upto, axis=1, prepend=0.0))


@cache
def _union(offsets: tuple[int, ...]) -> int:
    out = 0
    for offset in offsets:
        out |= offset
    return out


def exact_coverage(parts: list[Part], pattern: str) -> dict[Outcome, float]:
    """Probabilities of the outcomes under a pattern of `patterns.PATTERNS`; they sum to 1.

    Args:
        parts: codewords of the block.
        pattern: its name.
    """
    total = np.zeros(len(Outcome))
    for term in terms_of(pattern):
        total += float(term.weight) * block_shares(parts, term).sum(axis=0)
    return {outcome: max(0.0, float(total[outcome])) for outcome in Outcome}
