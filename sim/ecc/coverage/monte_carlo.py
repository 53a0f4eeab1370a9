"""Monte Carlo coverage: draws from a counter-based generator, classified by syndrome tables.

Trial n of a pattern depends on (key, n) alone: Philox4x32-10 (Salmon et al., SC 2011) with the trial as its counter. So
any trial can be replayed, all codes see the same errors, and threads need no state.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.sim.cache import configure_numba
from potluck.sim.ecc.coverage.exact import Part, TableCounter
from potluck.sim.ecc.coverage.patterns import spans_of
from potluck.sim.ecc.interface import BLOCK_BITS, Status, Words, int_rows
from potluck.sim.ecc.linear import byte_tables
from potluck.sim.ecc.outcomes import Outcome

configure_numba()
CHUNK = 256
"""Trials whose random numbers are drawn together."""


@numba.njit(cache=True, nogil=True, inline="always")
def philox(counter: Any, lane: Any, key: Any) -> Any:
    """Four uint32 (as uint64) of Philox4x32-10: counter words (counter low, high, lane, 0), key words of `key`."""
    mask = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    a, b, c, d = counter & mask, counter >> half, lane & mask, np.uint64(0)
    k0, k1 = key & mask, key >> half
    for _ in range(10):
        first = np.uint64(0xD2511F53) * a
        second = np.uint64(0xCD9E8D57) * c
        a, b, c, d = (second >> half) ^ b ^ k0, second & mask, (first >> half) ^ d ^ k1, first & mask
        k0 = (k0 + np.uint64(0x9E3779B9)) & mask
        k1 = (k1 + np.uint64(0xBB67AE85)) & mask
    return a, b, c, d


@numba.njit(cache=True, nogil=True)
def _random(first: Any, lanes: int, key: Any, out: Words) -> None:
    """Philox words of `CHUNK` trials, out[4 lane + word, trial]: a loop that the compiler makes vectors of."""
    for lane in range(lanes):
        for row in range(out.shape[1]):
            a, b, c, d = philox(first + np.uint64(row), np.uint64(lane), key)
            out[4 * lane, row], out[4 * lane + 1, row] = a, b
            out[4 * lane + 2, row], out[4 * lane + 3, row] = c, d


@numba.njit(cache=True, nogil=True, inline="always")
def _content(length: int, random: Any, spare: Any) -> Any:
    """A span's content; an empty one gets a single bit chosen by `spare` (32 random bits)."""
    content = random & ((np.uint64(1) << np.uint64(length)) - np.uint64(1))
    if content == 0:
        content = np.uint64(1) << ((spare * np.uint64(length)) >> np.uint64(32))
    return content


@numba.njit(cache=True, nogil=True, inline="always")
def _whole(random: Words, row: int, error: Words) -> None:
    """All 256 bits; no error at all gets a single bit."""
    half = np.uint64(32)
    for word in range(4):
        error[word] = random[2 * word, row] << half | random[2 * word + 1, row]
    if error[0] | error[1] | error[2] | error[3] == 0:
        error[random[8, row] >> np.uint64(30)] = np.uint64(1) << (random[9, row] >> np.uint64(26))


@numba.njit(cache=True, nogil=True, inline="always")
def _spans(
    random: Words,
    row: int,
    places: NDArray[np.uint8],
    lengths: NDArray[np.int64],
    tables: Words,
    error: Words,
) -> Any:
    """One or two spans, which are disjoint, into the error; returns the syndrome of both.

    Bytes that a span covers are looked up whether they hold an error or not: their number is that of the pattern, so
    nothing has to be predicted.
    """
    place = (random[0, row] * np.uint64(places.shape[0])) >> np.uint64(32)
    syndrome, spare = np.uint64(0), random[3, row]
    for word in range(4):
        error[word] = np.uint64(0)
    for k in range(lengths.size):
        length, first = lengths[k], np.uint64(places[place, k])
        content = _content(length, random[1 + k, row], spare)
        spare = (spare * np.uint64(0x9E3779B1)) & np.uint64(0xFFFFFFFF)
        # no span crosses a word: DAE stays in 16 bits, the others are aligned
        error[first >> np.uint64(6)] |= content << (first & np.uint64(63))
        byte, content = first >> np.uint64(3), content << (first & np.uint64(7))
        for step in range((length + 7) >> 3 if length != 2 else 2):
            syndrome ^= tables[byte + np.uint64(step), content & np.uint64(255)]
            content >>= np.uint64(8)
    return syndrome


@numba.njit(cache=True, nogil=True)
def _errors(first: Any, key: Any, places: NDArray[np.uint8], lengths: NDArray[np.int64], out: Words) -> None:
    random, nothing = np.empty((12, CHUNK), np.uint64), np.zeros((33, 256), np.uint64)
    for start in range(0, out.shape[0], CHUNK):
        _random(first + np.uint64(start), 3 if lengths[0] > 64 else 1, key, random)
        for row in range(min(CHUNK, out.shape[0] - start)):
            if lengths[0] > 64:
                _whole(random, row, out[start + row])
            else:
                _spans(random, row, places, lengths, nothing, out[start + row])


