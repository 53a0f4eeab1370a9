"""The plain timer: cycles of a Snitch core with a Spatz vector unit, instruction by instruction.

The model is described rule by rule, with sources, in docs/timing.md. State is a vector of times relative to the
core's next issue slot, clamped at zero, so that states with the same future are equal; the simulator's memo relies on
that. This function is the memo's miss path and its reference.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.sim.cache import configure_numba
from potluck.sim.timing_rows import (
    BRANCH,
    CHAINS,
    CREDIT,
    DENOMINATOR,
    DRAIN,
    DRAM_LATENCY,
    EXTRA,
    FD,
    FIRST_READ,
    FLOAT,
    FLOAT_LOAD,
    FLOAT_STORE,
    FS1,
    IN_FLIGHT,
    LATENCY,
    LOAD,
    MODE,
    NUMERATOR,
    PATH,
    READS,
    ROW,
    SCALAR,
    STORE,
    TAKEN_PENALTY,
    UNIT,
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

configure_numba()

CAUSES = ("issue", "vfu", "vlsu", "vsldu", "chaining", "scalar", "fcsr", "branch", "bank_conflict", "dram", "dma",
          "sync")  # fmt: skip
ISSUE, WAIT_VFU, WAIT_VLSU, WAIT_VSLDU, WAIT_CHAIN = range(5)
WAIT_SCALAR, WAIT_FCSR, WAIT_BRANCH, WAIT_BANK, WAIT_DRAM = range(5, 10)

# Places in the state vector: times below TIMES, plain numbers from there on.
X, F = 0, 32
V_FIRST, V_DONE, V_READ = 64, 96, 128  # per vector register: first word written, last word written, last read
SEQUENCER, REGISTER, CONTROLLER, BUFFER = 160, 161, 162, 163
FREE = 164  # VFU, VLSU, VSLDU: when the unit takes its next instruction's operands
STARTS = 167  # starts of the last two instructions of each unit
FLIGHT = 173  # completion times of the instructions in flight, up to eight
LOADS_DONE, STORES_DONE, INT_LOAD, FLOAT_LOADS = 181, 182, 183, 184  # four outstanding float loads
FPU_DONE, IPU_DONE = 188, 189  # completion of the last work of each kind in the VFU
TIMES = 190
# Causes, not times: what holds the request register, the controller's buffer, each instruction in flight.
BLOCKER, HELD, CAUSE_OF = 190, 191, 192
STATE_SIZE = CAUSE_OF + 8


@numba.njit(nogil=True, cache=True)
def wait(times: NDArray[Any], cycles: int) -> None:
    """The core idles for ``cycles``: all times come nearer."""
    for k in range(TIMES):
        times[k] = max(0, times[k] - cycles)
    _forget(times)


@numba.njit(nogil=True, cache=True)
def _forget(times: NDArray[Any]) -> None:
    """Finished instructions leave no trace, and what is interchangeable is sorted: equal futures, equal vectors."""
    if times[REGISTER] == 0:
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


@numba.njit(nogil=True, cache=True)
def time_block(
    rows: NDArray[Any], vl: int, codes: NDArray[Any], taken: int, times: NDArray[Any], causes: NDArray[Any]
) -> int:
    """Advance by one executed block.

    Args:
        rows: int32 [n, ROW].
        vl: at block entry.
        codes: uint8 [n], access classes of memory instructions.
        taken: whether the final branch was taken.
        times: int64 [STATE_SIZE], updated in place.
        causes: int64 [len(CAUSES)], incremented by the returned cycles in all.

    Returns:
        Cycles from the core's issue slot at entry to its issue slot at exit.
    """
    now = 0
    count = rows.shape[0]
    for n in range(count):
        row = rows[n]
        code = np.int64(codes[n])
        path = row[PATH]
        cause = WAIT_SCALAR
        start = now
        for column in (XS1, XS2):
            if row[column] >= 0 and times[X + row[column]] > start:
                start = times[X + row[column]]
        if row[XD] >= 0 and times[X + row[XD]] > start:
            start = times[X + row[XD]]
        memory_wait = WAIT_DRAM if code & 8 else WAIT_SCALAR
        if path in (SCALAR, BRANCH):
            if row[XD] >= 0:
                times[X + row[XD]] = start + row[LATENCY]
        elif path in (LOAD, STORE):
            order = times[STORES_DONE] if path == LOAD else max(times[STORES_DONE], times[LOADS_DONE])
            if order > start:
                start, cause = order, WAIT_VLSU
            if times[INT_LOAD] > start:
                start, cause = times[INT_LOAD], memory_wait
            latency = row[LATENCY] + (row[DRAM_LATENCY] if code & 8 else 0)
            if path == LOAD:
                times[INT_LOAD] = start + latency - 1  # one outstanding load, overlapped with its own return
                if row[XD] >= 0:
                    times[X + row[XD]] = start + latency
        elif path == DRAIN:
            drain = max(times[SEQUENCER], times[BUFFER])
            for k in range(8):
                drain = max(drain, times[FLIGHT + k])
            if drain > start:
                start, cause = drain, WAIT_FCSR
            if row[XD] >= 0:
                times[X + row[XD]] = start + 1
        else:
            # Offloaded. The request register holds one instruction until the sequencer takes it.
            if times[REGISTER] > start:
                start, cause = times[REGISTER], times[BLOCKER]
            taken_at = max(start + 1, times[SEQUENCER])
            times[REGISTER] = taken_at
            ready = taken_at
            for column in range(FD, FS1 + 3):
                if row[column] >= 0:
                    ready = max(ready, times[F + row[column]])
            # What holds the sequencer now is what the next instruction in the register will wait for.
            if ready > taken_at:
                times[BLOCKER] = WAIT_SCALAR
            if path == FLOAT_LOAD:
                if max(times[STORES_DONE], times[FLOAT_LOADS]) > ready:
                    ready = max(times[STORES_DONE], times[FLOAT_LOADS])
                    times[BLOCKER] = WAIT_VLSU if times[STORES_DONE] == ready else memory_wait
                latency = row[LATENCY] + (row[DRAM_LATENCY] if code & 8 else 0)
                times[FLOAT_LOADS] = ready + latency
                times[F + row[FD]] = ready + latency
                times[SEQUENCER] = ready + 1
            elif path == FLOAT_STORE:
                if max(times[STORES_DONE], times[LOADS_DONE]) > ready:
                    ready = max(times[STORES_DONE], times[LOADS_DONE])
                    times[BLOCKER] = WAIT_VLSU
                times[SEQUENCER] = ready + 1
            else:
                if times[BUFFER] > ready:  # the controller's one-entry buffer
                    ready = times[BUFFER]
                    times[BLOCKER] = times[HELD]
                times[SEQUENCER] = ready + 1
                issue = max(ready, times[CONTROLLER])
                if path == VSET:
                    times[CONTROLLER] = issue + 1
                    times[BUFFER] = issue
                    if row[XD] >= 0:
                        times[X + row[XD]] = issue + row[LATENCY]
                else:
                    _issue_vector(row, path, vl, code, issue, times)
            _forget(times)
        causes[ISSUE] += 1
        if start > now:
            causes[cause] += start - now
        now = start + 1
    if count > 0 and taken == 1 and rows[count - 1, TAKEN_PENALTY] > 0:
        causes[WAIT_BRANCH] += rows[count - 1, TAKEN_PENALTY]
        now += rows[count - 1, TAKEN_PENALTY]
    for k in range(TIMES):
        times[k] = max(0, times[k] - now)
    _forget(times)
    return now


@numba.njit(nogil=True, cache=True)
def _issue_vector(row: NDArray[Any], path: int, vl: int, code: int, issue: int, times: NDArray[Any]) -> None:
    """From the controller's buffer into a unit, and the unit's occupation, reads and writes."""
    unit = VFU if path == FLOAT else row[UNIT]
    oldest = FLIGHT + 8 - row[IN_FLIGHT]
    if times[oldest] > issue:  # all ids are in use
        issue = times[oldest]
        times[HELD] = times[CAUSE_OF + 8 - row[IN_FLIGHT]]
    if times[STARTS + 2 * unit] > issue:  # the unit's queue is full
        issue = times[STARTS + 2 * unit]
        times[HELD] = WAIT_VFU + unit
    times[CONTROLLER] = issue + 1
    times[BUFFER] = issue
    if path == FLOAT:
        length = np.int64(1)
    else:
        length = (vl * np.int64(row[NUMERATOR]) + row[DENOMINATOR] - 1) // row[DENOMINATOR] + row[EXTRA]
        ways = code & 7
        if row[UNIT] == VLSU and ways > 0 and row[NUMERATOR] > 0:
            length = (vl + row[MODE] - 1) // row[MODE] * ways
    begin = max(issue + 1, times[FREE + unit])
    cause = WAIT_VFU + unit
    if code & 8:
        cause = WAIT_DRAM
    elif unit == VLSU and (code & 7) > 1:
        cause = WAIT_BANK
    unhindered = begin
    if unit == VFU:
        other = times[FPU_DONE] if row[MODE] == 1 and path == VECTOR else times[IPU_DONE]
        if other > 0:
            begin = max(begin, other + 1)
    if path == VECTOR_LOAD:
        begin = max(begin, times[STORES_DONE])
    elif path == VECTOR_STORE:
        begin = max(begin, times[LOADS_DONE])
    last_read = begin + length - 1
    chains = row[CHAINS] == 1
    latency = np.int64(row[LATENCY])
    if path != FLOAT:
        for k in range(row[READS]):
            first, number = row[FIRST_READ + 2 * k], row[FIRST_READ + 2 * k + 1]
            for r in range(first, first + number):
                if times[V_DONE + r] > 0:
                    begin = max(begin, (times[V_FIRST + r] if chains else times[V_DONE + r]) + 1)
                    last_read = max(last_read, times[V_DONE + r] + 1)
        for r in range(row[VD], row[VD] + row[VD_COUNT] if row[VD] >= 0 else row[VD]):
            if not chains:
                begin = max(begin, times[V_READ + r] + 1 if times[V_READ + r] > 0 else 0)
                begin = max(begin, times[V_DONE + r] + 1 if times[V_DONE + r] > 0 else 0)
            # Word by word, a write follows the previous write and the reads of the old value.
            last_read = max(last_read, times[V_READ + r] + 1 - latency, times[V_DONE + r] + 1 - latency)
    last_read = max(last_read, begin + length - 1)
    if length == 0:
        last_read = begin
    if path == VECTOR_LOAD and code & 8:
        latency += row[DRAM_LATENCY]
    done = last_read + latency
    if begin > unhindered or last_read > begin + max(length, 1) - 1:
        cause = WAIT_CHAIN
    times[STARTS + 2 * unit] = times[STARTS + 2 * unit + 1]
    times[STARTS + 2 * unit + 1] = begin
    times[FREE + unit] = last_read + 1
    times[oldest] = done
    times[CAUSE_OF + 8 - row[IN_FLIGHT]] = cause
    if unit == VFU:
        if row[MODE] == 1 and path == VECTOR:
            times[IPU_DONE] = done
        else:
            times[FPU_DONE] = done
    if path == VECTOR_LOAD:
        times[LOADS_DONE] = done
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
            times[V_READ + r] = max(times[V_READ + r], last_read)
    if row[VD] >= 0:
        for r in range(row[VD], row[VD] + row[VD_COUNT]):
            times[V_FIRST + r] = begin + latency + row[CREDIT] - 1
            times[V_DONE + r] = done


__all__ = ["CAUSES", "ROW", "STATE_SIZE", "time_block", "timing_row", "wait"]
