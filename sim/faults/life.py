"""A memory over time: faults arrive, scrubbing writes back what it reads, stuck cells stay.

Transient faults flip what is stored and are gone with the next write of their sector. Permanent ones come back with
every write. A scrub reads every sector through the stack and writes it back, unless it is uncorrectable; so it removes
transient faults before they pile up, and it makes mis-corrections last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.sim.ecc.interface import Status, Words
from potluck.sim.ecc.stack import Access, Policy, Read, Stack, Stored
from potluck.sim.faults.faultset import FaultSet, nothing, union
from potluck.sim.faults.protected import link_of, strike


@dataclass(frozen=True)
class Arrival:
    """Faults at a time: keys count sectors from the memory's first."""

    hours: float
    faults: FaultSet


class Life:
    """Sectors under one stack.

    Args:
        stack: of all of them.
        data: (sectors, 4) words, written at time 0.

    Attributes:
        hours: the time.
        scrubbed: sectors by the `Status` that scrubs found, summed over scrubs; a scrub that changes nothing stands for
            those that follow it until the next arrival.
    """

    def __init__(self, stack: Stack, data: Words) -> None:
        self.stack = stack
        self.hours = 0.0
        self.scrubbed = dict.fromkeys(Status, 0)
        self._rows = np.arange(len(data))
        self._cells = stack.write(data.copy())
        self._stuck = nothing()

    @property
    def cells(self) -> Stored:
        """What the cells hold now."""
        return Stored(*(array.copy() for array in self._cells))

    def strike(self, faults: FaultSet) -> None:
        """Faults arrive."""
        self._cells = strike(self._cells, self.stack, self._rows, faults)
        # a transient fault of a pin is met by what is read meanwhile, and nothing is
        self._stuck = union([self._stuck, faults.where(faults.permanent)])

    def write(self, rows: NDArray[np.int64], data: Words) -> None:
        """Write sectors."""
        fresh = strike(self.stack.write(data), self.stack, rows, self._stuck)
        for whole, part in zip(self._cells, fresh, strict=True):
            whole[rows] = part

    def read(self, policy: Policy = "pass") -> Read:
        """Read all sectors. A second read of policy ``retry`` finds the same: faults are in cells or stay on pins."""

        def again(rows: NDArray[np.intp]) -> Access:
            cells = Stored(*(a[rows].copy() for a in self._cells))
            return Access(cells, link_of(self.stack, self._rows[rows], self._stuck))

        return self.stack.read(self.cells, policy, again, link_of(self.stack, self._rows, self._stuck))

    def scrub(self) -> None:
        """Read every sector and write back what can be corrected."""
        read = self.read()
        status = read.status[:, 0]
        for kind in Status:
            self.scrubbed[kind] += int((status == kind).sum())
        rows = np.flatnonzero(status == Status.CORRECTED)
        if rows.size:
            self.write(rows, read.data[rows])

    def until(self, hours: float, arrivals: Iterable[Arrival] = (), scrub_hours: float | None = None) -> None:
        """Let time pass.

        Args:
            hours: the new time.
            arrivals: by time, none before the present.
            scrub_hours: interval of scrubs, the first one interval after time 0; None: none.

        Raises:
            DataError: time runs backwards, or an interval that is not positive.
        """
        if scrub_hours is not None and not scrub_hours > 0:
            raise DataError(f"a scrub every {scrub_hours} hours", hint="Leave it out for none")
        queue = [a for a in arrivals if a.hours <= hours]
        times = [self.hours, *(a.hours for a in queue), hours]
        if any(b < a for a, b in pairwise(times)):
            raise DataError(f"arrivals are not in order of time from {self.hours} to {hours} hours")
        for arrival in queue:
            self._pass(arrival.hours, scrub_hours)
            self.strike(arrival.faults)
        self._pass(hours, scrub_hours)

    def _pass(self, hours: float, interval: float | None) -> None:
        """Scrubs up to a time. One that changes no cell is the last: those after it would find the same."""
        due = 0 if interval is None else int(hours / interval) - int(self.hours / interval)
        for _ in range(due):
            before = self.cells
            self.scrub()
            if all(np.array_equal(a, b) for a, b in zip(before, self._cells, strict=True)):
                break
        self.hours = hours
