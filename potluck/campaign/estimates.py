"""Where a campaign meets `potluck.campaign.statistics`: which share is watched, and what is said of shares and means."""

from __future__ import annotations

from collections.abc import Sequence

from potluck.campaign.outcomes import TrialOutcome
from potluck.campaign.spec import Stop
from potluck.campaign.statistics import Binary, Interval


class Watched:
    """The share that decides when a cell has enough trials.

    Args:
        stop: the rule.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._sequence = Binary(1 - stop.confidence)
        self._outcome = TrialOutcome(stop.watch).value

    def enough(self, outcomes: Sequence[str]) -> bool:
        """Look at further trials; whether the interval is as narrow as the rule asks for."""
        interval = self._sequence.update(sum(o == self._outcome for o in outcomes), len(outcomes))
        return self._stop.half_width is not None and interval.half_width <= self._stop.half_width


def share(successes: int, trials: int, confidence: float) -> Interval:
    """A share of independent trials, by a sequence: it holds however often somebody looked before."""
    return Binary(1 - confidence).update(successes, trials)
