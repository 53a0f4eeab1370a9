"""Forced faults: distributions against SciPy and enumeration, weights that give back every rate."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from scipy import stats

from potluck.campaign.statistics import Curve, FaultCount, Interval
from potluck.isa.errors import CampaignError


@pytest.mark.parametrize("bits,rate", [(10, 0.3), (10**6, 1e-7), (1_300_000_000_00, 1e-9), (10**6, 1e-3)])
def test_one_group_is_binomial(bits: int, rate: float) -> None:
    count = FaultCount([(bits, rate)])
    expected = stats.binom.pmf(np.arange(count.probability.size), bits, rate)
    np.testing.assert_allclose(count.probability, expected, rtol=1e-6, atol=1e-13)
    assert count.log_none == pytest.approx(stats.binom.logpmf(0, bits, rate))
    left = stats.binom.sf(count.probability.size - 1, bits, rate)
    assert left <= count.tail * (1 + 1e-6) + 1e-15 and count.tail <= 1e-6 * count.some
    assert count.probability.size < bits * rate + 8 * (bits * rate) ** 0.5 + 12


def test_groups_are_poisson_binomial() -> None:
    """Every subset of nine events by itself."""
    rates = [0.1] * 4 + [0.25] * 3 + [0.6] * 2
    expected = np.zeros(10)
    for happened in product((0, 1), repeat=9):
        expected[sum(happened)] += np.prod([p if h else 1 - p for p, h in zip(rates, happened, strict=True)])
    count = FaultCount([(4, 0.1), (3, 0.25), (2, 0.6), (5, 0.0)])
    np.testing.assert_allclose(count.probability, expected[: count.probability.size], atol=1e-12)
    assert count.some == pytest.approx(1 - expected[0]) and expected[count.probability.size :].sum() <= 1e-6
    np.testing.assert_allclose(count.given_some.sum(), 1)


def test_rare_faults_keep_their_digits() -> None:
    count = FaultCount([(1000, 1e-18)])
    assert count.some == pytest.approx(1e-15, rel=1e-9)
    assert count.given_some[0] == pytest.approx(1)


def test_draws_follow_the_table() -> None:
    count = FaultCount([(1000, 2e-3)])
    drawn = count.draw((np.arange(100_000) + 0.5) / 100_000)
    shares = np.bincount(drawn, minlength=count.probability.size)[1:] / 100_000
    np.testing.assert_allclose(shares, count.given_some, atol=2e-5)
    assert drawn.min() == 1 and int(count.draw(np.array(1 - 1e-16))) < count.probability.size


def test_whole_mean() -> None:
    count = FaultCount([(100, 0.01)])
    whole = count.whole(Interval(0.2, 0.4, 0.3))
    assert whole.low == pytest.approx(0.2 * count.some, rel=1e-5)
    assert whole.high == pytest.approx(0.4 * count.some, rel=1e-5) and whole.high >= 0.4 * count.some
    assert whole.estimate == pytest.approx(0.3 * count.some, rel=1e-5)


def test_curve_weights_are_unbiased_and_bounded() -> None:
    """Exact expectations over K: any outcome that depends on K comes back as its mean at each rate."""
    bits, rates = 2000, [1e-6, 1e-5, 1e-4, 1e-3]
    curve = Curve(bits, rates)
    k = np.arange(1, curve.proposal.size + 1)
    outcome = 1 - 0.8**k
    np.testing.assert_allclose(curve.proposal.sum(), 1)
    for row, rate, count in zip(curve.weights, rates, curve.counts, strict=True):
        mean = float(curve.proposal @ (row * outcome))
        exact = 1 - (1 - 0.2 * rate) ** bits  # each flip kills with probability 0.2
        assert mean == pytest.approx(exact, abs=1e-6) and mean == pytest.approx(exact, rel=1e-4, abs=1e-7)
        assert row.max() <= count.some * len(rates) * (1 + 1e-5)


def test_curve_resumes_and_encloses() -> None:
    rng, curve = np.random.default_rng(8), Curve(10_000, [1e-5, 1e-4])
    for _ in range(4):
        k = curve.draw(rng.random(500))
        curve.update(k, rng.random(500) < 1 - 0.9**k)
        curve = Curve.from_state(json.loads(json.dumps(curve.state())))
    assert curve.trials == 2000
    for rate, interval in zip(curve.rates, curve.intervals, strict=True):
        assert 1 - (1 - 0.1 * rate) ** 10_000 in interval and interval.half_width < 0.3 * interval.estimate


def test_what_means_nothing_is_refused() -> None:
    curve = Curve(10, [0.1])
    for wrong in (
        lambda: FaultCount([(10, 1.0)]), lambda: FaultCount([(10, 0.0)]), lambda: Curve(10, []),
        lambda: Curve(10, [0.1, 0.2], mixture=[1.0, 0.0]), lambda: Curve(10, [0.1], low=0.5),
        lambda: curve.update([0], [1.0]), lambda: curve.update([1], [2.0]),
    ):  # fmt: skip
        with pytest.raises(CampaignError):
            wrong()
