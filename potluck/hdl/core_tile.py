"""The scalar core in RTL between memories: parameters from a machine, a program's run as records of instructions."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from potluck.hdl.build import build_library
from potluck.isa.context import Context
from potluck.isa.elf import Program
from potluck.isa.errors import MachineError, RtlError
from potluck.isa.machine import Machine
from potluck.isa.table import TABLE
from potluck.sim.dram.attach import core_latency
from potluck.sim.memory import Memory
from potluck.sim.retired import RETIRED
from potluck.sim.timing_classes import cycles

UNIT = "core_tile"
HARNESS = Path(__file__).with_name("core_tile.cc")
WAVE_CYCLES = 64
"""Cycles of a waveform before the end of the run that it is made of."""
_FAILURES = {-1: "nothing retires any more", -2: "an assertion failed (its text is above)",
             -3: "memory was accessed where there is none"}  # fmt: skip


class _Settings(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in ("registers", "writable", "entry", "hart", "harts", "load", "atomic", "float_load", "dram", "gaps",
                     "quiet")
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class CoreRun:
    """What the RTL did.

    Attributes:
        records: :data:`potluck.sim.retired.RETIRED` [n].
        cycles: the cycle in which it stopped, or was stopped.
        cause: code of the trap (rtl/core/core_pkg.sv); 0: it did not stop.
        pc: of the trap.
        address: of the access that trapped.
        l1, dram: memories afterwards, uint8.
        failure: why the run was given up, or "".
    """

    records: NDArray[np.void]
    cycles: int
    cause: int
    pc: int
    address: int
    l1: NDArray[np.uint8]
    dram: NDArray[np.uint8]
    failure: str


def core_parameters(machine: Machine) -> dict[str, int]:
    """Parameters of the RTL of a machine's core.

    Raises:
        MachineError: the machine has what the core cannot be built for.
    """
    return {
        "VlenBytes": machine.vector.vlen // 8,
        "Multiply": _one(machine, "mul", "mul", "mulw"), "Divide": _one(machine, "div", "div", "divw", least=2),
        "BranchTaken": _one(machine, "branch_taken", "beq"), "Jump": _one(machine, "jump", "jal"),
        "FenceI": _one(machine, "fence_i", "fence.i"), "FloatResult": _one(machine, "float_result", "fmv.x.d"),
    }  # fmt: skip


def _one(machine: Machine, key: str, *mnemonics: str, least: int = 0) -> int:
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
    """A build of the core for a machine; ``replaced`` puts mutated files in the place of units."""

    machine: Machine
    optimize: str = "-O1"
    replaced: Mapping[str, Path] | None = None

    def library(self, waves: bool = False) -> ctypes.CDLL:
        """The built library.

        Raises:
            ToolError, RtlError: it cannot be built.
        """
        parameters = core_parameters(self.machine)
        path = build_library(UNIT, HARNESS, parameters, self.optimize, self.replaced, waves)
        library = ctypes.CDLL(str(path))
        library.tile_new.restype = ctypes.c_void_p
        library.tile_run.restype = ctypes.c_int64
        return library

    def run(
        self, program: Program, most: int, limit: int, gaps: int = 0, waves: tuple[Path, int] | None = None
    ) -> CoreRun:
        """Run a program on hart 0 of 1.

        Args:
            program: what to load.
            most: instructions after which to stop.
            limit: cycles after which to stop.
            gaps: of 256 cycles, those in which memory and fetch do nothing and answers are late, at random.
            waves: file for a waveform, and the cycle from which on it is written.
        """
        machine = self.machine
        memory = Memory(machine, program)
        library = self.library(waves is not None)
        base = machine.memory
        longest = max(core_latency(machine), core_parameters(machine)["Divide"])
        settings = _Settings(
            registers=base.registers_base, writable=memory.first_writable, entry=program.entry, hart=0, harts=1,
            load=_one(machine, "load", "ld", "lb", least=2), atomic=_one(machine, "amo", "lr.w", "lr.d", least=2),
            float_load=_one(machine, "float_load", "fld", "flb", least=2), dram=core_latency(machine), gaps=gaps,
            quiet=(1 + gaps // 8) * (longest + 32),
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
        finally:
            library.tile_free(tile)
        stopped, cause, pc, address, count = end.tolist()
        failure = _FAILURES.get(done, "")
        return CoreRun(records[:count], stopped, cause, pc, address, memory.l1, memory.dram, failure)


__all__ = ["WAVE_CYCLES", "CoreBuild", "CoreRun", "core_parameters"]
