"""Resident memory of a campaign of a million trials, their outcomes drawn, not run: the bookkeeping is the real one."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from potluck.campaign.cells import place_of
from potluck.campaign.outcomes import CRITERIA
from potluck.campaign.record import Record
from potluck.campaign.run import work
from potluck.campaign.spec import Spec, validated
from potluck.campaign.store import FORMAT, Store
from potluck.campaign.summary import summarize
from potluck.parallel.journal import Journal
from potluck.parallel.schedulers import Chunk, Task

CELLS, TRIALS, INPUTS = 2, 500_000, 64
GROWTH = 64.0
"""Mebibytes that the last nine tenths of the trials may add."""
Json = dict[str, Any]


def spec(trials: int) -> Spec:
    """Two stacks that are looked at every 50 trials, and never stop for what is seen."""
    return validated({
        "seed": 1, "network": {"model": "demo"}, "faults": [{"kind": "flips"}],
        "protection": {"stacks": ["none", "hsiao"]}, "stop": {"trials": trials, "half_width": 1e-9},
    })  # fmt: skip


def facts(cell: int) -> Json:
    """What a cell's report has to know."""
    return {
        "cell": cell, "scheme": "as-is", "faults": "flips 1", "kind": "flips", "entry": 0, "rate": 1, "numbers": None,
        "stack": ("none", "hsiao")[cell], "check_bits": 32 * cell, "bits": [10**6, 10**6], "raw_ber": 1e-6,
        "golden": "", "golden_accuracy": 0.9, "notes": [], "inputs": INPUTS,
    }  # fmt: skip


def record(identity: int) -> Record:
    """A trial as a worker writes it down, its outcome drawn by its id."""
    cell, number = place_of(identity, CELLS)
    rng = np.random.Generator(np.random.Philox(key=identity))
    u, loss = rng.random(2).tolist()
    hits = int(u * INPUTS) if u < 0.1 else 0
    outcome = "sdc" if hits else "due" if u > 0.95 else "masked"
    found: Record = {
        "id": identity, "cell": cell, "number": number, "outcome": outcome, "faults": 1, "raw": 1, "after_on_die": 1,
        "changed": bool(hits), "stopped": False, **dict.fromkeys(CRITERIA, hits), "nonfinite": 0, "crashed": 0,
        "hung": 0, "accuracy": 0.9 - hits / 100, "delta_nll": hits * loss, "clipped": 0,
        "sectors": {"elements status CLEAN": 1}, "tensors": {f"layer{identity % 9}": 1},
        "fields": {f"FP32 mantissa {identity % 23}": 1}, "seconds": 1e-4, "worker": "drawn",
    }  # fmt: skip
    return found


class Drawn:
    """A scheduler that draws outcomes, and keeps its journal as workers do.

    Args:
        store: of the campaign.
    """

    width = 1

    def __init__(self, store: Store) -> None:
        self._store = store

    def run(self, task: Task, chunks: Sequence[Chunk]) -> Iterator[list[Record]]:
        """See `potluck.parallel.schedulers.Scheduler.run`; the task is not asked."""
        with Journal(self._store.journals) as journal:
            for chunk in chunks:
                made = [record(identity) for identity in chunk]
                for one in made:
                    journal.append(one)
                yield made

    def close(self) -> None:
        """Nothing to let go."""


def resident() -> float:
    """Mebibytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)


def campaign(folder: Path, trials: int) -> tuple[list[tuple[int, float]], Json]:
    """Run a campaign of so many trials of each cell; memory while it ran, and the summary."""
    store, one = Store(folder), spec(trials)
    store.register({
        "format": FORMAT, "hash": one.hash, "spec": one.model_dump(mode="json"), "base": str(folder), "files": {},
        "versions": {}, "cells": [facts(cell) for cell in range(CELLS)],
    })  # fmt: skip
    seen: list[tuple[int, float]] = []

    def step(done: int, most: int) -> None:
        if done >= (seen[-1][0] if seen else 0) + most // 200:
            seen.append((done, resident()))

    work(store, Drawn(store), step)
    return seen, summarize(store)


def run(report: Callable[..., None]) -> None:
    """Figures of memory."""
    whole = CELLS * TRIALS
    with tempfile.TemporaryDirectory() as folder:
        gc.collect()
        before, start = resident(), time.perf_counter()
        seen, summary = campaign(Path(folder), TRIALS)
        assert summary["trials"] == whole
        after = resident()
        early = max(size for done, size in seen if done <= whole // 10)
        late = max(size for done, size in seen if done > whole // 10)
        report("resident before a campaign", before, "MiB", "of this process")
        report("  in its first 100,000 trials, at most", early, "MiB", "journals are compacted every 16 MiB")
        report(
            "  in the 900,000 that follow, at most", late, "MiB", f"{time.perf_counter() - start:.0f} s in all",
            f"<= {GROWTH:.0f} more", late <= early + GROWTH,
        )  # fmt: skip
        report("  after its summary", after, "MiB", "every row was read twice", f"<= {GROWTH:.0f} more",
               after <= early + GROWTH)  # fmt: skip
