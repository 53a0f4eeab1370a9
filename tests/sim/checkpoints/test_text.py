"""Faults in a program's instructions and in the addresses that it hands the DMA, against runs from start to end."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest

from potluck import api
from potluck.inject.target import End, Target, load_target
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError, EndlessError, ExitError, TrapError
from potluck.isa.machine import load_machine
from potluck.sim.checkpoints.replay import Patch
from potluck.sim.checkpoints.stage import Outside
from potluck.sim.dram.kind import SECTOR
from potluck.sim.faults.contents import parts_of
from potluck.sim.faults.parts import Content, patched

NOP, LOOP, BACK, ILLEGAL = 0x0000_0013, 0x0000_006F, 0xFFDF_F06F, 0  # jal x0, 0; jal x0, -4


@cache
def network(scheme: str | None, *contents: Content) -> Target:
    return load_target("demo", scheme, load_machine("spatz-mx"), samples=2, engine="sim", contents=contents)


def whole(target: Target, patch: Patch, sample: int, mode: str = "functional") -> object:
    """How the patched program ends that runs from the start: its answer's bytes, or the class of its error."""
    assert target.runs is not None
    base, one = target.machine.memory.dram_base, {k: v[sample : sample + 1] for k, v in target.inputs.items()}
    program = patched(target.program, list(target.parts), target.words(patch), base)
    try:
        found = api.simulate(program, one, machine=target.machine, mode=mode, budget=target.runs.budget)
        return found.outputs["logits"].tobytes()
    except (TrapError, ExitError, EndlessError) as error:
        return type(error)


def begun(target: Target, patch: Patch, sample: int) -> object:
    """The same from checkpoints."""
    assert target.runs is not None
    try:
        return target.runs.outputs(sample, patch)["logits"].tobytes()
    except (TrapError, ExitError, EndlessError, Outside) as error:
        return type(error)


