"""Runs that begin at checkpoints, against runs of the patched program from start to end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from potluck.inject.target import PATIENCE, Target, load_target
from potluck.isa.elf import Program
from potluck.isa.errors import EndlessError, ExitError, TrapError
from potluck.isa.machine import load_machine
from potluck.sim.checkpoints.replay import AGAIN, Looks, Patch
from potluck.sim.checkpoints.runs import FaultyRuns
from potluck.sim.checkpoints.stage import Outside, supported
from potluck.sim.dram.kind import SECTOR
from potluck.sim.simulate import simulate

SAMPLES = 2


@cache
def network(scheme: str | None) -> Target:
    return load_target("demo", scheme, load_machine("spatz-mx"), samples=SAMPLES, engine="sim")


@cache
def runs_of(scheme: str | None, delayed: bool = True, dropping: bool = True) -> FaultyRuns:
    """Over all that the program brings to DRAM but its text: constants, and what tells the DMA what to move."""
    target = network(scheme)
    base = target.machine.memory.dram_base
    data = [s for s in target.program.sections if not s.executable and s.address >= base]
    first, end = min(s.address for s in data), max(s.address + len(s.data) for s in data)
    return FaultyRuns(
        target.program, target.machine, target.inputs, (first - base) // SECTOR,
        -(-(end - first) // SECTOR), PATIENCE, None, delayed, dropping,
    )  # fmt: skip


def held(program: Program, base: int) -> NDArray[np.uint64]:
    """What lies in DRAM, (sectors, 4) from its start."""
    end = max(s.address + len(s.data) for s in program.sections if s.address >= base)
    image = np.zeros(-(-(end - base) // SECTOR) * SECTOR, np.uint8)
    for s in program.sections:
        if s.address >= base:
            image[s.address - base : s.address - base + len(s.data)] = np.frombuffer(s.data, np.uint8)
    return image.view(np.uint64).reshape(-1, 4)


def loaded(target: Target) -> NDArray[np.int64]:
    """Sectors that the program brings, beside its text; between them are those that it writes."""
    base, found = target.machine.memory.dram_base, []
    for s in target.program.sections:
        if not s.executable and s.address >= base:
            found.append(np.arange((s.address - base) // SECTOR, (s.address + len(s.data) - base) // SECTOR))
    return np.concatenate(found)


def struck(program: Program, base: int, sectors: NDArray[np.int64], bits: NDArray[np.int64]) -> Patch:
    """A patch that flips a bit in each of some sectors."""
    words = held(program, base)[sectors].copy()
    words[np.arange(len(sectors)), bits // 64] ^= np.uint64(1) << (bits % 64).astype(np.uint64)
    return Patch(sectors, words)


def whole(target: Target, patch: Patch, sample: int, mode: str = "functional") -> object:
    """How the patched program ends that runs from the start: its output's bytes, or the class of its error."""
    base = target.machine.memory.dram_base
    image = held(target.program, base).copy()
    image[patch.sectors] = patch.words
    raw = image.tobytes()
    sections = [
        s if s.executable or s.address < base
        else replace(s, data=raw[s.address - base : s.address - base + len(s.data)])
        for s in target.program.sections
    ]  # fmt: skip
    inputs = {name: value[sample : sample + 1] for name, value in target.inputs.items()}
    one = replace(target.program, sections=sections)
    budget = runs_of(_scheme_of(target)).budget
    try:
        return _bytes(simulate(one, inputs, target.machine, mode, budget).outputs)
    except (TrapError, ExitError, EndlessError) as error:
        return type(error)


def _scheme_of(target: Target) -> str | None:
    return next(scheme for scheme in (None, "int8", "mxfp8") if network(scheme) is target)


def begun(runs: FaultyRuns, patch: Patch, sample: int) -> object:
    """The same from checkpoints; `Outside` where that is refused."""
    try:
        return _bytes(runs.outputs(sample, patch))
    except (TrapError, ExitError, EndlessError, Outside) as error:
        return type(error)


