"""The cluster's accelerator in RTL between two memories, beside the simulator's."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from potluck.hdl.build import build_library
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.machine import Machine, load_machine
from potluck.isa.pot.command import COMMAND_BYTES, DOORBELL, QUEUE, RESET, STATE, WAIT
from potluck.sim.dma import Dma
from potluck.sim.memory import Memory
from potluck.sim.pot.accelerator import Accelerator, accelerator_of
from potluck.sim.pot.schedule import Engine, Work
from tests.rtl.bench.pot_cases import ANY, INT8

HERE = Path(__file__).parent
LATENCY = 110
"""Cycles of the bench's memory: ``dma.setup_cycles`` and ``dram.latency_cycles``, less the load engine's own two."""
TEXT = 37
"""Instructions of the program's text, which is not written, and one more."""
AT = 0x1000_0000
"""Where queues lie: the begin of L1."""

SMALL = {"pot.weight_lines": 256, "pot.global_lines": 512, "pot.input_lines": 512, "pot.parameter_groups": 16,
         "pot.engine.output_bytes": 1024, "pot.engine.accumulator_groups": 16}  # fmt: skip


def machine_of(overrides: Mapping[str, object]) -> Machine:
    """The cluster with an accelerator, small memory and DRAM without commands."""
    return load_machine("spatz-mx-pot", {"dram.kind": "simple", **overrides})


def parameters_of(machine: Machine) -> dict[str, int]:
    """Parameters of the RTL of a machine's accelerator."""
    pot = machine.pot
    assert pot is not None and pot.engine is not None and pot.engine.fetch_bytes == 16
    return {
        "CodeSet": INT8 if pot.multipliers else ANY, "Units": pot.units, "InputBytes": pot.input_slot_bytes,
        "WindowBytes": 4 * pot.input_lines, "WeightLines": pot.weight_slot_lines, "Groups": pot.parameter_slot_groups,
        "OutputBytes": pot.engine.output_bytes, "Tiles": pot.engine.accumulator_groups,
    }  # fmt: skip


@dataclass(frozen=True)
class EngineBuild:
    """A build of the RTL as a machine says."""

    overrides: Mapping[str, object] = field(default_factory=lambda: SMALL)
    optimize: str = "-O1"
    replaced: Mapping[str, Path] | None = None

    @cached_property
    def machine(self) -> Machine:
        """The machine whose accelerator this is."""
        return machine_of(self.overrides)

    @cached_property
    def library(self) -> ctypes.CDLL:
        """The verilated design."""
        path = build_library(
            "pot_engine", HERE / "pot_engine.cc", parameters_of(self.machine), self.optimize, self.replaced
        )
        library = ctypes.CDLL(str(path))
        library.engine_new.restype = ctypes.c_void_p
        library.engine_access.restype = ctypes.c_int64
        library.engine_events.restype = ctypes.c_uint64
        return library

    def sessions(self, contents: Mapping[int, NDArray[np.uint8]], gaps: float = 0) -> tuple[Modeled, Session]:
        """Both at rest, with the same bytes in memory."""
        modeled = Modeled.of(self.machine)
        session = Session(self.library, modeled.memory, gaps)
        for address, data in contents.items():
            modeled.memory.view(address, data.size)[:] = data
            session.view(address, data.size)[:] = data
        return modeled, session


