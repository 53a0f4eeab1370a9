"""The RTL core between memories, scalar or with its vector unit: parameters from a machine, a program's run as records
of instructions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from potluck.hdl.build import build_library
from potluck.hdl.harness import CoreRun, run_harness
from potluck.hdl.sources import sources
from potluck.isa.context import Context
from potluck.isa.elf import Program
from potluck.isa.errors import MachineError
from potluck.isa.machine import Machine
from potluck.isa.table import TABLE
from potluck.sim.dram.attach import core_latency
from potluck.sim.memory import Memory
from potluck.sim.timing.classes import cycles

UNIT, VECTOR_UNIT = "core_tile", "vector_tile"
HARNESS = Path(__file__).with_name("core_tile.cc")


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

    def library(self, waves: bool = False) -> Path:
        """The built library, for waveforms if ``waves``.

        Raises:
            MachineError: the core cannot be built for the machine.
            ToolError, RtlError: the RTL cannot be built.
        """
        unit = VECTOR_UNIT if self.vector else UNIT
        parameters = (vector_parameters if self.vector else core_parameters)(self.machine)
        return build_library(unit, HARNESS, parameters, self.optimize, self.replaced, waves)

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

        Raises:
            MachineError, ToolError, RtlError: see `library`.
            DataError: inputs that are not the program's.
        """
        machine = self.machine
        memory = Memory(machine, program)
        memory.write_inputs(inputs or {})
        library = self.library(waves is not None)
        base, longest = machine.memory, max(core_latency(machine), core_parameters(machine)["Divide"])
        settings = {
            "registers": base.registers_base, "writable": memory.first_writable, "entry": program.entry, "hart": 0,
            "harts": 1, "load": one(machine, "load", "ld", "lb", least=2),
            "atomic": one(machine, "amo", "lr.w", "lr.d", least=2),
            "float_load": one(machine, "float_load", "fld", "flb", least=2), "dram": core_latency(machine),
            "gaps": gaps, "quiet": (1 + gaps // 8) * (longest + 32),
            "vector_load": one(machine, "vector_load", "vle8.v", "vle64.v", least=4) - 2, "banks": base.l1_banks,
        }  # fmt: skip
        (run,) = run_harness(library, settings, machine, memory, most, limit, waves)
        return run


__all__ = ["CoreBuild", "core_parameters", "one", "rtl_digest", "vector_parameters"]
