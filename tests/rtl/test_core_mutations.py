"""The lock step catches each bug of a list (tests/rtl/mutations/core), and shows where it first shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from potluck.hdl.core_tile import CoreBuild
from potluck.hdl.lockstep import lock_step
from tests.rtl.bench.core_directed import PROGRAMS, assemble, products
from tests.rtl.bench.core_programs import draw, machine
from tests.rtl.bench.lockstep_programs import executable
from tests.rtl.bench.mutants import mutated

pytestmark = pytest.mark.usefixtures("rtl_tools")

PATCHES = sorted((Path(__file__).parent / "mutations" / "core").glob("*.patch"))
SAMPLE = {"divider-zero-negated", "sequencer-store-overtaken"}


def wrong(build: CoreBuild) -> str:
    """What a thinned run of the core's tests notices; empty if nothing."""
    for name, (_, source) in PROGRAMS.items():
        if differs := lock_step(assemble(source), build).difference:
            return f"{name}: {differs}"
    if differs := lock_step(products(), build).difference:
        return f"products: {differs}"
    for number in range(10):
        if differs := lock_step(executable(draw(5, number, 300)), build, gaps=60 * (number % 2)).difference:
            return f"program {number}: {differs}"
    return ""


def check(patch: Path, folder: Path) -> None:
    build = CoreBuild(machine(), replaced=mutated(patch, folder / "source"))
    assert wrong(build), f"not caught: {patch.read_text().splitlines()[0]}"


def test_the_list_is_long_enough() -> None:
    assert len(PATCHES) >= 40
    assert {path.stem for path in PATCHES} >= SAMPLE


@pytest.mark.slow
def test_without_a_bug_nothing_is_noticed() -> None:
    assert wrong(CoreBuild(machine())) == ""


@pytest.mark.parametrize("patch", [p for p in PATCHES if p.stem in SAMPLE], ids=lambda p: p.stem)
def test_sample_of_mutations(patch: Path, tmp_path: Path) -> None:
    check(patch, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("patch", [p for p in PATCHES if p.stem not in SAMPLE], ids=lambda p: p.stem)
def test_other_mutations(patch: Path, tmp_path: Path) -> None:
    check(patch, tmp_path)


def test_a_difference_is_shown_with_its_instruction_state_and_waveform(tmp_path: Path) -> None:
    patch = next(path for path in PATCHES if path.stem == "divider-zero-negated")
    build = CoreBuild(machine(), replaced=mutated(patch, tmp_path / "source"))
    found = lock_step(
        assemble("li s0, -5\nli s1, 64\nslli s1, s1, 1\nlater: div a0, s0, zero\nnop"), build, tmp_path
    )
    lines = found.difference.splitlines()
    assert lines[0] == "instruction 3 differs in value:"
    assert "<later+0x0>: div a0, s0, zero" in lines[-4] and "a0 = 0xffffffffffffffff" in lines[-4]
    assert lines[-3].endswith("<- RTL") and "a0 = 0x1 " in lines[-3]
    assert "s0=0xfffffffffffffffb s1=0x80" in lines[-2]
    assert found.waves is not None and str(found.waves) in lines[-1]
    waves = found.waves.read_text()
    assert "$enddefinitions" in waves and "retired_pc_o" in waves and waves.count("#") > 10
