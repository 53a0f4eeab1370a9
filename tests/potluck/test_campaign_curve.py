"""A curve of bit error rates from forced faults: the model's own distribution, and what plain trials find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import potluck
from potluck.campaign.forced import Forced
from potluck.isa.machine import load_machine
from potluck.sim.dram.attach import mapping_of
from potluck.sim.faults.models import Uniform
from potluck.sim.faults.region import region_of

REGION = region_of(mapping_of(load_machine("spatz-mx")), [(0x10000, 4096)])


def test_counts_are_those_of_the_binomial_given_some() -> None:
    """Of one rate: SciPy's binomial, zero left out."""
    rate = 3e-5
    model = Forced((rate,))
    counts = np.array([len(model.draw(REGION, (1, trial))) for trial in range(2000)])
    some = 1 - stats.binom.pmf(0, REGION.stored_bits, rate)
    top = 4
    expected = [stats.binom.pmf(k, REGION.stored_bits, rate) / some for k in range(1, top)]
    expected.append(stats.binom.sf(top - 1, REGION.stored_bits, rate) / some)
    seen = [(counts == k).sum() for k in range(1, top)] + [(counts >= top).sum()]
    assert stats.chisquare(seen, 2000 * np.array(expected)).pvalue > 1e-4
    assert model.raw_ber(REGION) == pytest.approx(rate / some, rel=1e-4)


def test_a_trial_is_one_that_uniform_has() -> None:
    model = Forced((1e-4, 1e-3))
    for trial in range(20):
        forced = model.draw(REGION, (2, trial))
        assert len(forced) == model.count(REGION, (2, trial)) >= 1
        low, high = 0.0, 0.1
        for _ in range(60):  # a rate at which as many bits flip
            rate = (low + high) / 2
            uniform = Uniform(rate).draw(REGION, (2, trial))
            if len(uniform) == len(forced):
                break
            low, high = (rate, high) if len(uniform) < len(forced) else (low, rate)
        assert uniform == forced


def test_the_curve_holds_what_plain_trials_find(tmp_path: Path) -> None:
    """At each rate, forced and plain trials of other seeds have overlapping intervals; forced ones are narrower."""
    rates = [3e-7, 3e-5]
    network = {"schemes": ["int8"]}
    common = {"samples": 8, "network": network, "metrics": {"sdc": "difference", "tolerance": 0.05}}
    forced = potluck.Campaign(
        "demo", faults={"kind": "curve", "ber": rates}, trials=150, seed=3, **common
    ).run()
    plain = potluck.Campaign(
        "demo", faults={"kind": "uniform", "ber": rates}, trials=150, seed=4, **common
    ).run()
    curve = forced.cells[0]["curve"]
    assert [row["ber"] for row in curve] == rates
    for row, cell in zip(curve, plain.cells, strict=True):
        share = cell["shares"]["sdc"]
        assert row["sdc"]["low"] <= share["high"] and share["low"] <= row["sdc"]["high"]
        assert row["due"]["estimate"] == 0
    assert 0 < curve[0]["sdc"]["estimate"] < curve[1]["sdc"]["estimate"]
    width = [row["sdc"]["high"] - row["sdc"]["low"] for row in curve]
    shares = plain.cells[0]["shares"]["sdc"]
    assert width[0] < (shares["high"] - shares["low"]) and width[0] < width[1]
    page = forced.report(tmp_path / "r.html").read_text()
    assert "Over the bit error rate" in page
