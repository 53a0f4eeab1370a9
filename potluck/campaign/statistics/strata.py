"""A weighted sum over strata (fault modes, tensors, bit fields), known at any time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.campaign.statistics.binary import Binary
from potluck.campaign.statistics.bounded import Bounded
from potluck.campaign.statistics.interval import Interval, check_alpha
from potluck.isa.errors import CampaignError

Allocation = Literal["neyman", "narrowing", "proportional"]


def check_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights by name.

    Raises:
        CampaignError: one is negative, or none is positive.
    """
    known = {name: float(weight) for name, weight in weights.items()}
    if not all(0 <= weight < float("inf") for weight in known.values()) or not any(known.values()):
        raise CampaignError(f"strata need weights that are not negative, not {known}", key="weights")
    return known


def spread(goal: NDArray[np.float64], done: NDArray[np.int64], batch: int) -> NDArray[np.int64]:
    """Trials per stratum that bring those done closest to the goal shares; none is taken back.

    Args:
        goal: shares of all trials, float64 (h,), summing to 1.
        done: trials so far, int64 (h,).
        batch: trials to hand out.

    Returns:
        int64 (h,), summing to `batch`.
    """
    active = goal > 0
    while True:  # strata that are ahead of their share leave; the others share what is left
        level = (batch + done[active].sum()) / goal[active].sum()
        behind = active & (goal * level > done)
        if (behind == active).all():
            break
        active = behind
    exact = np.where(active, goal * level - done, 0.0)
    given = np.floor(exact).astype(np.int64)
    first = np.argsort(given - exact, kind="stable")
    given[first[: batch - int(given.sum())]] += 1
    return given


class Stratified:
    """A confidence sequence of sum_h W_h p_h: each stratum's at alpha / H, added up.

    All strata's intervals hold at once with probability 1 - alpha (union bound), at any time and whatever the
    allocation, as long as that depends on the past only: `allocate` does. Weights are known, not estimated; they need
    not sum to 1, so that rates such as FIT x devices serve as they are.

    Args:
        weights: of each stratum by name, not negative.
        alpha: probability that any interval of the sequence misses the sum, at most.
        kind: of the outcomes: ``binary``, or ``bounded`` by `low` and `high`.
        allocation: ``neyman``: shares go as W_h times the standard deviation, which makes the variance least;
            ``narrowing``: as makes the sum of the strata's widths least, which is what is reported;
            ``proportional``: to the weights.
        floor: share of all trials that is spread evenly, so that no stratum is given up on an early impression.
        low: least possible outcome.
        high: greatest possible outcome.

    Raises:
        CampaignError: no strata, a negative weight, an unknown word.
    """

    def __init__(
        self, weights: Mapping[str, float], alpha: float = 0.05, kind: Literal["binary", "bounded"] = "binary",
        allocation: Allocation = "neyman", floor: float = 0.1, low: float = 0.0, high: float = 1.0,
    ) -> None:  # fmt: skip
        check_alpha(alpha)
        if allocation not in get_args(Allocation):
            raise CampaignError(
                f"no allocation {allocation!r}; there are: {', '.join(get_args(Allocation))}",
                key="allocation",
            )
        if not 0 <= floor <= 1:
            raise CampaignError(f"a floor is a share of the trials, not {floor}", key="floor")
        if kind not in ("binary", "bounded"):
            raise CampaignError(f"no kind {kind!r}; there are: binary, bounded", key="kind")
        self.alpha = alpha
        self.weights = check_weights(weights)
        self.allocation = allocation
        self.floor = floor
        self.kind = kind
        each = alpha / len(weights)
        self.strata: dict[str, Binary | Bounded] = {
            name: Binary(each) if kind == "binary" else Bounded(each, low, high) for name in weights
        }

    @property
    def trials(self) -> int:
        """Observations so far, in all strata."""
        return sum(stratum.trials for stratum in self.strata.values())

    def allocate(self, batch: int) -> dict[str, int]:
        """Trials for each stratum, of the next `batch` ones."""
        done = np.array([stratum.trials for stratum in self.strata.values()], np.int64)
        goal = np.array(list(self.weights.values()))
        sampled = goal > 0
        if self.allocation == "neyman":
            goal = goal * [stratum.deviation for stratum in self.strata.values()]
        elif self.allocation == "narrowing":
            # Widths fall as n^-1/2, so the sum of s_h / sqrt(n_h) is least where n_h goes as s_h^(2/3).
            widths = [stratum.interval.half_width for stratum in self.strata.values()]
            goal = (goal * widths * np.sqrt(np.maximum(done, 1))) ** (2 / 3)
        goal = sampled / sampled.sum() if goal.sum() == 0 else goal / goal.sum()
        goal = (1 - self.floor) * goal + self.floor * sampled / sampled.sum()
        return dict(zip(self.strata, spread(goal, done, batch).tolist(), strict=True))

    def update_binary(self, stratum: str, successes: int, trials: int) -> None:
        """Add trials of a stratum of binary outcomes, as `Binary.update`."""
        chosen = self._of(stratum)
        if not isinstance(chosen, Binary):
            raise CampaignError("these strata have bounded outcomes", hint="Call update_bounded")
        chosen.update(successes, trials)

    def update_bounded(self, stratum: str, values: ArrayLike) -> None:
        """Add trials of a stratum of bounded outcomes, as `Bounded.update`."""
        chosen = self._of(stratum)
        if not isinstance(chosen, Bounded):
            raise CampaignError("these strata have binary outcomes", hint="Call update_binary")
        chosen.add(values)

    def _of(self, name: str) -> Binary | Bounded:
        if name not in self.strata:
            raise CampaignError(f"no stratum {name!r}; there are: {', '.join(self.strata)}", key="weights")
        return self.strata[name]

    @property
    def interval(self) -> Interval:
        """At this moment."""
        return self.interval_for(self.weights)

    def interval_for(self, weights: Mapping[str, float]) -> Interval:
        """Of the same strata under other weights, such as another environment's rates; holds at once with all others.

        Raises:
            CampaignError: a stratum that is not sampled.
        """
        low = high = estimate = 0.0
        for name, weight in weights.items():
            part = self._of(name).interval
            low, high = low + weight * part.low, high + weight * part.high
            estimate += weight * part.estimate if weight else 0.0
        return Interval(low, high, estimate)

    def state(self) -> dict[str, Any]:
        """All that `from_state` needs, as plain JSON values."""
        return {
            "alpha": self.alpha, "weights": self.weights, "kind": self.kind, "allocation": self.allocation,
            "floor": self.floor, "strata": {name: stratum.state() for name, stratum in self.strata.items()},
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Go on where `state` was taken."""
        made = cls(state["weights"], state["alpha"], state["kind"], state["allocation"], state["floor"])
        kind = Binary if made.kind == "binary" else Bounded
        made.strata = {name: kind.from_state(saved) for name, saved in state["strata"].items()}
        return made
