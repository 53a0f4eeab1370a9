"""The mean of a bounded metric over faults, known at any time: betting."""

from __future__ import annotations

from math import inf, log, sqrt
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.campaign.statistics import betting
from potluck.campaign.statistics.interval import Interval, check_alpha
from potluck.isa.errors import CampaignError

MANTISSA = 9
"""Bits after the leading one that values are kept with: k / 64 is exact, others move outwards by up to 1/512."""
SMALLEST = 2.0**-30


def rounded(values: NDArray[np.float64], up: bool) -> NDArray[np.float64]:
    """Values in [0, 1] rounded to `MANTISSA` bits, so that memory does not grow with the number of trials."""
    fraction, exponent = np.frexp(values)
    scale = float(1 << (MANTISSA + 1))
    whole = np.ceil(fraction * scale) if up else np.floor(fraction * scale)
    kept = np.ldexp(whole / scale, exponent)
    tiny = values < SMALLEST
    kept[tiny] = np.where(values[tiny] > 0, SMALLEST, 0.0) if up else 0.0
    return kept


UNIT = 1100
"""Sums are kept exactly, as integers in units of 2**-UNIT: they do not depend on the order of the trials."""


def _exactly(values: NDArray[np.float64], counts: NDArray[np.float64]) -> int:
    """The sum of values in [0, 1], each as often as it came, in units."""
    ratios = (value.as_integer_ratio() for value in values.tolist())
    return sum(
        int(count) * (above << UNIT) // below
        for (above, below), count in zip(ratios, counts.tolist(), strict=True)
    )


class _Histogram:
    """Values and how often each came."""

    def __init__(self) -> None:
        self.values: NDArray[np.float64] = np.zeros(0)
        self.counts: NDArray[np.float64] = np.zeros(0)

    def add(self, values: NDArray[np.float64], counts: NDArray[np.float64]) -> None:
        old = self.counts
        self.values, places = np.unique(np.concatenate([self.values, values]), return_inverse=True)
        self.counts = np.zeros(self.values.size)
        np.add.at(self.counts, places, np.concatenate([old, counts]))


def _number(total: int) -> float:
    return total / (1 << UNIT)


class Bounded:
    """A confidence sequence of a mean from values between two bounds, one per fault.

    Valid for any values whose mean given the past is the one asked for: neither independence of the images of one
    fault (their mean is the fault's value) nor any distribution is assumed. See `betting` for the method; for values
    0 and 1 it takes about as many trials as `Binary`. Ends only ever move inwards, as all intervals hold at once.

    Args:
        alpha: probability that any interval of the sequence misses the mean, at most.
        low: least possible value.
        high: greatest possible value.

    Raises:
        CampaignError: alpha out of range, or no room between the bounds.
    """

    def __init__(self, alpha: float = 0.05, low: float = 0.0, high: float = 1.0) -> None:
        check_alpha(alpha)
        if not -inf < low < high < inf:
            raise CampaignError(f"values are bounded by two finite numbers, not {low} and {high}")
        self.alpha = alpha
        self.low = float(low)
        self.high = float(high)
        self._below = _Histogram()  # values rounded down, for the lower end
        self._above = _Histogram()  # 1 - value rounded down, for the upper one
        self._trials = 0
        self._sums = (0, 0)  # of values and of their squares, scaled to [0, 1], in units
        self._ends = (0.0, 1.0)
        self._current = True

    @property
    def trials(self) -> int:
        """Observations so far."""
        return self._trials

    @property
    def deviation(self) -> float:
        """Of one value, with one at each bound added half each, so that none is ever certain."""
        first, second = (_number(total) + 0.5 for total in self._sums)
        mean = first / (self._trials + 1)
        return sqrt(max(second / (self._trials + 1) - mean * mean, 0.0)) * (self.high - self.low)

    def update(self, values: ArrayLike) -> Interval:
        """Add trials.

        Args:
            values: one per trial, in the order of the trials or any other.

        Returns:
            The interval after them.

        Raises:
            CampaignError: a value outside the bounds, or not a number.
        """
        self.add(values)
        return self.interval

    def add(self, values: ArrayLike, counts: ArrayLike | None = None) -> None:
        """As `update`, but leaves the interval to be computed when it is asked for.

        Args:
            values: one per trial, or different ones.
            counts: how often each came, positive; once if not given.
        """
        array = np.atleast_1d(np.asarray(values, np.float64)).ravel()
        times = np.ones(array.size) if counts is None else np.asarray(counts, np.float64).ravel()
        if not array.size:
            return
        if not (array.min() >= self.low and array.max() <= self.high):
            wrong = array[~((array >= self.low) & (array <= self.high))][0]
            raise CampaignError(
                f"value {wrong} is not between {self.low} and {self.high}",
                hint="Clip it, and say so in the report",
            )
        scaled = np.clip((array - self.low) / (self.high - self.low), 0.0, 1.0)
        different, places = np.unique(scaled, return_inverse=True)
        weights = np.zeros(different.size)
        np.add.at(weights, places, times)
        self._below.add(rounded(different, False), weights)
        self._above.add(1 - rounded(different, True), weights)
        self._trials += int(times.sum())
        self._sums = (
            self._sums[0] + _exactly(different, weights),
            self._sums[1] + _exactly(different * different, weights),
        )
        self._current = False

    @property
    def interval(self) -> Interval:
        """At this moment."""
        self._solve()
        scale = self.high - self.low
        low, high = (self.low + scale * end for end in self._ends)
        if not self._trials:
            return Interval(low, high, float("nan"))
        mean = self.low + scale * _number(self._sums[0]) / self._trials
        return Interval(low, high, min(max(mean, low), high))

    def _solve(self) -> None:
        if self._current:
            return
        threshold = -log(self.alpha)
        low = betting.lower_bound(self._below.values, self._below.counts, threshold)
        high = 1 - betting.lower_bound(self._above.values, self._above.counts, threshold)
        if max(low, self._ends[0]) <= min(high, self._ends[1]):
            self._ends = max(low, self._ends[0]), min(high, self._ends[1])
        self._current = True

    def state(self) -> dict[str, Any]:
        """All that `from_state` needs, as plain JSON values."""
        self._solve()
        return {
            "alpha": self.alpha, "low": self.low, "high": self.high, "trials": self._trials,
            "sums": [hex(total) for total in self._sums], "ends": list(self._ends),
            "below": [self._below.values.tolist(), self._below.counts.tolist()],
            "above": [self._above.values.tolist(), self._above.counts.tolist()],
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Go on where `state` was taken."""
        made = cls(state["alpha"], state["low"], state["high"])
        made._trials, made._sums = state["trials"], (int(state["sums"][0], 16), int(state["sums"][1], 16))
        made._ends = state["ends"][0], state["ends"][1]
        for histogram, saved in ((made._below, state["below"]), (made._above, state["above"])):
            histogram.values, histogram.counts = np.array(saved[0]), np.array(saved[1])
        return made
