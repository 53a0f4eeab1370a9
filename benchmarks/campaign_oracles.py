"""Trials that somebody who knows all probabilities would plan beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np

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
