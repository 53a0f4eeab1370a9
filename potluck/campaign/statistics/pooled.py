"""A weighted sum over strata as one sequence: allocation is free, and nothing is paid per stratum."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.campaign.statistics.bounded import Bounded
from potluck.campaign.statistics.interval import Interval
from potluck.campaign.statistics.strata import check_weights, spread
from potluck.isa.errors import CampaignError

Allocation = Literal["neyman", "proportional"]


class Pooled:
    """A confidence sequence of sum_h W_h m_h from batches that are allocated by the past.

    In a batch of n trials, n_h of them in stratum h, an outcome y counts as x = (w_h n / n_h) y, w_h = W_h / sum W: the
    mean of x over the batch is the weighted mean, whatever the allocation. If n_h >= defence w_h n, x is bounded by
    1 / defence, and betting sequences apply. Trials of a batch have different means, but the fortune of a constant bet,
    prod (1 + lambda (x - m)), is still at most 1 on average: prod (1 + lambda (m_t - m)) with the m_t averaging m is
    greatest where all are equal. So the interval holds after every whole batch, not within one.

    The union bound of `Stratified` adds up H widths, each of level 1 - alpha / H; this pays once, but says nothing of
    single strata.

    Args:
        weights: of each stratum by name, not negative; they need not sum to 1.
        alpha: probability that any interval of the sequence misses the sum, at most.
        allocation: of the trials beyond the defence; ``neyman``: as W_h times the root of the mean square of the
            outcomes so far, with one outcome at each bound added half each; ``proportional``: as W_h.
        defence: share of a batch that goes as W_h. 1 / defence bounds what a trial can count for.
        low: least possible outcome.
        high: greatest possible outcome.

    Raises:
        CampaignError: no strata, a negative weight, an unknown word, a defence outside (0, 1].
    """

    def __init__(
        self, weights: Mapping[str, float], alpha: float = 0.05, allocation: Allocation = "neyman",
        defence: float = 0.5, low: float = 0.0, high: float = 1.0,
    ) -> None:  # fmt: skip
        self.weights = check_weights(weights)
        if allocation not in get_args(Allocation):
            raise CampaignError(
                f"no allocation {allocation!r}; there are: {', '.join(get_args(Allocation))}",
                key="allocation",
            )
        if not 0 < defence <= 1:
            raise CampaignError(f"a defence is a share above 0, not {defence}", key="defence")
        self.alpha = alpha
        self.allocation = allocation
        self.defence = defence
        self.low = low
        self.high = high
        self._total = sum(self.weights.values())
        self._share: NDArray[np.float64] = np.array(list(self.weights.values())) / self._total
        self._squares: NDArray[np.float64] = np.zeros(len(weights))  # of outcomes scaled to [0, 1]
        self._done: NDArray[np.int64] = np.zeros(len(weights), np.int64)
        self._sequence = Bounded(alpha, 0.0, 1 / defence)

    @property
    def trials(self) -> int:
        """Observations so far, in all strata."""
        return self._sequence.trials

    def _least(self, batch: int) -> NDArray[np.int64]:
        return np.ceil(self._share * batch * self.defence * (1 - 1e-12)).astype(np.int64)

    def allocate(self, batch: int) -> dict[str, int]:
        """Trials for each stratum, of the next batch.

        Args:
            batch: trials, at least the number of strata / (1 - defence).

        Raises:
            CampaignError: a batch that is too small for every stratum to have its part.
        """
        least = self._least(batch)
        if batch < 1 or least.sum() > batch:
            raise CampaignError(
                f"{batch} trials do not go round {len(self.weights)} strata",
                key="batch",
                hint="Take a larger batch",
            )
        score = self._share
        if self.allocation == "neyman":
            score = score * np.sqrt((self._squares + 0.5) / (self._done + 1))
        extra = spread(score / score.sum(), np.zeros_like(least), batch - int(least.sum()))
        return dict(zip(self.weights, (least + extra).tolist(), strict=True))

    def update(self, outcomes: Mapping[str, ArrayLike]) -> Interval:
        """Add one whole batch, as `allocate` gave it out.

        Args:
            outcomes: of each stratum, one value per trial.

        Returns:
            The interval after it.

        Raises:
            CampaignError: a stratum without its part of the batch, or an outcome out of bounds.
        """
        different = {
            name: np.unique(np.asarray(values, np.float64), return_counts=True)
            for name, values in outcomes.items()
        }
        return self._update({name: (values, counts) for name, (values, counts) in different.items()})

    def update_binary(self, counts: Mapping[str, tuple[int, int]]) -> Interval:
        """Add one whole batch of outcomes 0 and 1, as (successes, trials) of each stratum; see `update`."""
        for name, (successes, trials) in counts.items():
            if not 0 <= successes <= trials:
                raise CampaignError(f"{successes} of {trials} trials of {name!r} is no share")
        return self._update(
            {name: (np.array([0.0, 1.0]), np.array([n - s, s])) for name, (s, n) in counts.items()}
        )

    def _update(self, batch: Mapping[str, tuple[NDArray[np.float64], NDArray[np.int64]]]) -> Interval:
        unknown = [name for name in batch if name not in self.weights]
        if unknown:
            raise CampaignError(
                f"no stratum {unknown[0]!r}; there are: {', '.join(self.weights)}", key="weights"
            )
        done = np.array(
            [int(batch[name][1].sum()) if name in batch else 0 for name in self.weights], np.int64
        )
        size = int(done.sum())
        if size == 0:
            return self.interval
        short = np.flatnonzero(done < self._least(size))
        if short.size:
            name = list(self.weights)[int(short[0])]
            raise CampaignError(
                f"stratum {name!r} has {done[short[0]]} of {size} trials, too few for its weight",
                hint="Give whole batches as allocate() gave them out",
            )
        counted: list[NDArray[np.float64]] = []
        times: list[NDArray[np.int64]] = []
        for place, name in enumerate(self.weights):
            if name not in batch:
                continue
            values, counts = batch[name]
            values, counts = values[counts > 0], counts[counts > 0]
            if not ((values >= self.low) & (values <= self.high)).all():
                raise CampaignError(f"an outcome of {name!r} is not between {self.low} and {self.high}")
            scaled = (values - self.low) / (self.high - self.low)
            self._squares[place] += float(counts @ (scaled * scaled))
            factor = self._share[place] * size / max(int(done[place]), 1)
            counted.append(np.minimum(factor * scaled, 1 / self.defence))
            times.append(counts)
        self._done = self._done + done
        self._sequence.add(np.concatenate(counted), np.concatenate(times))
        return self.interval

    @property
    def interval(self) -> Interval:
        """After the last whole batch."""
        inner, span = self._sequence.interval, self.high - self.low
        low, high, estimate = (
            self._total * (self.low + span * value)
            for value in (inner.low, min(inner.high, 1.0), inner.estimate)
        )
        return Interval(low, high, estimate)

    def deviations(self) -> dict[str, float]:
        """Root of the mean square of each stratum's outcomes above `low`: what the allocation goes by."""
        span = self.high - self.low
        return {
            name: span * sqrt((square + 0.5) / (done + 1))
            for name, square, done in zip(self.weights, self._squares, self._done, strict=True)
        }

    def state(self) -> dict[str, Any]:
        """All that `from_state` needs, as plain JSON values."""
        return {
            "weights": self.weights, "alpha": self.alpha, "allocation": self.allocation, "defence": self.defence,
            "low": self.low, "high": self.high, "squares": self._squares.tolist(), "done": self._done.tolist(),
            "sequence": self._sequence.state(),
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Go on where `state` was taken."""
        keys = ("weights", "alpha", "allocation", "defence", "low", "high")
        made = cls(**{key: state[key] for key in keys})
        made._squares, made._done = np.array(state["squares"], np.float64), np.array(state["done"], np.int64)
        made._sequence = Bounded.from_state(state["sequence"])
        return made
