"""Perplexity under faults: changes of the negative log-likelihood, one per fault."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.campaign.statistics.interval import Interval
from potluck.isa.errors import CampaignError

CLIP = log(1000.0)
"""Default bound on a change: a perplexity a thousand times as high, or as low, is as bad, or as good, as any."""


@dataclass(frozen=True, eq=False)
class Clipped:
    """Changes of the NLL within bounds.

    Attributes:
        values: clipped changes in nats per token, float64 (n,); those that are no number count as `bound`.
        bound: of their magnitude.
        clipped: share of trials beyond it or without a number: what a report has to say.
    """

    values: NDArray[np.float64]
    bound: float
    clipped: float


def clipped_change(faulty: ArrayLike, golden: ArrayLike, bound: float = CLIP) -> Clipped:
    """Mean NLL of each trial less that of the golden run, clipped, for `Bounded(alpha, -bound, bound)`.

    Without a bound no interval for a mean is valid at any time: a change of any size may be as rare as it likes.

    Args:
        faulty: mean NLL over a trial's tokens, nats, float (n,).
        golden: without faults, float (n,) or one number.
        bound: of a change, nats.

    Raises:
        CampaignError: a bound that is not positive, or a golden NLL that is no number.
    """
    reference = np.asarray(golden, np.float64)
    if not (bound > 0 and np.isfinite(reference).all()):
        raise CampaignError("clipping needs a bound above 0 and finite golden losses", key="bound")
    with np.errstate(invalid="ignore"):
        change = np.atleast_1d(np.asarray(faulty, np.float64) - reference)
    outside = ~(np.abs(change) <= bound)
    values = np.clip(np.where(np.isnan(change), bound, change), -bound, bound)
    return Clipped(values, bound, float(outside.mean()) if change.size else 0.0)


def perplexity_ratio(change: Interval) -> Interval:
    """Of the geometric mean over faults of faulty over golden perplexity, from the mean change of the NLL."""
    return Interval(exp(change.low), exp(change.high), exp(change.estimate))
