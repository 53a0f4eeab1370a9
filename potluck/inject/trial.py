"""One trial: faults drawn, cells struck and decoded, the network run on what was read.

`potluck inject` counts trials, a campaign records them: both observe them here. What a trial gives depends on what is
under test and on its number alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from potluck.inject.decode import Array
from potluck.inject.target import Answers, Target
from potluck.sim.checkpoints.replay import Patch
from potluck.sim.dram.mapping import Mapping as DramMapping
from potluck.sim.ecc.interface import Status
from potluck.sim.ecc.outcomes import Data, Outcome
from potluck.sim.ecc.stack import Policy
from potluck.sim.faults.draws import Draws
from potluck.sim.faults.faultset import FaultSet, nothing
from potluck.sim.faults.models import Model
from potluck.sim.faults.parts import Part
from potluck.sim.faults.protected import (
    BlockReads,
    Protected,
    Uncorrectable,
    bit_errors,
    cells_used,
)
from potluck.sim.faults.recipes import recipe

ROLES = ("elements", "scales", "other")


@dataclass(frozen=True, eq=False)
class Tally:
    """Sectors that faults touched.

    Attributes:
        counts: int64 (roles, 3 statuses, 3 data states).
        outcomes: int64 (roles, 5).
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((len(ROLES), 3, 3), np.int64))
    outcomes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((len(ROLES), 5), np.int64))

    def add(self, role: str, read: BlockReads) -> None:
        """Count the sectors of a read."""
        row = ROLES.index(role)
        np.add.at(self.counts[row], (read.status, read.state), 1)
        np.add.at(self.outcomes[row], read.outcome, 1)

    def merge(self, other: Tally) -> None:
        """Count another's, too."""
        self.counts[:] += other.counts
        self.outcomes[:] += other.outcomes

    @property
    def uncorrectable(self) -> bool:
        """Whether any decoder found what it could not correct."""
        return bool(self.counts[:, Status.DUE].any())


assert len(Status) == len(Data) == 3 and len(Outcome) == 5


@dataclass(frozen=True, eq=False)
class Observation:
    """What became of one trial.

    Attributes:
        number: with the seed, all that is needed to replay it.
        faults: bits struck, of the cells that exist.
        raw: wrong bits in cells that the stack uses.
        after_on_die: wrong bits that leave the devices.
        tally: of the sectors that faults touched.
        changed: whether any value is read wrong.
        stopped: by policy ``fail``.
        answers: None if nothing changed (they are the fault-free ones), or the trial stopped.
        struck: the faults, where they lie in DRAM.
        reads: of the parts that faults touched.
    """

    number: int
    faults: int
    raw: int
    after_on_die: int
    tally: Tally
    changed: bool
    stopped: bool
    answers: Answers | None
    struck: FaultSet = field(default_factory=nothing)
    reads: Sequence[BlockReads] = ()


def patch_of(parts: Sequence[Part], reads: Sequence[BlockReads]) -> Patch:
    """Where parts as read differ from clean ones."""
    pairs = ((parts[read.part], read) for read in reads)
    return Patch.of((part.first + read.rows, part.clean[read.rows], read.data) for part, read in pairs)


class Arm(Protocol):
    """One network under one stack and one fault model: what trials are observed of."""

    @property
    def stack(self) -> str:
        """The recipe as given."""
        ...

    @property
    def model(self) -> Model:
        """Of the faults."""
        ...

    @property
    def seed(self) -> int:
        """With a trial's number, what decides its faults."""
        ...

    @property
    def golden(self) -> Array:
        """Answers without faults."""
        ...

    @property
    def labels(self) -> Array | None:
        """Class of each sample."""
        ...

    @property
    def check_bits(self) -> int:
        """Stored per 256 bits of data, of elements."""
        ...

    @property
    def bits(self) -> tuple[int, int]:
        """Cells used, and those of them outside the devices' own code."""
        ...

    @property
    def expected_ber(self) -> float:
        """Raw, of the model."""
        ...

    @property
    def notes(self) -> list[str]:
        """What differs from the stack's name."""
        ...

    def observe(self, number: int) -> Observation:
        """Run a trial."""
        ...


@dataclass(frozen=True, eq=False)
class DramArm:
    """Faults in a program's constants in DRAM.

    Attributes:
        target: the network.
        stack: a recipe, see `potluck.sim.faults.recipes`.
        model: of the faults.
        seed: of the campaign; (seed, number) decides a trial's faults, whatever the stack.
        policy: on DUE. A second read of ``retry`` finds the same cells, so it helps against nothing here.
        draws: that arms of the same model have in common.
    """

    target: Target
    stack: str
    model: Model
    seed: int
    policy: Policy = "pass"
    draws: Draws = field(default_factory=Draws)

    @cached_property
    def protected(self) -> Protected:
        """The constants under the stack.

        Raises:
            DataError: an impossible stack.
        """
        return Protected(self.target.parts, recipe(self.stack), self.mapping)

    @property
    def mapping(self) -> DramMapping:
        """Of the DRAM."""
        return self.target.mapping

    @property
    def golden(self) -> Array:
        """See `Arm.golden`."""
        return self.target.golden

    @property
    def labels(self) -> Array | None:
        """See `Arm.labels`."""
        return self.target.labels

    @property
    def parts(self) -> tuple[Part, ...]:
        """The constants."""
        return self.target.parts

    @property
    def check_bits(self) -> int:
        """See `Arm.check_bits`."""
        applied = self.protected.applied
        elements = (a for p, a in zip(self.parts, applied, strict=True) if p.role == "elements")
        return next(elements, applied[0]).stack.check_bits

    @property
    def bits(self) -> tuple[int, int]:
        """See `Arm.bits`."""
        return cells_used(self.protected)

    @property
    def expected_ber(self) -> float:
        """See `Arm.expected_ber`."""
        return self.model.raw_ber(self.protected.region)

    @property
    def notes(self) -> list[str]:
        """See `Arm.notes`."""
        notes = sorted({a.note for a in self.protected.applied if a.note})
        lookup = self.protected.lookup
        if lookup.entries:
            notes.append(
                f"range table: {lookup.entries} entries, {lookup.stored_bits} bits with their own code, "
                f"{lookup.area_um2:.0f} um2 of SRAM at 28 nm"
            )
        return notes

    def observe(self, number: int) -> Observation:
        """Run a trial."""
        protected = self.protected
        faults = self.draws.draw(self.model, protected.region, (self.seed, number))
        errors = bit_errors(protected, faults)
        tally = Tally()
        try:
            reads = protected.read(faults, self.policy, faults if self.policy == "retry" else None)
        except Uncorrectable:
            return Observation(
                number, len(faults), errors.raw, errors.after_on_die, tally, False, True, None, faults
            )
        for read in reads:
            tally.add(self.parts[read.part].role, read)
        changed = any((read.state != Data.EXACT).any() for read in reads)
        answers = self.target.run_with(patch_of(self.parts, reads)) if changed else None
        return Observation(
            number,
            len(faults),
            errors.raw,
            errors.after_on_die,
            tally,
            changed,
            False,
            answers,
            faults,
            reads,
        )
