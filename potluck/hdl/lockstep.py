"""One program on the simulator and on the RTL core: every retired instruction compared, in values and cycles.

A vector unit's instructions have results later than they retire: those are compared by instruction, too
(:mod:`potluck.hdl.vector_steps`). Its cycles are not equal but close, and are given beside each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from potluck.hdl.harness import WAVE_CYCLES, CoreRun
from potluck.hdl.vector_steps import vector_difference
from potluck.isa.assembly.disassembler import disassemble_word
from potluck.isa.decode import decoder
from potluck.isa.elf import Program
from potluck.isa.machine import Machine
from potluck.isa.registers import F_NAMES, X_NAMES
from potluck.isa.verilog.control import why_not
from potluck.sim.observation.retired import FLOAT, NOTHING, REGISTER, STORED, Steps, steps

MOST = 1 << 20
ENDLESS = 1 << 62  # cycles
PIECE = 1 << 24
_ORDERLY = 0x3FE0  # bits of fcsr that a vector unit does not write
CONTEXT = 6
"""Instructions shown before one that differs."""
ECALL, ILLEGAL, EBREAK = 11, 2, 3
_CAUSES = {1: "fetch", ILLEGAL: "illegal", EBREAK: "ebreak", 4: "misaligned", 5: "fault", 6: "misaligned",
           7: "fault", ECALL: "ecall"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LockStep:
    """What came of a comparison.

    Attributes:
        instructions: retired on the simulator, by all harts.
        cycles: to the end, on the simulator by itself.
        end: how it ended there: ``ecall`` or the kind of trap.
        difference: the first one, with the instruction and the state before it; "" if there is none.
        waves: waveform of the cycles before it, if it was asked for.
        rtl_cycles: to the end, on the RTL.
        left: of every instruction that both retired: its pc, the cycle in which it left the core, the one in which it
            did in the RTL; uint64 [n, 3]; of hart 0.
        run: what the RTL did.
    """

    instructions: int
    cycles: int
    end: str
    difference: str
    waves: Path | None = None
    rtl_cycles: int = 0
    left: NDArray[np.uint64] = field(default_factory=lambda: np.zeros((0, 3), np.uint64))
    run: CoreRun | None = None


class Build(Protocol):
    """RTL that runs programs: :class:`potluck.hdl.core_tile.CoreBuild`, :class:`potluck.hdl.cluster.ClusterBuild`."""

    @property
    def machine(self) -> Machine:
        """What it is built for."""

    @property
    def vector(self) -> bool:
        """Whether there are vector units."""

    @property
    def dma(self) -> bool:
        """Whether there is a DMA: what tells of time is then not what the simulator would say."""

    def run(
        self, program: Program, most: int, limit: int, gaps: int = 0, waves: tuple[Path, int] | None = None,
        inputs: Mapping[str, NDArray[Any]] | None = None,
    ) -> CoreRun:  # fmt: skip
        """See :meth:`potluck.hdl.core_tile.CoreBuild.run`."""


def lock_step(
    program: Program, build: Build, folder: Path | None = None, gaps: int = 0, most: int = MOST,
    inputs: Mapping[str, NDArray[Any]] | None = None, known: Sequence[Steps] | None = None,
) -> LockStep:  # fmt: skip
    """Run a program on both to its ``ecall`` or trap.

    Args:
        program: an executable, of scalar code for one hart if the build has no vector unit.
        build: the RTL and its machine.
        folder: where a waveform of the last cycles goes if there is a difference.
        gaps: see :meth:`potluck.hdl.core_tile.CoreBuild.run`; if there are any, cycles are not compared,
            nor are they with a vector unit.
        most: instructions after which the program is taken for endless.
        inputs: tensors by the names in the program's manifest.
        known: what the simulator made of the program before, to save its run (not of one with a DMA).

    Raises:
        ProgramError: it retires more than ``most`` instructions, or is not for this build.
        DataError: inputs that are not the program's.
        ToolError, RtlError: the RTL cannot be built.
    """
    timed = not gaps and not build.vector
    if build.dma:  # first the RTL, which says how late it is to who asks
        run = build.run(program, most, ENDLESS, gaps, inputs=inputs)
        known = steps(program, build.machine, most, inputs, [one.records for one in (run, *run.others)])
    else:
        known = known or steps(program, build.machine, most, inputs)
        limit = 4 * known[0].cycles + 4096 if not gaps else 64 * (known[0].cycles + 256)
        # A vector unit tells of an illegal instruction when the core is past it.
        room = known[0].records.size + CONTEXT * (1 + 100 * build.vector)
        run = build.run(program, room, limit, gaps, inputs=inputs)
    difference, cycle = "", 0
    for number, (mine, theirs) in enumerate(zip(known, (run, *run.others), strict=True)):
        found, at = _compare(program, mine, theirs, timed, build.vector)
        if found and (not difference or at < cycle):
            difference, cycle = (f"hart {number}: {found}" if number else found), at
    difference = difference or _memories(known[0], run)
    waves = None
    if difference and folder is not None:
        waves = folder / "lockstep.vcd"
        rows = max(one.records.size for one in (run, *run.others)) + CONTEXT
        build.run(program, rows, cycle + 8, gaps, (waves, max(0, cycle - WAVE_CYCLES)), inputs)
        difference += f"\n{WAVE_CYCLES} cycles before it: {waves}"
    first, cycles = known[0], known[0].cycles
    if any(one.told for one in known) and not difference:
        cycles = steps(program, build.machine, most, inputs)[0].cycles
    both = min(first.records.size, run.records.size)
    left = [first.records["pc"][:both], first.records["cycle"][:both], run.records["cycle"][:both]]
    return LockStep(sum(one.records.size for one in known), cycles, _ending(first), difference, waves, run.cycles,
                    np.stack(left, axis=1), run)  # fmt: skip


def _ending(known: Steps) -> str:
    """How the simulator's run ended."""
    trap = known.trap
    if trap is None:
        return "ecall"
    for word, kind in (("misaligned access", "misaligned"), ("illegal", "illegal"), ("ebreak", "ebreak")):
        if trap.message.startswith(word):
            return kind
    return "fault" if trap.address is not None else "fetch"


