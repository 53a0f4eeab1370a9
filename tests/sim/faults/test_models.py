"""Fault models against closed forms, brute force, and the artifact's definition."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from potluck.isa.errors import DataError
from potluck.sim.dram.kind import load_kind
from potluck.sim.dram.mapping import Mapping
from potluck.sim.faults.faultset import (
    CELLS,
    SLOTS,
    Action,
    FaultSet,
    Sort,
    fault_set,
    keys_of,
    nothing,
    touch,
    union,
)
from potluck.sim.faults.marks import struck
from potluck.sim.faults.models import EVENTS, DataDependent, EventMix, Listed, Uniform, WeakCells, inside
from potluck.sim.faults.philox import stream
from potluck.sim.faults.region import Region, region_of

HBM3 = Mapping(load_kind("hbm3"), 2)
REGION = region_of(HBM3, [(4096, 4096), (17 << 16, 100), (17 << 16, 40)], metadata=3)


def _binomial_z(count: int, n: int, p: float) -> float:
    return abs(count - n * p) / max((n * p * (1 - p)) ** 0.5, 1e-9)


def test_regions_are_the_sectors_that_bytes_touch() -> None:
    assert REGION.ranges == ((128, 128), (34816, 4))  # the second in an odd row
    assert REGION.count == 132 and REGION.bits(Sort.SIDEBAND) == 16 and REGION.bits(Sort.ON_DIE) == 32
    assert REGION.stored_bits == 132 * (256 + 16 + 32) + 3 * 72
    with pytest.raises(DataError, match="do not lie in 2 channels of hbm3"):
        region_of(HBM3, [(HBM3.bytes - 16, 32)])


def test_sets() -> None:
    a = fault_set(np.array([5, 3, 5], np.uint64))
    assert a.keys.tolist() == [3, 5]
    b = fault_set(np.array([5, 9], np.uint64), Action.SET0, True)
    both = union([a, b])
    assert both.keys.tolist() == [3, 5, 9] and both.permanent.tolist() == [False, True, True]
    assert both.actions.tolist() == [Action.FLIP, Action.SET0, Action.SET0]
    assert union([b, a]) == both and union([]) == nothing() and both != a
    key = keys_of(np.array([77]), Sort.ON_DIE, np.array([31]))
    one = fault_set(key)
    assert (one.sectors[0], one.sorts[0], one.bits[0]) == (77, Sort.ON_DIE, 31)
    with pytest.raises(DataError, match="twice"):
        FaultSet(np.array([1, 1], np.uint64), np.zeros(2, np.uint8), np.zeros(2, np.bool_))


def test_actions_on_words() -> None:
    words = np.array([[0b1100, 0]], np.uint64)
    touch(words, np.zeros(4, np.int64), np.array([0, 1, 2, 65]), np.array([0, 2, 1, 0], np.uint8))
    assert words.tolist() == [[0b1011, 2]]


def test_uniform_is_the_marks_of_physical_bits() -> None:
    """Brute force: every bit of the region looked up alone."""
    rate, key = 0.02, (5, 9)
    found = Uniform(rate).draw(REGION, key)
    expected = []
    for sort in CELLS:
        for first, count in REGION.stretches(sort):
            for sector in range(first, first + count):
                item = sector * SLOTS[sort]
                hits, _ = struck(key, stream("bit", sort), item, REGION.bits(sort), rate)
                expected += [int(keys_of(sector, sort, int(hit - item))[0]) for hit in hits]
    assert found.keys.tolist() == sorted(expected) and len(expected) > 500
    assert _binomial_z(len(found), REGION.stored_bits, rate) < 4.5
    smaller = region_of(HBM3, [(4096 + 32, 64)])
    part = Uniform(rate).draw(smaller, key)
    assert part == found.where(inside(smaller, found.keys)) and len(part)
    # Another kind has other check bits, but the data bits at the same addresses share their faults.
    ddr5 = Uniform(rate).draw(Region(Mapping(load_kind("ddr5"), 2), REGION.ranges), key)
    for other in (found, ddr5):
        assert set(np.unique(other.sorts)) >= {Sort.DATA, Sort.SIDEBAND, Sort.ON_DIE}
    data = [f.keys[f.sorts == Sort.DATA].tolist() for f in (found, ddr5)]
    assert data[0] == data[1]


def test_trials_differ_and_come_back() -> None:
    sets = [Uniform(0.01).draw(REGION, (1, trial)) for trial in range(3)]
    assert sets[0] != sets[1] != sets[2]
    assert Uniform(0.01).draw(REGION, (1, 1)) == sets[1] != Uniform(0.01).draw(REGION, (2, 1))


def test_data_dependent_rates() -> None:
    """Bits of zeros and ones, each a binomial of its own rate; equal rates are the uniform model."""
    model, trials = DataDependent(0.02, 0.005), 40
    ups = downs = 0
    for trial in range(trials):
        faults = model.draw(REGION, (3, trial))
        ups += int((faults.actions != Action.SET0).sum())
        downs += int((faults.actions != Action.SET1).sum())
    bits = trials * REGION.stored_bits
    assert _binomial_z(ups, bits, 0.02) < 4.5 and _binomial_z(downs, bits, 0.005) < 4.5
    assert DataDependent(0.01, 0.01).draw(REGION, (3, 1)) == Uniform(0.01).draw(REGION, (3, 1))
    assert model.raw_ber(REGION) == 0.0125


@pytest.mark.parametrize("layout", ["true", "anti", "alternating", "random", "symmetric"])
def test_weak_cells_are_the_same_in_every_trial(layout: str) -> None:
    model = WeakCells(0.05, 0.25, layout)  # type: ignore[arg-type]
    weak = model.map(REGION, 4)
    assert _binomial_z(len(weak), REGION.stored_bits, 0.05) < 4.5
    count = 0
    for trial in range(30):
        faults = model.draw(REGION, (4, trial))
        assert np.isin(faults.keys, weak).all()
        count += len(faults)
        kinds = set(faults.actions.tolist())
        assert kinds == {"true": {1}, "anti": {2}, "symmetric": {0}}.get(layout, {1, 2})
        if layout == "alternating":
            data = faults.where(faults.sorts != Sort.METADATA)
            odd = HBM3.decode(data.sectors * 32).row % 2
            assert (data.actions == np.where(odd, Action.SET1, Action.SET0)).all()
    assert _binomial_z(count, 30 * len(weak), 0.25) < 4.5
    measured = WeakCells(0, 1.0, layout, cells=np.append(weak[:7], np.uint64(1 << 60)))  # type: ignore[arg-type]
    assert measured.draw(REGION, (8, 8)).keys.tolist() == weak[:7].tolist()


def test_event_mix_probability_is_the_facts() -> None:
    """Facts 1.5: 10.8553 flips an event, 2.36e-3 events a block at 1e-4."""
    assert EventMix(1e-4).block_probability == pytest.approx(2.3583e-3, rel=1e-4)
    assert 256 * 1e-4 / EventMix(1e-4).block_probability == pytest.approx(10.8553, rel=1e-5)


def test_event_mix_in_data_blocks() -> None:
    """Counts by event are binomial, spans are aligned, contents are fair, and the BER is what was asked for."""
    mix, trials = EventMix(1e-3), 150
    data = Region(HBM3, ((0, 1000),))
    counts = dict.fromkeys(EVENTS, 0)
    flips = 0
    for trial in range(trials):
        for name, number in mix.count(data, (2, trial)).items():
            counts[name] += number
        flips += int((mix.draw(data, (2, trial)).sorts == Sort.DATA).sum())
    for name, event in EVENTS.items():
        per_place = mix.block_probability * event.weight / event.places(256)
        places = sum(event.places(size) for size in (256, 16, 32))  # data, sideband and on-die bits
        assert _binomial_z(counts[name], trials * 1000 * places, per_place) < 4.5, name
    # Overlaps lose a few: at 1e-3 a tenth of the events share a block, few of them a bit.
    assert flips / (trials * 1000 * 256) == pytest.approx(1e-3, rel=0.03)


def test_events_are_spans() -> None:
    mix, data = EventMix(2e-5), Region(HBM3, ((0, 20000),))
    seen = dict.fromkeys(EVENTS, 0)
    for trial in range(6):
        for name, event in EVENTS.items():
            faults = mix.draw_event(name, data, (2, trial))
            faults = faults.where(faults.sorts == Sort.DATA)
            for sector in np.unique(faults.sectors).tolist():
                bits = faults.bits[faults.sectors == sector]
                if event.aligned:
                    assert len(set((bits // event.bits).tolist())) <= 2
                    seen[name] += len(bits)
                elif event.bits == 2:
                    assert len(bits) % 2 == 0 and (bits[1::2] - bits[::2] == 1).all()
                    seen[name] += 1
                else:
                    seen[name] += 1
    assert all(seen.values())


def test_lists_are_by_trial_or_for_all() -> None:
    mine = fault_set(keys_of(np.array([128, 5]), Sort.DATA, np.array([1, 1])))
    assert Listed({-1: mine}).draw(REGION, (0, 99)).sectors.tolist() == [128]
    with pytest.raises(DataError, match="no trial 2"):
        Listed({0: mine, 1: mine}).draw(REGION, (0, 2))
    assert Listed({0: mine}).raw_ber(REGION) == 1 / REGION.stored_bits


def test_no_probabilities() -> None:
    for bad in (lambda: Uniform(-1e-9), lambda: Uniform(float("nan")), lambda: DataDependent(0, 2),
                lambda: WeakCells(1, 1.1), lambda: EventMix(0.05)):  # fmt: skip
        with pytest.raises(DataError, match="no probability"):
            bad()
    with pytest.raises(DataError, match="cell layout"):
        WeakCells(0.1, 0.1, "diagonal")  # type: ignore[arg-type]


def test_number_of_faults_is_binomial_exactly() -> None:
    """P(no fault in the first 64 bits), 900 trials, against (1 - p)^64 by an exact tail."""
    region, rate, trials = Region(HBM3, ((64, 1),)), 0.01, 900
    none = sum(
        not (Uniform(rate).draw(region, (6, t)).keys < keys_of(64, Sort.DATA, 64)).any()
        for t in range(trials)
    )
    p = (1 - rate) ** 64
    tail = sum(comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(none + 1))
    assert 5e-5 < tail < 1 - 5e-5
