"""Transfers of the DMA in compiled code: describe one from the registers, move its bytes, queue it, time the queue.

What is out of the ordinary (an end outside memory, rows that overlap, no bytes) is left to
:class:`potluck.sim.dma.Dma`, untouched: functions say whether they have done their work.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.sim.cache import compiled
from potluck.sim.dram.requests import (
    BEATS,
    QUEUED,
    ROWS,
    SIZE,
    SOURCE,
    TALLY,
    TARGET,
    DramArrays,
    finish_transfers,
    plan_transfers,
    serve_copy,
    serve_transfers,
)
from potluck.sim.raw import copy_bytes, peek
from potluck.sim.state import WORD
from potluck.sim.tasks import HELPERS, finish, post, take

# Words of the DMA's record. The ends of transfers that are not known to be complete are ``ends[HEAD:TAIL]``.
COUNT, WAITING, HEAD, TAIL, BUSY, READ, WRITTEN, IN_L1 = range(8)
RECORD = 8
# Words of what is fixed: the bus in bytes, cycles of set-up, path and latency, memories, and what is write-protected.
WIDTH, SETUP, PATH, LATENCY, L1_BASE, L1_BYTES, L1_HOST, DRAM_BASE, DRAM_BYTES, DRAM_HOST, WRITABLE, BURST, MODELED, \
    PIECE, MODELED_IN_ALL, WRITABLE_END = range(16)  # fmt: skip
FIXED = 16
MOVED, MOVED_DRAM = 0, 1  # columns of ``moved``
CHANNEL, HART = np.int64(0), np.int64(1)  # kinds of tasks
WORTH = 4096  # bytes of DRAM that are worth a second thread
_SOURCE, _TARGET = WORD["dma_source"], WORD["dma_target"]
_SOURCE_STRIDE, _TARGET_STRIDE = WORD["dma_source_stride"], WORD["dma_target_stride"]
_REPEAT = WORD["dma_repeat"]


class DmaArrays(NamedTuple):
    """The state of the DMA, and of the DRAM behind it.

    Attributes:
        record: int64 [RECORD].
        fixed: int64 [FIXED].
        rate: float64 [1], bytes of DRAM per cycle if it has no commands.
        queue: int64 [most, TRANSFER], transfers whose times are not known.
        ends: int64 [n], cycles.
        clocks: int64 [2], see :func:`plan_transfers`.
        begins, served: int64 [most] and [channels, most], see :func:`plan_transfers` and :func:`serve_transfers`.
        moved: int64 [requests, 2], bytes and bytes of DRAM by request.
        tallies: int64 [channels, requests, engine.RECORD], what the DRAM did.
        board: int64 [BOARD], tasks for a second thread.
        dram: of :class:`potluck.sim.dram.system.System`, or `NO_DRAM`.
    """

    record: NDArray[np.int64]
    fixed: NDArray[np.int64]
    rate: NDArray[np.float64]
    queue: NDArray[np.int64]
    ends: NDArray[np.int64]
    clocks: NDArray[np.int64]
    begins: NDArray[np.int64]
    served: NDArray[np.int64]
    moved: NDArray[np.int64]
    tallies: NDArray[np.int64]
    board: NDArray[np.int64]
    dram: DramArrays


@numba.njit(nogil=True, inline="always")
def beats_of(size: Any, rows: Any, source: Any, step: Any, width: Any, rate: Any) -> Any:
    """Cycles on the bus: whole beats of each row, or ``rate`` bytes per cycle if that is slower.

    Where rows begin within a beat repeats after at most ``width`` rows.
    """
    some = min(rows, width if step % width != 0 else 1)
    least = np.int64(-(-size // rate))
    whole, rest = rows // some, rows % some
    total = np.int64(0)
    for row in range(some):
        beats = max(-(-((source + row * step) % width + size) // width), least)
        total += beats * (whole + (1 if row < rest else 0))
    return total


@compiled
def _host(start: Any, step: Any, rows: Any, size: Any, fixed: NDArray[Any]) -> Any:
    """Host address of an end's first row, and whether it is in DRAM; address 0 if not all of it is in one memory."""
    low = start + min(np.int64(0), (rows - 1) * step)
    end = start + max(np.int64(0), (rows - 1) * step) + size
    if fixed[L1_BASE] <= low and end <= fixed[L1_BASE] + fixed[L1_BYTES]:
        return fixed[L1_HOST] + start - fixed[L1_BASE], False
    if fixed[DRAM_BASE] <= low and end <= fixed[DRAM_BASE] + fixed[DRAM_BYTES]:
        return fixed[DRAM_HOST] + start - fixed[DRAM_BASE], True
    return np.int64(0), False


