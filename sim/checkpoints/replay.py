"""Faulty runs that begin at the last checkpoint before they can differ, and end where they cannot differ any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.sim.checkpoints.golden import Golden
from potluck.sim.checkpoints.pages import differs, first_difference
from potluck.sim.checkpoints.stage import Stage
from potluck.sim.dram.kind import SECTOR
from potluck.sim.pages import PAGE, PAGE_SHIFT


@dataclass(frozen=True, eq=False)
class Patch:
    """Constants as a faulty run reads them.

    Attributes:
        sectors: int64 (n,), counted from the start of DRAM, each once.
        words: uint64 (n, 4), what they hold.
    """

    sectors: NDArray[np.int64]
    words: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.sectors)


@dataclass
class Effort:
    """What faulty runs took.

    Attributes:
        runs: in all.
        skipped: of them, those that never read a corrupted word, and were not executed at all.
        dropped: ended early, equal to the golden run.
        instructions: that were executed.
        golden: that as many runs from start to end would have executed, had they been without faults.
    """

    runs: int = 0
    skipped: int = 0
    dropped: int = 0
    instructions: int = 0
    golden: int = 0


class Replay:
    """Faulty runs of one program.

    Args:
        stage: that has the arena of all golden runs.
        delayed: whether runs begin at the last checkpoint before a corrupted word is read; else at the first.
        dropping: whether runs end at a checkpoint where nothing differs and no corrupted word is read again.
    """

    def __init__(self, stage: Stage, delayed: bool = True, dropping: bool = True) -> None:
        self.stage, self.delayed, self.dropping = stage, delayed, dropping
        self.effort = Effort()
        self._likely = 0
        self._sectors = stage.memory.dram.view(np.uint64).reshape(-1, SECTOR // 8)

    def run(self, golden: Golden, patch: Patch) -> Mapping[str, NDArray[Any]] | None:
        """A run whose constants are corrupted from the beginning.

        Args:
            golden: the same run without faults.
            patch: what is corrupted; of constants that `golden` watched.

        Returns:
            Outputs by name; None: they are the golden ones.

        Raises:
            ExitError, TrapError, EndlessError: how a run may end.
            Outside: the run has to be made without checkpoints.
        """
        effort = self.effort
        effort.runs, effort.golden = effort.runs + 1, effort.golden + golden.instructions
        ahead = golden.readers(patch.sectors)
        at = _lowest(ahead) if self.delayed else 0
        if at < 0:
            effort.skipped += 1
            return None
        clean = self._sectors[patch.sectors]
        try:
            return self._from(golden, patch, clean, at, ahead)
        finally:
            self._sectors[patch.sectors] = clean

    def _from(
        self, golden: Golden, patch: Patch, clean: NDArray[np.uint64], at: int, ahead: int
    ) -> Mapping[str, NDArray[Any]] | None:  # fmt: skip
        stage, effort, count = self.stage, self.effort, len(golden.points)
        begun, step = self._enter(golden, patch, at), 1
        while True:
            look = at + step if self.dropping else count
            more = stage.advance(golden.points[look].rounds if look < count else -1)
            if not more or look >= count:
                effort.instructions += sum(hart.instructions for hart in stage.harts) - begun
                return stage.outputs()
            at, step = look, 2 * step  # what differs for long will not soon be equal
            if self._equal(golden, patch, clean, at):
                effort.instructions += golden.instructions_at(at) - begun
                at = _lowest(ahead >> at << at)
                if at < 0:
                    effort.dropped += 1
                    return None
                begun, step = self._enter(golden, patch, at), 1

    def _enter(self, golden: Golden, patch: Patch, at: int) -> int:
        """Go to a checkpoint, with the corrupted words in memory; the instructions before it."""
        self.stage.restore(golden.points[at], golden.contents[at])
        self._sectors[patch.sectors] = patch.words
        return golden.instructions_at(at)

    def _patched(self, place: int, patch: Patch) -> bool:
        """Whether a page of the arena has corrupted words itself."""
        stage = self.stage
        first = ((stage.arena[place] << PAGE_SHIFT) - stage.memory.layout.dram_base) // SECTOR
        return bool(((patch.sectors >= first) & (patch.sectors < first + PAGE // SECTOR)).any())

    def _equal(self, golden: Golden, patch: Patch, clean: NDArray[np.uint64], at: int) -> bool:
        """Whether nothing but the corrupted words differs from the golden run."""
        stage, store = self.stage, self.stage.contents.address
        contents = stage.known(golden.contents[at])
        likely = min(self._likely, contents.size - 1)
        if differs(stage.hosts[likely], contents[likely], store) and not self._patched(likely, patch):
            return False  # where the last one differed
        if not stage.point().same(golden.points[at]):
            return False
        if not np.array_equal(self._sectors[patch.sectors], patch.words):
            return False  # the run wrote into constants
        self._sectors[patch.sectors] = clean
        found = int(first_difference(stage.hosts, contents, store, likely))
        self._sectors[patch.sectors] = patch.words
        if found >= 0:
            self._likely = found
        return found < 0


def _lowest(bits: int) -> int:
    """The number of the lowest bit that is set; -1: none."""
    return (bits & -bits).bit_length() - 1
