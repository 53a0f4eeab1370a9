"""Requests of all channels: from addresses to each channel's list, and a transfer's bursts; compiled."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.sim.dram.engine import ARRIVAL, BANK, REQUEST, REQUESTED, WRITES, run_channel


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
def run_transfer(
    start: int, step: int, rows: int, size: int, write: bool, begin: int, width: int, burst: int,
    ratio: NDArray[Any], shifts: NDArray[Any], p: NDArray[Any], first: NDArray[Any], entries: NDArray[Any],
    allowed: NDArray[Any], banks: NDArray[Any], ranks: NDArray[Any], record: NDArray[Any], log: NDArray[Any],
    tally: NDArray[Any],
) -> tuple[int, int, int]:  # fmt: skip
    """Serve the bursts of a transfer; arguments as in :func:`fill_bursts` and :func:`run_all`.

    Args:
        tally: int64 [RECORD], raised by what the channels' records counted.

    Returns:
        Clock after the first burst's data, clock after the last data, beats.
    """
    count = burst_count(start, step, rows, size, burst)
    offsets, arrivals, done = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    writes = np.empty(count, np.bool_)
    writes[:] = write
    beats = fill_bursts(start, step, rows, size, burst, width, begin, ratio, offsets, arrivals)
    for c in range(record.shape[0]):
        for k in range(record.shape[1]):
            tally[k] -= record[c, k]
    logged = np.empty(record.shape[0], np.int64)
    latest = run_all(offsets, arrivals, writes, done, shifts, p, first, entries, allowed, banks, ranks, record, 0,
                     log, logged)  # fmt: skip
    for c in range(record.shape[0]):
        for k in range(record.shape[1]):
            tally[k] += record[c, k]
    return int(done[0]), latest, beats