def _bytes(outputs: Mapping[str, NDArray[Any]]) -> dict[str, bytes]:
    return {name: np.ascontiguousarray(value).tobytes() for name, value in outputs.items()}


@pytest.mark.parametrize("scheme", [None, "int8", "mxfp8"])
def test_golden_runs_are_those_of_the_simulator(scheme: str | None) -> None:
    """Outputs and instructions, of every sample, in both modes."""
    target, runs = network(scheme), runs_of(scheme)
    assert supported(target.program, target.machine)
    for sample in range(SAMPLES):
        inputs = {name: value[sample : sample + 1] for name, value in target.inputs.items()}
        plain = simulate(target.program, inputs, target.machine, "functional")
        golden = runs.golden(sample)
        assert _bytes(plain.outputs) == _bytes(golden.outputs)
        assert plain.instructions == golden.instructions
        assert 8 <= len(golden.points) <= 64
    timed = simulate(target.program, inputs, target.machine, "timed")
    assert _bytes(timed.outputs) == _bytes(golden.outputs)


@pytest.mark.parametrize("scheme", [None, "int8", "mxfp8"])
def test_faulty_runs_end_like_whole_ones(scheme: str | None) -> None:
    """One flipped constant or many, and tables of the DMA: outputs bit by bit, or the same error."""
    target, rng = network(scheme), np.random.Generator(np.random.Philox(7))
    runs, base = runs_of(scheme), target.machine.memory.dram_base
    runs.replay.looks.first = 1 << 30
    tiles = next(s for s in target.program.sections if s.name == ".tiles")
    kinds: list[object] = []
    for number in range(36):
        if number % 3 == 2:  # addresses and sizes of transfers: wild stores, traps
            first, count = (tiles.address - base) // SECTOR, -(-len(tiles.data) // SECTOR)
            chosen = first + rng.choice(count, 1 + number % 2, replace=False)
        else:
            chosen = rng.choice(loaded(target), (1, 40)[number % 2], replace=False)
        patch = struck(target.program, base, np.sort(chosen), rng.integers(0, 256, len(chosen)))
        found, wanted = begun(runs, patch, number % SAMPLES), whole(target, patch, number % SAMPLES)
        assert found in (wanted, Outside), number
        kinds.append(found if isinstance(found, type) else dict)
    assert kinds.count(dict) >= 20 and len(set(kinds)) > 1
    effort = runs.effort
    assert effort.runs >= 36 and effort.instructions < 0.8 * effort.golden


@pytest.mark.parametrize(("delayed", "dropping"), [(False, False), (True, False), (False, True)])
def test_begin_and_end_change_nothing(delayed: bool, dropping: bool) -> None:
    """Delayed start and fault dropping, each alone and neither, give the same outputs."""
    target, rng = network("int8"), np.random.Generator(np.random.Philox(8))
    runs, others = runs_of("int8"), runs_of("int8", delayed, dropping)
    others.replay.looks.first = 1 << 30  # always
    for number in range(12):
        chosen = np.sort(rng.choice(loaded(target), 2, replace=False))
        patch = struck(target.program, target.machine.memory.dram_base, chosen, rng.integers(0, 256, 2))
        assert begun(runs, patch, number % SAMPLES) == begun(others, patch, number % SAMPLES)
    assert (others.effort.dropped > 0) <= dropping and (others.effort.skipped > 0) <= delayed


def test_timed_runs_give_the_same_outputs() -> None:
    """What campaigns run in functional mode is what the timed machine computes, with faults, too."""
    target, rng = network("mxfp8"), np.random.Generator(np.random.Philox(9))
    runs = runs_of("mxfp8")
    for number in range(3):
        chosen = rng.choice(loaded(target), 3, replace=False)
        patch = struck(
            target.program, target.machine.memory.dram_base, np.sort(chosen), rng.integers(0, 256, 3)
        )
        assert begun(runs, patch, number % SAMPLES) == whole(target, patch, number % SAMPLES, "timed")


