"""A loaded image in guarded memory that is executed from many places and states, and a slow twin that single-steps.

``Arena`` runs blocks as a user's run does. ``Stepper`` is the same machine with every block cut to one instruction, so
that the state before and after each instruction can be seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from potluck.isa.elf import Program, Section
from potluck.isa.errors import PotluckError, ProgramError, TrapError
from potluck.isa.machine import Machine, load_machine
from potluck.sim import state as st
from potluck.sim.blocks import BlockStore
from potluck.sim.cluster import Cluster
from potluck.sim.dma import Dma
from potluck.sim.driver import R_BLOCK, R_CYCLES, R_ENTRIES, R_INSTRUCTIONS, R_STATE, intern
from potluck.sim.hart import Event, Hart
from potluck.sim.helper import Helper
from potluck.sim.jit.atomics import NOTHING
from tests.robustness.guard import CANARY, PAGE, guarded

L1, L1_BYTES = 0x1000_0000, 2 * PAGE
TEXT, TEXT_BYTES = 0x8000_0000, 8 * PAGE
DATA, DATA_BYTES = TEXT + TEXT_BYTES, 4 * PAGE
TOHOST = DATA + PAGE
END = DATA + DATA_BYTES
MEMO = 1 << 10
LIMIT = 150  # instructions of one execution
FIXED = [
    "l1_base", "l1_host", "l1_bytes", "dram_base", "dram_host", "dram_bytes", "write_base", "write_host", "write_bytes",
    "hart", "vlenb", "page_base", "page_bytes", "page_delta", "page_table",
]  # fmt: skip
SEEN = ["vl", "vtype", "vstart", "vxsat", "vxrm", "fcsr", "dma_source", "dma_target", "dma_source_stride",
        "dma_target_stride", "dma_repeat", "reserved"]  # fmt: skip


class Escape(AssertionError):
    """What must not happen: the host was touched, or a trap was not precise."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A machine for an arena."""

    vlen: int = 512
    timed: bool = False
    cores: int = 1
    tohost: bool = False
    misaligned: bool = False
    changes: bool = False  # the program changes its code: its text may be written

    def machine(self) -> Machine:
        """The description; memory is smaller than a user may have it, as it is restored for every execution."""
        machine = load_machine("spatz-mx", {
            "vector.vlen": self.vlen, "cluster.cores": self.cores, "memory.misaligned": self.misaligned,
        })  # fmt: skip
        sizes = {"l1_bytes": L1_BYTES, "dram_bytes": TEXT_BYTES + DATA_BYTES}
        return machine.model_copy(update={"memory": machine.memory.model_copy(update=sizes)})


class State(NamedTuple):
    """What an execution begins with; ``words`` are those of :data:`SEEN`."""

    x: NDArray[np.uint64]
    f: NDArray[np.uint64]
    v: NDArray[np.uint8]
    words: dict[str, int]


class Outcome(NamedTuple):
    """How an execution ended: ``exit``, ``limit``, ``trap`` or ``error``, where, and after how many instructions."""

    kind: str
    pc: int
    retired: int
    message: str = ""
    address: int | None = None


def guard(cluster: Cluster) -> None:
    """Move all that handlers write to between forbidden pages."""
    memory = cluster.memory
    places = [(memory, "l1"), (memory, "dram"), (memory, "_rights")]
    if cluster.kernel:
        places = [(cluster.kernel.pages, "data"), (cluster.kernel.pages, "permissions")]
    for owner, name in places:
        old = getattr(owner, name)
        if old.size:
            new = guarded(old.size)
            for begin, end in _filled(cluster) if name == "data" else [(0, old.size)]:
                new[begin:end] = old[begin:end]
            setattr(owner, name, new)
    for hart in cluster.harts:
        new = guarded(hart.state.raw.size)
        new[:] = hart.state.raw
        new[-st.PADDING :] = CANARY
        hart.state.place(new)
        memory.attach(hart.state)


def _filled(cluster: Cluster) -> list[tuple[int, int]]:
    """The parts of a process's address space that are not zero at the start: its sections and the top of its stack."""
    assert cluster.kernel is not None
    process = cluster.kernel.process
    return [
        *((s.address, s.address + len(s.data)) for s in cluster.program.sections),
        (process.stack_pointer, process.stack_top),
    ]


