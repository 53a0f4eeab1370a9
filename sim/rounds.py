"""Harts in turn, and what they ask of the cluster, in compiled code: DMA, barrier, registers.

A round lets every hart that runs go on to its next event, then carries the events out in the order of the harts. What
is rare or may fail is left to :class:`potluck.sim.cluster.Cluster`, which carries any event out: this module only
takes those from it that programs consist of, so that a run does not leave compiled code for them.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.sim.blocks import COPY, INFO, NOTHING, READ_REGISTER, STATUS
from potluck.sim.cache import compiled
from potluck.sim.dram.requests import QUEUED
from potluck.sim.driver import (
    JUMP_WORDS,
    NEED_BLOCK,
    R_BLOCK,
    R_CYCLES,
    R_ENTRIES,
    R_INSTRUCTIONS,
    R_STATE,
    R_STATES,
    RECORD,
    WAYS,
    account,
    first_tier,
    intern,
    run_blocks,
)
from potluck.sim.raw import peek, poke, view
from potluck.sim.state import CODES, EVENT, FALL, FAULT, MAX_CODES, ROW, WORD, X
from potluck.sim.tasks import FROM, HELPERS, KIND, TO, finish, join, leave, post, take
from potluck.sim.timing.timer import CAUSES, STATE_SIZE, wait
from potluck.sim.timing.timer import ROW as TIMING_ROW
from potluck.sim.transfers import (
    CHANNEL,
    COUNT,
    HART,
    WAITING,
    DmaArrays,
    forget,
    queue_copy,
    serve_channel,
    settle,
)

BARRIER, HART_COUNT, TIMER = 8, 0, 16  # cluster registers
LAST_CYCLE = 1 << 62
# Not Python's integers: Numba would compile a function anew for each of them that it is called with.
DMA, SYNC, ZERO, ONE = (
    np.int64(0),
    np.int64(1),
    np.int64(0),
    np.int64(1),
)  # the first two: columns of ``waited``
WAITED = ("dma", "sync")
# Words of a hart's line in the table: addresses of its arrays and their sizes, what it does, and why it stopped.
(
    T_STATE, T_RECORD, T_JUMPS, T_COUNTS, T_MEMO, T_CAUSES, T_STATES, T_INDEX, T_SCRATCH, T_ROW_CODES, T_KEPT, T_WAITED,
    T_POINTERS, T_SUCCESSORS, T_INFO, T_TIMING, T_SLOTS, T_BLOCKS, T_ROWS, T_ENTRIES, T_STATE_COUNT, T_KEPT_COUNT,
    T_LENGTHS, T_PHASE, T_REASON,
) = range(25)  # fmt: skip
TABLE = 25
# What a hart does: runs; has an event that may be carried out here, or one that Python has taken; waits at the barrier;
# has ended; needs the block that follows its event; has stopped for a reason that nobody has looked at.
RUNS, HELD, TAKEN_OVER, PARKED, ENDED, LINKS, STOPPED = range(7)
LONG = 3000  # instructions to the next event that are worth a second thread
# Words of the control record: what Python is asked for, which hart's event is next (-1: harts run), whether to end with
# this round, the address of the cluster's registers (-1: a process has none), whether Python has to queue the DMA's
# transfers (others use DRAM in the order of time, or somebody watches), how many rounds have begun, whether the last of
# them is under way, and before which round to pause (-1: never).
ASKS, AT, LAST_ROUND, REGISTERS, SHARED, ROUNDS, BEGUN, PAUSE = range(8)
CONTROL = 8
# What Python is asked for: why a hart stopped, an event, to release the barrier, somebody that runs; or nothing, as the
# last round is over, or as that one comes before which to pause.
REASON, CARRY_OUT, RELEASE, NOBODY, ROUND_OVER, PAUSED = range(6)

_RECORD, _STATE_SIZE, _INFO, _TWO, _MEMO, _CAUSES, _WAYS, _JUMP = (
    np.int64(n) for n in (RECORD, STATE_SIZE, INFO, 2, 8, len(CAUSES), WAYS, JUMP_WORDS)
)
_RD, _RS1, _IMM = ROW.fields["rd"][1], ROW.fields["rs1"][1], ROW.fields["imm"][1]  # type: ignore[index]
_VL, _CODE_KEY = WORD["vl"], WORD["code_key"]
_EVENT_ROW, _EVENT_ADDRESS = WORD["event_row"], WORD["event_address"]


@numba.njit(nogil=True, inline="always")
def _words(address: int, count: int) -> Any:
    return view(address, (count,), np.int64)


@numba.njit(nogil=True, inline="always")
def _lines(address: int, count: int, words: int) -> Any:
    return view(address, (count, words), np.int64)


@numba.njit(nogil=True, inline="always")
def _record(hart: NDArray[Any]) -> Any:
    """The hart's run record."""
    return _words(hart[T_RECORD], _RECORD)


