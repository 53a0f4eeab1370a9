"""The cluster's DMA: bytes move when a transfer is queued, time passes as its bus and the DRAM's commands say.

A program that touches a buffer of a transfer in flight is wrong on hardware, too; moving the bytes at once keeps the
result independent of timing. Transfers run one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import TrapError
from potluck.isa.machine import Machine
from potluck.sim.dram.requests import BEATS, NO_DRAM, QUEUED, ROWS, SIZE, SOURCE, TARGET, TRANSFER
from potluck.sim.dram.system import System
from potluck.sim.memory import Memory
from potluck.sim.state import HartState
from potluck.sim.tasks import BOARD
from potluck.sim.transfers import (
    BURST,
    BUSY,
    COUNT,
    DRAM_BASE,
    DRAM_BYTES,
    DRAM_HOST,
    FIXED,
    HEAD,
    IN_L1,
    L1_BASE,
    L1_BYTES,
    L1_HOST,
    LATENCY,
    MODELED,
    PATH,
    PIECE,
    READ,
    RECORD,
    SETUP,
    TAIL,
    WAITING,
    WIDTH,
    WRITABLE,
    WRITABLE_END,
    WRITTEN,
    DmaArrays,
    enter,
    forget,
    settle,
)

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


class Traffic(NamedTuple):
    """What has been moved, a line per instruction that asked for it.

    Attributes:
        pcs: uint64 [n]; the same pc may have several lines.
        moved: int64 [n, 2], bytes and bytes of DRAM.
        tallies: int64 [n, counters], what the DRAM did.
    """

    pcs: NDArray[np.uint64]
    moved: NDArray[np.int64]
    tallies: NDArray[np.int64]


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
    """The transfer queue and what has gone through it.

    Transfers' times are worked out when somebody asks for one, all that are queued together. Requests are numbered by
    the block store (``BlockStore.requests``).
    """

    machine: Machine
    memory: Memory
    dram: System | None = None
    keeps_transfers: bool = False
    transfers: list[Moved] = field(default_factory=list)
    _pcs: list[int] = field(default_factory=list)  # of what is queued, for ``transfers``

    def __post_init__(self) -> None:
        keys, layout, fixed = self.machine, self.memory.layout, np.zeros(FIXED, np.int64)
        for word, value in (
            (WIDTH, keys.dma.width_bits // 8), (SETUP, keys.dma.setup_cycles), (PATH, keys.dram.path_cycles),
            (LATENCY, keys.dram.latency_cycles), (L1_BASE, layout.l1_base), (L1_BYTES, self.memory.l1.size),
            (L1_HOST, self.memory.l1.ctypes.data), (DRAM_BASE, layout.dram_base), (DRAM_BYTES, self.memory.dram.size),
            (DRAM_HOST, self.memory.dram.ctypes.data), (WRITABLE, self.memory.first_writable),
            (WRITABLE_END, layout.dram_base + self.memory.dram.size),
        ):  # fmt: skip
            fixed[word] = value
        channels = self.dram.channels if self.dram else 0
        if self.dram is None:
            dram = NO_DRAM
        else:
            fixed[MODELED], fixed[BURST] = 1, self.dram.kind.organization.burst_bytes
            fixed[PIECE : PIECE + 2] = self.dram.limits
            dram = self.dram.state
        self.arrays = DmaArrays(
            np.zeros(RECORD, np.int64), fixed, np.array([keys.dram.bytes_per_cycle], np.float64),
            np.zeros((MOST, TRANSFER), np.int64), np.zeros(2 * MOST, np.int64), np.zeros(2, np.int64),
            np.zeros(MOST, np.int64), np.zeros((channels, MOST), np.int64), np.zeros((0, 2), np.int64),
            np.zeros((channels, 0, System.tally().size), np.int64), np.zeros(BOARD, np.int64), dram,
        )  # fmt: skip

    def make_room(self, requests: int) -> None:
        """Let there be so many requests."""
        held = self.arrays.moved.shape[0]
        if requests > held:
            more = ((0, max(2 * held, requests) - held), (0, 0))
            self.arrays = self.arrays._replace(
                moved=np.pad(self.arrays.moved, more), tallies=np.pad(self.arrays.tallies, ((0, 0), *more))
            )

    def traffic(self, requests: dict[int, int]) -> Traffic:
        """By request, with the requests' pcs in the order of their numbers."""
        count = min(len(requests), len(self.arrays.moved))
        pcs = np.fromiter(requests, np.uint64)[:count]
        return Traffic(pcs, self.arrays.moved[:count], self.arrays.tallies.sum(axis=0)[:count])

    @property
    def bytes(self) -> dict[str, int]:
        """Bytes that were read from DRAM, written to it, and read from or written to L1."""
        read, written, l1 = self.arrays.record[[READ, WRITTEN, IN_L1]].tolist()
        return {"dram_read": read, "dram_write": written, "l1": l1}

    @property
    def busy_cycles(self) -> int:
        """Cycles of data on the bus."""
        return int(self.arrays.record[BUSY])

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
            ends.append(
                self._end(start, step, rows, size, pc) if size and rows else End(start, step, None, None)
            )
        target = ends[1]
        if target.view is not None and self.memory.protects(target.start + min(0, (rows - 1) * target.step)):
            raise TrapError("DMA transfer into the program's text", pc=pc, address=target.start)
        return Transfer(size, rows, *ends)

    def copy(self, transfer: Transfer, now: int, pc: int, request: int) -> int:
        """Queue a transfer, and move its bytes; returns its id."""
        if transfer.source.view is not None and transfer.target.view is not None:
            _move(transfer)
        self._enter(transfer, now, request)
        if self.keeps_transfers:
            self._pcs.append(pc)
        return int(self.arrays.record[COUNT])

    def stream(self, transfer: Transfer, now: int, request: int) -> int:
        """Time a transfer between memory and a unit that takes or gives its bytes; returns the cycle of its end.

        The unit's end has neither bytes nor memory.
        """
        self._enter(transfer, now, request)
        self.settle()
        return int(self.arrays.ends[self.arrays.record[TAIL] - 1])

    def _enter(self, transfer: Transfer, now: int, request: int) -> None:
        size, rows, source, target = transfer
        width, far = self.machine.dma.width_bits // 8, (source.region == "dram", target.region == "dram")
        self.make_room(request + 1)
        if self.arrays.record[WAITING] == MOST:
            self.settle()
        rate = min(width, self.machine.dram.bytes_per_cycle) if any(far) and self.dram is None else width
        enter(size, rows, source.start, source.step, far[0], target.start, target.step, far[1], float(rate), now,
              request, self.arrays)  # fmt: skip

    def settle(self) -> None:
        """Find out the times of everything that is queued."""
        record = self.arrays.record
        queued = self.arrays.queue[: record[WAITING]]
        pending, count = self.arrays.ends[record[HEAD] : record[TAIL]], len(queued)
        if pending.size + count + 2 * MOST > self.arrays.ends.size:
            self.arrays = self.arrays._replace(
                ends=np.pad(pending, (0, 4 * (pending.size + count) + 4 * MOST))
            )
            self.arrays.record[HEAD], self.arrays.record[TAIL] = 0, pending.size
        settle(self.arrays)
        ends = self.arrays.ends[record[TAIL] - count : record[TAIL]].tolist()
        if self.keeps_transfers:
            for pc, end, row in zip(self._pcs, ends, queued.tolist(), strict=True):
                regions = ("dram" if row[place] else "l1" for place in (SOURCE, TARGET))
                moved = Moved(row[QUEUED], end - row[BEATS], end, pc, row[SIZE] * row[ROWS], *regions)
                self.transfers.append(moved)
            self._pcs.clear()

    def _end(self, start: int, step: int, rows: int, size: int, pc: int) -> End:
        """One end of a transfer.

        Raises:
            TrapError: it does not lie inside one memory.
        """
        found = end_in(self.memory, start, step, rows, size)
        if found is None:
            raise TrapError("DMA transfer outside L1 and DRAM", pc=pc, address=start)
        return found

    def remaining(self, now: int) -> int:
        """Cycles until every queued transfer is complete."""
        self.settle()
        return max(0, int(self.arrays.clocks[0]) - now)

    def status(self, fields: dict[str, int], now: int, timed: bool) -> int:
        """``dmstati``: 0 = id of the last completed transfer, 2 = busy."""
        self.settle()
        pending = forget(now, int(not timed), self.arrays)
        selector = fields.get("imm", fields.get("uimm", 0))
        return int(pending > 0) if selector == 2 else int(self.arrays.record[COUNT]) - pending


def end_in(memory: Memory, start: int, step: int, rows: int, size: int) -> End | None:
    """An end of a transfer; None if it does not lie inside one memory."""
    low = min(start, start + (rows - 1) * step)
    found = memory.find(low, abs(step) * (rows - 1) + size) if low >= 0 else None
    if found is None:
        return None
    region, flat, at = found
    return End(start, step, np.ndarray((rows, size), np.uint8, flat, at + start - low, (step, 1)), region)


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
