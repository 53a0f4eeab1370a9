"""Instruction by instruction: what each one wrote, for comparisons with a core that reports the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.elf import Program
from potluck.isa.errors import ProgramError, TrapError
from potluck.isa.insn import Insn, Kind
from potluck.isa.machine import Machine
from potluck.sim.cluster import Cluster
from potluck.sim.hart import Event
from potluck.sim.observation.watch import FOREVER, Watch
from potluck.sim.rounds import TIMER
from potluck.sim.state import HartState

NOTHING, FLOAT = 255, 32
_ARITHMETIC = (
    "fma",
    "fcvt",
    "fmove",
    "fdiv",
)  # timing classes of scalar FP instructions that the vector unit executes
NO_VALUE, REGISTER, STORED = range(3)
_COUNTERS = (0xB00, 0xC00, 0xC01)  # mcycle, cycle, time
RETIRED = np.dtype(
    [
        ("pc", "u8"),
        ("cycle", "u8"),
        ("value", "u8"),
        ("address", "u8"),
        ("word", "u4"),
        ("destination", "u1"),
        ("kind", "u1"),
        ("fcsr", "u2"),
    ]
)
"""An instruction that retired: ``cycle`` in which it left the core; ``destination`` x0..x31, f0..f31 from ``FLOAT`` on,
or ``NOTHING``; ``kind`` of ``value``: none, the register's, or what was stored at ``address``; ``fcsr`` before it."""


@dataclass(frozen=True, slots=True)
class Wrote:
    """What an instruction left in the vector register file.

    Attributes:
        record: its number.
        registers: those whose bytes changed.
        values: their bytes, uint8 [n, VLEN / 8].
    """

    record: int
    registers: NDArray[np.int64]
    values: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Steps:
    """A hart's run.

    Attributes:
        records: :data:`RETIRED` [n].
        cycles: the clock at the end.
        trap: what ended it; None: an ``ecall``.
        pc: where it ended.
        cluster: the machine as the run left it.
        vectors: of every vector instruction, in order.
        in_unit: whether each instruction is carried out by the vector unit, bool [n].
        hart: its number.
        told: how many results were taken from another executor.
    """

    records: NDArray[np.void]
    cycles: int
    trap: TrapError | None
    pc: int
    cluster: Cluster
    vectors: tuple[Wrote, ...] = ()
    in_unit: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    hart: int = 0
    told: int = 0


def steps(
    program: Program,
    machine: Machine,
    most: int = 1 << 20,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    told: Sequence[NDArray[np.void]] = (),
) -> list[Steps]:
    """Run a program to the ``ecall`` or trap of every hart, one instruction at a time, cycles included.

    Harts take turns at the barrier alone: one goes on until it is there or has ended, then the next.

    Args:
        program: an executable.
        machine: what it runs on.
        most: instructions of a hart after which the program is taken for endless.
        inputs: tensors by the names in its manifest.
        told: of every hart the records of another executor, from which the results of instructions are taken that say
            how late it is: reads of the cycle counter and the timer, and the DMA's status. Without them a program that
            asks goes another way where the cycles are others.

    Returns:
        What each hart did, in order.

    Raises:
        ProgramError: more than ``most`` instructions.
        DataError: inputs that are not the program's.
    """
    cluster = Cluster(program, machine, watch=Watch(window=(0, FOREVER)))
    walks = [_Walk(cluster, n, most, told[n] if told else None) for n in range(len(cluster.harts))]
    try:
        cluster.begin(inputs)
    except TrapError as error:
        return [replace(walk.steps(), trap=error, pc=program.entry) for walk in walks]
    waiting: dict[int, Event] = {}
    while True:
        for walk in walks:
            walk.arrive(waiting)
        running = [walk for walk in walks if not walk.over and walk.hart.number not in waiting]
        if running:
            running[0].go(waiting)
        elif waiting:  # the others have ended
            cluster.release(waiting)
        else:
            return [walk.steps() for walk in walks]


