"""Rules of the scalar core (docs/timing.md), each test named after its rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from potluck.isa.machine import load_machine
from potluck.sim.timing.timer import time_block
from tests.sim.rules.gate import Gate

USE = "add a3, a0, a0"


def test_core_issue(gate: Gate) -> None:
    """Each of a chain of additions takes one cycle, no less and no more."""
    for count in (1, 2, 9):
        assert gate.run("add a0, a0, a0\n" * count).cycles == count
    gate.never_waits("add a0, a1, a2", USE)


def test_core_load(gate: Gate) -> None:
    gate.opens_at(gate.latency("load"), "ld a0, 0(s0)", USE)


def test_core_one_load(gate: Gate) -> None:
    gate.opens_at(gate.latency("load") - 1, "ld a0, 0(s0)", "ld a1, 8(s0)")
    gate.never_waits("ld a0, 0(s0)", "sd a1, 8(s0)")


def test_core_load_after_vector_store(gate: Gate) -> None:
    """The store's last word is read at 2 + words - 1."""
    words = gate.words(lanes=gate.machine.vector.ports)
    gate.opens_at(1 + words + gate.latency("vector_store"), "vse32.v v0, (a0)", "ld a1, 0(a2)")
    gate.never_waits("vle32.v v0, (a0)", "ld a1, 0(a2)")


def test_core_store_after_vector_access(gate: Gate) -> None:
    words = gate.words(lanes=gate.machine.vector.ports)
    gate.opens_at(1 + words + gate.load, "vle32.v v0, (a0)", "sd a1, 0(a2)")
    gate.opens_at(1 + words + gate.latency("vector_store"), "vse32.v v0, (a0)", "sd a1, 0(a2)")


def test_core_multiply(gate: Gate) -> None:
    gate.opens_at(gate.latency("mul", 64), "mul a0, a1, a2", USE)


def test_core_divide(gate: Gate) -> None:
    gate.opens_at(gate.latency("div", 64), "divu a0, a1, a2", USE)
    gate.opens_at(gate.latency("div", 32), "remw a0, a1, a2", USE)


def test_core_one_division(gate: Gate) -> None:
    gate.opens_at(gate.latency("div", 64), "divu a0, a1, a2", "remu a3, a4, a5")
    gate.opens_at(gate.latency("div", 32), "divw zero, a1, a2", "remu a3, a4, a5")
    gate.never_waits("divu a0, a1, a2", "mul a3, a4, a5")


def test_core_after_floats(gate: Gate) -> None:
    """An FP access that waits in the sequencer leaves when the load before it has its result."""
    leaves = 1 + gate.latency("float_load")
    for held in ("fsd fa0, 8(s0)", "fld fa0, 8(s0)"):
        before = f"fld fa0, 0(s0)\n{held}"
        for probe in ("sd a1, 0(a2)", "amoadd.w zero, a1, (a2)", "fence.i"):
            gate.opens_at(leaves, before, probe)
        if held.startswith("fsd"):
            gate.opens_at(leaves, before, "ld a1, 0(a2)")
        else:
            gate.never_waits(before, "ld a1, 0(a2)")


def test_core_atomic(gate: Gate) -> None:
    """Returns like a load, ordered like a store."""
    for access in ("amoadd.w a0, a1, (s0)", "lr.w a0, (s0)", "sc.w a0, a1, (s0)"):
        gate.opens_at(gate.latency("amo", 32), access, USE)
        words = gate.words(lanes=gate.machine.vector.ports)
        gate.opens_at(1 + words + gate.load, "vle32.v v0, (a0)", access)


def test_core_single_cycle(gate: Gate) -> None:
    for code in (
        "sh1add a0, a1, a2",
        "andn a0, a1, a2",
        "bset a0, a1, a2",
        "czero.eqz a0, a1, a2",
        "csrr a0, vl",
    ):
        gate.never_waits(code, USE)
        assert gate.run(code).cycles == 1, code
    for code in ("fence", "ecall"):
        assert gate.run(code).cycles == 1, code


def test_core_branch(gate: Gate) -> None:
    """The next instruction issues the penalty later, and not if the branch is not taken."""
    name = gate.machine.name
    for penalty in (gate.machine.timing.branch_taken, 2):
        other = replace(
            gate, machine=load_machine(name, {"timing.branch_taken": penalty, "timing.jump": penalty})
        )
        for code in ("beq a0, a1, 8", "jal ra, 8", "jalr ra, 0(a0)"):
            run = other.run(code)
            times, causes = np.zeros_like(run.times), np.zeros_like(run.causes)
            assert time_block(run.rows, 0, run.codes, 1, times, causes) == 1 + penalty
            assert causes.sum() == 1 + penalty and run.cycles == 1


def test_core_fence_i(gate: Gate) -> None:
    """Ordered as a store, and what follows it issues so much later, always."""
    words = gate.words(lanes=gate.machine.vector.ports)
    gate.opens_at(1 + words + gate.load, "vle32.v v0, (a0)", "fence.i")
    run = gate.run("fence.i")
    times, causes = np.zeros_like(run.times), np.zeros_like(run.causes)
    assert (
        time_block(run.rows, 0, run.codes, 1, times, causes)
        == 1 + gate.machine.timing.fence_i
        == causes.sum()
    )


def test_core_drain(gate: Gate) -> None:
    done = 2 + gate.words() - 1 + gate.latency("fma")
    for code in ("csrr a0, fflags", "csrw frm, a0", "csrr a0, fcsr"):
        gate.opens_at(done, "vfadd.vv v8, v16, v24", code)
    gate.never_waits("vfadd.vv v8, v16, v24", "csrr a0, vl")


def test_core_far_load(gate: Gate) -> None:
    gate.opens_at(gate.latency("load") + gate.machine.dram.latency_cycles, "ld a0, 0(s0)", USE, far=True)
