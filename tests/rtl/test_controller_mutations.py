"""The lock step catches each bug of a list in the vector unit's controller and units (tests/rtl/mutations/controller).

Bugs of different expressions stand in one build of the tile; a number says which one is there while a program runs.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import pytest

from potluck.hdl.core_tile import CoreBuild
from potluck.hdl.lockstep import lock_step
from potluck.isa.elf import Program
from potluck.sim.observation.retired import Steps, steps
from tests.rtl.bench.core_directed import assemble
from tests.rtl.bench.core_programs import machine
from tests.rtl.bench.lockstep_programs import GAPS, executable
from tests.rtl.bench.switched import grouped, mutant, switched
from tests.rtl.bench.vector_directed import ILLEGAL, INACTIVE, PROGRAMS
from tests.rtl.bench.vector_directed import executable as directed
from tests.rtl.bench.vector_programs import draw

pytestmark = pytest.mark.usefixtures("rtl_tools")

PATCHES = sorted((Path(__file__).parent / "mutations" / "controller").glob("*.patch"))
SAMPLE, SEED = 8, 1
RANDOM = 16


@cache
def programs() -> list[tuple[str, Program, list[Steps], int]]:
    """Programs with what the simulator makes of them, and with their gaps; short ones first."""
    found = [(name, assemble(source), 0) for name, source in ILLEGAL.items()]
    found.append((INACTIVE, directed(PROGRAMS[INACTIVE]), 0))
    found += [
        (f"program {number}", executable(draw(7, number, 80), vector=True), GAPS * (number % 2))
        for number in range(RANDOM)
    ]
    found += [(name, directed(source), 0) for name, source in PROGRAMS.items() if name != INACTIVE]
    return [(name, program, steps(program, machine()), gaps) for name, program, gaps in found]


def wrong(build: CoreBuild, few: int | None = None) -> str:
    """What a thinned run of the vector unit's tests, or the first few programs of it, notices; empty if nothing."""
    for name, program, known, gaps in programs()[:few]:
        if differs := lock_step(program, build, gaps=gaps, known=known).difference:
            return f"{name}: {differs}"
    return ""


def built(group: list[Path], folder: Path, optimize: str) -> CoreBuild:
    return CoreBuild(machine(), optimize, switched(group, folder), vector=True)


def missed(build: CoreBuild, group: list[Path], wanted: list[Path]) -> list[str]:
    """Bugs that nothing notices."""
    found = []
    for patch in wanted:
        with mutant(group.index(patch) + 1):
            if not wrong(build):
                found.append(patch.stem)
    return found


def test_the_list_is_long_enough() -> None:
    assert len(PATCHES) >= 40


def test_sample_of_mutations(tmp_path: Path) -> None:
    group = grouped(PATCHES)[0]
    build = built(group, tmp_path, "-O0")
    with mutant(0):  # bugs that are there, but of which none is chosen
        assert wrong(build, len(ILLEGAL) + 1) == ""
    assert missed(build, group, random.Random(SEED).sample(group, SAMPLE)) == []


@pytest.mark.slow
def test_all_mutations(tmp_path: Path) -> None:
    found = []
    for number, group in enumerate(grouped(PATCHES)):
        build = built(group, tmp_path / str(number), "-O1")
        with mutant(0):
            assert len(group) == 1 or wrong(build) == ""
        found += missed(build, group, group)
    assert found == []
