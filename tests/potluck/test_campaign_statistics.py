"""Sample sizes, fixed-n intervals and tests against SciPy, published numbers and enumeration."""

from __future__ import annotations

from itertools import product
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from potluck.campaign.statistics import (
    Interval,
    Stop,
    bootstrap,
    clipped_change,
    clopper_pearson,
    holm,
    leveugle,
    mcnemar,
    paired_bootstrap,
    perplexity_ratio,
    sign_flip,
    wilson,
)
from potluck.campaign.statistics.special import beta_cdf, beta_quantile, binomial_cdf
from potluck.isa.errors import CampaignError


@given(st.floats(0.3, 1e5), st.floats(0.3, 1e5), st.floats(0, 1))
def test_beta_is_scipys(a: float, b: float, x: float) -> None:
    assert beta_cdf(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("a,b,q", [(1, 20, 0.025), (700, 301, 0.975), (3.5, 0.5, 0.1), (2, 1_000_000, 0.975)])
def test_beta_quantile_is_scipys(a: float, b: float, q: float) -> None:
    assert beta_quantile(q, a, b) == pytest.approx(stats.beta.ppf(q, a, b), rel=1e-9)


@pytest.mark.parametrize("k,n", [(0, 20), (3, 20), (20, 20), (700, 1000), (7, 10**6), (60_000, 200_000)])
def test_intervals_of_shares_are_scipys(k: int, n: int) -> None:
    test = stats.binomtest(k, n)
    for ours, method in ((clopper_pearson(k, n), "exact"), (wilson(k, n), "wilson")):
        theirs = test.proportion_ci(0.95, method)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-7, abs=1e-12)
        assert ours.estimate == k / n and 0 <= ours.low <= ours.high <= 1
    assert binomial_cdf(k, n, 0.3) == pytest.approx(stats.binom.cdf(k, n, 0.3), rel=1e-7, abs=1e-300)


def test_sample_sizes_are_the_published_ones() -> None:
    """Infinite populations, and finite ones; published sizes come from rounded deviates."""
    for margin, at_95, at_99 in ((0.05, 385, 664), (0.01, 9604, 16_588), (0.001, 960_365, 1_658_725)):
        assert leveugle(margin) == pytest.approx(at_95, rel=1e-4)
        assert leveugle(margin, level=0.99) == pytest.approx(at_99, rel=2e-4)
    assert leveugle(0.01, 1_000_000) == 9513
    assert leveugle(0.05, 1000) == 278  # the usual table of sample sizes (Krejcie and Morgan 1970)
    assert leveugle(0.05, 1) == 1
    assert leveugle(0.01, inf, share=0.1) == 3458


def test_bootstrap_is_students_t_where_that_holds() -> None:
    values = np.random.default_rng(1).normal(5, 1, 200)
    interval = bootstrap(values, 1)
    t = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx(t, abs=0.03)
    assert interval == bootstrap(values, 1) != bootstrap(values, 2)
    assert np.isnan(bootstrap([1.0], 0).low) and bootstrap([1.0], 0).estimate == 1
    paired = paired_bootstrap(values + 0.1, values, 1)  # noise that is common to both is gone
    assert paired.half_width < 1e-9 and paired.estimate == pytest.approx(0.1)


@pytest.mark.parametrize("b,c", [(0, 0), (0, 5), (8, 1), (15, 25), (400, 300)])
def test_mcnemar_is_the_binomial_test(b: int, c: int) -> None:
    expected = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar(b, c) == mcnemar(c, b) == pytest.approx(expected, rel=1e-7)


def test_sign_flip_enumerates() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(0.8, 1, 9), np.zeros(9)
    second[0] = first[0]  # a tie
    sums = [abs(np.dot(signs, first[1:])) for signs in product((-1, 1), repeat=8)]
    expected = np.mean(np.array(sums) >= abs(first[1:].sum()) - 1e-12)
    assert sign_flip(first, second, 0) == expected
    theirs = stats.permutation_test(
        (first[1:], second[1:]), lambda x, y: np.mean(x - y), permutation_type="samples"
    )
    assert sign_flip(first, second, 0) == pytest.approx(theirs.pvalue)
    assert sign_flip([1.0], [1.0], 0) == 1.0


def test_sign_flip_drawn_agrees_with_the_normal_limit() -> None:
    difference = np.random.default_rng(4).normal(0.1, 1, 400)
    z = abs(difference.sum()) / np.sqrt((difference**2).sum())
    assert sign_flip(difference, np.zeros(400), 7) == pytest.approx(2 * stats.norm.sf(z), abs=5e-3)


def test_holm_by_hand() -> None:
    """0.01 x 4, 0.02 x 3, 0.03 x 2 (kept from falling), 0.5."""
    assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_perplexity() -> None:
    """Changes of 0, ln 2, far out, not a number: two of four are clipped."""
    change = clipped_change([1.0, 1.0 + np.log(2), 50.0, np.nan], 1.0, bound=2.0)
    assert change.values.tolist() == pytest.approx([0, np.log(2), 2, 2]) and change.clipped == 0.5
    assert clipped_change([-np.inf, np.inf], [0.0, 0.0]).values.tolist() == pytest.approx(
        [-np.log(1000), np.log(1000)]
    )
    ratio = perplexity_ratio(Interval(0.0, np.log(4), np.log(2)))
    assert (ratio.low, ratio.estimate, ratio.high) == pytest.approx((1, 2, 4))
    for wrong in (lambda: clipped_change([1.0], np.nan), lambda: clipped_change([1.0], 1.0, 0.0)):
        with pytest.raises(CampaignError):
            wrong()


def test_stopping() -> None:
    stop = Stop(100, half_width=0.1, relative=0.2, threshold=0.5, min_trials=10)
    assert stop.check(Interval(0.4, 0.58, 0.5), 9) is None
    assert stop.check(Interval(0.4, 0.58, 0.5), 10) == "half_width"
    assert stop.check(Interval(0.55, 0.85, 0.8), 10) == "relative"
    assert stop.check(Interval(0.51, 1.0, 0.6), 10) == "threshold"
    assert stop.check(Interval(0.0, 1.0, float("nan")), 10) is None
    assert stop.check(Interval(0.0, 1.0, 0.0), 100) == "max_trials"


def test_what_means_nothing_is_refused() -> None:
    for wrong in (
        lambda: wilson(2, 1), lambda: clopper_pearson(0, 0), lambda: leveugle(0), lambda: mcnemar(-1, 2),
        lambda: sign_flip([1.0], [1.0, 2.0], 0), lambda: Stop(0), lambda: Stop(10, half_width=0.0),
        lambda: wilson(1, 2, 1.0),
    ):  # fmt: skip
        with pytest.raises(CampaignError):
            wrong()
