"""The cluster's DMA: bytes move when a transfer is queued, time passes as its bandwidth says.

A program that touches a buffer of a transfer in flight is wrong on hardware, too; moving the bytes at once keeps the
result independent of timing. Transfers run one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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
    moved: dict[int, int] = field(default_factory=dict)  # bytes by pc of the request

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
        for row in range(rows if size else 0):
            a, b = source + row * source_step, target + row * target_step
            for address in (a, b):
                if self.memory.region(address, size) is None:
                    raise TrapError("DMA transfer outside L1 and DRAM", pc=pc, address=address)
            self.memory.view(b, size)[:] = self.memory.view(a, size).copy()
            cycles += self._row_cycles(a, b, size)
        latency = self.machine.dma.setup_cycles + self.machine.dram.latency_cycles
        begin = max(now, self.end)
        # The latency of a transfer overlaps the data of the one before it.
        self.end = max(begin + cycles, now + latency + cycles)
        self.busy_cycles += cycles
        self.moved[pc] = self.moved.get(pc, 0) + size * rows
        self.ends.append(self.end)
        return len(self.ends)

    def _row_cycles(self, source: int, target: int, size: int) -> int:
        width = self.machine.dma.width_bits // 8
        rate = float(width)
        for address, direction in ((source, "dram_read"), (target, "dram_write")):
            if self.memory.region(address, 1) == "dram":
                self.bytes[direction] += size
                rate = min(rate, self.machine.dram.bytes_per_cycle)
            else:
                self.bytes["l1"] += size
        beats = (source % width + size + width - 1) // width
        return max(beats, int(-(-size // rate)))

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
