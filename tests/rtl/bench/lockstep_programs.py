"""Random programs in lock step: as executables that load the registers they begin with, and many of them in a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from potluck.hdl.core_tile import CoreBuild
from potluck.hdl.lockstep import lock_step
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.decode import decoder
from potluck.isa.elf import Program as Executable
from potluck.isa.elf import Section
from potluck.isa.insn import Kind
from potluck.sim.observation.retired import Steps, steps
from tests.differential.program import SANDBOX, TABLES, TEXT, TEXT_BYTES, Program, tables
from tests.rtl.bench.core_programs import VLEN

STATES = TEXT + TEXT_BYTES - 4096
"""Where a program finds the scalar registers that it begins with: x, f, fcsr, vcsr."""
REGISTERS = STATES - 4096
"""And the vector registers."""
GAPS = 70


@cache
def prologue(vector: tuple[int, int] | None = None) -> bytes:
    """Code that loads fcsr and the scalar registers, x31 last, where the address is; before them vector registers, vxrm
    and ``vector``, which is vtype and vl."""
    a = Assembler()
    if vector is not None:
        a("li", "x31", REGISTERS)
        for number in range(0, 32, 8):
            a("vl8re8.v", f"v{number}", "(x31)")
            a("addi", "x31", "x31", 8 * VLEN // 8)
        a("li", "x2", vector[0])
        a("li", "x1", vector[1])
        a("vsetvl", "x0", "x1", "x2")
    a("li", "x31", STATES)
    a("ld", "x1", f"{8 * 64}(x31)")
    a("csrw", "fcsr", "x1")
    if vector is not None:
        a("ld", "x1", f"{8 * 65}(x31)")
        a("csrw", "vcsr", "x1")
    for number in range(32):
        a("fld", f"f{number}", f"{8 * (32 + number)}(x31)")
    for number in range(1, 32):
        a("ld", f"x{number}", f"{8 * number}(x31)")
    return a.assemble().text


def executable(program: Program, vector: bool = False, run: int = 0) -> Executable:
    """A random program with code before it that loads the registers of one of its states."""
    state = program.state(run)
    start = prologue((state.vtype, state.vl) if vector else None)
    text = start + program.encode()
    assert len(text) <= TABLES - TEXT
    image = np.concatenate([state.x, state.f, [np.uint64(state.fcsr), np.uint64(state.vcsr)]]).astype("<u8")
    return Executable(
        [
            Section(".text", TEXT, text, executable=True, writable=False),
            Section(".tables", TABLES, tables(VLEN).tobytes()),
            Section(".registers", REGISTERS, state.v.tobytes()),
            Section(".state", STATES, image.tobytes()),
            Section(".sandbox", SANDBOX, state.memory.tobytes()),
        ],
        {"_start": TEXT, "program": TEXT + len(start)},
        TEXT,
    )


LEFT_OUT = "trap of a vector access"


def vector_trap(known: Steps, program: Executable) -> bool:
    """Whether a run ends at an access of the vector unit, which the RTL does not trap."""
    if known.trap is None or known.trap.address is None:
        return False
    text = program.sections[0]
    at = known.pc - text.address
    decoded = decoder().decode(int.from_bytes(text.data[at : at + 4], "little"))
    return decoded is not None and decoded[0].kind in (Kind.VLOAD, Kind.VSTORE)


def run_random(
    build: CoreBuild, draw: Callable[[int], Program], count: int, folder: Path | None = None
) -> Counter[str]:
    """Random programs until ``count`` instructions have been compared; how they ended. Every fourth has gaps.

    Programs that end at a trap of a vector access are not compared, but counted as ``LEFT_OUT``.
    """
    ends: Counter[str] = Counter()
    number = done = 0
    while done < count:
        program = executable(draw(number), build.vector)
        known = steps(program, build.machine)
        if vector_trap(known[0], program):
            ends[LEFT_OUT] += 1
        else:
            found = lock_step(program, build, folder, GAPS * (number % 4 == 3), known=known)
            assert found.difference == "", f"program {number}: {found.difference}"
            done += found.instructions
            ends[found.end] += 1
        number += 1
    return ends


__all__ = ["GAPS", "LEFT_OUT", "executable", "run_random", "vector_trap"]
