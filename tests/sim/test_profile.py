"""A profile's cycles are the run's, cause by cause and core by core, and watching changes nothing."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from potluck import api
from potluck.assets import load_test_images, model_path
from potluck.benchmarks.spine import irregular, random_inputs
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program
from potluck.isa.errors import DataError
from potluck.isa.machine import Machine, load_machine
from potluck.sim import hart as harts
from potluck.sim.cluster import Cluster
from potluck.sim.observation import profile, trace
from potluck.sim.observation.watch import FOREVER, Watch
from potluck.sim.simulate import simulate
from tests.sim.test_timing_programs import KERNELS

MACHINE = load_machine("spatz-mx")
ONE_CORE = load_machine("spatz-mx", {"cluster.cores": 1})
EXIT = "li a7, 93\nli a0, 0\necall\n"


def assemble(source: str) -> Program:
    assembler = Assembler()
    assembler.text(".text\n.globl _start\n_start:\n" + source)
    return assembler.assemble().program()


def network() -> tuple[Program, dict[str, Any]]:
    """The packaged network, two images."""
    program = api.compile(api.quantize(model_path(), "mxfp8"))
    images, _ = load_test_images()
    return program, {program.manifest.inputs[0].name: images[:1].reshape(program.manifest.inputs[0].shape)}


def check_sums(cluster: Cluster) -> None:
    """Clock and causes of each core, from its profile."""
    found = profile.collect(cluster)
    for core, hart in zip(found.cores, cluster.harts, strict=True):
        assert core.cycles == hart.cycles
        assert sum(entry.cycles for entry in core.entries) == hart.cycles
        assert sum(entry.executions for entry in core.entries) == hart.instructions
        for cause, cycles in hart.causes.items():
            assert sum(entry.causes[cause] for entry in core.entries) == cycles, cause
    blocks = found.blocks()
    assert sum(block.cycles for block in blocks) == sum(hart.cycles for hart in cluster.harts)
    assert all(len({entry.executions for entry in block.entries}) == 1 for block in blocks)


def observed(
    program: Program, inputs: Any = None, window: tuple[int, int] = (0, FOREVER), machine: Machine = MACHINE
) -> Cluster:
    """A run that was watched for everything, equal to one that was not."""
    cluster = Cluster(program, machine, watch=Watch(True, window))
    plain = Cluster(program, machine)
    outputs, expected = cluster.run(inputs), plain.run(inputs)
    for one, other in zip(cluster.harts, plain.harts, strict=True):
        assert (one.cycles, one.instructions, one.causes) == (other.cycles, other.instructions, other.causes)
        assert one.state.raw[: 33 * 8].tobytes() == other.state.raw[: 33 * 8].tobytes()
        assert (one.state.v == other.state.v).all()
    assert all(np.array_equal(outputs[name], expected[name], equal_nan=True) for name in expected)
    return cluster


def check_trace(cluster: Cluster) -> None:
    """Every cycle of a core is an instruction's stall, its issue, a jump's refill or an idle wait."""
    for core, hart in zip(trace.collect(cluster, (0, FOREVER)).cores, cluster.harts, strict=True):
        r = core.records
        assert r.size == hart.instructions
        assert (r["left"] - r["enter"] == r["stall"]).all() and (r["stall"] >= 0).all()
        idle = sum(wait.cycles for wait in core.waits)
        assert r.size + r["stall"].sum() + hart.causes["branch"] + idle == hart.cycles
        assert (np.diff(r["left"]) > 0).all() and (r["enter"][1:] > r["left"][:-1]).all()
        assert (r["done"] > r["left"]).all()
        before = r["left"].copy()
        for moment in ("taken", "sequenced", "begun", "read", "done"):  # in this order, where they exist
            there = r[moment] >= 0
            assert (r[moment][there] >= before[there]).all(), moment
            before[there] = r[moment][there]


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_on_two_cores(kernel: str) -> None:
    program = KERNELS[kernel](random.Random(f"{kernel} view"))
    cluster = observed(program, random_inputs(program))
    check_sums(cluster)
    check_trace(cluster)


def test_irregular_scalar_code() -> None:
    cluster = observed(irregular(10_000), machine=ONE_CORE)  # two would race in its data
    check_sums(cluster)
    check_trace(cluster)


def test_network() -> None:
    cluster = observed(*network())
    check_sums(cluster)
    check_trace(cluster)
    assert {entry.line.layer for entry in profile.collect(cluster).merged()} > {
        layer.name for layer in cluster.program.manifest.layers
    }


def test_memo_and_log_that_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tables: what they held before they were emptied counts."""
    monkeypatch.setattr(harts, "MEMO_ENTRIES", 16)
    monkeypatch.setattr("potluck.sim.observation.watch.LOG_LINES", 2)
    program = KERNELS["softmax"](random.Random(1))
    cluster = observed(program, random_inputs(program))
    check_sums(cluster)
    check_trace(cluster)
    assert len(cluster.harts[0]._flushed) > 10


def test_a_stall_is_charged_to_who_waits() -> None:
    """By hand: a load takes 3 cycles (docs/timing.md), a taken branch refills the fetch stage."""
    source = """
        la a2, data
        li a1, 100
    again:
        ld a3, 0(a2)
        add a4, a3, a3
        addi a1, a1, -1
        bnez a1, again
    """
    program = assemble(source + EXIT + ".data\n.align 3\ndata: .dword 5\n")
    machine = load_machine("spatz-mx", {"cluster.cores": 1, "timing.branch_taken": 2})
    result = simulate(program, {}, machine, profile=True)
    assert result.profile is not None
    block = result.profile.blocks()[0]
    assert block.entries[0].line.place == "again" and block.executions == 100
    load, add, _, branch = block.entries
    assert load.causes["issue"] == add.causes["issue"] == 100
    waits = add.causes["scalar"] + add.causes["dram"]
    assert waits == add.cycles - 100 and waits % 100 == 0 and waits >= 100
    assert branch.causes["branch"] == 99 * 2
    assert branch.line.text.endswith("# again")


def test_what_mode_functional_cannot_give() -> None:
    program = assemble(EXIT)
    with pytest.raises(DataError, match="functional counts none"):
        simulate(program, {}, MACHINE, mode="functional", profile=True)
    with pytest.raises(DataError, match="belongs to mode traced"):
        simulate(program, {}, MACHINE, window=(0, 10))
    with pytest.raises(DataError, match="holds no cycle"):
        simulate(program, {}, MACHINE, mode="traced", window=(10, 10))


@pytest.mark.parametrize("window", [(0, 1), (50, 60), (100, 1000), (10**9, 10**9 + 1)])
def test_a_window_is_a_part_of_the_whole(window: tuple[int, int]) -> None:
    program = KERNELS["gemm"](random.Random(2))
    inputs = random_inputs(program)
    whole = trace.collect(observed(program, inputs), (0, FOREVER))
    part = trace.collect(observed(program, inputs, window), window)
    for all_of_it, some in zip(whole.cores, part.cores, strict=True):
        left = all_of_it.records["left"]
        expected = all_of_it.records[(left >= window[0]) & (left < window[1])]
        assert [all_of_it.lines[n].pc for n in expected["row"]] == [
            some.lines[n].pc for n in some.records["row"]
        ]
        for name in ("enter", "left", "begun", "done", "stall", "cause", "vl"):
            assert (expected[name] == some.records[name]).all()
