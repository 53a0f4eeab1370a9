"""SigmaQuant's adaptive k-means in one dimension, solved exactly.

The objective, over clusters C_1 ... C_K of the layers' standard deviations,

    sum_j [ sum over i in C_j of (sigma_i - mu_j)^2 + penalty (|C_j| - N / K)^2 ],

depends on which layers a cluster holds only through its first term, for which blocks of the sorted values are best at
any given sizes. So a dynamic program over sorted values finds the optimum in O(K N^2), the same every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError


@dataclass(frozen=True)
class Clusters:
    """The best clustering.

    Attributes:
        of: Cluster of each value; clusters are numbered by increasing mean.
        means: Of each cluster.
        objective: Its value.
    """

    of: tuple[int, ...]
    means: tuple[float, ...]
    objective: float


def normalized(values: ArrayLike) -> NDArray[np.float64]:
    """Values moved and scaled to [0, 1]; all 0 if they are equal.

    Squared distances of raw standard deviations are near 1e-3, so that the paper's penalty of 0.1 would force clusters
    of equal size.
    """
    x = np.asarray(values, np.float64)
    span = np.ptp(x)
    return np.asarray((x - x.min()) / span if span > 0 else np.zeros_like(x))


def cluster(values: Sequence[float] | NDArray[np.float64], count: int, penalty: float) -> Clusters:
    """Clusters values; ties go to the earlier value.

    Args:
        values: N of them, finite.
        count: K. With fewer values than clusters there are N clusters of one.
        penalty: lambda, not negative.

    Raises:
        DataError: No values, none of a cluster, or a negative penalty.
    """
    x = np.asarray(values, np.float64)
    if not len(x) or count < 1 or penalty < 0 or not np.all(np.isfinite(x)):
        raise DataError(f"{len(x)} values in {count} clusters with penalty {penalty}")
    order = np.argsort(x, kind="stable")
    ordered, n = x[order], len(x)
    k = min(count, n)
    # Around the mean, so that sums of squares lose nothing to a common offset.
    centred = ordered - ordered.mean()
    total = np.concatenate([[0.0], np.cumsum(centred)])
    squares = np.concatenate([[0.0], np.cumsum(centred**2)])
    ends = np.arange(n + 1)
    size = ends[None, :] - ends[:, None]  # [start, end]
    some = np.maximum(size, 1)
    spread = squares[None, :] - squares[:, None] - (total[None, :] - total[:, None]) ** 2 / some
    cost = np.where(size > 0, np.maximum(spread, 0) + penalty * (size - n / k) ** 2, np.inf)
    best, starts = cost[0], []
    for _ in range(k - 1):
        through = best[:, None] + cost
        start = through.argmin(axis=0)
        starts.append(start)
        best = through[start, ends]
    bounds = [n]
    for start in reversed(starts):
        bounds.append(int(start[bounds[-1]]))
    bounds.append(0)
    bounds.reverse()
    of = np.empty(n, np.int64)
    for j in range(k):
        of[order[bounds[j] : bounds[j + 1]]] = j
    means = tuple(float(ordered[bounds[j] : bounds[j + 1]].mean()) for j in range(k))
    return Clusters(tuple(int(j) for j in of), means, float(best[n]))