def test_words_that_nobody_reads_cost_nothing() -> None:
    """The bytes between two buffers are in DRAM, but no run reads them; a mask that changes nothing is dropped."""
    target, runs = network("mxfp8"), runs_of("mxfp8")
    golden, base = runs.golden(0), target.machine.memory.dram_base
    quiet = loaded(target)[golden.reads[loaded(target) - golden.first] == 0]
    unread = quiet[:1]
    assert unread.size
    before = replace(runs.effort)
    patch = struck(target.program, base, unread, np.array([5]))
    assert _bytes(runs.outputs(0, patch)) == _bytes(golden.outputs) == whole(target, patch, 0)
    assert runs.effort.skipped == before.skipped + 1 and runs.effort.instructions == before.instructions
    read = loaded(target)[golden.reads[loaded(target) - golden.first] != 0][:1]
    same = Patch(read, held(target.program, base)[read])  # read again and again, but as it always was
    assert _bytes(runs.outputs(0, same)) == _bytes(golden.outputs)


def test_processes_share_golden_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one maps what the first one wrote, and ends alike; another network has files of its own."""
    target = network("int8")
    first, count = runs_of("int8").first, runs_of("int8").count
    made = [FaultyRuns(target.program, target.machine, target.inputs, first, count, PATIENCE, tmp_path)
            for _ in range(2)]  # fmt: skip
    rng = np.random.Generator(np.random.Philox(10))
    patch = struck(target.program, target.machine.memory.dram_base,
                   rng.choice(loaded(target), 4, replace=False), rng.integers(0, 256, 4))  # fmt: skip
    wanted = begun(made[0], patch, 1)
    monkeypatch.setattr(made[1], "_record", lambda: pytest.fail("recorded twice"))
    assert begun(made[1], patch, 1) == wanted == whole(target, patch, 1)
    assert isinstance(made[1].recorded.store.pages, np.memmap)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [made[0].key]
    other = FaultyRuns(target.program, target.machine, {k: -v for k, v in target.inputs.items()}, first, count,
                       PATIENCE, tmp_path)  # fmt: skip
    assert other.key != made[0].key


def test_comparisons_are_made_where_they_pay() -> None:
    """Those that never find anything are given up, but for one now and then; those that spare much are made."""
    looks = Looks(first=4)
    looks.seconds, looks.instructions = 1.0, 1_000_000
    made = 0
    for _ in range(2 * AGAIN):
        if looks.pays(1):
            made += 1
            looks.told(1, 50e-6, 0)
        if looks.pays(2):
            looks.told(2, 50e-6, 100)
    assert 4 <= made <= 4 + 2
    assert looks.pays(2)


@pytest.mark.parametrize("scheme", [None, "mxfp8"])
def test_a_fault_shows_first_in_the_layer_whose_weight_it_is(scheme: str | None) -> None:
    """A constant of a layer, overwritten, shows where that layer writes its output; the story of no effect is none."""
    target, runs = network(scheme), runs_of(scheme)
    layers = [layer.name for layer in target.program.manifest.layers]
    told = set()
    for part in target.parts:
        if "weight" not in part.name or part.role != "elements":
            continue
        wanted = next(
            name for name in layers if part.name.replace(".weight", "_weight").startswith(f"{name}_weight")
        )
        words = part.clean.copy()
        words.view(np.uint8)[:] = 0x3F  # not zero, not the sign, in every element
        found = runs.visible(1, Patch(part.first + np.arange(part.count), words))
        assert found is not None and found.address is not None
        assert found.layer == wanted
        told.add(wanted)
        names = [
            b.name
            for b in target.program.manifest.buffers
            if b.address <= found.address < b.address + b.bytes
        ]
        assert names and not any(name in {p.name for p in target.parts} for name in names)
    assert len(told) >= 8
    read = loaded(target)[runs.golden(0).reads[loaded(target) - runs.first] != 0][:1]
    assert runs.visible(0, Patch(read, held(target.program, target.machine.memory.dram_base)[read])) is None
