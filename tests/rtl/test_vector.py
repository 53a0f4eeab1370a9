"""The vector unit in RTL against the simulator, instruction by instruction; cycles beside each other."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from potluck.compiler.compile import compile_model
from potluck.hdl.core_tile import CoreBuild, vector_parameters
from potluck.hdl.lockstep import lock_step
from potluck.isa.decode import decoder
from potluck.isa.elf import Program
from potluck.isa.errors import MachineError
from potluck.isa.insn import Insn, Kind
from potluck.isa.machine import load_machine
from potluck.isa.table import TABLE
from potluck.isa.verilog.control import scalar_form, unit, why_not
from potluck.isa.verilog.core import route
from potluck.sim.timing.error import Cycles, read
from tests.compiler.networks import conv_bn
from tests.rtl.bench.core_directed import assemble
from tests.rtl.bench.core_programs import SANDBOX, machine
from tests.rtl.bench.lockstep_programs import GAPS, LEFT_OUT, run_random
from tests.rtl.bench.vector_directed import ILLEGAL, PROGRAMS, TIMED
from tests.rtl.bench.vector_directed import executable as directed
from tests.rtl.bench.vector_kernels import KERNELS
from tests.rtl.bench.vector_programs import draw, rows

ILLEGAL_WORD = 2
CLOSE = 3
needs_tools = pytest.mark.usefixtures("rtl_tools")


@pytest.fixture(scope="module")
def build() -> CoreBuild:
    return CoreBuild(machine(), "-O0", vector=True)


@needs_tools
@pytest.mark.parametrize("gaps", [0, GAPS])
@pytest.mark.parametrize("name", PROGRAMS)
def test_directed_program(name: str, gaps: int, build: CoreBuild, tmp_path: Path) -> None:
    found = lock_step(directed(PROGRAMS[name]), build, tmp_path, gaps)
    assert found.difference == "" and found.end == "ecall"


@needs_tools
@pytest.mark.parametrize("name", TIMED)
def test_cycles_are_close_to_the_timers(name: str, build: CoreBuild, tmp_path: Path) -> None:
    found = lock_step(
        directed(f"li s0, {SANDBOX}\nli s1, {SANDBOX + 0x800}\n{TIMED[name]}\ncsrr t2, fcsr"), build, tmp_path
    )
    assert (found.difference, found.end) == ("", "ecall")
    assert abs(found.rtl_cycles - found.cycles) <= CLOSE


@needs_tools
@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal_instruction(name: str, build: CoreBuild, tmp_path: Path) -> None:
    """The core stops at the instruction that the specification reserves, though it may have gone on already."""
    found = lock_step(assemble(ILLEGAL[name]), build, tmp_path)
    assert found.difference == "" and found.end == "illegal"


@needs_tools
@pytest.mark.parametrize(
    "word", ["vcompress.vm v8, v16, v4", "vredsum.vs v8, v16, v4", "vlseg2e8.v v8, (s0)"]
)
def test_what_the_unit_lacks_is_illegal(word: str, build: CoreBuild) -> None:
    source = f"li s0, 0x10000000\nvsetivli zero, 4, e8, m1, ta, ma\nvmv.v.i v8, 1\n{word}\n"
    run = build.run(assemble(source), 64, 4096)
    assert (run.cause, run.pc) == (ILLEGAL_WORD, 0x8000_000C)


@needs_tools
@pytest.mark.parametrize("name", KERNELS)
def test_kernel(name: str, build: CoreBuild) -> None:
    """Values are the same, and cycles those of the table that results take their timing error from."""
    found = lock_step(KERNELS[name](), build)
    assert found.difference == "" and found.end == "ecall"
    here = Cycles(found.instructions, found.cycles, found.rtl_cycles)
    assert here == read().kernels[name], "Renew the table: python -m potluck.benchmarks.rtl_core"


@needs_tools
def test_random_programs(build: CoreBuild, tmp_path: Path) -> None:
    assert run_random(build, partial(draw, 1, length=150), 1_200, tmp_path)["ecall"] > 1


@needs_tools
@pytest.mark.slow
def test_many_random_programs(tmp_path: Path) -> None:
    fast = CoreBuild(machine(), "-O1", vector=True)
    ends = run_random(fast, partial(draw, 2, length=150), 100_000, tmp_path)
    assert ends["ecall"] > 100 and ends[LEFT_OUT] < ends["ecall"] / 10


def test_every_instruction_is_drawn() -> None:
    met = {item.insn.mnemonic for number in range(120) for item in draw(1, number, 150).items}
    assert {insn.mnemonic for insn in rows() if insn.timing != "vmxdotp"} <= met


def emitted(program: Program) -> set[str]:
    """Mnemonics in the text of a program."""
    found = set()
    for section in program.sections:
        if section.executable:
            at = 0
            while at < len(section.data):
                word = int.from_bytes(section.data[at : at + 4], "little")
                decoded = decoder().decode(word) if word & 3 == 3 or word & 31 == 31 else None
                if decoded is not None:
                    found.add(decoded[0].mnemonic)
                at += 4 if word & 3 == 3 else 2
    return found


def executed(insn: Insn) -> bool:
    """Whether the vector unit or, for scalar FP, its first lane carries an instruction out."""
    if insn.is_vector or insn.kind is Kind.VSET:
        return unit(insn) != "none"
    return route(insn) != "float" or scalar_form(insn) is not None


@pytest.mark.parametrize("scheme", ["fp32", "mxfp8", "mxfp4", "mxint8"])
def test_what_compiled_networks_hold_is_executed(scheme: str) -> None:
    mnemonics = emitted(compile_model(conv_bn(), load_machine("spatz-mx"), scheme))
    assert any(TABLE[name].is_vector for name in mnemonics)
    assert [name for name in mnemonics if not executed(TABLE[name])] == []


def test_what_kernels_hold_is_executed() -> None:
    mnemonics = set().union(*(emitted(make()) for make in KERNELS.values()))
    assert len(mnemonics) > 60 and [name for name in mnemonics if not executed(TABLE[name])] == []


def test_what_is_left_out_has_a_reason() -> None:
    left = {
        insn.mnemonic: why_not(insn) for insn in TABLE.values() if insn.is_vector and unit(insn) == "none"
    }
    assert left["vcompress.vm"] == "scans" and "vadd.vv" not in left and all(left.values())


def test_machines_that_the_unit_is_not_written_for_are_refused() -> None:
    with pytest.raises(MachineError, match=r"vector\."):
        vector_parameters(load_machine("ara-like"))
    assert np.isfinite(vector_parameters(machine())["FmaLatency"])
