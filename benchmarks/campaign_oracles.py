"""What others would do: planners who know all probabilities, and the betting sequence as published."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from potluck.campaign.statistics.fixed import normal_quantile


def neyman_size(
    weights: Sequence[float], events: Sequence[float], half_width: float, level: float = 0.95
) -> float:
    """n = (z sum W_h sigma_h / half-width)^2: strata without variance need no trial."""
    sigma = sum(w * sqrt(p * (1 - p)) for w, p in zip(weights, events, strict=True))
    return (normal_quantile(level) * sigma / half_width) ** 2


def stratified_wilson_size(
    weights: Sequence[float], events: Sequence[float], half_width: float, level: float = 0.95
) -> float:
    """Least n, over all allocations, for which the strata's Wilson half-widths add up in quadrature to the goal.

    So a stratum without events has to be looked at, too, as anybody has to who does not know that it has none.
    """
    z = normal_quantile(level)
    sizes = np.geomspace(0.1, 1e9, 4000)
    squares = []
    for w, p in zip(weights, events, strict=True):
        half = z / (1 + z * z / sizes) * np.sqrt(p * (1 - p) / sizes + (z / (2 * sizes)) ** 2)
        squares.append((w * np.minimum(half, 0.5)) ** 2)
    low, high = -60.0, 10.0  # logarithm of the price of a trial
    for _ in range(80):
        price = np.exp((low + high) / 2)
        best = [int(np.argmin(square + price * sizes)) for square in squares]
        reached = sum(square[place] for square, place in zip(squares, best, strict=True)) <= half_width**2
        low, high = ((low + high) / 2, high) if reached else (low, (low + high) / 2)
    price = np.exp(low)
    return float(sum(sizes[int(np.argmin(square + price * sizes))] for square in squares))


def hedged_capital(values: NDArray[np.float64], alpha: float) -> tuple[float, float]:
    """Interval after all values in [0, 1], in their order, by the hedged capital process.

    Waudby-Smith and Ramdas, JRSS B 86, 2024, section 4.4: bets lambda_t = sqrt(2 ln(2 / alpha) / (v t ln(1 + t))) on
    either side, v the regularized variance of the values before t, at most 1 / (2 m) and 1 / (2 (1 - m)).
    """
    t = np.arange(1, values.size + 1)
    mean = (0.5 + np.cumsum(values)) / (t + 1)
    variance = (0.25 + np.cumsum((values - mean) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    bets = np.sqrt(2 * log(2 / alpha) / (before * t * np.log1p(t)))

    def lower(x: NDArray[np.float64]) -> float:
        outside, inside = 0.0, float(x.mean())
        for _ in range(40):
            middle = (outside + inside) / 2
            if middle <= 0:
                return 0.0
            wealth = float(np.log1p(np.minimum(bets, 0.5 / middle) * (x - middle)).sum())
            outside, inside = (middle, inside) if wealth >= log(2 / alpha) else (outside, middle)
        return outside

    return lower(values), 1 - lower(1 - values)
