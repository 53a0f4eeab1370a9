"""Runs of row hits, served one after the other without the lists of banks: most of what a DMA asks for.

While every request that waits reads (or every one writes) a row that is open, no bank wants a row command, and the
oldest goes first if no other can go earlier. Then nothing has to be chosen; of the clocks that a command raises, only
those of its own kind matter before the run ends, and what else a bank's last command raises is done at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.sim.cache import compiled
from potluck.sim.dram.clocks import (
    ARRIVAL,
    BANK,
    BANKS,
    BOUND,
    CLOCK,
    COUNTS,
    HITS,
    HOME,
    NONE,
    PER_RANK,
    QUEUE,
    RANKS,
    RANKS_PER_PC,
    RD,
    READ_DONE,
    REQUESTED,
    ROW,
    SAME,
    SERVED,
    STATE,
    USED,
    WHERE,
    WRITE_DONE,
    WRITES,
    ZERO,
    at,
    push,
)


@compiled(forceinline=True)
def soonest(command: int, bank: int, p: NDArray[Any], banks: NDArray[Any], allowed: NDArray[Any]) -> Any:
    """A clock before which no such column command to any bank is allowed."""
    t = allowed[at(banks[bank, 0]) + at(command)]
    if p[RANKS] == 1:
        t = max(t, allowed[at(banks[bank, 1]) + at(command)])
    return t


@compiled(forceinline=True)
def first_miss(begin: int, end: int, writes: int, banks: NDArray[Any], requests: NDArray[Any]) -> Any:
    """The first of some requests that waits and is no hit of its kind, ``end`` if there is none."""
    k = begin
    while k < end:
        r = at(k)
        if requests[r, STATE] != SERVED and (
            requests[r, WRITES] != writes or banks[at(requests[r, BANK]), ROW] != requests[r, REQUESTED]
        ):
            return k
        k += 1
    return k


@compiled
def stream(
    oldest: int, incoming: int, waiting: int, due: int, p: NDArray[Any], first: NDArray[Any], entries: NDArray[Any],
    delays: NDArray[Any], allowed: NDArray[Any], banks: NDArray[Any], record: NDArray[Any], requests: NDArray[Any],
    done: NDArray[Any], active: NDArray[Any],
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Serve requests in their order, as long as that is what the scheduler would do.

    Args:
        oldest, incoming: requests from the oldest that waits to the first that the scheduler does not see; all of them
            that wait are hits of one kind.
        waiting: how many wait.
        due: clock of the next refresh.
        active: int64 [BANKS], overwritten.

    Returns:
        The oldest request then, the first that the scheduler does not see, how many were served.
    """
    n, k, w, seen = requests.shape[0], oldest, incoming, incoming
    size, ranks, alone_in_rank = p[QUEUE], p[RANKS_PER_PC], p[RANKS] == 1
    writes = requests[at(k), WRITES]
    command = RD + writes
    c, same = at(command), SAME + 4 * writes
    gaps = p[at(same)], p[at(same + 1)], p[at(same + 2)], p[at(same + 3)]
    after = p[WRITE_DONE] if writes != 0 else p[READ_DONE]
    now, served, hits, touched = record[CLOCK], ZERO, ZERO, ZERO
    bus = allowed[at(banks[0, 0]) + c]
    if ranks > 1:
        for bank in range(0, p[BANKS], ranks * p[PER_RANK]):
            banks[bank, USED] = NONE
    while k < n:
        r = at(k)
        if k < seen and requests[r, STATE] == SERVED:
            k += 1
            continue
        bank, arrival = at(requests[r, BANK]), requests[r, ARRIVAL]
        if k == w:
            if banks[bank, ROW] != requests[r, REQUESTED] or requests[r, WRITES] != writes:
                break
            w += 1
            waiting += 1
        rank, group, own = at(banks[bank, 1]) + c, at(banks[bank, 2]) + c, at(banks[bank, 3]) + c
        if ranks > 1:
            home = at(banks[bank, HOME])
            if banks[home, USED] != banks[bank, 1]:
                if banks[home, USED] >= 0:  # what the other rank has to wait for
                    for place in range(touched):
                        push(
                            command,
                            active[place],
                            banks[active[place], BOUND],
                            p,
                            first,
                            entries,
                            delays,
                            allowed,
                        )
                    touched = ZERO
                banks[home, USED] = banks[bank, 1]
        ready = max(max(allowed[rank], allowed[group]), allowed[own])
        floor = max(now, arrival)
        t = max(max(ready, arrival), max(bus, now))
        if t >= due:
            break
        if t > floor and (waiting > 1 or (w < n and requests[at(w), ARRIVAL] < t)):
            soon = bus
            if alone_in_rank:
                soon = max(soon, allowed[rank])
            if t > soon:
                break
        missed = False
        while w < n and waiting < size and requests[at(w), ARRIVAL] <= t:
            other = at(w)
            missed = (
                banks[at(requests[other, BANK]), ROW] != requests[other, REQUESTED]
                or requests[other, WRITES] != writes
            )
            if missed:
                break
            w += 1
            waiting += 1
        if missed:
            break
        if gaps[0] >= 0:
            bus = t + gaps[0]
        if gaps[1] >= 0:
            allowed[rank] = t + gaps[1]
        if gaps[2] >= 0:
            allowed[group] = t + gaps[2]
        if gaps[3] >= 0:
            allowed[own] = t + gaps[3]
        done[r] = t + after
        if k < seen:
            record[HITS + requests[r, STATE]] += 1
        else:
            hits += 1
        place = at(banks[bank, WHERE])
        if not (place < at(touched) and at(active[place]) == bank):
            banks[bank, WHERE], active[at(touched)] = touched, np.int64(bank)
            touched += 1
        banks[bank, BOUND] = t
        now = t
        waiting -= 1
        served += 1
        k += 1
    for place in range(touched):
        push(command, active[place], banks[active[place], BOUND], p, first, entries, delays, allowed)
    record[CLOCK] = now
    record[HITS] += hits
    record[COUNTS + command] += served
    return k, w, served
