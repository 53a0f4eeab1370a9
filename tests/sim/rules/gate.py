"""Both sides of a timing rule: offered a cycle too early, code is held back by it; in its cycle nothing is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from potluck.isa.machine import Machine
from potluck.sim.state import IN_DRAM
from potluck.sim.timing import timer as t
from tests.sim.test_timing import Timed

LATE = 100_000


@dataclass(frozen=True)
class Gate:
    """A machine with the vector type of the programs that prove its rules."""

    machine: Machine
    sew: int = 32
    lmul: int = 1
    vl: int = 0

    @property
    def elements(self) -> int:
        """vl, by default as many as the register group holds."""
        return self.vl or self.machine.vector.vlen * self.lmul // self.sew

    def words(self, width: int = 0, lanes: int = 0) -> int:
        """Cycles of a unit that takes 64 bits per lane, the elements being so wide."""
        return -(-self.elements * (width or self.sew) // (64 * (lanes or self.machine.vector.lanes)))

    def latency(self, key: str, width: int = 0) -> int:
        """A latency of the machine file, for work of so many bits."""
        value = getattr(self.machine.timing, key)
        vector = self.machine.vector
        names = {"width": width or self.sew, "sew": self.sew, "lanes": vector.lanes, "ports": vector.ports}
        return value if isinstance(value, int) else value.at(names, key)

    @property
    def memory(self) -> int:
        """The access class bit of the memory that vector accesses go to."""
        return 0 if self.machine.memory.l1_bytes else IN_DRAM

    @property
    def load(self) -> int:
        """From a vector load's request to its word in the register file."""
        return self.latency("vector_load") + (self.machine.dram.latency_cycles if self.memory else 0)

    def run(self, source: str, times: Any = None, access: int = 0, far: bool = False) -> Timed:
        """Time straight-line code; ``access`` class of vector accesses, ``far``: scalar ones go to DRAM."""
        lines = [line for line in source.strip().splitlines() if line]
        codes = {n: access | self.memory for n, line in enumerate(lines) if line.startswith(("vl", "vs"))}
        codes |= {n: IN_DRAM for n, line in enumerate(lines) if far and not line.startswith("v")}
        return Timed("\n".join(lines), vl=self.elements, sew=self.sew, lmul=self.lmul, codes=codes,
                     machine=self.machine, times=times, control=1 << 3)  # fmt: skip

    def delay(self, before: str, probe: str, watch: str, cycle: int, **options: Any) -> int:
        """How much later the probe gets there, offered to the core in a cycle, than long after all is done."""
        return self._reached(before, probe, watch, cycle, options) - self._reached(
            before, probe, watch, LATE, options
        )

    def opens_at(self, cycle: int, before: str, probe: str, watch: str = "core", **options: Any) -> None:
        """Assert the rule: a cycle earlier the probe loses that cycle, now none."""
        assert self.delay(before, probe, watch, cycle - 1, **options) == 1, "not held back a cycle earlier"
        assert self.delay(before, probe, watch, cycle, **options) == 0, "still held back"

    def never_waits(self, before: str, probe: str, watch: str = "core", **options: Any) -> None:
        """Assert that nothing holds the probe back right after the code before it."""
        cycle = int(self.run(before, **options).cycles)
        assert self.delay(before, probe, watch, cycle, **options) == 0

    def _reached(self, before: str, probe: str, watch: str, cycle: int, options: dict[str, Any]) -> int:
        """Cycles from the offer of the probe to what is watched of it."""
        state = self.run(before, **options)
        assert cycle >= state.cycles, "the code before the probe takes longer than that"
        t.wait(state.times, int(cycle - state.cycles))
        run = self.run(probe, times=state.times, **options)
        places = {"core": t.X, "buffer": t.BUFFER, "stores": t.STORES_DONE}
        banks = {"x": t.X, "f": t.F, "v": t.V_DONE}
        place = places[watch] if watch in places else banks[watch[0]] + int(watch[1:])
        return int(run.cycles + (0 if watch == "core" else run.times[place]))
