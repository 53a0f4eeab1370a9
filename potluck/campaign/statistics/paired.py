"""Two protection stacks, or formats, on the same faults (common random numbers): is one better?

Pairs are faults: outcomes of one fault on many images are one number, their mean. All tests are for a number of pairs
fixed beforehand. For a difference that may be looked at any time, give the differences to `Bounded(alpha, -1, 1)`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.campaign.statistics.fixed import bootstrap
from potluck.campaign.statistics.interval import LEVEL, Interval
from potluck.campaign.statistics.special import binomial_cdf
from potluck.isa.errors import CampaignError

EXACT = 20
"""Pairs that differ, up to which all 2^n assignments of signs are tried."""
FLIPS = 99_999
CHUNK = 1 << 22


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value that two stacks fail equally often, from pairs in which just one of them fails.

    McNemar, Psychometrika 12, 1947, with the binomial distribution instead of chi-square; ties carry no information.

    Args:
        only_first: pairs with an event under the first stack only.
        only_second: under the second only.
    """
    if min(only_first, only_second) < 0:
        raise CampaignError(f"{only_first} and {only_second} are no numbers of pairs")
    total = only_first + only_second
    return min(1.0, 2 * binomial_cdf(min(only_first, only_second), total, 0.5)) if total else 1.0


def _differences(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != two.shape or one.ndim != 1:
        raise CampaignError(f"pairs need two rows of equal length, not {one.shape} and {two.shape}")
    return one - two


def sign_flip(first: ArrayLike, second: ArrayLike, seed: int) -> float:
    """Two-sided p-value that the difference of a metric is symmetric around 0, by flipping the pairs' signs.

    All assignments are tried if at most 20 pairs differ; else 99,999 drawn ones, the observed one counted among them,
    which keeps the test valid (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9, 2010).

    Args:
        first: metric per fault under one stack, float (n,).
        second: on the same faults under the other, float (n,).
        seed: of the drawing.
    """
    different = _differences(first, second)
    different = different[different != 0]
    observed = abs(float(different.sum())) * (1 - 1e-12)  # sums in another order round differently
    if different.size <= EXACT:
        sums = np.zeros(1)
        for difference in different:
            sums = np.concatenate([sums - difference, sums + difference])
        return float((np.abs(sums) >= observed).mean())
    rng = np.random.Generator(np.random.Philox(seed))
    step, reached = max(1, CHUNK // different.size), 1
    for start in range(0, FLIPS, step):
        signs = rng.integers(0, 2, (min(step, FLIPS - start), different.size), np.int8)
        reached += int((np.abs((2.0 * signs - 1) @ different) >= observed).sum())
    return reached / (FLIPS + 1)


def paired_bootstrap(first: ArrayLike, second: ArrayLike, seed: int, level: float = LEVEL) -> Interval:
    """Fixed-n bootstrap of the mean difference over faults; both stacks' values of a fault are drawn together."""
    return bootstrap(_differences(first, second), seed, level)


def holm(values: Sequence[float]) -> list[float]:
    """P-values adjusted for how many were computed (Holm, Scand. J. Stat. 6, 1979).

    Rejecting those at most alpha makes any false rejection among them as improbable as alpha, however they depend on
    each other.

    Args:
        values: p-values of the whole grid.

    Returns:
        Adjusted, in the order given.
    """
    order = sorted(range(len(values)), key=lambda place: values[place])
    adjusted, least = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = least
    return adjusted
