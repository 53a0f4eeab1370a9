"""Faulty runs that begin at the last checkpoint before they can differ, and end where they cannot differ any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.sim.checkpoints.golden import Golden
from potluck.sim.checkpoints.pages import differs, first_difference
from potluck.sim.checkpoints.stage import Stage
from potluck.sim.checkpoints.text import fetched_with
from potluck.sim.checkpoints.upset import Upset
from potluck.sim.dram.kind import SECTOR
from potluck.sim.linux.pages import PAGE, PAGE_SHIFT


@dataclass(frozen=True, eq=False)
class Patch:
    """Constants as a faulty run reads them.

    Attributes:
        sectors: int64 (n,), counted from the start of DRAM, each once.
        words: uint64 (n, 4), what they hold.
    """

    sectors: NDArray[np.int64]
    words: NDArray[np.uint64]

    @classmethod
    def of(
        cls, pieces: Iterable[tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]]
    ) -> Patch:  # fmt: skip
        """What differs of pieces, which are sectors, what they hold without faults, and as they are read."""
        sectors, held = [np.zeros(0, np.int64)], [np.zeros((0, SECTOR // 8), np.uint64)]
        for places, clean, read in pieces:
            rows = (read != clean).any(axis=1)
            sectors.append(places[rows])
            held.append(read[rows])
        return cls(np.concatenate(sectors), np.concatenate(held))

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


@dataclass
class Looks:
    """Whether it pays to compare a run with the golden one: by what comparisons of the same number found before.

    The first comparison of a run comes one checkpoint after its start, the next two later, then four, and so on. What
    is decided changes how long a run takes, and nothing else.

    Attributes:
        first: comparisons of each number that are always made.
        seconds, instructions: of execution so far.
    """

    first: int = 32
    seconds: float = 1e-9
    instructions: int = 0
    _made: dict[int, list[float]] = field(default_factory=dict)

    def pays(self, number: int) -> bool:
        """Whether to make a run's comparison with this number: the first are, and every `AGAIN`-th."""
        made = self._made.setdefault(number, [0, 0, 0.0, 0.0])
        made[0] += 1
        _, looks, cost, saved = made
        return looks < self.first or saved * self.seconds >= cost * self.instructions or made[0] % AGAIN == 0

    def told(self, number: int, cost: float, saved: int) -> None:
        """What a comparison took, in seconds, and spared, in instructions."""
        made = self._made[number]
        made[1], made[2], made[3] = made[1] + 1, made[2] + cost, made[3] + saved


AGAIN = 64
PAUSING = 20e-6
"""Seconds that a run takes longer if it pauses."""


class Replay:
    """Faulty runs of one program.

    Args:
        stage: that has the arena of all golden runs.
        delayed: whether runs begin at the last checkpoint before a corrupted word is read; else at the first.
        dropping: whether runs end at a checkpoint where nothing differs and no corrupted word is read again; it is
            looked for where that pays.
    """

    def __init__(self, stage: Stage, delayed: bool = True, dropping: bool = True) -> None:
        self.stage, self.delayed, self.dropping = stage, delayed, dropping
        self.effort, self.looks = Effort(), Looks()
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
        at = lowest(ahead) if self.delayed else 0
        if at < 0:
            effort.skipped += 1
            return None
        clean = self._sectors[patch.sectors]
        self.stage.fetch(fetched_with(self.stage, patch.sectors, patch.words))
        try:
            return self._from(golden, patch, clean, at, ahead)
        finally:
            self._sectors[patch.sectors] = clean
            self.stage.fetch(None)

    def upset(self, golden: Golden, upset: Upset) -> Mapping[str, NDArray[Any]] | None:
        """A run in which a bit of a hart's registers flips once; see `run`."""
        effort = self.effort
        effort.runs, effort.golden = effort.runs + 1, effort.golden + golden.instructions
        before = [k for k, point in enumerate(golden.points)
                  if point.harts["instructions"][upset.hart] <= upset.instruction]  # fmt: skip
        nothing = Patch.of([])
        try:
            return self._from(golden, nothing, nothing.words, before[-1] if self.delayed else 0, 0, upset)
        finally:
            self.stage.upset(None)

    def _from(
        self, golden: Golden, patch: Patch, clean: NDArray[np.uint64], at: int, ahead: int,
        upset: Upset | None = None,
    ) -> Mapping[str, NDArray[Any]] | None:  # fmt: skip
        stage, effort, looks, count = self.stage, self.effort, self.looks, len(golden.points)
        begun, begin, number = self._enter(golden, patch, at), at, 0
        stage.upset(upset)
        while True:
            look = begin + (2 << number) - 1 if self.dropping else count
            number += 1
            if look < count and not looks.pays(number):
                continue
            start = perf_counter()
            more = stage.advance(golden.points[look].rounds if look < count else -1)
            if not more or look >= count:
                done = sum(hart.instructions for hart in stage.harts) - begun
                effort.instructions, looks.instructions = (
                    effort.instructions + done,
                    looks.instructions + done,
                )
                looks.seconds += perf_counter() - start
                return stage.outputs()
            middle, done = perf_counter(), golden.instructions_at(look) - begun
            looks.seconds += middle - start
            following = self._following(golden, patch, clean, look, ahead)
            spared = 0
            if following is not None:
                spared = (
                    (golden.instructions if following < 0 else golden.instructions_at(following))
                    - done
                    - begun
                )
            looks.told(number, perf_counter() - middle + PAUSING, spared)
            if following is None:
                continue
            effort.instructions, looks.instructions = effort.instructions + done, looks.instructions + done
            if following < 0:
                effort.dropped += 1
                return None
            begun, begin, number = self._enter(golden, patch, following), following, 0

    def _following(
        self, golden: Golden, patch: Patch, clean: NDArray[np.uint64], at: int, ahead: int
    ) -> int | None:  # fmt: skip
        """Of a run that equals the golden one: the checkpoint before the next read of a corrupted word, -1 if there
        is none. None of other runs."""
        return lowest(ahead >> at << at) if self._equal(golden, patch, clean, at) else None

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
        if stage.aim is not None and stage.aim.struck is None:
            return False  # what makes it differ is yet to come
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


def lowest(bits: int) -> int:
    """The number of the lowest bit that is set; -1: none."""
    return (bits & -bits).bit_length() - 1
