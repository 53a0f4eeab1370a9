"""The loop that runs blocks: call a block's handlers, look its timing up, go to the next block.

Timing is memoized, not approximated. The timer's state is relative to the core's next issue slot, so a block's cost
is a function of (block, branch taken, vl, access classes, state): looked up in a hash table, computed by
``potluck.sim.timing.timer.time_block`` when it is met for the first time. An entry also counts how often it was used;
cycles by cause, instructions and energy are sums over entries after the run.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.sim.cache import compiled
from potluck.sim.jit.loop import AFTER, COUNT_BITS, EXIT_BITS, NO_EXIT, STOPPED
from potluck.sim.loops import (
    B_CODES,
    B_KEY,
    B_LENGTH,
    B_NUMBER,
    B_TAKEN,
    B_VL,
    B_WORDS,
    E_BLOCK,
    E_KEY,
    E_KIND,
    E_ROW,
    E_SLOTS,
    E_WORDS,
    L_BLOCKS,
    L_ENTERED,
    L_FUNCTION,
    L_HEAD,
    L_INSTRUCTIONS,
    L_NEXT,
    L_OFF,
    L_ROWS,
    L_TURNS,
    L_VL,
    L_WORDS,
    NEVER,
)
from potluck.sim.raw import call_block, call_loop, peek, poke, through
from potluck.sim.state import CODES, DYNAMIC, IN_DRAM, KEY_MULTIPLIER, MAX_CODES, ROW, TAKEN, WORD
from potluck.sim.timing.timer import TIME_BLOCK

NEED_BLOCK, TABLE_FULL, BUDGET, HEATED = 10, 11, 12, 13
WAYS = 1 << 12  # entries of the cache of dynamic jump targets: pc, facts (see jump_key), block
JUMP_WORDS = 4  # of an entry, the last unused: half a cache line

# Columns of the memo table, one row (a cache line) per entry.
KEY1, KEY2, CYCLES, NEXT, COUNT, ENTRY_BLOCK, ENTRY_VL, ENTRY_FAR = range(8)
# Words of the run record.
(
    R_BLOCK, R_STATE, R_CYCLES, R_INSTRUCTIONS, R_ENTRIES, R_STATES, R_BUDGET, R_VL,
    R_LOGGED, R_FROM, R_UNTIL,  # lines of the log, and the cycles that it covers
    R_TIMER,  # address of time_block
    R_HOT,  # executions of a branch that make it worth a look (NEVER: no second tier)
    R_HEAT, R_COUNT,  # the block whose branch was taken so often, and how often
    R_WHY,  # why a handler stopped that a loop called; 0: none did
) = range(16)  # fmt: skip
RECORD = 16
ENOUGH = 64  # entries of a loop after which it is judged
STATE_BITS, VL_BITS = 20, 17  # of a memo key's first word, from the lowest
TAKEN_BIT = STATE_BITS + VL_BITS

_MULTIPLIER = np.uint64(KEY_MULTIPLIER)
_ROW = np.uint64(ROW.itemsize)
_EVENT_ROW = WORD["event_row"]
_VL = WORD["vl"]
_VTYPE = WORD["vtype"]
_FCSR = WORD["fcsr"]
_NEXT_PC = WORD["next_pc"]
_CODE_KEY = WORD["code_key"]
_time_block = through(TIME_BLOCK)


@numba.njit(nogil=True, inline="always")
def _mix(a: int, b: int) -> Any:
    h = (np.uint64(a) ^ (np.uint64(b) * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xD6E8FEB86659FD93)
    return h ^ (h >> np.uint64(32))


@compiled
def _copy(source: NDArray[Any], target: NDArray[Any]) -> None:
    """Element by element: the check of shapes in an assignment takes Numba two seconds to compile."""
    for k in range(target.size):
        target[k] = source[k]


@compiled
def intern(times: NDArray[Any], states: NDArray[Any], index: NDArray[Any], record: NDArray[Any]) -> int:
    """The number of a timer state, entering it if new; -1 if the table is full."""
    h = np.uint64(1469598103934665603)
    for t in times:
        h = (h ^ np.uint64(t)) * np.uint64(1099511628211)
    h ^= h >> np.uint64(29)
    mask = np.uint64(index.size - 1)
    place = h & mask
    while index[place] >= 0:
        number = index[place]
        same = True
        for k in range(times.size):
            if states[number, k] != times[k]:
                same = False
                break
        if same:
            return number
        place = (place + np.uint64(1)) & mask
    number = record[R_STATES]
    if number >= states.shape[0]:
        return -1
    _copy(times, states[number])
    index[place] = number
    record[R_STATES] = number + 1
    return number


@numba.njit(nogil=True, inline="always")
def _key(block: int, taken: int, vl: int, state: int) -> Any:
    """First word of a memo key; the second says which access classes were met."""
    return (
        (np.int64(block) << TAKEN_BIT + 1)
        | (np.int64(taken) << TAKEN_BIT)
        | (np.int64(vl) << STATE_BITS)
        | state
    )


@numba.njit(nogil=True, inline="always")
def _find(k1: int, k2: int, memo: NDArray[Any]) -> Any:
    """The place of an entry, or the free place where it belongs."""
    mask = np.uint64(memo.shape[0] - 1)
    place = _mix(k1, k2) & mask
    while memo[place, COUNT] > 0 and (memo[place, KEY1] != k1 or memo[place, KEY2] != k2):
        place = (place + np.uint64(1)) & mask
    return place


@numba.njit(nogil=True, inline="always")
def _write_log(place: int, cycles: int, record: NDArray[Any], log: NDArray[Any]) -> None:
    """Write an execution down that begins now, if any part of it is in the window."""
    begin = record[R_CYCLES]
    if log.shape[0] > 0 and begin < record[R_UNTIL] and begin + cycles > record[R_FROM]:
        log[record[R_LOGGED], 0], log[record[R_LOGGED], 1] = place, begin
        record[R_LOGGED] += 1


@numba.njit(nogil=True, inline="always")
def _word(address: int, word: int) -> Any:
    """A word of a loop's descriptor."""
    return np.int64(peek(np.uint64(address) + np.uint64(8 * word)))


