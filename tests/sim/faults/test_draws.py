"""Faults that stacks have in common are drawn once, and are those that each would have drawn."""

from __future__ import annotations

import pytest

from potluck.sim.dram.kind import load_kind
from potluck.sim.dram.mapping import Mapping
from potluck.sim.faults.conditioned import Flips, OneFault
from potluck.sim.faults.draws import SEPARABLE, Draws
from potluck.sim.faults.models import DataDependent, EventMix, Uniform, WeakCells
from potluck.sim.faults.region import Region

MAPPING = Mapping(load_kind("hbm3"), 1)
MODELS = [
    Uniform(1e-3), DataDependent(2e-3, 1e-3), EventMix(1e-3), WeakCells(1e-2, 0.5), WeakCells(1e-2, 0.5, "random"),
    WeakCells(1e-2, 0.5, "alternating"), Flips(3), OneFault(MAPPING, "row"),
]  # fmt: skip
REGIONS = [Region(MAPPING, ((100, 700), (2000, 90)), metadata) for metadata in (0, 0, 40, 500)]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
def test_what_is_kept_is_what_would_be_drawn(model) -> None:
    """For every stack's region, in any order, and again."""
    draws = Draws()
    for trial in range(12):
        for region in REGIONS + REGIONS[::-1]:
            assert draws.draw(model, region, (9, trial)) == model.draw(region, (9, trial))
    # Regions that differ in the table alone have one draw of cells, where the model allows.
    assert draws.made == 12 * (1 if isinstance(model, SEPARABLE) else 3)


def test_draws_are_forgotten() -> None:
    draws, model = Draws(most=2), Uniform(1e-3)
    for trial in (0, 1, 2, 0):
        draws.draw(model, REGIONS[0], (1, trial))
    assert draws.made == 4
    other = Uniform(1e-2)
    assert draws.draw(other, REGIONS[0], (1, 0)) == other.draw(REGIONS[0], (1, 0))
