"""The cluster's DMA: bytes move when a transfer is queued, time passes as its bus and the DRAM's commands say.

A program that touches a buffer of a transfer in flight is wrong on hardware, too; moving the bytes at once keeps the
result independent of timing. Transfers run one after the other.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import TrapError
from potluck.isa.machine import Machine
from potluck.sim.dram.requests import BEATS, QUEUED
from potluck.sim.dram.system import System
from potluck.sim.memory import Memory
from potluck.sim.state import HartState

LARGEST = 1 << 40  # bytes of one transfer, more than any memory
MOST = 4096  # transfers whose times are left open, for the host's memory


class End(NamedTuple):
    """One end of a transfer: address, bytes from a row to the next, and the bytes [rows, size] (None if there are
    none) with the memory that they lie in."""

    start: int
    step: int
    view: NDArray[np.uint8] | None
    region: str | None


class Transfer(NamedTuple):
    """Rows of ``size`` bytes from one place to another."""

    size: int
    rows: int
    source: End
    target: End


@dataclass(frozen=True, slots=True)
class Moved:
    """One transfer of a traced run: the cycle it was queued at, those of its data on the bus, and what it moved.

    ``source`` and ``target`` are ``l1`` or ``dram``.
    """

    queued: int
    begin: int
    end: int
    pc: int
    bytes: int
    source: str
    target: str


class Queue(NamedTuple):
    """Transfers whose times are not known: as `run_transfers` wants them, number of the tally by pc, and what a trace
    wants to know of each: pc, bytes, source, target."""

    rows: list[tuple[int, ...]]
    tallies: dict[int, int]
    notes: list[tuple[int, int, str, str]]


@dataclass
class Dma:
    """The transfer queue and what has gone through it.

    Transfers' times are worked out when somebody asks for one, all that are queued together.
    """

    machine: Machine
    memory: Memory
    dram: System | None = None
    bytes: dict[str, int] = field(default_factory=lambda: {"dram_read": 0, "dram_write": 0, "l1": 0})
    busy_cycles: int = 0
    keeps_transfers: bool = False
    transfers: list[Moved] = field(default_factory=list)
    moved: dict[int, tuple[int, int]] = field(default_factory=dict)  # by pc of the request: bytes, DRAM bytes
    tallies: dict[int, NDArray[np.int64]] = field(default_factory=dict)  # by pc: what the DRAM did for it
    _count: int = 0
    _queue: Queue = field(default_factory=lambda: Queue([], {}, []))
    _clocks: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))
    _pending: deque[int] = field(
        default_factory=deque
    )  # when transfers that are not known to be complete end

    def transfer(self, state: HartState, fields: dict[str, int], pc: int) -> Transfer:
        """The transfer that the registers describe.

        Raises:
            TrapError: an end does not lie inside one memory, or there is more of it than :data:`LARGEST`.
        """
        size = state.x.item(fields["rs1"])
        *starts, source_step, target_step, repeat = state.dma_registers()
        rows = repeat if fields.get("imm", fields.get("uimm", 0)) & 2 else 1
        if size < 0 or size * rows > LARGEST:
            raise TrapError(f"DMA transfer of {rows} times {size} bytes", pc=pc)
        ends = []
        for start, stride in zip(starts, (source_step, target_step), strict=True):
            step = _signed(stride) if rows > 1 else 0
            view, region = self._rows(start, step, rows, size, pc) if size and rows else (None, None)
            ends.append(End(start, step, view, region))
        target = ends[1]
        if target.view is not None and self.memory.protects(target.start + min(0, (rows - 1) * target.step)):
            raise TrapError("DMA transfer into the program's text", pc=pc, address=target.start)
        return Transfer(size, rows, *ends)

    def copy(self, transfer: Transfer, now: int, pc: int) -> int:
        """Queue a transfer, and move its bytes; returns its id."""
        size, rows, source, target = transfer
        beats = 0
        if source.view is not None and target.view is not None:
            _move(transfer)
            beats = self._beats(transfer)
        self.busy_cycles += beats
        total, dram = self.moved.get(pc, (0, 0))
        far = source.region == "dram", target.region == "dram"
        self.moved[pc] = total + size * rows, dram + size * rows * sum(far)
        queue, base = self._queue, self.machine.memory.dram_base
        queue.rows.append(
            (
                now, beats, size, rows, queue.tallies.setdefault(pc, len(queue.tallies)),
                far[0], source.start - base, source.step, far[1], target.start - base, target.step,
            )
        )  # fmt: skip
        if self.keeps_transfers:
            queue.notes.append((pc, size * rows, str(source.region), str(target.region)))
        self._count += 1
        if len(queue.rows) == MOST:
            self.settle()
        return self._count

    def settle(self) -> None:
        """Find out the times of everything that is queued."""
        queue, self._queue = self._queue, Queue([], {}, [])
        if not queue.rows:
            return
        ends, tallies = self._times(queue)
        self._pending.extend(ends)
        for pc, number in queue.tallies.items():
            self.tallies[pc] = self.tallies.get(pc, 0) + tallies[number]
        for row, end, (pc, count, *regions) in zip(queue.rows, ends, queue.notes, strict=False):
            self.transfers.append(Moved(row[QUEUED], end - row[BEATS], end, pc, count, *regions))

    def _times(self, queue: Queue) -> tuple[list[int], NDArray[np.int64]]:
        """Cycles at which transfers end, and tallies."""
        rows, keys = np.array(queue.rows, np.int64), self.machine
        tallies = np.zeros((len(queue.tallies), System.tally().size), np.int64)
        costs = np.array([keys.dma.setup_cycles, keys.dram.path_cycles, keys.dram.latency_cycles], np.int64)
        if self.dram is not None:
            found = self.dram.transfers(rows, self._clocks, costs, tallies, keys.dma.width_bits // 8)
            return found.tolist(), tallies
        ends: list[int] = []
        for now, beats in rows[:, :2].tolist():
            last = now + keys.dma.setup_cycles + keys.dram.latency_cycles + beats
            # The latency of a transfer overlaps the data of the one before it.
            self._clocks[0] = max(last, max(now, int(self._clocks[0])) + beats)
            ends.append(int(self._clocks[0]))
        return ends, tallies

    def _rows(self, start: int, step: int, rows: int, size: int, pc: int) -> tuple[NDArray[np.uint8], str]:
        """The bytes of a two-dimensional transfer's end as an array [rows, size], and their memory.

        Raises:
            TrapError: they do not lie inside one memory.
        """
        low = min(start, start + (rows - 1) * step)
        extent = abs(step) * (rows - 1) + size
        found = self.memory.find(low, extent) if low >= 0 else None
        if found is None:
            raise TrapError("DMA transfer outside L1 and DRAM", pc=pc, address=start)
        region, flat, at = found
        return np.ndarray((rows, size), np.uint8, flat, at + start - low, (step, 1)), region

    def _beats(self, transfer: Transfer) -> int:
        """Cycles on the bus: whole beats of each row, or the rate of ``simple`` DRAM if that is slower."""
        size, rows, source, target = transfer
        width = self.machine.dma.width_bits // 8
        rate = float(width)
        for end, direction in ((source, "dram_read"), (target, "dram_write")):
            if end.region == "dram":
                self.bytes[direction] += size * rows
                if self.dram is None:
                    rate = min(rate, self.machine.dram.bytes_per_cycle)
            else:
                self.bytes["l1"] += size * rows
        # Where rows begin within a beat repeats after at most `width` rows.
        some = min(rows, width if source.step % width else 1)
        least = int(-(-size // rate))
        beats = [
            max(-(-((source.start + row * source.step) % width + size) // width), least)
            for row in range(some)
        ]
        whole, rest = divmod(rows, some)
        return whole * sum(beats) + sum(beats[:rest])

    def remaining(self, now: int) -> int:
        """Cycles until every queued transfer is complete."""
        self.settle()
        return max(0, int(self._clocks[0]) - now)

    def status(self, fields: dict[str, int], now: int, timed: bool) -> int:
        """``dmstati``: 0 = id of the last completed transfer, 2 = busy."""
        self.settle()
        while self._pending and (self._pending[0] <= now or not timed):
            self._pending.popleft()
        selector = fields.get("imm", fields.get("uimm", 0))
        return int(bool(self._pending)) if selector == 2 else self._count - len(self._pending)


def _move(transfer: Transfer) -> None:
    """What is read is what was there before; where rows overlap in the target the later one wins."""
    size, rows, source, target = transfer
    assert source.view is not None and target.view is not None
    if not target.step and rows > 1:
        target.view[-1] = source.view[-1].copy()
    elif abs(target.step) >= size or rows == 1:
        target.view[:] = source.view.copy() if source.step else source.view[:1].copy()
    else:  # of every row that which the next one leaves, and all of the last: no more than lies in the target
        kept = abs(target.step)
        part = slice(0, kept) if target.step > 0 else slice(size - kept, size)
        left, last = source.view[:-1, part].copy(), source.view[-1].copy()
        target.view[:-1, part] = left
        target.view[-1] = last


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
