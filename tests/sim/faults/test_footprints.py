"""Correlated faults: footprints in device coordinates against facts 3.4, places against brute force."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from potluck.isa.errors import DataError
from potluck.sim.dram.cells import Bit, Cells
from potluck.sim.dram.kind import kinds, load_kind
from potluck.sim.dram.mapping import Mapping
from potluck.sim.faults.faultset import Action, FaultSet, Sort
from potluck.sim.faults.footprints import MODES, Correlated, Fault, Footprints, Rate, poisson
from potluck.sim.faults.geometry import Geometry
from potluck.sim.faults.region import Region, region_of

HBM3 = Mapping(load_kind("hbm3"), 1)
PER_ROW = 32
KEY = (7, 0)
SHARED = Footprints(HBM3)


@cache
def _footprints(key: str) -> Footprints:
    return Footprints(Mapping(load_kind(key), 2))


def _whole_rows(rows: int) -> Region:
    """All of the first rows of every bank of HBM3's first stack id."""
    o = HBM3.kind.organization
    return region_of(HBM3, [(0, rows * o.bursts * o.burst_bytes * o.banks_per_rank * o.pseudochannels)])


def _cells(faults: FaultSet, mapping: Mapping) -> list:
    cells, names = Cells(mapping), {0: "data", 1: "sideband", 2: "on-die", 4: "data", 5: "sideband"}
    found = []
    for sector, sort, bit in zip(
        faults.sectors.tolist(), faults.sorts.tolist(), faults.bits.tolist(), strict=True
    ):
        place = (
            Bit("data", sector * 32 + bit // 8, bit % 8)
            if names[sort] == "data"
            else Bit(names[sort], sector * 32, bit)
        )
        found.append(cells.locate(place))
    return found


@pytest.mark.parametrize("key", kinds())
def test_every_bit_belongs_to_one_device(key: str) -> None:
    geometry = Geometry(Mapping(load_kind(key), 1))
    o = geometry.mapping.kind.organization
    per_burst = o.burst_bytes // 32 * (256 + o.sideband_bits + o.on_die_bits)
    parts = [geometry.device(d) for d in range(geometry.devices)]
    seen = {
        (s, k, b)
        for p in parts
        for s, k, b in zip(p.sector.tolist(), p.sort.tolist(), p.bit.tolist(), strict=True)
    }
    assert sum(map(len, parts)) == len(seen) == per_burst
    hbm = key.startswith("hbm")
    assert geometry.devices == (1 if hbm else (o.data_pins + o.check_pins) // o.device_pins)


@pytest.mark.parametrize("key", kinds())
@pytest.mark.parametrize("mode", list(MODES))
def test_footprints_stay_in_their_device_and_granule(key: str, mode: str) -> None:
    footprints = _footprints(key)
    mapping = footprints.mapping
    region = region_of(mapping, [(1 << 22, 1 << 10)])
    for number in range(3):
        fault = footprints.draw(mode, number, number % 2 == 1, KEY, region)
        found = footprints.faults(fault, region, KEY)
        if mode == "bit":  # in the region, but maybe a bit of its burst beside it
            assert len(found) == 1
        cells = _cells(found, mapping)
        hbm = key.startswith("hbm")
        assert {cell.device for cell in cells} <= ({0, 1} if hbm else {fault.device})
        for name, value in zip(MODES[mode].granule, fault.place, strict=True):
            got = {cell.row // 512 if name == "subarray" else getattr(cell, name) for cell in cells}
            assert got <= {value}, name
        if fault.permanent:
            assert found.permanent.all() and set(found.actions.tolist()) <= {Action.SET0, Action.SET1}
        else:
            assert not found.permanent.any() and set(found.actions.tolist()) <= {Action.FLIP}


def _one(mode: str, region: Region, number: int = 0) -> tuple[Fault, FaultSet]:
    footprints = SHARED
    fault = footprints.draw(mode, number, False, KEY, region)
    return fault, footprints.faults(fault, region, KEY)


def test_footprints_on_hbm3_are_the_facts() -> None:
    """Facts 3.4: a row is 32 accesses; SWL a fixed aligned 16-bit word, SWD a lane, a pin one bit per beat."""
    region = _whole_rows(2)
    for number in range(3):
        _, swl = _one("swl", region, number)
        assert 25 <= len(np.unique(swl.sectors)) <= PER_ROW or set(swl.sorts.tolist()) == {Sort.SIDEBAND}
        data = swl.where(swl.sorts == Sort.DATA)
        assert len(set((data.bits // 16).tolist())) <= 1 and len(swl) <= 16 * PER_ROW
        _, row = _one("row", region, number)
        assert len(np.unique(row.sectors)) == PER_ROW
        bits = PER_ROW * (256 + 16 + 32)
        assert abs(len(row) - bits / 2) < 5 * (bits / 4) ** 0.5
        _, column = _one("column", region, number)
        cells = _cells(column, HBM3)
        assert len({cell.burst for cell in cells}) == 1 and {cell.row for cell in cells} == {0, 1}
        assert 1 <= len({(cell.beat, cell.pin) for cell in cells}) <= 4 and len({c.beat for c in cells}) == 1
        fault, pin = _one("pin", region, number)
        data = pin.where(pin.sorts == Sort.DATA_PINS)
        assert len(set((data.bits % 32).tolist())) <= 1
        assert set(pin.sorts.tolist()) <= {Sort.DATA_PINS, Sort.SIDEBAND_PINS} and not pin.in_cells.any()
        share = len(pin) / (8 * region.count / 2)
        assert abs(share - 0.5) < 0.02, fault
        _, lane = _one("swd", region, number)
        assert len(set((lane.where(lane.sorts == Sort.DATA).bits // 32).tolist())) <= 1
        assert {cell.row for cell in _cells(lane, HBM3)} == {0, 1}
    _, banks = _one("multi_bank", region)
    assert len({(c.bank_group, c.bank) for c in _cells(banks, HBM3)}) == 8


def test_a_stuck_pin_holds_one_value() -> None:
    """All bits that cross it, in whatever bank or row; half of random data is wrong."""
    region, values = _whole_rows(1), set()
    for number in range(8):
        fault = SHARED.draw("pin", number, True, KEY, region)
        found = SHARED.faults(fault, region, KEY)
        own = region.sectors[np.isin(region.sectors, found.sectors)]
        assert len(found) == 8 * len(own) and len(own) == region.count // 2
        assert found.permanent.all() and len(set(found.actions.tolist())) == 1
        assert len({cell.pin for cell in _cells(found, HBM3)}) == 1
        values.add(int(found.actions[0]))
    assert values == {Action.SET0, Action.SET1}


def test_a_part_of_a_footprint_is_that_part() -> None:
    region, half = _whole_rows(1), region_of(HBM3, [(0, 16384)])
    footprints = Footprints(HBM3)
    for mode in ("row", "bank", "pin", "swd", "column"):
        fault = footprints.draw(mode, 3, True, KEY, half)
        whole = footprints.faults(fault, region, KEY)
        assert footprints.faults(fault, half, KEY) == whole.where(np.isin(whole.sectors, half.sectors))


@pytest.mark.parametrize("mode", ["row", "column", "bank", "swd", "pin"])
def test_share_of_faults_that_touch_a_region(mode: str) -> None:
    """Counting granules against drawing faults anywhere."""
    region = region_of(HBM3, [(0, 1 << 18)])
    footprints = Footprints(HBM3)
    touched = {tuple(g) for g in footprints.granules(mode, region).tolist()}
    trials = 5000
    rng = np.random.default_rng(1)
    sizes = footprints.sizes(mode)
    hits = sum(
        tuple(row) in touched for row in (rng.random((trials, len(sizes))) * sizes).astype(int).tolist()
    )
    share = footprints.touching(mode, region)
    assert share == len(touched) / np.prod(sizes, dtype=float)
    assert abs(hits - trials * share) <= 5 * (trials * share * (1 - share)) ** 0.5 + 1e-9


def test_places_are_uniform() -> None:
    footprints = Footprints(HBM3)
    found = np.array([footprints.draw("bank", 0, False, (1, t)).place for t in range(2000)])
    for column, size in zip(found.T, footprints.sizes("bank"), strict=True):
        counts = np.bincount(column, minlength=size)
        assert len(counts) == size and abs(counts - 2000 / size).max() < 5 * (2000 / size) ** 0.5


RATES = {"bit": Rate(50.0, 10.0), "row": Rate(0.0, 40.0), "bank": Rate(5.0, 0.0)}


def test_counts_are_poisson_and_forced_trials_are_the_rest() -> None:
    """P(no fault) and the mean of forced trials against the closed form."""
    region = region_of(HBM3, [(0, 1 << 18)])
    free, forced = (Correlated(HBM3, RATES, 2e7, f) for f in (False, True))
    expected = free.expected(region)
    assert set(expected) == {("bit", False), ("bit", True), ("row", True), ("bank", False)}
    devices = 4  # two pseudochannels of two stack ids
    assert expected["row", True] == pytest.approx(
        devices * 40e-9 * 2e7 * free.footprints.touching("row", region)
    )
    mean, trials = sum(expected.values()), 200
    counts = [len(free.arrivals(region, (3, t))) for t in range(trials)]
    assert abs(sum(counts) - trials * mean) < 5 * (trials * mean) ** 0.5
    more = [forced.arrivals(region, (3, t)) for t in range(trials)]
    assert min(map(len, more)) == 1
    given = mean / -np.expm1(-mean)
    assert abs(np.mean([len(m) for m in more]) - given) < 5 * (given / trials) ** 0.5
    assert forced.probability(region) == pytest.approx(-np.expm1(-mean))
    modes = [fault.mode for m in more for fault in m]
    for mode in ("bit", "row", "bank"):
        p = sum(v for (name, _), v in expected.items() if name == mode) / mean
        assert abs(modes.count(mode) - len(modes) * p) < 5 * (len(modes) * p * (1 - p)) ** 0.5 + 1
    assert all(a.hours <= b.hours <= 2e7 for m in more for a, b in pairwise(m))


def test_poisson_quantiles() -> None:
    assert [poisson(2.0, u) for u in (0.0, 0.135, 0.136, 0.406, 0.407)] == [0, 0, 1, 1, 2]
    assert poisson(1e-9, 0.0, 1) == poisson(1e-9, 0.999, 1) == 1
    with pytest.raises(DataError, match="fewer hours"):
        poisson(1e4, 0.5)


def test_unknown_modes_and_rates_of_nothing() -> None:
    with pytest.raises(DataError, match=r"no fault mode 'plane'.*multi_bank"):
        Footprints(HBM3).draw("plane", 0, False, KEY)
    with pytest.raises(DataError, match="every rate is 0"):
        Correlated(HBM3, {"bit": Rate(0, 0)}, 1.0, True).draw(region_of(HBM3, [(0, 32)]), KEY)
