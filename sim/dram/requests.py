"""Requests of all channels: from addresses to each channel's list, and a transfer's bursts; compiled.

Channels know nothing of each other. The cycles at which a DMA asks for bursts do not depend on when others arrive, but
for a copy inside DRAM; so each channel can serve a queue of transfers from its first to its last on its own, in any
order of channels or at the same time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.sim.cache import compiled
from potluck.sim.dram.clocks import (
    ARRIVAL,
    BANK,
    BANKS,
    ENGINE,
    QUEUE,
    REQUEST,
    REQUESTED,
    STATE,
    WRITES,
    ZERO,
)
from potluck.sim.dram.engine import RUN_CHANNEL
from potluck.sim.raw import through

# Words of a transfer that waits for its times.
QUEUED, BEATS, SIZE, ROWS, TALLY, SOURCE, TARGET = 0, 1, 2, 3, 4, 5, 8
END = 3  # words of an end: whether it lies in DRAM, bytes from DRAM's start, bytes from row to row
TRANSFER = TARGET + END
_run_channel = through(RUN_CHANNEL)


class DramArrays(NamedTuple):
    """The state of a :class:`potluck.sim.dram.system.System` for compiled code.

    Attributes:
        ratio: int64 [2], memory clocks per cycle, a fraction.
        shifts: int64 [7, 2], the address mapping.
        parameters, first, entries, delays: see :func:`potluck.sim.dram.engine.run_channel`.
        allowed, banks, ranks, record: the same, with a leading axis of channels.
        log: int64 [channels, 0, 5], for what is not logged.
        work: int64 [channels, words], see :func:`work_words`; overwritten.
    """

    ratio: NDArray[np.int64]
    shifts: NDArray[np.int64]
    parameters: NDArray[np.int64]
    first: NDArray[np.int32]
    entries: NDArray[np.int32]
    delays: NDArray[np.int64]
    allowed: NDArray[np.int64]
    banks: NDArray[np.int64]
    ranks: NDArray[np.int64]
    record: NDArray[np.int64]
    log: NDArray[np.int64]
    work: NDArray[np.int64]


NO_DRAM = DramArrays(
    *(
        np.zeros((0,) * axes, np.int32 if name in ("first", "entries") else np.int64)
        for name, axes in zip(DramArrays._fields, (1, 2, 1, 1, 2, 1, 2, 3, 3, 2, 3, 2), strict=True)
    )
)
"""Of a machine whose DRAM has no commands."""


def work_words(banks: int, queue: int, bursts: int) -> int:
    """Words that a channel needs to work: for its queue, and for ``bursts`` requests and when they are done."""
    return banks + 3 * queue + (REQUEST + 1) * (bursts + 2)


@numba.njit(nogil=True, inline="always")
def _field(offset: Any, which: Any, shifts: NDArray[Any]) -> Any:
    """A field of an offset's address: 0 the channel, 5 the row."""
    return offset >> shifts[which, 0] & (np.int64(1) << shifts[which, 1]) - 1


@numba.njit(nogil=True, inline="always")
def _bank(offset: Any, shifts: NDArray[Any]) -> Any:
    """The number of an offset's bank in its channel."""
    number = np.int64(0)
    for which in range(1, 5):
        number = number << shifts[which, 1] | _field(offset, which, shifts)
    return number


@numba.njit(nogil=True, cache=True)
def run_all(
    offsets: NDArray[Any], arrivals: NDArray[Any], writes: NDArray[Any], done: NDArray[Any], until: int,
    log: NDArray[Any], logged: NDArray[Any], dram: DramArrays,
) -> int:  # fmt: skip
    """Serve requests in all channels.

    Args:
        offsets: int64 [n], bytes from the start of DRAM.
        arrivals, writes, done, until: see :func:`potluck.sim.dram.engine.run_channel`.
        log: int64 [channels, m, 5].
        logged: int64 [channels], set to the commands issued.

    Returns:
        Latest of ``done``, 0 if there are no requests.
    """
    n, channels, shifts = offsets.shape[0], dram.allowed.shape[0], dram.shifts
    channel_of = np.empty(n, np.int64)
    begin = np.zeros(channels + 1, np.int64)
    for k in range(n):
        c = _field(offsets[k], 0, shifts)
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
        requests[place, ARRIVAL], requests[place, BANK] = arrivals[k], _bank(offsets[k], shifts)
        requests[place, WRITES], requests[place, REQUESTED] = writes[k], _field(offsets[k], 5, shifts)
    latest = np.int64(0)
    for c in range(channels):
        a, b = begin[c], begin[c + 1]
        logged[c] = _run_channel(
            dram.parameters[ENGINE],
            (
                dram.parameters, dram.first, dram.entries, dram.delays, dram.allowed[c], dram.banks[c], dram.ranks[c],
                dram.record[c], requests[a:b], end[a:b], until, log[c], dram.work[c],
            ),
        )  # fmt: skip
    for place in range(n):
        done[order[place]] = end[place]
        latest = max(latest, end[place])
    return int(latest)


