"""The trace of a run: a record of every instruction, and what the cores waited for and the DMA moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.sim.cluster import Cluster
from potluck.sim.dma import Moved
from potluck.sim.observation.listing import Line, Listing
from potluck.sim.observation.watch import Wait


@dataclass(frozen=True, slots=True)
class CoreTrace:
    """One core.

    Attributes:
        number: the hart.
        records: :data:`potluck.sim.observation.watch.RECORD` array, in program order; ``row`` is an index of ``lines``.
        lines: the instructions that occur.
        waits: of the core for the DMA and the other cores.
    """

    number: int
    records: NDArray[np.void]
    lines: list[Line]
    waits: list[Wait]


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole run, or what of it lies in a window of cycles."""

    machine: str
    window: tuple[int, int]
    cycles: int
    cores: list[CoreTrace]
    transfers: list[Moved]

    @property
    def instructions(self) -> int:
        """Records of all cores."""
        return sum(core.records.size for core in self.cores)


def collect(cluster: Cluster, window: tuple[int, int]) -> Trace:
    """The trace of a finished run that was watched for it."""
    listings: dict[int, Listing] = {}
    cores = []
    for hart in cluster.harts:
        listing = listings.setdefault(id(hart.store), Listing(cluster.program, hart.store))
        seen = hart.observed()
        records = seen.records
        rows, index = np.unique(records["row"], return_inverse=True)
        records["row"] = index
        cores.append(CoreTrace(hart.number, records, [listing[row] for row in rows.tolist()], seen.waits))
    first, end = window
    transfers = [t for t in cluster.dma.transfers if t.queued < end and t.end > first]
    return Trace(cluster.machine.name, window, cluster.cycles, cores, transfers)


__all__ = ["CoreTrace", "Trace", "collect"]
