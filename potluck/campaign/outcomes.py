"""What became of a trial: one outcome, and how far the answers on its inputs are from the fault-free ones.

SDC-1, SDC-5, SDC-10 % and SDC-20 % are those of Li et al., SC 2017: the top-1 differs; the golden top-1 is not among
the top five; the confidence of the golden top-1 moves by more than a tenth or a fifth of itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from potluck.campaign.spec import Metrics
from potluck.inject.decode import Array
from potluck.inject.target import Answers, End
from potluck.inject.trial import Observation
from potluck.isa.errors import CampaignError

CRITERIA = ("sdc1", "sdc5", "sdc10", "sdc20", "critical", "difference")
Rows = NDArray[np.float64]


class TrialOutcome(StrEnum):
    """One of a trial, the first that applies: a real system meets them in this order.

    DUE: a decoder found what it could not correct. CRASH, HANG: the machine trapped, or did not come to its end, on
    some input. NONFINITE: NaN or infinity among the answers. SDC: the spec's criterion is met. TOLERABLE: answers
    differ, but not so. MASKED: answers are the fault-free ones, to the bit.
    """

    DUE = "due"
    CRASH = "crash"
    HANG = "hang"
    NONFINITE = "non-finite"
    SDC = "sdc"
    TOLERABLE = "tolerable"
    MASKED = "masked"


@dataclass(frozen=True)
class Measures:
    """Of a trial's answers.

    Attributes:
        hits: inputs that meet each of `CRITERIA`.
        nonfinite: inputs with NaN or infinity where the golden answer has none.
        accuracy: share of right classes (without labels: of golden ones), of positions where an input has several.
        delta_nll: mean change of the negative log-likelihood of labels (without: golden classes), in nats, clipped.
        clipped: inputs whose change was clipped.
        alike: whether all answers are the golden ones to the bit.
    """

    hits: dict[str, int]
    nonfinite: int
    accuracy: float
    delta_nll: float
    clipped: int
    alike: bool


@dataclass(frozen=True, eq=False)
class Judge:
    """Compares answers with the golden ones.

    Attributes:
        golden: first output, (n, ..., classes).
        labels: class of each input, or of each position of each; None: the golden class.
        metrics: of the spec.
    """

    golden: Array
    labels: Array | None
    metrics: Metrics

    def __post_init__(self) -> None:
        golden = np.asarray(self.golden)
        if golden.ndim < 2 or golden.shape[-1] < 2:
            if self.metrics.sdc != "difference":
                raise CampaignError(
                    f"needs classes, but the network's first output has the shape {list(golden.shape)}",
                    key="metrics.sdc", hint="Choose sdc = \"difference\"",
                )  # fmt: skip
        elif self.labels is not None and np.asarray(self.labels).size != golden[..., 0].size:
            raise CampaignError(
                f"has {np.asarray(self.labels).size} labels for {golden[..., 0].size} answers",
                key="data.path",
            )

    # What follows from the golden answers is the same for every trial.

    @staticmethod
    def _by_position(answers: Array) -> Rows:
        """Float64 (n, positions, classes)."""
        return np.asarray(answers, np.float64).reshape(len(answers), -1, np.shape(answers)[-1])

    @cached_property
    def _rows(self) -> Rows:
        return self._by_position(self.golden)

    @cached_property
    def _top(self) -> NDArray[np.int64]:
        return np.asarray(self._rows.argmax(-1))

    @cached_property
    def _golden_logs(self) -> Rows:
        return self._logs(self._rows)

    @cached_property
    def _probabilities(self) -> bool:
        if self.metrics.outputs != "auto":
            return self.metrics.outputs == "probabilities"
        sums = np.abs(self._rows.sum(-1) - 1)
        return bool((self._rows >= 0).all() and (sums < 1e-3).all())

    def measures(self, answers: Array) -> Measures:
        """Of answers with the golden ones' shape."""
        golden, given = self._rows, self._by_position(answers)
        bad = ~np.isfinite(given) & np.isfinite(golden)
        spoiled = bad.any(axis=(1, 2))
        alike = np.ascontiguousarray(self.golden).tobytes() == np.ascontiguousarray(answers).tobytes()
        with np.errstate(invalid="ignore", over="ignore"):
            moved = np.abs(given - golden).max(axis=(1, 2), initial=0.0)
            limit = self.metrics.tolerance * np.abs(golden).max(axis=(1, 2), initial=0.0)
        hits = dict.fromkeys(CRITERIA, 0) | {"difference": int((~(moved <= limit)).sum())}
        if golden.shape[-1] < 2:
            return Measures(hits, int(spoiled.sum()), float("nan"), float("nan"), 0, alike)
        top = self._top
        labels = top if self.labels is None else np.asarray(self.labels, np.int64).reshape(top.shape)
        clean = np.where(np.isnan(given), -np.inf, given)
        lost = np.isnan(given).any(-1)  # as top_share has it: NaN among the outputs is a wrong answer
        chosen = np.where(lost, -1, clean.argmax(-1))
        rank = (clean > np.take_along_axis(clean, top[..., None], -1)).sum(-1)
        before, after = self._golden_logs, self._logs(given)
        confidence = np.exp(
            [np.take_along_axis(logs, top[..., None], -1)[..., 0] for logs in (before, after)]
        )
        shift = np.abs(confidence[1] - confidence[0]) / np.maximum(confidence[0], np.finfo(np.float64).tiny)
        met = {
            "sdc1": chosen != top,
            "sdc5": lost | (rank >= 5),
            "sdc10": ~(shift <= 0.1),
            "sdc20": ~(shift <= 0.2),
            "critical": (top == labels) & (chosen != labels),
        }
        hits |= {name: int(which.any(-1).sum()) for name, which in met.items()}
        losses = [
            -np.take_along_axis(logs, labels[..., None], -1)[..., 0].mean(-1) for logs in (before, after)
        ]
        with np.errstate(invalid="ignore"):
            change = losses[1] - losses[0]
        clip = self.metrics.nll_clip
        change = np.where(np.isnan(change), clip, change)
        return Measures(
            hits, int(spoiled.sum()), float((chosen == labels).mean()), float(np.clip(change, -clip, clip).mean()),
            int((np.abs(change) > clip).sum()), alike,
        )  # fmt: skip

    def _logs(self, values: Rows) -> Rows:
        """Logarithms of the classes' probabilities; NaN where a value is NaN."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if self._probabilities:
                return np.asarray(np.log(np.maximum(values, 0.0)))
            finite = np.nan_to_num(values, nan=np.nan, posinf=np.finfo(np.float64).max / 4)
            shifted = finite - finite.max(-1, keepdims=True)
            return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))

    def outcome(self, seen: Observation, found: Measures) -> TrialOutcome:
        """The one outcome of a trial."""
        if seen.stopped or seen.tally.uncorrectable:
            return TrialOutcome.DUE
        ends = seen.answers.ends if seen.answers is not None else np.zeros(0, np.uint8)
        if (ends == End.CRASH).any():
            return TrialOutcome.CRASH
        if (ends == End.HANG).any():
            return TrialOutcome.HANG
        if found.nonfinite:
            return TrialOutcome.NONFINITE
        if found.hits[self.metrics.sdc] >= self.metrics.inputs:
            return TrialOutcome.SDC
        return TrialOutcome.MASKED if found.alike else TrialOutcome.TOLERABLE

    def judge(self, seen: Observation) -> tuple[TrialOutcome, Measures]:
        """Outcome and measures of a trial; those of golden answers if it stopped or nothing changed."""
        answers = seen.answers or Answers(self.golden, np.zeros(len(self.golden), np.uint8))
        found = self.measures(answers.values)
        return self.outcome(seen, found), found
