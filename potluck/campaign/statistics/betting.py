"""Wealth of betting against a mean, all bets held at once, on values in [0, 1].

Whoever bets lambda on values above m is paid 1 + lambda (x - m) for a value x: 1 on average if m is the mean of x given
the past, whatever lambda in [0, 1 / m] is (Waudby-Smith and Ramdas, JRSS B 86, 2024). Instead of choosing lambda from
the past, as they do, a mixture of constant bets is held: half of the fortune above m, half below, over lambda under the
law F(lambda) = lambda / (SCALE + lambda), heavy at both ends, and a part at the greatest bet, for values that never
come. So the fortune depends on the values but not on their order, and what the mixture costs against the best bet
hardly depends on the mean or the number of values: lambda is about the relative deviation of m that the values can
tell. Bets on values above m are paid less the greater m is, so the means that they have ruled out are all below those
that they have not.

Only the half above m is here: it finds the lower bound, and on 1 - x the upper one.
"""

from __future__ import annotations

from math import inf, log, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SCALE = 0.2
"""Median bet. Intervals of +-5 % to +-50 % around shares of any size are narrow with it; see the guide's table."""
GREATEST = 0.2
"""Part of the half that is always bet as high as can be."""
_STEPS = np.concatenate([np.arange(-8.0, -3.0), np.arange(-3.0, 3.0, 0.25), np.arange(3.0, 9.0)])
"""Nodes of the integral around the best bet, in standard deviations of the integrand."""
_DECAY = np.arange(0.0, 8.0, 0.5)
"""Nodes before a best bet at the end of the range, in lengths over which the integrand falls by e."""
_LAW = SCALE * np.geomspace(0.05, 50.0, 16)
"""Nodes where the law of bets has its mass."""
TOLERANCE = 1e-3
"""Of a bound's distance from the mean; bounds are rounded outwards."""


def _best(excess: Floats, counts: Floats, limit: float) -> tuple[float, float]:
    """Bet in [0, limit] that would have paid most, roughly, and the width of the fortune's peak there.

    Args:
        excess: values less the mean, float64 (d,).
        counts: of each, float64 (d,).
        limit: greatest bet.
    """
    low, high, bet, width = 0.0, limit, 0.0, limit
    while True:
        rates = excess / (1 + bet * excess)
        slope, curvature = float(counts @ rates), float(counts @ (rates * rates))
        width = 1 / sqrt(curvature) if curvature > 0 else limit
        low, high = (bet, high) if slope > 0 else (low, bet)
        following = bet + slope * width * width
        if not low < following < high:
            following = (low + high) / 2
        enough = max(
            0.05 * width, 1e-9 * limit
        )  # next to ruin, widths fall below what numbers can tell apart
        if abs(following - bet) <= enough or high - low <= enough:
            return following, width
        bet = following


def log_wealth(values: Floats, counts: Floats, mean: float) -> float:
    """Logarithm of the fortune, or a little less, that the bets above `mean` make of 1/2.

    The integral over bets is bounded from below: on each piece the integrand, which is logarithmically concave, is at
    least the exponential through its values at both ends. The law's density falls: where the exponential falls, too,
    its mean is at least that under even density; where it rises, the density is that of the right end, and what it has
    more counts as if it lay at the left end. So the choice of nodes decides what is lost, not whether it is right.

    Args:
        values: in [0, 1], float64 (d,).
        counts: how often each came, float64 (d,), not 0.
        mean: the hypothesis m, between 0 and 1.
    """
    limit = 1 / mean
    excess = values - mean
    centre, width = _best(excess, counts, limit)
    near = np.concatenate([centre + width * _STEPS, _LAW])
    slope = float(counts @ (excess / np.maximum(1 + limit * excess, 1e-300)))
    if slope > 0:
        near = np.concatenate([near, limit - _DECAY / slope])
    nodes = np.concatenate([[0.0], np.sort(near[(near > 0) & (near < limit)]), [limit]])
    with np.errstate(divide="ignore", invalid="ignore"):  # ruin: minus infinity
        total = counts @ np.log(np.maximum(1 + excess[:, None] * nodes, 0.0))
        left, right = SCALE + nodes[:-1], SCALE + nodes[1:]
        mass = np.log((1 - GREATEST) * SCALE * np.diff(nodes) / (left * right))
        rise = np.diff(total)
        height = np.maximum(np.abs(rise), 1e-9)
        even = -np.expm1(-height) / height
        share = np.where(rise > 0, left / right, 1.0)
        pieces = (
            mass + np.maximum(total[1:], total[:-1]) + np.log(share * even + (1 - share) * np.exp(-height))
        )
    pieces = np.append(np.where(np.isfinite(pieces), pieces, -inf), log(GREATEST) + total[-1])
    top = float(pieces.max())
    return top + log(float(np.exp(pieces - top).sum()) / 2) if top > -inf else -inf


def lower_bound(values: Floats, counts: Floats, threshold: float) -> float:
    """A mean that the fortune has ruled out, just below those that it has not; 0 if there is none.

    Args:
        values: in [0, 1], float64 (d,).
        counts: how often each came, float64 (d,), not 0.
        threshold: logarithm of the fortune that rules a mean out.
    """
    n = float(counts.sum())
    observed = float(counts @ values) / n
    if observed <= 0:
        return 0.0
    variance = float(counts @ (values - observed) ** 2) / n
    needed = threshold + 0.5 * log(n + 1)
    distance = min(sqrt(2 * variance * needed / n) + needed / n / 2, observed / 2)  # a first guess
    inside, outside = 0.0, 0.0
    at_inside, at_outside = -threshold, inf
    while outside == 0:
        if observed - distance < 1e-9 * observed:  # few values: even 0 may not be ruled out
            return 0.0
        over = log_wealth(values, counts, observed - distance) - threshold
        if over >= 0:
            outside, at_outside = distance, over
        else:
            inside, at_inside = distance, over
            distance = min(2 * distance, (distance + observed) / 2)
    last = 0
    while outside - inside > TOLERANCE * outside:  # regula falsi, Illinois variant
        step = TOLERANCE / 2 * outside
        middle = (inside * at_outside - outside * at_inside) / (at_outside - at_inside)
        middle = min(max(middle, inside + step), outside - step)
        over = log_wealth(values, counts, observed - middle) - threshold
        if over >= 0:
            outside, at_outside = middle, over
            at_inside, last = (at_inside / 2 if last > 0 else at_inside), 1
        else:
            inside, at_inside = middle, over
            at_outside, last = (at_outside / 2 if last < 0 else at_outside), -1
    return observed - outside
