"""Wealth of betting against a mean: Cover's universal portfolio on values in [0, 1].

Whoever holds a share b of a fortune on "above m" and 1 - b on "below m" is paid b x / m + (1 - b) (1 - x) / (1 - m) for
a value x: 1 on average if m is the mean of x given the past, whatever b is. This is the betting of Waudby-Smith and
Ramdas (JRSS B 86, 2024) with lambda = (b - m) / (m (1 - m)). A mixture over b under a beta law (Cover and Ordentlich
1996; Orabona and Jun, IEEE Trans. Inf. Theory 70, 2024) is a martingale under m, loses little more than half a
logarithm of the number of values against the best b in hindsight, and depends on the values but not on their order.
Its logarithm is convex in m, as a logarithm of sums of exponentials of convex functions, and not positive at the
observed mean: the means that it has not ruled out are an interval around that one.

Only bets on values above m are made here, b > m: they find the lower bound, and on 1 - x the upper one.
"""

from __future__ import annotations

from math import inf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from potluck.campaign.statistics.special import log_beta

Floats = NDArray[np.float64]
_STEPS = np.concatenate([np.arange(-8.0, -4.0, 0.5), np.arange(-4.0, 4.0, 0.125), np.arange(4.0, 8.1, 0.5)])
"""Nodes of the integral around the best b, in standard deviations of the integrand."""
_DECAY = np.arange(0.0, 8.1, 0.125)
"""Nodes before a best b at the end of the range, in lengths over which the integrand falls by e."""
TOLERANCE = 1e-3
"""Of a bound's distance from the mean; bounds are rounded outwards."""


def _best(excess: Floats, counts: Floats, limit: float) -> tuple[float, float]:
    """b - m in [0, limit] that would have paid most, roughly, and the width of the fortune's peak there.

    Args:
        excess: what a bet of 1 pays beyond what it costs, float64 (d,).
        counts: how often, float64 (d,).
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
        if abs(following - bet) <= 0.05 * width or high - low <= 0.05 * width:
            return following, width
        bet = following


def _mass(nodes: Floats, mean: float, prior: tuple[float, float]) -> Floats:
    """Beta law's mass between neighbouring b = mean + nodes, or a little less.

    Of the density b^(p - 1) (1 - b)^(q - 1) / B(p, q), p and q at most 1, one factor is integrated and the other,
    which falls or rises, is taken where it is least; the better of both ways counts.
    """
    p, q = prior
    share, rest = np.minimum(mean + nodes, 1.0), np.maximum((1 - mean) - nodes, 0.0)
    with np.errstate(divide="ignore"):
        one = share[1:] ** (p - 1) * np.diff(-(rest**q)) / q
        other = rest[:-1] ** (q - 1) * np.diff(share**p) / p
        return np.log(np.maximum(one, other)) - log_beta(p, q)


def log_wealth(values: Floats, counts: Floats, mean: float, prior: tuple[float, float]) -> float:
    """Logarithm of the fortune, or a little less, that the bets above `mean` make of 1.

    The integral over b is bounded from below: on each piece the integrand, which is logarithmically concave, is at
    least the smaller of its values at both ends. So the choice of nodes decides what is lost, not whether it is right.

    Args:
        values: in [0, 1], float64 (d,).
        counts: how often each came, float64 (d,), not 0.
        mean: the hypothesis m, between 0 and 1.
        prior: parameters of the beta law of b, at most 1.
    """
    limit = 1 - mean
    excess = (values - mean) / (mean * limit)
    centre, width = _best(excess, counts, limit)
    near = centre + width * _STEPS
    slope = float(counts @ (excess / np.maximum(1 + limit * excess, 1e-300)))
    if slope > 0:
        near = np.sort(np.concatenate([near, limit - _DECAY / slope]))
    nodes = np.concatenate([[0.0], near[(near > 0) & (near < limit)], [limit]])
    with np.errstate(divide="ignore"):  # ruin: minus infinity
        total = counts @ np.log(np.maximum(1 + excess[:, None] * nodes, 0.0))
    pieces = _mass(nodes, mean, prior) + np.minimum(total[1:], total[:-1])
    top = float(pieces.max())
    return top + log(float(np.exp(pieces - top).sum())) if top > -inf else -inf


def lower_bound(values: Floats, counts: Floats, threshold: float, prior: tuple[float, float]) -> float:
    """A mean that the fortune has ruled out, just below those that it has not; 0 if there is none.

    Args:
        values: in [0, 1], float64 (d,).
        counts: how often each came, float64 (d,), not 0.
        threshold: logarithm of the fortune that rules a mean out.
        prior: parameters of the beta law of b, at most 1.
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
        if observed - distance < 1e-300:
            return 0.0
        over = log_wealth(values, counts, observed - distance, prior) - threshold
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
        over = log_wealth(values, counts, observed - middle, prior) - threshold
        if over >= 0:
            outside, at_outside = middle, over
            at_inside, last = (at_inside / 2 if last > 0 else at_inside), 1
        else:
            inside, at_inside = middle, over
            at_outside, last = (at_outside / 2 if last < 0 else at_outside), -1
    return observed - outside
