"""The network between clusters: what an all-reduce takes, in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

from potluck.isa.errors import DataError

TOPOLOGIES = ("mesh", "ring", "tree")


@dataclass(frozen=True)
class Noc:
    """A network on chip.

    Attributes:
        topology: ``mesh`` (as square as may be: reduce-scatter and all-gather along rows, then columns), ``ring``, or
            ``tree`` (binary, up and down again).
        bytes_per_cycle: of a link, each way; a cluster sends on one link at a time.
        step_cycles: of a hop, and of setting a transfer up.
        pj_per_byte: of a byte over a hop.
        adds_per_cycle: sums that a cluster makes of what it receives, not overlapped with receiving.
    """

    topology: str
    bytes_per_cycle: float
    step_cycles: float
    pj_per_byte: float
    adds_per_cycle: float

    def __post_init__(self) -> None:
        if self.topology not in TOPOLOGIES:
            raise DataError(f"topology {self.topology!r}", hint=f"Use one of {', '.join(TOPOLOGIES)}")

    def sides(self, clusters: int) -> tuple[int, int]:
        """Rows and columns of the mesh: the divisors nearest to a square."""
        rows = next(k for k in range(math.isqrt(clusters), 0, -1) if clusters % k == 0)
        return rows, clusters // rows

    def all_reduce(self, size: float, clusters: int, value_bytes: float = 4.0) -> tuple[float, float]:
        """Every cluster gets the sum of what all have.

        Args:
            size: bytes of a cluster's part.
            clusters: that take part.
            value_bytes: of a value in them.

        Returns:
            Cycles, and bytes that cross hops, of all clusters together.
        """
        if clusters == 1:
            return 0.0, 0.0
        if self.topology == "tree":
            levels = math.ceil(math.log2(clusters))
            cycles = 2 * levels * (size / self.bytes_per_cycle + self.step_cycles)
            return cycles + levels * size / value_bytes / self.adds_per_cycle, 2 * (clusters - 1) * size
        if self.topology == "ring":
            steps = clusters - 1
        else:
            rows, columns = self.sides(clusters)
            steps = rows - 1 + columns - 1
        share = (clusters - 1) / clusters * size  # once to reduce and scatter, once to gather
        cycles = 2 * (share / self.bytes_per_cycle + steps * self.step_cycles)
        return cycles + share / value_bytes / self.adds_per_cycle, 2 * share * clusters

    def joules(self, crossed: float) -> float:
        """Energy of bytes that cross hops."""
        return 1e-12 * self.pj_per_byte * crossed
