"""The engine issues what a slow controller issues that chooses anew at every step, with and without its shortcuts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potluck.sim.dram.kind import Kind, kinds, load_kind
from potluck.sim.dram.system import System
from tests.reference.dram_scheduler import Channel

Trace = tuple[np.ndarray, np.ndarray, np.ndarray]


def _trace(kind: Kind, seed: int, n: int, runs: float, mixed: float, pace: float, span: int) -> Trace:
    """Bursts of runs that begin anywhere in ``span`` bursts; reads or writes run by run, but for a share."""
    rng = np.random.Generator(np.random.Philox(seed))
    jumps = rng.random(n) >= runs
    jumps[0] = True
    starts, run = rng.integers(0, span, n), np.cumsum(jumps) - 1
    places = np.flatnonzero(jumps)
    numbers = starts[places][run] + np.arange(n) - places[run]
    writes = np.where(rng.random(n) < mixed, rng.random(n) < 0.5, (rng.random(n) < 0.3)[run])
    o = kind.organization
    offsets = numbers % (o.channel_bytes // o.burst_bytes) * o.burst_bytes
    return offsets, writes, np.cumsum(rng.poisson(pace, n)).astype(np.int64)


def _same(kind: Kind, trace: Trace, mapping: str, page: str, refresh: str, queue: int) -> None:
    fast, logged = (System(kind, 1, mapping, page, refresh, queue) for _ in range(2))  # type: ignore[arg-type]
    place = fast.mapping.decode(trace[0])
    slow = Channel(kind, page, refresh, queue)
    slow.run(fast.mapping.flat_bank(place).tolist(), place.row.tolist(), trace[1].tolist(), trace[2].tolist())
    log = np.delete(logged.serve(*trace, log=True).log, 2, axis=1)
    assert [tuple(entry) for entry in log.tolist()] == slow.issued
    assert fast.serve(*trace).done.tolist() == [slow.done[k] for k in range(len(trace[0]))]
    found = list(slow.found.values())
    for system in (fast, logged):
        counts = system.counts()
        assert [counts.row_hits, counts.row_closed, counts.row_conflicts] == [
            found.count(k) for k in range(3)
        ]


def _wide(kind: Kind) -> Kind:
    """A kind with twice as many ranks, of half as many rows."""
    o = kind.organization
    names = [kind.mapping[k : k + 2] for k in range(0, len(kind.mapping), 2)]
    rank = "si" if o.rank_name == "sid" else "ra"
    order = names if rank in names else [rank, *names]
    return replace(kind, organization=replace(o, ranks=2 * o.ranks, rows=o.rows // 2), mapping="".join(order))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("key", kinds())
def test_streams_and_tiles_equal_the_slow_controller(key: str, wide: bool) -> None:
    kind = _wide(load_kind(key)) if wide else load_kind(key)
    for seed, (runs, mixed, pace, span) in enumerate(
        [
            (0.99, 0.0, 1.6, 1 << 14),
            (0.97, 0.0, 0.5, 1 << 12),
            (0.8, 0.2, 2, 1 << 22),
            (0.98, 0.1, 40, 1 << 13),
        ]
    ):
        _same(kind, _trace(kind, seed, 500, runs, mixed, pace, span), "", "open", "all-bank", 64)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(kinds()), st.booleans(), st.integers(0, 2**32), st.sampled_from([0, 0.6, 1.6, 6, 60]),
       st.sampled_from([0.0, 0.5, 0.9, 0.98, 1.0]), st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([2, 16, 64]),
       st.sampled_from([1 << 9, 1 << 12, 1 << 24]), st.sampled_from(["open", "open", "closed"]))  # fmt: skip
def test_any_trace_equals_the_slow_controller(
    data: st.DataObject, key: str, wide: bool, seed: int, pace: float, runs: float, mixed: float, queue: int,
    span: int, page: str,
) -> None:  # fmt: skip
    kind = _wide(load_kind(key)) if wide else load_kind(key)
    ways = ["all-bank", "none", *(["per-bank"] if kind.refreshes_banks else [])]
    names = [name for name, size in kind.organization.field_sizes().items() if size > 1]
    mapping = data.draw(st.one_of(st.just(""), st.permutations(names).map("".join)))
    trace = _trace(kind, seed, 250, runs, mixed, pace, span)
    _same(kind, trace, mapping, page, data.draw(st.sampled_from(ways)), queue)
