"""Rounding against exhaustive search, and never worse than the nearest level, on every kind of grid."""

import itertools

import numpy as np
import pytest

from potluck.compiler.ptq.gptq import gptq, improved, row_error
from potluck.compiler.ptq.rounding import learned
from potluck.compiler.ptq.weights import nearest, neighbours
from potluck.isa.formats.elements import E2M1, E4M3
from potluck.isa.pot.codes import POT_FORMATS

GRIDS = {
    "int2": np.arange(-1.0, 3.0),
    "int4": np.arange(-7.0, 8.0),
    "mxfp4": np.unique(E2M1.decode(np.arange(16)).astype(float)),
    "mxfp8": np.unique([v for v in E4M3.decode(np.arange(256)).astype(float) if np.isfinite(v)]),
    "pot_apot": np.unique(POT_FORMATS["pot_apot"].table).astype(float),
    "pot_qkeras": np.unique(POT_FORMATS["pot_qkeras"].table).astype(float),
}


def problem(seed, rows, size, correlated=True):
    """Weights and a Hessian of inputs that are correlated as images are."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((size, 8 * size))
    if correlated:
        x = np.cumsum(x, axis=0) + 0.5
    return rng.standard_normal((rows, size)), x @ x.T / x.shape[1]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_tiny_problems_against_exhaustive_search(size):
    levels, optimal, plain = GRIDS["int2"], 0, 0
    for seed in range(40):
        weights, hessian = problem(seed, 1, size)
        scales = np.full((1, size), 0.6)
        combinations = np.array(list(itertools.product(levels, repeat=size)))
        least = row_error(np.repeat(weights, len(combinations), 0), combinations * 0.6, hessian).min()
        found = float(row_error(weights, gptq(weights, scales, levels, hessian) * 0.6, hessian)[0])
        rounded = float(row_error(weights, nearest(weights / 0.6, levels) * 0.6, hessian)[0])
        assert least <= found * (1 + 1e-9) + 1e-12 and found <= rounded * (1 + 1e-12)
        optimal += found <= least * (1 + 1e-9) + 1e-12
        plain += rounded <= least * (1 + 1e-9) + 1e-12
    assert optimal >= (40 if size == 1 else 34)  # descent from two starts, not a search
    assert size == 1 or plain < optimal


@pytest.mark.parametrize("grid", GRIDS)
def test_independent_inputs_leave_nothing_to_gain(grid):
    """With a diagonal Hessian the nearest level is the best."""
    levels, (weights, _) = GRIDS[grid], problem(3, 6, 10)
    scales = np.full_like(weights, 2.5 / levels[-1])
    ratio = gptq(weights, scales, levels, np.diag(np.arange(1.0, 11.0)))
    expected = nearest(weights / scales, levels)
    assert np.allclose(np.abs(ratio * scales - weights), np.abs(expected * scales - weights))


@pytest.mark.parametrize("method", ["gptq", "round"])
@pytest.mark.parametrize("grid", GRIDS)
def test_no_row_gets_worse_and_all_together_much_better(grid, method):
    levels, (weights, hessian) = GRIDS[grid], problem(1, 12, 40)
    scales = np.abs(weights).max(axis=1, keepdims=True) / levels[-1] * np.ones((1, 40))
    plain = row_error(weights, nearest(weights / scales, levels) * scales, hessian)
    ratio = (
        gptq(weights, scales, levels, hessian)
        if method == "gptq"
        else learned(weights, scales, levels, hessian, 300)
    )
    found = row_error(weights, ratio * scales, hessian)
    assert np.isin(ratio, levels).all()
    assert np.all(found <= plain * (1 + 1e-9))
    assert found.sum() < 0.6 * plain.sum()


def test_learned_rounding_chooses_between_neighbours():
    levels, (weights, hessian) = GRIDS["int4"], problem(2, 4, 20)
    scales = np.full_like(weights, 0.4)
    ratio = learned(weights, scales, levels, hessian, 200)
    assert np.all(np.abs(ratio - np.clip(weights / scales, -7, 7)) <= 1 + 1e-9)
    low, high = neighbours(np.array([-9.0, -7.0, 0.3, 7.0, 8.0]), levels)
    assert low.tolist() == [-7, -7, 0, 7, 7] and high.tolist() == [-7, -6, 1, 7, 7]


def test_sweeps_end_where_no_single_weight_gains():
    levels, (weights, hessian) = GRIDS["int4"], problem(4, 3, 12)
    scales = np.full_like(weights, 0.4)
    ratio = improved(weights, nearest(weights / scales, levels), scales, hessian, levels, sweeps=1000)
    least = row_error(weights, ratio * scales, hessian)
    for row, k, level in itertools.product(range(3), range(12), levels):
        other = ratio.copy()
        other[row, k] = level
        assert row_error(weights, other * scales, hessian)[row] >= least[row] * (1 - 1e-9)


def test_inputs_that_never_occur_are_rounded_to_the_nearest():
    levels, (weights, hessian) = GRIDS["int4"], problem(5, 3, 12)
    hessian[4], hessian[:, 4] = 0, 0
    scales = np.full_like(weights, 0.4)
    ratio = gptq(weights, scales, levels, hessian)
    assert np.array_equal(ratio[:, 4], nearest(weights / scales, levels)[:, 4])
