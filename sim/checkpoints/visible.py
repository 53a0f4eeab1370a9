"""Where a corrupted constant first shows: the layer that first leaves another value in DRAM than in the golden run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import EndlessError, ExitError, TrapError
from potluck.sim.checkpoints.golden import Golden
from potluck.sim.checkpoints.pages import all_differences
from potluck.sim.checkpoints.replay import Patch, lowest
from potluck.sim.checkpoints.stage import Outside, Stage
from potluck.sim.checkpoints.text import fetched_with
from potluck.sim.dram.kind import SECTOR
from potluck.sim.linux.pages import PAGE, PAGE_SHIFT
from potluck.sim.observation.listing import LayerOf


@dataclass(frozen=True)
class Visible:
    """Where a fault first showed.

    Attributes:
        layer: name; empty: code of no layer.
        op: its operator.
        address: of the first byte that differs; None: the run stopped there.
        instructions: that all harts had executed by then, give or take those between two of their synchronizations.
    """

    layer: str
    op: str
    address: int | None
    instructions: int


class Comparison:
    """A golden run and a faulty one, side by side.

    Args:
        stage: of the program.
        golden: run.
        patch: what is corrupted.
    """

    def __init__(self, stage: Stage, golden: Golden, patch: Patch) -> None:
        self.stage, self.golden, self.patch = stage, golden, patch
        self._sectors = stage.memory.dram.view(np.uint64).reshape(-1, SECTOR // 8)
        self._clean = self._sectors[patch.sectors]
        self._code = fetched_with(stage, patch.sectors, patch.words)
        base = stage.memory.layout.dram_base >> PAGE_SHIFT
        self._dram = np.array([k for k, page in enumerate(stage.arena) if page >= base], np.int64)

    def first(self) -> Visible | None:
        """Where the fault first shows; None: nowhere."""
        begin, count = lowest(self.golden.readers(self.patch.sectors)), len(self.golden.points)
        if begin < 0:
            return None
        try:
            try:
                self._enter(begin, faulty=True)
            except TrapError as error:  # at the first instruction
                return self._at(error.pc or 0, None, 0)
            at, running = begin, True
            while running and at + 1 < count:
                try:
                    running = self.stage.advance(self.golden.points[at + 1].rounds)
                except (TrapError, ExitError, EndlessError, Outside):
                    break
                if not running or self._differs(at + 1):
                    break
                at += 1
            return self._in_segment(begin, at)
        finally:
            self._sectors[self.patch.sectors] = self._clean
            self.stage.fetch(None)

    def _enter(self, checkpoint: int, faulty: bool) -> None:
        self.stage.fetch(self._code if faulty else None)
        self.stage.restore(self.golden.points[checkpoint], self.golden.contents[checkpoint])
        self._sectors[self.patch.sectors] = self.patch.words if faulty else self._clean

    def _differs(self, checkpoint: int) -> bool:
        """Whether anything in DRAM does, but for the corrupted words."""
        contents = self.stage.known(self.golden.contents[checkpoint])[self._dram]
        self._sectors[self.patch.sectors] = self._clean
        found = all_differences(self.stage.hosts[self._dram], contents, self.stage.contents.address).any()
        self._sectors[self.patch.sectors] = self.patch.words
        return bool(found)

    def _page(self, place: int) -> NDArray[np.uint8]:
        return self.stage.memory.view(self.stage.arena[place] << PAGE_SHIFT, PAGE)

    def _digests(self, faulty: bool) -> list[bytes]:
        """Of the pages of DRAM that runs write."""
        if faulty:
            self._sectors[self.patch.sectors] = self._clean
        found = [
            hashlib.blake2b(self._page(k).tobytes(), digest_size=16).digest() for k in self._dram.tolist()
        ]
        if faulty:
            self._sectors[self.patch.sectors] = self.patch.words
        return found

    def _in_segment(self, begin: int, at: int) -> Visible | None:
        """The first round after a checkpoint that ends with a difference."""
        stage, golden, count = self.stage, self.golden, len(self.golden.points)
        last = golden.points[at + 1].rounds if at + 1 < count else None
        first, running = golden.points[at].rounds, True
        frames: list[list[bytes]] = []
        self._enter(at, faulty=False)
        while running and (last is None or first + len(frames) < last):
            running = stage.advance(first + len(frames) + 1)
            frames.append(self._digests(False))
        self._enter(begin, faulty=True)
        if begin < at:
            stage.advance(first)
        for number, frame in enumerate(frames):
            pc, done = int(stage.point().harts[0]["pc"]), sum(hart.instructions for hart in stage.harts)
            try:
                stage.advance(first + number + 1)
            except (TrapError, ExitError, EndlessError, Outside) as error:
                return self._at(getattr(error, "pc", None) or pc, None, done)
            found = [k for k, (a, b) in enumerate(zip(self._digests(True), frame, strict=True)) if a != b]
            if found:
                place = int(self._dram[found[0]])
                held = self._page(place).copy()
                self._enter(at, faulty=False)
                stage.advance(first + number + 1)
                byte = int(np.flatnonzero(held != self._page(place))[0])
                return self._at(pc, (stage.arena[place] << PAGE_SHIFT) + byte, done)
        return None

    def _at(self, pc: int, address: int | None, done: int) -> Visible:
        layer = LayerOf(self.stage.program.manifest.layers).layer(pc)
        return Visible(layer.name if layer else "", layer.op if layer else "", address, done)
