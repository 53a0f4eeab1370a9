"""Scrubbing, stuck cells and repair on small memories, by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from potluck.isa.errors import DataError
from potluck.sim.ecc.interface import Status
from potluck.sim.ecc.registry import code
from potluck.sim.ecc.stack import Stack, hbm3
from potluck.sim.faults.faultset import Action, Sort, fault_set, keys_of
from potluck.sim.faults.life import Arrival, Life

ROWS = 6


def _memory(stack: Stack | None = None) -> tuple[Life, np.ndarray]:
    data = np.random.default_rng(3).integers(0, 2**63, (ROWS, 4), dtype=np.int64).astype(np.uint64)
    return Life(stack or Stack(code("hsiao_272_256")), data), data


def _flip(row: int, bit: int, sort: Sort = Sort.DATA):
    return fault_set(keys_of(row, sort, bit))


def test_scrubbing_keeps_single_errors_apart() -> None:
    """Two flips of a sector: uncorrectable together, harmless with a scrub between them."""
    arrivals = [Arrival(10.0, _flip(2, 5)), Arrival(40.0, _flip(2, 77))]
    for interval, status in ((None, Status.DUE), (24.0, Status.CORRECTED), (50.0, Status.DUE)):
        life, data = _memory()
        life.until(45.0, arrivals, interval)
        read = life.read()
        assert read.status[2, 0] == status
        assert np.array_equal(read.data, data) == (status != Status.DUE)
        life.until(200.0, (), interval)
        if interval == 24.0:
            assert (life.read().status == Status.CLEAN).all() and life.scrubbed[Status.CORRECTED] == 2
        if interval == 50.0:
            assert life.scrubbed[Status.DUE] == 1 and life.read().status[2, 0] == Status.DUE


def test_stuck_cells_survive_writes_and_scrubs() -> None:
    life, data = _memory()
    bit = 9
    stored = int(data[1, 0] >> np.uint64(bit)) & 1
    life.strike(fault_set(keys_of(1, Sort.DATA, bit), Action.SET1 if stored else Action.SET0, True))
    assert (life.read().status == Status.CLEAN).all()  # stuck at what it holds
    other = data ^ np.uint64(1 << bit)
    life.write(np.arange(ROWS), other)
    assert life.read().status[:, 0].tolist() == [0, 1, 0, 0, 0, 0]
    life.until(100.0, (), 10.0)
    assert life.read().status[1, 0] == Status.CORRECTED and np.array_equal(life.read().data, other)
    life.strike(_flip(1, 200, Sort.DATA))
    assert life.read("null").status[1, 0] == Status.DUE and not life.read("null").data[1].any()
    assert life.read("retry").status[1, 0] == Status.DUE  # faults are in the cells
    life.write(np.array([1]), other[1:2])
    assert life.read().status[1, 0] == Status.CORRECTED


def test_a_stuck_pin_outlasts_writes_and_a_transient_one_is_over() -> None:
    life, data = _memory(hbm3())
    pin = keys_of(1, Sort.DATA_PINS, np.arange(9, 256, 32))
    life.strike(fault_set(pin))
    assert (life.read().status == Status.CLEAN).all()
    life.strike(fault_set(pin, Action.SET1, True))
    assert np.array_equal(life.cells.data, life.stack.write(data).data)  # the cells are as they were
    for _ in range(2):
        assert life.read().status[:, 0].tolist() == [0, 2, 0, 0, 0, 0]
        assert life.read("retry").status[1, 0] == Status.DUE
        life.write(np.arange(ROWS), data)
    assert (life.read().data[1].view(np.uint32) >> 9 & 1).all()


def test_check_bits_fail_too() -> None:
    life, data = _memory(hbm3())
    for row, sort in ((0, Sort.SIDEBAND), (1, Sort.ON_DIE)):
        life.strike(_flip(row, 3, sort))
    life.strike(_flip(2, 60, Sort.ON_DIE))  # HBM3 stores 32: no such cell
    assert life.read().status[:, 0].tolist() == [1, 1, 0, 0, 0, 0] and np.array_equal(life.read().data, data)
    assert not np.array_equal(life.cells.checks, life.stack.write(data).checks)


def test_against_a_list_of_bits() -> None:
    """Random strikes and writes of an unprotected memory against a dictionary."""
    rng = np.random.default_rng(8)
    life, data = _memory(Stack(code("none")))
    bits = np.unpackbits(data.view(np.uint8), axis=1, bitorder="little")
    stuck: dict[tuple[int, int], int] = {}
    for _ in range(60):
        row, bit, action = int(rng.integers(ROWS)), int(rng.integers(256)), Action(int(rng.integers(3)))
        permanent = bool(rng.integers(2)) and action != Action.FLIP
        life.strike(fault_set(keys_of(row, Sort.DATA, bit), action, permanent))
        bits[row, bit] = bits[row, bit] ^ 1 if action == Action.FLIP else int(action == Action.SET1)
        if permanent:
            old = stuck.get((row, bit), 0)
            stuck[row, bit] = max(old, int(action))  # two stuck faults of a cell: see fault_set
        if rng.random() < 0.2:
            new = rng.integers(0, 2**63, (1, 4), dtype=np.int64).astype(np.uint64)
            life.write(np.array([row]), new)
            bits[row] = np.unpackbits(new.view(np.uint8), bitorder="little")
            for (r, b), what in stuck.items():
                if r == row:
                    bits[r, b] = int(what == Action.SET1)
    assert np.array_equal(np.packbits(bits, axis=1, bitorder="little").view(np.uint64), life.read().data)
    assert len(stuck) > 5


def test_time_runs_forwards() -> None:
    life, _ = _memory()
    life.until(10.0)
    with pytest.raises(DataError, match="order of time"):
        life.until(20.0, [Arrival(5.0, _flip(0, 0))])
    with pytest.raises(DataError, match="scrub every 0"):
        life.until(20.0, (), 0.0)
