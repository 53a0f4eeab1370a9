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
from potluck.sim.dram.system import System
from potluck.sim.memory import Memory
from potluck.sim.state import HartState

LARGEST = 1 << 40  # bytes of one transfer, more than any memory


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


@dataclass
class Dma:
    """The transfer queue's end and what has gone through it."""

    machine: Machine
    memory: Memory
    dram: System | None = None
    end: int = 0  # cycle at which the last queued transfer completes
    asked: int = 0  # cycle at which the DMA has asked DRAM for the last beat
    bytes: dict[str, int] = field(default_factory=lambda: {"dram_read": 0, "dram_write": 0, "l1": 0})
    busy_cycles: int = 0
    keeps_transfers: bool = False
    transfers: list[Moved] = field(default_factory=list)
    moved: dict[int, tuple[int, int]] = field(default_factory=dict)  # by pc of the request: bytes, DRAM bytes
    tallies: dict[int, NDArray[np.int64]] = field(default_factory=dict)  # by pc: what the DRAM did for it
    _queued: int = 0
    _pending: deque[int] = field(
        default_factory=deque
    )  # when transfers that are not known to be complete end

    def transfer(self, state: HartState, fields: dict[str, int], pc: int) -> Transfer:
        """The transfer that the registers describe.

        Raises:
            TrapError: an end does not lie inside one memory, or there is more of it than :data:`LARGEST`.
        """
        size = int(state.x[fields["rs1"]])
        two_dimensional = bool(fields.get("imm", fields.get("uimm", 0)) & 2)
        rows = state["dma_repeat"] if two_dimensional else 1
        if size < 0 or size * rows > LARGEST:
            raise TrapError(f"DMA transfer of {rows} times {size} bytes", pc=pc)
        ends = []
        for name in ("dma_source", "dma_target"):
            start, step = state[name], _signed(state[f"{name}_stride"]) if rows > 1 else 0
            view, region = self._rows(start, step, rows, size, pc) if size and rows else (None, None)
            if (
                view is not None
                and name == "dma_target"
                and self.memory.protects(start + min(0, (rows - 1) * step))
            ):
                raise TrapError("DMA transfer into the program's text", pc=pc, address=start)
            ends.append(End(start, step, view, region))
        return Transfer(size, rows, *ends)

    def copy(self, transfer: Transfer, now: int, pc: int) -> int:
        """Queue a transfer, and move its bytes; returns its id."""
        size, rows, source, target = transfer
        end, beats = now + self.machine.dma.setup_cycles, 0
        if source.view is not None and target.view is not None:
            _move(transfer)
            beats = self._beats(transfer)
        if self.dram is None or not beats:
            end += self.machine.dram.latency_cycles + beats
        else:
            end = self._commands(
                self.dram, transfer, end, beats, self.tallies.setdefault(pc, self.dram.tally())
            )
        # The latency of a transfer overlaps the data of the one before it.
        self.end = max(end, max(now, self.end) + beats)
        self.busy_cycles += beats
        total, dram = self.moved.get(pc, (0, 0))
        ends = source.region, target.region
        self.moved[pc] = total + size * rows, dram + size * rows * ends.count("dram")
        if self.keeps_transfers:
            self.transfers.append(Moved(now, self.end - beats, self.end, pc, size * rows, *map(str, ends)))
        self._pending.append(self.end)
        self._queued += 1
        return self._queued

    def _rows(self, start: int, step: int, rows: int, size: int, pc: int) -> tuple[NDArray[np.uint8], str]:
        """The bytes of a two-dimensional transfer's end as an array [rows, size], and their memory.

        Raises:
            TrapError: they do not lie inside one memory.
        """
        low = min(start, start + (rows - 1) * step)
        extent = abs(step) * (rows - 1) + size
        region = self.memory.region(low, extent) if low >= 0 else None
        if region is None:
            raise TrapError("DMA transfer outside L1 and DRAM", pc=pc, address=start)
        flat = self.memory.view(low, extent)
        return np.ndarray((rows, size), np.uint8, flat, start - low, (step, 1)), region

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

    def _commands(
        self, dram: System, transfer: Transfer, ready: int, beats: int, tally: NDArray[np.int64]
    ) -> int:
        """The cycle at which the DRAM has done its part of a transfer that is set up at ``ready``.

        The DMA asks for one beat per cycle, transfer after transfer. A copy inside DRAM writes from the cycle in which
        its first data arrive.
        """
        base, width = self.machine.memory.dram_base, self.machine.dma.width_bits // 8
        path = self.machine.dram.path_cycles
        begin = max(ready, self.asked) + path
        last = begin + beats
        for end, write in ((transfer.source, False), (transfer.target, True)):
            if end.region == "dram":
                first, done, asked = dram.transfer(
                    end.start - base, end.step, transfer.rows, transfer.size, write, begin, width, tally
                )
                self.asked = begin + asked - path
                begin, last = first, max(last, done)
        return last

    def remaining(self, now: int) -> int:
        """Cycles until every queued transfer is complete."""
        return max(0, self.end - now)

    def status(self, fields: dict[str, int], now: int, timed: bool) -> int:
        """``dmstati``: 0 = id of the last completed transfer, 2 = busy."""
        while self._pending and (self._pending[0] <= now or not timed):
            self._pending.popleft()
        selector = fields.get("imm", fields.get("uimm", 0))
        return int(bool(self._pending)) if selector == 2 else self._queued - len(self._pending)


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
