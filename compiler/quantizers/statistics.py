"""How much a quantizer changes a tensor: signal to noise, and SigmaQuant's two signals, sigma and KL divergence.

KL(p_float || p_quant), in nats, with the convention that SigmaQuant (arXiv 2602.22136) leaves open: 2048 bins over
[-max|w|, max|w|] for both; each level of the quantizer spreads its weights evenly over those of its bins that hold a
float weight (as TensorRT's calibrator does); a bin belongs to the level of its centre. Where scales differ by channel
or block, w is the weight in units of its own scale, so that a level is one interval. So p_quant says what a level
cannot tell apart; a histogram of dequantized values would measure empty bins instead. Layers of fewer weights than
bins hardly fill two bins of a level, and their divergence is near 0 whatever the level.

Neither signal sees the other: with scales from the largest weight KL does not change with sigma.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

BINS = 2048


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
    w = np.asarray(weights, np.float64) / np.asarray(scale, np.float64)
    peak = np.abs(w).max(initial=0.0)
    if peak == 0:
        return 0.0
    counts, edges = np.histogram(w, bins, (-peak, peak))
    grid = np.unique(np.asarray(levels, np.float64))
    level = np.searchsorted((grid[1:] + grid[:-1]) / 2, (edges[1:] + edges[:-1]) / 2, side="right")
    used = counts > 0
    held, bins_held = np.bincount(level, counts), np.bincount(level, used)
    p, q = counts[used] / w.size, (held[level[used]] / bins_held[level[used]]) / w.size
    return float(max(0.0, (p * np.log(p / q)).sum()))