@compiled
def _pieces(rows: Any, size: Any, burst: Any, width: Any, limits: NDArray[Any]) -> tuple[Any, Any, Any]:
    """How a range is scheduled: rows that are modeled at all, rows and bytes of a row at a time."""
    per_row = size // burst + 2
    modeled = min(rows, max(1, limits[1] // per_row))
    some = max(1, min(modeled, limits[0] // per_row))
    return modeled, some, size if per_row <= limits[0] else limits[0] * burst // width * width


@compiled
def range_beats(
    start: int, step: int, rows: int, size: int, width: int, burst: int, limits: NDArray[Any]
) -> int:
    """Beats of a range: of each row (or piece of one, see :func:`_pieces`) whole, aligned ones."""
    modeled, _, length = _pieces(rows, size, burst, width, limits)
    beats = np.int64(0)
    for row in range(modeled):
        for at in range(0, size, length):
            low = start + row * step + at
            beats += (low + min(length, size - at) - 1) // width - low // width + 1
    return int((beats * rows + modeled - 1) // modeled) if modeled < rows else int(beats)


@compiled
def _fill(
    channel: int, start: int, step: int, rows: int, size: int, write: bool, begin: Any, burst: int, width: int,
    ratio: NDArray[Any], shifts: NDArray[Any], requests: NDArray[Any],
) -> tuple[Any, Any]:  # fmt: skip
    """A channel's requests of a range: the bursts in it, and the clocks at which a bus asks for them.

    Args:
        begin: cycle of the first beat; the bus asks for a beat per cycle.
        requests: int64 [n, REQUEST], filled from the first on.

    Returns:
        Requests, and beats of all channels.
    """
    block, channels = shifts[0, 0], np.int64(1) << shifts[0, 1]
    skip = channels - 1 << block  # bytes of the other channels between two pieces of this one
    places = (shifts[1, 0], shifts[2, 0], shifts[3, 0], shifts[4, 0], shifts[5, 0])
    widths = (shifts[1, 1], shifts[2, 1], shifts[3, 1], shifts[4, 1], shifts[5, 1])
    whole, part, unit = ratio[0] // ratio[1], ratio[0] % ratio[1], ratio[1]
    cycle, n = begin, 0
    for row in range(rows):
        low = start + row * step
        end, beat = low + size, low // width
        offset = low // burst * burst
        number = offset >> block  # of the pieces that lie in one channel each
        other = (channel - number) & (channels - 1)
        if other > 0:
            offset = (number + other) << block
        piece_end = ((number + other + 1) << block) if channels > 1 else end
        beat_end, now, clock, over = np.int64(-1), np.int64(-1), np.int64(0), np.int64(0)
        while offset < end:
            if offset >= beat_end:
                if offset < beat_end + width and now >= 0:  # the next beat
                    clock += whole
                    over += part
                    if over >= unit:
                        over -= unit
                        clock += 1
                    beat_end += width
                else:
                    now = np.int64(max(offset, low) // width)
                    beat_end = (now + 1) * width
                    scaled = (cycle + now - beat) * ratio[0] + unit - 1
                    clock, over = scaled // unit, scaled % unit
            at = np.uint64(n)
            bank = offset >> places[0] & (np.int64(1) << widths[0]) - 1
            bank = bank << widths[1] | offset >> places[1] & (np.int64(1) << widths[1]) - 1
            bank = bank << widths[2] | offset >> places[2] & (np.int64(1) << widths[2]) - 1
            bank = bank << widths[3] | offset >> places[3] & (np.int64(1) << widths[3]) - 1
            requests[at, ARRIVAL], requests[at, BANK], requests[at, WRITES] = clock, bank, write
            requests[at, REQUESTED] = offset >> places[4] & (np.int64(1) << widths[4]) - 1
            requests[at, STATE] = 0
            n += 1
            offset += burst
            if offset >= piece_end:
                offset += skip
                piece_end = offset + (np.int64(1) << block)
        cycle += (end - 1) // width - beat + 1
    return n, cycle - begin


@compiled
def serve_range(
    channel: int, start: int, step: int, rows: int, size: int, write: bool, begin: int, width: int, burst: int,
    limits: NDArray[Any], tally: NDArray[Any], dram: DramArrays,
) -> tuple[int, int]:  # fmt: skip
    """Serve the bursts of one end of a transfer that lie in a channel.

    Args:
        channel: its number.
        start, step, rows, size: the end, in bytes from the start of DRAM.
        write: direction.
        begin: cycle of the transfer's first beat; ``width`` bytes are asked for per cycle.
        limits: int64 [2], bursts that are scheduled at a time, and at all: the time of the rest is in proportion, and
            its commands are not counted.
        tally: int64 [RECORD], raised by what the channel's record counted.

    Returns:
        Cycle after the data of the range's first burst (-1: it lies in another channel), cycle after the last data.
    """
    p, ratio, shifts, counts, work = (
        dram.parameters,
        dram.ratio,
        dram.shifts,
        dram.record[channel],
        dram.work[channel],
    )
    for k in range(counts.shape[0]):
        tally[k] -= counts[k]
    modeled, some, length = _pieces(rows, size, burst, width, limits)
    earliest, latest, asked = np.int64(-1), np.int64(0), np.int64(0)
    mine = (start // burst * burst >> shifts[0, 0]) & ((np.int64(1) << shifts[0, 1]) - 1) == channel
    most = some * (min(length, size) // burst + 2)
    held = p[BANKS] + 3 * p[QUEUE]  # words of the queue
    requests = work[held : held + most * REQUEST].reshape(most, REQUEST)
    done = work[held + most * REQUEST : held + most * (REQUEST + 1)]
    for row in range(0, modeled, some):
        for at in range(0, size, length):
            count, beats = _fill(
                channel, start + row * step + at, step, min(some, modeled - row), min(length, size - at), write,
                begin + asked, burst, width, ratio, shifts, requests,
            )  # fmt: skip
            asked += beats
            if count == 0:
                continue
            _run_channel(
                p[ENGINE],
                (
                    p, dram.first, dram.entries, dram.delays, dram.allowed[channel], dram.banks[channel],
                    dram.ranks[channel], counts, requests[:count], done[:count], ZERO, dram.log[channel], work,
                ),
            )  # fmt: skip
            if mine and earliest < 0:
                earliest = (done[0] * ratio[1] + ratio[0] - 1) // ratio[0]
            last = done[0]
            for k in range(1, count):
                last = max(last, done[k])
            latest = max(latest, (last * ratio[1] + ratio[0] - 1) // ratio[0])
    for k in range(counts.shape[0]):
        tally[k] += counts[k]
    if modeled < rows and latest > 0:
        latest = begin + ((latest - begin) * rows + modeled - 1) // modeled
    return int(earliest), int(latest)


@numba.njit(nogil=True, inline="always")
def plan_transfers(
    queue: NDArray[Any], at: int, count: int, clocks: NDArray[Any], costs: NDArray[Any], width: int, burst: int,
    limits: NDArray[Any], begins: NDArray[Any],
) -> int:  # fmt: skip
    """When the DMA begins to ask for the data of transfers that run one after the other.

    The DMA asks for one beat per cycle, transfer after transfer.

    Args:
        queue: int64 [n, TRANSFER].
        at, count: the transfers: from ``at`` on, at most up to ``count``.
        clocks: int64 [2], the cycle at which the last transfer is complete and that at which the DMA has asked DRAM
            for its last beat; the second is updated.
        costs: int64 [3], cycles of set-up, of the way to DRAM, and of a transfer that moves nothing.
        begins: int64 [n], set to the cycles at which the first requests reach the controllers.

    Returns:
        Where the next plan begins: after the first of them if that is a copy inside DRAM, before the next such copy,
        or ``count``.
    """
    n = at
    while n < count:
        copies = queue[n, SOURCE] != 0 and queue[n, TARGET] != 0
        if copies and n > at:
            return n
        begins[n] = max(queue[n, QUEUED] + costs[0], clocks[1]) + costs[1]
        if queue[n, BEATS] != 0 and not copies:
            for word in (SOURCE, TARGET):
                if queue[n, word] != 0:
                    asked = range_beats(
                        queue[n, word + 1],
                        queue[n, word + 2],
                        queue[n, ROWS],
                        queue[n, SIZE],
                        width,
                        burst,
                        limits,
                    )
                    clocks[1] = begins[n] + asked - costs[1]
        n += 1
        if copies:
            return n
    return n


@numba.njit(nogil=True, inline="always")
def serve_transfers(
    channel: int, at: int, end: int, queue: NDArray[Any], begins: NDArray[Any], served: NDArray[Any],
    tallies: NDArray[Any], width: int, burst: int, limits: NDArray[Any], dram: DramArrays,
) -> None:  # fmt: skip
    """A channel's part of planned transfers, ``queue[at:end]``, none of which copies inside DRAM.

    Args:
        served: int64 [channels, n], set to the cycle after the last data.
        tallies: int64 [channels, m, RECORD], raised.
    """
    for n in range(at, end):
        served[channel, n] = 0
        for word in (SOURCE, TARGET):
            if queue[n, BEATS] != 0 and queue[n, word] != 0:
                _, served[channel, n] = serve_range(
                    channel, queue[n, word + 1], queue[n, word + 2], queue[n, ROWS], queue[n, SIZE], word == TARGET,
                    begins[n], width, burst, limits, tallies[channel, queue[n, TALLY]], dram,
                )  # fmt: skip


@numba.njit(nogil=True, inline="always")
def serve_copy(
    n: int, queue: NDArray[Any], begins: NDArray[Any], served: NDArray[Any], tallies: NDArray[Any],
    clocks: NDArray[Any], costs: NDArray[Any], width: int, burst: int, limits: NDArray[Any], dram: DramArrays,
) -> None:  # fmt: skip
    """All of a planned copy inside DRAM, which writes from the cycle in which its first data arrive."""
    channels, begin = dram.record.shape[0], begins[n]
    for channel in range(channels):
        served[channel, n] = 0
    for word in (SOURCE, TARGET):
        start, step, rows, size = queue[n, word + 1], queue[n, word + 2], queue[n, ROWS], queue[n, SIZE]
        first_data = begin
        for channel in range(channels):
            earliest, latest = serve_range(
                channel, start, step, rows, size, word == TARGET, begin, width, burst, limits,
                tallies[channel, queue[n, TALLY]], dram,
            )  # fmt: skip
            served[channel, n] = max(served[channel, n], latest)
            first_data = max(first_data, earliest)
        clocks[1] = begin + range_beats(start, step, rows, size, width, burst, limits) - costs[1]
        begin = first_data


@numba.njit(nogil=True, inline="always")
def finish_transfers(
    at: int, end: int, queue: NDArray[Any], begins: NDArray[Any], served: NDArray[Any], clocks: NDArray[Any],
    costs: NDArray[Any], ends: NDArray[Any],
) -> None:  # fmt: skip
    """When transfers that all channels have served are complete, in ``ends``; ``clocks[0]`` is updated.

    The latency of a transfer overlaps the data of the one before it.
    """
    for n in range(at, end):
        beats = queue[n, BEATS]
        if beats == 0:
            last = queue[n, QUEUED] + costs[0] + costs[2]
        else:
            last = begins[n] + beats
            for channel in range(served.shape[0]):
                last = max(last, served[channel, n])
        clocks[0] = max(last, max(queue[n, QUEUED], clocks[0]) + beats)
        ends[n] = clocks[0]
