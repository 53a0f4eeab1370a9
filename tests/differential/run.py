"""One hart here and one of Spike, many programs side by side in one text, compared state by state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from potluck.isa.context import PARTWAY, Context
from potluck.isa.elf import Program as Executable
from potluck.isa.elf import Section
from potluck.isa.errors import ProgramError, TrapError
from potluck.isa.insn import Kind
from potluck.isa.machine import load_machine
from potluck.sim import state as st
from potluck.sim.cluster import Cluster
from potluck.sim.driver import R_BLOCK
from potluck.sim.jit.atomics import NOTHING
from potluck.sim.jit.compile import compiler
from tests.differential.latitude import allowed, sums_nothing
from tests.differential.program import (
    SANDBOX,
    SANDBOX_BYTES,
    TABLES,
    TEXT,
    TEXT_BYTES,
    Program,
    State,
    tables,
)
from tests.reference.spike import ISA, Spike, Trap

COMPILED_TOGETHER = 100
STEP_LIMIT = 10_000
CAUSES = {-1: "endless", 0: "misaligned jump", 1: "jump outside", 2: "illegal", 4: "misaligned", 5: "fault",
          6: "misaligned", 7: "fault", 11: "ecall"}  # fmt: skip


class Outcome(NamedTuple):
    """How a run ended: what, at which pc, and the address of an access that failed."""

    what: str
    pc: int
    address: int = 0
    detail: str = ""


class Pair:
    """Both machines of one VLEN; :meth:`load` programs, then :meth:`compare` them run by run."""

    def __init__(self, vlen: int, timed: bool = True, isa: str = ISA) -> None:
        self.vlen, self.timed = vlen, timed
        self.machine = load_machine("spatz-mx", {
            "vector.vlen": vlen, "cluster.cores": 1, "memory.l1_bytes": SANDBOX_BYTES, "memory.dram_bytes": TEXT_BYTES,
        })  # fmt: skip
        memory = {SANDBOX: np.zeros(SANDBOX_BYTES, np.uint8), TEXT: np.zeros(TEXT_BYTES, np.uint8)}
        self.spike = Spike(isa, vlen, memory, scratch=False)
        self._tables = tables(vlen)
        self.latitude: dict[str, int] = {}
        self.retired = 0

    def load(self, programs: Sequence[Program]) -> None:
        """Put programs into both memories and compile what they need in a few batches."""
        sections = self.place(programs)
        self.cluster = Cluster(Executable(sections, {}, TEXT), self.machine, self.timed)
        self.hart = self.cluster.harts[0]
        self._compile()

    def place(self, programs: Sequence[Program]) -> list[Section]:
        """Put programs into Spike's memory; the sections of an executable that has them."""
        self.programs, self.starts = programs, []
        text = bytearray()
        for program in programs:
            self.starts.append(TEXT + len(text))
            text += program.encode()
            text += bytes(-len(text) % 4)
        assert len(text) <= TABLES - TEXT, "too many programs for one text"
        sections = [Section(".text", TEXT, bytes(text), executable=True, writable=False),
                    Section(".tables", TABLES, self._tables.tobytes())]  # fmt: skip
        dram = self.spike.memory[TEXT]
        dram[: len(text)] = np.frombuffer(text, np.uint8)
        dram[TABLES - TEXT : TABLES - TEXT + self._tables.size] = self._tables
        self.spike.flush()
        return sections

    def _compile(self) -> None:
        wanted: dict[str, Any] = {}
        for program, start in zip(self.programs, self.starts, strict=True):
            pc = start
            for item in program.items:
                partway = PARTWAY if item.insn.kind in (Kind.VLOAD, Kind.VSTORE) else 0
                for extra in {0, partway}:
                    context = Context(item.context.vtype | extra, item.context.control)
                    try:
                        one = self.cluster.store._decode(pc, context)
                    except TrapError:
                        continue
                    wanted[one.name] = one.variant
                pc += item.insn.length
        names = sorted(wanted)
        for first in range(0, len(names), COMPILED_TOGETHER):
            compiler().addresses({name: wanted[name] for name in names[first : first + COMPILED_TOGETHER]})

    def compare(self, number: int, run: int, state: State | None = None) -> str | None:
        """Execute a program on both from one state; what differs, in words, or None."""
        program = self.programs[number]
        state = state or program.state(run)
        theirs = self._run_spike(number, state)
        mine = self._run_here(number, state)
        if (mine.what, mine.pc, mine.address) != (theirs.what, theirs.pc, theirs.address):
            why = allowed(mine, theirs)
            if why:
                self.latitude[why] = self.latitude.get(why, 0) + 1
                return None
            return f"here: {_say(mine)}; Spike: {_say(theirs)}"
        if mine.what == "endless":  # the shrinker took a loop's counter away
            return None
        return self._difference(program)

    def _start_spike(self, state: State) -> None:
        spike = self.spike
        spike.x[:], spike.f[:], spike.v[:] = state.x, state.f, state.v
        spike.memory[SANDBOX][:] = state.memory
        spike.set_vtype(state.vl, state.vtype)
        spike["vstart"], spike["vcsr"], spike["fcsr"] = 0, state.vcsr, state.fcsr
        spike.drop_reservation()

    def sums_nothing(self, number: int, state: State) -> bool:
        """Whether a program executes an unordered sum without active elements, by Spike's state before each one."""
        spike, pc = self.spike, self.starts[number]
        self._start_spike(state)
        sums = {}
        for item in self.programs[number].items:
            if "redusum" in item.insn.mnemonic and not item.fields["vm"]:
                sums[pc] = item
            pc += item.insn.length
        pc = self.starts[number]
        for _ in range(STEP_LIMIT):
            if pc in sums and sums_nothing(spike.v[0], spike["vl"]):
                return True
            if spike.step(1, pc):
                break
            pc = spike.pc
        return False

    def _run_spike(self, number: int, state: State) -> Outcome:
        spike = self.spike
        self._start_spike(state)
        trap = spike.step(STEP_LIMIT, self.starts[number]) or Trap(-1, 0, 0)
        self.retired += spike.retired
        what = CAUSES.get(trap.cause, f"cause {trap.cause}")
        return Outcome(what, trap.pc, trap.tval if trap.cause in (4, 5, 6, 7) else 0)

    def _run_here(self, number: int, state: State) -> Outcome:
        hart, mine = self.hart, self.hart.state
        mine.x[:32], mine.f[:], mine.v[:] = state.x.view(np.int64), state.f, state.v
        self.cluster.memory.l1[:] = state.memory
        words = {"vl": state.vl, "vtype": state.vtype, "vstart": 0, "fcsr": state.fcsr, "vxsat": state.vcsr & 1,
                 "vxrm": state.vcsr >> 1, "reserved": NOTHING}  # fmt: skip
        for name, value in words.items():
            mine[name] = value
        hart.budget = hart.instructions + STEP_LIMIT
        try:
            hart.record[R_BLOCK] = hart.store.find(self.starts[number], hart.context())
            event = hart.run()
        except TrapError as error:
            what = error.message.split(" ")[0] if error.address is None else "misaligned"
            return Outcome(what, error.pc or 0, error.address or 0, error.message)
        except ProgramError as error:
            return Outcome("endless", 0, 0, str(error))
        if event.address is not None:
            return Outcome("fault", event.pc, event.address)
        return Outcome(event.insn.mnemonic, event.pc)

    def _difference(self, program: Program) -> str | None:
        mine, spike = self.hart.state, self.spike
        found = [
            f"{name}{n} = {a:#x}, Spike {b:#x}"
            for name, here, there in (("x", mine.x[:32].view(np.uint64), spike.x), ("f", mine.f, spike.f))
            for n, (a, b) in enumerate(zip(here.tolist(), there.tolist(), strict=True)) if a != b
        ] if (mine.x[:32].view(np.uint64) != spike.x).any() or (mine.f != spike.f).any() else []  # fmt: skip
        if not np.array_equal(mine.v, spike.v):
            for register in np.flatnonzero((mine.v != spike.v).any(1)).tolist():
                byte = int(np.flatnonzero(mine.v[register] != spike.v[register])[0])
                a, b = (
                    v[register, byte & -8 : (byte & -8) + 8].view(np.uint64)[0] for v in (mine.v, spike.v)
                )
                found.append(f"v{register} from byte {byte} on: {int(a):#018x}, Spike {int(b):#018x}")
        mask = 0xFF if program.reads_flags else 0xE0
        words = {"vl": mine["vl"], "vtype": mine["vtype"] & ~st.PARTWAY, "vstart": mine["vstart"],
                 "vcsr": mine["vxrm"] << 1 | mine["vxsat"], "fcsr": mine["fcsr"] & mask}  # fmt: skip
        for name, value in words.items():
            other = spike[name] & (mask if name == "fcsr" else -1)
            if value != other:
                found.append(f"{name} = {value:#x}, Spike {other:#x}")
        l1, sandbox = self.cluster.memory.l1, spike.memory[SANDBOX]
        if not np.array_equal(l1, sandbox):
            at = np.flatnonzero(l1 != sandbox)
            found.append(f"{at.size} bytes of memory from {SANDBOX + int(at[0]):#x} on")
        return "; ".join(found) or None


def _say(outcome: Outcome) -> str:
    where = f" of {outcome.address:#x}" if outcome.address else ""
    return f"{outcome.what} at {outcome.pc:#x}{where}{' (' + outcome.detail + ')' if outcome.detail else ''}"
