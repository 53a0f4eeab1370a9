"""Ranges of activations from histograms: percentile, entropy, and least squares; ``minmax`` takes all.

A histogram has bins of one width between -t and t, where t is the largest magnitude, as onnxruntime's calibrators have
it, so that 0 is an edge. Ranges never leave what was seen.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.quantizers.integers import IntegerFormat, parameters
from potluck.isa.errors import DataError

F64 = NDArray[np.float64]
BINS = 8192
"""A step of 256 over half of them still holds 16 bins."""
ENTROPY_BINS, ENTROPY_LEVELS = 2048, 256
SMOOTHING = 1e-4
"""What an empty bin is given before distributions are compared."""
SHRINK = np.linspace(1.0, 0.2, 41)
"""Parts of the range that ``mse`` tries."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often values occur.

    Attributes:
        counts: [bins].
        edges: [bins + 1], from -t to t.
        low: Least value seen.
        high: Largest value seen.
    """

    counts: F64
    edges: F64
    low: float
    high: float

    @property
    def centers(self) -> F64:
        """Of the bins."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    def coarse(self, bins: int) -> Histogram:
        """Neighbouring bins merged, to at most ``bins`` of them (by a whole factor)."""
        factor = max(1, -(-len(self.counts) // bins))
        while len(self.counts) % factor:
            factor += 1
        counts = self.counts.reshape(-1, factor).sum(axis=1)
        return Histogram(counts, self.edges[::factor], self.low, self.high)

    def clipped(self, low: float, high: float) -> tuple[float, float]:
        """A range without what was never seen."""
        return max(low, self.low), min(high, self.high)


def histogram(values: NDArray[np.floating], low: float, high: float, bins: int = BINS) -> Histogram:
    """Counts of finite values whose least and largest are known."""
    top = max(abs(low), abs(high)) or 1.0
    counts, edges = np.histogram(values, bins, range=(-top, top))
    return Histogram(counts.astype(np.float64), edges.astype(np.float64), low, high)


def merged(one: Histogram, other: Histogram) -> Histogram:
    """Sum of two histograms of the same edges."""
    return Histogram(one.counts + other.counts, one.edges, one.low, one.high)


def percentile(data: Histogram, percent: float) -> tuple[float, float]:
    """The range without (100 - percent) / 2 % of the values at either end, to a bin's edge."""
    cut = (100.0 - percent) / 200.0
    share = np.cumsum(data.counts / data.counts.sum())
    right = min(int(np.searchsorted(share, 1.0 - cut)), len(share) - 1)
    left = min(int(np.searchsorted(share, cut)), len(share) - 1)
    return data.clipped(float(data.edges[left]), float(data.edges[right]))


def entropy(data: Histogram, levels: int = ENTROPY_LEVELS) -> tuple[float, float]:
    """The symmetric range whose quantized distribution tells most of the clipped one (TensorRT's calibration).

    Of all ranges of at least ``levels`` bins around 0, that with the least Kullback-Leibler divergence from the values,
    clipped to it, to what ``levels`` equal steps make of them.
    """
    counts, bins = data.counts, len(data.counts)
    middle, best = bins // 2, (np.inf, float(data.edges[0]), float(data.edges[-1]))
    total = np.concatenate([[0.0], np.cumsum(counts)])
    for half in range(levels // 2, middle + 1):
        start, end = middle - half, min(middle + half + 1, bins)
        inside = counts[start:end]
        reference = inside.copy()
        reference[0] += total[start]
        reference[-1] += total[-1] - total[end]
        divergence = _divergence(reference, _requantized(inside, reference != 0, levels))
        if divergence < best[0]:
            best = (divergence, float(data.edges[start]), float(data.edges[end]))
    return data.clipped(best[1], best[2])


def _requantized(inside: F64, used: NDArray[np.bool_], levels: int) -> F64:
    """Counts in equal groups, each spread evenly over the bins that are used; the last group takes the rest."""
    width = len(inside) // levels
    starts = np.arange(levels) * width
    sums = np.add.reduceat(inside, starts)
    nonempty = np.add.reduceat(used.astype(np.float64), starts)
    nonempty[-1] = used[starts[-1] : starts[-1] + width].sum()
    each = np.where(nonempty > 0, sums / np.maximum(nonempty, 1), 0.0)
    spread = np.zeros(len(inside))
    spread[: levels * width] = np.repeat(each, width)
    return spread


def _divergence(one: F64, other: F64) -> float:
    """Sum of p log(p / q) of two smoothed distributions; infinite where smoothing would take more than there is."""
    smoothed = []
    for counts in (one, other):
        empty = counts == 0
        used = len(counts) - int(empty.sum())
        if not used:
            return np.inf
        taken = SMOOTHING * int(empty.sum()) / used
        if taken >= 1.0:
            return np.inf
        smoothed.append(np.where(empty, SMOOTHING, counts - taken))
    p, q = (item / item.sum() for item in smoothed)
    if (q <= 0).any() or (p <= 0).any():
        return np.inf
    return float((p * np.log(p / q)).sum())


def least_squares(data: Histogram, kind: IntegerFormat | None = None) -> tuple[float, float]:
    """The range, both ends shrunk on their own, whose quantization has the least mean square error.

    Args:
        data: Values.
        kind: What quantizes them; by default INT8 with a zero point.
    """
    kind = kind or IntegerFormat(8, symmetric=False)
    used = data.counts > 0
    centers, weights = data.centers[used], data.counts[used]
    best = (np.inf, data.low, data.high)
    for low in data.low * SHRINK if data.low < 0 else [data.low]:
        for high in data.high * SHRINK if data.high > 0 else [data.high]:
            scale, zero = (float(item) for item in parameters(low, high, kind))
            codes = np.clip(np.rint(centers / scale) + zero, kind.lowest, kind.highest)
            error = float((weights * (centers - (codes - zero) * scale) ** 2).sum())
            if error < best[0]:
                best = (error, float(low), float(high))
    return best[1], best[2]


METHODS: dict[str, float | None] = {"minmax": None, "percentile": 99.99, "entropy": None, "mse": None}
"""Name -> the number that may follow it, and what it is otherwise."""


def method(text: str) -> Callable[[Histogram], tuple[float, float]] | None:
    """The rule of ``minmax`` (None: it needs no histogram), ``percentile``, ``percentile=99.9``, ``entropy``, ``mse``.

    Raises:
        DataError: No such method, or a number that it does not take.
    """
    name, equals, value = text.partition("=")
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise DataError(
            f"no calibration method is called {text!r}", hint=f"{hint}Use one of {', '.join(METHODS)}"
        )
    if equals and METHODS[name] is None:
        raise DataError(f"calibration method {name!r} takes no number", hint=f"Write {name}")
    if name == "percentile":
        try:
            percent = float(value) if equals else float(METHODS[name] or 0)
        except ValueError:
            percent = -1.0
        if not 0 < percent <= 100:
            raise DataError(f"{text!r} is no percentile", hint="Write percentile=99.9, for instance")
        return lambda data: percentile(data, percent)
    if name == "entropy":
        return lambda data: entropy(data.coarse(ENTROPY_BINS))
    return least_squares if name == "mse" else None