def _compare(program: Program, known: Steps, run: CoreRun, timed: bool, vector: bool) -> tuple[str, int]:
    """The first difference and the cycle of the RTL at which it shows."""
    mine, theirs = known.records, run.records
    if vector and run.cause == ILLEGAL:
        theirs = theirs[: mine.size]
    count = min(mine.size, theirs.size)
    fields = [name for name in mine.dtype.names or () if timed or name != "cycle"]
    # A value is compared with its kind: an instruction without one has 0 on both sides.
    different = np.zeros(count, np.bool_)
    for name in fields:
        different |= _differs(mine[:count], theirs[:count], name, vector)
    late, text = vector_difference(known, run.events) if vector else (-1, "")
    if text and not different[: late + 1].any():
        told = _told(program, known, theirs, min(late, count - 1), [text.partition(":")[0]])
        told += f"\n    {text.partition(': ')[2]}"
        if run.cause and _CAUSES.get(run.cause) != _ending(known):
            told += f"\n  the RTL {_stopped(run, known)}"
        return told, run.cycles
    if run.failure and not different.any():
        return f"after {theirs.size} instructions, cycle {run.cycles}: {run.failure}", run.cycles
    if different.any():
        index = int(np.argmax(different))
        wrong = [name for name in fields if _differs(mine, theirs, name, vector)[index]]
        return _told(program, known, theirs, index, wrong), int(theirs["cycle"][index])
    if mine.size != theirs.size:
        more, whose = (mine, "the simulator") if mine.size > count else (theirs, "the RTL")
        at = int(more["pc"][count])
        end = f"the RTL {_stopped(run, known)}, the simulator: {_ending(known)} at {known.pc:#x}"
        return f"instruction {count} at {at:#x} retires on {whose} alone; {end}", run.cycles
    kind = _CAUSES.get(run.cause, "nothing")
    if (kind, run.pc) != (_ending(known), known.pc):
        return f"the RTL {_stopped(run, known)}, the simulator: {_ending(known)} at {known.pc:#x}", run.cycles
    if known.trap is not None and known.trap.address is not None and known.trap.address != run.address:
        return (
            f"{kind} at {run.pc:#x}: address {run.address:#x}, expected {known.trap.address:#x}",
            run.cycles,
        )
    if timed and known.trap is None and run.cycles != known.cycles:
        return f"{run.cycles} cycles, expected {known.cycles}", run.cycles
    return "", run.cycles