@numba.njit(nogil=True, inline="always")
def _info(hart: NDArray[Any]) -> Any:
    """What the store says of the hart's block."""
    return _words(hart[T_INFO] + _INFO * 8 * _record(hart)[R_BLOCK], _INFO)


@compiled
def _row(hart: NDArray[Any]) -> Any:
    """Address of the first row of the hart's block."""
    return _words(hart[T_POINTERS], hart[T_BLOCKS])[_record(hart)[R_BLOCK]]


@compiled
def _write(hart: NDArray[Any], value: int) -> None:
    """Write rd of the instruction that the hart's block begins with; x0 and the place that stands for it stay."""
    place = peek(np.uint64(_row(hart) + _RD)) & np.uint64(0xFFFFFFFF)
    if place != np.uint64(X + 256):
        poke(np.uint64(hart[T_STATE]) + place, np.uint64(value))


@compiled
def _run(timed: bool, hart: NDArray[Any], log: NDArray[Any]) -> int:
    """:func:`run_blocks` for a line of the table."""
    blocks, rows, entries, states = hart[T_BLOCKS], hart[T_ROWS], hart[T_ENTRIES], hart[T_STATE_COUNT]
    return int(
        run_blocks(
            timed, hart[T_STATE], _record(hart), view(hart[T_POINTERS], (blocks,), np.uint64),
            _lines(hart[T_SUCCESSORS], blocks, _TWO), _lines(hart[T_JUMPS], _WAYS, _JUMP),
            _words(hart[T_COUNTS], blocks), _lines(hart[T_MEMO], entries, _MEMO),
            _lines(hart[T_CAUSES], entries, _CAUSES),
            _lines(hart[T_STATES], states, _STATE_SIZE), _words(hart[T_INDEX], 2 * states),
            _lines(hart[T_INFO], blocks, _INFO),
            view(hart[T_TIMING], (rows, TIMING_ROW), np.int32),
            _words(hart[T_SLOTS], rows), view(hart[T_STATE] + CODES, (MAX_CODES,), np.uint8),
            _words(hart[T_SCRATCH], _STATE_SIZE), view(hart[T_ROW_CODES], (512,), np.uint8),
            view(hart[T_KEPT], (hart[T_KEPT_COUNT], MAX_CODES), np.uint8), log,
        )
    )  # fmt: skip


@compiled
def _charge(timed: bool, hart: NDArray[Any], log: NDArray[Any]) -> int:
    """Charge the instruction that stands alone in the hart's block; its clock after that. There is room for it."""
    blocks, rows, entries, states = hart[T_BLOCKS], hart[T_ROWS], hart[T_ENTRIES], hart[T_STATE_COUNT]
    record = _record(hart)
    record[R_INSTRUCTIONS] += 1
    block = record[R_BLOCK]
    if not timed:
        _words(hart[T_COUNTS], blocks)[block] += 1
        return 0
    codes = view(hart[T_STATE] + CODES, (MAX_CODES,), np.uint8)
    codes[0] = 0
    poke(np.uint64(hart[T_STATE] + _CODE_KEY), np.uint64(0))
    account(
        block, ZERO, np.int64(peek(np.uint64(hart[T_STATE] + _VL))), hart[T_STATE], record,
        _lines(hart[T_MEMO], entries, _MEMO), _lines(hart[T_CAUSES], entries, _CAUSES),
        _lines(hart[T_STATES], states, _STATE_SIZE), _words(hart[T_INDEX], 2 * states),
        _lines(hart[T_INFO], blocks, _INFO),
        view(hart[T_TIMING], (rows, TIMING_ROW), np.int32), _words(hart[T_SLOTS], rows), codes,
        _words(hart[T_SCRATCH], _STATE_SIZE), view(hart[T_ROW_CODES], (512,), np.uint8),
        view(hart[T_KEPT], (hart[T_KEPT_COUNT], MAX_CODES), np.uint8), log,
    )  # fmt: skip
    return int(record[R_CYCLES])


@compiled
def _room(hart: NDArray[Any]) -> bool:
    """Whether the memo has room for an entry and two states more."""
    record = _record(hart)
    return hart[T_ENTRIES] == 1 or (
        2 * record[R_ENTRIES] + 2 < hart[T_ENTRIES] and record[R_STATES] + 2 <= hart[T_STATE_COUNT]
    )