class Arena:
    """One image on one machine.

    Args:
        setting: the machine.
        text: the code at ``TEXT``.
        data: the contents of L1 and of the memory behind the code.
    """

    def __init__(self, setting: Setting, text: bytes, data: NDArray[np.uint8]) -> None:
        self.setting = setting
        machine = setting.machine()
        self.image_l1, behind = data[:L1_BYTES].copy(), data[L1_BYTES:].copy()
        if setting.tohost:
            behind[TOHOST - DATA : TOHOST - DATA + 16] = 0
        text = text.ljust(TEXT_BYTES, b"\0")
        sections = [Section(".text", TEXT, text, executable=True, writable=setting.changes),
                    Section(".data", DATA, behind.tobytes())]  # fmt: skip
        symbols = {"tohost": TOHOST, "fromhost": TOHOST + 8} if setting.tohost else {}
        self.cluster = Cluster(Program(sections, symbols, TEXT), machine, setting.timed, budget=LIMIT)
        self.harts = self.cluster.harts
        guard(self.cluster)
        for hart in self.harts if setting.timed else []:  # small enough to be cleared often, and to fill up
            hart._memo, hart._causes = hart._memo[:MEMO].copy(), hart._causes[:MEMO].copy()
        self.store = BlockStore(self.cluster.memory.code, machine)
        self.image = self.cluster.memory.dram.copy()
        self.templates = [hart.state.raw.copy() for hart in self.harts]
        self._fixed = [[hart.state[name] for name in FIXED] for hart in self.harts]
        self._places = [(st.WORD[name] - 528) // 8 for name in FIXED]

    def reset(self, state: State) -> None:
        """Everything as it was before the first execution, with these registers."""
        memory, cluster = self.cluster.memory, self.cluster
        memory.l1[:] = self.image_l1
        memory.dram[:] = self.image
        cluster.exit_code = None
        cluster.dma = Dma(cluster.machine, memory)
        for hart, template in zip(self.harts, self.templates, strict=True):
            mine = hart.state
            mine.raw[:] = template
            mine.x[:32], mine.f[:], mine.v[:] = state.x.view(np.int64), state.f, state.v
            for name, value in state.words.items():
                mine[name] = value
            if hart.store is not self.store:  # a private one, whose blocks' numbers others will get
                hart.store = self.store
                hart.jumps[:], hart._memo[:], hart.record[R_ENTRIES] = -1, 0, 0
            hart.stopped, hart.stretch, hart.budget = False, 0, LIMIT
            hart._flushed.clear()
            hart._scratch[:] = 0
            number = intern(hart._scratch, hart._states, hart._state_index, hart.record)
            if number < 0:
                hart._flush()
                hart._scratch[:] = 0
                number = intern(hart._scratch, hart._states, hart._state_index, hart.record)
            hart.record[R_STATE], hart.record[R_CYCLES], hart.record[R_INSTRUCTIONS] = number, 0, 0
            hart.record[6] = LIMIT

    def run(self, entry: int, state: State) -> Outcome:
        """Execute from ``entry`` to an end.

        Raises:
            Escape: canaries are damaged or the state is none that a hart can have.
        """
        self.reset(state)
        try:
            self._run(entry)
            outcome = Outcome("exit", 0, self.retired, str(self.cluster.exit_code))
        except TrapError as error:
            if error.pc is None:
                raise Escape(f"a trap that names no pc: {error}") from error
            outcome = Outcome("trap", error.pc, self.retired, error.message, error.address)
        except ProgramError as error:
            limit = any(hart.instructions > LIMIT for hart in self.harts)
            outcome = Outcome("limit" if limit else "error", error.pc or 0, self.retired, error.message)
        self.check()
        return outcome

    def _run(self, entry: int) -> None:
        cluster = self.cluster
        for hart in self.harts:
            hart.record[R_BLOCK] = hart.find(entry)
        waiting: dict[int, Event] = {}
        if len(self.harts) == 1:
            cluster.begin_rounds()
            cluster._loop(Helper(wanted=False), waiting)
        if cluster.exit_code is None:
            cluster._loop_in_order(waiting)

    @property
    def retired(self) -> int:
        """Instructions of hart 0."""
        return self.harts[0].instructions

    def check(self) -> None:
        """Whether anything outside the simulated machine has changed."""
        for hart, fixed in zip(self.harts, self._fixed, strict=True):
            mine = hart.state
            if mine._words[self._places].tolist() != fixed:
                raise Escape("constant words of the hart's state have changed")
            if not (mine.raw[-st.PADDING :] == CANARY).all():
                raise Escape("bytes behind v31 have changed")
            if mine.x[0]:
                raise Escape("x0 is not 0")
            vtype = mine["vtype"] & ~st.PARTWAY
            vlmax = 0 if vtype >> 63 else hart.context().vlmax(self.setting.vlen)
            if mine["vl"] > vlmax or mine["vstart"] >= self.setting.vlen or mine["fcsr"] > 0x3FFF:
                raise Escape(f"vl {mine['vl']} of {vlmax}, vstart {mine['vstart']}, fcsr {mine['fcsr']:#x}")


class _Everywhere(set[int]):
    """Cuts at every address."""

    def __contains__(self, address: object) -> bool:
        return True

    def __ior__(self, other: object) -> _Everywhere:  # type: ignore[override,misc]
        return self

    def isdisjoint(self, others: Iterable[object]) -> bool:
        return not list(others)

    def copy(self) -> _Everywhere:
        return self


class Snapshot(NamedTuple):
    """Registers and memory at one moment."""

    x: bytes
    f: bytes
    v: bytes
    words: tuple[int, ...]
    memory: bytes
    cycles: int


def snapshot(arena: Arena) -> Snapshot:
    """Of hart 0."""
    hart, memory = arena.harts[0], arena.cluster.memory
    mine = hart.state
    words = tuple(mine[name] & ~st.PARTWAY if name == "vtype" else mine[name] for name in SEEN)
    stored = memory.l1.tobytes() + memory.dram.tobytes()
    return Snapshot(mine.x[:32].tobytes(), mine.f.tobytes(), mine.v.tobytes(), words, stored, hart.cycles)


class Stepper(Arena):
    """The twin that runs one instruction at a time."""

    def __init__(self, setting: Setting, text: bytes, data: NDArray[np.uint8]) -> None:
        super().__init__(setting, text, data)
        self.store._cuts = _Everywhere()

    def agree(self, entry: int, state: State, outcome: Outcome, end: Snapshot) -> None:
        """Execute as far as another arena came, and compare.

        Raises:
            Escape: the end or the state at the end differs, or the instruction that trapped left a trace.
        """
        self.reset(state)
        hart = self.harts[0]
        before, begun = None, 0
        hart.budget = 2 * LIMIT
        try:
            hart.record[R_BLOCK] = hart.find(entry)
            while hart.instructions < outcome.retired:
                self._step(hart)
            before, begun = snapshot(self), hart.instructions
            mine = Outcome("limit", 0, hart.instructions)
            if outcome.kind != "limit":
                if self.cluster.exit_code is None:  # a store to tohost retires and ends all
                    self._step(hart)
                code = self.cluster.exit_code
                mine = Outcome("exit" if code is not None else "on", 0, hart.instructions, str(code))
        except TrapError as error:
            mine = Outcome("trap", error.pc or 0, hart.instructions, error.message, error.address)
        except ProgramError as error:
            mine = Outcome("error", error.pc or 0, hart.instructions, error.message)
        self.check()
        if mine.kind != "limit" and mine != outcome:
            raise Escape(f"step by step it ends otherwise: {mine}, not {outcome}")
        now = snapshot(self)
        _same(now, end, "step by step")
        if outcome.kind == "trap" and before is not None and hart.instructions == begun:
            self._unchanged(
                before, now
            )  # else nothing could be fetched, and what came before has been compared

    def _step(self, hart: Hart) -> None:
        hart._single = True
        event = hart.run()
        if not event.paused:
            waiting: dict[int, Event] = {}
            self.cluster._handle(hart, event, waiting)

    def _unchanged(self, before: Snapshot, after: Snapshot) -> None:
        """A trap leaves registers and memory alone, but a vector access that tells by vstart how far it came."""
        hart = self.harts[0]
        insn = hart.store.blocks[int(hart.record[R_BLOCK])].insns[0][0]
        name = insn.kind.name
        # Of the structure that trapped, part may have been transferred (7.8.1).
        partly = after.words[SEEN.index("vstart")] > 0 or "segments" in insn.attributes
        if partly and name in ("VLOAD", "VSTORE"):
            words = list(after.words)
            words[SEEN.index("vstart")] = before.words[SEEN.index("vstart")]
            after = after._replace(words=tuple(words))
            after = after._replace(v=before.v) if name == "VLOAD" else after._replace(memory=before.memory)
        _same(before, after, "what trapped left a trace:")


def _same(mine: Snapshot, other: Snapshot, what: str) -> None:
    found = []
    for name, a, b in zip(Snapshot._fields, mine, other, strict=True):
        if a == b:
            continue
        if isinstance(a, bytes):
            width = 1 if name in ("v", "memory") else 8
            kind = f"u{width}"
            here, there = np.frombuffer(a, kind), np.frombuffer(b, kind)
            at = np.flatnonzero(here != there)
            found.append(f"{name}[{at[0]}] {here[at[0]]:#x} {there[at[0]]:#x} ({at.size} places)")
        else:
            found.append(f"{name} {a} {b}")
    if found:
        raise Escape(f"{what} differ: {', '.join(found)}")


__all__ = ["NOTHING", "Arena", "Escape", "Outcome", "PotluckError", "Setting", "State", "Stepper", "snapshot"]
