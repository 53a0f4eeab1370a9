"""Where a running campaign meets `potluck.campaign.statistics`: what is watched, and when it is known well enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from potluck.campaign import spec as keys
from potluck.campaign.outcomes import TrialOutcome
from potluck.campaign.statistics import Binary, Pooled, Stop

Batch = Mapping[str, Sequence[str]]
"""Outcomes of further trials by stratum."""


def _rule(stop: keys.Stop, limit: int) -> Stop:
    return Stop(limit, stop.half_width, stop.relative, stop.threshold, stop.least)


class Watched:
    """The share that decides when a cell has enough trials.

    Args:
        stop: the rule.
        limit: trials at most.
    """

    def __init__(self, stop: keys.Stop, limit: int) -> None:
        self._rule = _rule(stop, limit)
        self._sequence = Binary(1 - stop.confidence)
        self._outcome = TrialOutcome(stop.watch).value

    def reason(self, outcomes: Sequence[str]) -> str | None:
        """Look at further trials; why they are enough, None if they are not."""
        self._sequence.update(sum(o == self._outcome for o in outcomes), len(outcomes))
        return self._rule.check(self._sequence.interval, self._sequence.trials)


class WatchedRate:
    """The rate, summed over fault modes, that decides when all of them have enough trials.

    Args:
        stop: the rule.
        weights: of each mode: FIT of faults that touch the network, times exposure.
    """

    def __init__(self, stop: keys.Stop, weights: Mapping[str, float]) -> None:
        whole = stop.trials * len(weights)
        self.batch = min(stop.every * len(weights), whole)
        self.limit = whole // self.batch * self.batch
        self._rule = _rule(stop, self.limit)
        self._sequence = Pooled(weights, 1 - stop.confidence)
        self._outcome = TrialOutcome(stop.watch).value

    def allocate(self) -> dict[str, int]:
        """Trials of each mode in the next batch, by what is known."""
        return self._sequence.allocate(self.batch)

    def reason(self, batch: Batch) -> str | None:
        """Look at a batch, as it was allocated; why trials are enough, None if they are not."""
        self._sequence.update_binary(counts_of(batch, self._outcome))
        return self._rule.check(self._sequence.interval, self._sequence.trials)


def counts_of(batch: Batch, outcome: str) -> dict[str, tuple[int, int]]:
    """Trials with an outcome, and all, by stratum."""
    return {
        name: (sum(one == outcome for one in outcomes), len(outcomes)) for name, outcomes in batch.items()
    }
