"""Forced faults: no trial without a fault, and one campaign for a whole curve of bit error rates.

Where faults are independent events, a trial without any has a known outcome (golden) and a known probability. So trials
are drawn given K >= 1, and every estimate is multiplied by P(K >= 1) or, from a mixture of rates, by a ratio of
probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, expm1, log, log1p, sqrt
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.campaign.statistics.bounded import Bounded
from potluck.campaign.statistics.interval import Interval
from potluck.isa.errors import CampaignError

TAIL = 1e-6
"""Greatest share of the trials with faults whose counts a table of counts leaves out."""


def _log_binomial(n: int, p: float, most: int) -> NDArray[np.float64]:
    """Logarithms of P(X = 0 .. min(n, most)) of Binomial(n, p)."""
    k = np.arange(min(n, most))
    steps = np.log((n - k) / (k + 1)) + (log(p) - log1p(-p))
    return np.concatenate([[0.0], np.cumsum(steps)]) + n * log1p(-p)


class FaultCount:
    """The number K of independent events that happen: Poisson-binomial, in groups of equal probability.

    Args:
        groups: (events, probability of each), such as (bits, BER).
        tail: P(K > most | K >= 1) that the table may leave out.

    Attributes:
        log_none: logarithm of P(K = 0), exact.
        some: P(K >= 1).
        probability: P(K = 0 .. most), float64 (most + 1,).
        tail: bound on P(K > most).

    Raises:
        CampaignError: a probability outside [0, 1), or nothing that can happen.
    """

    def __init__(self, groups: Sequence[tuple[int, float]], tail: float = TAIL) -> None:
        for count, rate in groups:
            if count < 0 or not 0 <= rate < 1:
                raise CampaignError(f"{count} events of probability {rate} are no fault source", key="ber")
        live = [(count, rate) for count, rate in groups if count and rate]
        if not live:
            raise CampaignError("no fault ever happens", key="ber", hint="Give a rate above 0")
        self.log_none = sum(count * log1p(-rate) for count, rate in live)
        self.some = -expm1(self.log_none)
        mean, events = sum(count * rate for count, rate in live), sum(count for count, _ in live)
        allowed, beyond = tail * self.some, tail * self.some / 100
        # Chernoff: P(K >= mean + t) <= exp(-t^2 / (2 (mean + t / 3))), at most what is beyond the table at first.
        needed = -log(beyond)
        most = min(ceil(mean + needed / 3 + sqrt(needed * needed / 9 + 2 * mean * needed)), events)
        table = np.ones(1)
        for count, rate in live:
            table = np.convolve(table, np.exp(_log_binomial(count, rate, most)))[: most + 1]
        left = np.append(np.cumsum(table[::-1])[::-1], 0.0) + (beyond if most < events else 0.0)  # P(K >= k)
        last = max(1, int(np.flatnonzero(left[1:] <= allowed)[0]))
        self.probability: NDArray[np.float64] = table[: last + 1]
        self.tail = float(left[last + 1])

    @property
    def given_some(self) -> NDArray[np.float64]:
        """P(K = 1 .. most | 1 <= K <= most), float64 (most,)."""
        some = self.probability[1:]
        return some / float(some.sum())

    def draw(self, uniform: ArrayLike) -> NDArray[np.int64]:
        """Counts of forced trials.

        Args:
            uniform: numbers uniform in [0, 1), one per trial.

        Returns:
            K >= 1, int64 of the same shape.
        """
        return _inverse(self.given_some, uniform)

    def whole(self, forced: Interval, greatest: float = 1.0) -> Interval:
        """The mean over all trials, from an interval of the mean over forced ones; outcomes without a fault are 0.

        Args:
            forced: of outcomes between 0 and `greatest`, drawn by `draw`.
            greatest: what the tail may add per unit of probability.
        """
        share = float(self.probability[1:].sum())
        return Interval(
            share * forced.low, share * forced.high + self.tail * greatest, share * forced.estimate
        )


def _inverse(probability: NDArray[np.float64], uniform: ArrayLike) -> NDArray[np.int64]:
    places = np.searchsorted(np.cumsum(probability), np.asarray(uniform, np.float64), side="right")
    return np.minimum(places, probability.size - 1).astype(np.int64) + 1


class Curve:
    """Means over a curve of bit error rates from one campaign of forced faults.

    K is drawn from a mixture of the curve's own truncated distributions; rate j weighs a trial with K faults by
    w_j(K) = P_j(K) / q(K), so that E[w_j(K) y] is its mean over all trials, K = 0 included as 0. As rate j has a share
    of the mixture, w_j is bounded, and a betting sequence of w_j y is valid at any time. What must hold: given K, which
    bits are struck does not depend on the rate (equal, independent bits), and outcomes without a fault are 0.

    Args:
        bits: that can be struck.
        rates: bit error rates of the curve.
        alpha: per rate; divide by the number of rates for a band that holds everywhere at once.
        mixture: share of trials drawn for each rate; equal if not given.
        low: least outcome, 0 or below.
        high: greatest outcome.
        tail: P(K > most | K >= 1), added to the intervals.

    Raises:
        CampaignError: shares that do not fit the rates, or outcomes whose range leaves out 0.
    """

    def __init__(
        self, bits: int, rates: Sequence[float], alpha: float = 0.05, mixture: Sequence[float] | None = None,
        low: float = 0.0, high: float = 1.0, tail: float = TAIL,
    ) -> None:  # fmt: skip
        shares = (
            np.full(len(rates), 1 / max(len(rates), 1)) if mixture is None else np.array(mixture, np.float64)
        )
        if (
            not len(rates)
            or shares.shape != (len(rates),)
            or shares.min() <= 0
            or abs(shares.sum() - 1) > 1e-9
        ):
            raise CampaignError(
                f"{len(rates)} rates need as many positive shares that sum to 1", key="mixture"
            )
        if not low <= 0 <= high:
            raise CampaignError("an outcome without a fault is 0, so 0 must lie within the bounds", key="low")
        self.bits, self.rates, self.alpha, self.mixture = bits, list(rates), alpha, shares
        self.low, self.high = low, high
        self.counts = [FaultCount([(bits, rate)], tail) for rate in rates]
        most = max(count.probability.size for count in self.counts) - 1
        self.proposal: NDArray[np.float64] = np.zeros(most)
        for share, count in zip(shares, self.counts, strict=True):
            self.proposal[: count.probability.size - 1] += share * count.given_some
        table = [np.pad(c.probability[1:], (0, most + 1 - c.probability.size)) for c in self.counts]
        with np.errstate(divide="ignore", invalid="ignore"):
            self.weights: NDArray[np.float64] = np.where(
                self.proposal > 0, np.array(table) / self.proposal, 0.0
            )
        self.means = [Bounded(alpha, float(row.max()) * low, float(row.max()) * high) for row in self.weights]

    @property
    def trials(self) -> int:
        """Observations so far."""
        return self.means[0].trials

    def draw(self, uniform: ArrayLike) -> NDArray[np.int64]:
        """Counts of trials, K >= 1, from numbers uniform in [0, 1)."""
        return _inverse(self.proposal, uniform)

    def update(self, counts: ArrayLike, values: ArrayLike) -> None:
        """Add trials.

        Args:
            counts: K of each, as drawn, int (n,).
            values: outcomes of each, float (n,).
        """
        places = np.atleast_1d(np.asarray(counts, np.int64)) - 1
        outcomes = np.atleast_1d(np.asarray(values, np.float64))
        if places.size and not (places.min() >= 0 and places.max() < self.proposal.size):
            raise CampaignError(f"this curve draws 1 to {self.proposal.size} faults, not {places.max() + 1}")
        if outcomes.size and not (outcomes.min() >= self.low and outcomes.max() <= self.high):
            raise CampaignError(f"an outcome is not between {self.low} and {self.high}")
        for mean, row in zip(self.means, self.weights, strict=True):
            mean.add(row[places] * outcomes)

    @property
    def intervals(self) -> list[Interval]:
        """Of each rate, at this moment."""
        return [self.interval(place) for place in range(len(self.rates))]

    def interval(self, place: int) -> Interval:
        """Of one rate, by its place among them."""
        inner, tail = self.means[place].interval, self.counts[place].tail
        return Interval(inner.low + tail * self.low, inner.high + tail * self.high, inner.estimate)

    def state(self) -> dict[str, Any]:
        """All that `from_state` needs, as plain JSON values."""
        return {
            "bits": self.bits, "rates": self.rates, "alpha": self.alpha, "mixture": self.mixture.tolist(),
            "low": self.low, "high": self.high, "means": [mean.state() for mean in self.means],
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Go on where `state` was taken."""
        keys = ("bits", "rates", "alpha", "mixture", "low", "high")
        made = cls(**{key: state[key] for key in keys})
        made.means = [Bounded.from_state(saved) for saved in state["means"]]
        return made
