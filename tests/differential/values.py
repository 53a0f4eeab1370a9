"""Operand values: corner cases belong to the format, and every format gets them at the same rate."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from potluck.isa.arithmetic.floating import IEEE
from potluck.isa.formats.elements import FORMATS

POOL_BYTES = 1 << 16


def generator(*key: int) -> np.random.Generator:
    """Counter-based randomness: the stream of a place in a campaign, whatever ran before."""
    seed, *rest = key
    spread = [seed & (1 << 64) - 1, sum(part << 21 * n for n, part in enumerate(rest)) & (1 << 64) - 1]
    return np.random.Generator(np.random.Philox(key=spread))


@cache
def integer_edges(bits: int) -> NDArray[np.uint64]:
    """0, 1, -1, both ends, their neighbours, shift amounts and bit patterns."""
    top = 1 << bits - 1
    found = {0, 1, 2, 3, top - 1, top, top + 1, 2 * top - 1, 2 * top - 2, bits - 1, bits, bits // 2}
    found |= {1 << k for k in range(bits)}
    found |= {int(pattern * (bits // 8), 16) for pattern in ("55", "aa", "0f", "80", "7f")}
    return np.array(sorted(value & 2 * top - 1 for value in found), np.uint64)


@cache
def float_edges(mantissa: int, bits: int) -> NDArray[np.uint64]:
    """Zeros, ends of the subnormal and normal ranges, one and its neighbours, halves, infinities, both kinds of NaN."""
    top = (1 << bits - 1 - mantissa) - 1
    bias, one = top >> 1, 1 << mantissa
    exponents = {
        0,
        1,
        2,
        bias - 1,
        bias,
        bias + 1,
        bias + mantissa,
        bias - mantissa,
        bias + mantissa + 1,
        top - 1,
        top,
    }
    exponents |= {min(top, bias + k) for k in (7, 8, 15, 16, 31, 32, 63, 64)}
    fractions = {0, 1, 2, one - 1, one - 2, one >> 1, (one >> 1) - 1, (one >> 1) + 1, one >> 2}
    codes = {e << mantissa | f & one - 1 for e in exponents for f in fractions}
    return np.array(sorted(codes | {code | 1 << bits - 1 for code in codes}), np.uint64)


def _near_one(rng: np.random.Generator, mantissa: int, bits: int, count: int) -> NDArray[np.uint64]:
    """Random numbers whose exponents lie close enough together that sums cancel and round."""
    top = (1 << bits - 1 - mantissa) - 1
    spread = min(mantissa + 3, top >> 1)
    exponent = (top >> 1) + rng.integers(-spread, spread + 1, count)
    fraction = rng.integers(0, 1 << mantissa, count, np.uint64)
    sparse = rng.random(count) < 0.4
    fraction[sparse] &= np.uint64(7 << max(0, mantissa - 3))
    sign = rng.integers(0, 2, count).astype(np.uint64) << np.uint64(bits - 1)
    return exponent.astype(np.uint64) << np.uint64(mantissa) | fraction | sign


def _formats(bits: int) -> list[int]:
    """Stored significand bits of the floating formats of a width."""
    found = {form.mantissa for form in IEEE.values() if form.bits == bits}
    found |= {f.mantissa_bits for f in FORMATS.values() if f.bits == bits and f.kind not in ("int", "scale")}
    return sorted(found)


def codes(rng: np.random.Generator, bits: int, count: int) -> NDArray[np.uint64]:
    """Codes of one width: random bits, edges of integers and of every floating format, and numbers near one."""
    sources = [rng.integers(0, 1 << bits, count, np.uint64), rng.choice(integer_edges(bits), count)]
    for mantissa in _formats(bits):
        sources += [rng.choice(float_edges(mantissa, bits), count), _near_one(rng, mantissa, bits, count)]
    return np.choose(rng.integers(0, len(sources), count), sources)


@cache
def pool(bits: int) -> NDArray[np.uint8]:
    """Many codes of a width as bytes: register and memory images are cut out of it."""
    made = codes(generator(0xC0DE, bits), bits, POOL_BYTES * 8 // bits)
    return made.astype(f"u{bits // 8}").view(np.uint8)


def image(rng: np.random.Generator, size: int, bits: int) -> NDArray[np.uint8]:
    """``size`` bytes of corner values of one width, at a random place of the pool."""
    source = pool(bits)
    start = int(rng.integers(0, source.size - size)) & -8
    return source[start : start + size]