@compiled
def _idle(timed: bool, hart: NDArray[Any], cycles: int, cause: int) -> None:
    """Let time pass after the instruction of the hart's block; there is room for a state."""
    if not timed or cycles <= 0:
        return
    record, scratch = _record(hart), _words(hart[T_SCRATCH], _STATE_SIZE)
    states = _lines(hart[T_STATES], hart[T_STATE_COUNT], _STATE_SIZE)
    if hart[T_ENTRIES] == 1:
        wait(scratch, cycles)
    else:
        for k in range(_STATE_SIZE):
            scratch[k] = states[record[R_STATE], k]
        wait(scratch, cycles)
        record[R_STATE] = intern(scratch, states, _words(hart[T_INDEX], 2 * hart[T_STATE_COUNT]), record)
    record[R_CYCLES] += cycles
    _lines(hart[T_WAITED], hart[T_BLOCKS], _TWO)[record[R_BLOCK], cause] += cycles


@compiled
def _proceed(hart: NDArray[Any]) -> None:
    """Go on behind the event."""
    record = _record(hart)
    following = first_tier(_lines(hart[T_SUCCESSORS], hart[T_BLOCKS], _TWO)[record[R_BLOCK], FALL])
    if following < 0:
        hart[T_PHASE], hart[T_REASON] = LINKS, NEED_BLOCK * 4 + FALL
    else:
        record[R_BLOCK] = following
        hart[T_PHASE] = RUNS


@compiled
def _asked(hart: NDArray[Any], reason: int, registers: int) -> int:
    """What a hart that stopped asks of the cluster, as :data:`potluck.sim.blocks.OF_CLUSTER` numbers it."""
    if reason != EVENT and reason != FAULT:
        return NOTHING
    info = _info(hart)
    asked, count = info[2], info[1]
    if count != 1 or np.int64(peek(np.uint64(hart[T_STATE] + _EVENT_ROW))) != _row(hart):
        return NOTHING
    if (asked == READ_REGISTER) != (reason == FAULT) or (asked == READ_REGISTER and registers < 0):
        return NOTHING
    offset = np.int64(peek(np.uint64(hart[T_STATE] + _EVENT_ADDRESS))) - registers
    if asked == READ_REGISTER and offset != BARRIER and offset != HART_COUNT and offset != TIMER:
        return NOTHING
    return int(asked)


@compiled
def _stuck(hart: NDArray[Any], control: NDArray[Any]) -> bool:
    """Whether a hart stopped for something that it does not ask of the cluster."""
    return bool(hart[T_PHASE] == STOPPED and _asked(hart, hart[T_REASON], control[REGISTERS]) == NOTHING)


@compiled
def _carry_out(
    timed: bool, number: int, table: NDArray[Any], control: NDArray[Any], dma: DmaArrays, log: NDArray[Any]
) -> bool:
    """Carry a hart's event out; False if that is left to Python, and nothing has been done."""
    hart = table[number]
    state, info, row = hart[T_STATE], _info(hart), _row(hart)
    immediate = np.int64(peek(np.uint64(row + _IMM)))
    if not _room(hart) or (info[2] == COPY and control[SHARED] != 0):
        return False
    if info[2] == READ_REGISTER:
        offset = np.int64(peek(np.uint64(state + _EVENT_ADDRESS))) - control[REGISTERS]
        if offset == BARRIER:
            hart[T_PHASE] = PARKED
            return True
        now = _charge(timed, hart, log)
        _write(hart, table.shape[0] if offset == HART_COUNT else now)
    elif info[2] == COPY:
        size = np.int64(
            peek(np.uint64(state + np.int64(peek(np.uint64(row + _RS1)) & np.uint64(0xFFFFFFFF))))
        )
        if number != 0 or not queue_copy(state, size, immediate & 2 != 0, info[3], dma):
            return False
        now = _charge(timed, hart, log)
        dma.queue[dma.record[WAITING] - 1, QUEUED] = now
        _write(hart, dma.record[COUNT])
    elif info[2] == STATUS:
        if not settle(dma):
            return False
        pending = forget(_charge(timed, hart, log), ZERO if timed else ONE, dma)
        _write(hart, np.int64(pending > 0) if immediate == 2 else dma.record[COUNT] - pending)
    else:
        if not settle(dma) or dma.clocks[0] > LAST_CYCLE:
            return False
        now = _charge(timed, hart, log)
        _idle(timed, hart, dma.clocks[0] - now, DMA)
        if number == 0:
            forget(dma.clocks[0], ONE, dma)
    _proceed(hart)
    return True


@compiled
def _release(timed: bool, table: NDArray[Any], log: NDArray[Any]) -> bool:
    """All harts have arrived: the later clock is everybody's. False if that is left to Python."""
    for number in range(table.shape[0]):
        hart = table[number]
        if hart[T_PHASE] == PARKED:
            info = _info(hart)
            if info[1] != 1 or info[2] != READ_REGISTER or not _room(hart):
                return False
    latest = np.int64(0)
    for number in range(table.shape[0]):
        hart = table[number]
        if hart[T_PHASE] == PARKED:
            latest = max(latest, _charge(timed, hart, log))
            _write(hart, ZERO)
    for number in range(table.shape[0]):
        hart = table[number]
        if hart[T_PHASE] == PARKED:
            _idle(timed, hart, latest - _record(hart)[R_CYCLES], SYNC)
            _proceed(hart)
    return True


