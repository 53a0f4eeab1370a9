"""What a run yields: outputs, and cycles, instructions and energy by layer and cause."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from potluck.sim.observation.profile import Profile
    from potluck.sim.observation.trace import Trace
    from potluck.sim.timing.error import TimingError


VERSION = 1
"""Of `Result.to_json`: counts changes of what a key means, and keys that go."""


@dataclass(frozen=True)
class LayerResult:
    """One layer's share of a run.

    Attributes:
        name: of the network's node; ``(runtime)`` is what lies between layers.
        op: operators, joined by ``+`` where several became one layer.
        format: of its products; names as ``--scheme`` and machines have them.
        cycles: cycles of hart 0 (whose clock is the run's) spent in the layer's pc range, waits included.
        macs: multiply-accumulates of the layer, from the manifest.
        utilization: macs over what the machine's peak for the layer's format does in these cycles.
        energy_joules: dynamic energy of all harts in the layer plus the static share of its cycles.
        instructions: of all harts.
        stalls: cycles of hart 0 by cause; their sum is ``cycles``.
        bytes_moved: by DMA.
        dram_bytes: of DRAM's bursts that the layer asked for, by DMA and cores.
        bounds: the fewest cycles in which each resource could do the layer's work (`potluck.sim.timing.bounds`).
        harts: cycles of each hart by cause; the first is ``stalls``.
    """

    name: str
    op: str
    format: str
    cycles: int
    macs: int
    utilization: float
    energy_joules: float
    instructions: int
    stalls: dict[str, int]
    bytes_moved: int = 0
    dram_bytes: int = 0
    bounds: dict[str, float] = field(default_factory=dict)
    harts: list[dict[str, int]] = field(default_factory=list)


@dataclass(frozen=True)
class RtlLayer:
    """Cycles in which a layer's instructions left the core, on the simulator and in RTL."""

    name: str
    cycles: int
    rtl_cycles: int


@dataclass(frozen=True)
class InRtl:
    """The same program in RTL (mode rtl), compared with the simulator instruction by instruction.

    Attributes:
        instructions: retired on the simulator.
        cycles: to the end, on the simulator.
        rtl_cycles: to the end, in RTL.
        difference: the first one, with disassembly and state; "": there is none.
        waves: file with the waveform of the last cycles before it, or "".
        layers: cycles by layer.
    """

    instructions: int
    cycles: int
    rtl_cycles: int
    difference: str
    waves: str
    layers: list[RtlLayer]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**vars(self), "layers": [{**vars(layer)} for layer in self.layers]}


@dataclass(frozen=True)
class Result:
    """A run's outcome; ``to_json`` gives the documented fields."""

    outputs: dict[str, NDArray[Any]]
    mode: str
    machine: str
    clock_hz: float
    cycles: int
    instructions: int
    macs: int
    utilization: float
    energy: dict[str, float]
    layers: list[LayerResult]
    stalls: dict[str, int]
    dram: dict[str, int]
    roofs: dict[str, Any]  # what bounds layers: macs_per_cycle by format, dram_bytes_per_cycle
    timing_error_band: str
    host_seconds: float
    stdout: bytes = b""  # what a Linux process or a program with tohost wrote
    stderr: bytes = b""
    manifest: dict[str, Any] = field(default_factory=dict)
    profile: Profile | None = None  # if it was asked for
    trace: Trace | None = None  # in mode traced
    timing_error: TimingError | None = None  # of this core's cycles, if it has been compared with RTL
    rtl: InRtl | None = None  # in mode rtl

    @property
    def energy_joules(self) -> float:
        """Total energy."""
        return sum(self.energy.values())

    @property
    def cluster_joules(self) -> float:
        """Energy without DRAM."""
        return sum(value for name, value in self.energy.items() if not name.startswith("dram"))

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON values, without the output tensors."""
        return {
            "version": VERSION,
            "mode": self.mode,
            "machine": self.machine,
            "cycles": self.cycles,
            "seconds_at_clock": self.cycles / self.clock_hz,
            "instructions": self.instructions,
            "macs": self.macs,
            "utilization": self.utilization,
            "energy_joules": {"total": self.energy_joules, **self.energy},
            "layers": [{**vars(layer)} for layer in self.layers],
            "stalls": self.stalls,
            "dram": self.dram,
            "roofs": self.roofs,
            "timing_error_band": self.timing_error_band,
            "timing_error": self.timing_error.to_json() if self.timing_error else None,
            "rtl": self.rtl.to_json() if self.rtl else None,
            "host_seconds": self.host_seconds,
            "manifest": self.manifest,
        }


def total(parts: list[dict[str, int]]) -> dict[str, int]:
    """Sum dictionaries key by key."""
    keys = {key: None for part in parts for key in part}
    return {key: int(np.sum([part.get(key, 0) for part in parts])) for key in keys}
