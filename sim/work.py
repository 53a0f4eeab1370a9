"""How far a simulation is: the multiply-accumulates of the layers before the one that hart 0 executes."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from potluck.sim.driver import R_BLOCK

if TYPE_CHECKING:
    from potluck.sim.cluster import Cluster

LEAST = 10_000
"""Multiply-accumulates that a layer counts for at least: moving data takes time, too."""


class Work:
    """Of a run; its numbers are looked up only when somebody asks.

    Args:
        cluster: that runs.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._hart, self._store = cluster.harts[0], cluster.store
        layers = sorted(cluster.program.manifest.layers, key=lambda layer: layer.start)
        self._starts = [layer.start for layer in layers]
        self._before = [0]
        for layer in layers:
            self._before.append(self._before[-1] + max(layer.macs, LEAST))

    @property
    def total(self) -> float | None:
        """Of all layers; None of a program without layers."""
        return float(self._before[-1]) if self._starts else None

    def done(self) -> float:
        """Now; also while compiled code runs in another thread.

        Raises:
            IndexError: The hart has not begun.
        """
        pc = self._store.blocks[int(self._hart.record[R_BLOCK])].pc
        return float(self._before[max(0, bisect_right(self._starts, pc) - 1)])
