"""Faults in a program's text: which of it a golden run fetches, and the code that faults leave."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from potluck.sim.blocks import BlockStore
from potluck.sim.checkpoints.stage import Outside, Reads, Stage
from potluck.sim.dram.kind import SECTOR
from potluck.sim.driver import R_BLOCK


class Fetches:
    """Tells what harts execute.

    Args:
        stage: where they run.
        reads: told of the bytes [begin, end) of instructions that were executed, or are about to be.
    """

    def __init__(self, stage: Stage, reads: Reads) -> None:
        self.stage, self.reads = stage, reads
        self._counts = [hart.counts.copy() for hart in stage.harts]

    def __call__(self) -> None:
        """Tell of all since the last call: whole blocks, of which a run may execute the first part."""
        for number, hart in enumerate(self.stage.harts):
            before, now = self._counts[number], hart.counts.copy()
            self._counts[number] = now
            used = np.flatnonzero(now != np.pad(before, (0, now.size - before.size)))
            if hart.store is not self.stage.store:  # its blocks may be any
                for base, data in self.stage.memory.code.regions:
                    self.reads(base, base + len(data))
                continue
            ahead = hart.store.blocks[int(hart.record[R_BLOCK])]
            self.reads(ahead.pc, ahead.end)
            for begin, end in hart.store.arrays.extents[used].tolist():
                self.reads(begin, end)


def fetched_with(stage: Stage, sectors: NDArray[np.int64], words: NDArray[np.uint64]) -> BlockStore | None:
    """What harts execute if some sectors of DRAM hold other words; None: what they execute without.

    Args:
        stage: of the program.
        sectors: int64 (n,), from the start of DRAM.
        words: uint64 (n, 4).

    Raises:
        Outside: the run has to be made from the start, as it would be prepared in another way: code that may have
            atomic accesses, change itself, or read flags that are not gathered otherwise.
    """
    code, base = stage.memory.code, stage.memory.layout.dram_base
    places = base + sectors * SECTOR
    inside = np.zeros(len(sectors), np.bool_)
    for begin, data in code.regions:
        inside |= (places + SECTOR > begin) & (places < begin + len(data))
    if not inside.any():
        return None
    rows = np.flatnonzero(inside)
    left = code.with_bytes((int(places[k]), words[k].tobytes()) for k in rows.tolist())
    if left.has_atomics() or left.has_fence_i() or left.reads_flags() != stage.store.flags:
        raise Outside("text of another kind")
    return stage.store.with_code(left)
