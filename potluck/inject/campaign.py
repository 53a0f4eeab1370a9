"""Trials of faults under a stack: what the decoders did, and what it did to the network's answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.campaign.statistics import bootstrap, clopper_pearson
from potluck.inject.target import Target
from potluck.sim.ecc.interface import Status
from potluck.sim.ecc.outcomes import Data, Outcome
from potluck.sim.ecc.stack import Policy
from potluck.sim.faults.faultset import FaultSet
from potluck.sim.faults.models import Model
from potluck.sim.faults.protected import Protected, Uncorrectable, bit_errors, cells_used
from potluck.sim.faults.recipes import recipe

ROLES = ("elements", "scales", "other")


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
    protected = Protected(target.parts, recipe(stack), target.mapping)
    region = protected.region
    counts = np.zeros((len(ROLES), len(Status), len(Data)), np.int64)
    outcomes = np.zeros((len(ROLES), len(Outcome)), np.int64)
    golden, done = target.metric(target.golden), []
    for number in range(trials) if isinstance(trials, int) else trials:
        faults = model.draw(region, (seed, number))
        errors = bit_errors(protected, faults)
        try:
            reads = protected.read(faults, policy, faults if policy == "retry" else None)
        except Uncorrectable:
            done.append(
                Trial(number, len(faults), errors.raw, errors.after_on_die, False, True, float("nan"))
            )
            step()
            continue
        for read in reads:
            role = ROLES.index(target.parts[read.part].role)
            np.add.at(counts[role], (read.status, read.state), 1)
            np.add.at(outcomes[role], read.outcome, 1)
        changed = any((read.state != Data.EXACT).any() for read in reads)
        metric = target.metric(target.answers(protected.words(reads))) if changed else golden
        done.append(Trial(number, len(faults), errors.raw, errors.after_on_die, changed, False, metric))
        if keep is not None:
            keep[number] = faults
        step()
    applied = zip(target.parts, protected.applied, strict=True)
    notes = sorted({a.note for _, a in applied if a.note})
    lookup = protected.lookup
    if lookup.entries:
        notes.append(
            f"range table: {lookup.entries} entries, {lookup.stored_bits} bits with their own code, "
            f"{lookup.area_um2:.0f} um2 of SRAM at 28 nm"
        )
    first = next((a for p, a in zip(target.parts, protected.applied, strict=True) if p.role == "elements"),
                 protected.applied[0])  # fmt: skip
    return Report(
        stack, first.stack.check_bits, model.name, seed, model.raw_ber(region), cells_used(protected), counts,
        outcomes, golden, tuple(done), tuple(notes),
    )  # fmt: skip
