"""What a campaign found: shares and means with intervals, by cell, tensor, bit field and fault mode; FIT rates.

Every interval is a confidence sequence's: it holds whenever somebody looks, and at the trial that the rule stopped at.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import exp, expm1
from typing import Any

import numpy as np

from potluck.campaign.outcomes import CRITERIA, TrialOutcome
from potluck.campaign.plan import Progress, group_of
from potluck.campaign.record import Record
from potluck.campaign.spec import Spec
from potluck.campaign.statistics import Binary, Bounded, Curve, Interval, Pooled, Stratified, holm, mcnemar
from potluck.campaign.store import Store
from potluck.parallel.folder import Seen

RATES = (TrialOutcome.SDC.value, TrialOutcome.DUE.value)
"""Outcomes that have rates: FIT, and shares along a curve of bit error rates."""
OUTCOMES = tuple(outcome.value for outcome in TrialOutcome)
Json = dict[str, Any]


@dataclass
class Tally:
    """Trials by outcome.

    Attributes:
        trials: in all.
        outcomes: of them, by outcome.
    """

    trials: int = 0
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))

    def add(self, outcome: str) -> None:
        """Count a trial."""
        self.trials += 1
        self.outcomes[outcome] += 1

    def to_json(self, alpha: float) -> Json:
        """Counts, and each outcome's share with its interval."""
        shares = {
            name: Binary(alpha).update(count, self.trials).to_json() for name, count in self.outcomes.items()
        }
        return {"trials": self.trials, "outcomes": dict(self.outcomes), "shares": shares}


FLUSH = 4096
"""Values that wait until they are added to their sequences together."""


class Mean:
    """A bounded metric's confidence sequence, from values one by one.

    Args:
        alpha, low, high: see `Bounded`.
    """

    def __init__(self, alpha: float, low: float = 0.0, high: float = 1.0) -> None:
        self._sequence, self._waiting = Bounded(alpha, low, high), array("d")

    def add(self, value: float) -> None:
        """Of a trial."""
        self._waiting.append(value)
        if len(self._waiting) == FLUSH:
            self._flush()

    def _flush(self) -> None:
        self._sequence.add(np.array(self._waiting))
        self._waiting = array("d")

    @property
    def interval(self) -> Interval:
        """At this moment."""
        self._flush()
        return self._sequence.interval

    @property
    def trials(self) -> int:
        """Values so far."""
        return self._sequence.trials + len(self._waiting)