class _Walk:
    """A hart that goes instruction by instruction."""

    def __init__(self, cluster: Cluster, number: int, most: int, told: NDArray[np.void] | None) -> None:
        self.cluster, self.hart, self.told = cluster, cluster.harts[number], told
        self.hart.store = self.hart.store.one_by_one()
        self.records = np.zeros(most, RETIRED)
        self.in_unit = np.zeros(most, np.bool_)
        self.vectors: list[Wrote] = []
        self.count = self.taken = 0
        self.over = False
        self.trap: TrapError | None = None
        self.pc = 0
        self._before = self.hart.state.v.copy()
        self._parked: Event | None = None

    def arrive(self, waiting: Mapping[int, Event]) -> None:
        """Note the load of the barrier if it has been executed by now."""
        if self._parked is not None and self.hart.number not in waiting:
            self._leave(self._parked, 0)
            self._parked = None

    def go(self, waiting: dict[int, Event]) -> None:
        """Execute instructions to the barrier or the end."""
        hart, cluster = self.hart, self.cluster
        while True:
            here = hart.here()
            if self.count == len(self.records):
                raise ProgramError(f"more than {self.count:,} instructions without an end: endless loop?")
            record = self.records[self.count]
            word = hart.store.word(here.pc)
            record["pc"], record["word"], record["fcsr"] = here.pc, word, hart.state["fcsr"]
            address = _address(here.insn, here.fields, hart.state.x)
            try:
                event = cluster.step(hart.number, waiting)
            except TrapError as error:
                if hart.instructions > self.count:  # it went through, the next one cannot be fetched
                    self._leave(here, address)
                self.trap, self.over = error, True
                self.pc = here.pc if error.pc is None else error.pc
                hart.stopped = True
                return
            if not event.paused and event.insn.mnemonic == "ecall":
                self.over, self.pc = True, here.pc
                hart.stopped = True
                return
            if hart.number in waiting:
                self._parked = here
                return
            self._leave(here, address)

    def _leave(self, here: Event, address: int) -> None:
        """Write down what an instruction did that has been executed."""
        insn, number = here.insn, self.count
        record = self.records[number]
        if self.told is not None and _tells_time(here, address, self.cluster.machine):
            same = number < len(self.told) and self.told[number]["pc"] == here.pc
            if same and here.fields.get("rd", 0):
                self.hart.state.write_x(here.fields["rd"], int(self.told[number]["value"]))
                self.taken += 1
        _result(record, insn, here.fields, address, self.cluster, self.hart.state)
        self.in_unit[number] = insn.is_vector or (
            insn.timing in _ARITHMETIC and not insn.mnemonic.startswith("fmv.")
        )
        if insn.is_vector:
            v = self.hart.state.v
            rows = np.flatnonzero((v != self._before).any(1))
            self.vectors.append(Wrote(number, rows, v[rows].copy()))
            self._before[rows] = v[rows]
        self.count += 1

    def steps(self) -> Steps:
        """What there is to say of it."""
        records = self.records[: self.count]
        if self.count:
            seen = self.hart.observed().records
            assert seen.size == self.count == self.hart.instructions
            records["cycle"] = seen["left"]
        in_unit = self.in_unit[: self.count]
        return Steps(
            records, self.hart.cycles, self.trap, self.pc, self.cluster, tuple(self.vectors), in_unit,
            self.hart.number, self.taken,
        )  # fmt: skip


def _tells_time(here: Event, address: int, machine: Machine) -> bool:
    """Whether the result of an instruction depends on when it is executed."""
    if here.insn.mnemonic == "dmstati":
        return True
    if here.insn.mnemonic.startswith("csr"):
        return here.fields["csr"] in _COUNTERS
    return here.insn.kind is Kind.LOAD and address == machine.memory.registers_base + TIMER


def _address(insn: Insn, fields: dict[str, int], x: NDArray[np.int64]) -> int:
    """Of a scalar load or store."""
    if insn.kind not in (Kind.LOAD, Kind.STORE):
        return 0
    return int(x[fields["rs1"]]) + fields["imm"] & (1 << 64) - 1


def _result(
    record: np.void, insn: Insn, fields: dict[str, int], address: int, cluster: Cluster, state: HartState
) -> None:
    """What an instruction that has been executed left."""
    record["destination"] = NOTHING
    if insn.kind is Kind.STORE:
        count = insn.syntax[0].type.bits // 8
        stored = cluster.memory.view(address, count, insn.mnemonic)
        record["kind"], record["address"] = STORED, address
        record["value"] = int.from_bytes(stored.tobytes(), "little")
    elif fields.get("rd", 0):
        record["kind"], record["destination"] = REGISTER, fields["rd"]
        record["value"] = int(state.x[fields["rd"]]) & (1 << 64) - 1
    elif "fd" in fields:
        record["kind"], record["destination"] = REGISTER, FLOAT + fields["fd"]
        record["value"] = int(state.f[fields["fd"]])


__all__ = ["FLOAT", "NOTHING", "NO_VALUE", "REGISTER", "RETIRED", "STORED", "Steps", "Wrote", "steps"]
