"""GPTQ: weights rounded one by one, what each loses being made good by those that follow (arXiv 2210.17323).

For a row w of a weight matrix and the Hessian H of its output's square error, column k is rounded to its grid and the
error, divided by U[k, k], is taken from the columns that follow times U[k, :], where U^T U is the inverse of H
(Cholesky). Columns of large diagonal come first (static order: scales were fixed before). The grid is any set of levels
with a scale for every weight: integers, MX elements in their blocks, PoT.

Then each weight is set to its best level given all others, again and again while that helps, so the result is never
worse than what it began with in any row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.ptq.weights import nearest

F64 = NDArray[np.float64]
SWEEPS = 8
"""Rounds of improvement after GPTQ."""


def gptq(weights: F64, scales: F64, levels: F64, hessian: F64, damping: float = 0.01) -> F64:
    """Levels for one matrix.

    Args:
        weights: [O, K].
        scales: [O, K], of every weight.
        levels: Ascending.
        hessian: [K, K], symmetric, positive semidefinite.
        damping: Added to the diagonal, as part of its mean.

    Returns:
        [O, K], of ``levels``: in each row the better of GPTQ's and the nearest levels, both improved.
    """
    damped = _damped(hessian, damping)
    order = np.argsort(-np.diag(damped), kind="stable")
    upper = _factor(damped[np.ix_(order, order)])
    left = weights[:, order].copy()
    steps, chosen = scales[:, order], np.empty_like(left)
    for k in range(left.shape[1]):
        chosen[:, k] = nearest(left[:, k] / steps[:, k], levels)
        lost = (left[:, k] - chosen[:, k] * steps[:, k]) / upper[k, k]
        left[:, k + 1 :] -= np.outer(lost, upper[k, k + 1 :])
    ratio = np.empty_like(chosen)
    ratio[:, order] = chosen
    plain = nearest(weights / scales, levels)
    one, other = (improved(weights, start, scales, hessian, levels) for start in (ratio, plain))
    better = row_error(weights, one * scales, hessian) <= row_error(weights, other * scales, hessian)
    return np.where(better[:, None], one, other)


def improved(
    weights: F64,
    ratio: F64,
    scales: F64,
    hessian: F64,
    levels: F64 | None = None,
    between: tuple[F64, F64] | None = None,
    sweeps: int = SWEEPS,
) -> F64:
    """Levels after each weight was set to its best level given the others, while that helps.

    Args:
        weights: [O, K].
        ratio: [O, K], levels to begin with.
        scales: [O, K].
        hessian: [K, K].
        levels: Ascending; or
        between: Two [O, K], the levels that each weight may have.
        sweeps: Rounds at most.
    """
    ratio, diagonal = ratio.copy(), np.diag(hessian)
    slope = (ratio * scales - weights) @ hessian  # half the gradient
    for _ in range(sweeps):
        changed = False
        for k in np.flatnonzero(diagonal > 0):
            now = ratio[:, k] * scales[:, k]
            wanted = (now - slope[:, k] / diagonal[k]) / scales[:, k]
            if levels is not None:
                best = nearest(wanted, levels)
            else:
                assert between is not None
                low, high = (side[:, k] for side in between)
                best = np.where(wanted - low < high - wanted, low, high)
            move = best * scales[:, k] - now
            gain = move * (2 * slope[:, k] + move * diagonal[k])  # of the error; equal levels stay
            better = gain < -1e-12 * diagonal[k] * now**2
            if better.any():
                ratio[:, k] = np.where(better, best, ratio[:, k])
                slope += np.outer(np.where(better, move, 0.0), hessian[k])
                changed = True
        if not changed:
            break
    return ratio


def row_error(weights: F64, values: F64, hessian: F64) -> F64:
    """Mean square error [O] of the outputs."""
    difference = values - weights
    return np.asarray(np.einsum("ok,kl,ol->o", difference, hessian, difference, optimize=True))


def _damped(hessian: F64, damping: float) -> F64:
    mean = float(np.diag(hessian).mean()) or 1.0
    return hessian + np.eye(len(hessian)) * (damping * mean)


def _factor(damped: F64) -> F64:
    """Upper U with U^T U the inverse."""
    return np.linalg.cholesky(np.linalg.inv(damped)).T
