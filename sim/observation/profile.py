"""The profile of a run: executions and cycles by cause of every instruction. The cycles of a core's instructions add up
to the core's clock."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from potluck.sim.cluster import Cluster
from potluck.sim.hart import Hart
from potluck.sim.observation.listing import Line, Listing
from potluck.sim.timing.timer import CAUSES


@dataclass(frozen=True, slots=True)
class Entry:
    """One instruction's share: its executions, and cycles by cause.

    A stall is charged to the instruction that had to wait, the refilling of the fetch stage to the jump.
    """

    line: Line
    executions: int
    causes: dict[str, int]

    @property
    def cycles(self) -> int:
        """All its cycles."""
        return sum(self.causes.values())

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        line = self.line
        return {
            "pc": line.pc, "text": line.text, "symbol": line.symbol, "offset": line.offset, "layer": line.layer,
            "executions": self.executions, "cycles": self.cycles,
            "causes": {name: cycles for name, cycles in self.causes.items() if cycles},
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class CoreProfile:
    """One core: its clock at its end, and its instructions in the order of their addresses."""

    number: int
    cycles: int
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class HotBlock:
    """Consecutive instructions that were always executed together."""

    entries: list[Entry]

    @property
    def cycles(self) -> int:
        """Of all its instructions."""
        return sum(entry.cycles for entry in self.entries)

    @property
    def executions(self) -> int:
        """Of the whole block."""
        return self.entries[0].executions


@dataclass(frozen=True, slots=True)
class Profile:
    """All cores' profiles."""

    cores: list[CoreProfile]

    def merged(self) -> list[Entry]:
        """The instructions with the sums over all cores."""
        known: dict[tuple[int, str], list[Entry]] = defaultdict(list)
        for core in self.cores:
            for entry in core.entries:
                known[entry.line.pc, entry.line.text].append(entry)
        return [_sum(known[key]) for key in sorted(known)]

    def blocks(self) -> list[HotBlock]:
        """The program's blocks over all cores, the one with most cycles first."""
        found: list[HotBlock] = []
        last: Entry | None = None
        for entry in self.merged():
            follows = last is not None and last.line.end == entry.line.pc and not last.line.leaves
            if last is None or not follows or last.executions != entry.executions or not entry.line.offset:
                found.append(HotBlock([]))
            found[-1].entries.append(entry)
            last = entry
        return sorted(found, key=lambda block: -block.cycles)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "cores": [
                {
                    "core": core.number,
                    "cycles": core.cycles,
                    "instructions": [e.to_json() for e in core.entries],
                }
                for core in self.cores
            ]
        }


def collect(cluster: Cluster) -> Profile:
    """The profile of a finished run that was watched for it."""
    listings: dict[int, Listing] = {}
    cores = []
    for hart in cluster.harts:
        listing = listings.setdefault(id(hart.store), Listing(cluster.program, hart.store))
        cores.append(CoreProfile(hart.number, hart.cycles, _entries(hart, listing)))
    return Profile(cores)


def _entries(hart: Hart, listing: Listing) -> list[Entry]:
    seen = hart.observed()
    known: dict[tuple[int, str], list[Entry]] = defaultdict(list)
    first: dict[int, Line] = {}
    for row in np.flatnonzero(seen.executions).tolist():
        line = listing[row]
        first.setdefault(line.pc, line)
        causes = dict(zip(CAUSES, seen.causes[row].tolist(), strict=True))
        known[line.pc, line.text].append(Entry(line, int(seen.executions[row]), causes))
    for (pc, cause), cycles in hart.waited.items():
        line = first[pc]
        known[pc, line.text].append(Entry(line, 0, {cause: cycles}))
    return [_sum(known[key]) for key in sorted(known)]


def _sum(parts: list[Entry]) -> Entry:
    causes = {name: sum(part.causes.get(name, 0) for part in parts) for name in CAUSES}
    return Entry(parts[0].line, sum(part.executions for part in parts), causes)


__all__ = ["CoreProfile", "Entry", "HotBlock", "Profile", "collect"]
