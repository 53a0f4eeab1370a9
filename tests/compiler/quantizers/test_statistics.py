"""SigmaQuant's signals: published vectors, and the KL convention done bin by bin."""

import numpy as np
import pytest
from scipy.stats import entropy

from potluck.compiler.quantizers.statistics import BINS, divergence, sigma, sqnr

RNG = np.random.default_rng(7)


def integer_levels(bits):
    top = 2 ** (bits - 1) - 1
    return np.arange(-top, top + 1)


@pytest.mark.parametrize(
    ("draw", "expected"),
    [("standard_normal", (0.2179, 0.0220, 0.0046, 0.0032)), ("laplace", (0.7846, 0.0662, 0.0076, 0.0027))],
)
def test_vectors_of_the_stated_convention(draw, expected):
    generator = np.random.default_rng(0)
    normal = generator.standard_normal(200_000)
    w = normal if draw == "standard_normal" else generator.laplace(size=200_000)
    found = [
        divergence(w, integer_levels(b), np.abs(w).max() / integer_levels(b).max()) for b in (2, 4, 6, 8)
    ]
    assert found == pytest.approx(expected, abs=6e-5)


def plain(w, levels, scale):
    """One scale: bins to levels by their centres, each level's mass spread over its bins that are not empty."""
    counts, edges = np.histogram(w, BINS, (-np.abs(w).max(), np.abs(w).max()))
    centres = (edges[1:] + edges[:-1]) / 2
    of = np.abs(centres[:, None] / scale - np.asarray(levels)[None, :]).argmin(1)
    q = np.zeros(BINS)
    for level in range(len(levels)):
        mine = (of == level) & (counts > 0)
        q[mine] = counts[mine].sum() / max(1, mine.sum())
    return entropy(counts[counts > 0], q[counts > 0])


E2M1 = [-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6]


@pytest.mark.parametrize("levels", [integer_levels(4), integer_levels(6), E2M1, [-8, -4, -2, -1, 1, 2, 4, 8]])
def test_one_scale_equals_scipy_over_histograms(levels):
    for size in (50, 5000, 60_000):
        w = RNG.standard_t(4, size) * 0.3
        scale = np.abs(w).max() / max(levels) * 0.9  # the outermost weights are clipped
        assert divergence(w, levels, scale) == pytest.approx(plain(w, levels, scale), rel=1e-9, abs=1e-12)


def test_channels_and_blocks_count_in_units_of_their_scales():
    w = RNG.standard_normal((5, 400)) * np.array([[0.1], [0.5], [1], [2], [3]])
    levels, scale = integer_levels(4), np.abs(w).max(1, keepdims=True) / 7
    assert divergence(w, levels, scale) == pytest.approx(plain((w / scale).ravel(), levels, 1.0), rel=1e-9)


def test_min_max_scales_make_it_blind_to_sigma():
    w = RNG.standard_normal(20_000)
    found = [divergence(factor * w, integer_levels(4), factor * np.abs(w).max() / 7) for factor in (1, 0.01)]
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_fewer_bits_tell_less_apart():
    w = RNG.standard_normal((16, 3000))
    found = [
        divergence(w, integer_levels(b), np.abs(w).max(1, keepdims=True) / integer_levels(b).max())
        for b in (2, 4, 6)
    ]
    assert found == sorted(found, reverse=True)


def test_sigma_and_noise():
    x = RNG.standard_normal((3, 7)).astype(np.float32)
    assert sigma(x) == pytest.approx(np.std(x.astype(np.float64)))
    assert sqnr(x, x) == np.inf
    assert sqnr(x, 0 * x) == 0
    assert sqnr(x, x * 1.1) == pytest.approx(20)
    assert sqnr(0 * x, x) == -np.inf
    assert divergence(np.zeros(4), [0, 1], 1.0) == 0