@compiled
def queue_copy(hart: int, size: int, two_dimensional: bool, request: int, dma: DmaArrays) -> bool:
    """Move the bytes of the transfer that a hart's registers describe, and queue it; its cycle is still to be set.

    Args:
        hart: address of the hart's state.
        size: bytes of a row.
        two_dimensional: whether there are rows.
        request: its place in ``moved``.
        dma: where to queue.

    Returns:
        False if this takes :class:`Dma`; nothing has been done then.
    """
    record, fixed = dma.record, dma.fixed
    rows = np.int64(peek(np.uint64(hart + _REPEAT))) if two_dimensional else np.int64(1)
    source, target = np.int64(peek(np.uint64(hart + _SOURCE))), np.int64(peek(np.uint64(hart + _TARGET)))
    step_in, step_out = np.int64(0), np.int64(0)
    if rows > 1:
        step_in = np.int64(peek(np.uint64(hart + _SOURCE_STRIDE)))
        step_out = np.int64(peek(np.uint64(hart + _TARGET_STRIDE)))
    most = (
        fixed[L1_BYTES] + fixed[DRAM_BYTES]
    )  # neither rows nor steps in memory are more, so products stay in range
    if not (0 < size <= most and 0 < rows <= most and -most <= step_in <= most and -most <= step_out <= most):
        return False
    if (rows > 1 and abs(step_out) < size) or request >= dma.moved.shape[0]:
        return False
    if rows * size > most or source < 0 or target < 0 or record[WAITING] + 1 >= dma.queue.shape[0]:
        return False
    here, far_in = _host(source, step_in, rows, size, fixed)
    there, far_out = _host(target, step_out, rows, size, fixed)
    low_in, low_out = min(np.int64(0), (rows - 1) * step_in), min(np.int64(0), (rows - 1) * step_out)
    long_in, long_out = abs(step_in) * (rows - 1) + size, abs(step_out) * (rows - 1) + size
    if here == 0 or there == 0:
        return False
    if far_out and (target + low_out < fixed[WRITABLE] or target + low_out + long_out > fixed[WRITABLE_END]):
        return False
    if here + low_in < there + low_out + long_out and there + low_out < here + low_in + long_in:
        return False
    for row in range(rows):
        copy_bytes(np.uint64(there + row * step_out), np.uint64(here + row * step_in), np.uint64(size))
    rate = np.float64(fixed[WIDTH])
    if (far_in or far_out) and fixed[MODELED] == 0:
        rate = min(rate, dma.rate[0])
    enter(size, rows, source, step_in, far_in, target, step_out, far_out, rate, np.int64(0), request, dma)
    return True


@numba.njit(nogil=True, inline="always")
def enter(
    size: int, rows: int, source: int, step_in: int, far_in: bool, target: int, step_out: int, far_out: bool,
    rate: float, now: int, request: int, dma: DmaArrays,
) -> None:  # fmt: skip
    """Queue a transfer whose bytes have been moved, and count it; ``far_in`` and ``far_out``: ends in DRAM."""
    record, fixed = dma.record, dma.fixed
    count = size * rows
    beats = np.int64(0)
    if count > 0:
        beats = beats_of(size, rows, source, step_in, fixed[WIDTH], rate)
        record[READ if far_in else IN_L1] += count
        record[WRITTEN if far_out else IN_L1] += count
    record[BUSY] += beats
    dma.moved[request, MOVED] += count
    dma.moved[request, MOVED_DRAM] += count * (np.int64(far_in) + np.int64(far_out))
    line = dma.queue[record[WAITING]]
    line[QUEUED], line[BEATS], line[SIZE], line[ROWS], line[TALLY] = now, beats, size, rows, request
    line[SOURCE], line[SOURCE + 1], line[SOURCE + 2] = far_in, source - fixed[DRAM_BASE], step_in
    line[TARGET], line[TARGET + 1], line[TARGET + 2] = far_out, target - fixed[DRAM_BASE], step_out
    record[WAITING] += 1
    record[COUNT] += 1


