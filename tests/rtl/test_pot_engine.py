"""The cluster's PoT accelerator in RTL: values, cycles and faults of the simulator's, driven by the same commands."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from potluck.isa.pot.stream import Status
from tests.rtl.bench.bins import Coverage
from tests.rtl.bench.pot_engine_cases import FAULTS, Queue, break_one, contents, layer
from tests.rtl.bench.pot_engine_library import SMALL, EngineBuild
from tests.rtl.bench.pot_engine_runs import LAYER_BINS, cover, run_doorbells, run_layer, run_limits, run_queue

pytestmark = pytest.mark.usefixtures("rtl_tools")

BUILDS = {
    "whole": {},
    "small": SMALL,
    **{
        f"{units} unit": {
            **SMALL,
            "pot.units": units,
            "dma.width_bits": 128 * units,
            "dram.bytes_per_cycle": 16 * units,
        }
        for units in (1, 2, 8)
    },
    "multipliers": {**SMALL, "pot.multipliers": True},
}
EVERY = [pytest.param(name, marks=() if name == "small" else pytest.mark.slow, id=name) for name in BUILDS]


def build_of(name: str) -> EngineBuild:
    return EngineBuild(BUILDS[name])


@pytest.mark.parametrize("name", EVERY)
def test_layers(name: str) -> None:
    """Whole layers: every output, the cycles of each computation exactly, those of a queue within 5 %."""
    build, rng = build_of(name), np.random.Generator(np.random.Philox(3))
    for number in range(24):
        run = run_layer(build, layer(rng, build.machine, number))
        assert run.wrong == 0, (number, run)
        assert (run.cycles == run.wanted).all(), (number, run)
        assert abs(run.error) <= 0.05, (number, run)


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILDS)
def test_many_layers(name: str) -> None:
    """As many as issue 8 asks for, and whatever a layer can be is among them."""
    build, rng = build_of(name), np.random.Generator(np.random.Philox(4))
    coverage, errors = Coverage(LAYER_BINS), []
    for number in range(200):
        case = layer(rng, build.machine, number)
        run = run_layer(build, case, gaps=0.3 * (number % 5 == 4))
        cover(coverage, case, run)
        assert run.wrong == 0, (number, run)
        if number % 5 != 4:
            assert (run.cycles == run.wanted).all(), (number, run)
            errors.append(abs(run.error))
    assert np.median(errors) <= 0.02 and max(errors) <= 0.05
    expected_gaps = {"parts"} if name == "whole" else set()
    if name == "multipliers":  # they have no code sets, and one plane
        expected_gaps |= {bin_ for bin_ in LAYER_BINS if bin_.startswith("pot_") or "planes" in bin_}
    assert set(coverage.missing()) <= expected_gaps, coverage.missing()


@pytest.mark.parametrize("name", EVERY)
def test_queues(name: str) -> None:
    """Commands in any order: only slots, engines and fences keep them apart; memory with and without gaps."""
    build, rng = build_of(name), np.random.Generator(np.random.Philox(7))
    for number in range(60):
        queue = Queue(rng, build.machine)
        rings = [queue.commands(int(rng.integers(1, 25))) for _ in range(3)]
        differs = run_queue(build, contents(rng), rings, gaps=(0.0, 0.4, 0.9)[number % 3])
        assert not differs, (number, differs)


@pytest.mark.parametrize("name", EVERY)
def test_bad_queues(name: str) -> None:
    """Whatever is wrong, both say so at the same command, have done the same before, and neither hangs."""
    build, rng = build_of(name), np.random.Generator(np.random.Philox(8))
    found: Counter[Status] = Counter()
    memory = contents(rng)
    for number in range(240 if name == "small" else 400):
        queue = Queue(rng, build.machine)
        good = queue.commands(int(rng.integers(2, 14)))
        rings = [break_one(rng, good, FAULTS[number % len(FAULTS)]), good]
        differs = run_queue(build, memory, rings, reset=number % 2 == 0, found=found)
        assert not differs, (number, FAULTS[number % len(FAULTS)], differs)
    assert set(found) == set(Status), found


def test_doorbells() -> None:
    """Queues that are none: numbers of commands, addresses."""
    build, rng = build_of("small"), np.random.Generator(np.random.Philox(9))
    assert not run_doorbells(build, Queue(rng, build.machine).commands(2))


@pytest.mark.parametrize("name", EVERY)
def test_limits(name: str) -> None:
    """Slots that are written while they are stored, program text, windows that just fit: statuses and every byte."""
    assert not run_limits(build_of(name), contents(np.random.Generator(np.random.Philox(10))))
