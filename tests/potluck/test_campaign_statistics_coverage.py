"""Simulated campaigns that stop by looking: the truth lies inside as often as promised."""

from __future__ import annotations

import numpy as np
import pytest

from potluck.benchmarks.campaign_oracles import hedged_capital, neyman_size, stratified_wilson_size
from potluck.benchmarks.campaign_statistics import (
    FIELDS,
    GOAL,
    MOST,
    PATHS,
    campaigns,
    peeking,
    pooled,
    simple,
)
from potluck.campaign.statistics import Bounded, Stop, wilson


def _held(name: str, count: int) -> float:
    """Share of campaigns in which no interval on the way missed the truth."""
    path, truth, goal = PATHS[name]
    return campaigns(path, truth, Stop(MOST, relative=goal), count, 900)[1]


@pytest.mark.parametrize("name", PATHS)
def test_coverage_of_a_sample(name: str) -> None:
    """Of 15 campaigns, four that miss would be a matter of one in 200 if intervals were just as good as they say."""
    assert _held(name, 15) >= 12 / 15


@pytest.mark.slow
@pytest.mark.parametrize("name", PATHS)
def test_coverage(name: str) -> None:
    assert _held(name, 1000) >= 0.95


def test_the_simulation_finds_what_does_not_hold() -> None:
    assert campaigns(peeking(0.5), 0.5, Stop(MOST, relative=0.1), 100, 900)[1] < 0.8


def test_strata_save_trials() -> None:
    """A part of the campaigns that the benchmark's factor comes from."""
    stop = Stop(MOST, half_width=GOAL * FIELDS.truth)
    plain, strata = (
        campaigns(p, FIELDS.truth, stop, 4, 9)[2] for p in (simple(FIELDS.truth), pooled(FIELDS))
    )
    assert plain > 2.5 * strata


def test_oracles() -> None:
    """One stratum is the textbook's case; strata without events cost the second oracle something."""
    assert neyman_size([1.0], [0.5], 0.01) == pytest.approx(9603.6, abs=0.1)
    size = stratified_wilson_size([1.0], [0.25], 0.01)
    assert wilson(round(size / 4), round(size)).half_width == pytest.approx(0.01, rel=1e-2)
    assert stratified_wilson_size([0.5, 0.5], [0.1, 0.0], 0.01) > neyman_size([0.5, 0.5], [0.1, 0.0], 0.01)


def test_bets_held_at_once_are_no_worse_than_chosen_ones() -> None:
    """The published process is an interval around the mean, too; ours is about as wide."""
    rng = np.random.default_rng(12)
    for values, factor in ((rng.random(2000), 1.0), ((rng.random(2000) < 0.01) * 1.0, 1.15)):
        low, high = hedged_capital(values, 0.05)
        assert low < values.mean() < high
        assert Bounded().update(values).half_width < factor * (high - low) / 2