@numba.njit(nogil=True, inline="always")
def first_tier(link: int) -> Any:
    """The block that a link leads to, also where a loop begins; negative if it is not known.

    Links to a loop are the negative address of its descriptor.
    """
    return _word(-link, L_HEAD) if link < -1 else link


@numba.njit(nogil=True, inline="always")
def _following(reason: int, block: int, hart: int, successors: NDArray[Any], jumps: NDArray[Any]) -> Any:
    """The block to run next; negative if it is not known here."""
    if reason != DYNAMIC:
        return first_tier(successors[block, reason])
    pc = peek(np.uint64(hart + _NEXT_PC))
    vtype = peek(np.uint64(hart + _VTYPE))
    key = np.int64((pc << np.uint64(1)) ^ (vtype << np.uint64(48)) ^ (vtype >> np.uint64(61) << np.uint64(61)) ^
                   ((peek(np.uint64(hart + _FCSR)) >> np.uint64(5)) << np.uint64(39)))  # fmt: skip
    way = np.uint64(_mix(key, 1)) & np.uint64(WAYS - 1)
    return jumps[way, 1] if jumps[way, 0] == key else -1


@compiled
def account(
    block: int, taken: int, vl: int, hart: int, record: NDArray[Any], memo: NDArray[Any],
    causes: NDArray[Any], states: NDArray[Any], state_index: NDArray[Any], block_info: NDArray[Any],
    timing_rows: NDArray[Any], code_slots: NDArray[Any], state_codes: NDArray[Any], scratch: NDArray[Any],
    row_codes: NDArray[Any], kept_codes: NDArray[Any], log: NDArray[Any],
) -> int:  # fmt: skip
    """Charge one execution of a block that was entered with ``vl``; 0, or TABLE_FULL before anything was charged.

    If the run is observed, the access classes of each entry go to ``kept_codes`` (else it has one row), and each
    execution between R_FROM and R_UNTIL to ``log`` (else it is empty), as the entry's place and the cycle at entry.

    A memo of one entry means no memo: every block is timed instruction by instruction (``scratch`` is the state), the
    reference that memoization must agree with.
    """
    if memo.shape[0] == 1:
        start, count = block_info[block, 0], block_info[block, 1]
        for k in range(count):
            slot = code_slots[start + k]
            row_codes[k] = state_codes[slot] if slot >= 0 else 0
        record[R_CYCLES] += _time_block(
            record[R_TIMER],
            (
                timing_rows[start : start + count], np.int64(vl), row_codes[:count], taken, scratch, causes[0], None,
            ),
        )  # fmt: skip
        return 0
    if log.shape[0] > 0 and record[R_LOGGED] == log.shape[0]:
        return TABLE_FULL
    k1 = _key(block, taken, vl, record[R_STATE])
    k2 = np.int64(peek(np.uint64(hart + _CODE_KEY)))
    place = _find(k1, k2, memo)
    if memo[place, COUNT] > 0:
        _write_log(place, memo[place, CYCLES], record, log)
        memo[place, COUNT] += 1
        record[R_CYCLES] += memo[place, CYCLES]
        record[R_STATE] = memo[place, NEXT]
        return 0
    if record[R_ENTRIES] * 2 >= memo.shape[0]:
        return TABLE_FULL
    start, count = block_info[block, 0], block_info[block, 1]
    far = np.int64(0)  # memory instructions that went to DRAM, a bit each
    for k in range(count):
        slot = code_slots[start + k]
        row_codes[k] = state_codes[slot] if slot >= 0 else 0
        if row_codes[k] & IN_DRAM:
            far |= np.int64(1) << np.int64(slot)
    _copy(states[record[R_STATE]], scratch)
    causes[place, :] = 0
    cycles = _time_block(
        record[R_TIMER],
        (
            timing_rows[start : start + count], np.int64(vl), row_codes[:count], taken, scratch, causes[place], None,
        ),
    )  # fmt: skip
    following = intern(scratch, states, state_index, record)
    if following < 0:
        return TABLE_FULL
    memo[place, KEY1], memo[place, KEY2] = k1, k2
    memo[place, CYCLES], memo[place, NEXT], memo[place, COUNT] = cycles, following, 1
    memo[place, ENTRY_BLOCK], memo[place, ENTRY_VL], memo[place, ENTRY_FAR] = block, np.int64(vl), far
    if kept_codes.shape[0] > 1:
        _copy(state_codes, kept_codes[place])
    _write_log(place, cycles, record, log)
    record[R_ENTRIES] += 1
    record[R_CYCLES] += cycles
    record[R_STATE] = following
    return 0


