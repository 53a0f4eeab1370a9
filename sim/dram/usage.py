"""What a finished run did to DRAM: accesses of the DMA and the cores, and their energy, by layer."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from potluck.sim.blocks import MEMORY
from potluck.sim.dram.cores import access
from potluck.sim.dram.system import Counts

if TYPE_CHECKING:
    from potluck.sim.cluster import Cluster
    from potluck.sim.observation.listing import LayerOf

SIMPLE_BURST = 64  # bytes of an access to ``simple`` DRAM, which has no bursts


class DramUse:
    """Accesses by layer.

    Args:
        cluster: after its run; with DRAM that is modeled command by command, its refreshes are run up to the end.
        find: layer of a pc.

    Attributes:
        layers: counts by layer, without refreshes.
        cores: how much of it the cores themselves accessed.
    """

    def __init__(self, cluster: Cluster, find: LayerOf) -> None:
        self._cluster, self._dram = cluster, cluster.dram
        self.layers: dict[int, Counts] = {}
        self.cores = Counts()
        if self._dram is not None:
            self._dram.advance(cluster.cycles)
            traffic = cluster.traffic()
            found, place = np.unique(find.all(traffic.pcs), return_inverse=True)
            sums = np.zeros((found.size, traffic.tallies.shape[1]), np.int64)
            np.add.at(sums, place, traffic.tallies)
            for layer, tally in zip(found.tolist(), sums, strict=True):
                self._add(layer, self._dram.counts(tally))
        if not cluster.kernel:  # a process's memory is not laid out in DRAM
            self._count_cores(find)

    def _add(self, layer: int, counts: Counts) -> None:
        self.layers[layer] = self.layers.get(layer, Counts()) + counts

    def _count_cores(self, find: LayerOf) -> None:
        machine = self._cluster.machine
        burst = self._dram.kind.organization.burst_bytes if self._dram else SIMPLE_BURST
        for hart in self._cluster.harts:
            use = hart.usage()
            for entry in np.flatnonzero(use.far).tolist():
                block, vl = hart.store.blocks[use.block[entry]], int(use.vl[entry])
                far, times = int(use.far[entry]), int(use.count[entry])
                memory = [insn for insn, _ in block.insns if insn.kind in MEMORY]
                for slot, insn in enumerate(memory):
                    if far >> slot & 1:
                        counts = access(insn, block.context, vl, machine, burst).times(times)
                        self.cores += counts
                        self._add(find(block.pc), counts)

    def bytes(self, layer: int) -> int:
        """Of a layer's bursts; with ``simple`` DRAM those of the cores alone."""
        return self.layers[layer].bytes if layer in self.layers else 0

    def energy(self, cycles: list[int]) -> list[dict[str, float]]:
        """Picojoules by component for each layer; standby and refresh are shared out by cycles.

        Args:
            cycles: of each layer.
        """
        if self._dram is None:
            return []
        background = self._dram.background_energy(self._cluster.cycles)
        total = max(1, sum(cycles))
        result = []
        for layer, spent in enumerate(cycles):
            pj = self._dram.dynamic_energy(self.layers.get(layer, Counts()))
            result.append(pj | {name: value * spent / total for name, value in background.items()})
        return result

    def to_json(self) -> dict[str, int]:
        """All counts of the run; ``simple`` DRAM knows bytes, and accesses of 64 of them."""
        channels = [self._cluster.dma, *(self._cluster.pot.schedule.channels if self._cluster.pot else ())]
        read, written = (sum(dma.bytes[way] for dma in channels) for way in ("dram_read", "dram_write"))
        bytes_ = {"read_bytes": read, "write_bytes": written}
        cores = {"core_reads": self.cores.reads, "core_writes": self.cores.writes}
        if self._dram is None:
            reads, writes = -(-read // SIMPLE_BURST), -(-written // SIMPLE_BURST)
            total = Counts(reads, writes, bytes=read + written) + Counts(
                self.cores.reads, self.cores.writes, bytes=self.cores.bytes
            )
        else:
            total = self._dram.counts() + self.cores
        return asdict(total) | bytes_ | cores
