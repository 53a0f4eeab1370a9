"""A curve of bit error rates from trials that all have a fault: uniform faults given that there are some."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from potluck.campaign.statistics import Curve
from potluck.sim.faults.conditioned import Flips
from potluck.sim.faults.faultset import FaultSet
from potluck.sim.faults.models import Key
from potluck.sim.faults.philox import stream, uniform, words
from potluck.sim.faults.region import Region


@dataclass(frozen=True, eq=False)
class Forced:
    """At least one flipped bit; how many follows the mixture of `statistics.Curve` over the rates.

    Which bits flip, given how many, is the same at every rate; so each trial tells of all of them.

    Attributes:
        rates: bit error rates of the curve.
    """

    rates: tuple[float, ...]
    name: str = "curve"
    _curves: dict[int, Curve] = field(default_factory=dict, repr=False)

    def count(self, region: Region, key: Key) -> int:
        """Flipped bits of a trial."""
        stored = region.stored_bits
        if stored not in self._curves:
            self._curves[stored] = Curve(stored, self.rates)
        zero = np.zeros(1, np.uint64)
        return int(self._curves[stored].draw(uniform(words(key, stream("forced"), zero, zero))[0, :1])[0])

    def draw(self, region: Region, key: Key) -> FaultSet:
        """See `potluck.sim.faults.models.Model.draw`."""
        return Flips(self.count(region, key)).draw(region, key)

    def raw_ber(self, region: Region) -> float:
        """Expected share of struck bits in a trial, all rates together."""
        curve = Curve(region.stored_bits, self.rates)
        counts = np.arange(1, curve.proposal.size + 1)
        return float(curve.proposal @ counts) / max(1, region.stored_bits)
