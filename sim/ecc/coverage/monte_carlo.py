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


@numba.njit(cache=True, nogil=True, inline="always")
def _put(error: Words, first: Any, length: int, content: Any, spare: Any) -> None:
    """Put a span's content into the error; an empty one gets a single bit chosen by `spare` (32 random bits)."""
    content &= (np.uint64(1) << np.uint64(length)) - np.uint64(1)
    if content == 0:
        content = np.uint64(1) << ((spare * np.uint64(length)) >> np.uint64(32))
    place = first & np.uint64(63)
    error[first >> np.uint64(6)] |= content << place
    if place + np.uint64(length) > np.uint64(64):
        error[(first >> np.uint64(6)) + np.uint64(1)] |= content >> (np.uint64(64) - place)


@numba.njit(cache=True, nogil=True, inline="always")
def _draw(trial: Any, key: Any, places: NDArray[np.uint8], lengths: NDArray[np.int64], error: Words) -> None:
    error[:] = np.uint64(0)
    a, b, c, d = philox(trial, np.uint64(0), key)
    if lengths[0] > 64:  # the whole block
        e, f, g, h = philox(trial, np.uint64(1), key)
        i, j, _k, _l = philox(trial, np.uint64(2), key)
        half = np.uint64(32)
        error[0], error[1], error[2], error[3] = a << half | b, c << half | d, e << half | f, g << half | h
        if error[0] | error[1] | error[2] | error[3] == 0:
            error[i >> np.uint64(30)] = np.uint64(1) << (j >> np.uint64(26))
        return
    place = (a * np.uint64(places.shape[0])) >> np.uint64(32)
    spare = d
    _put(error, np.uint64(places[place, 0]), lengths[0], b, spare)
    if lengths.size > 1:
        _put(
            error,
            np.uint64(places[place, 1]),
            lengths[1],
            c,
            (spare * np.uint64(0x9E3779B1)) & np.uint64(0xFFFFFFFF),
        )


@numba.njit(cache=True, nogil=True)
def _errors(first: Any, key: Any, places: NDArray[np.uint8], lengths: NDArray[np.int64], out: Words) -> None:
    for row in range(out.shape[0]):
        _draw(first + np.uint64(row), key, places, lengths, out[row])


@numba.njit(cache=True, nogil=True)
def _count(
    first: Any, trials: int, key: Any, places: NDArray[np.uint8], lengths: NDArray[np.int64],
    tables: NDArray[np.uint32], masks: Words, slots: NDArray[np.int32], flips: Words, detected: int,
    counts: NDArray[np.int64],
) -> None:  # fmt: skip
    error = np.zeros(4, np.uint64)
    seen = np.zeros(5, np.int64)
    for row in range(trials):
        _draw(first + np.uint64(row), key, places, lengths, error)
        worst = 0
        for part in range(masks.shape[0]):
            e0, e1 = error[0] & masks[part, 0], error[1] & masks[part, 1]
            e2, e3 = error[2] & masks[part, 2], error[3] & masks[part, 3]
            if e0 | e1 | e2 | e3 == 0:
                continue
            syndrome = np.uint32(0)
            for word in range(4):
                bits = e0 if word == 0 else e1 if word == 1 else e2 if word == 2 else e3
                if bits != 0:
                    for byte in range(8):
                        syndrome ^= tables[8 * word + byte, (bits >> np.uint64(8 * byte)) & np.uint64(255)]
            slot = slots[syndrome]
            if syndrome == 0:
                found = 3
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
        tables: uint32 (32, 256), byte tables of all codewords, each in the bytes that it covers.
        masks: (codewords, 4), the bits of the block that each covers.
        slots: int32 (2^check bits,), pattern number or -1.
        flips: (codewords, patterns, 4), what each pattern flips in the block.
        detected: `Outcome` of what cannot be corrected.
    """

    tables: NDArray[np.uint32]
    masks: Words
    slots: NDArray[np.int32]
    flips: Words
    detected: Outcome

    def count(self, pattern: str, trials: int, key: int, first: int = 0) -> NDArray[np.int64]:
        """Trials per `Outcome`, shape (5,)."""
        counts = np.zeros(len(Outcome), np.int64)
        _count(np.uint64(first), trials, np.uint64(key), *_places(pattern), self.tables, self.masks, self.slots,
               self.flips, int(self.detected), counts)  # fmt: skip
        return counts


def engine_of(parts: list[Part]) -> Engine:
    """The engine for a block of codewords of one code of at most 20 check bits."""
    counter = parts[0].counter
    assert isinstance(counter, TableCounter)
    code = counter.code
    columns = np.zeros(BLOCK_BITS, np.uint64)
    for part in parts:
        columns[list(part.bits)] = code.columns
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
    return Engine(
        byte_tables(columns).astype(np.uint32), masks, slots, flips.view(np.uint64), counter.detected
    )
