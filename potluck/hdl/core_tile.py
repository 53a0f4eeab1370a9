"""The RTL core between memories, scalar or with its vector unit: parameters from a machine, a program's run as records
of instructions."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.hdl.build import build_library
from potluck.hdl.sources import sources
from potluck.isa.context import Context
from potluck.isa.elf import Program
from potluck.isa.errors import MachineError, RtlError
from potluck.isa.machine import Machine
from potluck.isa.table import TABLE
from potluck.sim.dram.attach import core_latency
from potluck.sim.memory import Memory
from potluck.sim.observation.retired import RETIRED
from potluck.sim.timing.classes import cycles

UNIT, VECTOR_UNIT = "core_tile", "vector_tile"
EVENT = np.dtype([("record", "u8"), ("place", "u8"), ("strobe", "u4"), ("kind", "u4"), ("data", "u1", 32)])
"""What a vector instruction did: ``record`` is its number; ``kind`` one of ``WROTE`` (``place``: the word of 32 bytes
of the register file), ``STORED`` (``place``: an address), ``RAISED`` (``strobe``: fflags, and 32 for vxsat)."""
WROTE, STORED, RAISED = range(3)
HARNESS = Path(__file__).with_name("core_tile.cc")
WAVE_CYCLES = 64
"""Cycles of a waveform before the end of the run that it is made of."""
FAILURES = {-1: "nothing retires any more", -2: "an assertion failed (its text is above)",
             -3: "memory was accessed where there is none",
             -4: "a transfer of the DMA is not inside a memory"}  # fmt: skip


class _Settings(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in ("registers", "writable", "entry", "hart", "harts", "load", "atomic", "float_load", "dram", "gaps",
                     "quiet", "vector_load", "banks")
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class CoreRun:
    """What the RTL did.

    Attributes:
        records: :data:`potluck.sim.observation.retired.RETIRED` [n].
        cycles: the cycle in which it stopped, or was stopped.
        cause: code of the trap (rtl/core/core_pkg.sv); 0: it did not stop.
        pc: of the trap.
        address: of the access that trapped.
        l1, dram: memories afterwards, uint8.
        failure: why the run was given up, or "".
        events: :data:`EVENT` [m], of vector instructions, in the order in which they happened.
        others: of a cluster, what its other cores did; memories and failure are those of all.
    """

    records: NDArray[np.void]
    cycles: int
    cause: int
    pc: int
    address: int
    l1: NDArray[np.uint8]
    dram: NDArray[np.uint8]
    failure: str
    events: NDArray[np.void]
    others: tuple[CoreRun, ...] = ()


def core_parameters(machine: Machine) -> dict[str, int]:
    """Parameters of the RTL of a machine's core.

    Raises:
        MachineError: the machine has what the core cannot be built for.
    """
    return {
        "VlenBytes": machine.vector.vlen // 8,
        "Multiply": one(machine, "mul", "mul", "mulw"), "Divide": one(machine, "div", "div", "divw", least=2),
        "BranchTaken": one(machine, "branch_taken", "beq"), "Jump": one(machine, "jump", "jal"),
        "FenceI": one(machine, "fence_i", "fence.i"), "FloatResult": one(machine, "float_result", "fmv.x.d"),
    }  # fmt: skip


FIXED = {"vlen": 512, "lanes": 4, "integer_lanes": 1, "in_flight": 4, "ports": 4, "vrf_banks": 4,
         "integer_unit": "shared", "element_requests": 0}  # fmt: skip
"""Keys of ``[vector]`` that the RTL's vector unit is written for."""


def vector_parameters(machine: Machine) -> dict[str, int]:
    """Parameters of the RTL of a machine's core with its vector unit.

    Raises:
        MachineError: the machine has what they cannot be built for.
    """
    vector = machine.vector
    for key, value in FIXED.items():
        if getattr(vector, key) != value:
            raise MachineError(
                f"the RTL's vector unit is written for {value}, not {getattr(vector, key)}",
                key=f"vector.{key}",
            )
    if one(machine, "vector_store", "vse8.v", "vse64.v") != 2 or one(machine, "move", "vmv.v.v") != 2:
        raise MachineError("the RTL's vector unit stores and moves in 2 cycles", key="timing.vector_store")
    return core_parameters(machine) | {
        "QueueDepth": vector.queue_depth, "Chaining": int(vector.chaining),
        "IntegerLatency": one(machine, "integer", "vadd.vv", "vwmul.vv"),
        "FmaLatency": one(machine, "fma", "vfmacc.vv", "vfwmacc.vv"),
        "NoncompLatency": one(machine, "noncomp", "vfmax.vv", "vmfeq.vv"),
        "ConvertLatency": one(machine, "convert", "vfcvt.x.f.v", "vfwcvt.f.f.v"),
        "DivideCycles": one(machine, "divide_per_element", "vfdiv.vv", "vdiv.vv"),
        "MxdotpLatency": one(machine, "vmxdotp", "vmxdotp.wf", "vmxdotp.qf"),
    }  # fmt: skip


