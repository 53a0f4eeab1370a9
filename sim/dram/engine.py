"""The controller of one DRAM channel: FR-FCFS from command to command, compiled.

Nothing is done clock by clock. Of every bank with requests, and of every rank's refresh, the next command and the
earliest clock at which all rules allow it are known; the earliest is issued (at equal clocks: refresh, then column,
then row commands, then the oldest), which is what a controller that looks every clock would do.

A run of requests that all find their rows open is served without the lists of banks, see
:mod:`potluck.sim.dram.streams`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from potluck.sim.cache import compiled
from potluck.sim.dram.clocks import (
    ACT,
    ACTIVE,
    ARRIVAL,
    BANK,
    BANKS,
    BEFORE,
    BOUND,
    CAP,
    CLOCK,
    CLOSED_PAGE,
    COUNTS,
    DUE,
    GROUP,
    HEAD,
    HITS,
    INTERVAL,
    LIMIT,
    NEVER,
    NONE,
    ONE,
    OPEN,
    PER_BANK,
    PER_RANK,
    PICK,
    PRE,
    PREA,
    QUEUE,
    RANK,
    RANKS,
    RD,
    RDA,
    READ_DONE,
    REF_AB,
    REF_PB,
    REQUESTED,
    ROW,
    SERVED,
    SINCE,
    STATE,
    TAIL,
    TARGET,
    WANT,
    WHERE,
    WR,
    WRITE_DONE,
    WRITES,
    ZERO,
    at,
    earliest,
    earliest_rank,
    issue,
)
from potluck.sim.dram.streams import first_miss, soonest, stream

PATIENCE = np.int64(8)  # requests that are served between the end of a stream and a new attempt


@compiled(forceinline=True)
def _closed(rank: int, ranks: NDArray[Any], t: int, count: int) -> None:
    ranks[rank, OPEN] -= count
    if ranks[rank, OPEN] == 0:
        ranks[rank, ACTIVE] += t - ranks[rank, SINCE]


@compiled(forceinline=True)
def _note(log: NDArray[Any], logged: int, t: int, command: int, bank: int, row: int, request: int) -> int:
    if logged < log.shape[0]:
        log[logged, 0], log[logged, 1], log[logged, 2] = t, command, bank
        log[logged, 3], log[logged, 4] = row, request
    return logged + 1


@compiled(forceinline=True)
def _choose(
    bank: int, closed_page: int, banks: NDArray[Any], slots: NDArray[Any], requests: NDArray[Any]
) -> int:
    """The command that a bank needs next, the queue slot it is for, and the slot before that in the bank's list.

    Returns:
        By how many the banks that want a row command have become more.
    """
    slot = banks[bank, HEAD]
    row = banks[bank, ROW]
    banks[bank, BOUND] = 0
    old = 1 if banks[bank, WANT] < RD else 0
    banks[bank, BEFORE] = -1
    if row < 0:
        banks[bank, WANT], banks[bank, PICK] = ACT, slot
        return 1 - old
    previous = np.int64(-1)
    while slot >= 0:
        request = slots[slot, 1]
        if requests[request, REQUESTED] == row:
            command = RD + requests[request, WRITES]
            if closed_page == 1:
                last = 2
                other = banks[bank, HEAD]
                while other >= 0:
                    if other != slot and requests[slots[other, 1], REQUESTED] == row:
                        last = 0
                        break
                    other = slots[other, 0]
                command += last
            banks[bank, WANT], banks[bank, PICK], banks[bank, BEFORE] = command, slot, previous
            return -old
        previous, slot = slot, slots[slot, 0]
    banks[bank, WANT], banks[bank, PICK] = PRE, banks[bank, HEAD]
    return 1 - old


@compiled(forceinline=True)
def _admit(
    request: int, slot: int, active_count: int, closed_page: int, active: NDArray[Any], banks: NDArray[Any],
    slots: NDArray[Any], requests: NDArray[Any],
) -> int:  # fmt: skip
    """Put a request at the end of its bank's list.

    Returns:
        By how many the banks that want a row command have become more.
    """
    bank = requests[request, BANK]
    slots[slot, 0], slots[slot, 1] = -1, request
    if banks[bank, HEAD] < 0:
        banks[bank, HEAD] = slot
        banks[bank, WHERE] = active_count
        active[active_count] = bank
    else:
        slots[banks[bank, TAIL], 0] = slot
        if closed_page == 0 and (
            banks[bank, WANT] != PRE or requests[request, REQUESTED] != banks[bank, ROW]
        ):
            banks[bank, TAIL] = slot  # what the bank needs next is older
            return 0
    banks[bank, TAIL] = slot
    return _choose(bank, closed_page, banks, slots, requests)


@compiled
def run_channel(
    p: NDArray[Any], first: NDArray[Any], entries: NDArray[Any], delays: NDArray[Any], allowed: NDArray[Any],
    banks: NDArray[Any], ranks: NDArray[Any], record: NDArray[Any], requests: NDArray[Any], done: NDArray[Any],
    until: int, log: NDArray[Any], work: NDArray[Any],
) -> int:  # fmt: skip
    """Serve all requests of a channel, then refresh up to ``until``.

    Args:
        p: int64 [PARAMETERS].
        first, entries, delays: rules by command and bank, see :class:`potluck.sim.dram.rules.Waits`.
        allowed: int64 [nodes * WAITING], clock from which a command is allowed; updated.
        banks: int64 [banks, BANK_RECORD]; updated.
        ranks: int64 [ranks, RANK_RECORD]; updated.
        record: int64 [RECORD]; updated.
        requests: int64 [n, REQUEST]: clock at which it reaches the controller (not decreasing), bank, row, whether it
            writes, 0; the last word is used.
        done: int64 [n], set to the clock after the last data beat.
        until: clock.
        log: int64 [m, 5], filled with (clock, command, bank, row, request), as far as it goes.
        work: int64 [at least BANKS + 3 QUEUE], overwritten.

    Returns:
        Commands issued.
    """
    n = requests.shape[0]
    size, closed_page, per_bank, group = p[QUEUE], p[CLOSED_PAGE], p[PER_BANK], p[GROUP]
    slots = work[: 2 * size].reshape(size, 2)  # next slot of the bank's list, request
    free = work[2 * size : 3 * size]
    for slot in range(size):
        free[slot] = slot
    active = work[3 * size : 3 * size + p[BANKS]]  # banks with requests
    free_count, active_count = size, ZERO
    incoming, served, oldest, passed = ZERO, ZERO, ZERO, ZERO
    row_wants = ZERO  # banks that want a row command
    streams = closed_page == 0 and log.shape[0] == 0
    retry = ZERO  # the oldest request from which on a stream may be tried
    logged = ZERO
    next_due = NEVER
    for r in range(p[RANKS]):
        next_due = min(next_due, ranks[r, DUE])
    while True:
        now = record[CLOCK]
        if streams and row_wants == 0 and retry <= oldest < n:
            bank, writes = at(requests[oldest, BANK]), requests[oldest, WRITES]
            command = RD + writes
            t = earliest(command, bank, banks, allowed)
            floor = max(now, requests[oldest, ARRIVAL])
            hit = banks[bank, ROW] == requests[oldest, REQUESTED] and max(t, floor) < next_due
            if hit and (incoming - oldest <= 1 or t <= max(floor, soonest(command, bank, p, banks, allowed))):
                missed = first_miss(oldest, incoming, writes, banks, requests)
                if missed < incoming:
                    retry = missed + 1
                else:
                    for place in range(active_count):
                        banks[active[place], HEAD], banks[active[place], WANT] = -1, RD
                    oldest, incoming, count = stream(
                        oldest, incoming, size - free_count, next_due, p, first, entries, delays, allowed, banks,
                        record, requests, done, active,
                    )  # fmt: skip
                    now = record[CLOCK]
                    served += count
                    if count > 0:
                        passed = ZERO
                    free_count, active_count = size, ZERO
                    for slot in range(size):
                        free[slot] = slot
                    for request in range(oldest, incoming):
                        if requests[request, STATE] == SERVED:
                            continue
                        free_count -= 1
                        new = banks[requests[request, BANK], HEAD] < 0
                        row_wants += _admit(
                            request, free[free_count], active_count, closed_page, active, banks, slots, requests
                        )  # fmt: skip
                        active_count += new
                    retry = oldest + PATIENCE
        while incoming < n and free_count > 0 and (requests[incoming, ARRIVAL] <= now or free_count == size):
            # An empty queue takes the next request before its time: it is issued no earlier.
            free_count -= 1
            new = banks[requests[incoming, BANK], HEAD] < 0
            row_wants += _admit(
                incoming, free[free_count], active_count, closed_page, active, banks, slots, requests
            )
            active_count += new
            incoming += 1
        best, kind, order, chosen = NEVER, 3, n, NONE
        forced = passed > p[CAP]
        early = incoming > 0 and requests[incoming - 1, ARRIVAL] > now  # a request was taken before its time
        if oldest < incoming and not forced and not early:
            # Streams: no column command is better than the oldest request's, if it is as early as any can be.
            bank = requests[oldest, BANK]
            if banks[bank, WANT] >= RD and slots[banks[bank, PICK], 1] == oldest:
                t = max(earliest(banks[bank, WANT], bank, banks, allowed), now)
                bus = banks[bank, 0]  # of commands: often what all wait for, and quickly looked at
                soon = max(now, min(allowed[bus + RD], allowed[bus + WR]))
                if p[RANKS] == 1 and t > soon:
                    soon = min(
                        earliest_rank(RD, bank, banks, allowed), earliest_rank(WR, bank, banks, allowed)
                    )
                if t <= soon and t < banks[bank, LIMIT]:
                    best, kind, order, chosen = t, 1, oldest, bank
        columns = chosen < 0  # whether there may be a better column command
        if columns or row_wants > 0:
            for k in range(active_count):
                bank = active[at(k)]
                b = at(bank)
                if not forced and (banks[b, BOUND] > best or (not columns and banks[b, WANT] >= RD)):
                    continue
                command, request = banks[b, WANT], slots[at(banks[b, PICK]), 1]
                if forced:
                    if requests[oldest, BANK] != bank:
                        continue
                    command, request = _needed(oldest, bank, banks, requests), oldest
                t = earliest(command, bank, banks, allowed)
                if not forced:
                    banks[b, BOUND] = t
                t = max(t, now)
                if early:
                    t = max(t, requests[at(request), ARRIVAL])
                if t > best or t >= banks[b, LIMIT]:
                    continue
                rank_of = 1 if command >= RD else 2
                if t < best or rank_of < kind or (rank_of == kind and request < order):
                    best, kind, order, chosen = t, rank_of, request, bank
        refreshing = NONE
        if next_due <= best:
            for r in range(p[RANKS]):
                due = ranks[r, DUE]
                if due > best:
                    continue
                if per_bank == 0:
                    command = PREA if ranks[r, OPEN] > 0 else REF_AB
                    t = max(earliest_rank(command, r * p[PER_RANK], banks, allowed), now, due)
                else:
                    t = max(now, due)
                    for g in range(group):
                        bank = _refreshed(r, g, ranks, p)
                        if banks[bank, ROW] >= 0:
                            t = max(earliest(PRE, bank, banks, allowed), now, due)
                            break
                        t = max(t, earliest(REF_PB, bank, banks, allowed))
                if t < best or (t == best and kind > 0):
                    best, kind, refreshing = t, 0, r
        if served == n and (refreshing < 0 or best >= until):
            return logged
        again = False
        while incoming < n and free_count > 0 and requests[incoming, ARRIVAL] <= best:
            # One more request is there by then: it may be the better choice.
            free_count -= 1
            bank = requests[incoming, BANK]
            new = banks[bank, HEAD] < 0
            row_wants += _admit(
                incoming, free[free_count], active_count, closed_page, active, banks, slots, requests
            )
            active_count += new
            incoming += 1
            if forced or bank == chosen or refreshing >= 0:
                again = True
                break
            command, request = banks[bank, WANT], slots[banks[bank, PICK], 1]
            t = max(earliest(command, bank, banks, allowed), now, requests[request, ARRIVAL])
            if t <= best and t < banks[bank, LIMIT]:
                rank_of = 1 if command >= RD else 2
                if t < best or rank_of < kind or (rank_of == kind and request < order):
                    best, kind, order, chosen = t, rank_of, request, bank
        if again:
            continue
        if refreshing >= 0:
            r = refreshing
            base = r * p[PER_RANK]
            if per_bank == 0 and ranks[r, OPEN] > 0:
                issue(PREA, base, best, p, first, entries, delays, allowed, banks, ranks, record)
                logged = _note(log, logged, best, PREA, base, NONE, NONE)
                _closed(r, ranks, best, ranks[r, OPEN])
                for bank in range(base, base + p[PER_RANK]):
                    banks[bank, ROW] = -1
                    if banks[bank, HEAD] >= 0:
                        row_wants += _choose(bank, closed_page, banks, slots, requests)
                continue
            if per_bank == 0:
                issue(REF_AB, base, best, p, first, entries, delays, allowed, banks, ranks, record)
                logged = _note(log, logged, best, REF_AB, base, NONE, NONE)
                ranks[r, DUE] += p[INTERVAL]
                for bank in range(base, base + p[PER_RANK]):
                    banks[bank, LIMIT] = ranks[r, DUE]
            else:
                closing = NONE
                for g in range(group):
                    bank = _refreshed(r, g, ranks, p)
                    if banks[bank, ROW] >= 0:
                        closing = bank
                        break
                if closing >= 0:
                    issue(PRE, closing, best, p, first, entries, delays, allowed, banks, ranks, record)
                    logged = _note(log, logged, best, PRE, closing, NONE, NONE)
                    _closed(r, ranks, best, ONE)
                    banks[closing, ROW] = -1
                    if banks[closing, HEAD] >= 0:
                        row_wants += _choose(closing, closed_page, banks, slots, requests)
                    continue
                for g in range(group):
                    bank = _refreshed(r, g, ranks, p)
                    issue(REF_PB, bank, best, p, first, entries, delays, allowed, banks, ranks, record)
                    banks[bank, LIMIT] = NEVER
                record[COUNTS + REF_PB] -= group - 1  # one command
                logged = _note(log, logged, best, REF_PB, _refreshed(r, ZERO, ranks, p), NONE, NONE)
                ranks[r, TARGET] = (ranks[r, TARGET] + 1) % (p[PER_RANK] // group)
                ranks[r, DUE] += p[INTERVAL]
                for g in range(group):
                    banks[_refreshed(r, g, ranks, p), LIMIT] = ranks[r, DUE]
            next_due = NEVER
            for r in range(p[RANKS]):
                next_due = min(next_due, ranks[r, DUE])
            continue
        bank = chosen
        command, request = banks[bank, WANT], slots[banks[bank, PICK], 1]
        if forced:
            command, request = _needed(oldest, bank, banks, requests), oldest
            previous, slot = np.int64(-1), banks[bank, HEAD]
            while slots[slot, 1] != request:
                previous, slot = slot, slots[slot, 0]
            banks[bank, PICK], banks[bank, BEFORE] = slot, previous
        issue(command, bank, best, p, first, entries, delays, allowed, banks, ranks, record)
        logged = _note(log, logged, best, command, bank, requests[request, REQUESTED], request)
        rank = banks[bank, RANK]
        if command == ACT:
            banks[bank, ROW] = requests[request, REQUESTED]
            requests[request, STATE] = max(requests[request, STATE], 1)
            if ranks[rank, OPEN] == 0:
                ranks[rank, SINCE] = best
            ranks[rank, OPEN] += 1
        elif command == PRE:
            banks[bank, ROW] = -1
            requests[request, STATE] = 2
            _closed(rank, ranks, best, ONE)
        else:
            record[HITS + requests[request, STATE]] += 1
            requests[request, STATE] = SERVED
            done[request] = best + (p[READ_DONE] if command in (RD, RDA) else p[WRITE_DONE])
            if command >= RDA:
                banks[bank, ROW] = -1
                _closed(rank, ranks, best, ONE)
            slot, previous = banks[bank, PICK], banks[bank, BEFORE]
            if previous < 0:
                banks[bank, HEAD] = slots[slot, 0]
            else:
                slots[previous, 0] = slots[slot, 0]
            if banks[bank, TAIL] == slot:
                banks[bank, TAIL] = previous
            free[free_count] = slot
            free_count += 1
            served += 1
            passed += 1
            if request == oldest:
                passed = 0
                while oldest < n and requests[oldest, STATE] == SERVED:
                    oldest += 1
            if banks[bank, HEAD] < 0:
                active_count -= 1
                last = active[active_count]
                active[banks[bank, WHERE]] = last
                banks[last, WHERE] = banks[bank, WHERE]
                if banks[bank, WANT] < RD:  # only where an overtaken request was forced
                    row_wants -= 1
                banks[bank, WANT] = RD
                continue
        row_wants += _choose(bank, closed_page, banks, slots, requests)


@compiled(forceinline=True)
def _needed(request: int, bank: int, banks: NDArray[Any], requests: NDArray[Any]) -> Any:
    """The next command for one request, whatever else waits for its bank."""
    if banks[bank, ROW] < 0:
        return ACT
    if banks[bank, ROW] != requests[request, REQUESTED]:
        return PRE
    return RD + requests[request, WRITES]


@compiled(forceinline=True)
def _refreshed(rank: int, which: int, ranks: NDArray[Any], p: NDArray[Any]) -> Any:
    """The banks of a rank's next REFpb: ``which`` of the group that it refreshes together."""
    return rank * p[PER_RANK] + ranks[rank, TARGET] + which * (p[PER_RANK] // p[GROUP])


# What :func:`potluck.sim.raw.through` takes for run_channel.
RUN_CHANNEL = types.int64(
    types.int64[::1], types.int32[::1], types.int32[:, ::1], types.int64[::1], types.int64[::1], types.int64[:, ::1],
    types.int64[:, ::1], types.int64[::1], types.int64[:, ::1], types.int64[::1], types.int64, types.int64[:, ::1],
    types.int64[::1],
)  # fmt: skip
