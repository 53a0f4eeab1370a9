"""Which trials come next: a function of the spec and of the outcomes so far, whoever found them and when.

A cell is looked at after every so many trials, always at the same numbers. So it stops after the same trial whether the
campaign ran on one process or on many, in one piece or in a hundred.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from potluck.campaign.cells import place_of, trial_id
from potluck.campaign.estimates import Watched
from potluck.campaign.record import Record
from potluck.campaign.spec import Spec, Stop

LARGEST_ROUND = 20_000
"""Trials between two compactions at most."""


class Progress:
    """How far the cells of a campaign are.

    Args:
        spec: of the campaign.
        facts: of its cells.
    """

    def __init__(self, spec: Spec, facts: list[dict[str, Any]]) -> None:
        self._cells = [CellProgress(spec.stop, most(spec.stop, one)) for one in facts]

    def add(self, records: Iterable[Record]) -> None:
        """Take trials in, in any order; a trial that is known already changes nothing."""
        for record in records:
            cell, number = place_of(record["id"], len(self._cells))
            self._cells[cell].add(number, record["outcome"])

    def due(self) -> list[int]:
        """Ids of the trials that come next, cell by cell; none if all cells have enough."""
        found: list[int] = []
        for index, cell in enumerate(self._cells):
            found += [trial_id(index, number, len(self._cells)) for number in cell.missing()]
        return found[:LARGEST_ROUND]

    @property
    def final(self) -> list[int]:
        """How many trials of each cell count, of those that ran."""
        return [cell.final for cell in self._cells]

    @property
    def reasons(self) -> list[str | None]:
        """Why each cell has enough; None: it has not."""
        return [cell.reason for cell in self._cells]

    @property
    def done(self) -> int:
        """Trials that ran."""
        return sum(cell.known for cell in self._cells)

    @property
    def most(self) -> int:
        """Trials that may be run yet, and those that ran."""
        return sum(cell.most_yet for cell in self._cells)


def most(stop: Stop, facts: dict[str, Any]) -> int:
    """Trials of a cell at most: a fault list may have fewer."""
    return min(stop.trials, len(facts["numbers"])) if facts["numbers"] is not None else stop.trials


class CellProgress:
    """How far one cell is.

    Args:
        stop: the rule.
        limit: trials at most.
    """

    def __init__(self, stop: Stop, limit: int) -> None:
        self._stop, self._limit = stop, limit
        self._outcomes: dict[int, str] = {}
        self._watched = Watched(stop, limit)
        self._looked = 0
        self.reason: str | None = None

    def add(self, number: int, outcome: str) -> None:
        """Take a trial in."""
        if number < self._limit:
            self._outcomes.setdefault(number, outcome)

    def missing(self) -> list[int]:
        """Numbers of the trials that come next."""
        while self.reason is None and self._looked < self._limit:
            end = self._next_look()
            missing = [number for number in range(self._looked, end) if number not in self._outcomes]
            if missing:
                return missing
            self.reason = self._watched.reason([self._outcomes[n] for n in range(self._looked, end)])
            self._looked = end
        return []

    def _next_look(self) -> int:
        step = self._stop.every if self._stop.looks else LARGEST_ROUND
        return min(self._looked + step, self._limit)

    @property
    def final(self) -> int:
        """Trials that count: up to the last look, all in order, none of the later ones."""
        self.missing()
        if self.reason is not None:
            return self._looked
        number = self._looked
        while number in self._outcomes:
            number += 1
        return number

    @property
    def known(self) -> int:
        """Trials that ran."""
        return len(self._outcomes)

    @property
    def most_yet(self) -> int:
        """Trials that ran or may be run yet."""
        return self._looked if self.reason is not None else self._limit
