"""Faults given that there are some: drawn instead of waiting for a rare event, and weighed afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np

from potluck.isa.errors import DataError
from potluck.sim.dram.mapping import Mapping
from potluck.sim.faults.faultset import FaultSet, fault_set
from potluck.sim.faults.footprints import Footprints, Rate
from potluck.sim.faults.models import Key, struck_keys
from potluck.sim.faults.region import Region


@dataclass(frozen=True)
class Flips:
    """So many different stored bits flip, each set of them with the same probability.

    They are the bits with the lowest marks of `models.Uniform`: what that model strikes in the same trial at the rate
    that gives so many. So the share of trials of `Uniform` with an outcome is the mean over counts of this model's.

    Attributes:
        count: of bits.
    """

    count: int
    name: str = "flips"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise DataError(f"{self.count} flipped bits are no fault", hint="Give at least 1")

    def draw(self, region: Region, key: Key) -> FaultSet:
        """See `models.Model.draw`.

        Raises:
            DataError: the region has fewer bits.
        """
        stored = region.stored_bits
        if self.count > stored:
            raise DataError(f"{self.count} bits are to flip, but only {stored} are stored")
        rate = min(1.0, (self.count + 4 * sqrt(self.count) + 4) / stored)
        while True:
            found = list(struck_keys(region, key, "bit", rate))
            keys, marks = (np.concatenate(column) for column in zip(*found, strict=True))
            if len(keys) >= self.count:
                return fault_set(keys[np.argsort(marks, kind="stable")[: self.count]])
            rate = min(1.0, 2 * rate)

    def raw_ber(self, region: Region) -> float:
        """See `models.Model.raw_ber`."""
        return self.count / max(1, region.stored_bits)


@dataclass(frozen=True, eq=False)
class OneFault:
    """Exactly one fault of one mode, at a random place among those that touch the region.

    Attributes:
        mapping: of the memory.
        mode: a key of `footprints.MODES`.
        permanent: stuck cells; otherwise they flip once.
    """

    mapping: Mapping
    mode: str
    permanent: bool = False

    @property
    def name(self) -> str:
        """For reports."""
        return f"{self.mode}, {'permanent' if self.permanent else 'transient'}"

    @cached_property
    def footprints(self) -> Footprints:
        """Of the memory."""
        return Footprints(self.mapping)

    def draw(self, region: Region, key: Key) -> FaultSet:
        """See `models.Model.draw`."""
        fault = self.footprints.draw(self.mode, 0, self.permanent, key, region)
        return self.footprints.faults(fault, region, key)

    def raw_ber(self, region: Region) -> float:
        """See `models.Model.raw_ber`."""
        return self.footprints.bits_hit(self.mode, region) / max(1, region.stored_bits)

    def touching_fit(self, rate: Rate, region: Region) -> float:
        """Faults of this mode and duration that touch the region, per 10^9 hours of the whole memory.

        Args:
            rate: FIT of the mode per device.
            region: occupied.
        """
        fit = rate.permanent if self.permanent else rate.transient
        return fit * self.footprints.devices * self.footprints.touching(self.mode, region)
