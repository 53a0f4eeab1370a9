"""A cluster that can be paused between two rounds, and put back to where a run of its program was.

Its memory consists of the arena, pages that runs may write, and of the rest, which stays as the program brings it.
Stores outside the arena stop: a golden run takes the page into the arena, any other run gives up (`Outside`), as it
could not be taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.elf import Program
from potluck.isa.errors import ExitError
from potluck.isa.insn import Kind
from potluck.isa.machine import Machine
from potluck.sim.blocks import BlockStore
from potluck.sim.checkpoints.pages import PageStore, restore_pages
from potluck.sim.checkpoints.upset import Aim, Upset, leave
from potluck.sim.cluster import STORES, Cluster
from potluck.sim.dma import End, Transfer
from potluck.sim.driver import R_BLOCK, R_BUDGET, R_INSTRUCTIONS
from potluck.sim.hart import POLL_INTERVAL, Event, Hart
from potluck.sim.helper import Helper
from potluck.sim.linux.pages import PAGE, PAGE_SHIFT, READ, WRITE
from potluck.sim.rounds import ASKS, AT, BEGUN, PAUSE, PAUSED, ROUNDS, T_PHASE
from potluck.sim.state import WORD, F, V, X
from potluck.sim.transfers import COUNT, WRITABLE, WRITABLE_END

KEPT_WORDS = (
    "vl", "vtype", "vstart", "vxsat", "vxrm", "fcsr", "dma_source", "dma_target", "dma_source_stride",
    "dma_target_stride", "dma_repeat", "turn", "reserved",
)  # fmt: skip
"""Words of a hart's state that later instructions can read; the others say where memory is, or what was an event."""
HART = np.dtype([("pc", "u8"), ("instructions", "i8"), ("phase", "i8"), ("stopped", "i8")])
LOADS = (Kind.LOAD, Kind.VLOAD)

Reads = Callable[[int, int], None]
"""Told of the bytes [begin, end) of DRAM that are read."""


class Outside(Exception):
    """A run that cannot be taken back: it would write outside the arena."""


@dataclass(frozen=True, eq=False)
class Point:
    """Where a run is, beside its memory: between two rounds.

    Attributes:
        rounds: how many have begun.
        harts: `HART` (harts,).
        states: uint8 (harts, bytes), what `kept_bytes` chooses.
        transfers: that the DMA was asked for.
    """

    rounds: int
    harts: NDArray[np.void]
    states: NDArray[np.uint8]
    transfers: int

    def same(self, other: Point) -> bool:
        """Whether two runs go on alike, if their memories are the same."""
        return (
            self.rounds == other.rounds
            and self.transfers == other.transfers
            and self.harts.tobytes() == other.harts.tobytes()
            and bool(np.array_equal(self.states, other.states))
        )


def supported(program: Program, machine: Machine) -> bool:
    """Whether a program's runs can be kept: no Linux process, accelerator, node on the host, atomic access or code that
    changes, no device in its memory, and memories of whole pages."""
    layout = machine.memory
    pages = (layout.l1_base, layout.l1_bytes, layout.dram_base, layout.dram_bytes)
    plain = not (program.manifest.host or "tohost" in program.symbols or any(n % PAGE for n in pages))
    if not plain:
        return False
    stage = Cluster(program, machine, timed=False)
    code = stage.memory.code
    return not (stage.kernel or stage.pot or code.has_atomics() or code.has_fence_i())


def kept_bytes(vlen: int) -> NDArray[np.int64]:
    """Places in a hart's state of what instructions can read."""
    words = [WORD[name] + np.arange(8) for name in KEPT_WORDS]
    registers = [np.arange(X, X + 256), np.arange(F, F + 256), np.arange(V, V + 4 * vlen)]
    return np.concatenate([*registers, *words])


