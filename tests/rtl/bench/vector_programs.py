"""Random programs for the vector unit, from the differential campaign's generator, as executables."""

from __future__ import annotations

import random
from functools import cache

import numpy as np

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program as Executable
from potluck.isa.elf import Section
from potluck.isa.insn import Insn, Kind
from potluck.isa.table import TABLE
from potluck.isa.verilog.control import unit
from tests.differential.generate import Rates
from tests.differential.program import SANDBOX, TABLES, TEXT, Program, tables
from tests.rtl.bench.core_programs import STATES, VLEN, ScalarGenerator
from tests.rtl.bench.core_programs import rows as scalar_rows

REGISTERS = STATES - 4096
"""Where a program finds the vector registers that it begins with."""
THEMES = ("any", "memory", "integers", "floats", "moves", "masks")


@cache
def rows() -> tuple[Insn, ...]:
    """What the vector unit executes."""
    return tuple(
        insn for insn in TABLE.values() if insn.length == 4 and insn.is_vector and unit(insn) != "none"
    )


def _theme(name: str) -> list[Insn]:
    found = list(rows())
    if name == "memory":
        found = [insn for insn in found if insn.kind in (Kind.VLOAD, Kind.VSTORE)]
    elif name == "floats":
        found = [insn for insn in found if insn.timing.startswith("vf") or insn.timing == "vmxdotp"]
    elif name == "moves":
        found = [insn for insn in found if unit(insn) == "slide"]
    elif name == "masks":
        found = [
            insn
            for insn in found
            if insn.kind in (Kind.MASK, Kind.COMPARE, Kind.REDUCE) or "v0" in insn.parameters
        ]
    elif name == "integers":
        found = [insn for insn in found if insn.timing in ("vint", "vwint", "vimul", "vidiv")]
    return found


def draw(seed: int, number: int, length: int) -> Program:
    """Random program of a seed."""
    rng = random.Random(f"vector {seed} {number}")
    others = [insn for insn in scalar_rows() if insn.kind is not Kind.COMPRESSED] + [
        TABLE["vsetvli"],
        TABLE["vsetivli"],
    ] * 9
    rates = Rates(wild=0.0, partway=0.0, end=0.0, loops=0.02)
    return ScalarGenerator(rng, VLEN, _theme(THEMES[number % len(THEMES)]), others, True, rates).program(
        length, seed, number
    )


@cache
def prologue(vtype: int, vl: int) -> bytes:
    """Code that loads vector registers, fcsr, vxrm and all scalar registers, then sets vl and vtype."""
    a = Assembler()
    a("li", "x31", REGISTERS)
    for number in range(0, 32, 8):
        a("vl8re8.v", f"v{number}", "(x31)")
        a("addi", "x31", "x31", 8 * VLEN // 8)
    a("li", "x1", vl)
    a("li", "x2", vtype)
    a("vsetvl", "x0", "x1", "x2")
    a("li", "x31", STATES)
    a("ld", "x1", f"{8 * 64}(x31)")
    a("csrw", "fcsr", "x1")
    a("ld", "x1", f"{8 * 65}(x31)")
    a("csrw", "vcsr", "x1")
    for number in range(32):
        a("fld", f"f{number}", f"{8 * (32 + number)}(x31)")
    for number in range(1, 32):
        a("ld", f"x{number}", f"{8 * number}(x31)")
    return a.assemble().text


def executable(program: Program, run: int = 0) -> Executable:
    """A random program with code before it that loads the registers of one of its states."""
    state = program.state(run)
    start = prologue(state.vtype, state.vl)
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
