"""When a campaign knows enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from potluck.campaign.statistics.interval import Interval
from potluck.isa.errors import CampaignError

Reason = Literal["half_width", "relative", "threshold", "max_trials"]


@dataclass(frozen=True)
class Stop:
    """A stopping rule; with intervals of a confidence sequence it may be asked after every trial.

    The first goal that is reached stops the campaign; which one is part of the result.

    Attributes:
        max_trials: stop here in any case.
        half_width: absolute goal.
        relative: goal as a share of the estimate: half-width <= relative x estimate.
        threshold: stop once the interval lies on one side of this value.
        min_trials: never stop by a goal before.

    Raises:
        CampaignError: a goal that no interval can reach.
    """

    max_trials: int
    half_width: float | None = None
    relative: float | None = None
    threshold: float | None = None
    min_trials: int = 0

    def __post_init__(self) -> None:
        for key, value in (
            ("max_trials", self.max_trials), ("half_width", self.half_width), ("relative", self.relative),
        ):  # fmt: skip
            if value is not None and not value > 0:
                raise CampaignError(
                    f"a campaign cannot stop at {value}", key=key, hint="Give a positive number"
                )

    def check(self, interval: Interval, trials: int) -> Reason | None:
        """The reason to stop after so many trials, None to go on."""
        if trials >= self.min_trials:
            if self.half_width is not None and interval.half_width <= self.half_width:
                return "half_width"
            if self.relative is not None and interval.half_width <= self.relative * abs(interval.estimate):
                return "relative"
            if self.threshold is not None and self.threshold not in interval:
                return "threshold"
        return "max_trials" if trials >= self.max_trials else None