class Stage(Cluster):
    """One program on one machine, in functional mode.

    Args:
        program: one that is `supported`.
        machine: that runs it.
        store: of the contents of pages.
        arena: page numbers (address / PAGE) that were found to be written by earlier golden runs.
        free: whether the run may write anywhere, and can then not be taken back: good for one run.
    """

    def __init__(
        self, program: Program, machine: Machine, store: PageStore, arena: tuple[int, ...] = (), free: bool = False
    ) -> None:  # fmt: skip
        super().__init__(program, machine, timed=False)
        self.free = free
        self.aim: Aim | None = None
        self.steps = BlockStore(self.memory.code, machine)
        layout = self.memory.layout
        self.contents = store
        self.kept = kept_bytes(machine.vector.vlen)
        self.fetched = self.store
        self.reads: Reads | None = None
        self.hidden: NDArray[np.int64] = np.zeros(0, np.int64)
        self._rights = np.zeros(layout.dram_bytes >> PAGE_SHIFT, np.uint8)
        self.arena: list[int] = []
        self.initial: list[int] = []
        inputs = [p for t in program.manifest.inputs for p in _span(t.address, t.bytes)]
        l1 = _span(layout.l1_base, layout.l1_bytes)
        for page in dict.fromkeys([*l1, *inputs, *arena]):
            self._take(page)
        for hart in self.harts:
            hart.start(program.entry, len(self.harts))
            hart.state["turn"] = 2 if len(self.harts) == 1 else 0
        self.start = self.point()

    def _take(self, page: int) -> None:
        """Let a page be part of the arena, whose first content is what it holds."""
        self.arena.append(page)
        self.initial.append(self.contents.number(self._page(page)))
        hosts = [self._page(one).ctypes.data for one in self.arena]
        self.hosts: NDArray[np.int64] = np.array(hosts, np.int64)
        self._attach()

    def _page(self, page: int) -> NDArray[np.uint8]:
        return self.memory.view(page << PAGE_SHIFT, PAGE)

    def _attach(self) -> None:
        """Tell harts and DMA which memory is read and written without a stop."""
        if self.free:
            return
        layout = self.memory.layout
        base, first = layout.dram_base, self.memory.first_writable
        mine = sorted(page for page in self.arena if page << PAGE_SHIFT >= first)
        begin, end = _longest(mine)
        self._rights[:] = READ
        self._rights[np.array(mine, np.int64) - (base >> PAGE_SHIFT)] |= WRITE
        if self.reads is not None:
            self._rights[self.hidden] &= ~READ & 0xFF
        for hart in self.harts:
            state = hart.state
            self.memory.attach(state)
            state["page_base"], state["page_bytes"] = base, layout.dram_bytes
            state["page_delta"] = self.memory.dram.ctypes.data - base
            state["page_table"] = self._rights.ctypes.data - (base >> PAGE_SHIFT)
            state["write_base"], state["write_bytes"] = begin, end - begin
            state["write_host"] = self.memory.dram.ctypes.data + begin - base
            if self.reads is not None:
                state["dram_bytes"] = 0
        self.dma.arrays.fixed[WRITABLE], self.dma.arrays.fixed[WRITABLE_END] = begin, end
        self.watches_transfers = self.reads is not None

    def watch(self, reads: Reads | None, hidden: NDArray[np.int64]) -> None:
        """Tell of what is read from some pages of DRAM (numbers from its start); None: of nothing any more.

        What the DMA reads is told by the byte. Of pages that harts read, all is told, once for each call of `watch`.
        """
        self.reads, self.hidden = reads, hidden
        self._attach()

    def known(self, contents: NDArray[np.int64]) -> NDArray[np.int64]:
        """Contents of all pages: of those that came to the arena after a checkpoint, what they hold at first."""
        if contents.size == len(self.initial):
            return contents
        return np.concatenate([contents, np.array(self.initial[contents.size :], np.int64)])

    def restore(self, point: Point, contents: NDArray[np.int64]) -> None:
        """Go back, or forward, to where a run was.

        Args:
            point: of a run of this program.
            contents: numbers of the pages of the arena as it was then; pages that came to it later had not changed.

        Raises:
            TrapError: nothing can be executed where a hart goes on, see `fetch`.
        """
        restore_pages(self.hosts, self.known(contents), self.contents.address)
        self.exit_code = None
        self.control[[AT, BEGUN, ROUNDS]] = -1, 0, point.rounds
        self.table[:, T_PHASE] = point.harts["phase"]
        record = self.dma.arrays.record
        record[:], self.dma.arrays.clocks[:] = 0, 0
        record[COUNT] = point.transfers
        for hart, line, state in zip(self.harts, point.harts.tolist(), point.states, strict=True):
            pc, instructions, _, stopped = line
            if hart.store is not self.fetched:  # other faults, or it had met code that was not loaded
                hart.store = self.fetched
                hart.jumps[:] = -1
            hart.state.raw[self.kept] = state
            hart.stopped = bool(stopped)
            hart.record[R_INSTRUCTIONS] = instructions
            hart.record[R_BUDGET] = min(hart.budget, instructions + POLL_INTERVAL)
            hart.record[R_BLOCK] = hart.find(pc)

    def point(self) -> Point:
        """Where this run is."""
        harts = np.zeros(len(self.harts), HART)
        for hart, line, phase in zip(self.harts, harts, self.table[:, T_PHASE].tolist(), strict=True):
            line["pc"] = hart.store.blocks[int(hart.record[R_BLOCK])].pc
            line["instructions"], line["phase"], line["stopped"] = hart.instructions, phase, hart.stopped
        states = np.stack([hart.state.raw[self.kept] for hart in self.harts])
        return Point(int(self.control[ROUNDS]), harts, states, int(self.dma.arrays.record[COUNT]))

    def fetch(self, store: BlockStore | None) -> None:
        """Let harts execute other code from the next `restore` on; None: the program's."""
        self.fetched = store or self.store

    def enter(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Begin a run.

        Raises:
            DataError: see `Cluster.run`.
        """
        self.restore(self.start, np.array(self.initial, np.int64))
        self.memory.write_inputs(inputs)

    def advance(self, until: int = -1) -> bool:
        """Run on.

        Args:
            until: round before which to pause; -1: to the program's end.

        Returns:
            Whether there is more to run.

        Raises:
            ExitError, TrapError, EndlessError: how a run may end.
            Outside: it would write outside the arena, and `reads` is not being told; or it went where harts take turns.
        """
        self.control[PAUSE] = until
        waiting: dict[int, Event] = {}
        with Helper(False) as helper:
            self._loop(helper, waiting)
        if self.exit_code is None and self.control[ASKS] != PAUSED:
            if not self.free:
                raise Outside("an atomic access")  # in data that are executed, as the program has none
            self._loop_in_order(waiting)
        if self.exit_code:
            raise ExitError(self.exit_code)
        return self.exit_code is None

    def limit(self, instructions: int) -> None:
        """Let a run of more instructions of a hart be endless."""
        for hart in self.harts:
            hart.budget = instructions

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Of a run that has ended."""
        return {tensor.name: self.memory.read_tensor(tensor) for tensor in self.program.manifest.outputs}

    def upset(self, upset: Upset | None) -> None:
        """Let a bit of a hart's registers flip in what follows; None: no more."""
        self.aim = None if upset is None else Aim(upset, self.steps)
        if self.aim is not None:
            self.aim.arm(self.harts[self.aim.upset.hart])

    def _answer(self, hart: Hart, reason: int) -> Event | None:
        event = hart.answer(reason)
        aim = self.aim
        if event is None and aim is not None and aim.struck is None and hart.number == aim.upset.hart:
            event = aim.approach(hart)
            if aim.struck is not None and hart.store is self.steps:
                leave(hart, self.store)
        return event

    def _handle(self, hart: Hart, event: Event, waiting: dict[int, Event]) -> None:
        if not self.free and event.insn.mnemonic == "dmcpyi" and event.address is None and hart.number == 0:
            self._look_at(self.dma.transfer(hart.state, event.fields, event.pc))
        super()._handle(hart, event, waiting)

    def _opened(self, event: Event) -> bool:
        assert event.address is not None
        layout, store = self.memory.layout, event.insn.kind in STORES
        need = WRITE if store else READ
        if self.free:
            return False
        if not store and (event.insn.kind not in LOADS or self.reads is None):
            return False
        for page in (
            event.address >> PAGE_SHIFT,
            (event.address + 7) >> PAGE_SHIFT,
        ):  # elements have 8 bytes at most
            at = page - (layout.dram_base >> PAGE_SHIFT)
            if not 0 <= at < self._rights.size or self._rights[at] & need:
                continue
            if store:
                self._extend(page)
            else:
                assert self.reads is not None
                self._rights[at] |= READ
                self.reads(page << PAGE_SHIFT, (page + 1) << PAGE_SHIFT)
            return True
        return False

    def _extend(self, page: int) -> None:
        """Take a page that is going to be written into the arena."""
        if self.reads is None or page << PAGE_SHIFT < self.memory.first_writable:
            raise Outside(f"page {page:#x}")
        self._take(page)

    def _look_at(self, transfer: Transfer) -> None:
        """What a transfer reads and writes."""
        if self.reads is not None and transfer.source.region == "dram":
            for row in range(transfer.rows if transfer.source.step else 1):
                begin = transfer.source.start + row * transfer.source.step
                self.reads(begin, begin + transfer.size)
        if transfer.target.region == "dram":
            known = set(self.arena)
            for page in _pages_of(transfer.target, transfer.size, transfer.rows):
                if page not in known:
                    self._extend(page)


def _pages_of(end: End, size: int, rows: int) -> list[int]:
    begins = (end.start + row * end.step for row in range(rows if end.step else 1))
    return list(dict.fromkeys(page for begin in begins for page in _span(begin, size)))


def _span(address: int, count: int) -> range:
    """Pages of a range of bytes."""
    return range(address >> PAGE_SHIFT, (address + count + PAGE - 1) >> PAGE_SHIFT)


def _longest(pages: list[int]) -> tuple[int, int]:
    """The longest run of neighbouring pages, as addresses [begin, end)."""
    best, begin = (0, 0), 0
    for k, page in enumerate(pages):
        if k == 0 or pages[k - 1] != page - 1:
            begin = page
        if page + 1 - begin > best[1] - best[0]:
            best = begin, page + 1
    return best[0] << PAGE_SHIFT, best[1] << PAGE_SHIFT