class CellSummary:
    """What the trials of a cell say: counts and sequences, which do not grow with the trials (but for a bit of each).

    Args:
        spec: of the campaign.
        facts: of the cell.
        batches: trials in each batch of cells that are allocated together.
    """

    def __init__(self, spec: Spec, facts: Mapping[str, Any], batches: Sequence[int] = ()) -> None:
        self._spec, self.facts = spec, facts
        self.alpha = 1 - spec.stop.confidence
        self.tally, self.struck = Tally(), Tally()
        self.tensors: dict[str, Tally] = defaultdict(Tally)
        self.fields: dict[str, Tally] = defaultdict(Tally)
        self.sectors: dict[str, int] = defaultdict(int)
        clip = spec.metrics.nll_clip
        self._hits = {name: Mean(self.alpha) for name in CRITERIA}
        self._accuracy, self._nll = Mean(self.alpha), Mean(self.alpha, -clip, clip)
        self._bits = [0, 0, 0]
        self.clipped = self.changed = 0
        self.silent = Seen()
        self.sizes, self._ends = tuple(batches), list(accumulate(batches))
        self.batches = {name: array("q", bytes(8 * len(batches))) for name in RATES}
        self._watched_in = array("q")  # trials with the outcome that is watched, look by look
        self._curves: dict[str, Curve] = {}
        if "curve" in facts:
            self._curves = {name: Curve(facts["stored_bits"], facts["curve"], self.alpha) for name in RATES}
        self._struck_counts = array("q")
        self._struck_outcomes: dict[str, array[float]] = {name: array("d") for name in RATES}

    def add(self, record: Record) -> None:
        """Take a trial in."""
        outcome, number = record["outcome"], record["number"]
        self.tally.add(outcome)
        self._place(number, outcome)
        if self._curves:
            self._add_to_curves(record["faults"], outcome)
        if outcome == TrialOutcome.SDC.value:
            self.silent.add(number)
        if record["faults"]:
            self.struck.add(outcome)
        for tallies, names in ((self.tensors, record["tensors"]), (self.fields, record["fields"])):
            for name in names:
                tallies[name].add(outcome)
        for name, count in record["sectors"].items():
            self.sectors[name] += count
        self.changed += record["changed"]
        for k, name in enumerate(("faults", "raw", "after_on_die")):
            self._bits[k] += record[name]
        if record["stopped"]:
            return
        for name, mean in self._hits.items():
            mean.add(record[name] / self.facts["inputs"])
        if record["accuracy"] is not None:
            self._accuracy.add(record["accuracy"])
        if record["delta_nll"] is not None:
            self._nll.add(record["delta_nll"])
        self.clipped += record["clipped"]

    def _place(self, number: int, outcome: str) -> None:
        """Count a trial in its look, and in its batch."""
        if outcome == self._spec.stop.watch:
            look = number // self._spec.stop.every
            self._watched_in.extend([0] * (look + 1 - len(self._watched_in)))
            self._watched_in[look] += 1
        if outcome in self.batches and self._ends and number < self._ends[-1]:
            self.batches[outcome][bisect_right(self._ends, number)] += 1

    def _add_to_curves(self, faults: int, outcome: str) -> None:
        self._struck_counts.append(faults)
        for name, values in self._struck_outcomes.items():
            values.append(float(outcome == name))
        if len(self._struck_counts) == FLUSH:
            self._flush_curves()

    def _flush_curves(self) -> None:
        for name, curve in self._curves.items():
            curve.update(np.array(self._struck_counts), np.array(self._struck_outcomes[name]))
            del self._struck_outcomes[name][:]
        del self._struck_counts[:]

    def _watched(self) -> Interval:
        """The share that was looked at, as it was seen: what an earlier look excluded stays so."""
        stop, trials = self._spec.stop, self.tally.trials
        sequence = Binary(self.alpha)
        if not stop.looks or (stop.allocation == "neyman" and "fit" in self.facts):
            return sequence.update(self.tally.outcomes[stop.watch], trials)
        for look, first in enumerate(range(0, trials, stop.every)):
            found = self._watched_in[look] if look < len(self._watched_in) else 0
            sequence.update(found, min(stop.every, trials - first))
        return sequence.interval

    def _curve(self) -> list[Json]:
        """SDC and DUE at each bit error rate, over all trials, with and without faults."""
        rows: list[Json] = [{"ber": rate} for rate in self.facts["curve"]]
        self._flush_curves()
        for name, curve in self._curves.items():
            for row, interval in zip(rows, curve.intervals, strict=True):
                row[name] = interval.to_json()
        return rows

    def to_json(self) -> Json:
        """All of it as plain JSON values."""
        facts, alpha = self.facts, self.alpha
        keys = (
            "cell",
            "scheme",
            "faults",
            "kind",
            "stack",
            "check_bits",
            "raw_ber",
            "golden_accuracy",
            "notes",
        )
        found: Json = {key: facts[key] for key in keys} | self.tally.to_json(alpha)
        found["shares"][self._spec.stop.watch] = self._watched().to_json()
        runs = max(1, self.tally.trials)
        found |= {
            "changed_trials": self.changed,
            "avf": Binary(alpha)
            .update(self.struck.outcomes[TrialOutcome.SDC.value], self.struck.trials)
            .to_json(),
            "struck_bits": self._bits[0],
            "observed_raw_ber": self._bits[1] / (runs * facts["bits"][0]),
            "observed_ber_after_on_die": self._bits[2] / (runs * facts["bits"][1]),
            "inputs": {name: mean.interval.to_json() for name, mean in self._hits.items()},
            "sectors": dict(sorted(self.sectors.items())),
            "by_tensor": {name: one.to_json(alpha) for name, one in sorted(self.tensors.items())},
            "by_field": {name: one.to_json(alpha) for name, one in sorted(self.fields.items())},
        }
        if self._accuracy.trials:
            golden = facts["golden_accuracy"]
            accuracy = self._accuracy.interval
            top = 1.0 if golden is None else golden  # without labels, agreement with the fault-free answers
            found["accuracy"] = accuracy.to_json()
            found["accuracy_drop"] = Interval(
                top - accuracy.high, top - accuracy.low, top - accuracy.estimate
            ).to_json()
            nll = self._nll.interval
            ratio = Interval(exp(nll.low), exp(nll.high), exp(nll.estimate))
            found |= {
                "delta_nll": nll.to_json(),
                "perplexity_ratio": ratio.to_json(),
                "clipped_inputs": self.clipped,
            }
        for key in ("mode", "permanent", "fit", "exposure", "probability"):
            if key in facts:
                found[key] = facts[key]
        if "curve" in facts:
            found["curve"] = self._curve()
        if facts.get("probability", 1.0) < 1:
            shares = found["shares"]
            found["unconditional"] = {
                name: {end: facts["probability"] * shares[name][end] for end in ("low", "high", "estimate")}
                for name in (TrialOutcome.SDC.value, TrialOutcome.DUE.value)
            }
        return found


