"""One hart: runs blocks until something concerns the cluster, and keeps its own clock and counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import is_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.context import PARTWAY, VILL, Context
from potluck.isa.errors import EndlessError, TrapError
from potluck.isa.insn import Insn
from potluck.sim import state as st
from potluck.sim.blocks import MAX_LENGTH, BlockArrays, BlockStore
from potluck.sim.code import ExecutableMemory, LiveCode, OutsideText
from potluck.sim.driver import (
    BUDGET,
    COUNT,
    ENTRY_BLOCK,
    ENTRY_FAR,
    ENTRY_VL,
    HEATED,
    JUMP_WORDS,
    NEED_BLOCK,
    R_BLOCK,
    R_BUDGET,
    R_COUNT,
    R_CYCLES,
    R_HEAT,
    R_HOT,
    R_INSTRUCTIONS,
    R_STATE,
    R_TIMER,
    R_VL,
    RECORD,
    TABLE_FULL,
    WAYS,
    account,
    intern,
    jump_key,
    run_blocks,
    run_logged,
)
from potluck.sim.loops import COMPILE, HOT, LOAD, MOST_BLOCKS, NEVER, Path, Step
from potluck.sim.observation.watch import Observer, Watch
from potluck.sim.raw import address_of
from potluck.sim.rounds import (
    LAST_CYCLE,
    T_BLOCKS,
    T_CAUSES,
    T_COUNTS,
    T_ENTRIES,
    T_INDEX,
    T_INFO,
    T_JUMPS,
    T_KEPT,
    T_KEPT_COUNT,
    T_LENGTHS,
    T_MEMO,
    T_POINTERS,
    T_RECORD,
    T_ROW_CODES,
    T_ROWS,
    T_SCRATCH,
    T_SLOTS,
    T_STATE,
    T_STATE_COUNT,
    T_STATES,
    T_SUCCESSORS,
    T_TIMING,
    T_WAITED,
    WAITED,
)
from potluck.sim.timing.timer import CAUSES, STATE_SIZE, TIME_BLOCK, time_block, wait

POLL_INTERVAL = 1 << 20  # instructions between looks at tohost
KEPT_FLUSHES = 16  # harvests of the memo until they are summed up, so that a long run takes no more memory
MEMO_ENTRIES = 1 << 16
MEMO_STATES = 1 << 15


@dataclass(frozen=True, slots=True)
class Event:
    """Why a hart stopped: an instruction for the cluster to carry out, at ``pc``."""

    insn: Insn
    fields: dict[str, int]
    pc: int
    next_pc: int
    address: int | None = None  # of a memory access outside memory
    tohost: bool = False  # not an instruction: the program was seen to have written tohost
    paused: bool = False  # not an instruction: the hart's stretch is over


@dataclass(frozen=True, slots=True)
class Usage:
    """What was executed: parallel arrays, one place per (block, vl, access classes, state) that occurred.

    Attributes:
        block: block numbers.
        vl: vector length at block entry.
        count: executions.
        causes: int64 [n, causes], cycles by cause of all executions.
        far: a bit for each of the block's memory instructions, 1 if it went to DRAM.
    """

    block: NDArray[np.int64]
    vl: NDArray[np.int64]
    count: NDArray[np.int64]
    causes: NDArray[np.int64]
    far: NDArray[np.int64]


class Hart:
    """A hart with its timing memo."""

    def __init__(
        self, number: int, store: BlockStore, timed: bool, budget: int, memoized: bool = True,
        watch: Watch | None = None, tier: int = 2,
    ) -> None:  # fmt: skip
        self.number, self.store, self.timed, self.memoized = number, store, timed, memoized
        self.state = st.HartState(number, store.machine.vector.vlen)
        self.record = np.zeros(RECORD, np.int64)
        self.budget = budget
        self.record[R_BUDGET] = min(budget, POLL_INTERVAL)
        self.record[R_HOT] = HOT if tier > 1 and (memoized or not timed) else NEVER
        self.record[R_TIMER] = address_of(time_block, TIME_BLOCK) if timed else 0
        self.memory: ExecutableMemory | None = None  # where code may be besides the program's text
        self.ended: Callable[[], bool] = lambda: False  # whether the program has written tohost
        self._single = False  # pause after one block
        self.stretch = 0  # instructions after which to pause; 0: never
        self.jumps = np.full((WAYS, JUMP_WORDS), -1, np.int64)
        self.counts = np.zeros(store.arrays.pointers.size, np.int64)
        self._waited = np.zeros(
            (self.counts.size, len(WAITED)), np.int64
        )  # cycles spent idle, by block and cause
        self._lengths = np.zeros(self.counts.size, np.int64)  # instructions from a block to the next event
        self._idled: dict[tuple[int, str], int] = {}  # the same by pc and cause, where Python let time pass
        entries = MEMO_ENTRIES if timed and memoized else 1
        self._memo = np.zeros((entries, 8), np.int64)
        self._causes = np.zeros((entries, len(CAUSES)), np.int64)
        self._states = np.zeros((MEMO_STATES if timed else 1, STATE_SIZE), np.int64)
        self._state_index = np.full(2 * MEMO_STATES if timed else 2, -1, np.int64)
        self._scratch = np.zeros(STATE_SIZE, np.int64)
        self._row_codes = np.zeros(512, np.uint8)
        self._kept_codes = np.zeros((1, st.MAX_CODES), np.uint8)
        self._log = np.zeros((0, 2), np.int64)
        self._observer = Observer(watch, entries) if watch and entries > 1 else None
        if self._observer:
            self._kept_codes, self._log = self._observer.kept_codes, self._observer.log
            self._observer.begin(self.record)
        self._flushed: list[Usage] = []
        self._filled: tuple[NDArray[Any], ...] = ()
        self.stopped = False
        intern(self._scratch, self._states, self._state_index, self.record)

    def start(self, pc: int, harts: int) -> None:
        """Enter the program."""
        self.state.x[10], self.state.x[11] = self.number, harts
        self.record[R_BLOCK] = self.find(pc)

    def find(self, pc: int) -> int:
        """The block at ``pc`` in the present context.

        Raises:
            TrapError: nothing can be executed there.
        """
        try:
            return self.store.find(pc, self.context())
        except OutsideText:
            if self.memory is None:
                raise
            self.store = self.store.private(self.memory)
            return self.store.find(pc, self.context())

    def synchronize(self) -> None:
        """See the code as memory holds it now (``fence.i``). A program that has not changed its code keeps the shared
        store."""
        if self.memory is None:
            return
        if not isinstance(self.store.code, LiveCode):
            if not self.store.code.changes(self.memory):
                return
            self.store = self.store.private(self.memory)
        if self.store.synchronize(self.memory):
            self.jumps[:] = -1

    @property
    def cycles(self) -> int:
        """The hart's clock."""
        return int(self.record[R_CYCLES])

    @property
    def instructions(self) -> int:
        """Retired instructions."""
        return int(self.record[R_INSTRUCTIONS])

    def context(self) -> Context:
        """The decode context of the present state."""
        vtype = self.state["vtype"]
        partway = PARTWAY if vtype & st.PARTWAY else 0
        return Context((VILL if vtype >> 63 else vtype & 0x1FF) | partway, self.state["fcsr"] >> 5)

    def run(self) -> Event:
        """Run to the next event."""
        if self.stretch or self._single:
            self.record[R_BUDGET] = min(
                self.budget, self.instructions + (0 if self._single else self.stretch)
            )
        while True:
            event = self.answer(self.run_blocks())
            if event is not None:
                return event

    def answer(self, reason: int) -> Event | None:
        """Do what :func:`run_blocks` stopped for; the event if there is one, None if the hart can go on."""
        why, code = reason // 4, reason % 4
        if reason in (st.EVENT, st.FAULT, st.MISALIGNED, st.PIECEWISE):
            event = self._stopped_at(reason)
            if event is None or event.insn.mnemonic != "fence.i":
                return event
            self.resume(event, synchronize=True)  # concerns this hart alone
            return replace(event, paused=True) if self._single else None
        number = int(self.record[R_BLOCK])
        if why == TABLE_FULL:
            self._flush()
            self._charge(number, int(code == st.TAKEN), int(self.record[R_VL]))
        if why == BUDGET and self.instructions <= self.budget:
            self.record[R_BUDGET] = min(self.budget, self.instructions + POLL_INTERVAL)
            if self.ended() and not self._single:
                return replace(self.here(), tohost=True)
            return replace(self.here(), paused=True) if self.stretch or self._single else None
        if why == BUDGET:
            raise EndlessError(
                f"hart {self.number} retired {self.instructions} instructions without an end: endless loop? "
                "(raise the instruction budget if the program is that long)",
                pc=self.store.blocks[number].pc,
            )
        if why == HEATED:
            return self._heat()
        assert why in (TABLE_FULL, NEED_BLOCK)
        self.record[R_BLOCK] = self._successor(number, code)
        return replace(self.here(), paused=True) if self._single else None

    def _heat(self) -> Event | None:
        """A branch back was taken often: let the second tier have the loop that it closes, if it closes one."""
        blocks, head = self.store.blocks, int(self.record[R_BLOCK])
        last, count = blocks[int(self.record[R_HEAT])], int(self.record[R_COUNT])
        if blocks[head].pc > last.pcs[-2] or count * len(last.insns) < LOAD:
            return None
        reason = None
        path = self.store.path(head, self.state["vl"])
        if path is None:
            path, reason = self._follow(head)
        if path is not None and not path.refused:
            self.store.install(path, count * path.length >= COMPILE)
        return None if reason is None else self.answer(reason)

    def _follow(self, head: int) -> tuple[Path | None, int | None]:
        """Go along the path that begins here until it is back, to record it; or why it stopped on the way."""
        budget, hot = int(self.record[R_BUDGET]), int(self.record[R_HOT])
        if self.instructions + MOST_BLOCKS * MAX_LENGTH > budget:
            return None, None
        steps: list[Step] = []
        self.record[R_BUDGET], self.record[R_HOT] = 0, NEVER  # one block each time, and no loops
        try:
            while True:  # through inner loops turn by turn
                number, vl = int(self.record[R_BLOCK]), self.state["vl"]
                if (steps and number == head) or len(steps) == MOST_BLOCKS:
                    break
                reason = self.run_blocks()
                if reason != BUDGET * 4:
                    return None, reason
                steps.append(Step(number, vl, self.state.codes.tobytes()))
        finally:
            self.record[R_BUDGET], self.record[R_HOT] = budget, hot
        if number != head or vl != steps[0].vl:
            return None, None
        return self.store.record(steps), None

    def here(self, address: int | None = None) -> Event:
        """The instruction that comes next as an event, which accesses an address outside memory."""
        block = self.store.blocks[int(self.record[R_BLOCK])]
        return Event(*block.insns[0], block.pc, block.pcs[1], address)

    def step(self, event: Event) -> Event:
        """Execute the instruction of an event again, alone; ``paused`` if it went through."""
        self.record[R_BLOCK] = self._alone(event.pc)
        self._single = True
        try:
            return self.run()
        finally:
            self._single = False
            self.record[R_BUDGET] = min(self.budget, self.instructions + POLL_INTERVAL)

    def _arrays(self) -> BlockArrays:
        """The store's arrays, with our counts grown to match."""
        arrays = self.store.arrays
        missing = arrays.pointers.size - self.counts.size
        if missing > 0:
            self.counts = np.pad(self.counts, (0, missing))
            self._waited = np.pad(self._waited, ((0, missing), (0, 0)))
            self._lengths = np.pad(self._lengths, (0, missing))
        return arrays

    def fill(self, line: NDArray[np.int64]) -> None:
        """Write down where our arrays are for :func:`potluck.sim.rounds.run_rounds`, unless ``line`` says so."""
        s = self._arrays()
        held = (*s, self.record, self.jumps, self.counts, self._memo, self._waited, self.state.raw)
        if line[T_STATE] == self.state.address and all(map(is_, self._filled, held)):
            return
        self._filled = held  # it also keeps them alive while their addresses are used
        for word, array in (
            (T_STATE, self.state.raw), (T_RECORD, self.record), (T_JUMPS, self.jumps), (T_COUNTS, self.counts),
            (T_MEMO, self._memo), (T_CAUSES, self._causes), (T_STATES, self._states), (T_INDEX, self._state_index),
            (T_SCRATCH, self._scratch), (T_ROW_CODES, self._row_codes), (T_KEPT, self._kept_codes),
            (T_WAITED, self._waited), (T_LENGTHS, self._lengths), (T_POINTERS, s.pointers),
            (T_SUCCESSORS, s.successors), (T_INFO, s.info), (T_TIMING, s.timing_rows), (T_SLOTS, s.code_slots),
        ):  # fmt: skip
            line[word] = array.ctypes.data
        line[T_BLOCKS], line[T_ROWS] = s.pointers.size, s.code_slots.size
        line[T_ENTRIES], line[T_STATE_COUNT] = len(self._memo), len(self._states)
        line[T_KEPT_COUNT] = len(self._kept_codes)

    def run_blocks(self) -> int:
        """Run until something needs Python; the reason, for `answer`."""
        s = self._arrays()
        if self._log.size:
            return int(
                run_logged(
                    self.state.address, self.record, s.pointers, s.successors, self.jumps, self._memo, self._causes,
                    self._states, self._state_index, s.info, s.timing_rows, s.code_slots, self.state.codes,
                    self._scratch, self._row_codes, self._kept_codes, self._log,
                )
            )  # fmt: skip
        return int(
            run_blocks(
                self.timed, self.state.address, self.record, s.pointers, s.successors, self.jumps, self.counts,
                self._memo, self._causes, self._states, self._state_index, s.info, s.timing_rows,
                s.code_slots, self.state.codes, self._scratch, self._row_codes, self._kept_codes, self._log,
            )
        )  # fmt: skip

    def _charge(self, number: int, taken: int, vl: int | None = None) -> None:
        """Account one execution of a block outside the loop; ``vl`` at its entry (default: it is still the same)."""
        s = self._arrays()
        if not self.timed:
            self.counts[number] += 1
            return
        entry_vl = self.state["vl"] if vl is None else vl
        full = account(
            number, taken, entry_vl, self.state.address, self.record, self._memo, self._causes, self._states,
            self._state_index, s.info, s.timing_rows, s.code_slots, self.state.codes, self._scratch, self._row_codes,
            self._kept_codes, self._log,
        )  # fmt: skip
        if full:
            self._flush()
            self._charge(number, taken, vl)

    def _successor(self, number: int, code: int) -> int:
        block = self.store.blocks[number]
        if code == st.DYNAMIC:
            pc = self.state["next_pc"]
            target = self.find(pc)
            facts, way = jump_key(pc, self.state["vtype"], self.state["fcsr"])
            self.jumps[way] = np.array([pc, facts, target, 0], np.uint64).view(np.int64)
            return target
        _, fields = block.insns[-1]
        pc = (block.pcs[-2] + fields["off"]) & (1 << 64) - 1 if code == st.TAKEN else block.end
        target = self.find(pc)
        self.store.link(number, code, target)
        return target

    def _stopped_at(self, reason: int) -> Event | None:
        """Account the part of the block before the row that stopped; None if it has to be executed again."""
        number = int(self.record[R_BLOCK])
        block = self.store.blocks[number]
        index = (self.state["event_row"] - int(self.store.arrays.pointers[number])) // st.ROW.itemsize
        insn, fields = block.insns[index]
        pc = block.pcs[index]
        if reason == st.PIECEWISE:
            if index > 0:
                before, _ = self.store.split(number, pc)
                self._charge(before, 0)
                self.record[R_INSTRUCTIONS] += index
                self.jumps[:] = -1
            self.state["vtype"] |= st.PARTWAY
            self.record[R_BLOCK] = self.find(pc)
            return None
        if index > 0:
            before, here = self.store.split(number, pc)
            self._charge(before, 0)
            self.record[R_INSTRUCTIONS] += index
            self.jumps[:] = -1
            self.record[R_BLOCK] = here
            return None  # the block at pc stops again, now at its first instruction
        if reason == st.MISALIGNED:
            raise TrapError(
                f"misaligned access by {insn.mnemonic}", pc=pc, address=self.state["event_address"]
            )
        address = self.state["event_address"] if reason == st.FAULT else None
        return Event(insn, fields, pc, block.pcs[index + 1], address)

    def retire(self, event: Event) -> None:
        """Charge the event's instruction, which is about to be carried out and cannot fail any more."""
        self.state.codes[0] = 0
        self.state["code_key"] = 0
        self.record[R_INSTRUCTIONS] += 1
        taken = int(event.insn.mnemonic == "fence.i")  # it costs what refilling the fetch stage costs
        self._charge(self._alone(event.pc), taken)

    def _alone(self, pc: int) -> int:
        """The block of the instruction at ``pc`` and of nothing behind it, which will be charged on its own."""
        number = self.find(pc)
        if len(self.store.blocks[number].insns) > 1:
            _, number = self.store.split(number, pc)
            self.jumps[:] = -1
        return number

    def proceed(self, event: Event, synchronize: bool = False) -> None:
        """Continue after the event's instruction, in code fetched anew if ``synchronize``. All that the instruction
        does has to be done before: what follows may not be executable.
        """
        if synchronize:
            self.synchronize()
        self.record[R_BLOCK] = self.find(event.next_pc)

    def resume(self, event: Event, value: int | None = None, synchronize: bool = False) -> None:
        """Charge the event's instruction, write its result to rd, and continue after it."""
        self.retire(event)
        if value is not None:
            self.state.write_x(event.fields["rd"], value)
        self.proceed(event, synchronize)

    def idle(self, cycles: int, cause: str, pc: int) -> None:
        """Let time pass at ``pc``."""
        if not self.timed or cycles <= 0:
            return
        if self.cycles + cycles > LAST_CYCLE:
            raise EndlessError(f"the clock passes cycle {LAST_CYCLE}: DMA transfers without end?", pc=pc)
        if self._observer:
            self._observer.wait(self.cycles, cycles, cause, pc)
        if not self.memoized:
            wait(self._scratch, cycles)
            self.record[R_CYCLES] += cycles
            self._idled[pc, cause] = self._idled.get((pc, cause), 0) + cycles
            return
        self._scratch[:] = self._states[self.record[R_STATE]]
        wait(self._scratch, cycles)
        number = intern(self._scratch, self._states, self._state_index, self.record)
        if number < 0:
            saved = self._scratch.copy()
            self._flush()
            self._scratch[:] = saved
            number = intern(self._scratch, self._states, self._state_index, self.record)
        self.record[R_STATE] = number
        self.record[R_CYCLES] += cycles
        self._idled[pc, cause] = self._idled.get((pc, cause), 0) + cycles

    def _flush(self) -> None:
        """Harvest the memo's counts and start it anew from the present state."""
        if self._observer:
            self._observer.harvest(self._memo, self._states, self.record, self._arrays())
        self._flushed.append(self._usage())
        if len(self._flushed) > KEPT_FLUSHES:
            self._flushed = [_merged(self._flushed)]
        self._scratch[:] = self._states[self.record[R_STATE]]
        self._memo[:] = 0
        self._state_index[:] = -1
        self.record[4:6] = 0
        self.record[R_STATE] = intern(self._scratch, self._states, self._state_index, self.record)

    def observed(self) -> Observer:
        """What was seen of the whole run, of a hart that was watched and has ended."""
        assert self._observer is not None
        self._flush()
        return self._observer

    def _usage(self) -> Usage:
        used = np.flatnonzero(self._memo[:, COUNT])
        memo = self._memo[used]
        causes = self._causes[used] * memo[:, COUNT, None]
        return Usage(memo[:, ENTRY_BLOCK], memo[:, ENTRY_VL], memo[:, COUNT], causes, memo[:, ENTRY_FAR])

    @property
    def waited(self) -> dict[tuple[int, str], int]:
        """Cycles spent idle, by pc and cause."""
        found = self._idled.copy()
        for block, cause in zip(*(place.tolist() for place in np.nonzero(self._waited)), strict=True):
            key = self.store.blocks[block].pc, WAITED[cause]
            found[key] = found.get(key, 0) + int(self._waited[block, cause])
        return found

    @property
    def causes(self) -> dict[str, int]:
        """Cycles by cause; their sum is the clock."""
        total = self.usage().causes.sum(0) if self.memoized else self._causes[0]
        found = dict(zip(CAUSES, total.tolist(), strict=True))
        for (_, cause), cycles in self.waited.items():
            found[cause] += cycles
        return found

    def usage(self) -> Usage:
        """All that was executed; empty in functional mode."""
        return _joined([*self._flushed, self._usage()])


def _joined(parts: list[Usage]) -> Usage:
    return Usage(*(np.concatenate([getattr(part, name) for part in parts]) for name in Usage.__slots__))


def _merged(parts: list[Usage]) -> Usage:
    """One place per (block, vl, memory instructions that went to DRAM)."""
    every = _joined(parts)
    keys, place = np.unique(np.stack([every.block, every.vl, every.far]), axis=1, return_inverse=True)
    count = np.zeros(keys.shape[1], np.int64)
    causes = np.zeros((keys.shape[1], every.causes.shape[1]), np.int64)
    np.add.at(count, place.ravel(), every.count)
    np.add.at(causes, place.ravel(), every.causes)
    return Usage(keys[0], keys[1], count, causes, keys[2])
