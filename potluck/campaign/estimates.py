"""Where a running campaign meets `potluck.campaign.statistics`: the share that is watched."""

from __future__ import annotations

from collections.abc import Sequence

from potluck.campaign import spec as keys
from potluck.campaign.outcomes import TrialOutcome
from potluck.campaign.statistics import Binary, Stop


class Watched:
    """The share that decides when a cell has enough trials.

    Args:
        stop: the rule.
        limit: trials at most.
    """

    def __init__(self, stop: keys.Stop, limit: int) -> None:
        self._rule = Stop(limit, stop.half_width, stop.relative, stop.threshold, stop.least)
        self._sequence = Binary(1 - stop.confidence)
        self._outcome = TrialOutcome(stop.watch).value

    def reason(self, outcomes: Sequence[str]) -> str | None:
        """Look at further trials; why they are enough, None if they are not."""
        self._sequence.update(sum(o == self._outcome for o in outcomes), len(outcomes))
        return self._rule.check(self._sequence.interval, self._sequence.trials)
