"""Philox4x64-10 (Salmon et al., SC 2011), the generator of `numpy.random.Philox`, as a function for compiled loops.

A campaign's key is (seed, trial). What the four counter words mean is up to each model, but the third always is a
`stream`, so that no two models share numbers.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.sim.cache import configure_numba

configure_numba()

UNIT = 2.0**-53
"""Of a uniform number made of the upper 53 bits of a word."""


@numba.njit(cache=True, nogil=True, inline="always")
def _high(a: Any, b: Any) -> Any:
    """Upper 64 bits of the product of two uint64."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a0, a1, b0, b1 = a & low, a >> half, b & low, b >> half
    middle = a1 * b0 + ((a0 * b0) >> half)
    other = a0 * b1 + (middle & low)
    return a1 * b1 + (middle >> half) + (other >> half)


@numba.njit(cache=True, nogil=True)
def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Four uint64 of a counter (c0 the lowest word) and a key."""
    m0, m1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
    w0, w1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
    for _ in range(10):
        h0, l0, h1, l1 = _high(m0, c0), m0 * c0, _high(m1, c2), m1 * c2
        c0, c1, c2, c3 = h1 ^ c1 ^ k0, l1, h0 ^ c3 ^ k1, l0
        k0, k1 = k0 + w0, k1 + w1
    return c0, c1, c2, c3


@numba.njit(cache=True, nogil=True)
def _words(
    first: NDArray[np.uint64], second: NDArray[np.uint64], stream: Any, k0: Any, k1: Any,
    out: NDArray[np.uint64],
) -> None:  # fmt: skip
    for row in range(first.size):
        out[row] = philox(first[row], second[row], stream, np.uint64(0), k0, k1)


def stream(name: str, number: int = 0) -> np.uint64:
    """Third counter word of a model's numbers: up to seven characters of its name, and a byte.

    Raises:
        DataError: a longer name or a larger number: two streams might be one.
    """
    raw = name.encode()
    if len(raw) > 7 or not 0 <= number < 256:
        raise DataError(f"no stream {name!r}, {number}", hint="Seven bytes of name, one of number")
    return np.uint64(int.from_bytes(raw.ljust(7, b"\0") + bytes([number]), "little"))


def words(
    key: tuple[int, int], stream: np.uint64, first: NDArray[np.uint64], second: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Four words for each pair of lower counter words, uint64 (n, 4)."""
    out = np.empty((first.size, 4), np.uint64)
    k0, k1 = (np.uint64(k & 0xFFFFFFFFFFFFFFFF) for k in key)
    _words(first, second, stream, k0, k1, out)
    return out


def uniform(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Numbers in [0, 1) of 53 bits, as NumPy's generators make them."""
    return (words >> np.uint64(11)).astype(np.float64) * UNIT
