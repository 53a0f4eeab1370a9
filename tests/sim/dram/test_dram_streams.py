"""Bandwidth of streams against the bound that the constraints give; energies against the fact sheet; declarations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from potluck.benchmarks.dram import stream_bound
from potluck.isa.errors import DataError, MachineError
from potluck.isa.machine import EnergyEntry
from potluck.sim.dram.energy import Currents, from_currents
from potluck.sim.dram.kind import ENERGIES, kinds, load_kind
from potluck.sim.dram.mapping import Mapping, Place
from potluck.sim.dram.rules import compile_rules, parse
from potluck.sim.dram.system import System

SIDEBAND = {
    "hbm3": 16,
    "hbm4": 16,
    "hbm2": 32,
    "ddr4": 32,
    "ddr4-2400": 32,
    "ddr5": 64,
    "ddr5-6400": 64,
    "lpddr5": 0,
}


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("key", kinds())
def test_streams_reach_the_bound(key: str, write: bool) -> None:
    kind = load_kind(key)
    system = System(kind)
    n = 150_000
    offsets = np.arange(n, dtype=np.int64) * kind.organization.burst_bytes
    done = system.serve(offsets, np.full(n, write), np.zeros(n, np.int64)).done.max()
    # Whole refresh intervals: the rest of the last one would count as a gain.
    intervals = int(done) // kind.timing["nREFI"]
    reached = n * kind.organization.burst_bytes / int(done)
    assert intervals >= 10
    assert 0.98 <= reached / stream_bound(kind, write) <= 1 + 1 / intervals


def test_random_accesses_to_one_bank_take_a_row_cycle_each() -> None:
    kind = load_kind("ddr4")
    system = System(kind, refresh="none")
    n = 1000
    place = Place(0, 0, 0, 0, 0, np.arange(n), 0)
    done = system.serve(system.mapping.encode(place), np.zeros(n, bool), np.zeros(n, np.int64)).done
    assert set(np.diff(done).tolist()) == {kind.timing["nRC"]}
    counts = system.counts()
    assert (counts.row_hits, counts.row_closed, counts.row_conflicts) == (0, 1, n - 1)


def test_closed_page_closes_and_open_page_keeps_rows() -> None:
    kind = load_kind("ddr4")
    n = 100
    offsets, gap = np.arange(n, dtype=np.int64) % 2 * 4096, np.arange(n) * 1000
    opened, closed = System(kind, refresh="none"), System(kind, page="closed", refresh="none")
    for system in (opened, closed):
        system.serve(offsets, np.zeros(n, bool), gap)
    assert opened.counts().row_hits == n - 1
    assert closed.counts().row_hits == 0 and closed.counts().row_conflicts == 0


def test_a_request_is_not_overtaken_for_ever() -> None:
    kind = load_kind("ddr4")
    system = System(kind, refresh="none", queue=8)
    n = 5000
    row = np.zeros(n, np.int64)
    row[3] = 7  # a conflict in the bank that the stream of hits keeps busy
    place = Place(0, 0, 0, 0, 0, row, np.arange(n) % 128)
    served = system.serve(system.mapping.encode(place), np.zeros(n, bool), np.zeros(n, np.int64))
    assert (served.done < served.done[3]).sum() <= 4 * 8 + 8


@pytest.mark.parametrize("refresh", ["all-bank", "per-bank"])
def test_refreshes_keep_their_rate_when_idle_and_when_busy(refresh: str) -> None:
    kind = load_kind("hbm3")
    idle, busy = System(kind, refresh=refresh), System(kind, refresh=refresh)  # type: ignore[arg-type]
    n = 100_000
    done = busy.serve(np.arange(n) * 32, np.zeros(n, bool), np.zeros(n, np.int64)).done.max()
    idle.advance(busy.cycles(int(done)))
    o = kind.organization
    expected = int(done) / kind.timing["nREFI"] * o.ranks_per_channel
    expected *= 1 if refresh == "all-bank" else o.banks_per_rank
    for system in (idle, busy):
        counts = system.counts()
        assert abs(counts.refreshes + counts.bank_refreshes - expected) <= 2 * o.ranks_per_channel


@pytest.mark.parametrize(("channels", "mapping"), [(2, ""), (1, "sirobacobgpc"), (4, "sirochbacobgpc")])
def test_transfers_equal_the_same_trace(channels: int, mapping: str) -> None:
    """A transfer through the bus is the trace of its bursts at the bus's pace."""
    kind = load_kind("hbm3")
    one, two = System(kind, channels, mapping), System(kind, channels, mapping)
    first, last, beats = one.transfer(96, 256, 3, 160, False, 50, 64, one.tally())
    offsets, arrivals, at = [], [], 50
    for row in range(3):
        low = 96 + 256 * row
        for number in range(low // 32, (low + 159) // 32 + 1):
            offsets.append(32 * number)
            arrivals.append(-(-(at + max(32 * number, low) // 64 - low // 64) * 8 // 5))
        at += (low + 159) // 64 - low // 64 + 1
    done = two.serve(np.array(offsets), np.zeros(len(offsets), bool), np.array(arrivals)).done
    assert (first, last, beats) == (two.cycles(int(done[0])), two.cycles(int(done.max())), at - 50)
    assert one.counts() == two.counts()


def test_energies_of_the_fact_sheet() -> None:
    """DRAMsim3's currents with the clock period, as facts rangeguard_dram §2.4 computes them."""
    ddr4 = load_kind("ddr4")
    currents = Currents(1.2, 57, 37, 52, 168, 150, 250, 8, 1.0, 1, 1, "", "")
    timing = ddr4.timing | {"tCK_ps": 630, "nRFC": 560}
    energy = from_currents(currents, timing, ddr4.organization)
    expected = {
        "act": 4230,
        "read": 5.48,
        "write": 4.63,
        "refresh": 671_000,
        "active": 499,
        "precharged": 355,
    }
    for name, value in expected.items():
        assert energy[name].pj == pytest.approx(value, rel=2e-3), name
    hbm2 = load_kind("hbm2")
    currents = Currents(1.2, 65, 40, 55, 390, 500, 250, 1, 1.0, 1, 1, "", "")
    channel = replace(hbm2.organization, data_pins=128)
    energy = from_currents(currents, hbm2.timing | {"nRFC": 260}, channel)
    expected = {"act": 830, "read": 1.57, "write": 2.09, "refresh": 61_000, "active": 66, "precharged": 48}
    for name, value in expected.items():
        assert energy[name].pj == pytest.approx(value, rel=4e-3), name


@pytest.mark.parametrize(
    ("key", "read", "write", "act"), [("ddr4", 5.48, 4.63, 4230), ("hbm2", 1.57, 2.09, 830)]
)
def test_declared_kinds_have_the_fact_sheets_energies(
    key: str, read: float, write: float, act: float
) -> None:
    energy = load_kind(key).energy
    assert energy["read"].pj == pytest.approx(read, rel=0.01)
    assert energy["write"].pj == pytest.approx(write, rel=0.01)
    assert energy["act"].pj == pytest.approx(act, rel=0.01)


def test_energy_of_a_stream_is_that_of_its_commands() -> None:
    kind = load_kind("ddr4")
    system = System(kind)
    n = 128 * 16
    done = system.serve(np.arange(n) * 64, np.zeros(n, bool), np.zeros(n, np.int64)).done.max()
    dynamic = system.dynamic_energy(system.counts())
    assert system.counts().activations == 16
    assert dynamic["dram"] == pytest.approx(16 * 4200 + n * 512 * kind.energy["read"].pj)
    assert dynamic["dram_io"] == pytest.approx(n * 512 * 6.0)
    background = system.background_energy(system.cycles(int(done)))
    power = background["dram_standby"] / (system.cycles(int(done)) * 1.0)  # mW; a cycle is 1 ns
    assert kind.energy["precharged"].pj < power <= kind.energy["active"].pj * 1.001  # part of a clock


@pytest.mark.parametrize("key", kinds())
def test_declarations_are_complete(key: str) -> None:
    kind = load_kind(key)
    assert set(kind.energy) == set(ENERGIES)
    for entry in kind.energy.values():
        assert isinstance(entry, EnergyEntry) and entry.node and entry.source and entry.voltage > 0
        assert entry.low <= entry.pj <= entry.high
    assert kind.organization.sideband_bits == SIDEBAND[key]
    assert compile_rules(kind.rules).window == (4, kind.timing["nFAW"])


@pytest.mark.parametrize("key", kinds())
@pytest.mark.parametrize("order", ["", "rochrababgco", "rorabgbachco", "corobabgch"])
def test_mapping_is_a_bijection(key: str, order: str) -> None:
    kind = load_kind(key)
    fields = kind.organization.field_sizes()
    for name in fields:
        if order and name not in order and fields[name] > 1:
            order = name + order.replace("ra", "")
    mapping = Mapping(kind, 4, order)
    rng = np.random.Generator(np.random.Philox(3))
    offset = (
        rng.integers(0, mapping.bytes, 5000) // kind.organization.burst_bytes * kind.organization.burst_bytes
    )
    place = mapping.decode(offset)
    assert (mapping.encode(place) == offset).all()
    lows = [mapping.decode(field) for field in (0, mapping.bytes - 1)]
    assert tuple(lows[0]) == (0,) * 7
    assert tuple(int(x) + 1 for x in lows[1]) == (
        4, kind.organization.pseudochannels, kind.organization.ranks, kind.organization.bank_groups,
        kind.organization.banks, kind.organization.rows, kind.organization.bursts)  # fmt: skip


def test_errors_name_the_key() -> None:
    kind = load_kind("hbm3")
    with pytest.raises(MachineError, match=r"dram\.kind.*no DRAM kind 'hbm5'.*hbm4"):
        load_kind("hbm5")
    with pytest.raises(MachineError, match=r"dram\.mapping.*lacks \['si', 'ba'"):
        Mapping(kind, 2, "robgcopcch")
    with pytest.raises(MachineError, match=r"dram\.mapping.*\['xx'\]"):
        Mapping(kind, 2, "xxsirobacobgpcch")
    with pytest.raises(MachineError, match=r"dram\.channels.*power of two"):
        Mapping(kind, 3)
    with pytest.raises(MachineError, match=r"ddr4 has no per-bank refresh"):
        System(load_kind("ddr4"), refresh="per-bank")
    with pytest.raises(MachineError, match="no timing rule"):
        parse("ACT then RD", {})
    with pytest.raises(MachineError, match="unknown command 'RDX'"):
        parse("bank: RDX -> ACT = 1", {})
    with pytest.raises(MachineError, match="unknown name 'nQ'"):
        parse("bank: RD -> ACT = nQ", {"nCL": 1})
    with pytest.raises(DataError, match="outside DRAM"):
        System(kind).serve(np.array([1 << 40]), np.zeros(1, bool), np.zeros(1, np.int64))
    with pytest.raises(DataError, match="arrivals decrease"):
        System(kind).serve(np.zeros(2, np.int64), np.zeros(2, bool), np.array([1, 0]))


def test_long_transfers_are_cut_and_endless_ones_extrapolated(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = load_kind("hbm3")
    expected = System(kind).transfer(64, 4096, 400, 2048, False, 0, 64, System.tally())
    monkeypatch.setattr("potluck.sim.dram.system.PIECE", 4096)
    cut = System(kind).transfer(64, 4096, 400, 2048, False, 0, 64, System.tally())
    assert cut[2] == expected[2]
    assert cut[1] == pytest.approx(expected[1], rel=0.03)
    monkeypatch.setattr("potluck.sim.dram.system.PIECE", 1 << 16)
    whole = System(kind).transfer(0, 0, 1 << 12, 64, False, 0, 64, System.tally())
    monkeypatch.setattr("potluck.sim.dram.system.MODELED", 1 << 12)
    system = System(kind)
    endless = system.transfer(0, 0, 1 << 40, 64, False, 0, 64, system.tally())
    assert system.counts().reads == 2 << 10
    assert endless[2] == 1 << 40
    assert endless[1] / (1 << 40) == pytest.approx(whole[1] / (1 << 12), rel=0.1)
