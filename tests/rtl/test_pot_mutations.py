"""The benches of the PoT array catch each bug of a list (tests/rtl/mutations/pot)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from potluck.isa.errors import RtlError
from tests.rtl.bench.mutants import mutated
from tests.rtl.bench.pot_builds import Build, program
from tests.rtl.bench.pot_cases import ANY, INT8
from tests.rtl.bench.pot_engine_cases import FAULTS as QUEUE_FAULTS
from tests.rtl.bench.pot_engine_cases import Queue, break_one, contents, layer
from tests.rtl.bench.pot_engine_library import SMALL, EngineBuild
from tests.rtl.bench.pot_engine_runs import run_doorbells, run_layer, run_limits, run_queue
from tests.rtl.bench.pot_programs import FAULTS, FORM, bad_program, shortened
from tests.rtl.bench.running import run_bench

pytestmark = pytest.mark.usefixtures("rtl_tools")

PATCHES = sorted((Path(__file__).parent / "mutations" / "pot").glob("*.patch"))
SAMPLE = {
    "pe-zero-is-one",
    "multiplier-minus-two",
    "ppu-wraps",
    "scheduler-group-stays",
    "checker-fence-ignored",
}
PES = {"shift_pe": (1, 3, ANY), "weight_decoder": (0, ANY), "multiplier_pe": (INT8,)}
"""Builds of a PE that see a bug in its parts."""
UNITS = 2
Replaced = Mapping[str, Path]


def wrong_in_array(replaced: Replaced | None) -> str:
    """What a thinned run of the array's tests notices; empty if nothing."""
    build = Build(UNITS, optimize="-O0", replaced=replaced)
    rng = np.random.Generator(np.random.Philox(11))
    for number in range(40):
        layer = build.layer(rng, number)
        run, _, differs = build.run(program(layer), stalls=0.95 * (number % 2))
        if differs:
            return f"layer {number}: {differs}"
        if number % 2 == 0 and run.taken[-1] - run.taken[-2] != build.events(layer):
            return f"cycles of layer {number}"
    for number, beats in enumerate(build.limits()):
        if differs := build.run(beats, quiet=20)[2]:
            return f"limit {number}: {differs}"
    for number in range(330):
        layers = [shortened(build.layer(rng, number), rng) for _ in range(2)]
        if differs := build.run(bad_program(rng, layers, FAULTS[number % len(FAULTS)]))[2]:
            return f"program {number}: {differs}"
    return ""


ENGINE = {
    "pot_queue", "pot_checker", "pot_rows", "pot_load", "pot_store", "pot_windows", "pot_window_buffer",
    "pot_sequencer", "pot_engine_unit", "pot_post", "pot_conv", "pot_engine", "pot_lanes", "pot_rotator",
}  # fmt: skip
"""What only the cluster's accelerator has."""


def wrong_in_engine(replaced: Replaced | None, units: int = 1) -> str:
    """What a thinned run of the cluster's accelerator's tests notices; empty if nothing."""
    sizes = {"pot.units": units, "dma.width_bits": 128 * units, "dram.bytes_per_cycle": 16 * units}
    build = EngineBuild({**SMALL, **sizes}, optimize="-O0", replaced=replaced)
    rng = np.random.Generator(np.random.Philox(12))
    for number in range(24):
        run = run_layer(build, layer(rng, build.machine, number))
        if run.wrong or (run.cycles != run.wanted).any() or abs(run.error) > 0.05:
            return f"layer {number}: {run}"
    if differs := run_doorbells(build, Queue(rng, build.machine).commands(2)):
        return differs
    memory = contents(rng)
    if differs := run_limits(build, memory):
        return differs
    for number in range(100):
        rings = [Queue(rng, build.machine).commands(24)]
        if differs := run_queue(build, memory, rings, gaps=0.4 * (number % 2)):
            return f"queue {number}: {differs}"
    for number in range(1000):
        good = Queue(rng, build.machine).commands(8)
        rings = [break_one(rng, good, QUEUE_FAULTS[number % len(QUEUE_FAULTS)]), good]
        if differs := run_queue(build, memory, rings, reset=number % 2 == 0):
            return f"bad queue {number}: {differs}"
    return ""


def catch(patch: Path, folder: Path) -> str:
    """What noticed the bug; empty if nothing did."""
    replaced = mutated(patch, folder / "source")
    unit = next(iter(replaced))
    try:
        for code_set in PES.get(unit, ()):
            run_bench(
                "pot_bench", "pot_pe", folder / str(code_set), {"CodeSet": code_set}, simulator="icarus",
                replaced=replaced,
            )  # fmt: skip
        if unit == "pot_ppu":
            for overlap in (0, 1):
                run_bench(
                    "pot_bench", unit, folder / str(overlap), {"Overlap": overlap}, simulator="icarus",
                    replaced=replaced,
                )  # fmt: skip
        elif unit == "pot_requantizer":
            run_bench("pot_requantizer_bench", unit, folder / "laws", simulator="icarus", replaced=replaced)
        elif unit == "pot_accelerator":
            parameters = {**FORM, "Units": 1, "CodeSet": ANY}
            run_bench("pot_axis_bench", unit, folder / "streams", parameters, replaced=replaced)
        elif unit in ENGINE:
            units = {"pot_conv": (2,), "pot_checker": (1, 2)}.get(unit, (1,))
            return next(filter(None, (wrong_in_engine(replaced, count) for count in units)), "")
        elif unit not in PES:
            return wrong_in_array(replaced)
    except RtlError as error:
        # A mutant that does not build would prove nothing.
        assert "failed" in str(error) or "stopped" in str(error), error
        return "cocotb"
    except AssertionError as error:
        return f"hangs: {error}"
    return ""


def check(patch: Path, folder: Path) -> None:
    assert catch(patch, folder), f"not caught: {patch.read_text().splitlines()[0]}"


def test_the_list_is_long_enough() -> None:
    assert len(PATCHES) >= 80
    assert {path.stem for path in PATCHES} >= SAMPLE


@pytest.mark.slow
def test_without_a_bug_nothing_is_noticed() -> None:
    assert wrong_in_array(None) == ""
    assert wrong_in_engine(None) == ""


@pytest.mark.parametrize("patch", [p for p in PATCHES if p.stem in SAMPLE], ids=lambda p: p.stem)
def test_sample_of_mutations(patch: Path, tmp_path: Path) -> None:
    check(patch, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("patch", [p for p in PATCHES if p.stem not in SAMPLE], ids=lambda p: p.stem)
def test_other_mutations(patch: Path, tmp_path: Path) -> None:
    check(patch, tmp_path)
