"""Faults drawn once for all stacks: the cells of a trial are struck alike, whatever code their bits belong to."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any

from potluck.sim.faults.faultset import FaultSet, union
from potluck.sim.faults.models import DataDependent, EventMix, Key, Model, Uniform, WeakCells
from potluck.sim.faults.region import Region

SEPARABLE = (Uniform, DataDependent, WeakCells, EventMix)
"""Models whose faults of a region are those of its parts together. Others draw given that the region is struck."""


class Draws:
    """Remembers the faults of the latest trials.

    Args:
        most: draws that are kept; campaigns run a trial under one stack after the other.
    """

    def __init__(self, most: int = 16) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[Any, ...], tuple[Model, FaultSet]] = OrderedDict()
        self.made = 0

    def draw(self, model: Model, region: Region, key: Key) -> FaultSet:
        """What ``model.draw(region, key)`` gives.

        The table of ranges that only some stacks have is drawn apart from the cells that all of them have, if the
        model allows.
        """
        if not region.metadata or not isinstance(model, SEPARABLE):
            return self._once(model, region, key)
        table = model.draw(Region(region.mapping, (), region.metadata), key)
        return union([self._once(model, replace(region, metadata=0), key), table])

    def _once(self, model: Model, region: Region, key: Key) -> FaultSet:
        # The model itself is kept, too, so that its number stays its own.
        which = id(model), id(region.mapping), region.ranges, region.metadata, key
        found = self._kept.pop(which, None)
        if found is None:
            found = model, model.draw(region, key)
            self.made += 1
        self._kept[which] = found
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found[1]
