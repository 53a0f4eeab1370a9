"""Task metrics: what a network's outputs are worth, in percent or in the metric's own unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.evaluation.metrics import wilson
from potluck.evaluation.samples import Samples


@dataclass(frozen=True)
class Measure:
    """A task metric on samples, with its 95 % interval.

    Attributes:
        name: What it is, e.g. ``top-1 %``.
        value: NaN where no sample has a label.
        low: Of the interval; NaN if none is known.
        high: The same.
        count: Samples with labels.
    """

    name: str
    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "-"
        known = not np.isnan(self.low)
        return f"{self.value:.2f}" + (f" [{self.low:.1f}, {self.high:.1f}]" if known else "")


def share(name: str, right: NDArray[np.bool_]) -> Measure:
    """The percentage of right samples with Wilson's interval."""
    if not right.size:
        return Measure(name, float("nan"), float("nan"), float("nan"), 0)
    found = wilson(float(right.sum()), len(right))
    return Measure(name, 100 * found.value, 100 * found.low, 100 * found.high, len(right))


def top1(outputs: NDArray[Any], samples: Samples) -> Measure:
    """Percentage of samples whose largest output is the right class; those with a negative label do not count.

    Args:
        outputs: [n, classes].
        samples: With labels [n].
    """
    assert samples.labels is not None
    known = samples.labels >= 0
    return share("top-1 %", outputs[known].argmax(1) == samples.labels[known])