@compiled
def _go_on(timed: bool, hart: NDArray[Any], log: NDArray[Any]) -> None:
    """Let a hart that runs go on until it stops."""
    if hart[T_PHASE] != RUNS:
        return
    record = _record(hart)
    block, before = record[R_BLOCK], record[R_INSTRUCTIONS]
    hart[T_REASON] = _run(timed, hart, log)
    hart[T_PHASE] = STOPPED
    _words(hart[T_LENGTHS], hart[T_BLOCKS])[block] = record[R_INSTRUCTIONS] - before


@compiled
def _share(table: NDArray[Any]) -> bool:
    """Whether two harts at least have a long way to their next events, as it was when they were here last."""
    long = 0
    for number in range(table.shape[0]):
        hart = table[number]
        length = _words(hart[T_LENGTHS], hart[T_BLOCKS])[_record(hart)[R_BLOCK]]
        long += 1 if hart[T_PHASE] == RUNS and (length == 0 or length >= LONG) else 0
    return long > 1


@compiled
def help_out(timed: bool, table: NDArray[Any], dma: DmaArrays, log: NDArray[Any]) -> None:
    """What a second thread does while another one is in :func:`run_rounds`."""
    board = dma.board
    while True:
        task = join(board)
        if task < 0:
            return
        if board[KIND] == CHANNEL:
            serve_channel(task, board[FROM], board[TO], dma)
        else:
            _go_on(timed, table[task], log)
        leave(board)


@compiled
def run_rounds(
    timed: bool, table: NDArray[Any], control: NDArray[Any], dma: DmaArrays, log: NDArray[Any]
) -> int:
    """Go on where the last call ended, until Python is asked for something.

    Args:
        timed: whether cycles are counted.
        table: int64 [harts, TABLE].
        control: int64 [CONTROL].
        dma: the DMA's state.
        log: int64 [0, 2], see :func:`potluck.sim.driver.account`.

    Returns:
        The hart that ``control[ASKS]`` is about, if about any.
    """
    harts = table.shape[0]
    while True:
        for number in range(harts):
            if table[number, T_PHASE] == LINKS:
                control[ASKS] = REASON
                return number
        if control[AT] < 0:
            if control[BEGUN] == 0:
                if control[ROUNDS] == control[PAUSE]:
                    control[ASKS] = PAUSED
                    return 0
                control[ROUNDS] += 1
                control[BEGUN] = 1
            for number in range(harts):  # all are answered before one goes on: they may go on together
                if _stuck(table[number], control):
                    control[ASKS] = REASON
                    return number
            events, parked = 0, 0
            if dma.board[HELPERS] != 0 and _share(table):
                post(dma.board, HART, ZERO, ZERO, harts)
                task = take(dma.board)
                while task >= 0:
                    _go_on(timed, table[task], log)
                    task = take(dma.board)
                finish(dma.board)
            for number in range(harts):
                hart = table[number]
                _go_on(timed, hart, log)
                if _stuck(hart, control):
                    control[ASKS] = REASON
                    return number
                if hart[T_PHASE] == STOPPED:
                    hart[T_PHASE] = HELD
                events += 1 if hart[T_PHASE] == HELD or hart[T_PHASE] == TAKEN_OVER else 0
                parked += 1 if hart[T_PHASE] == PARKED else 0
            if events == 0:
                control[BEGUN] = 0
                control[ASKS] = RELEASE if parked > 0 else NOBODY
                if parked == 0 or not _release(timed, table, log):
                    return 0
                continue
            control[AT] = 0
        while control[AT] < harts:
            number = control[AT]
            control[AT] = number + 1
            phase = table[number, T_PHASE]
            if phase == TAKEN_OVER or (
                phase == HELD and not _carry_out(timed, number, table, control, dma, log)
            ):
                control[ASKS] = CARRY_OUT
                return int(number)
            if phase == HELD and table[number, T_PHASE] == PARKED:
                waiting = True
                for other in range(harts):
                    waiting = waiting and (table[other, T_PHASE] == PARKED or table[other, T_PHASE] == ENDED)
                if waiting and not _release(timed, table, log):
                    control[ASKS] = RELEASE
                    return 0
            for other in range(harts):
                if table[other, T_PHASE] == LINKS:
                    control[ASKS] = REASON
                    return other
        control[AT], control[BEGUN] = -1, 0
        if control[LAST_ROUND] != 0:
            control[ASKS] = ROUND_OVER
            return 0