class Session:
    """The RTL, with memories like another's, all zeros but for its program."""

    def __init__(self, library: ctypes.CDLL, memory: Memory, gaps: float) -> None:
        self.library = library
        layout = self.layout = memory.layout
        self.l1, self.dram = memory.l1.copy(), np.zeros(memory.dram.size, np.uint8)
        text = memory.first_writable - layout.dram_base
        self.dram[:text] = memory.dram[:text]
        self._engine = ctypes.c_void_p(library.engine_new(
            ctypes.c_void_p(self.l1.ctypes.data), *map(ctypes.c_uint64, (layout.l1_base, self.l1.size)),
            ctypes.c_void_p(self.dram.ctypes.data), *map(ctypes.c_uint64, (
                layout.dram_base, self.dram.size, memory.first_writable, LATENCY, int(256 * gaps))),
        ))  # fmt: skip

    def view(self, address: int, size: int) -> NDArray[np.uint8]:
        """Bytes of DRAM."""
        at = address - self.layout.dram_base
        return self.dram[at : at + size]

    @property
    def written(self) -> range:
        """Addresses from the first to the last one that was written."""
        out = (ctypes.c_uint64 * 2)()
        self.library.engine_written(self._engine, out)
        return range(out[0], out[1] + 1)

    def __del__(self) -> None:
        self.library.engine_free(self._engine)

    def access(self, register: int, value: int | None = None, limit: int = 3_000_000) -> tuple[int, int]:
        """Write or read a register; what it gives, and the cycle.

        Raises:
            AssertionError: no answer within `limit` cycles, or a failed assertion of the design.
        """
        word = ctypes.c_uint64(value or 0)
        at = self.library.engine_access(
            self._engine, ctypes.c_uint32(value is not None), ctypes.c_uint32(register), ctypes.byref(word),
            ctypes.c_uint64(limit),
        )  # fmt: skip
        assert at != -2, "an assertion of the design failed"
        assert at != -3, "something was written outside memory"
        assert at >= 0, f"no answer from register {register} within {limit} cycles"
        return word.value, at

    def ring(
        self, commands: NDArray[np.uint32], count: int | None = None, queue: int = AT
    ) -> tuple[int, int]:
        """Ring for commands and wait; the state, and the cycles since the doorbell."""
        data = np.ascontiguousarray(commands).view(np.uint8).ravel()
        self.l1[: data.size] = data
        self.access(QUEUE, queue)
        _, begin = self.access(DOORBELL, len(commands) if count is None else count)
        state, end = self.access(WAIT)
        return state, end - begin

    def reset(self) -> None:
        """Forget everything."""
        self.access(RESET, 0)

    def events(self, engine: Engine) -> NDArray[np.int64]:
        """Begin and end of each of an engine's commands, int64 [n, 2]."""
        columns = []
        for ended in (0, 1):
            room = self.library.engine_events(
                self._engine, ctypes.c_uint32(engine), ctypes.c_uint32(ended), ctypes.c_uint64(0), None
            )
            out = np.zeros(room, np.uint64)
            self.library.engine_events(
                self._engine, ctypes.c_uint32(engine), ctypes.c_uint32(ended), ctypes.c_uint64(room),
                ctypes.c_void_p(out.ctypes.data),
            )  # fmt: skip
            columns.append(out.astype(np.int64))
        return np.stack(columns, axis=1)


@dataclass
class Modeled:
    """The simulator's accelerator alone."""

    memory: Memory
    accelerator: Accelerator
    works: list[Work] = field(default_factory=list)
    now: int = 0

    @staticmethod
    def of(machine: Machine) -> Modeled:
        """At rest."""
        assembler = Assembler()
        assembler.text(f".text\n.globl _start\n_start: j _start\n{'nop; ' * TEXT}\n")
        memory = Memory(machine, assembler.assemble().program(None))
        accelerator = accelerator_of(machine, memory, Dma(machine, memory), True)
        assert accelerator is not None
        found = Modeled(memory, accelerator)
        add = accelerator.schedule.add

        def keep(work: Work) -> None:
            found.works.append(work)
            add(work)

        accelerator.schedule.add = keep  # type: ignore[method-assign]
        return found

    def ring(
        self, commands: NDArray[np.uint32], count: int | None = None, queue: int = AT
    ) -> tuple[int, int]:
        """As a session's."""
        data = np.ascontiguousarray(commands).view(np.uint8).ravel()
        assert data.size == len(commands) * COMMAND_BYTES
        self.memory.l1[: data.size] = data
        begin = self.now
        self.accelerator.store(QUEUE, queue, begin, 0)
        self.accelerator.store(DOORBELL, len(commands) if count is None else count, begin, 0)
        state, self.now = self.accelerator.load(WAIT, begin)
        return state, self.now - begin

    def reset(self) -> None:
        """Forget everything."""
        self.accelerator.store(RESET, 0, self.now, 0)

    @property
    def state(self) -> int:
        """The state register."""
        return self.accelerator.load(STATE, self.now)[0]
