"""A build of the PoT array beside its contract: programs run on both, and what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from potluck.isa.pot.array import CodeSet
from potluck.isa.pot.stream import Buffers, Opcode, Status, header
from potluck.sim.pot.product import Tile
from potluck.sim.pot.v12 import tile_events
from tests.rtl.bench.pot_cases import ANY
from tests.rtl.bench.pot_programs import (
    U32,
    ArrayLibrary,
    Layer,
    Run,
    buffers,
    expected,
    kinds,
    limit_programs,
    random_layer,
    with_last,
)

POST = {0: 29, 1: 16}
"""Cycles between a unit's blocks in the PPU, without and with Overlap."""
DRAIN = {0: 0, 1: 13}
"""Cycles of the last results that an overlapped PPU does not hide, once a COMPUTE; v12's events know no drain."""


@dataclass(frozen=True)
class Build:
    """Parameters of an array.

    Attributes:
        units: vector units.
        code_set: of the PEs.
        overlap: of the PPUs.
        optimize: for the C++ compiler.
        replaced: other files for modules.
    """

    units: int
    code_set: int = ANY
    overlap: int = 0
    optimize: str = "-O1"
    replaced: Mapping[str, Path] | None = None

    @cached_property
    def array(self) -> ArrayLibrary:
        """The verilated design."""
        parameters = {"Units": self.units, "CodeSet": self.code_set, "Overlap": self.overlap}
        return ArrayLibrary(parameters, self.optimize, self.replaced)

    @cached_property
    def room(self) -> Buffers:
        """Its buffers."""
        return buffers(self.units, self.code_set)

    @cached_property
    def sets(self) -> list[CodeSet]:
        """Its code sets."""
        return kinds(self.code_set)

    def layer(self, rng: np.random.Generator, number: int) -> Layer:
        """A random layer, of one code set after the other."""
        return random_layer(rng, self.sets[number % len(self.sets)], self.room)

    def limits(self) -> list[U32]:
        """Programs at the limits of the buffers."""
        return limit_programs(self.room, self.sets[0])

    def run(self, beats: U32, **options: Any) -> tuple[Run, Status, str]:
        """A program on the array: the run, the contract's status, and what differs from it; empty if nothing."""
        run = self.array.run(beats, **options)
        wanted, status = expected(self.room, beats)
        if run.status is not status:
            return run, status, f"{run.status!r}, not {status!r}"
        same = run.out.shape == wanted.shape and bool((run.out == wanted).all())
        return run, status, "" if same else "other results"

    def events(self, layer: Layer) -> int:
        """Cycles of its COMPUTE by v12's events."""
        tile = Tile(*layer.blocks, layer.depth // 4, True, True)
        return tile_events(tile, self.units, 1, POST[self.overlap]) + DRAIN[self.overlap]


def program(layer: Layer) -> U32:
    """The beats of a layer and a NOP, which waits for the end of its COMPUTE."""
    return with_last([*layer.packets(), header(Opcode.NOP)])
