"""How much a quantizer changes a tensor: signal to noise, and SigmaQuant's two signals, sigma and KL divergence.

KL(p_float || p_quant), in nats, with the convention that SigmaQuant (arXiv 2602.22136) leaves open: 2048 bins over
[-max|w|, max|w|] for both. Each level of the quantizer spreads the weights that round to it evenly over those bins of
its interval which hold a float weight (as TensorRT's calibrator does); a bin belongs to the level of its centre. Where
scales differ by channel or block, the interval of a weight's level is that of its own scale. So p_quant says what a
level cannot tell apart; a histogram of dequantized values would measure empty bins instead.

Neither signal sees the other: with scales from the largest weight KL does not change with sigma.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 2048
F64 = NDArray[np.float64]


def sigma(weights: ArrayLike) -> float:
    """Standard deviation of all weights of a layer (population)."""
    return float(np.std(np.asarray(weights, np.float64)))


def sqnr(reference: ArrayLike, other: ArrayLike) -> float:
    """Signal to quantization noise, dB: 10 log10(sum x^2 / sum (x - y)^2); infinite if nothing differs."""
    x, y = np.asarray(reference, np.float64), np.asarray(other, np.float64)
    signal, noise = float((x * x).sum()), float(((x - y) ** 2).sum())
    if noise == 0:
        return np.inf
    return float(10 * np.log10(signal / noise)) if signal > 0 else -np.inf


def divergence(weights: ArrayLike, levels: ArrayLike, scale: ArrayLike, bins: int = BINS) -> float:
    """KL(p_float || p_quant) in nats, see the module.

    Args:
        weights: Float weights, any shape, finite.
        levels: Values of the quantizer's levels in units of the scale.
        scale: Positive, broadcastable to the weights.
        bins: Of the histograms.
    """
    w = np.asarray(weights, np.float64)
    peak = np.abs(w).max(initial=0.0)
    if peak == 0:
        return 0.0
    each = np.broadcast_to(np.asarray(scale, np.float64), w.shape).ravel()
    width = 2 * peak / bins
    own = np.minimum(np.floor((w.ravel() + peak) / width), bins - 1).astype(np.int64)
    grid = np.unique(np.asarray(levels, np.float64))
    edges = np.concatenate([[-np.inf], (grid[1:] + grid[:-1]) / 2, [np.inf]])
    # A bin belongs to the level of its centre, whole.
    level = np.searchsorted(edges, ((own + 0.5) * width - peak) / each, side="right") - 1

    def first_bin(values: F64) -> NDArray[np.int64]:
        """The first bin whose centre is not below a value."""
        where = np.clip(np.ceil((values + peak) / width - 0.5), 0, bins)
        return np.asarray(where, np.int64)

    counts = np.bincount(own, minlength=bins)
    held = np.concatenate([[0], np.cumsum(counts > 0)])
    first = np.minimum(first_bin(edges[level] * each), own)
    last = np.maximum(first_bin(edges[level + 1] * each) - 1, own)
    share = 1.0 / (held[last + 1] - held[first])
    change = np.bincount(first, share, bins + 1) - np.bincount(last + 1, share, bins + 1)
    spread = np.cumsum(change)[:bins]
    used = counts > 0
    p, q = counts[used] / len(own), spread[used] / len(own)
    return float(max(0.0, (p * np.log(p / q)).sum()))
