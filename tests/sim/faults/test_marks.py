"""Philox against NumPy's; marks against the Bernoulli process that they stand for."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potluck.isa.errors import DataError
from potluck.sim.faults.marks import CHUNK, struck
from potluck.sim.faults.philox import stream, uniform, words

WORD = st.integers(0, (1 << 64) - 1)


@settings(max_examples=50, deadline=None)
@given(key=st.tuples(WORD, WORD), counter=st.tuples(WORD, WORD, WORD))
def test_philox_is_numpys(key: tuple[int, int], counter: tuple[int, int, int]) -> None:
    # NumPy raises its counter before it makes a block.
    whole = sum(word << 64 * k for k, word in enumerate((*counter, 0))) - 1
    theirs = np.random.Philox(counter=whole % (1 << 256), key=np.array(key, np.uint64))
    ours = words(key, np.uint64(counter[2]), *(np.array([c], np.uint64) for c in counter[:2]))
    assert ours[0].tolist() == theirs.random_raw(4).tolist()
    again = np.random.Generator(np.random.Philox(counter=whole % (1 << 256), key=np.array(key, np.uint64)))
    assert uniform(ours)[0].tolist() == again.random(4).tolist()


def test_streams_differ_or_are_refused() -> None:
    names = {int(stream(name, number)) for name in ("bit", "evSE", "weakmap") for number in range(4)}
    assert len(names) == 12
    with pytest.raises(DataError, match="Seven bytes"):
        stream("too long a name")


S = stream("test")


@settings(max_examples=25, deadline=None)
@given(
    trial=st.integers(0, 1 << 40),
    first=st.integers(0, 1 << 33),
    count=st.integers(1, 3 * CHUNK),
    cut=st.floats(0, 1),
)
def test_a_stretch_and_a_lower_rate_give_part_of_the_same(
    trial: int, first: int, count: int, cut: float
) -> None:
    items, marks = struck((7, trial), S, first, count, 2e-3)
    assert (np.diff(items) > 0).all() and (marks < 2e-3).all()
    middle = int(count * cut)
    left, right = (
        struck((7, trial), S, *span, 2e-3)[0] for span in ((first, middle), (first + middle, count - middle))
    )
    assert np.concatenate([left, right]).tolist() == items.tolist()
    fewer, _ = struck((7, trial), S, first, count, 2e-3 * cut)
    assert fewer.tolist() == items[marks < 2e-3 * cut].tolist()


def test_all_items_have_one_mark_each_at_rate_one() -> None:
    items, marks = struck((1, 2), S, 5, 1000, 1.0)
    assert items.tolist() == list(range(5, 1005))
    everything, marks = struck((1, 2), S, 0, CHUNK, 1.0)
    assert len(everything) == CHUNK
    # Kolmogorov-Smirnov against the uniform distribution, 99.9 %.
    distance = np.abs(np.sort(marks) - (np.arange(CHUNK) + 0.5) / CHUNK).max()
    assert distance < 1.95 / np.sqrt(CHUNK)
    # Marks have nothing to do with places: the correlation is within 4.5 standard deviations.
    assert abs(np.corrcoef(everything, marks)[0, 1]) < 4.5 / np.sqrt(CHUNK)


def _binomial_interval(n: int, p: float, level: float) -> tuple[int, int]:
    """Central interval of Binomial(n, p), exactly."""
    tail, low, high, below = (1 - level) / 2, -1, n, 0.0
    for k in range(n + 1):
        below += comb(n, k) * p**k * (1 - p) ** (n - k)
        if low < 0 and below > tail:
            low = k
        if below >= 1 - tail:
            high = k
            break
    return low, high


def test_counts_and_places_are_a_bernoulli_process() -> None:
    """Over 400 trials of 200 bits: the count of each bit, and the number of trials with k faults, exactly binomial."""
    trials, bits, rate = 400, 200, 0.01
    hit = np.zeros((trials, bits), bool)
    for trial in range(trials):
        hit[trial, struck((3, trial), S, 65436, bits, rate)[0] - 65436] = True  # across two chunks
    low, high = _binomial_interval(trials, rate, 1 - 1e-3 / bits)
    assert low <= hit.sum(axis=0).min() and hit.sum(axis=0).max() <= high
    for k in range(5):
        p = comb(bits, k) * rate**k * (1 - rate) ** (bits - k)
        low, high = _binomial_interval(trials, p, 1 - 1e-3 / 5)
        assert low <= (hit.sum(axis=1) == k).sum() <= high, k
    neighbours = (hit[:, 1:] & hit[:, :-1]).sum()  # independent: 79600 chances at 1e-4
    low, high = _binomial_interval(1000, trials * (bits - 1) * rate**2 / 1000, 1 - 1e-4)
    assert low <= neighbours <= high


def test_rare_strikes_come_at_the_rate() -> None:
    """1e-9 a bit over 2^36 bits in 16 trials: 1099.5 expected, Poisson, 5 standard deviations."""
    found = sum(len(struck((11, trial), S, 0, 1 << 36, 1e-9)[0]) for trial in range(16))
    mean = 16 * 2**36 * 1e-9
    assert abs(found - mean) < 5 * mean**0.5


def test_no_probability_is_refused() -> None:
    with pytest.raises(DataError, match="no probability"):
        struck((0, 0), S, 0, 10, 1.5)
    assert struck((0, 0), S, 0, 10, 0.0)[0].size == 0
