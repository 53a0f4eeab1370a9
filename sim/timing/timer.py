"""The plain timer: cycles of a Snitch core with a Spatz vector unit, instruction by instruction.

The model is described rule by rule, with sources, in docs/timing.md. State is a vector of times relative to the
core's next issue slot, clamped at zero, so that states with the same future are equal; the simulator's memo relies on
that. This function is the memo's miss path and its reference.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from potluck.sim.cache import compiled
from potluck.sim.state import IN_DRAM, WAYS
from potluck.sim.timing.rows import (
    AT_END,
    ATOMIC,
    BRANCH,
    CHAINS,
    CONFLICTS,
    CREDIT,
    DENOMINATOR,
    DIVIDES,
    DRAIN,
    DRAM_BITS,
    DRAM_LATENCY,
    DRAM_RATE,
    EXTRA,
    FD,
    FIELDS,
    FIRST_READ,
    FIXED_VL,
    FLOAT,
    FLOAT_LOAD,
    FLOAT_STORE,
    FPU,
    FS1,
    GRAIN,
    IN_FLIGHT,
    IPU,
    LATENCY,
    LOAD,
    MODE,
    MOVE,
    NUMERATOR,
    PACE,
    PATH,
    PORT_WORD,
    QUEUE,
    READS,
    ROW,
    SCALAR,
    STORE,
    TAKEN_PENALTY,
    UNIT,
    VALU,
    VD,
    VD_COUNT,
    VECTOR,
    VECTOR_LOAD,
    VECTOR_STORE,
    VFU,
    VLSU,
    VSET,
    XD,
    XS1,
    XS2,
    timing_row,
)

CAUSES = ("issue", "vfu", "vlsu", "vsldu", "chaining", "scalar", "fcsr", "branch", "bank_conflict", "dram", "dma",
          "sync", "pot")  # fmt: skip
ISSUE, WAIT_VFU, WAIT_VLSU, WAIT_VSLDU, WAIT_CHAIN = range(5)
WAIT_SCALAR, WAIT_FCSR, WAIT_BRANCH, WAIT_BANK, WAIT_DRAM = range(5, 10)

# Places in the state vector. Everything below TIMES is a time; the rest are plain numbers.
X, F = 0, 32  # when a scalar register may be read
V_FIRST, V_DONE, V_READ = 64, 96, 128  # first word written, last word written, last reader complete
SEQUENCER, REGISTER, CONTROLLER, BUFFER = 160, 161, 162, 163
ENDS = 164  # of the last instructions of VFU, VLSU, VSLDU, VALU: when their last operands have been read
DEPTH = 4  # the deepest queue; the entries that a machine's queues do not have stay 0
FLIGHT = ENDS + 4 * DEPTH  # completion times of the instructions in flight, up to eight, ascending
LOADS_DONE = FLIGHT + 8
STORES_DONE, INT_LOAD, FLOAT_LOADS = (
    LOADS_DONE + 1,
    LOADS_DONE + 2,
    LOADS_DONE + 3,
)  # four float loads, ascending
FPU_DONE, IPU_DONE = FLOAT_LOADS + 4, FLOAT_LOADS + 5  # completion of the last work of each kind in the VFU
INT_DRAM, FLOAT_DRAM = FLOAT_LOADS + 6, FLOAT_LOADS + 7  # completion of the last scalar load from DRAM
DIVISION = FLOAT_LOADS + 8  # result of the last division
# The last FP store, and the last FP access of any kind, leave the sequencer.
FLOAT_STORED, FLOAT_ACCESSED = FLOAT_LOADS + 9, FLOAT_LOADS + 10
TIMES = FLOAT_LOADS + 11
# Causes: of the wait of the request register, of the controller's buffer, of each instruction in flight.
BLOCKER, HELD, CAUSE_OF = TIMES, TIMES + 1, TIMES + 2
KIND = CAUSE_OF + 8  # of the VFU's last work: FPU (also after reset, as in the RTL) or IPU
STATE_SIZE = KIND + 1

# Moments of an instruction, in cycles after the block's first issue slot; one that its path does not have stays what it
# was: it leaves the core, the sequencer takes it, it leaves the sequencer, its unit reads the first operands, the last
# ones, its last result is there. The columns after them are the causes.
LEFT, TAKEN_BY, SEQUENCED, BEGUN, READ, DONE, SO_FAR = range(7)
MOMENTS = SO_FAR + len(CAUSES)


@compiled
def wait(times: NDArray[Any], cycles: int) -> None:
    """The core idles for ``cycles``: all times come nearer."""
    for k in range(TIMES):
        times[k] = max(0, times[k] - cycles)
    _forget(times)


@compiled
def _forget(times: NDArray[Any]) -> None:
    """Finished instructions leave no trace, and what is interchangeable is sorted: equal futures, equal vectors."""
    if times[REGISTER] == 0 and times[SEQUENCER] == 0:
        times[BLOCKER] = 0
    if times[BUFFER] == 0:
        times[HELD] = 0
    for k in range(8):
        if times[FLIGHT + k] == 0:
            times[CAUSE_OF + k] = 0
    for i in range(1, 8):
        j = i
        while j > 0 and (
            times[FLIGHT + j - 1] > times[FLIGHT + j]
            or (times[FLIGHT + j - 1] == times[FLIGHT + j] and times[CAUSE_OF + j - 1] > times[CAUSE_OF + j])
        ):
            times[FLIGHT + j - 1], times[FLIGHT + j] = times[FLIGHT + j], times[FLIGHT + j - 1]
            times[CAUSE_OF + j - 1], times[CAUSE_OF + j] = times[CAUSE_OF + j], times[CAUSE_OF + j - 1]
            j -= 1
    for i in range(1, 4):
        j = i
        while j > 0 and times[FLOAT_LOADS + j - 1] > times[FLOAT_LOADS + j]:
            times[FLOAT_LOADS + j - 1], times[FLOAT_LOADS + j] = (
                times[FLOAT_LOADS + j],
                times[FLOAT_LOADS + j - 1],
            )
            j -= 1


@compiled
def time_block(
    rows: NDArray[Any], vl: int, codes: NDArray[Any], taken: int, times: NDArray[Any], causes: NDArray[Any],
    moments: Any = None,
) -> int:  # fmt: skip
    """Advance by one executed block.

    Args:
        rows: int32 [n, ROW].
        vl: at block entry.
        codes: uint8 [n], access classes of memory instructions.
        taken: whether the final branch was taken.
        times: int64 [STATE_SIZE], updated in place.
        causes: int64 [len(CAUSES)], incremented by the returned cycles in all.
        moments: int64 [n, MOMENTS], written, ``causes`` up to each instruction included; without it Numba compiles a
            timer that knows nothing of moments.

    Returns:
        Cycles from the core's issue slot at entry to its issue slot at exit.
    """
    now = 0
    count = rows.shape[0]
    for n in range(count):
        row = rows[n]
        code = np.int64(codes[n])
        path = row[PATH]
        start = now
        for column in (XD, XS1, XS2):
            if row[column] >= 0 and times[X + row[column]] > start:
                start = times[X + row[column]]
        causes[WAIT_DRAM if start <= times[INT_DRAM] else WAIT_SCALAR] += start - now
        operands = start
        if path in (SCALAR, BRANCH):
            if path == SCALAR and row[MODE] == DIVIDES:  # one at a time
                start = max(start, times[DIVISION])
                times[DIVISION] = start + row[LATENCY]
                causes[WAIT_SCALAR] += start - operands
            if row[XD] >= 0:
                times[X + row[XD]] = start + row[LATENCY]
        elif path in (LOAD, STORE):
            start = max(start, times[STORES_DONE])
            if path == STORE or row[MODE] == ATOMIC:  # an atomic access writes, too
                start = max(start, times[LOADS_DONE])
            causes[WAIT_VLSU] += start - operands
            # What waits in the sequencer is not overtaken; a request in the same cycle comes after it.
            waits = start
            start = max(start, times[FLOAT_STORED])
            if path == STORE or row[MODE] == ATOMIC:
                start = max(start, times[FLOAT_ACCESSED])
            causes[WAIT_SCALAR] += start - waits
            if path == LOAD:
                # One outstanding load; the next may go out in the cycle in which this one returns.
                earliest = max(start, times[INT_LOAD] - 1)
                causes[WAIT_DRAM if earliest < times[INT_DRAM] else WAIT_SCALAR] += earliest - start
                start = earliest
                times[INT_LOAD] = start + row[LATENCY]
                if code & IN_DRAM:
                    times[INT_LOAD] += row[DRAM_LATENCY]
                    times[INT_DRAM] = times[INT_LOAD]
                if row[XD] >= 0:
                    times[X + row[XD]] = times[INT_LOAD]
        elif path == DRAIN:
            start = max(start, times[SEQUENCER], times[BUFFER])
            for k in range(8):
                start = max(start, times[FLIGHT + k])
            causes[WAIT_FCSR] += start - operands
            if row[XD] >= 0:
                times[X + row[XD]] = start + row[LATENCY]
        else:
            # Offloaded. The request register holds one instruction until the sequencer takes it.
            start = max(start, times[REGISTER])
            causes[times[BLOCKER]] += start - operands
            _sequence(row, path, vl, code, start, times, None if moments is None else moments[n])
            _forget(times)
        if moments is not None:
            moments[n, LEFT] = start
            if path == LOAD:
                moments[n, DONE] = times[INT_LOAD]
            elif path in (SCALAR, BRANCH, STORE, DRAIN):
                moments[n, DONE] = start + (row[LATENCY] if row[XD] >= 0 else 1)
        causes[ISSUE] += 1
        if moments is not None:
            for cause in range(len(CAUSES)):
                moments[n, SO_FAR + cause] = causes[cause]
        now = start + 1
    if count > 0 and taken == 1:
        causes[WAIT_BRANCH] += rows[count - 1, TAKEN_PENALTY]
        now += rows[count - 1, TAKEN_PENALTY]
        if moments is not None:
            for cause in range(len(CAUSES)):
                moments[count - 1, SO_FAR + cause] = causes[cause]
    for k in range(TIMES):
        times[k] = max(0, times[k] - now)
    _forget(times)
    return now


@compiled
def _sequence(
    row: NDArray[Any], path: int, vl: int, code: int, start: int, times: NDArray[Any], moments: Any
) -> None:
    """An offloaded instruction through the FP sequencer, which executes loads, stores and moves itself."""
    taken_at = max(start + 1, times[SEQUENCER])
    if taken_at == start + 1:  # nothing holds it
        times[BLOCKER] = ISSUE
    times[REGISTER] = taken_at
    ready = taken_at
    for column in range(FD, FS1 + 3):
        if row[column] >= 0:
            ready = max(ready, times[F + row[column]])
    # What holds the sequencer now is what the next instruction in the register will wait for.
    if ready > taken_at:
        times[BLOCKER] = WAIT_DRAM if ready <= times[FLOAT_DRAM] else WAIT_SCALAR
    if path in (FLOAT_LOAD, FLOAT_STORE):
        order = times[STORES_DONE] if path == FLOAT_LOAD else max(times[STORES_DONE], times[LOADS_DONE])
        if order > ready:
            ready, times[BLOCKER] = order, WAIT_VLSU
        if path == FLOAT_LOAD:
            if times[FLOAT_LOADS] > ready:
                ready = times[FLOAT_LOADS]
                times[BLOCKER] = WAIT_DRAM if ready <= times[FLOAT_DRAM] else WAIT_SCALAR
            done = ready + row[LATENCY]
            if code & IN_DRAM:
                done += row[DRAM_LATENCY]
                times[FLOAT_DRAM] = max(times[FLOAT_DRAM], done)
            times[FLOAT_LOADS] = done
            times[F + row[FD]] = done
            _mark(moments, DONE, done)
        else:
            times[FLOAT_STORED] = ready
            _mark(moments, DONE, ready + 1)
        times[FLOAT_ACCESSED] = ready
        _mark(moments, TAKEN_BY, taken_at)
        _mark(moments, SEQUENCED, ready)
        times[SEQUENCER] = ready + 1
        return
    if path == MOVE:
        _mark(moments, TAKEN_BY, taken_at)
        _mark(moments, SEQUENCED, ready)
        _mark(moments, DONE, ready + 1 + (row[LATENCY] if row[XD] >= 0 else 0))
        times[SEQUENCER] = ready + 1
        if row[FD] >= 0:
            times[F + row[FD]] = ready + 1
        if row[XD] >= 0:
            times[X + row[XD]] = ready + 1 + row[LATENCY]
        return
    if times[BUFFER] > ready:  # the controller's one-entry buffer
        ready, times[BLOCKER] = times[BUFFER], times[HELD]
    _mark(moments, TAKEN_BY, taken_at)
    _mark(moments, SEQUENCED, ready)
    times[SEQUENCER] = ready + 1
    issue = max(ready, times[CONTROLLER])
    if issue == ready:
        times[HELD] = ISSUE
    slot = FLIGHT + 8 - row[IN_FLIGHT]
    if (
        times[slot] > issue
    ):  # all ids are in use; a vset takes none, but the buffer is popped only if one is free
        issue, times[HELD] = times[slot], times[slot + CAUSE_OF - FLIGHT]
    if path == VSET:
        times[CONTROLLER] = issue + 1
        times[BUFFER] = issue
        _mark(moments, DONE, issue + (row[LATENCY] if row[XD] >= 0 else 1))
        if row[XD] >= 0:
            times[X + row[XD]] = issue + row[LATENCY]
    else:
        _issue_vector(row, path, vl, code, issue, times, moments)


@numba.njit(nogil=True, inline="always")
def _mark(moments: Any, moment: int, time: int) -> None:
    """Write a moment down, if they are wanted."""
    if moments is not None:
        moments[moment] = time


@compiled
def _element_by_element(row: NDArray[Any], requests: Any, ways: Any) -> Any:
    """Cycles of an access in which each port asks for the elements of its own words, ``ways`` of the ports at one bank.

    In the last turn some ports have nothing left to ask for, and those that do spread over the same banks.
    """
    ports, share = np.int64(row[MODE]), np.int64(row[PORT_WORD])
    turns, rest = requests // (ports * share), requests % (ports * share)
    busy, more = rest // share, rest % share  # ports with a whole word left; elements of one port more
    last = more * (((busy + 1) * ways + ports - 1) // ports) + (share - more) * (
        (busy * ways + ports - 1) // ports
    )
    return turns * share * ways + last


@compiled
def _length(row: NDArray[Any], path: int, unit: int, vl: int, code: int) -> Any:
    """Cycles in which the unit reads operands (or sends memory requests)."""
    if path == FLOAT:
        return np.int64(1 + row[EXTRA])
    count = np.int64(row[FIXED_VL] if row[FIXED_VL] > 0 else vl) * row[FIELDS]
    length = (count * np.int64(row[NUMERATOR]) + row[DENOMINATOR] - 1) // row[DENOMINATOR] + row[EXTRA]
    if unit == VLSU:
        ways = code & WAYS
        if code & IN_DRAM:  # banks are L1's
            ways = min(ways, 1)
        if ways > 0:
            length = _element_by_element(row, (count + row[GRAIN] - 1) // row[GRAIN], ways)
        if code & IN_DRAM:
            length = max(length, (count * np.int64(row[DRAM_BITS]) + row[DRAM_RATE] - 1) // row[DRAM_RATE])
    if row[CONFLICTS] != 0:
        for fetch in range(min(31, (length + 7) // 8)):
            length += row[CONFLICTS] >> fetch & 1
    return np.int64(max(1, length))


@compiled
def _issue_vector(
    row: NDArray[Any], path: int, vl: int, code: int, issue: int, times: NDArray[Any], moments: Any
) -> None:
    """From the controller's buffer into a unit, and the unit's occupation, reads and writes."""
    unit = VFU if path == FLOAT else np.int64(row[UNIT])
    slot = 8 - row[IN_FLIGHT]
    newest = ENDS + DEPTH * unit + DEPTH - 1
    wait_unit = WAIT_VFU if unit == VALU else WAIT_VFU + unit
    full = times[newest + 1 - row[QUEUE]]
    if full > 0 and full + 1 > issue:  # the unit's queue is full; its head leaves with its last operands
        issue, times[HELD] = full + 1, wait_unit
    times[CONTROLLER] = issue + 1
    times[BUFFER] = issue
    length = _length(row, path, unit, vl, code)
    latency = np.int64(row[LATENCY])
    begin = max(issue + 1, times[newest] + 1)
    if unit == VFU:
        kind = row[MODE] if path == VECTOR else FPU
        if kind != times[KIND]:  # idle first, then a cycle to switch
            begin = max(begin, (times[FPU_DONE] if kind == IPU else times[IPU_DONE]) + 1) + 1
            times[KIND] = kind
    elif path == VECTOR_LOAD:
        begin = max(begin, times[STORES_DONE])
    elif path == VECTOR_STORE:
        begin = max(begin, times[LOADS_DONE])
    cause = wait_unit
    if code & IN_DRAM:
        cause = WAIT_DRAM
        latency += row[DRAM_LATENCY] if path == VECTOR_LOAD else 0
    elif unit == VLSU and code & WAYS > 1:
        cause = WAIT_BANK
    unhindered = begin + length - 1
    first_write = np.int64(0)
    last_read = unhindered
    if path != FLOAT:
        # Operands: begin after the producer's first word, end after its last.
        chains = row[CHAINS] == 1
        for k in range(row[READS]):
            first, number = row[FIRST_READ + 2 * k], row[FIRST_READ + 2 * k + 1]
            for r in range(first, first + number):
                begin = max(begin, (times[V_FIRST + r] if chains else times[V_DONE + r]) + 1)
                last_read = max(last_read, times[V_DONE + r] + 1)
        for r in range(row[VD], row[VD] + row[VD_COUNT] if row[VD] >= 0 else row[VD]):
            # Writes follow the reads and writes of the old value: a load's writes alone, else the operands already.
            before = max(times[V_DONE + r], times[V_READ + r]) + 1
            if path == VECTOR_LOAD:
                first_write = max(first_write, times[V_FIRST + r] + 1 if chains else before)
                last_read = max(last_read, before - latency)
            else:
                begin = max(begin, times[V_FIRST + r] + 1 if chains else before)
                last_read = max(last_read, before)
    last_read = max(last_read, begin + length - 1, first_write + length - 1 - latency)
    done = last_read + latency
    _mark(moments, BEGUN, begin)
    _mark(moments, READ, last_read)
    _mark(moments, DONE, done)
    if last_read > unhindered:
        cause = WAIT_CHAIN
    for k in range(newest + 1 - row[QUEUE], newest):
        times[k] = times[k + 1]
    times[newest] = last_read
    times[FLIGHT + slot] = done
    times[CAUSE_OF + slot] = cause
    if unit == VFU:
        if kind == IPU:
            times[IPU_DONE] = done
        else:
            times[FPU_DONE] = done
    elif path == VECTOR_LOAD:
        times[LOADS_DONE] = max(times[LOADS_DONE], done)
    elif path == VECTOR_STORE:
        times[STORES_DONE] = done
    if row[FD] >= 0:
        times[F + row[FD]] = done + 1
    if row[XD] >= 0:
        times[X + row[XD]] = done + 2
    if path == FLOAT:
        return
    for k in range(row[READS]):
        for r in range(row[FIRST_READ + 2 * k], row[FIRST_READ + 2 * k] + row[FIRST_READ + 2 * k + 1]):
            times[V_READ + r] = max(times[V_READ + r], done)
    if row[VD] >= 0:
        first_write = max(first_write, begin + latency)
        if row[AT_END] == 1:
            first_write = done
        pace, made = np.int64(row[PACE]), np.int64(0)
        if unit == VLSU and code & (WAYS | IN_DRAM):
            pace = np.int64(0)
        if pace > 0:
            count = np.int64(row[FIXED_VL] if row[FIXED_VL] > 0 else vl)
            made = (count * np.int64(row[NUMERATOR]) + row[DENOMINATOR] - 1) // row[DENOMINATOR]
        for r in range(row[VD], row[VD] + row[VD_COUNT]):
            times[V_FIRST + r] = min(done, first_write + row[CREDIT] - 1)
            # What is still to be read when a register's last operands have been takes a cycle each at least.
            behind = made - (r - row[VD] + 1) * pace if pace > 0 else np.int64(0)
            times[V_DONE + r] = max(times[V_FIRST + r], done - max(0, behind))


# What :func:`potluck.sim.raw.through` takes for time_block without moments.
TIME_BLOCK = types.int64(
    types.int32[:, ::1],
    types.int64,
    types.uint8[::1],
    types.int64,
    types.int64[::1],
    types.int64[::1],
    types.none,
)

__all__ = ["CAUSES", "MOMENTS", "ROW", "STATE_SIZE", "TIME_BLOCK", "time_block", "timing_row", "wait"]
