"""What a campaign found: shares and means with intervals, by cell, tensor, bit field and fault mode; FIT rates.

Every interval is a confidence sequence's: it holds whenever somebody looks, and at the trial that the rule stopped at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import exp, expm1
from typing import Any

from potluck.campaign.estimates import counts_of
from potluck.campaign.outcomes import CRITERIA, TrialOutcome
from potluck.campaign.plan import Progress, group_of
from potluck.campaign.record import Record
from potluck.campaign.spec import Spec
from potluck.campaign.statistics import Binary, Bounded, Curve, Interval, Pooled, Stratified, holm, mcnemar
from potluck.campaign.store import Store

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


class CellSummary:
    """What the trials of a cell say.

    Args:
        spec: of the campaign.
        facts: of the cell.
    """

    def __init__(self, spec: Spec, facts: Mapping[str, Any]) -> None:
        self._spec, self.facts = spec, facts
        self.alpha = 1 - spec.stop.confidence
        self.tally, self.struck = Tally(), Tally()
        self.tensors: dict[str, Tally] = defaultdict(Tally)
        self.fields: dict[str, Tally] = defaultdict(Tally)
        self.sectors: dict[str, int] = defaultdict(int)
        self._outcomes: list[tuple[int, str, int]] = []
        self._answers: list[tuple[int, list[float], float | None, float | None]] = []
        self._bits = [0, 0, 0]
        self.clipped = self.changed = 0
        self.silent: set[int] = set()

    def add(self, record: Record) -> None:
        """Take a trial in."""
        outcome = record["outcome"]
        self.tally.add(outcome)
        self._outcomes.append((record["number"], outcome, record["faults"]))
        if outcome == TrialOutcome.SDC.value:
            self.silent.add(record["number"])
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
        hits = [record[name] / self.facts["inputs"] for name in CRITERIA]
        self._answers.append((record["number"], hits, record["accuracy"], record["delta_nll"]))
        self.clipped += record["clipped"]

    def parts(self, sizes: Sequence[int]) -> list[list[str]]:
        """Outcomes in the order of trials, in parts of these sizes."""
        ordered = [outcome for _, outcome, _ in sorted(self._outcomes)]
        ends = list(accumulate(sizes, initial=0))
        return [ordered[first:end] for first, end in pairwise(ends)]

    def _watched(self) -> Interval:
        """The share that was looked at, as it was seen: what an earlier look excluded stays so."""
        stop, outcomes = self._spec.stop, [outcome for _, outcome, _ in sorted(self._outcomes)]
        alone = stop.looks and not (stop.allocation == "neyman" and "fit" in self.facts)
        sequence, step = Binary(self.alpha), stop.every if alone else max(1, len(outcomes))
        for first in range(0, len(outcomes), step):
            part = outcomes[first : first + step]
            sequence.update(part.count(stop.watch), len(part))
        return sequence.interval

    def _curve(self) -> list[Json]:
        """SDC and DUE at each bit error rate, over all trials, with and without faults."""
        rows: list[Json] = [{"ber": rate} for rate in self.facts["curve"]]
        ordered = sorted(self._outcomes)
        for name in (TrialOutcome.SDC.value, TrialOutcome.DUE.value):
            curve = Curve(self.facts["stored_bits"], self.facts["curve"], self.alpha)
            curve.update([k for _, _, k in ordered], [float(outcome == name) for _, outcome, _ in ordered])
            for row, interval in zip(rows, curve.intervals, strict=True):
                row[name] = interval.to_json()
        return rows

    def to_json(self) -> Json:
        """All of it as plain JSON values."""
        facts, alpha, clip = self.facts, self.alpha, self._spec.metrics.nll_clip
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
        answers = sorted(self._answers)  # sums round alike in whatever order trials were found
        hits = dict(zip(CRITERIA, zip(*(row for _, row, _, _ in answers), strict=True), strict=False))
        accuracies = [value for _, _, value, _ in answers if value is not None]
        changes = [value for _, _, _, value in answers if value is not None]
        found |= {
            "changed_trials": self.changed,
            "avf": Binary(alpha)
            .update(self.struck.outcomes[TrialOutcome.SDC.value], self.struck.trials)
            .to_json(),
            "struck_bits": self._bits[0],
            "observed_raw_ber": self._bits[1] / (runs * facts["bits"][0]),
            "observed_ber_after_on_die": self._bits[2] / (runs * facts["bits"][1]),
            "inputs": {name: Bounded(alpha).update(values).to_json() for name, values in hits.items()},
            "sectors": dict(sorted(self.sectors.items())),
            "by_tensor": {name: one.to_json(alpha) for name, one in sorted(self.tensors.items())},
            "by_field": {name: one.to_json(alpha) for name, one in sorted(self.fields.items())},
        }
        if accuracies:
            golden = facts["golden_accuracy"]
            accuracy = Bounded(alpha).update(accuracies)
            top = 1.0 if golden is None else golden  # without labels, agreement with the fault-free answers
            found["accuracy"] = accuracy.to_json()
            found["accuracy_drop"] = Interval(
                top - accuracy.high, top - accuracy.low, top - accuracy.estimate
            ).to_json()
            nll = Bounded(alpha, -clip, clip).update(changes)
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


def fit_rates(cells: Iterable[CellSummary], spec: Spec, progress: Progress) -> list[Json]:
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
            rate = _rate(members, weights, outcome.value, spec, progress)
            row[f"fit_{outcome.value}"] = rate.to_json()
            row[f"mission_{outcome.value}"] = {
                end: -expm1(-getattr(rate, end) * hours * 1e-9) for end in ("low", "high", "estimate")
            }
        found.append(row)
    return found


def _rate(
    members: Sequence[CellSummary], weights: Mapping[str, float], outcome: str, spec: Spec, progress: Progress
) -> Interval:
    """The weighted sum of the modes' shares of an outcome, by how they were allocated."""
    alpha = 1 - spec.stop.confidence
    if spec.stop.allocation == "neyman":
        pooled = Pooled(weights, alpha)
        split = {one.facts["faults"]: one.parts(progress.batches(one.facts["cell"])) for one in members}
        for batch in zip(*split.values(), strict=True):
            pooled.update_binary(counts_of(dict(zip(split, batch, strict=True)), outcome))
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
        here, there = ({n for n in one.silent if n < pairs} for one in (cell, other))
        rows.append({
            "scheme": facts["scheme"], "faults": facts["faults"], "stack": facts["stack"],
            "against": other.facts["stack"], "pairs": pairs, "only_stack": len(here - there),
            "only_against": len(there - here), "p": mcnemar(len(here - there), len(there - here)),
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
    cells = [CellSummary(spec, facts) for facts in held["cells"]]
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
        "fit": fit_rates(cells, spec, progress), "comparisons": comparisons(cells),
    }  # fmt: skip
