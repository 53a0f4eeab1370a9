"""Faults given that there are some: they are those of the unconditional models."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from potluck.isa.errors import DataError
from potluck.isa.machine import load_machine
from potluck.sim.dram.attach import mapping_of
from potluck.sim.faults.conditioned import Flips, OneFault
from potluck.sim.faults.faultset import Sort
from potluck.sim.faults.footprints import MODES, Correlated, Rate
from potluck.sim.faults.models import Uniform
from potluck.sim.faults.region import region_of

MAPPING = mapping_of(load_machine("spatz-mx"))
REGION = region_of(MAPPING, [(0x10000, 4096), (0x40000, 640)], 3)


def keys(faults) -> set[int]:
    return set(faults.keys.tolist())


@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_flips_are_the_first_of_uniform(count: int) -> None:
    """Whatever `Uniform` strikes at a rate at which it strikes so many is what `Flips` strikes."""
    rates = np.geomspace(1e-6, 0.02, 400)
    met = 0
    for trial in range(12):
        flips = Flips(count).draw(REGION, (3, trial))
        assert len(flips) == count and (flips.actions == 0).all() and not flips.permanent.any()
        for rate in rates:
            uniform = Uniform(float(rate)).draw(REGION, (3, trial))
            if len(uniform) == count:
                assert uniform == flips
                met += 1
            assert keys(uniform) <= keys(flips) or keys(flips) <= keys(uniform)
    assert met


def test_flips_are_uniform_over_stored_bits() -> None:
    struck = [Flips(1).draw(REGION, (8, trial)) for trial in range(3000)]
    sorts = np.array([int(one.sorts[0]) for one in struck])
    expected = np.array(
        [sum(n for _, n in REGION.stretches(s)) * REGION.bits(s) for s in list(Sort)[:4]], float
    )
    seen = np.array([(sorts == s).sum() for s in list(Sort)[:4]], float)
    assert expected.sum() == REGION.stored_bits
    shares = expected / expected.sum() * 3000
    assert (
        stats.chisquare(
            seen[shares > 5], shares[shares > 5] * seen[shares > 5].sum() / shares[shares > 5].sum()
        ).pvalue
        > 1e-4
    )
    data = np.array([int(one.bits[0]) for one, s in zip(struck, sorts, strict=True) if s == 0])
    assert stats.kstest(data / 256, "uniform").pvalue > 1e-4


def test_flips_of_everything_and_of_too_much() -> None:
    small = region_of(MAPPING, [(0, 32)])
    assert len(Flips(small.stored_bits).draw(small, (1, 1))) == small.stored_bits
    with pytest.raises(DataError, match="only"):
        Flips(small.stored_bits + 1).draw(small, (1, 1))
    with pytest.raises(DataError, match="no fault"):
        Flips(0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("permanent", [False, True])
def test_one_fault_is_a_fault_of_its_mode(mode: str, permanent: bool) -> None:
    one = OneFault(MAPPING, mode, permanent)
    rate = Rate(0.0 if permanent else 1.0, 1.0 if permanent else 0.0)
    alone = Correlated(MAPPING, {mode: rate}, 1.0, forced=True)
    sizes, theirs = [], []
    for trial in range(60):
        mine = one.draw(REGION, (4, trial))
        assert (mine.permanent == permanent).all() and set(mine.sectors.tolist()) <= set(
            REGION.sectors.tolist()
        )
        sizes.append(len(mine))
        theirs.append(len(alone.draw(REGION, (5, trial))))
    assert stats.mannwhitneyu(sizes, theirs).pvalue > 1e-4 if len({*sizes, *theirs}) > 1 else sizes == theirs
    assert any(sizes)
    # FIT that touch the region, as `Correlated` counts them, over an hour
    expected = alone.expected(REGION)[mode, permanent]
    assert one.touching_fit(rate, REGION) * 1e-9 == pytest.approx(expected)
    assert one.raw_ber(REGION) * expected == pytest.approx(alone.raw_ber(REGION))
