"""Trials of faults under a stack: what the decoders did, and what it did to the network's answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.campaign.statistics import bootstrap, clopper_pearson
from potluck.inject.target import Target, top_share, wanted_of
from potluck.inject.trial import ROLES, Arm, DramArm, Tally
from potluck.sim.ecc.interface import Status
from potluck.sim.ecc.outcomes import Data, Outcome
from potluck.sim.ecc.stack import Policy
from potluck.sim.faults.faultset import FaultSet
from potluck.sim.faults.models import Model


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: with the seed, all that is needed to replay it.
        faults: bits struck, of the cells that exist.
        raw: wrong bits in cells that the stack uses.
        after_on_die: wrong bits that leave the devices.
        changed: whether any constant is read wrong.
        failed: stopped by policy ``fail``.
        metric: NaN if failed.
    """

    number: int
    faults: int
    raw: int
    after_on_die: int
    changed: bool
    failed: bool
    metric: float


@dataclass(frozen=True, eq=False)
class Report:
    """A campaign's outcome.

    Attributes:
        stack: recipe.
        check_bits: stored per 256 bits of data, of elements.
        model: of the faults.
        seed: of the campaign.
        expected_ber: raw, of the model.
        bits: cells used, and those of them outside the devices' own code.
        counts: int64 (roles, 3 statuses, 3 data states), sectors that faults touched.
        outcomes: int64 (roles, 5).
        golden: the metric without faults.
        trials: each of them.
        notes: what differs from the stack's name, by part.
    """

    stack: str
    check_bits: int
    model: str
    seed: int
    expected_ber: float
    bits: tuple[int, int]
    counts: NDArray[np.int64]
    outcomes: NDArray[np.int64]
    golden: float
    trials: tuple[Trial, ...]
    notes: tuple[str, ...]

    @property
    def metric(self) -> tuple[float, float, float]:
        """Mean over trials that ended, with a 95 % interval over trials."""
        values = [t.metric for t in self.trials if not t.failed]
        if not values:
            return (float("nan"),) * 3
        interval = bootstrap(values, self.seed)
        return interval.estimate, interval.low, interval.high

    @property
    def changed(self) -> tuple[float, float, float]:
        """Share of trials with a wrong constant, with its exact 95 % interval."""
        count = sum(t.changed for t in self.trials)
        interval = clopper_pearson(count, len(self.trials))
        return interval.estimate, interval.low, interval.high

    def observed_ber(self) -> tuple[float, float]:
        """Wrong bits per cell used, raw and after on-die correction."""
        count = len(self.trials)
        return (
            sum(t.raw for t in self.trials) / (count * self.bits[0]),
            sum(t.after_on_die for t in self.trials) / (count * self.bits[1]),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        mean, low, high = self.metric
        raw, after = self.observed_ber()
        return {
            "stack": self.stack, "check_bits_per_256": self.check_bits, "faults": self.model, "seed": self.seed,
            "expected_raw_ber": self.expected_ber, "raw_ber": raw, "post_on_die_ber": after,
            "metric": mean, "metric_95": [low, high], "metric_without_faults": self.golden,
            "changed_trials_95": list(self.changed),
            "failed_trials": sum(t.failed for t in self.trials),
            "outcomes": {role: dict(zip((o.name for o in Outcome), row, strict=True))
                         for role, row in zip(ROLES, self.outcomes.tolist(), strict=True)},
            "status_by_data": {
                role: {s.name: dict(zip((d.name for d in Data), row, strict=True))
                       for s, row in zip(Status, table, strict=True)}
                for role, table in zip(ROLES, self.counts.tolist(), strict=True)
            },
            "notes": list(self.notes), "trials": [vars(t) for t in self.trials],
        }  # fmt: skip


def inject(
    target: Target, stack: str, model: Model, trials: int | Sequence[int], seed: int, policy: Policy = "pass",
    step: Callable[[], object] = lambda: None, keep: dict[int, FaultSet] | None = None,
) -> Report:  # fmt: skip
    """Run a campaign.

    Args:
        target: the network.
        stack: a recipe, see `potluck.sim.faults.recipes`.
        model: of the faults.
        trials: how many, or which.
        seed: of the campaign; (seed, trial) decides a trial's faults, whatever the stack.
        policy: on DUE. A second read of ``retry`` finds the same cells, so it helps against nothing here.
        step: called after each trial.
        keep: filled with the faults of each trial.

    Raises:
        DataError: an impossible stack, see `Protected`.
    """
    return report(DramArm(target, stack, model, seed, policy), trials, step, keep)


def report(
    arm: Arm, trials: int | Sequence[int], step: Callable[[], object] = lambda: None,
    keep: dict[int, FaultSet] | None = None,
) -> Report:  # fmt: skip
    """Observe trials and sum them up; arguments as of `inject`."""
    wanted = wanted_of(arm.golden, arm.labels)
    golden, total, done = top_share(arm.golden, wanted), Tally(), []
    for number in range(trials) if isinstance(trials, int) else trials:
        seen = arm.observe(number)
        total.merge(seen.tally)
        metric = golden if seen.answers is None else top_share(seen.answers.values, wanted)
        metric = float("nan") if seen.stopped else metric
        done.append(
            Trial(number, seen.faults, seen.raw, seen.after_on_die, seen.changed, seen.stopped, metric)
        )
        if keep is not None and not seen.stopped:
            keep[number] = seen.struck
        step()
    return Report(
        arm.stack, arm.check_bits, arm.model.name, arm.seed, arm.expected_ber, arm.bits, total.counts, total.outcomes,
        golden, tuple(done), tuple(arm.notes),
    )  # fmt: skip
