"""Requests of all channels: from addresses to each channel's list, and a transfer's bursts; compiled."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.sim.dram.engine import ARRIVAL, BANK, REQUEST, REQUESTED, WRITES, ZERO, run_channel


@numba.njit(nogil=True, cache=True, forceinline=True)
def burst_count(start: int, step: int, rows: int, size: int, burst: int) -> int:
    """Bursts that ``rows`` rows of ``size`` bytes touch."""
    total = 0
    for row in range(rows):
        low = start + row * step
        total += (low + size - 1) // burst - low // burst + 1
    return total


@numba.njit(nogil=True, cache=True, forceinline=True)
def fill_bursts(
    start: int, step: int, rows: int, size: int, burst: int, width: int, begin: int, ratio: NDArray[Any],
    offsets: NDArray[Any], arrivals: NDArray[Any],
) -> int:  # fmt: skip
    """Offsets of the bursts of a transfer and the clocks at which a bus of ``width`` bytes per cycle asks for them.

    Args:
        start, step, rows, size: the transfer's end in DRAM, in bytes from its start.
        burst: bytes of a burst.
        width: bytes of a beat on the bus; a row takes whole, aligned beats, one per cycle.
        begin: cycle of the first beat.
        ratio: memory clocks per cycle as numerator and denominator.
        offsets, arrivals: int64 [burst_count], filled.

    Returns:
        Beats.
    """
    beats, n = 0, 0
    for row in range(rows):
        low = start + row * step
        first_beat = low // width
        for number in range(low // burst, (low + size - 1) // burst + 1):
            offset = number * burst
            cycle = begin + beats + max(offset, low) // width - first_beat
            offsets[n] = offset
            arrivals[n] = (cycle * ratio[0] + ratio[1] - 1) // ratio[1]
            n += 1
        beats += (low + size - 1) // width - first_beat + 1
    return beats


@numba.njit(nogil=True, cache=True)
def run_all(
    offsets: NDArray[Any], arrivals: NDArray[Any], writes: NDArray[Any], done: NDArray[Any], shifts: NDArray[Any],
    p: NDArray[Any], first: NDArray[Any], entries: NDArray[Any], allowed: NDArray[Any], banks: NDArray[Any],
    ranks: NDArray[Any], record: NDArray[Any], until: int, log: NDArray[Any], logged: NDArray[Any],
) -> int:  # fmt: skip
    """Serve requests in all channels; arguments as in :func:`run_channel`, with a leading axis of channels.

    Args:
        offsets: int64 [n], bytes from the start of DRAM.
        shifts: int64 [7, 2], the address mapping.
        log: int64 [channels, m, 5].
        logged: int64 [channels], set to the commands issued.

    Returns:
        Latest of ``done``, 0 if there are no requests.
    """
    n, channels = offsets.shape[0], allowed.shape[0]
    channel_of = np.empty(n, np.int64)
    begin = np.zeros(channels + 1, np.int64)
    for k in range(n):
        c = offsets[k] >> shifts[0, 0] & (1 << shifts[0, 1]) - 1
        channel_of[k] = c
        begin[c + 1] += 1
    for c in range(channels):
        begin[c + 1] += begin[c]
    at = begin[:channels].copy()
    order = np.empty(n, np.int64)
    requests, end = np.zeros((n, REQUEST), np.int64), np.empty(n, np.int64)
    for k in range(n):
        place = at[channel_of[k]]
        at[channel_of[k]] += 1
        order[place] = k
        number = np.int64(0)
        for field in range(1, 5):
            number = (number << shifts[field, 1]) | (
                offsets[k] >> shifts[field, 0] & (1 << shifts[field, 1]) - 1
            )
        requests[place, ARRIVAL], requests[place, BANK], requests[place, WRITES] = (
            arrivals[k],
            number,
            writes[k],
        )
        requests[place, REQUESTED] = offsets[k] >> shifts[5, 0] & (1 << shifts[5, 1]) - 1
    latest = np.int64(0)
    for c in range(channels):
        a, b = begin[c], begin[c + 1]
        logged[c] = run_channel(
            p, first, entries, allowed[c], banks[c], ranks[c], record[c], requests[a:b], end[a:b], until, log[c]
        )  # fmt: skip
    for place in range(n):
        done[order[place]] = end[place]
        latest = max(latest, end[place])
    return int(latest)


@numba.njit(nogil=True, cache=True)
def run_range(
    start: int, step: int, rows: int, size: int, write: bool, begin: int, width: int, burst: int, limits: NDArray[Any],
    ratio: NDArray[Any], shifts: NDArray[Any], p: NDArray[Any], first: NDArray[Any], entries: NDArray[Any],
    allowed: NDArray[Any], banks: NDArray[Any], ranks: NDArray[Any], record: NDArray[Any], log: NDArray[Any],
    tally: NDArray[Any],
) -> tuple[int, int, int]:  # fmt: skip
    """Serve the bursts of one end of a transfer; arguments as in :func:`fill_bursts` and :func:`run_all`.

    Args:
        limits: int64 [2], bursts that are scheduled at a time, and at all: the time of the rest is in proportion, and
            its commands are not counted.
        tally: int64 [RECORD], raised by what the channels' records counted.

    Returns:
        Cycle after the first burst's data, cycle after the last data, beats.
    """
    for c in range(record.shape[0]):
        for k in range(record.shape[1]):
            tally[k] -= record[c, k]
    per_row = size // burst + 2
    modeled = min(rows, max(1, limits[1] // per_row))
    some = max(1, min(modeled, limits[0] // per_row))
    length = size if per_row <= limits[0] else limits[0] * burst // width * width
    logged = np.empty(record.shape[0], np.int64)
    earliest, latest, beats = np.int64(-1), np.int64(0), np.int64(0)
    for row in range(0, modeled, some):
        for at in range(0, size, length):
            low, lines, part = start + row * step + at, min(some, modeled - row), min(length, size - at)
            count = burst_count(low, step, lines, part, burst)
            offsets, arrivals = np.empty(count, np.int64), np.empty(count, np.int64)
            done, writes = np.empty(count, np.int64), np.empty(count, np.bool_)
            writes[:] = write
            asked = fill_bursts(low, step, lines, part, burst, width, begin + beats, ratio, offsets, arrivals)
            last = run_all(offsets, arrivals, writes, done, shifts, p, first, entries, allowed, banks, ranks, record,
                           ZERO, log, logged)  # fmt: skip
            if earliest < 0:
                earliest = (done[0] * ratio[1] + ratio[0] - 1) // ratio[0]
            latest = max(latest, (last * ratio[1] + ratio[0] - 1) // ratio[0])
            beats += asked
    for c in range(record.shape[0]):
        for k in range(record.shape[1]):
            tally[k] += record[c, k]
    if modeled < rows:
        latest = begin + ((latest - begin) * rows + modeled - 1) // modeled
        beats = (beats * rows + modeled - 1) // modeled
    return int(earliest), int(latest), int(beats)


# Words of a transfer that waits for its times.
QUEUED, BEATS, SIZE, ROWS, TALLY, SOURCE, TARGET = 0, 1, 2, 3, 4, 5, 8
END = 3  # words of an end: whether it lies in DRAM, bytes from DRAM's start, bytes from row to row
TRANSFER = TARGET + END


@numba.njit(nogil=True, cache=True)
def run_transfers(
    queue: NDArray[Any], clocks: NDArray[Any], costs: NDArray[Any], tallies: NDArray[Any], ends: NDArray[Any],
    width: int, burst: int, limits: NDArray[Any], ratio: NDArray[Any], shifts: NDArray[Any], p: NDArray[Any],
    first: NDArray[Any], entries: NDArray[Any], allowed: NDArray[Any], banks: NDArray[Any], ranks: NDArray[Any],
    record: NDArray[Any], log: NDArray[Any],
) -> None:  # fmt: skip
    """When transfers that run one after the other are complete; other arguments as in :func:`run_range`.

    The DMA asks for one beat per cycle, transfer after transfer. A copy inside DRAM writes from the cycle in which its
    first data arrive. The latency of a transfer overlaps the data of the one before it.

    Args:
        queue: int64 [n, TRANSFER].
        clocks: int64 [2], the cycle at which the last transfer is complete and that at which the DMA has asked DRAM
            for its last beat; updated.
        costs: int64 [3], cycles of set-up, of the way to DRAM, and of a transfer that moves nothing.
        tallies: int64 [m, RECORD], raised.
        ends: int64 [n], set.
    """
    for n in range(queue.shape[0]):
        ready, beats = queue[n, QUEUED] + costs[0], queue[n, BEATS]
        if beats == 0:
            last = ready + costs[2]
        else:
            begin = max(ready, clocks[1]) + costs[1]
            last = begin + beats
            for word in (SOURCE, TARGET):
                if queue[n, word] != 0:
                    earliest, latest, asked = run_range(
                        queue[n, word + 1], queue[n, word + 2], queue[n, ROWS], queue[n, SIZE], word == TARGET, begin,
                        width, burst, limits, ratio, shifts, p, first, entries, allowed, banks, ranks, record, log,
                        tallies[queue[n, TALLY]],
                    )  # fmt: skip
                    clocks[1] = begin + asked - costs[1]
                    begin, last = earliest, max(last, latest)
        clocks[0] = max(last, max(queue[n, QUEUED], clocks[0]) + beats)
        ends[n] = clocks[0]
