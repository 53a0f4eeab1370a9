"""The share of faults with an outcome, known at any time: beta-binomial mixture."""

from __future__ import annotations

from math import inf, log, log1p, sqrt
from typing import Any, Self

from potluck.campaign.statistics.interval import RARE, Interval, check_alpha
from potluck.campaign.statistics.special import log_beta
from potluck.isa.errors import CampaignError


class Binary:
    """A confidence sequence of a probability p from independent trials with two outcomes.

    After s successes in n trials, CS = {p : B(a + s, b + n - s) / B(a, b) / (p^s (1 - p)^(n - s)) < 1 / alpha}: the
    ratio is a martingale of mean 1 under p, so by Ville's inequality it ever reaches 1 / alpha with probability alpha
    at most (Robbins, Ann. Math. Stat. 41, 1970). Whoever stops by looking at the interval keeps the guarantee. Ends
    only ever move inwards, as all intervals hold at once.

    Args:
        alpha: probability that any interval of the sequence misses p, at most.
        prior: a and b, chosen before the first trial; any is valid.

    Raises:
        CampaignError: alpha or prior out of range.
    """

    def __init__(self, alpha: float = 0.05, prior: tuple[float, float] = RARE) -> None:
        check_alpha(alpha)
        if not min(prior) > 0:
            raise CampaignError(f"a beta prior has two positive parameters, not {prior}", key="prior")
        self.alpha = alpha
        self.prior = prior
        self.successes = 0
        self._trials = 0
        self._ends = (0.0, 1.0)
        self._threshold = -log(alpha)

    @property
    def trials(self) -> int:
        """Observations so far."""
        return self._trials

    @property
    def deviation(self) -> float:
        """Of one trial, with one success and one failure added half each, so that none is ever certain."""
        share = (self.successes + 0.5) / (self._trials + 1)
        return sqrt(share * (1 - share))

    def update(self, successes: int, trials: int) -> Interval:
        """Add trials.

        Args:
            successes: of these trials.
            trials: how many.

        Returns:
            The interval after them.

        Raises:
            CampaignError: more successes than trials, or fewer than none.
        """
        if not 0 <= successes <= trials:
            raise CampaignError(f"{successes} of {trials} trials is no share")
        if trials:
            self.successes += int(successes)
            self._trials += int(trials)
            low, high = self._solve()
            if low <= high:  # or the truth has been missed before
                self._ends = low, high
        return self.interval

    @property
    def interval(self) -> Interval:
        """At this moment."""
        low, high = self._ends
        mean = self.successes / self._trials if self._trials else float("nan")
        return Interval(low, high, min(max(mean, low), high) if self._trials else mean)

    def log_wealth(self, p: float) -> float:
        """Logarithm of the martingale under p: convex, and the evidence against p in nats."""
        s, n, (a, b) = self.successes, self._trials, self.prior
        if (p <= 0 and s) or (p >= 1 and s < n):
            return inf
        likelihood = (s * log(p) if s else 0.0) + ((n - s) * log1p(-p) if s < n else 0.0)
        return log_beta(a + s, b + n - s) - log_beta(a, b) - likelihood

    def _solve(self) -> tuple[float, float]:
        """Both ends, rounded outwards; one that is not ruled out by now stays where it is."""
        s, n, (a, b) = self.successes, self._trials, self.prior
        level = log_beta(a + s, b + n - s) - log_beta(a, b) - self._threshold
        mean = s / n
        ends = list(self._ends)
        for place, end in enumerate(self._ends):
            inside, outside = mean, end
            if (mean <= end if place == 0 else mean >= end) or self.log_wealth(end) < self._threshold:
                continue
            while abs(outside - inside) > 1e-7 * abs(outside - mean):
                p = (inside + outside) / 2
                if s * log(p) + (n - s) * log1p(-p) > level:
                    inside = p
                else:
                    outside = p
            ends[place] = outside
        return ends[0], ends[1]

    def state(self) -> dict[str, Any]:
        """All that `from_state` needs, as plain JSON values."""
        return {
            "alpha": self.alpha, "prior": list(self.prior), "successes": self.successes,
            "trials": self._trials, "ends": list(self._ends),
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Go on where `state` was taken."""
        a, b = state["prior"]
        made = cls(state["alpha"], (a, b))
        made.successes, made._trials = state["successes"], state["trials"]
        made._ends = state["ends"][0], state["ends"][1]
        return made
