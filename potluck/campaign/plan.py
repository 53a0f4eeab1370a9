"""Which trials come next: a function of the spec and of the outcomes so far, whoever found them and when.

A cell is looked at after every so many trials, always at the same numbers; fault modes that are allocated together,
after every batch. So they stop after the same trials whether the campaign ran on one process or on many, in one piece
or in a hundred. Outcomes are forgotten once they have been looked at, so memory does not grow with the trials.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from potluck.campaign.cells import place_of, trial_id
from potluck.campaign.estimates import Watched, WatchedRate
from potluck.campaign.record import Record
from potluck.campaign.spec import Spec, Stop

LARGEST_ROUND = 20_000
"""Trials between two compactions at most."""

Facts = Mapping[str, Any]
Place = tuple[int, int]
"""Cell, and number in it."""


class Unit(Protocol):
    """Cells that stop together."""

    reason: str | None
    """Why they have enough trials; None: they have not."""
    done: int
    """Trials that ran."""

    def add(self, cell: int, number: int, outcome: str) -> None:
        """Take a trial in; one that is known already changes nothing."""
        ...

    def missing(self) -> list[Place]:
        """The trials that come next; none if there are enough."""
        ...

    def final(self, cell: int) -> int:
        """Trials of a cell that count."""
        ...

    @property
    def most(self) -> int:
        """Trials that ran or may be run yet."""
        ...

    def batches(self, cell: int) -> list[int]:
        """Trials of a cell in each batch that was looked at."""
        ...


class Progress:
    """How far the cells of a campaign are.

    Args:
        spec: of the campaign.
        facts: of its cells.
    """

    def __init__(self, spec: Spec, facts: Sequence[Facts]) -> None:
        self._units: list[Unit] = []
        together: dict[tuple[Any, ...], list[Facts]] = {}
        for one in facts:
            if spec.stop.allocation == "neyman" and "fit" in one:
                together.setdefault(group_of(one), []).append(one)
            else:
                self._units.append(Alone(spec.stop, one))
        for members in together.values():
            self._units.append(Together(spec.stop, members))
        owner = {cell: unit for unit in self._units for cell in unit_cells(unit)}
        self._owner = [owner[one["cell"]] for one in facts]

    def add(self, records: Iterable[Record]) -> None:
        """Take trials in, in any order; a trial that is known already changes nothing."""
        for record in records:
            cell, number = place_of(record["id"], len(self._owner))
            self._owner[cell].add(cell, number, record["outcome"])

    def due(self) -> list[int]:
        """Ids of the trials that come next, unit by unit; none if all have enough."""
        places = [place for unit in self._units for place in unit.missing()]
        return [trial_id(cell, number, len(self._owner)) for cell, number in places[:LARGEST_ROUND]]

    @property
    def final(self) -> list[int]:
        """How many trials of each cell count, of those that ran."""
        return [unit.final(cell) for cell, unit in enumerate(self._owner)]

    @property
    def reasons(self) -> list[str | None]:
        """Why each cell has enough; None: it has not."""
        return [unit.reason for unit in self._owner]

    def batches(self, cell: int) -> list[int]:
        """Trials of a cell in each batch of those that are allocated together; none elsewhere."""
        return self._owner[cell].batches(cell)

    @property
    def done(self) -> int:
        """Trials that ran."""
        return sum(unit.done for unit in self._units)

    @property
    def most(self) -> int:
        """Trials that ran or may be run yet."""
        return sum(unit.most for unit in self._units)


def group_of(facts: Facts) -> tuple[Any, ...]:
    """What the modes of one rate have in common."""
    return facts["scheme"], facts["entry"], facts["stack"]


def unit_cells(unit: Unit) -> list[int]:
    """Cells of a unit."""
    return (
        [unit.cell] if isinstance(unit, Alone) else list(unit.weights) if isinstance(unit, Together) else []
    )


class Alone:
    """A cell that stops by itself.

    Args:
        stop: the rule.
        facts: of the cell.
    """

    def __init__(self, stop: Stop, facts: Facts) -> None:
        self.cell: int = facts["cell"]
        listed = facts["numbers"]
        self._limit = min(stop.trials, len(listed)) if listed is not None else stop.trials
        self._step = stop.every if stop.looks else LARGEST_ROUND
        self._ahead: dict[int, str] = {}  # outcomes that have not been looked at
        self._watched = Watched(stop, self._limit)
        self._looked = 0
        self.done = 0
        self.reason: str | None = None

    def add(self, cell: int, number: int, outcome: str) -> None:
        """See `Unit.add`."""
        if number < self._looked or number in self._ahead:
            return
        self._ahead[number] = outcome
        self.done += 1
        if len(self._ahead) % self._step == 0:
            self.missing()

    def missing(self) -> list[Place]:
        """See `Unit.missing`."""
        while self.reason is None:
            new = range(self._looked, min(self._looked + self._step, self._limit))
            missing = [(self.cell, number) for number in new if number not in self._ahead]
            if missing:
                return missing
            self.reason = self._watched.reason([self._ahead.pop(number) for number in new])
            self._looked = new.stop
        return []

    def final(self, cell: int) -> int:
        """Up to the last look, or all in order if there are more to come."""
        self.missing()
        number = self._looked
        while self.reason is None and number in self._ahead:
            number += 1
        return number

    @property
    def most(self) -> int:
        """See `Unit.most`."""
        return self._looked if self.reason is not None else self._limit

    def batches(self, cell: int) -> list[int]:
        """None: a cell is looked at alone."""
        return []


class Together:
    """Fault modes of one rate, which get trials by what each adds to the rate's uncertainty.

    Args:
        stop: the rule; it is about the rate.
        members: facts of the cells.
    """

    def __init__(self, stop: Stop, members: Sequence[Facts]) -> None:
        self.weights = {int(one["cell"]): one["fit"] * one["exposure"] for one in members}
        self._watched = WatchedRate(stop, {str(cell): weight for cell, weight in self.weights.items()})
        self._ahead: dict[int, dict[int, str]] = {cell: {} for cell in self.weights}
        self._looked = dict.fromkeys(self.weights, 0)
        self._batches: list[dict[int, int]] = []
        self._next: dict[int, int] = {}
        self.done = 0
        self.reason: str | None = None

    def add(self, cell: int, number: int, outcome: str) -> None:
        """See `Unit.add`."""
        if number < self._looked[cell] or number in self._ahead[cell]:
            return
        self._ahead[cell][number] = outcome
        self.done += 1
        if self.done % self._watched.batch == 0:
            self.missing()

    def missing(self) -> list[Place]:
        """See `Unit.missing`."""
        while self.reason is None:
            if not self._next:
                self._next = {int(cell): count for cell, count in self._watched.allocate().items()}
            new = {
                cell: range(self._looked[cell], self._looked[cell] + count)
                for cell, count in self._next.items()
            }
            missing = [
                (cell, k) for cell, numbers in new.items() for k in numbers if k not in self._ahead[cell]
            ]
            if missing:
                return missing
            self.reason = self._watched.reason(
                {str(cell): [self._ahead[cell].pop(k) for k in numbers] for cell, numbers in new.items()}
            )
            self._looked = {cell: numbers.stop for cell, numbers in new.items()}
            self._batches.append(self._next)
            self._next = {}
        return []

    def final(self, cell: int) -> int:
        """Up to the last whole batch: within one, nothing can be said."""
        self.missing()
        return self._looked[cell]

    @property
    def most(self) -> int:
        """See `Unit.most`."""
        return sum(self._looked.values()) if self.reason is not None else self._watched.limit

    def batches(self, cell: int) -> list[int]:
        """See `Unit.batches`."""
        return [batch[cell] for batch in self._batches]
