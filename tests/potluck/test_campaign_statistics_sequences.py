"""Confidence sequences: what defines them, by other means; that they resume; what they refuse."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, special

from potluck.campaign.statistics import Binary, Bounded, Interval, Pooled, Stratified, betting
from potluck.campaign.statistics.bounded import rounded
from potluck.isa.errors import CampaignError


@pytest.mark.parametrize("s,n", [(0, 1), (1, 1), (0, 1000), (3, 1000), (500, 1000), (1, 10**7)])
def test_binary_solves_the_mixture_equation(s: int, n: int) -> None:
    def excess(p: float) -> float:
        ratio = special.betaln(0.5 + s, 0.5 + n - s) - special.betaln(0.5, 0.5)
        return float(ratio - special.xlogy(s, p) - special.xlog1py(n - s, -p) - np.log(20))

    interval = Binary(prior=(0.5, 0.5)).update(s, n)
    for end, limit in ((interval.low, 0.0), (interval.high, 1.0)):
        if end != limit:
            expected = optimize.brentq(excess, *sorted((s / n, limit)), xtol=1e-15)
            assert end == pytest.approx(expected, rel=1e-6)
        else:
            assert excess(limit) < 0


def _crossing(p: float, alpha: float, steps: int) -> float:
    """P(any of the first intervals misses p), by going through all numbers of successes."""
    alive, lost = {0: 1.0}, 0.0
    for n in range(1, steps + 1):
        following: dict[int, float] = {}
        for s, mass in alive.items():
            for more, chance in ((1, p), (0, 1 - p)):
                following[s + more] = following.get(s + more, 0.0) + mass * chance
        alive = {}
        for s, mass in following.items():
            if p in Binary(alpha).update(s, n):
                alive[s] = mass
            else:
                lost += mass
    return lost


@pytest.mark.parametrize("p", [0.02, 0.3, 0.5])
def test_binary_holds_at_all_times_exactly(p: float) -> None:
    assert 0 < _crossing(p, 0.2, 120) <= 0.2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.9, 1.0]), min_size=1, max_size=30),
    st.floats(0.001, 0.999),
)
def test_wealth_is_below_the_mixture_and_near_it(values: list[float], mean: float) -> None:
    """Half of the fortune: four fifths over bets 0.2 q / (1 - q), q uniform, integrated by SciPy; one at 1 / m."""
    x = np.array(values)

    def fortune(q: float) -> float:
        return float(np.prod(1 + 0.2 * q / (1 - q) * (x - mean)))

    exact = integrate.quad(fortune, 0, 1 / (1 + 0.2 * mean), limit=200)[0] * 0.4 + 0.1 * np.prod(x / mean)
    different, counts = np.unique(x, return_counts=True)
    ours = np.exp(betting.log_wealth(different, counts.astype(float), mean))
    assert ours <= exact * (1 + 1e-9) + 1e-12
    assert ours >= 0.85 * exact


@pytest.mark.parametrize("mean", [0.1, 0.5, 0.8])
def test_wealth_is_fair(mean: float) -> None:
    """Over all rows of values whose mean is the hypothesis, both halves make at most 1 on average."""
    support, chance = np.array([0.0, mean, 1.0]), np.array([0.5 * (1 - mean), 0.5, 0.5 * mean])
    total = 0.0
    for row in product(range(3), repeat=5):
        values, counts = np.unique(support[list(row)], return_counts=True)
        above = betting.log_wealth(values, counts.astype(float), mean)
        values, counts = np.unique(1 - support[list(row)], return_counts=True)
        below = betting.log_wealth(values, counts.astype(float), 1 - mean)
        total += float(np.prod(chance[list(row)])) * (np.exp(above) + np.exp(below))
    assert 0.9 < total <= 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.01, 0.98))
def test_wealth_falls_with_the_mean(values: list[float], mean: float) -> None:
    x, counts = np.array(values), np.ones(len(values))
    assert betting.log_wealth(x, counts, mean) >= betting.log_wealth(x, counts, mean + 0.01) - 0.15


@pytest.mark.parametrize("s,n", [(3, 1000), (500, 1000), (100, 100_000)])
def test_bets_on_two_values_are_about_as_good_as_the_beta_mixture(s: int, n: int) -> None:
    two, bets = Binary().update(s, n), Bounded().update(np.arange(n) < s)
    assert bets.low <= s / n <= bets.high and 0.75 * two.half_width < bets.half_width < 1.15 * two.half_width


def test_few_values_rule_out_little() -> None:
    """One value above 0 does not make 0 impossible enough, and a search for where it is has to end."""
    assert Bounded().update([0.046875] + 19 * [0.0]).low == 0
    assert Bounded().update([1 - 0.046875] + 19 * [1.0]).high == 1
    assert Bounded().update([0.0]).low == 0 and 0.9 < Bounded().update([0.0]).high <= 1
    assert Bounded().update([0.0, 1.0]).half_width > 0.45


def test_bounds_are_where_the_fortune_reaches_a_twentieth() -> None:
    """The lower bound of values 0 and 1, from the closed form of their fortune, by another root finder."""
    s, n = 30, 1000

    def excess(m: float) -> float:
        q = (np.arange(200_000) + 0.5) / 200_000 / (1 + 0.2 * m)
        bets = 0.2 * q / (1 - q)
        logs = s * np.log1p(bets * (1 - m)) + (n - s) * np.log1p(-bets * m)
        return float(np.log(0.4 / (1 + 0.2 * m) * np.exp(logs).mean()) - np.log(20))

    exact = optimize.brentq(excess, 0.005, 0.0299, xtol=1e-9)
    low = Bounded().update(np.arange(n) < s).low
    assert low <= exact and s / n - low <= 1.01 * (s / n - exact)


def test_bounded_uses_a_small_variance() -> None:
    values = 0.5 + 0.01 * np.random.default_rng(0).standard_normal(2000)
    interval = Bounded().update(values)
    assert 0.5 in interval and interval.half_width < 0.002  # of 0 and 1 with the same mean: 0.05


def test_bounds_scale_and_order_does_not_matter() -> None:
    values = np.random.default_rng(5).random(300) ** 4
    plain, scaled, piecewise = Bounded(), Bounded(low=-3, high=5), Bounded()
    expected, other = plain.update(values), scaled.update(8 * values - 3)
    for part in np.array_split(values[::-1], 7):
        piecewise.add(part)
    again = piecewise.interval
    assert (again.low, again.high) == (expected.low, expected.high)
    assert (other.low, other.high) == pytest.approx((8 * expected.low - 3, 8 * expected.high - 3), abs=1e-6)


@given(st.lists(st.floats(0, 1), min_size=1))
def test_rounding_goes_outwards_and_keeps_what_fits(values: list[float]) -> None:
    x = np.array(values)
    down, up = rounded(x, False), rounded(x, True)
    assert (down <= x).all() and (x <= up).all() and (up <= 1).all()
    assert (up - down <= x / 512 + 2.0**-30).all()
    exact = np.arange(65) / 64
    assert (rounded(exact, False) == exact).all() and (rounded(exact, True) == exact).all()


def test_memory_is_flat() -> None:
    one = Bounded()
    sizes = []
    for seed in range(3):
        one.add(np.random.default_rng(seed).random(100_000))
        sizes.append(len(json.dumps(one.state())))
    assert sizes[2] < 1.3 * sizes[0]


def test_intervals_only_shrink() -> None:
    rng, one, last = np.random.default_rng(6), Binary(), Interval(0, 1, 0)
    for _ in range(200):
        now = one.update(int(rng.integers(2)), 1)
        assert last.low <= now.low <= now.estimate <= now.high <= last.high
        last = now


@pytest.mark.parametrize("kind", ["binary", "bounded"])
@pytest.mark.parametrize("allocation", ["neyman", "narrowing", "proportional"])
def test_strata_resume_where_they_were(kind: str, allocation: str) -> None:
    def step(strata: Stratified, batch: int) -> Stratified:
        rng = np.random.default_rng(strata.trials)
        for name, count in strata.allocate(batch).items():
            if kind == "binary":
                strata.update_binary(name, int(rng.binomial(count, 0.1 * int(name))), count)
            else:
                strata.update_bounded(name, rng.random(count) * int(name) / 4)
        return strata

    whole = Stratified({"1": 0.7, "2": 0.2, "4": 0.1}, kind=kind, allocation=allocation)  # type: ignore[arg-type]
    part = whole
    for batch in (10, 1, 100, 37):
        step(whole, batch)
        part = Stratified.from_state(json.loads(json.dumps(part.state())))
        if part.trials != whole.trials:
            step(part, batch)
        assert part.interval == whole.interval and part.allocate(50) == whole.allocate(50)
    assert whole.trials == 148


def test_strata_add_up() -> None:
    strata = Stratified({"a": 2.0, "b": 0.5, "never": 0.0}, 0.06)
    assert strata.allocate(10)["never"] == 0
    strata.update_binary("a", 3, 50)
    strata.update_binary("b", 9, 20)
    a, b = Binary(0.02).update(3, 50), Binary(0.02).update(9, 20)
    assert strata.interval.low == pytest.approx(2 * a.low + b.low / 2)
    assert strata.interval.high == pytest.approx(2 * a.high + b.high / 2)
    assert strata.interval.estimate == pytest.approx(2 * 0.06 + 0.225)
    assert strata.interval_for({"b": 1.0}) == b


def test_neyman_shares() -> None:
    """W sigma of 0.5 x 0.5, 0.3 x 0.3 and 0.2 x 0.1 once those are known; a floor of 10 %, spread evenly."""
    strata = Stratified({"a": 0.5, "b": 0.3, "c": 0.2})
    for name, share in (("a", 0.5), ("b", 0.1), ("c", 0.01)):
        strata.update_binary(name, int(share * 10_000), 10_000)
    given = strata.allocate(10**7)
    product = np.array([0.25, 0.09, 0.0199])
    expected = 0.9 * product / product.sum() + 0.1 / 3
    assert np.array(list(given.values())) / 1e7 == pytest.approx(expected, abs=2e-3)
    assert sum(given.values()) == 10**7 and sum(strata.allocate(7).values()) == 7


def test_a_pooled_batch_is_fair() -> None:
    """Strata of unlike means in one batch: the fortune against the true sum is at most 1 on average, by enumeration."""
    weights, chance, trials = (0.6, 0.4), (0.1, 0.9), (3, 4)
    truth, size = 0.6 * 0.1 + 0.4 * 0.9, 7
    total = 0.0
    for first, second in product(range(4), range(5)):
        mass = 1.0
        values, counts = [0.0], [float(size - first - second)]
        for events, n, p, w in zip((first, second), trials, chance, weights, strict=True):
            mass *= special.comb(n, events) * p**events * (1 - p) ** (n - events)
            values.append(w * size / n / 2)
            counts.append(float(events))
        x, c = np.array(values)[np.array(counts) > 0], np.array(counts)[np.array(counts) > 0]
        above = betting.log_wealth(x, c, truth / 2)
        below = betting.log_wealth(1 - x, c, 1 - truth / 2)
        total += mass * (np.exp(above) + np.exp(below))
    assert 0.7 < total <= 1


@pytest.mark.parametrize("allocation", ["neyman", "proportional"])
def test_pooled_resumes_and_counts_as_it_says(allocation: str) -> None:
    """Two thirds of the weight, half of the outcomes at most; outcomes between -1 and 1."""
    rng = np.random.default_rng(11)
    whole = Pooled({"a": 4.0, "b": 2.0, "no": 0.0}, allocation=allocation, low=-1.0, high=1.0)  # type: ignore[arg-type]
    for batch in (20, 400, 41):
        given = whole.allocate(batch)
        assert sum(given.values()) == batch and given["no"] == 0
        assert given["a"] >= batch / 3 and given["b"] >= batch / 6
        again = Pooled.from_state(json.loads(json.dumps(whole.state())))
        outcomes = {"a": rng.uniform(-0.2, 0.4, given["a"]), "b": rng.uniform(-1, 0, given["b"]), "no": []}
        interval = whole.update(outcomes)
        assert again.update(outcomes) == interval and again.allocate(99) == whole.allocate(99)
    assert whole.trials == 461 and 4 * 0.1 - 2 * 0.5 in interval and interval.half_width < 0.6
    share = whole.allocate(100_000)["a"] / 100_000
    root = [whole.deviations()[name] for name in "ab"]
    expected = 2 * root[0] / (2 * root[0] + root[1]) if allocation == "neyman" else 2 / 3
    assert share == pytest.approx((2 / 3 + expected) / 2, abs=1e-4)


def test_pooled_estimates_without_bias() -> None:
    """The estimate is the stratified mean of each batch, whatever the allocation."""
    pooled = Pooled({"a": 0.9, "b": 0.1})
    assert pooled.update_binary({"a": (2, 50), "b": (25, 50)}).estimate == pytest.approx(
        0.9 * 0.04 + 0.1 * 0.5
    )
    alone = Pooled({"a": 2.0}, defence=1.0).update_binary({"a": (3, 100)})
    assert alone.high == pytest.approx(2 * Bounded().update(np.arange(100) < 3).high)


def test_pooled_refuses_parts_of_batches() -> None:
    pooled = Pooled({"a": 0.5, "b": 0.5})
    for wrong in (
        lambda: pooled.allocate(1), lambda: pooled.update_binary({"a": (1, 10)}),
        lambda: pooled.update({"a": [0.5], "b": [1.5]}), lambda: pooled.update({"a": [0.5], "c": [0.5]}),
        lambda: pooled.update_binary({"a": (2, 1), "b": (0, 1)}), lambda: Pooled({"a": 0.0}),
        lambda: Pooled({"a": 1.0}, defence=0.0), lambda: Pooled({"a": 1.0}, allocation="x"),  # type: ignore[arg-type]
    ):  # fmt: skip
        with pytest.raises(CampaignError):
            wrong()
    assert pooled.trials == 0 and pooled.update({}).high == 1


def test_what_means_nothing_is_refused() -> None:
    strata = Stratified({"a": 1.0})
    for wrong in (
        lambda: Binary(0), lambda: Binary(prior=(0, 1)), lambda: Binary().update(2, 1), lambda: Bounded(low=1, high=1),
        lambda: Bounded().update([0.5, 1.5]), lambda: Bounded().update([float("nan")]), lambda: Stratified({}),
        lambda: Stratified({"a": -1.0}), lambda: strata.update_binary("b", 0, 1),
        lambda: strata.update_bounded("a", [0.0]), lambda: Stratified({"a": 1.0}, allocation="x"),  # type: ignore[arg-type]
        lambda: Stratified({"a": 1.0}, floor=2),
    ):  # fmt: skip
        with pytest.raises(CampaignError):
            wrong()
