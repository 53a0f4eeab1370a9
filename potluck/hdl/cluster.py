"""The RTL cluster with DRAM and a host around it: parameters from a machine, a run as records of instructions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from potluck.hdl.build import build_library
from potluck.hdl.core_tile import one, vector_parameters
from potluck.hdl.harness import CoreRun, run_harness
from potluck.isa.elf import Program
from potluck.isa.errors import MachineError, ProgramError
from potluck.isa.machine import Machine
from potluck.sim.dram.attach import core_latency
from potluck.sim.memory import Memory

UNIT = "cluster"
HARNESS = Path(__file__).with_name("cluster.cc")
DMA_BITS = 512
LEAST_RATE = 1 / 256  # bytes per cycle, the harness's unit


def cluster_parameters(machine: Machine) -> dict[str, int]:
    """Parameters of the RTL of a machine's cluster.

    Raises:
        MachineError: the machine has what it cannot be built for.
    """
    layout, dma = machine.memory, machine.dma
    if machine.dram.kind != "simple":
        raise MachineError(
            "the RTL's DRAM has a latency and a rate",
            key="dram.kind",
            hint="Simulate with --set dram.kind=simple",
        )
    if dma.width_bits != DMA_BITS:
        raise MachineError(f"the RTL's DMA has {DMA_BITS} bits", key="dma.width_bits")
    if dma.setup_cycles < 1:
        raise MachineError("the RTL's DMA needs a cycle of set-up", key="dma.setup_cycles")
    if layout.l1_bytes & (layout.l1_bytes - 1) or layout.l1_base % layout.l1_bytes:
        raise MachineError(
            "the RTL's L1 has a size that is a power of two and begins at a multiple of it",
            key="memory.l1_bytes",
        )
    return vector_parameters(machine) | {
        "Cores": machine.cluster.cores, "L1Bytes": layout.l1_bytes, "L1Banks": layout.l1_banks,
        "Load": one(machine, "load", "ld", "lb", least=2), "Atomic": one(machine, "amo", "lr.w", "lr.d", least=2),
        "FloatLoad": one(machine, "float_load", "fld", "flb", least=2),
        "VectorLoad": one(machine, "vector_load", "vle8.v", "vle64.v", least=4), "DmaSetup": dma.setup_cycles,
        "DmaOutstanding": machine.dram.latency_cycles + 32,
    }  # fmt: skip


@dataclass(frozen=True)
class ClusterBuild:
    """A build of the cluster for a machine; stands where a :class:`potluck.hdl.core_tile.CoreBuild` does.

    Attributes:
        machine: its DRAM is ``simple``.
        optimize: flags for the C++ compiler.
        replaced: mutated files in the place of units.
        parameters: those of the RTL that no machine has a key for.
    """

    machine: Machine
    optimize: str = "-O1"
    replaced: Mapping[str, Path] | None = None
    parameters: Mapping[str, int] | None = None

    @property
    def vector(self) -> bool:
        """Whether there are vector units."""
        return True

    @property
    def dma(self) -> bool:
        """Whether there is a DMA."""
        return True

    def library(self, waves: bool = False) -> Path:
        """The built library, for waveforms if ``waves``.

        Raises:
            MachineError: the cluster cannot be built for the machine.
            ToolError, RtlError: the RTL cannot be built.
        """
        parameters = cluster_parameters(self.machine) | dict(self.parameters or {})
        return build_library(UNIT, HARNESS, parameters, self.optimize, self.replaced, waves)

    def run(
        self, program: Program, most: int, limit: int, gaps: int = 0, waves: tuple[Path, int] | None = None,
        inputs: Mapping[str, NDArray[Any]] | None = None,
    ) -> CoreRun:  # fmt: skip
        """Run a program on all harts until hart 0 has stopped.

        Args:
            program: what to load.
            most: instructions of a hart after which to stop.
            limit: cycles after which to stop.
            gaps: of 256 cycles, those in which fetch and DRAM do nothing, their answers are late and a beat of a host
                takes banks of L1, at random.
            waves: file for a waveform, and the cycle from which on it is written.
            inputs: tensors by the names in the program's manifest.

        Raises:
            ProgramError: the program needs the host for a node, has code in L1, or shares memory by atomic accesses.
            MachineError, ToolError, RtlError: see `library`.
            DataError: inputs that are not the program's.
        """
        machine = self.machine
        memory = Memory(machine, program)
        memory.write_inputs(inputs or {})
        base, cores = machine.memory, machine.cluster.cores
        if program.manifest.host:
            nodes = ", ".join(node.name for node in program.manifest.host)
            raise ProgramError(f"the RTL has no host that computes {nodes}", hint="Simulate in mode timed")
        if any(address < base.dram_base for address, _ in memory.code.regions):
            raise ProgramError("the RTL's cluster fetches from DRAM alone, and the program has code in L1")
        if cores > 1 and memory.code.has_atomics():
            raise ProgramError("atomic accesses of several cores have no order that both executors know")
        library = self.library(waves is not None)
        settings = {
            "harts": cores, "registers": base.registers_base, "writable": memory.first_writable,
            "entry": program.entry, "load": one(machine, "load", "ld"), "atomic": one(machine, "amo", "lr.d"),
            "float_load": one(machine, "float_load", "fld"),
            "vector_load": one(machine, "vector_load", "vle64.v") - 2, "dram": core_latency(machine),
            "latency": machine.dram.latency_cycles,
            "rate": round(min(DMA_BITS / 8, machine.dram.bytes_per_cycle) / LEAST_RATE), "gaps": gaps,
            "quiet": (1 + gaps // 8) * (max(core_latency(machine), one(machine, "div", "div")) + 64),
        }  # fmt: skip
        first, *others = run_harness(library, settings, machine, memory, most, limit, waves)
        return replace(first, others=tuple(others))


__all__ = ["ClusterBuild", "cluster_parameters"]