@compiled
def _expect(part: int, count: int, hart: int, state_codes: NDArray[Any], key: int) -> None:
    """Let the state say that ``count`` memory instructions of a path's block met the recorded access classes."""
    codes = np.uint64(_word(part, B_CODES))
    for k in range(count):
        state_codes[k] = peek(codes + np.uint64(k)) & np.uint64(255)
    poke(np.uint64(hart + _CODE_KEY), np.uint64(key))


@compiled
def _spend(
    timed: bool, part: int, times: int, hart: int, record: NDArray[Any], counts: NDArray[Any], memo: NDArray[Any],
    causes: NDArray[Any], states: NDArray[Any], state_index: NDArray[Any], block_info: NDArray[Any],
    timing_rows: NDArray[Any], code_slots: NDArray[Any], state_codes: NDArray[Any], scratch: NDArray[Any],
    row_codes: NDArray[Any], kept_codes: NDArray[Any], log: NDArray[Any],
) -> None:  # fmt: skip
    """Charge executions of a path's block; several if the timer's state is the same after a turn, and known."""
    block, taken, vl = _word(part, B_NUMBER), _word(part, B_TAKEN), _word(part, B_VL)
    if not timed:
        counts[block] += times
        return
    k2 = _word(part, B_KEY)
    place = _find(_key(block, taken, vl, record[R_STATE]), k2, memo)
    if memo[place, COUNT] > 0:
        memo[place, COUNT] += times
        record[R_CYCLES] += times * memo[place, CYCLES]
        record[R_STATE] = memo[place, NEXT]
        return
    _expect(part, MAX_CODES, hart, state_codes, k2)
    account(
        block, taken, vl, hart, record, memo, causes, states, state_index, block_info, timing_rows, code_slots,
        state_codes, scratch, row_codes, kept_codes, log,
    )  # fmt: skip