def rtl_digest() -> str:
    """Hash of the sources of the core with its vector unit, and of the memory around it."""
    digest = hashlib.sha256()
    for path in (*sources(VECTOR_UNIT), HARNESS, *sorted(HARNESS.parent.glob("*.h"))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def one(machine: Machine, key: str, *mnemonics: str, least: int = 0) -> int:
    """A key of ``[timing]`` that has to be the same for some instructions."""
    found = {cycles(key, TABLE[mnemonic], Context(0), machine) for mnemonic in mnemonics}
    if len(found) > 1:
        raise MachineError(
            f"the RTL core has one latency for {', '.join(mnemonics)}, not {sorted(found)}",
            key=f"timing.{key}",
        )
    (value,) = found
    if value < least:
        raise MachineError(f"the RTL core needs at least {least} cycles, not {value}", key=f"timing.{key}")
    return value


@dataclass(frozen=True)
class CoreBuild:
    """A build of the core for a machine.

    Attributes:
        machine: it has one core.
        optimize: flags for the C++ compiler.
        replaced: mutated files in the place of units.
        vector: whether the vector unit is there.
    """

    machine: Machine
    optimize: str = "-O1"
    replaced: Mapping[str, Path] | None = None
    vector: bool = False

    @property
    def dma(self) -> bool:
        """Whether there is a DMA."""
        return False

    def library(self, waves: bool = False) -> ctypes.CDLL:
        """The built library.

        Raises:
            ToolError, RtlError: it cannot be built.
        """
        unit = VECTOR_UNIT if self.vector else UNIT
        parameters = (vector_parameters if self.vector else core_parameters)(self.machine)
        path = build_library(unit, HARNESS, parameters, self.optimize, self.replaced, waves)
        library = ctypes.CDLL(str(path))
        library.tile_new.restype = ctypes.c_void_p
        library.tile_run.restype = ctypes.c_int64
        library.tile_events.restype = ctypes.c_uint64
        return library

    def run(
        self, program: Program, most: int, limit: int, gaps: int = 0, waves: tuple[Path, int] | None = None,
        inputs: Mapping[str, NDArray[Any]] | None = None,
    ) -> CoreRun:  # fmt: skip
        """Run a program on hart 0 of 1.

        Args:
            program: what to load.
            most: instructions after which to stop.
            limit: cycles after which to stop.
            gaps: of 256 cycles, those in which memory and fetch do nothing and answers are late, at random.
            waves: file for a waveform, and the cycle from which on it is written.
            inputs: tensors by the names in the program's manifest.
        """
        machine = self.machine
        memory = Memory(machine, program)
        memory.write_inputs(inputs or {})
        library = self.library(waves is not None)
        base = machine.memory
        longest = max(core_latency(machine), core_parameters(machine)["Divide"])
        settings = _Settings(
            registers=base.registers_base, writable=memory.first_writable, entry=program.entry, hart=0, harts=1,
            load=one(machine, "load", "ld", "lb", least=2), atomic=one(machine, "amo", "lr.w", "lr.d", least=2),
            float_load=one(machine, "float_load", "fld", "flb", least=2), dram=core_latency(machine), gaps=gaps,
            quiet=(1 + gaps // 8) * (longest + 32), banks=base.l1_banks,
            vector_load=one(machine, "vector_load", "vle8.v", "vle64.v", least=4) - 2,
        )  # fmt: skip
        regions = [(memory.l1, base.l1_base), (memory.dram, base.dram_base)]
        arguments = [x for array, at in regions for x in (array.ctypes.data, at, array.size)]
        tile = ctypes.c_void_p(library.tile_new(ctypes.byref(settings), *map(ctypes.c_uint64, arguments)))
        records = np.zeros(most, RETIRED)
        end = np.zeros(5, np.uint64)
        try:
            for address, data in memory.code.regions:
                library.tile_code(tile, ctypes.c_uint64(address), ctypes.c_uint64(len(data)))
            if waves is not None and not library.tile_waves(
                tile, str(waves[0]).encode(), ctypes.c_uint64(waves[1])
            ):
                raise RtlError("this build writes no waveforms", unit=UNIT)
            done = library.tile_run(
                tile, records.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint64(most), ctypes.c_uint64(limit),
                end.ctypes.data_as(ctypes.c_void_p),
            )  # fmt: skip
            events = copied(library.tile_events, tile)
        finally:
            library.tile_free(tile)
        stopped, cause, pc, address, count = end.tolist()
        failure = FAILURES.get(done, "")
        return CoreRun(records[:count], stopped, cause, pc, address, memory.l1, memory.dram, failure, events)


def copied(events: Callable[..., int], *of: Any) -> NDArray[np.void]:
    """A copy of a run's events."""
    where = ctypes.c_void_p()
    count = events(*of, ctypes.byref(where))
    if not count:
        return np.zeros(0, EVENT)
    return np.frombuffer(ctypes.string_at(where, count * EVENT.itemsize), EVENT).copy()


__all__ = ["EVENT", "FAILURES", "RAISED", "STORED", "WAVE_CYCLES", "WROTE", "CoreBuild", "CoreRun", "copied",
           "core_parameters", "one", "rtl_digest", "vector_parameters"]  # fmt: skip
