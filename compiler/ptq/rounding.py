"""Learned rounding (AdaRound, arXiv 2004.10568): for each weight, up or down, by descent on the layer's output error.

A weight is low + h (high - low) between its two levels, h a stretched sigmoid of a variable that Adam learns. What is
minimized is the square error of the outputs, which needs only the Hessian, and a term that drives h to 0 or 1, stronger
and sharper with time. At the end each weight takes the better of its two levels given the others, while that helps;
rows that end worse than the nearest levels keep those.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.ptq.gptq import improved, row_error
from potluck.compiler.ptq.weights import nearest, neighbours

F64 = NDArray[np.float64]
LOW, HIGH = -0.1, 1.1
"""Ends of the stretched sigmoid."""
RATE, WARM, WEIGHT = 0.02, 0.2, 0.01
"""Adam's step; part of the iterations without the term that decides; its weight, in mean output errors of rounding."""
SHARP = (20.0, 2.0)
"""Exponent of that term, from the first to the last iteration."""


def learned(weights: F64, scales: F64, levels: F64, hessian: F64, iterations: int = 1000) -> F64:
    """Levels for one matrix.

    Args:
        weights: [O, K].
        scales: [O, K].
        levels: Ascending.
        hessian: [K, K].
        iterations: Of Adam.

    Returns:
        [O, K], each the level below or above its weight.
    """
    ratio, plain = weights / scales, nearest(weights / scales, levels)
    low, high = neighbours(ratio, levels)
    step = high - low
    free = step > 0
    part = np.where(free, (ratio - low) / np.where(free, step, 1), 0.0)
    variable = -np.log((HIGH - LOW) / np.clip(part - LOW, 1e-6, HIGH - LOW - 1e-6) - 1)
    unit = row_error(weights, plain * scales, hessian)[:, None]
    unit = np.where(unit > 0, unit, 1.0)
    # Descent needs no more than single precision; what it finds is judged in double.
    bottom, width, slope = (
        np.asarray(item, np.float32) for item in (low * scales - weights, step * scales, 2 * hessian)
    )
    unit, variable = unit.astype(np.float32), variable.astype(np.float32)
    first, second = np.zeros_like(variable), np.zeros_like(variable)
    for at in range(1, iterations + 1):
        sigmoid = 1 / (1 + np.exp(-variable))
        raw = sigmoid * (HIGH - LOW) + LOW
        h = np.clip(raw, 0, 1)
        gradient = (bottom + h * width) @ slope / unit * width
        progress = at / iterations
        if progress > WARM:
            beta = SHARP[1] + (SHARP[0] - SHARP[1]) * (1 - (progress - WARM) / (1 - WARM))
            centred = np.abs(2 * h - 1)
            gradient -= WEIGHT * 2 * beta * np.sign(2 * h - 1) * centred ** (beta - 1)
        gradient *= ((raw > 0) & (raw < 1)) * sigmoid * (1 - sigmoid) * (HIGH - LOW)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        variable -= RATE * (first / (1 - 0.9**at)) / (np.sqrt(second / (1 - 0.999**at)) + 1e-12)
    chosen = np.where(np.clip(1 / (1 + np.exp(-variable)) * (HIGH - LOW) + LOW, 0, 1) >= 0.5, high, low)
    chosen = improved(weights, chosen, scales, hessian, between=(low, high))
    better = row_error(weights, chosen * scales, hessian) <= row_error(weights, plain * scales, hessian)
    return np.where(better[:, None], chosen, plain)
