"""Task metrics with 95 % intervals: Wilson's for shares of samples, the paired bootstrap for differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.quantizers.statistics import sqnr

Z95 = 1.959963984540054
"""97.5 % point of the normal distribution."""
RESAMPLES = 2000
ENOUGH_LABELS = 1000
"""With fewer, agreement with the FP32 network is the metric: accuracies would differ by less than their errors."""


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class Score:
    """What a network does on samples.

    Attributes:
        metric: What `value` is: ``accuracy``, ``agreement`` (same class as FP32) or ``sqnr`` (dB; no classes).
        value: Of the metric.
        count: Samples.
        accuracy: Share of right classes, None without labels.
        difference: Accuracy less that of FP32, paired.
        agreement: Share of samples that get FP32's class; None if the outputs are no classes.
        sqnr: Of the outputs against FP32, dB.
    """

    metric: str
    value: float
    count: int
    accuracy: Estimate | None
    difference: Estimate | None
    agreement: Estimate | None
    sqnr: float


def wilson(successes: float, count: int, z: float = Z95) -> Estimate:
    """A share with Wilson's score interval (Wilson 1927)."""
    share, square = successes / count, z * z
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = z / (1 + square / count) * np.sqrt(share * (1 - share) / count + square / (4 * count * count))
    return Estimate(share, max(0.0, float(centre - half)), min(1.0, float(centre + half)))


def bootstrap(values: NDArray[np.float64], seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """The mean of per-sample values with its percentile bootstrap interval."""
    generator = np.random.Generator(np.random.Philox(seed))
    means = np.empty(resamples)
    step = max(1, (1 << 22) // len(values))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        means[start : start + rows] = values[generator.integers(0, len(values), (rows, len(values)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high))


def _share(right: NDArray[np.bool_]) -> Estimate:
    """Of samples, or of positions, which are alike within a sample and so resampled with it."""
    if right.ndim == 1:
        return wilson(float(right.sum()), len(right))
    return bootstrap(right.reshape(len(right), -1).mean(1))


def score(
    outputs: NDArray[Any], reference: NDArray[Any], labels: NDArray[np.int64] | None, metric: str = "auto"
) -> Score:
    """Compares a network's outputs with FP32's and with labels.

    Args:
        outputs: [n, ..., classes], or any shape without classes.
        reference: FP32's, of the same shape.
        labels: [n, ...], or None.
        metric: ``accuracy``, ``agreement``, ``sqnr``, or ``auto``: accuracy from 1,000 labels on, else agreement.
    """
    classes = outputs.ndim >= 2 and outputs.shape[-1] > 1
    noise = sqnr(reference, outputs)
    accuracy = difference = agreement = None
    if classes:
        own, theirs = outputs.argmax(-1), reference.argmax(-1)
        agreement = _share(own == theirs)
        if labels is not None and labels.shape == own.shape:
            right, reference_right = own == labels, theirs == labels
            accuracy = _share(right)
            change = right.astype(np.float64) - reference_right
            difference = bootstrap(change.reshape(len(change), -1).mean(1))
    chosen = metric
    if metric == "auto":
        enough = accuracy is not None and labels is not None and labels.size >= ENOUGH_LABELS
        chosen = "accuracy" if enough else "agreement" if classes else "sqnr"
    estimate = {"accuracy": accuracy, "agreement": agreement}.get(chosen)
    value = estimate.value if estimate is not None else noise
    return Score(
        chosen if estimate is not None else "sqnr",
        value,
        len(outputs),
        accuracy,
        difference,
        agreement,
        noise,
    )
