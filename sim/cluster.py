"""The cluster: memories, harts that take turns between synchronization points, barrier, DMA, end of run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.elf import Program
from potluck.isa.errors import EndlessError, ExitError, PotluckError, ProgramError, TrapError
from potluck.isa.host import HOST_CALL, Engine, Host
from potluck.isa.insn import Kind
from potluck.isa.machine import Machine
from potluck.isa.progress import task
from potluck.sim.blocks import block_store
from potluck.sim.dma import Dma, Traffic
from potluck.sim.dram.attach import system_of
from potluck.sim.dram.system import System
from potluck.sim.hart import Event, Hart
from potluck.sim.helper import Helper
from potluck.sim.htif import HostInterface
from potluck.sim.jit.atomics import NOTHING
from potluck.sim.linux.files import Stream
from potluck.sim.linux.process import Environment, Process, is_process, space
from potluck.sim.linux.syscalls import Exit, Kernel, Moment
from potluck.sim.memory import Memory
from potluck.sim.observation.watch import Watch
from potluck.sim.pot.accelerator import POT_REGISTERS, Accelerator, accelerator_of
from potluck.sim.rounds import (
    ASKS,
    AT,
    BARRIER,
    CONTROL,
    ENDED,
    HART_COUNT,
    LAST_ROUND,
    LINKS,
    NOBODY,
    PARKED,
    PAUSE,
    PAUSED,
    REASON,
    REGISTERS,
    RELEASE,
    ROUND_OVER,
    RUNS,
    SHARED,
    T_PHASE,
    T_REASON,
    TABLE,
    TAKEN_OVER,
    TIMER,
    run_rounds,
)
from potluck.sim.work import Work

DEFAULT_BUDGET = 20_000_000_000
EXIT = 93
STORES = (Kind.STORE, Kind.VSTORE, Kind.ATOMIC)
STRETCH = 1000  # instructions that a hart may run ahead of the others where they share memory by atomics


class Cluster:
    """One program on one machine, ready to run.

    Args:
        program: what to load.
        machine: the machine description.
        timed: whether cycles are counted.
        budget: retired instructions per hart after which the run is given up as endless.
        threads: host threads, of which two are of use: for channels of DRAM, and harts that run for long between their
            events. Default: one, as two take longer where the second has no core of its own. Results are the same.
        memoized: False times every instruction anew, the slow reference for tests.
        environment: arguments, streams and files of a program that is a Linux process.
        engine: what computes the nodes that the program leaves to the host (:mod:`potluck.isa.host`).
        tier: 1 leaves hot loops to the first tier as well; results are the same.
        watch: what to observe of a timed and memoized run, for :mod:`potluck.sim.observation.profile` and
            :mod:`potluck.sim.observation.trace`.
    """

    def __init__(
        self, program: Program, machine: Machine, timed: bool = True, budget: int = DEFAULT_BUDGET,
        threads: int | None = None, memoized: bool = True, environment: Environment | None = None,
        watch: Watch | None = None, engine: Engine | None = None, tier: int = 2,
    ) -> None:  # fmt: skip
        self.program, self.machine, self.timed = program, machine, timed
        self.kernel: Kernel | None = None
        if is_process(program, machine, environment):
            self.kernel = Kernel(Process(program, space(program, machine), environment or Environment()))
        self.memory = Memory(machine, program, self.kernel.pages if self.kernel else None)
        self.host = HostInterface(self.memory, environment or Environment())
        self.host_nodes = Host(program.manifest.host, engine)
        self.store = block_store(self.memory.code, machine)
        cores = 1 if self.kernel else machine.cluster.cores  # a process has one thread
        self.harts = [
            Hart(n, self.store, timed, budget, memoized, watch if timed else None, tier) for n in range(cores)
        ]
        self.dram: System | None = system_of(machine) if timed and not self.kernel else None
        keeps = watch is not None and watch.window is not None
        self.dma = Dma(machine, self.memory, self.dram, keeps_transfers=keeps)
        self.pot: Accelerator | None = accelerator_of(machine, self.memory, self.dma, timed)
        self.threads = threads or 1
        self.exit_code: int | None = None
        self.host_seconds = 0.0
        self.watches_transfers = False  # whether every transfer of the DMA comes to _handle
        self.table = np.zeros((len(self.harts), TABLE), np.int64)
        self.control = np.zeros(CONTROL, np.int64)
        self.begin_rounds()
        for hart in self.harts:
            self.memory.attach(hart.state)
            hart.memory = self.memory
            hart.ended = self.memory.ended  # nothing that refers to us: a run's memory goes when the run does

    def run(self, inputs: Mapping[str, NDArray[Any]] | None = None) -> dict[str, NDArray[Any]]:
        """Write the inputs, run to the end, read the outputs.

        Raises:
            DataError: an input is missing, unknown, or of the wrong shape.
            TrapError: the program did something illegal; names pc, symbol, layer and address.
            ExitError: an exit code other than 0.
            EndlessError: a deadlock, or no end within the budget.
        """
        _require_ieee_host()
        self.memory.write_inputs(inputs or {})
        start = time.perf_counter()
        self.begin_rounds()
        work = Work(self)
        try:
            with task("simulation", work.total, work.done):
                self._execute()
        except TrapError as error:
            raise self._located(error) from None
        finally:
            if self.kernel:
                self.kernel.files.close_all()
        self.host_seconds = time.perf_counter() - start
        if self.exit_code:
            raise ExitError(self.exit_code)
        return {tensor.name: self.memory.read_tensor(tensor) for tensor in self.program.manifest.outputs}

    def _execute(self) -> None:
        """All harts from the entry to the end."""
        for hart in self.harts:
            hart.start(self.program.entry, len(self.harts))
        if self.kernel:
            x = self.harts[0].state.x
            x[2], x[10], x[11] = self.kernel.process.stack_pointer, 0, 0
        code = self.memory.code
        waiting: dict[int, Event] = {}  # harts at the barrier
        if len(self.harts) == 1 or not (code.has_atomics() or code.has_fence_i()):
            if self.dma.keeps_transfers:
                self._loop_traced(waiting)
            else:
                with Helper(self.threads > 1) as helper:
                    self._loop(helper, waiting)
        if self.exit_code is None:
            self._loop_in_order(waiting)
        if self.pot:
            self.pot.finish()
        self.dma.settle()

    def begin(self, inputs: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Write the inputs and let all harts begin, for :meth:`step`."""
        _require_ieee_host()
        self.memory.write_inputs(inputs or {})
        for hart in self.harts:
            hart.start(self.program.entry, len(self.harts))

    def step(self, number: int = 0, waiting: dict[int, Event] | None = None) -> Event:
        """Execute the next instruction of a hart, and say which one it was.

        An ``ecall`` is not carried out: the program has come to its end, or to what only a whole run can do.

        Args:
            number: of the hart.
            waiting: harts at the barrier, where this one may be afterwards; its load is executed when all are there.

        Raises:
            TrapError: it cannot be executed; nothing of it was.
        """
        hart = self.harts[number]
        try:
            event = hart.step(hart.here())
            if not event.paused and event.insn.mnemonic != "ecall":
                self._handle(hart, event, {} if waiting is None else waiting)
        except TrapError as error:
            raise self._located(error) from None
        return event

    def begin_rounds(self) -> None:
        """Forget where harts were when an earlier run ended: in the middle of a round, if it trapped."""
        self.table[:], self.control[:] = 0, 0
        self.control[[AT, PAUSE]] = -1
        self.control[REGISTERS] = -1 if self.kernel else self.machine.memory.registers_base

    def _loop(self, helper: Helper, waiting: dict[int, Event]) -> None:
        """Harts in rounds, to the last one or to that before which ``control`` says to pause.

        It ends also before the first atomic access, in code that was not loaded."""
        for hart in self.harts if len(self.harts) > 1 else []:
            hart.state["turn"] = 0
        table, control, log = self.table, self.control, np.zeros((0, 2), np.int64)
        taken: dict[int, Event | Exception] = {}  # events that are carried out here
        atomic = False
        while True:
            control[SHARED] = self.watches_transfers or (self.pot is not None and self.pot.pending)
            control[LAST_ROUND] = atomic or self.exit_code is not None
            for hart, line in zip(self.harts, table, strict=True):
                hart.fill(line)
            self.dma.make_room(len(self.harts[0].store.requests))
            helper.serve(self.timed, table, self.dma.arrays, log)
            number = int(run_rounds(self.timed, table, control, self.dma.arrays, log))
            helper.pause()
            asks, hart, line = int(control[ASKS]), self.harts[number], table[number]
            waiting.clear()  # compiled code parks and releases harts, too: only the table knows who waits, and where
            for at in np.flatnonzero(table[:, T_PHASE] == PARKED).tolist():
                waiting[at] = self.harts[at].here(self.machine.memory.registers_base + BARRIER)
            if asks in (ROUND_OVER, PAUSED):
                return
            if asks == NOBODY:
                raise EndlessError("every hart has stopped and hart 0 did not exit")
            if asks == REASON:
                links = line[T_PHASE] == LINKS
                try:
                    event: Event | Exception | None = self._answer(hart, int(line[T_REASON]))
                except PotluckError as error:
                    if links:
                        raise
                    event = error
                if isinstance(event, Event) and event.address is not None and self._opened(event):
                    event = None  # the instruction is executed again
                if event is not None:
                    taken[number] = event
                line[T_PHASE] = RUNS if event is None else TAKEN_OVER
                continue
            if asks == RELEASE:
                self.release(waiting)
            else:
                event = taken.pop(number, None) or hart.answer(int(line[T_REASON]))
                if isinstance(event, Exception):
                    raise event
                assert event is not None
                line[T_PHASE] = RUNS
                if _asks_for_turn(event):
                    atomic = True
                else:
                    self._handle(hart, event, waiting)
            for at, (other, its) in enumerate(zip(self.harts, table, strict=True)):
                if other.stopped:
                    its[T_PHASE] = ENDED
                elif at in waiting:
                    its[T_PHASE] = PARKED
                elif its[T_PHASE] == PARKED:
                    its[T_PHASE] = RUNS

    def _answer(self, hart: Hart, reason: int) -> Event | None:
        """See `Hart.answer`."""
        return hart.answer(reason)

    def _opened(self, event: Event) -> bool:
        """Whether the access that a hart stopped for is possible now; see `potluck.sim.checkpoints.stage`."""
        return False

    def _loop_traced(self, waiting: dict[int, Event]) -> None:
        """The same in Python, which sees every event: for runs whose every instruction is written down."""
        while self.exit_code is None:
            running = [hart for hart in self.harts if not hart.stopped and hart.number not in waiting]
            if not running:
                if waiting:
                    self.release(waiting)
                    continue
                raise EndlessError("every hart has stopped and hart 0 did not exit")
            events = [_run_or_error(hart) for hart in running]
            for hart, event in zip(
                running, events, strict=True
            ):  # in hart order: errors and DMA are deterministic
                if isinstance(event, Exception):
                    raise event
                if _asks_for_turn(event):
                    return
                self._handle(hart, event, waiting)

    def _loop_in_order(self, waiting: dict[int, Event]) -> None:
        """Harts that share memory by atomic instructions or change code: one at a time, the one that is behind first.

        An atomic access is carried out when no other hart is behind it, so its order is that of the clocks (of the
        retired instructions where there is no timing), a tie going to the lower hart number. A hart that waits by
        plain loads is paused after a stretch. Host threads have no say.
        """
        asking: set[int] = set()
        last: Hart | None = None
        for hart in self.harts:
            hart.stretch, hart.state["turn"] = STRETCH, 0
        while self.exit_code is None:
            running = [hart for hart in self.harts if not hart.stopped and hart.number not in waiting]
            if not running:
                if waiting:
                    self.release(waiting)
                    continue
                raise EndlessError("every hart has stopped and hart 0 did not exit")
            hart = min(running, key=lambda h: (h.cycles if self.timed else h.instructions, h.number))
            if last is not None and last is not hart:  # others may store now: the reservation is lost
                last.state["turn"], last.state["reserved"] = 0, NOTHING
            last = hart
            if hart.number in asking:
                asking.discard(hart.number)
                hart.state["turn"] = 1
            event = hart.run()
            if _asks_for_turn(event):
                asking.add(hart.number)
            elif not event.paused:
                self._handle(hart, event, waiting)

    def _handle(self, hart: Hart, event: Event, waiting: dict[int, Event]) -> None:
        if event.address is not None:
            if event.insn.kind in STORES and self.memory.guards(event.address):
                self._store_to_tohost(hart, event)
            else:
                self._register(hart, event, waiting)
            return
        mnemonic = event.insn.mnemonic
        if event.tohost or mnemonic == "jal":
            self._halt(hart, event)
            return
        if mnemonic == "ecall":
            self._ecall(hart, event)
        elif mnemonic == "wfi":
            hart.retire(event)
            hart.idle(self.dma.remaining(hart.cycles), "dma", event.pc)
            hart.proceed(event)
        elif mnemonic == "dmcpyi":
            if hart.number != 0:
                raise TrapError("the DMA belongs to hart 0", pc=event.pc)
            transfer = self.dma.transfer(hart.state, event.fields, event.pc)
            hart.retire(event)
            if self.pot:
                self.pot.advance(hart.cycles)
            request = hart.store.requests.setdefault(event.pc, len(hart.store.requests))
            hart.state.write_x(event.fields["rd"], self.dma.copy(transfer, hart.cycles, event.pc, request))
            hart.proceed(event)
        elif mnemonic == "dmstati":
            hart.retire(event)
            status = self.dma.status(event.fields, hart.cycles, self.timed)
            hart.state.write_x(event.fields["rd"], status)
            hart.proceed(event)
        elif mnemonic.startswith("csr"):
            retired = event.fields["csr"] & 0xFF == 2 or not self.timed
            hart.retire(event)  # what it reads is of the cycle in which it leaves the core
            hart.state.write_x(event.fields["rd"], (hart.instructions if retired else hart.cycles) - 1)
            hart.proceed(event)
        else:
            raise TrapError(f"{mnemonic} ends the program", pc=event.pc)

    def _store_to_tohost(self, hart: Hart, event: Event) -> None:
        """A store into the page of tohost: carry it out, then see whether it asked for something."""
        before, later = hart.instructions, None
        self.memory.open_tohost(True)
        try:
            done = hart.step(event)
        except TrapError as trap:
            if hart.instructions == before:
                raise
            done, later = (
                replace(event, paused=True),
                trap,
            )  # it went through; what follows cannot be executed
        finally:
            self.memory.open_tohost(False)
        if not done.paused:
            raise self.memory.fault(done if done.address is not None else event)
        value = self.memory.tohost()
        code = self.host.answer(value, event.pc) if value else None
        if code is not None:
            hart.stopped, self.exit_code = True, code
        elif later:
            raise later

    def _ecall(self, hart: Hart, event: Event) -> None:
        call = int(hart.state.x[17])
        if self.kernel:
            self._system_call(self.kernel, call, hart, event)
            return
        if call == HOST_CALL:
            self._host_call(hart, event)
            return
        if call != EXIT:
            raise TrapError(
                f"ecall {call} is not supported (only exit, {EXIT}, and host calls, {HOST_CALL:#x})",
                pc=event.pc,
            )
        hart.stopped = True
        if hart.number == 0:
            self.exit_code = int(hart.state.x[10]) & 0xFF

    def _host_call(self, hart: Hart, event: Event) -> None:
        """Compute a node that the program leaves to us; it takes no time but the instruction's."""
        try:
            self.host_nodes.call(int(hart.state.x[10]), self.memory.view, self.memory.writable)
        except ProgramError as error:
            raise TrapError(error.message, hint=error.hint, pc=event.pc) from error
        hart.resume(event)

    def _system_call(self, kernel: Kernel, call: int, hart: Hart, event: Event) -> None:
        changes = kernel.pages.code_changes
        arguments = hart.state.x[10:16].view(np.uint64).tolist()
        try:
            result = kernel.call(call, arguments, Moment(self._nanoseconds(hart), event.pc))
        except Exit as end:
            hart.stopped, self.exit_code = True, end.code
            return
        hart.state.write_x(10, result)
        hart.resume(event, synchronize=kernel.pages.code_changes != changes)

    def _nanoseconds(self, hart: Hart) -> int:
        """Time since the start; without timing an instruction counts as a cycle, so that time passes."""
        return int((hart.cycles if self.timed else hart.instructions) * 1e9 / self.machine.cluster.clock_hz)

    def _halt(self, hart: Hart, event: Event) -> None:
        """The program wrote tohost (``code << 1 | 1``), or the hart jumps to itself for ever."""
        value = self.memory.tohost()
        hart.stopped = True
        if value:
            self.exit_code = value >> 1 & 0xFF
        elif hart.number == 0:
            raise EndlessError(
                "hart 0 jumps to itself: endless loop, and tohost was not written", pc=event.pc
            )

    def _register(self, hart: Hart, event: Event, waiting: dict[int, Event]) -> None:
        """A scalar access to the cluster registers; anything else is a fault."""
        assert event.address is not None
        offset = event.address - self.machine.memory.registers_base
        if self.kernel:  # a process has no registers beside its memory
            raise self.memory.fault(event)
        if self.pot and event.address - self.machine.memory.pot_base in POT_REGISTERS:
            self._accelerator(self.pot, hart, event, event.address - self.machine.memory.pot_base)
            return
        if event.insn.mnemonic not in ("lw", "lwu", "ld") or offset not in (BARRIER, HART_COUNT, TIMER):
            raise self.memory.fault(event)
        if offset == BARRIER:
            waiting[hart.number] = event
            live = [other for other in self.harts if not other.stopped]
            if len(waiting) == len(live):
                self.release(waiting)
            return
        hart.retire(event)
        hart.state.write_x(event.fields["rd"], len(self.harts) if offset == HART_COUNT else hart.cycles)
        hart.proceed(event)

    def _accelerator(self, pot: Accelerator, hart: Hart, event: Event, offset: int) -> None:
        """A scalar access to a register of the PoT accelerator."""
        mnemonic, fields = event.insn.mnemonic, event.fields
        if mnemonic not in ("lw", "lwu", "ld", "sw", "sd"):
            raise self.memory.fault(event)
        if hart.number != 0:
            raise TrapError("the PoT accelerator belongs to hart 0", pc=event.pc, address=event.address)
        hart.retire(event)
        if mnemonic in ("sw", "sd"):
            value = int(hart.state.x[fields["rs2"]]) & (1 << 32 if mnemonic == "sw" else 1 << 64) - 1
            pot.store(offset, value, hart.cycles, event.pc)
        else:
            value, until = pot.load(offset, hart.cycles)
            hart.state.write_x(fields["rd"], value)
            hart.idle(until - hart.cycles, "pot", event.pc)
        hart.proceed(event)

    def release(self, waiting: dict[int, Event]) -> None:
        """All harts have arrived: the later clock is everybody's clock."""
        arrived = [(self.harts[number], event) for number, event in waiting.items()]
        waiting.clear()
        for hart, event in arrived:
            hart.retire(event)
            hart.state.write_x(event.fields["rd"], 0)
        latest = max(hart.cycles for hart, _ in arrived)
        for hart, event in arrived:
            hart.idle(latest - hart.cycles, "sync", event.pc)
            hart.proceed(event)

    def _located(self, error: TrapError) -> TrapError:
        """The same trap with symbol and layer."""
        pc = error.pc
        if pc is None:
            return error
        layer = next((x.name for x in self.program.manifest.layers if x.start <= pc < x.end), None)
        symbol = self.program.symbol_at(pc)
        if symbol is not None and pc != self.program.symbols[symbol]:
            symbol += f"+{pc - self.program.symbols[symbol]:#x}"
        return TrapError(
            error.message, hint=error.hint, pc=pc, symbol=symbol, layer=layer, address=error.address
        )

    @property
    def streams(self) -> tuple[Stream, Stream]:
        """What the program wrote to standard output and standard error."""
        source = self.kernel or self.host
        return source.stdout, source.stderr

    def traffic(self) -> Traffic:
        """What the DMA and the PoT accelerator have moved."""
        own = self.dma.traffic(self.harts[0].store.requests)
        if not self.pot:
            return own
        schedule = self.pot.schedule
        parts = [own, *(channel.traffic(schedule.requests) for channel in schedule.channels)]
        return Traffic(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    @property
    def cycles(self) -> int:
        """Cycles from start to hart 0's exit."""
        return self.harts[0].cycles


def _require_ieee_host() -> None:
    """Compiled handlers use the host's arithmetic, which other libraries can change for their thread.

    Raises:
        ProgramError: this thread flushes subnormal numbers or does not round to nearest.
    """
    smallest = np.array([5e-324])
    if (smallest * 1.0)[0] == 0.0:
        raise ProgramError(
            "the host flushes subnormal numbers to zero", hint="Undo torch.set_flush_denormal or the like"
        )
    above, below = np.ones(1) + np.array([1.5 * 2.0**-53, 0.5 * 2.0**-53])
    if above == 1.0 or below != 1.0:
        raise ProgramError("the host does not round to nearest", hint="Undo fesetround in this thread")


def _asks_for_turn(event: Event) -> bool:
    """Whether a hart is before an atomic access."""
    return event.address is None and event.insn.kind is Kind.ATOMIC and not (event.paused or event.tohost)


def _run_or_error(hart: Hart) -> Event | Exception:
    try:
        return hart.run()
    except PotluckError as error:
        return error
