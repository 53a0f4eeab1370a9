"""A golden run as checkpoints, and which constants it reads between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.sim.checkpoints.pages import all_differences
from potluck.sim.checkpoints.stage import Point, Stage
from potluck.sim.checkpoints.text import Fetches
from potluck.sim.dram.kind import SECTOR
from potluck.sim.linux.pages import PAGE, PAGE_SHIFT
from potluck.sim.observation.listing import LayerOf
from potluck.sim.rounds import ROUNDS

MOST = 64
"""Checkpoints of a run: one bit each in a word for every sector."""


@dataclass(frozen=True, eq=False)
class Golden:
    """A run without faults.

    Attributes:
        points: where it was at each checkpoint, the first before it began.
        contents: int64 (checkpoints, pages), numbers of the arena's pages.
        layers: int16 (checkpoints,), the layer that hart 0 was in, counting from 0; as many as there are: in none.
        first: sector of DRAM that `reads` begins with.
        reads: uint64 (sectors,), bit k: read, or of text fetched, between checkpoint k and the next.
        outputs: by name.
        by_hart: instructions of each hart.
    """

    points: Sequence[Point]
    contents: NDArray[np.int64]
    layers: NDArray[np.int16]
    first: int
    reads: NDArray[np.uint64]
    outputs: Mapping[str, NDArray[Any]]
    by_hart: tuple[int, ...]

    @property
    def instructions(self) -> int:
        """Of all harts."""
        return sum(self.by_hart)

    def instructions_at(self, checkpoint: int) -> int:
        """Of all harts, up to a checkpoint."""
        return int(self.points[checkpoint].harts["instructions"].sum())

    def readers(self, sectors: NDArray[np.int64]) -> int:
        """Between which checkpoints any of these sectors is read, as bits."""
        at = sectors - self.first
        if at.size and not 0 <= int(at.min()) <= int(at.max()) < self.reads.size:
            raise IndexError("sectors of no constant")
        return int(np.bitwise_or.reduce(self.reads[at])) if at.size else 0


class _Reads:
    """Gathers which sectors are read.

    Args:
        first: sector, counted from the start of DRAM.
        count: of sectors.
        base: address of DRAM.
    """

    def __init__(self, first: int, count: int, base: int) -> None:
        self.first, self.base = first, base
        self.words: NDArray[np.uint64] = np.zeros(count, np.uint64)
        self.bit = np.uint64(1)

    def __call__(self, begin: int, end: int) -> None:
        low = (begin - self.base) // SECTOR - self.first
        high = -(-(end - self.base) // SECTOR) - self.first
        self.words[max(0, low) : max(0, high)] |= self.bit


def record(
    stage: Stage, inputs: Mapping[str, NDArray[Any]], first: int, count: int, checkpoints: int = MOST
) -> Golden:  # fmt: skip
    """Run a program without faults, and keep it.

    Args:
        stage: of the program.
        inputs: as of `potluck.sim.simulate.simulate`.
        first: sector of DRAM with the first constant.
        count: of sectors to the end of the last constant.
        checkpoints: at most, 1 to `MOST`; as evenly spread over the instructions as rounds allow.

    Raises:
        Outside: the program writes where it may not in a run that is kept.
        DataError, TrapError, ExitError, EndlessError: see `potluck.sim.cluster.Cluster.run`.
    """
    if not 1 <= checkpoints <= MOST:
        raise ValueError(f"{checkpoints} checkpoints, not 1 to {MOST}")
    layout, store = stage.memory.layout, stage.contents
    reads = _Reads(first, count, layout.dram_base)
    pages = np.arange(first * SECTOR >> PAGE_SHIFT, ((first + count) * SECTOR + PAGE - 1) >> PAGE_SHIFT)
    stage.watch(reads, pages)
    try:
        stage.enter(inputs)
        while stage.advance():  # learns how long it is, and which pages it writes
            pass
        by_hart, outputs = tuple(hart.instructions for hart in stage.harts), stage.outputs()
        total = sum(by_hart)
        grain = max(1, -(-total // checkpoints))
        reads.words[:] = 0
        stage.enter(inputs)
        find, fetches = LayerOf(stage.program.manifest.layers), Fetches(stage, reads)
        points: list[Point] = []
        layers: list[int] = []
        numbers: list[NDArray[np.int64]] = []
        running, following = True, 0
        while running:
            done = sum(hart.instructions for hart in stage.harts)
            if done >= following and len(points) < checkpoints:
                following = done // grain * grain + grain
                fetches()
                points.append(stage.point())
                layers.append(find(int(points[-1].harts[0]["pc"])))
                reads.bit = np.uint64(1 << (len(points) - 1))
                stage.watch(reads, pages)
                before = numbers[-1] if numbers else np.array(stage.initial, np.int64)
                now, hosts = before.copy(), stage.hosts
                for k in np.flatnonzero(all_differences(hosts, before, store.address)).tolist():
                    page = stage.memory.view(stage.arena[k] << PAGE_SHIFT, PAGE)
                    now[k] = store.number(page)
                numbers.append(now)
            running = stage.advance(int(stage.control[ROUNDS]) + 1)
        fetches()
    finally:
        stage.watch(None, np.zeros(0, np.int64))
    return Golden(
        points, np.stack(numbers), np.array(layers, np.int16), first, reads.words, outputs, by_hart
    )  # fmt: skip
