"""The cluster's DMA: bytes move when a transfer is queued, time passes as its bandwidth says.

A program that touches a buffer of a transfer in flight is wrong on hardware, too; moving the bytes at once keeps the
result independent of timing. Transfers run one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from potluck.isa.errors import TrapError
from potluck.isa.machine import Machine
from potluck.sim.memory import Memory
from potluck.sim.state import HartState


@dataclass
class Dma:
    """The transfer queue's end and what has gone through it."""

    machine: Machine
    memory: Memory
    end: int = 0  # cycle at which the last queued transfer completes
    ends: list[int] = field(default_factory=list)
    bytes: dict[str, int] = field(default_factory=lambda: {"dram_read": 0, "dram_write": 0, "l1": 0})
    busy_cycles: int = 0
    moved: dict[int, tuple[int, int]] = field(default_factory=dict)  # by pc of the request: bytes, DRAM bytes

    def copy(self, state: HartState, fields: dict[str, int], now: int, pc: int) -> int:
        """Queue the transfer that the registers describe; returns its id."""
        size = int(state.x[fields["rs1"]])
        two_dimensional = bool(fields.get("imm", fields.get("uimm", 0)) & 2)
        rows = state["dma_repeat"] if two_dimensional else 1
        source, target = state["dma_source"], state["dma_target"]
        if size < 0:
            raise TrapError(f"DMA transfer of {size} bytes", pc=pc)
        source_step, target_step = _signed(state["dma_source_stride"]), _signed(state["dma_target_stride"])
        cycles = 0
        if size and rows:
            origin = self._rows(source, source_step, rows, size, pc)
            target_rows = self._rows(target, target_step, rows, size, pc)
            if abs(target_step) >= size or rows == 1:
                target_rows[:] = origin.copy()
            else:  # rows that overlap in the target: the later one wins
                for row in range(rows):
                    target_rows[row] = origin[row].copy()
            cycles = self._cycles(source, source_step, target, rows, size)
        latency = self.machine.dma.setup_cycles + self.machine.dram.latency_cycles
        begin = max(now, self.end)
        # The latency of a transfer overlaps the data of the one before it.
        self.end = max(begin + cycles, now + latency + cycles)
        self.busy_cycles += cycles
        total, dram = self.moved.get(pc, (0, 0))
        ends = [self.memory.region(address, 1) for address in (source, target)]
        self.moved[pc] = total + size * rows, dram + size * rows * ends.count("dram")
        self.ends.append(self.end)
        return len(self.ends)

    def _rows(self, start: int, step: int, rows: int, size: int, pc: int) -> NDArray[np.uint8]:
        """The bytes of a two-dimensional transfer's end as an array [rows, size].

        Raises:
            TrapError: they do not lie inside one memory.
        """
        low = min(start, start + (rows - 1) * step)
        extent = abs(step) * (rows - 1) + size
        if low < 0 or self.memory.region(low, extent) is None:
            raise TrapError("DMA transfer outside L1 and DRAM", pc=pc, address=start)
        flat = self.memory.view(low, extent)[start - low :]
        return as_strided(flat, (rows, size), (step, 1))

    def _cycles(self, source: int, source_step: int, target: int, rows: int, size: int) -> int:
        """Cycles on the bus: whole beats of each row, or the DRAM's rate if that is slower."""
        width = self.machine.dma.width_bits // 8
        rate = float(width)
        for address, direction in ((source, "dram_read"), (target, "dram_write")):
            if self.memory.region(address, 1) == "dram":
                self.bytes[direction] += size * rows
                rate = min(rate, self.machine.dram.bytes_per_cycle)
            else:
                self.bytes["l1"] += size * rows
        starts = (source + source_step * np.arange(rows, dtype=np.int64)) % width
        beats = (starts + size + width - 1) // width
        return int(np.maximum(beats, int(-(-size // rate))).sum())

    def remaining(self, now: int) -> int:
        """Cycles until every queued transfer is complete."""
        return max(0, self.end - now)

    def status(self, fields: dict[str, int], now: int, timed: bool) -> int:
        """``dmstati``: 0 = id of the last completed transfer, 2 = busy."""
        done = sum(1 for end in self.ends if end <= now or not timed)
        selector = fields.get("imm", fields.get("uimm", 0))
        return int(done < len(self.ends)) if selector == 2 else done


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