def flipped(target: Target, rng: np.random.Generator, count: int) -> Patch:
    """A patch that flips so many bits."""
    words = [part.clean.copy() for part in target.parts]
    for _ in range(count):
        part = words[int(rng.integers(len(words)))]
        row, bit = int(rng.integers(len(part))), int(rng.integers(256))
        part[row, bit // 64] ^= np.uint64(1 << bit % 64)
    return target.patch(words)


def written(target: Target, address: int, word: int) -> Patch:
    """A patch with another instruction at an address."""
    (part,) = target.parts
    words = part.clean.copy()
    at = address - target.machine.memory.dram_base - part.first * SECTOR
    words.view(np.uint32).reshape(-1)[at // 4] = word
    return target.patch([words])


@pytest.mark.parametrize(("scheme", "contents"), [("mxfp8", ("text",)), (None, ("text", "pointers"))])
def test_runs_end_like_whole_ones(scheme: str | None, contents: tuple[Content, ...]) -> None:
    """Answers bit by bit, or the same error; most of what need not be run is not."""
    target, rng = network(scheme, *contents), np.random.Generator(np.random.Philox(17))
    assert target.runs is not None
    golden, ends = target.runs.golden(0).outputs["logits"].tobytes(), Counter[str]()
    for number in range(40):
        patch = flipped(target, rng, (1, 1, 4)[number % 3])
        found, wanted = begun(target, patch, 0), whole(target, patch, 0)
        assert found in (wanted, Outside), number
        ends[wanted.__name__ if isinstance(wanted, type) else str(wanted == golden)] += 1
    assert ends["TrapError"] >= 8 and ends["True"] >= 3 and ends["False"] >= 3
    effort = target.runs.effort
    assert effort.instructions < 0.5 * effort.golden


def test_timed_runs_end_alike() -> None:
    target, rng = network("mxfp8", "text"), np.random.Generator(np.random.Philox(18))
    for _ in range(4):
        patch = flipped(target, rng, 1)
        assert begun(target, patch, 1) in (whole(target, patch, 1, "timed"), Outside)


def test_crash_hang_and_masked() -> None:
    """An illegal instruction crashes, a jump to itself hangs, so does a loop that never counts down; text that nobody
    executes is never read."""
    target = network("mxfp8", "text")
    layer = target.program.manifest.layers[2].start
    golden = target.golden
    ends = {word: target.executed(target.words(written(target, layer, word))) for word in (ILLEGAL, LOOP)}
    assert (ends[ILLEGAL].ends == End.CRASH).all() and (ends[LOOP].ends == End.HANG).all()
    assert np.isnan(ends[ILLEGAL].values).all()
    pair = layer if layer // SECTOR == (layer + 4) // SECTOR else layer + 4  # two instructions of one sector
    before = written(target, pair, NOP)
    endless = written(
        target, pair + 4, BACK
    )  # and the instruction before, again and again: the budget ends it
    assert (before.sectors == endless.sectors).all()
    both = Patch(before.sectors, before.words ^ endless.words ^ target.parts[0].clean[before.sectors])
    hung = target.executed(target.words(both))
    assert (hung.ends == End.HANG).all() and whole(target, both, 0) is EndlessError
    text = target.program.sections[0]
    assert target.runs is not None
    quiet = np.flatnonzero(target.runs.golden(0).reads[: target.parts[0].count] == 0)
    last = written(target, text.address + SECTOR * int(quiet[-1]), ILLEGAL)
    assert np.array_equal(target.executed(target.words(last)).values, golden)


def test_what_is_executed_is_marked() -> None:
    """Sectors of text that a golden run fetches, against a record of every instruction."""
    target = network("mxfp8", "text")
    assert target.runs is not None
    golden, base = target.runs.golden(0), target.machine.memory.dram_base
    one = {name: value[:1] for name, value in target.inputs.items()}
    trace = api.simulate(target.program, one, machine=target.machine, mode="traced").trace
    assert trace is not None
    pcs = np.array(sorted({line.pc for core in trace.cores for line in core.lines}), np.uint64)
    executed = np.unique((pcs.astype(np.int64) - base) // SECTOR)
    marked = np.flatnonzero(golden.reads[: target.parts[0].count])
    assert set(executed.tolist()) <= set(marked.tolist())
    assert len(marked) < 1.2 * len(executed) + 4


def test_text_that_needs_other_preparation_runs_from_the_start() -> None:
    """An atomic access, a fence.i, or the first read of flags: what a loader would see, checkpoints do not know."""
    target = network("mxfp8", "text")
    layer = target.program.manifest.layers[0].start
    atomic, fence, flags = 0x0005_202F, 0x0000_100F, 0x0010_2573  # amoadd.w x0, x0, (a0); fence.i; frflags a0
    for word in (atomic, fence, flags):
        patch = written(target, layer, word)
        assert begun(target, patch, 0) is Outside
        answers = target.executed(target.words(patch))
        wanted = whole(target, patch, 0)
        assert answers.values[0].tobytes() == wanted or answers.ends[0] != End.WHOLE


def test_parts() -> None:
    """Text and tile records are parts of their own, off unless asked for; a program without them says so."""
    target = network("mxfp8", "text")
    base = target.machine.memory.dram_base
    plain, every = (
        parts_of(target.program, base, c) for c in (("constants",), ("pointers", "text", "constants"))
    )
    assert {part.content for part in plain} == {"constants"}
    assert [part.name for part in every if part.content != "constants"] == [".text", ".tiles"]
    assert [p.first for p in every] == sorted(p.first for p in every) and len(every) == len(plain) + 2
    text = target.program.sections[0].data
    assert every[0].clean.tobytes().rstrip(b"\0") == text.rstrip(b"\0")
    assembler = Assembler()
    assembler.text(".text\n.globl _start\n_start: j _start\n")
    bare = assembler.assemble().program(None)
    with pytest.raises(DataError, match="brings no pointers"):
        parts_of(bare, base, ["pointers"])
    with pytest.raises(DataError, match="a graph has no text"):
        load_target("demo", "int8", load_machine("spatz-mx"), samples=1, engine="onnx", contents=["text"])
