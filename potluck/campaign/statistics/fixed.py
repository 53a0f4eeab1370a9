"""Sample sizes and intervals for a number of trials that was fixed beforehand.

None of these may be looked at while a campaign runs and then used to stop it: `Binary` and `Bounded` are for that.
"""

from __future__ import annotations

from math import ceil, inf, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from potluck.campaign.statistics.interval import LEVEL, Interval, check_alpha
from potluck.campaign.statistics.special import beta_quantile
from potluck.isa.errors import CampaignError

RESAMPLES = 4000
CHUNK = 1 << 22
"""Values resampled at a time, so that memory does not grow with the campaign."""


def normal_quantile(level: float) -> float:
    """The normal deviate that bounds `level` of the distribution on both sides, 1.96 for 0.95."""
    check_alpha(1 - level)
    return NormalDist().inv_cdf((1 + level) / 2)


def leveugle(margin: float, population: float = inf, level: float = LEVEL, share: float = 0.5) -> int:
    """Trials for a margin of error on a share, without replacement from so many possible faults.

    Leveugle, Calvez, Maistri and Vanhauwaert, "Statistical fault injection: quantified error and confidence", DATE
    2009: n = N / (1 + e^2 (N - 1) / (t^2 p (1 - p))), rounded up.

    Args:
        margin: half-width e of the interval, absolute.
        population: possible faults N.
        level: confidence, which gives t.
        share: expected p; 0.5 is the worst case.

    Raises:
        CampaignError: a margin, population or share that means nothing.
    """
    if not (0 < margin < 1 and 0 < share < 1 and population >= 1):
        raise CampaignError("a sample size needs 0 < margin < 1, 0 < share < 1 and population >= 1")
    unlimited = (normal_quantile(level) / margin) ** 2 * share * (1 - share)
    size = unlimited if population == inf else population / (1 + (population - 1) / unlimited)
    return ceil(size * (1 - 1e-12))


def _check_counts(successes: int, trials: int) -> None:
    if not 0 <= successes <= trials or trials == 0:
        raise CampaignError(f"{successes} of {trials} trials is no share")


def wilson(successes: int, trials: int, level: float = LEVEL) -> Interval:
    """The score interval of a share (Wilson, JASA 22, 1927): approximate, near its level on average over shares.

    Raises:
        CampaignError: no trials, or more successes than trials.
    """
    _check_counts(successes, trials)
    z, share = normal_quantile(level), successes / trials
    scale = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z / scale * sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    low = 0.0 if successes == 0 else centre - half
    return Interval(low, 1.0 if successes == trials else centre + half, share)


def clopper_pearson(successes: int, trials: int, level: float = LEVEL) -> Interval:
    """The exact interval of a share (Clopper and Pearson, Biometrika 26, 1934): never below its level.

    Raises:
        CampaignError: no trials, or more successes than trials.
    """
    _check_counts(successes, trials)
    check_alpha(1 - level)
    tail, failures = (1 - level) / 2, trials - successes
    low = 0.0 if successes == 0 else beta_quantile(tail, successes, failures + 1)
    high = 1.0 if failures == 0 else beta_quantile(1 - tail, successes + 1, failures)
    return Interval(low, high, successes / trials)


def bootstrap(values: ArrayLike, seed: int, level: float = LEVEL) -> Interval:
    """Percentile bootstrap of a mean over trials; trials, not samples, are what is independent.

    For a number of trials fixed beforehand, and for metrics without bounds, where nothing better is valid: report it
    under the name "fixed-n bootstrap". Its coverage is approximate and falls where few trials carry the mean. Where all
    trials agree it has no width, which says nothing of what a trial in so many may do: see `clopper_pearson` of the
    trials that changed.

    Args:
        values: one per trial, float (n,).
        seed: of the resampling.
        level: confidence.

    Returns:
        The interval, NaN with fewer than two trials.
    """
    array = np.asarray(values, np.float64)
    if array.size < 2:
        return Interval(float("nan"), float("nan"), float(array.mean()) if array.size else float("nan"))
    rng = np.random.Generator(np.random.Philox(seed))
    step = max(1, CHUNK // array.size)
    means = [
        rng.choice(array, (min(step, RESAMPLES - first), array.size)).mean(axis=1)
        for first in range(0, RESAMPLES, step)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), float(array.mean()))
