"""GPTQ: weights rounded one by one, what each loses being made good by those that follow (arXiv 2210.17323).

For a row w of a weight matrix and the Hessian H of its output's square error, column k is rounded to its grid and the
error, divided by U[k, k], is taken from the columns that follow times U[k, :], where U^T U is the inverse of H
(Cholesky). Columns of large diagonal come first (static order: scales were fixed before). The grid is any set of levels
with a scale for every weight: integers, MX elements in their blocks, PoT.

Then each weight is set to its best level given all others, again and again while that helps, so the result is never
worse than what it began with in any row.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.compiler.ptq.weights import nearest

F64 = NDArray[np.float64]
SWEEPS = 8
"""Rounds of improvement after GPTQ."""
TOGETHER = 64
"""Columns whose errors are passed on to all others at once."""


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
    lost = np.empty_like(left)
    for first in range(0, left.shape[1], TOGETHER):
        last = min(first + TOGETHER, left.shape[1])
        for k in range(first, last):
            chosen[:, k] = nearest(left[:, k] / steps[:, k], levels)
            lost[:, k] = (left[:, k] - chosen[:, k] * steps[:, k]) / upper[k, k]
            left[:, k + 1 : last] -= np.outer(lost[:, k], upper[k, k + 1 : last])
        left[:, last:] -= lost[:, first:last] @ upper[first:last, last:]
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
    ratio = np.ascontiguousarray(ratio)
    slope = (ratio * scales - weights) @ hessian  # half the gradient
    if between is None:
        assert levels is not None
        low = high = np.empty((0, 0))
    else:
        levels = np.empty(0)
        low, high = (np.ascontiguousarray(side) for side in between)
    _descend(ratio := ratio.copy(), slope, np.ascontiguousarray(scales), hessian, levels, low, high, sweeps)
    return ratio


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _descend(
    ratio: F64, slope: F64, scales: F64, hessian: F64, levels: F64, low: F64, high: F64, sweeps: int
) -> None:
    """`improved`, in place; rows are independent, and few weights move, so that most cost no row of the Hessian."""
    borders = (levels[1:] + levels[:-1]) / 2
    for row in range(ratio.shape[0]):
        for _ in range(sweeps):
            changed = False
            for k in range(ratio.shape[1]):
                diagonal, scale = hessian[k, k], scales[row, k]
                if not diagonal > 0:
                    continue
                now = ratio[row, k] * scale
                wanted = (now - slope[row, k] / diagonal) / scale
                if len(levels):
                    best = levels[np.searchsorted(borders, wanted, side="right")]
                else:
                    below, above = low[row, k], high[row, k]
                    best = below if wanted - below < above - wanted else above
                move = best * scale - now
                gain = move * (2 * slope[row, k] + move * diagonal)  # of the error; equal levels stay
                if gain < -1e-12 * diagonal * now**2:
                    ratio[row, k] = best
                    for at in range(ratio.shape[1]):
                        slope[row, at] += move * hessian[k, at]
                    changed = True
            if not changed:
                break


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
