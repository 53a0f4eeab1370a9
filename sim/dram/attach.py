"""The DRAM that a machine file asks for, and what the cores' timer takes from it."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

from potluck.isa.errors import MachineError
from potluck.isa.machine import Machine
from potluck.sim.dram.kind import Kind, load_kind
from potluck.sim.dram.mapping import Mapping
from potluck.sim.dram.system import System


def kind_of(machine: Machine) -> Kind | None:
    """The machine's kind of DRAM; None for ``simple``."""
    return None if machine.dram.kind == "simple" else load_kind(machine.dram.kind)


def mapping_of(machine: Machine) -> Mapping | None:
    """The machine's address mapping; None for ``simple``.

    Raises:
        MachineError: a mapping that does not fit the kind, or channels too small for ``memory.dram_bytes``.
    """
    kind, keys = kind_of(machine), machine.dram
    if kind is None:
        return None
    mapping = Mapping(kind, keys.channels, keys.mapping)
    if machine.memory.dram_bytes > mapping.bytes:
        raise MachineError(
            f"{keys.channels} channels of {kind.key} hold {mapping.bytes} bytes", key="memory.dram_bytes",
            hint="Give more dram.channels or a smaller memory.dram_bytes.",
        )  # fmt: skip
    return mapping


def system_of(machine: Machine) -> System | None:
    """A DRAM at rest for a machine; None for ``simple``.

    Raises:
        MachineError: as :func:`mapping_of`, or a way of refresh that the kind does not have.
    """
    mapping, keys = mapping_of(machine), machine.dram
    if mapping is None:
        return None
    cycle = Fraction(10**12) / Fraction(machine.cluster.clock_hz)
    return System(mapping.kind, keys.channels, keys.mapping, keys.page, keys.refresh, keys.queue, cycle)


def core_latency(machine: Machine) -> int:
    """Cycles that a core's load from DRAM takes longer than one from L1: the path and a read of a closed row."""
    kind = kind_of(machine)
    if kind is None:
        return machine.dram.latency_cycles
    return machine.dram.path_cycles + ceil(kind.idle_read_ps * machine.cluster.clock_hz / 1e12)


def core_rate(machine: Machine) -> float:
    """Bytes per cycle of a core's vector access to DRAM: what the pins of all channels give."""
    kind = kind_of(machine)
    if kind is None:
        return machine.dram.bytes_per_cycle
    return machine.dram.channels * kind.peak_bytes_per_second / machine.cluster.clock_hz


def stream_rate(machine: Machine) -> float:
    """Bytes per cycle that the DMA moves from or to DRAM at most."""
    return min(core_rate(machine), machine.dma.width_bits / 8)
