"""The loop that runs tasks until none is missing, whatever becomes of the workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from potluck.isa.errors import PotluckError
from potluck.parallel.folder import Record
from potluck.parallel.schedulers import Chunk, LostWorkers, Scheduler, Task

PATIENCE = 3
"""Times that workers may die in a row without a single new task."""

Step = Callable[[int, int], object]
"""Called with the tasks that are done, and those that may be at most."""


class Ledger(Protocol):
    """Which tasks are done, and which are to be."""

    @property
    def done(self) -> int:
        """Tasks."""
        ...

    @property
    def most(self) -> int:
        """Tasks that may be done at most."""
        ...

    def due(self) -> list[int]:
        """The tasks of the next round; none: all is done."""
        ...

    def add(self, records: Iterable[Record]) -> None:
        """Take records in; one that is known changes nothing."""
        ...


def work_off(
    ledger: Ledger,
    scheduler: Scheduler,
    task: Task,
    largest: int,
    written: Callable[[], Iterable[Record]],
    error: type[PotluckError],
    step: Step = lambda done, most: None,
    after_round: Callable[[], object] = lambda: None,
) -> None:
    """Run what is due, round by round.

    Args:
        ledger: says what is due.
        scheduler: runs chunks of tasks.
        task: what a worker does with a chunk; it writes records down before it returns them.
        largest: tasks of a chunk at most.
        written: what workers have written down, for when some died.
        error: to raise when workers die over and over.
        step: told of progress.
        after_round: called when a round is done.

    Raises:
        PotluckError: of class ``error``; or whatever a task raises.
    """
    losses, before = 0, ledger.done
    while ids := ledger.due():
        step(ledger.done, ledger.most)
        try:
            for records in scheduler.run(task, chunked(ids, scheduler.width, largest)):
                ledger.add(records)
                step(ledger.done, ledger.most)
        except LostWorkers:
            ledger.add(written())
            losses = losses + 1 if ledger.done == before else 0
            before = ledger.done
            if losses >= PATIENCE:
                raise error(
                    f"workers died {PATIENCE} times in a row without anything done between",
                    hint="Is there enough memory? Try fewer --jobs; what ran is kept, and the next run goes on",
                ) from None  # fmt: skip
            continue
        after_round()


def chunked(ids: list[int], width: int, largest: int) -> list[Chunk]:
    """Tasks in pieces of neighbours, several for each worker."""
    size = max(1, min(largest, len(ids) // (4 * width)))
    return [ids[k : k + size] for k in range(0, len(ids), size)]