@numba.njit(cache=True, nogil=True)
def _count(
    first: Any, trials: int, key: Any, places: NDArray[np.uint8], lengths: NDArray[np.int64], tables: Words,
    bits: int, masks: Words, slots: NDArray[np.int32], flips: Words, detected: int, counts: NDArray[np.int64],
) -> None:  # fmt: skip
    random, error = np.empty((12, CHUNK), np.uint64), np.zeros(4, np.uint64)
    seen = np.zeros(5, np.int64)
    low = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    whole = lengths[0] > 64
    for start in range(0, trials, CHUNK):
        _random(first + np.uint64(start), 3 if whole else 1, key, random)
        for row in range(min(CHUNK, trials - start)):
            if whole:
                _whole(random, row, error)
                syndromes = np.uint64(0)
                for byte in range(32):
                    of = error[byte >> 3] >> np.uint64(8 * (byte & 7))
                    syndromes ^= tables[byte, of & np.uint64(255)]
            else:
                syndromes = _spans(random, row, places, lengths, tables, error)
            worst = 0
            for part in range(masks.shape[0]):
                e0, e1 = error[0] & masks[part, 0], error[1] & masks[part, 1]
                e2, e3 = error[2] & masks[part, 2], error[3] & masks[part, 3]
                syndrome = (syndromes >> np.uint64(bits * part)) & low
                slot = slots[syndrome]
                if syndrome == 0:
                    found = 0 if e0 | e1 | e2 | e3 == 0 else 3
                elif slot < 0:
                    found = detected
                else:
                    f = flips[part, slot]
                    found = 0 if (f[0] ^ e0) | (f[1] ^ e1) | (f[2] ^ e2) | (f[3] ^ e3) == 0 else 2
                worst = max(worst, found)
            seen[worst] += 1
    counts += seen


@cache
def _places(pattern: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    spans = spans_of(pattern)
    starts = np.array(
        [[first for first, _ in place] for place in spans], np.uint8
    )  # small: it stays in the cache
    return starts, np.array([length for _, length in spans[0]], np.int64)


def draw_errors(pattern: str, trials: int, key: int, first: int = 0) -> Words:
    """Error masks of trials `first` and on, shape (trials, 4)."""
    out = np.empty((trials, 4), np.uint64)
    _errors(np.uint64(first), np.uint64(key), *_places(pattern), out)
    return out


@dataclass(frozen=True, eq=False)
class Engine:
    """Counts outcomes of blocks made of codewords of one code, as fast as the generator draws.

    Attributes:
        tables: uint64 (33, 256), what each byte adds to the syndromes of all codewords, one above the other; the last
            row, of no byte, is zero.
        bits: of a syndrome.
        masks: (codewords, 4), the bits of the block that each covers.
        slots: int32 (2^check bits,), pattern number or -1.
        flips: (codewords, patterns, 4), what each pattern flips in the block.
        detected: `Outcome` of what cannot be corrected.
    """

    tables: Words
    bits: int
    masks: Words
    slots: NDArray[np.int32]
    flips: Words
    detected: Outcome

    def count(self, pattern: str, trials: int, key: int, first: int = 0) -> NDArray[np.int64]:
        """Trials per `Outcome`, shape (5,)."""
        counts = np.zeros(len(Outcome), np.int64)
        _count(np.uint64(first), trials, np.uint64(key), *_places(pattern), self.tables, self.bits, self.masks,
               self.slots, self.flips, int(self.detected), counts)  # fmt: skip
        return counts


def engine_of(parts: list[Part]) -> Engine:
    """The engine for a block of codewords of one code, of at most 20 check bits each and 64 in all."""
    counter = parts[0].counter
    assert isinstance(counter, TableCounter)
    code = counter.code
    assert code.check_bits <= 20 and code.check_bits * len(parts) <= 64
    columns = np.zeros(BLOCK_BITS, np.uint64)
    for number, part in enumerate(parts):
        columns[list(part.bits)] = code.columns << np.uint64(number * code.check_bits)
    located = code.locator.locate(np.arange(1 << code.check_bits, dtype=np.uint64))
    known = located.status != Status.DUE
    slots = np.where(known, np.cumsum(known) - 1, -1).astype(np.int32)
    patterns = np.unpackbits(located.data[known].view(np.uint8), axis=1, bitorder="little")[
        :, : code.data_bits
    ]
    flips = np.zeros((len(parts), len(patterns), BLOCK_BITS // 8), np.uint8)
    for index, part in enumerate(parts):
        block = np.zeros((len(patterns), BLOCK_BITS), np.uint8)
        block[:, list(part.bits)] = patterns
        flips[index] = np.packbits(block, axis=1, bitorder="little")
    masks = int_rows([part.mask for part in parts], BLOCK_BITS)
    tables = np.vstack([byte_tables(columns), np.zeros((1, 256), np.uint64)])
    return Engine(tables, code.check_bits, masks, slots, flips.view(np.uint64), counter.detected)
