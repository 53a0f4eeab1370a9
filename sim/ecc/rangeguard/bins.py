"""Which exponents or codes share a range identifier: two objectives, both minimized exactly by dynamic programming.

`mae_bins` is the artifact's: the mean absolute error that rounding every magnitude to its bin's representative causes,
sum over E of p(E) |2^(E-127) - 2^(R-127)| for a Gaussian. It ignores that a fault inside a bin stays.
`fault_aware_bins` (ours) minimizes the expected squared error of a value whose code is replaced by a random one: within
the bin the wrong code is kept, elsewhere the representative is put in its place.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from math import erf, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bins:
    """Contiguous bins of an ordered alphabet.

    Attributes:
        bounds: first index of bins 1, 2, ...
        representatives: per bin an index (`mae_bins`) or a value (`fault_aware_bins`).
        cost: what was minimized.
    """

    bounds: tuple[int, ...]
    representatives: tuple[float, ...]
    cost: float


def _partition(cost: Floats, count: int) -> tuple[list[int], float]:
    """Starts of `count` contiguous bins that minimize the sum of ``cost[first, last]``; ``last < first`` is ignored."""
    size = len(cost)
    cost = np.where(np.tri(size, k=-1, dtype=bool), np.inf, cost)
    best = cost[0].copy()  # best[j]: cheapest partition of 0..j into the bins so far
    choices = []
    for _ in range(count - 1):
        total = np.full((size, size), np.inf)
        total[1:] = best[:-1, None] + cost[1:]  # the last bin starts at its row
        start = total.argmin(axis=0)
        choices.append(start)
        best = total[start, np.arange(size)]
    starts, end = [], size - 1
    for start in reversed(choices):
        starts.append(int(start[end]))
        end = starts[-1] - 1
    return starts[::-1], float(best[-1])


@cache
def mae_bins(count: int, sigma: float) -> Bins:
    """The artifact's bins over the exponent field of BF16 and FP32 for values of a Gaussian; indices are exponents.

    Args:
        count: number of bins, 1 to 254.
        sigma: standard deviation.

    Raises:
        DataError: count or sigma is out of range.
    """
    if not 1 <= count <= 254 or sigma <= 0:
        raise DataError(f"{count} bins for sigma {sigma}", hint="1 to 254 bins, a positive sigma")
    edges = [erf(2.0 ** (e - 127) / (sigma * sqrt(2))) for e in range(1, 256)]
    p = np.diff(edges)
    values = 2.0 ** (np.arange(1, 255) - 127.0)
    weight, moment = (np.concatenate([[0.0], np.cumsum(x)]) for x in (p, p * values))

    first, last = np.arange(len(p))[:, None], np.arange(len(p))
    half = (weight[:-1, None] + weight[1:]) / 2
    middle = np.clip(np.searchsorted(weight, half) - 1, first, np.maximum(first, last))  # the median exponent
    v = values[middle]
    below = v * (weight[middle] - weight[:-1, None]) - (moment[middle] - moment[:-1, None])
    above = (moment[1:] - moment[middle]) - v * (weight[1:] - weight[middle])
    starts, total = _partition(np.maximum(below, 0) + np.maximum(above, 0), count)
    bounds = [0, *starts, len(p)]
    representatives = [int(middle[a, b - 1]) + 1 for a, b in itertools.pairwise(bounds)]
    return Bins(tuple(s + 1 for s in starts), tuple(representatives), total)


def fault_aware_bins(values: ArrayLike, p: ArrayLike, q: ArrayLike, count: int) -> Bins:
    """Bins over codes in ascending order of value; see the module's text.

    Args:
        values: value of every code, ascending, finite.
        p: probability of the clean code.
        q: probability of the faulty code, independent of the clean one.
        count: number of bins.

    Returns:
        Bounds as indices into `values`, representatives as values (the mean of the bin), the mean squared error.

    Raises:
        DataError: more bins than codes, or values that do not ascend.
    """
    v, clean, faulty = (np.asarray(x, np.float64) for x in (values, p, q))
    if not 1 <= count <= len(v) or (np.diff(v) <= 0).any():
        raise DataError(
            f"{count} bins for {len(v)} codes", hint="Give ascending values, at least one per bin"
        )

    def within(x: Floats) -> Floats:
        """Sums over first..last, by first and last."""
        total = np.concatenate([[0.0], np.cumsum(x)])
        return total[1:] - total[:-1, None]

    a0, a1, a2 = (within(clean * power) for power in (np.ones_like(v), v, v * v))
    b0, b1, b2 = (within(faulty * power) for power in (np.ones_like(v), v, v * v))
    inside = b0 * a2 - 2 * b1 * a1 + b2 * a0
    spread = a2 - np.divide(a1 * a1, a0, out=np.zeros_like(a0), where=a0 > 0)
    cost = inside + (faulty.sum() - b0) * np.maximum(spread, 0)
    starts, total = _partition(cost, count)
    bounds = [0, *starts, len(v)]
    means = []
    for a, b in itertools.pairwise(bounds):
        mass = a0[a, b - 1]
        means.append(float(a1[a, b - 1] / mass) if mass > 0 else float(v[a]))
    return Bins(tuple(starts), tuple(means), total)