def fit_rates(cells: Iterable[CellSummary], spec: Spec) -> list[Json]:
    """FIT_SDC and FIT_DUE of each scheme under each stack, over the modes of a table of rates.

    FIT_outcome is the sum over modes of FIT per device x devices x P(touches the network) x exposure x
    P(outcome | mode, touching). Exposure is the residency of transient faults, and 1 of permanent
    ones, which stay for the rest of the mission; over the mission at least one such fault comes with probability
    ``1 - exp(-FIT hours 1e-9)``.
    """
    groups: dict[tuple[Any, ...], list[CellSummary]] = defaultdict(list)
    for cell in cells:
        if "fit" in cell.facts:
            groups[group_of(cell.facts)].append(cell)
    found = []
    for (scheme, entry, stack), members in groups.items():
        weights = {one.facts["faults"]: one.facts["fit"] * one.facts["exposure"] for one in members}
        hours = members[0].facts["hours"]
        row: Json = {
            "scheme": scheme, "stack": stack, "check_bits": members[0].facts["check_bits"], "rates": entry,
            "hours": hours, "fit_touching": sum(one.facts["fit"] for one in members),
        }  # fmt: skip
        for outcome in (TrialOutcome.SDC, TrialOutcome.DUE):
            rate = _rate(members, weights, outcome.value, spec)
            row[f"fit_{outcome.value}"] = rate.to_json()
            row[f"mission_{outcome.value}"] = {
                end: -expm1(-getattr(rate, end) * hours * 1e-9) for end in ("low", "high", "estimate")
            }
        found.append(row)
    return found


def _rate(members: Sequence[CellSummary], weights: Mapping[str, float], outcome: str, spec: Spec) -> Interval:
    """The weighted sum of the modes' shares of an outcome, by how they were allocated."""
    alpha = 1 - spec.stop.confidence
    if spec.stop.allocation == "neyman":
        pooled = Pooled(weights, alpha)
        split = {
            one.facts["faults"]: list(zip(one.batches[outcome], one.sizes, strict=True)) for one in members
        }
        for batch in zip(*split.values(), strict=True):
            pooled.update_binary(dict(zip(split, batch, strict=True)))
        return pooled.interval
    strata = Stratified(weights, alpha)
    for one in members:
        if one.tally.trials:
            strata.update_binary(one.facts["faults"], one.tally.outcomes[outcome], one.tally.trials)
    return strata.interval


def comparisons(cells: Sequence[CellSummary]) -> list[Json]:
    """Each stack beside the first one of its scheme and faults, on the trials that both ran."""
    first: dict[tuple[str, str], CellSummary] = {}
    rows = []
    for cell in cells:
        facts = cell.facts
        other = first.setdefault((facts["scheme"], facts["faults"]), cell)
        if other is cell:
            continue
        pairs = min(cell.tally.trials, other.tally.trials)
        here, there = cell.silent.below(pairs), other.silent.below(pairs)
        only_here, only_there = (here & ~there).bit_count(), (there & ~here).bit_count()
        rows.append({
            "scheme": facts["scheme"], "faults": facts["faults"], "stack": facts["stack"],
            "against": other.facts["stack"], "pairs": pairs, "only_stack": only_here,
            "only_against": only_there, "p": mcnemar(only_here, only_there),
        })  # fmt: skip
    adjusted = holm([row["p"] for row in rows])
    return [row | {"p_holm": value} for row, value in zip(rows, adjusted, strict=True)]


def summarize(store: Store) -> Json:
    """A campaign's results so far as plain JSON values.

    Raises:
        CampaignError: there is none, or it is damaged.
    """
    held, spec = store.registration(), store.spec()
    progress = Progress(spec, held["cells"])
    progress.add(store.records(columns=["id", "outcome"]))
    final, due = progress.final, progress.due()
    cells = [CellSummary(spec, facts, progress.batches(facts["cell"])) for facts in held["cells"]]
    seconds = 0.0
    for record in store.records():
        if record["number"] < final[record["cell"]]:
            cells[record["cell"]].add(record)
            seconds += record["seconds"]
    rows = [cell.to_json() | {"stopped_by": why} for cell, why in zip(cells, progress.reasons, strict=True)]
    return {
        "name": spec.name, "hash": spec.hash, "complete": not due, "confidence": spec.stop.confidence,
        "sdc": spec.metrics.sdc, "sdc_inputs": spec.metrics.inputs, "samples": spec.data.samples,
        "trials": sum(final), "trial_seconds": seconds, "versions": held["versions"], "cells": rows,
        "fit": fit_rates(cells, spec), "comparisons": comparisons(cells),
    }  # fmt: skip
