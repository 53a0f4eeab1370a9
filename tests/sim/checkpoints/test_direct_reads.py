"""A program that reads its constants from DRAM itself, at places that its input chooses, and stores into DRAM."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program, Section
from potluck.isa.errors import EndlessError, PotluckError, TrapError
from potluck.isa.machine import load_machine
from potluck.isa.manifest import Manifest, Tensor
from potluck.sim.checkpoints.golden import record
from potluck.sim.checkpoints.pages import PageStore
from potluck.sim.checkpoints.replay import Patch, Replay
from potluck.sim.checkpoints.stage import Outside, Stage, supported
from potluck.sim.dram.kind import SECTOR
from potluck.sim.simulate import simulate

MACHINE = load_machine("spatz-mx")
TABLE, INPUT, OUTPUT = 0x8020_0FE0, 0x8030_0000, 0x8031_0010  # the table begins at the end of a page
WORDS, STEPS, PATIENCE = 4096, 16, 10
BASE = MACHINE.memory.dram_base
SOURCE = f"""
.text
.globl _start
_start:
    bnez a0, done
    li s0, {INPUT}
    li s1, {TABLE}
    li s2, {OUTPUT}
    li s3, {STEPS}
    li s6, 0x11000000
step:
    lw t0, 0(s0)
    slli t0, t0, 2
    add t0, t0, s1
    lw t1, 0(t0)           # a number from the table
    lw t2, 0(s6)           # the cluster's register: a round ends
    add s4, s4, t1
    vsetivli zero, 16, e32, m1, ta, ma
    vle32.v v1, (t0)       # sixteen of them, over the end of a page
    vse32.v v1, (s2)
    andi t3, t1, 1023
    slli t3, t3, 2
    add t3, t3, s1
    flw f1, 0(t3)          # one where the last one says
    fsw f1, 64(s2)
    sw s4, 68(s2)
    addi s0, s0, 4
    addi s2, s2, 72
    addi s3, s3, -1
    bgtz s3, step
done:
    li a7, 93
    li a0, 0
    ecall
"""


@cache
def program() -> Program:
    assembler = Assembler()
    assembler.text(SOURCE)
    manifest = Manifest(
        inputs=[Tensor("x", "int32", [1, STEPS], "row", INPUT, 4 * STEPS)],
        outputs=[Tensor("y", "int32", [1, 18 * STEPS], "row", OUTPUT, 72 * STEPS)],
    )
    made = assembler.assemble().program(manifest)
    words = np.random.Generator(np.random.Philox(1)).integers(0, 1 << 31, WORDS, np.int64).astype(np.uint32)
    return replace(made, sections=[*made.sections, Section("table", TABLE, words.tobytes())])


def inputs(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.Generator(np.random.Philox(seed))
    return {"x": rng.integers(0, WORDS - 16, (1, STEPS))}


def test_every_sector_ends_like_a_whole_run() -> None:
    """Of random corruptions of one word, from checkpoints at every round: outputs, and no more read than is."""
    one = program()
    assert supported(one, MACHINE)
    stage = Stage(one, MACHINE, PageStore())
    first, count = (TABLE - BASE) // SECTOR, 4 * WORDS // SECTOR
    goldens = [record(stage, inputs(seed), first, count) for seed in (1, 2)]
    assert [len(golden.points) for golden in goldens] == [STEPS + 1] * 2  # watching adds no rounds
    replay = Replay(stage)
    replay.looks.first = 1 << 30  # always
    rng = np.random.Generator(np.random.Philox(3))
    table = np.frombuffer(next(s.data for s in one.sections if s.name == "table"), np.uint32)
    changed = 0
    for _ in range(60):
        which = int(rng.integers(2))
        asked = int(rng.choice(inputs(which + 1)["x"][0])) + int(rng.integers(16))
        place = int(rng.choice([asked, rng.integers(WORDS)]))
        corrupted = table.copy()
        corrupted[place] ^= np.uint32(1 << int(rng.integers(10)))  # what is read then stays in the table
        sectors = np.array([first + place // 8])
        found = replay.run(
            goldens[which], Patch(sectors, corrupted.view(np.uint64).reshape(-1, 4)[sectors - first])
        )
        faulty = [replace(s, data=corrupted.tobytes()) if s.name == "table" else s for s in one.sections]
        wanted = simulate(replace(one, sections=faulty), inputs(which + 1), MACHINE, "functional").outputs[
            "y"
        ]
        assert np.array_equal((found or goldens[which].outputs)["y"], wanted)
        changed += not np.array_equal(wanted, goldens[which].outputs["y"])
    assert changed >= 20 and replay.effort.dropped >= 10
    assert replay.effort.instructions < 0.7 * replay.effort.golden


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("sw zero, 0(t0)", Outside),  # the table is no memory that a run may write
        ("li t5, 0x90000000\nsw zero, 0(t5)", Outside),
        ("sw zero, 0(t1)", (TrapError, Outside)),  # no memory at all
        ("again: lw t2, 0(s6)\nj again", EndlessError),
        ("li t5, 0x10000000\nli t6, 1024\ndmsrc t5, zero\ndmdst t0, zero\ndmcpyi zero, t6, 0", Outside),
    ],
)
def test_what_only_a_corrupted_word_does(what: str, error: type[PotluckError]) -> None:
    """Behaviour that no golden run shows: it is told of, and the next run is as if it had not been."""
    source = SOURCE.replace("add s4, s4, t1", f"add s4, s4, t1\nbgez t1, good\n{what}\ngood:")
    assembler = Assembler()
    assembler.text(source)
    made = assembler.assemble().program(program().manifest)
    one = replace(made, sections=[*made.sections, program().sections[-1]])
    stage = Stage(one, MACHINE, PageStore())
    first, count = (TABLE - BASE) // SECTOR, 4 * WORDS // SECTOR
    golden = record(stage, inputs(1), first, count)
    stage.limit(PATIENCE * golden.instructions)
    table = np.frombuffer(one.sections[-1].data, np.uint32).copy()
    place = int(inputs(1)["x"][0, 5])
    sectors, clean = np.array([first + place // 8]), table.view(np.uint64).reshape(-1, 4).copy()
    table[place] |= np.uint32(1 << 31)
    replay = Replay(stage)
    with pytest.raises(error):
        replay.run(golden, Patch(sectors, table.view(np.uint64).reshape(-1, 4)[sectors - first]))
    again = Replay(stage, delayed=False, dropping=False).run(golden, Patch(sectors, clean[sectors - first]))
    assert again is not None and np.array_equal(again["y"], golden.outputs["y"])


def test_what_cannot_be_kept_is_said() -> None:
    """Atomic accesses, code that changes, and a device in memory."""
    for more in ("amoadd.w t0, t1, (s2)", "fence.i"):
        assembler = Assembler()
        assembler.text(SOURCE.replace("add s4, s4, t1", more))
        assert not supported(assembler.assemble().program(program().manifest), MACHINE)
    assembler = Assembler()
    assembler.text(SOURCE + "\n.data\n.align 3\n.globl tohost\ntohost: .dword 0\n")
    assert not supported(assembler.assemble().program(program().manifest), MACHINE)
