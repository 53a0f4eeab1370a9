"""The scalar core in RTL against the simulator, instruction by instruction: values, cycles, traps, memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from potluck.hdl.core_tile import CoreBuild, core_parameters
from potluck.hdl.lockstep import LockStep, lock_step
from potluck.isa.decode import expansion
from potluck.isa.errors import MachineError
from potluck.isa.machine import load_machine
from potluck.isa.table import TABLE
from tests.rtl.bench.core_directed import PROGRAMS, assemble, products, start_up
from tests.rtl.bench.core_programs import draw, machine, rows
from tests.rtl.bench.lockstep_programs import GAPS, run_random
from tests.rtl.bench.running import run_bench

pytestmark = pytest.mark.usefixtures("rtl_tools")

OTHER = {
    "timing.load": 2, "timing.mul": 1, "timing.div": 9, "timing.amo": 5, "timing.branch_taken": 2,
    "timing.fence_i": 0, "timing.float_load": 4, "timing.float_result": 0, "vector.vlen": 1024,
}  # fmt: skip
"""A core whose times are others; but jumps, of which the simulator charges jal alone (docs/timing.md)."""


@pytest.fixture(scope="module")
def build() -> CoreBuild:
    return CoreBuild(machine())


def check(build: CoreBuild, source: str, end: str, folder: Path, gaps: int = 0) -> LockStep:
    found = lock_step(assemble(source), build, folder, gaps)
    assert found.difference == ""
    assert found.end == end
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_directed_program(name: str, build: CoreBuild, tmp_path: Path) -> None:
    end, source = PROGRAMS[name]
    check(build, source, end, tmp_path)
    if "csrr t0, cycle" not in source and "0x11000000" not in source:  # which show that time goes slower
        check(build, source, end, tmp_path, GAPS)


def test_products_and_divisions_of_corner_values(build: CoreBuild, tmp_path: Path) -> None:
    found = lock_step(products(), build, tmp_path)
    assert found.difference == "" and found.instructions > 13 * 13 * 15


@pytest.mark.parametrize(("size", "granule"), [(64, 8), (63, 4), (8, 8), (1, 16)])
def test_start_of_a_kernel(size: int, granule: int, build: CoreBuild, tmp_path: Path) -> None:
    assert lock_step(start_up(size, granule), build, tmp_path).difference == ""


def test_random_programs(build: CoreBuild, tmp_path: Path) -> None:
    ends = run_random(build, partial(draw, 1, length=400), 20_000, tmp_path)
    assert ends["ecall"] > 10 and ends["misaligned"] > 0


@pytest.mark.slow
def test_many_random_programs(build: CoreBuild, tmp_path: Path) -> None:
    ends = run_random(build, partial(draw, 2, length=400), 200_000, tmp_path)
    assert ends["ecall"] > 100 and ends["misaligned"] > 10


@pytest.mark.slow
def test_a_core_with_other_times(tmp_path: Path) -> None:
    other = CoreBuild(machine(OTHER))
    for end, source in PROGRAMS.values():
        check(other, source, end, tmp_path)
    run_random(other, partial(draw, 3, length=400), 20_000, tmp_path)


def test_offload_port(tmp_path: Path) -> None:
    """With a vector unit and a memory that are written in Python, under cocotb."""
    assert run_bench("core_bench", "core_tile", tmp_path, {"HasVector": 1}).tests


def test_every_instruction_of_the_core_is_met() -> None:
    """Random programs of the seed that every test run takes, and the directed ones, leave no row out."""
    met = {item.insn.mnemonic for number in range(40) for item in draw(1, number, 400).items}
    text = "\n".join(source for _, source in PROGRAMS.values())
    left = {insn.mnemonic for insn in rows()} - met
    assert {name for name in left if name not in text} == set()
    bases = {
        expansion(insn)[0].mnemonic if "expands" in insn.attributes else insn.mnemonic for insn in rows()
    }
    assert {"amomaxu.d", "mulhsu", "flb", "fmv.x.h", "fence.i"} <= bases <= set(TABLE)


def test_timings_that_cannot_be_built_are_refused() -> None:
    with pytest.raises(MachineError, match="divw"):
        core_parameters(load_machine("ara-like"))


def test_an_endless_program_is_given_up(build: CoreBuild) -> None:
    from potluck.isa.errors import ProgramError

    with pytest.raises(ProgramError, match="endless"):
        lock_step(assemble("again: addi t0, t0, 1\nj again\n"), build, most=1000)