def _differs(mine: NDArray[np.void], theirs: NDArray[np.void], name: str, vector: bool) -> NDArray[np.bool_]:
    """Which records differ in a field."""
    count = min(mine.size, theirs.size)
    bits = mine[name][:count] ^ theirs[name][:count]
    found: NDArray[np.bool_] = (bits & _ORDERLY if vector and name == "fcsr" else bits) != 0
    return found


def _stopped(run: CoreRun, known: Steps) -> str:
    kind = _CAUSES.get(run.cause, "")
    if not kind:
        return f"did not stop within {run.cycles} cycles"
    there = known.records["word"][known.records["pc"] == run.pc]
    why = _not_there(int(there[0])) if kind == "illegal" and there.size else ""
    return f"stopped for {kind} at {run.pc:#x}{why}"


def _not_there(word: int) -> str:
    """Why the vector unit does not execute an instruction."""
    found = decoder().decode(word)
    why = why_not(found[0]) if found and found[0].is_vector else ""
    return f": its vector unit does not execute {why}" if why else ""


def _memories(known: Steps, run: CoreRun) -> str:
    memory = known.cluster.memory
    for name, base, mine, theirs in (
        ("L1", memory.layout.l1_base, memory.l1, run.l1), ("DRAM", memory.layout.dram_base, memory.dram, run.dram),
    ):  # fmt: skip
        for begin in range(
            0, mine.size, PIECE
        ):  # DRAM may be larger than what holds a flag for each of its bytes
            part = slice(begin, begin + PIECE)
            if not np.array_equal(mine[part], theirs[part]):
                at = begin + int(np.argmax(mine[part] != theirs[part]))
                return f"{name} differs at {base + at:#x}: {theirs[at]:#04x}, expected {mine[at]:#04x}"
    return ""


def _told(program: Program, known: Steps, theirs: NDArray[np.void], index: int, wrong: list[str]) -> str:
    """The instructions up to the one that differs, what differs, and the registers before it."""
    mine = known.records
    lines = [f"instruction {index} differs in {', '.join(wrong)}:"]
    for number in range(max(0, index - CONTEXT), index + 1):
        lines.append(f"  {_line(program, mine[number])}")
    lines.append(f"  {_line(program, theirs[index])}   <- RTL")
    values: dict[int, int] = {10: known.hart, 11: len(known.cluster.harts)}
    for record in mine[:index]:
        if record["kind"] == REGISTER:
            values[int(record["destination"])] = int(record["value"])
    names = [*X_NAMES, *F_NAMES]
    state = [f"{names[number]}={value:#x}" for number, value in sorted(values.items()) if value]
    lines.append(f"  registers before it that are not 0: {' '.join(state) or 'none'}")
    return "\n".join(lines)


def _line(program: Program, record: np.void) -> str:
    pc, word = int(record["pc"]), int(record["word"])
    symbol = program.symbol_at(pc)
    place = f"{pc:#x}" + (f" <{symbol}+{pc - program.symbols[symbol]:#x}>" if symbol else "")
    result = ""
    if record["kind"] == REGISTER and record["destination"] != NOTHING:
        number = int(record["destination"])
        name = F_NAMES[number - FLOAT] if number >= FLOAT else X_NAMES[number]
        result = f"{name} = {int(record['value']):#x}"
    elif record["kind"] == STORED:
        result = f"[{int(record['address']):#x}] = {int(record['value']):#x}"
    text = disassemble_word(word)
    return f"cycle {int(record['cycle'])}: {place}: {text:32} {result}  fcsr {int(record['fcsr']):#x}"


__all__ = ["Build", "LockStep", "lock_step"]
