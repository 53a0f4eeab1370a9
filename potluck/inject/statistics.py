"""Intervals: exact for shares, by resampling trials for means."""

from __future__ import annotations

from math import exp, lgamma, log

import numpy as np
from numpy.typing import ArrayLike

LEVEL = 0.95
RESAMPLES = 4000


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X <= k) of Binomial(n, p)."""
    if k < 0:
        return 0.0
    if k >= n or p <= 0.0:
        return 1.0
    if p >= 1.0:
        return 0.0
    each = (
        lgamma(n + 1) - lgamma(j + 1) - lgamma(n - j + 1) + j * log(p) + (n - j) * log(1 - p)
        for j in range(k + 1)
    )
    return min(1.0, sum(exp(term) for term in each))


def clopper_pearson(successes: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Exact interval of a share (Clopper and Pearson, Biometrika 26, 1934)."""
    tail = (1 - level) / 2

    def solve(k: int, target: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if binomial_cdf(k, trials, middle) > target else (low, middle)
        return (low + high) / 2

    lower = 0.0 if successes == 0 else solve(successes - 1, 1 - tail)
    return lower, 1.0 if successes == trials else solve(successes, tail)


def mean_interval(values: ArrayLike, seed: int, level: float = LEVEL) -> tuple[float, float]:
    """Percentile bootstrap of a mean over trials; trials, not samples, are what is independent.

    Where all trials agree it has no width, which says nothing of what a trial in so many may do: see `clopper_pearson`
    of the trials that changed.
    """
    array = np.asarray(values, np.float64)
    if array.size < 2:
        return float("nan"), float("nan")
    rng = np.random.Generator(np.random.Philox(seed))
    means = rng.choice(array, (RESAMPLES, array.size)).mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