@numba.njit(nogil=True, inline="always")
def serve_channel(channel: int, at: int, end: int, dma: DmaArrays) -> None:
    """A channel's part of planned transfers."""
    fixed = dma.fixed
    serve_transfers(
        channel, at, end, dma.queue, dma.begins, dma.served, dma.tallies, fixed[WIDTH], fixed[BURST],
        fixed[PIECE : PIECE + 2], dma.dram,
    )  # fmt: skip


@numba.njit(nogil=True, inline="always")
def _serve(at: int, end: int, dma: DmaArrays) -> None:
    """All channels' parts of planned transfers, on two threads if there is much to do."""
    channels, size = dma.served.shape[0], np.int64(0)
    for n in range(at, end):
        size += dma.queue[n, SIZE] * dma.queue[n, ROWS]
    if dma.board[HELPERS] == 0 or size < WORTH:
        for channel in range(channels):
            serve_channel(channel, at, end, dma)
        return
    post(dma.board, CHANNEL, at, end, channels)
    channel = take(dma.board)
    while channel >= 0:
        serve_channel(channel, at, end, dma)
        channel = take(dma.board)
    finish(dma.board)


@compiled
def settle(dma: DmaArrays) -> bool:
    """Find out when everything that is queued is complete; False if there is no room to note that."""
    record, fixed, ends, clocks = dma.record, dma.fixed, dma.ends, dma.clocks
    n = record[WAITING]
    if n == 0:
        return True
    if record[TAIL] + n > ends.shape[0]:
        kept = record[TAIL] - record[HEAD]
        for k in range(kept):
            ends[k] = ends[record[HEAD] + k]
        record[HEAD], record[TAIL] = 0, kept
        if kept + n > ends.shape[0]:
            return False
    place = ends[record[TAIL] : record[TAIL] + n]
    if fixed[MODELED] != 0:
        costs = fixed[SETUP : LATENCY + 1]
        limits = fixed[PIECE : PIECE + 2]
        at = np.int64(0)
        while at < n:
            end = plan_transfers(
                dma.queue, at, n, clocks, costs, fixed[WIDTH], fixed[BURST], limits, dma.begins
            )  # fmt: skip
            if dma.queue[at, SOURCE] != 0 and dma.queue[at, TARGET] != 0:
                serve_copy(
                    at, dma.queue, dma.begins, dma.served, dma.tallies, clocks, costs, fixed[WIDTH], fixed[BURST],
                    limits, dma.dram,
                )  # fmt: skip
            else:
                _serve(at, end, dma)
            finish_transfers(at, end, dma.queue, dma.begins, dma.served, clocks, costs, place)
            at = end
    else:
        for k in range(n):
            now, beats = dma.queue[k, QUEUED], dma.queue[k, BEATS]
            last = now + fixed[SETUP] + fixed[LATENCY] + beats
            # The latency of a transfer overlaps the data of the one before it.
            clocks[0] = max(last, max(now, clocks[0]) + beats)
            place[k] = clocks[0]
    record[TAIL] += n
    record[WAITING] = 0
    return True


@compiled
def forget(now: int, everything: int, dma: DmaArrays) -> int:
    """How many transfers are not complete at a cycle; what is complete is forgotten."""
    record, ends = dma.record, dma.ends
    while record[HEAD] < record[TAIL] and (everything != 0 or ends[record[HEAD]] <= now):
        record[HEAD] += 1
    return int(record[TAIL] - record[HEAD])
