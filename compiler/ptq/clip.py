"""Scales of weights with the least error of the layer's output: a search around what the scheme chose.

Integer and PoT scales may shrink to two fifths (outliers saturate so that the rest is finer); powers of two, as MX
has them, are halved or doubled. The error of a weight counts by the mean square of the input that it meets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.ptq.weights import QuantizedWeight, nearest

F64 = NDArray[np.float64]
FACTORS = np.concatenate([[1.0], np.linspace(0.98, 0.4, 30), [1.04]])
POWERS = np.array([1.0, 0.5, 2.0])


def search(held: QuantizedWeight, weights: F64, importance: F64) -> F64:
    """Better scales.

    Args:
        held: Quantized weights with the scales to begin with.
        weights: FP32 weights, of the same shape.
        importance: Of every weight's square error, of a shape that broadcasts to it.

    Returns:
        Scales of the stored scales' shape.
    """
    factors = POWERS if held.powers else FACTORS
    best, least = held.scale.copy(), np.full(held.scale.shape, np.inf)
    for factor in factors:
        scale = held.scale * factor
        if held.powers:  # E8M0's ends
            scale = np.clip(scale, 2.0**-127, 2.0**127)
        else:
            scale = scale.astype(np.float32).astype(np.float64)
        spread = held.spread(scale)
        error = held.total(importance * (nearest(weights / spread, held.levels) * spread - weights) ** 2)
        better = error < least
        best, least = np.where(better, scale, best), np.where(better, error, least)
    return best