@compiled
def run_loop(
    timed: bool, loop: int, hart: int, record: NDArray[Any], pointers: NDArray[Any], counts: NDArray[Any],
    memo: NDArray[Any], causes: NDArray[Any], states: NDArray[Any], state_index: NDArray[Any],
    block_info: NDArray[Any], timing_rows: NDArray[Any], code_slots: NDArray[Any], state_codes: NDArray[Any],
    scratch: NDArray[Any], row_codes: NDArray[Any], kept_codes: NDArray[Any], log: NDArray[Any],
) -> Any:  # fmt: skip
    """Run a compiled loop as far as it goes, and account for what it did as if the first tier had.

    Returns the row from which the first tier goes on in block ``record[R_BLOCK]``; 0 if nothing was run. If a handler
    stopped, ``record[R_WHY]`` says why. There is room for all it enters in the memo, and no budget ends within it.
    """
    record[R_WHY] = 0
    vl = np.int64(peek(np.uint64(hart + _VL)))
    while _word(loop, L_VL) != vl or _word(loop, L_OFF) != 0:
        loop = _word(loop, L_NEXT)
        if loop == 0:
            return np.uint64(0)
    parts = _word(loop, L_BLOCKS)
    length = _word(loop, L_INSTRUCTIONS)
    most = min(
        (record[R_BUDGET] - record[R_INSTRUCTIONS]) // length - 1, np.int64(1) << np.int64(COUNT_BITS - 1)
    )
    if timed:
        room = min(memo.shape[0] // 2 - record[R_ENTRIES], states.shape[0] - record[R_STATES])
        most = min(most, room // parts - 2)
    if most < 1:
        return np.uint64(0)
    ended = call_loop(
        np.uint64(_word(loop, L_FUNCTION)), np.uint64(hart), np.uint64(_word(loop, L_ROWS)), np.uint64(most)
    )
    turns = np.int64(ended & np.uint64((1 << COUNT_BITS) - 1))
    way = np.int64(ended >> np.uint64(COUNT_BITS)) & np.int64((1 << EXIT_BITS) - 1)
    leaving = loop + 8 * (L_WORDS + B_WORDS * parts + E_WORDS * way)
    kind, last, slots = _word(leaving, E_KIND), _word(leaving, E_BLOCK), _word(leaving, E_SLOTS)
    # What the instruction met that it left behind: accounting for blocks before it lets the state say what they met.
    found = state_codes[slots] if kind == AFTER else np.uint8(0)
    entered, all_turns = _word(loop, L_ENTERED) + 1, _word(loop, L_TURNS) + turns
    poke(np.uint64(loop + 8 * L_ENTERED), np.uint64(entered))
    poke(np.uint64(loop + 8 * L_TURNS), np.uint64(all_turns))
    if entered >= ENOUGH and all_turns < entered:  # its path is not the usual one
        poke(np.uint64(loop + 8 * L_OFF), np.uint64(1))
    record[R_INSTRUCTIONS] += turns * length
    first = loop + 8 * L_WORDS
    left = turns if timed or turns == 0 else np.int64(1)
    times = np.int64(1) if timed else turns
    cycles, state = record[R_CYCLES], record[R_STATE]
    while left > 0:
        before = state
        for k in range(parts):
            part = first + 8 * B_WORDS * k
            if timed:  # the hit is written out, see run_blocks
                key = _key(_word(part, B_NUMBER), _word(part, B_TAKEN), _word(part, B_VL), state)
                place = _find(key, _word(part, B_KEY), memo)
                if memo[place, COUNT] > 0:
                    memo[place, COUNT] += times
                    cycles += times * memo[place, CYCLES]
                    state = memo[place, NEXT]
                    continue
            record[R_CYCLES], record[R_STATE] = cycles, state
            _spend(
                timed, part, times, hart, record, counts, memo, causes, states, state_index, block_info, timing_rows,
                code_slots, state_codes, scratch, row_codes, kept_codes, log,
            )  # fmt: skip
            cycles, state = record[R_CYCLES], record[R_STATE]
        left -= times if timed else 1
        if timed:
            times = left if state == before and left > 0 else np.int64(1)
    record[R_CYCLES], record[R_STATE] = cycles, state
    for k in range(last):
        part = first + 8 * B_WORDS * k
        _spend(
            timed, part, np.int64(1), hart, record, counts, memo, causes, states, state_index, block_info,
            timing_rows, code_slots, state_codes, scratch, row_codes, kept_codes, log,
        )  # fmt: skip
        record[R_INSTRUCTIONS] += _word(part, B_LENGTH)
    part = first + 8 * B_WORDS * last
    block = _word(part, B_NUMBER)
    record[R_BLOCK] = block
    row = pointers[block] + _ROW * np.uint64(_word(leaving, E_ROW))
    if kind == NO_EXIT:
        poke(np.uint64(hart + _CODE_KEY), np.uint64(0))
        return row
    met = np.uint64(_word(leaving, E_KEY))
    if kind == AFTER:
        state_codes[slots] = found
        met += np.uint64(found) * np.uint64(slots + 1) * _MULTIPLIER
    _expect(part, slots, hart, state_codes, np.int64(met))
    if kind == STOPPED:
        record[R_WHY] = np.int64(ended >> np.uint64(COUNT_BITS + EXIT_BITS))
        poke(np.uint64(hart + _EVENT_ROW), row)
    return row


@compiled
def run_blocks(
    timed: bool, hart: int, record: NDArray[Any], pointers: NDArray[Any], successors: NDArray[Any],
    jumps: NDArray[Any], counts: NDArray[Any], memo: NDArray[Any],
    causes: NDArray[Any], states: NDArray[Any], state_index: NDArray[Any], block_info: NDArray[Any],
    timing_rows: NDArray[Any], code_slots: NDArray[Any], state_codes: NDArray[Any], scratch: NDArray[Any],
    row_codes: NDArray[Any], kept_codes: NDArray[Any], log: NDArray[Any],
) -> int:  # fmt: skip
    """Run until something needs Python; returns the reason. ``record[R_BLOCK]`` is the block in question.

    On NEED_BLOCK it has run and its successor is unknown (``next_pc`` tells, or its static successor number 0 or 1,
    which is returned added to NEED_BLOCK * 2); on BUDGET and TABLE_FULL it has run, too.
    """
    block = record[R_BLOCK]
    budget, hot = record[R_BUDGET], record[R_HOT]
    instructions = record[R_INSTRUCTIONS]
    cycles, state = record[R_CYCLES], record[R_STATE]
    row = pointers[block]
    poke(np.uint64(hart + _CODE_KEY), np.uint64(0))
    while True:
        vl, heat = np.int64(0), np.int64(1)
        if timed:
            vl = np.int64(peek(np.uint64(hart + _VL)))  # of the block; its last instruction may set another
        reason = call_block(peek(row), np.uint64(hart), row)
        if reason > DYNAMIC:
            break
        instructions += block_info[block, 1]
        if timed:
            taken = 1 if reason == TAKEN else 0
            # The hit is written out here: passing all arrays to a function costs more than the look-up.
            k1 = _key(block, taken, vl, state)
            place = _find(k1, np.int64(peek(np.uint64(hart + _CODE_KEY))), memo)
            full = 0
            if memo[place, COUNT] > 0 and memo.shape[0] > 1:
                count = memo[place, COUNT] + 1
                memo[place, COUNT] = count
                cycles += memo[place, CYCLES]
                state = memo[place, NEXT]
                if count >= hot and taken == 1:
                    heat = count & (count - 1)
            else:
                record[R_CYCLES], record[R_STATE] = cycles, state
                full = account(
                    block, taken, vl, hart, record, memo, causes, states, state_index, block_info,
                    timing_rows, code_slots, state_codes, scratch, row_codes, kept_codes, log,
                )  # fmt: skip
                cycles, state = record[R_CYCLES], record[R_STATE]
            if full != 0:
                record[R_BLOCK], record[R_VL] = block, vl
                record[R_INSTRUCTIONS] = instructions
                return TABLE_FULL * 4 + reason
        else:
            count = counts[block] + 1
            counts[block] = count
            if count >= hot and reason == TAKEN:
                heat = count & (count - 1)
        # _following written out, too: inlined by Numba it costs scalar code a fifth of its speed.
        if reason == DYNAMIC:
            pc = peek(np.uint64(hart + _NEXT_PC))
            vtype = peek(np.uint64(hart + _VTYPE))
            facts = vtype | ((peek(np.uint64(hart + _FCSR)) >> np.uint64(5)) << np.uint64(9))
            way = np.uint64(_mix(pc, facts)) & np.uint64(WAYS - 1)
            known = jumps[way, 0] == np.int64(pc) and jumps[way, 1] == np.int64(facts)
            following = jumps[way, 2] if known else -1
        else:
            following = successors[block, reason]
        if following == -1:
            record[R_BLOCK], record[R_INSTRUCTIONS] = block, instructions
            record[R_CYCLES], record[R_STATE] = cycles, state
            return NEED_BLOCK * 4 + reason
        if heat == 0:
            record[R_HEAT], record[R_COUNT] = block, count
        loop = following
        block = first_tier(loop)
        if instructions > budget or heat == 0:
            record[R_BLOCK], record[R_INSTRUCTIONS] = block, instructions
            record[R_CYCLES], record[R_STATE] = cycles, state
            return BUDGET * 4 if instructions > budget else HEATED * 4
        row = pointers[block]
        poke(np.uint64(hart + _CODE_KEY), np.uint64(0))
        if loop < -1 and hot != NEVER and (_word(-loop, L_OFF) == 0 or _word(-loop, L_NEXT) != 0):
            record[R_BLOCK], record[R_INSTRUCTIONS] = block, instructions
            record[R_CYCLES], record[R_STATE] = cycles, state
            resumed = run_loop(
                timed, -loop, hart, record, pointers, counts, memo, causes, states, state_index, block_info,
                timing_rows, code_slots, state_codes, scratch, row_codes, kept_codes, log,
            )  # fmt: skip
            block, instructions = record[R_BLOCK], record[R_INSTRUCTIONS]
            cycles, state = record[R_CYCLES], record[R_STATE]
            if resumed != np.uint64(0):
                row = resumed
            if record[R_WHY] != 0:
                return record[R_WHY]
    record[R_BLOCK], record[R_INSTRUCTIONS] = block, instructions
    record[R_CYCLES], record[R_STATE] = cycles, state
    return reason


@compiled
def run_logged(
    hart: int, record: NDArray[Any], pointers: NDArray[Any], successors: NDArray[Any], jumps: NDArray[Any],
    memo: NDArray[Any], causes: NDArray[Any], states: NDArray[Any], state_index: NDArray[Any],
    block_info: NDArray[Any], timing_rows: NDArray[Any], code_slots: NDArray[Any], state_codes: NDArray[Any],
    scratch: NDArray[Any], row_codes: NDArray[Any], kept_codes: NDArray[Any], log: NDArray[Any],
) -> int:  # fmt: skip
    """:func:`run_blocks` of a timed run whose executions are logged: every block is accounted by :func:`account`."""
    while True:
        block = record[R_BLOCK]
        row = pointers[block]
        poke(np.uint64(hart + _CODE_KEY), np.uint64(0))
        vl = np.int64(peek(np.uint64(hart + _VL)))
        reason = call_block(peek(row), np.uint64(hart), row)
        if reason > DYNAMIC:
            return reason
        record[R_INSTRUCTIONS] += block_info[block, 1]
        full = account(
            block, 1 if reason == TAKEN else 0, vl, hart, record, memo, causes, states, state_index, block_info,
            timing_rows, code_slots, state_codes, scratch, row_codes, kept_codes, log,
        )  # fmt: skip
        if full != 0:
            record[R_VL] = vl
            return TABLE_FULL * 4 + reason
        following = _following(reason, block, hart, successors, jumps)
        if following < 0:
            return NEED_BLOCK * 4 + reason
        record[R_BLOCK] = following
        if record[R_INSTRUCTIONS] > record[R_BUDGET]:
            return BUDGET * 4


def jump_key(pc: int, vtype: int, fcsr: int) -> tuple[int, int]:
    """What a dynamic target depends on besides its pc, and its way, as :func:`run_blocks` computes them.

    pc and facts are compared whole: a program chooses both, and a block of another context would run with a vl that
    its registers do not hold. The word ``vtype`` has nine low bits and the two highest, fcsr's come between.
    """
    mask = (1 << 64) - 1
    facts = vtype | fcsr >> 5 << 9
    h = ((pc ^ (facts * 0x9E3779B97F4A7C15 & mask)) * 0xD6E8FEB86659FD93) & mask
    return facts, (h ^ (h >> 32)) & (WAYS - 1)


__all__ = [
    "BUDGET",
    "CODES",
    "HEATED",
    "MAX_CODES",
    "NEED_BLOCK",
    "TABLE_FULL",
    "account",
    "first_tier",
    "jump_key",
    "run_blocks",
    "run_logged",
]
