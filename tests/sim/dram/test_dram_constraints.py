"""Each declared rule holds in the engine at t and not at t - 1; random traces pass a checker that knows no rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potluck.sim.dram import clocks
from potluck.sim.dram.kind import Kind, kinds, load_kind
from potluck.sim.dram.rules import COMMANDS, SIBLINGS, Rule, Waits, compile_rules, waits
from potluck.sim.dram.system import NODES, System, bank_records
from tests.reference.dram_checker import NUMBERS, violations

RULES = [(key, rule.text) for key in kinds() for rule in load_kind(key).rules]


def _partner(kind: Kind, scope: int) -> int | None:
    """A bank that shares with bank 0 the node at ``scope``, but none below it; None if there is none."""
    o = kind.organization
    steps = (o.ranks * o.banks_per_rank, o.banks_per_rank, o.banks, 1, 0, o.banks_per_rank)
    sizes = (o.pseudochannels, o.ranks, o.bank_groups, o.banks, 2, o.ranks)
    return steps[scope] if sizes[scope] > 1 else None


def _waits(kind: Kind, rules: Iterable[Rule]) -> Waits:
    o = kind.organization
    nodes = bank_records(kind)[:, :NODES]
    return waits(compile_rules(rules, ranks=o.ranks), nodes, o.banks_per_rank, o.ranks)


def _state(kind: Kind) -> dict[str, np.ndarray]:
    system = System(kind)
    return {"p": system._parameters, "allowed": system._allowed[0], "banks": system._banks[0],
            "ranks": system._ranks[0], "record": system._record[0]}  # fmt: skip


@pytest.mark.parametrize(("key", "text"), RULES, ids=lambda value: value.replace(" ", ""))
def test_rule_holds_at_t_and_not_before(key: str, text: str) -> None:
    kind = load_kind(key)
    rule = next(rule for rule in kind.rules if rule.text == text)
    partner = _partner(kind, rule.scope)
    if partner is None:
        pytest.skip("the part has one node there")
    tables = _waits(kind, [rule])
    for first in rule.first:
        for then in rule.then:
            if then in (clocks.RDA, clocks.WRA):
                continue  # judged as RD and WR, which compile_rules checks
            s = _state(kind)
            start = 1000
            for number in range(rule.window):
                bank = number * kind.organization.banks % kind.organization.banks_per_rank
                clocks.issue(first, bank, start + number, s["p"], tables.first, tables.entries,
                             tables.delays, s["allowed"], s["banks"], s["ranks"], s["record"])  # fmt: skip
            if rule.window > 1:
                s["p"][clocks.WINDOW_CYCLES] = 0
                s = _windowed(kind, rule.cycles, start, tables)
            if then in (clocks.PREA, clocks.REF_AB):
                earliest = clocks.earliest_rank(then, partner, s["banks"], s["allowed"])
            else:
                earliest = clocks.earliest(then, partner, s["banks"], s["allowed"])
            at = start + rule.cycles
            assert not earliest <= at - 1, f"{COMMANDS[first]} -> {COMMANDS[then]} is allowed a clock early"
            assert earliest <= at, f"{COMMANDS[first]} -> {COMMANDS[then]} is not allowed in time"


def _windowed(kind: Kind, cycles: int, start: int, tables: Waits) -> dict[str, np.ndarray]:
    s = _state(kind)
    s["p"][clocks.WINDOW_CYCLES] = cycles
    for number in range(4):
        bank = number * kind.organization.banks % kind.organization.banks_per_rank
        assert clocks.earliest(clocks.ACT, bank, s["banks"], s["allowed"]) <= start + number
        clocks.issue(clocks.ACT, bank, start + number, s["p"], tables.first, tables.entries, tables.delays,
                     s["allowed"], s["banks"], s["ranks"], s["record"])  # fmt: skip
    return s


@pytest.mark.parametrize("key", kinds())
def test_all_rules_together_are_the_longest_of_each(key: str) -> None:
    """With all rules in the table, a pair of commands waits for the longest rule that relates their banks."""
    kind = load_kind(key)
    tables = _waits(kind, kind.rules)
    o = kind.organization
    for scope in (*range(5), SIBLINGS):
        partner = _partner(kind, scope)
        if partner is None:
            continue
        shared = {
            0: {0},
            1: {0, 1, SIBLINGS},
            2: {0, 1, 2},
            3: {0, 1, 2, 3},
            4: set(range(5)),
            SIBLINGS: {0, 1, SIBLINGS},
        }
        for first in range(9):
            for then in (0, 1, 3, 4):
                whole = first in (clocks.PREA, clocks.REF_AB)
                cycles = [
                    rule.cycles for rule in kind.rules
                    if first in rule.first and then in rule.then and rule.window == 1 and rule.scope in shared[scope]
                    and not (whole and rule.scope in (3, 4)) and not (rule.scope == SIBLINGS and o.ranks == 1)
                ]  # fmt: skip
                s = _state(kind)
                s["p"][clocks.WINDOW_CYCLES] = 0
                clocks.issue(first, 0, 1000, s["p"], tables.first, tables.entries, tables.delays,
                             s["allowed"], s["banks"], s["ranks"], s["record"])  # fmt: skip
                expected = 1000 + max(cycles) if cycles else 0
                assert clocks.earliest(then, partner, s["banks"], s["allowed"]) == expected


def _trace(
    kind: Kind, seed: int, n: int, locality: float, write_share: float, pace: float
) -> tuple[np.ndarray, ...]:
    """Random bursts: runs of neighbours, jumps near and far, reads and writes, arriving at a random pace."""
    rng = np.random.Generator(np.random.Philox(seed))
    burst = kind.organization.burst_bytes
    total = kind.organization.channel_bytes // burst
    near = rng.integers(0, 4096, n)
    jump = np.where(rng.random(n) < 0.5, near, rng.integers(0, total, n))
    offsets = np.zeros(n, np.int64)
    for k in range(1, n):
        offsets[k] = offsets[k - 1] + 1 if rng.random() < locality else jump[k]
    arrivals = np.cumsum(rng.poisson(pace, n)).astype(np.int64)
    return offsets % total * burst, rng.random(n) < write_share, arrivals


def _check(kind: Kind, key: str, system: System, trace: tuple[np.ndarray, ...]) -> list[str]:
    served = system.serve(*trace, log=True)
    assert (served.done > trace[2]).all()
    log = np.delete(served.log, 2, axis=1)
    requests = np.sort(log[(log[:, 1] >= 3) & (log[:, 1] <= 6)][:, 4])
    assert (requests == np.arange(trace[0].size)).all(), "every request is served exactly once"
    place = system.mapping.decode(trace[0])
    banks, rows = system.mapping.flat_bank(place), place.row
    for _, command, bank, row, request in log[(log[:, 1] >= 3) & (log[:, 1] <= 6)]:
        assert (bank, row, command in (4, 6)) == (banks[request], rows[request], trace[1][request])
    return violations(key, log.tolist())


@pytest.mark.parametrize("refresh", ["all-bank", "per-bank", "none"])
@pytest.mark.parametrize("page", ["open", "closed"])
@pytest.mark.parametrize("key", kinds())
def test_random_traces_break_no_constraint(key: str, page: str, refresh: str) -> None:
    kind = load_kind(key)
    if refresh == "per-bank" and not kind.refreshes_banks:
        pytest.skip("no per-bank refresh")
    for seed, (locality, writes, pace) in enumerate(
        [(0.9, 0.3, 0), (0.0, 0.5, 2), (0.5, 0.2, 30), (0.99, 0.0, 1)]
    ):
        system = System(kind, page=page, refresh=refresh, queue=16)  # type: ignore[arg-type]
        assert _check(kind, key, system, _trace(kind, seed, 1500, locality, writes, pace)) == []


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(kinds()), st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1), st.floats(0, 60),
       st.sampled_from([1, 4, 32]))  # fmt: skip
def test_any_trace_breaks_no_constraint(
    key: str, seed: int, near: float, writes: float, pace: float, queue: int
) -> None:
    kind = load_kind(key)
    assert _check(kind, key, System(kind, queue=queue), _trace(kind, seed, 400, near, writes, pace)) == []


MUTATIONS = [
    "bank: ACT -> RD* = nRCDRD",
    "bank: ACT -> WR* = nRCDWR",
    "bank: ACT -> PRE = nRAS",
    "bank: PRE -> ACT = nRP",
    "bank: RD -> PRE = nRTP",
    "bank: WR -> PRE = nCWL + nBL + nWR",
    "bankgroup: ACT -> ACT = nRRDL",
    "bankgroup: RD* -> RD* = nCCDL",
    "rank: ACT x4 -> ACT = nFAW",
    "rank: RD* -> WR* = nRTW",
    "bankgroup: WR* -> RD* = nCWL + nBL + nWTRL",
    "rank: WR* -> RD* = nCWL + nBL + nWTRS",
    "rank: RD* -> RD* = nCCDS",
    "rank: REFab -> ACT REFab = nRFC",
    "rank: PREA -> REFab = nRPab",
]


@pytest.mark.parametrize("text", MUTATIONS)
def test_the_checker_finds_a_rule_that_is_a_clock_short(text: str) -> None:
    caught = False
    for key in ("ddr4", "hbm2", "hbm3", "lpddr5"):
        kind = load_kind(key)
        rules = tuple(replace(r, cycles=r.cycles - 1) if r.text == text else r for r in kind.rules)
        for seed, (locality, writes, pace) in enumerate([(0.0, 0.5, 0), (0.8, 0.3, 0), (0.0, 0.0, 0)]):
            system = System(replace(kind, rules=rules), mapping="" if seed else kind.mapping)
            caught |= bool(_check(kind, key, system, _trace(kind, seed, 3000, locality, writes, pace)))
    assert caught


def test_every_kind_is_checked() -> None:
    assert set(NUMBERS) == set(kinds())


@pytest.mark.parametrize("key", ["ddr4", "hbm3"])
@pytest.mark.parametrize("pace", [0.5, 1.7, 3, 40])
def test_shortcuts_change_nothing(key: str, pace: float) -> None:
    """Lone row hits bypass the queue when no log is kept; with a log they do not."""
    kind = load_kind(key)
    for seed, near in enumerate((0.5, 0.95, 1.0)):
        one, two = System(kind), System(kind)
        trace = _trace(kind, seed, 3000, near, 0.1, pace)
        assert (one.serve(*trace).done == two.serve(*trace, log=True).done).all()
        assert one.counts() == two.counts() and (one._ranks == two._ranks).all()
