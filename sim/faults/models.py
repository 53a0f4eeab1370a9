"""Faults of single bits and of blocks, drawn anew in every trial and independently in space.

Every model draws over all bits that the kind of DRAM stores, check bits and range table included, whatever a scheme
makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.sim.faults.faultset import (
    CELLS,
    SECTOR_SHIFT,
    SLOTS,
    Action,
    FaultSet,
    Keys,
    Sort,
    fault_set,
    union,
)
from potluck.sim.faults.marks import struck
from potluck.sim.faults.philox import stream, uniform, words
from potluck.sim.faults.region import Region

Key = tuple[int, int]
"""Seed and trial."""


class Model(Protocol):
    """A source of faults."""

    @property
    def name(self) -> str:
        """For reports."""
        ...

    def draw(self, region: Region, key: Key) -> FaultSet:
        """The faults of one trial in a region; of a part of it, the same faults that lie in the part."""
        ...

    def raw_ber(self, region: Region) -> float:
        """Expected share of the region's bits that are struck in a trial."""
        ...


def struck_keys(
    region: Region, key: Key, name: str, rate: float
) -> Iterator[tuple[Keys, NDArray[np.float64]]]:
    """Keys and marks of the stored bits struck at a rate, sort by sort; `name` is of the stream of marks."""
    for sort in CELLS:
        slots = SLOTS[sort]
        for first, count in region.stretches(sort):
            items, marks = struck(key, stream(name, sort), first * slots, count * slots, rate)
            inside = items % slots < region.bits(sort)
            yield region.keys(items, sort), marks[inside]


def _probability(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise DataError(f"{name} {value} is no probability", hint="Give a number from 0 to 1")


@dataclass(frozen=True)
class Uniform:
    """Every bit flips with the same probability (EDEN's error model 0, EINSim's UNIFORM_RANDOM).

    Attributes:
        ber: raw bit error rate.
    """

    ber: float
    name: str = "uniform"

    def __post_init__(self) -> None:
        _probability("BER", self.ber)

    def draw(self, region: Region, key: Key) -> FaultSet:
        """See `Model.draw`."""
        return union(fault_set(keys) for keys, _ in struck_keys(region, key, "bit", self.ber))

    def raw_ber(self, region: Region) -> float:
        """See `Model.raw_ber`."""
        return self.ber


@dataclass(frozen=True)
class DataDependent:
    """Ones and zeros fail at different rates (EDEN's error model 3).

    The marks are `Uniform`'s, so equal rates strike the same bits.

    Attributes:
        zero_to_one: probability that a stored 0 reads 1.
        one_to_zero: probability that a stored 1 reads 0.
    """

    zero_to_one: float
    one_to_zero: float
    name: str = "data-dependent"

    def __post_init__(self) -> None:
        _probability("0 to 1 rate", self.zero_to_one)
        _probability("1 to 0 rate", self.one_to_zero)

    def draw(self, region: Region, key: Key) -> FaultSet:
        """See `Model.draw`."""
        parts = []
        for keys, marks in struck_keys(region, key, "bit", max(self.zero_to_one, self.one_to_zero)):
            up, down = marks < self.zero_to_one, marks < self.one_to_zero
            actions = np.where(up & down, Action.FLIP, np.where(up, Action.SET1, Action.SET0))
            parts.append(fault_set(keys, actions))
        return union(parts)

    def raw_ber(self, region: Region) -> float:
        """Taking as many ones as zeros to be stored."""
        return (self.zero_to_one + self.one_to_zero) / 2


CellLayout = Literal["true", "anti", "alternating", "random", "symmetric"]


@dataclass(frozen=True)
class WeakCells:
    """The same cells are weak in every trial; in each trial a weak cell loses its charge with a probability.

    A true cell is charged by a 1, an anti cell by a 0, and only charged cells fail (EINSim's DATA_RETENTION), except
    in the layout ``symmetric``, where weak cells flip either way.

    Attributes:
        density: share of weak cells; where they are depends on the seed alone.
        probability: that a weak cell fails in a trial.
        layout: ``true`` or ``anti`` cells, ``alternating`` by DRAM row, ``random`` cell by cell, or ``symmetric``.
        cells: keys of the weak cells, if they were measured; then the density is not used.
    """

    density: float
    probability: float
    layout: CellLayout = "true"
    cells: Keys | None = field(default=None, compare=False)
    name: str = "weak cells"

    def __post_init__(self) -> None:
        _probability("density", self.density)
        _probability("probability", self.probability)
        if self.layout not in get_args(CellLayout):
            raise DataError(f"cell layout {self.layout!r}", hint=f"One of {', '.join(get_args(CellLayout))}")

    def map(self, region: Region, seed: int) -> Keys:
        """Keys of the region's weak cells, ascending."""
        if self.cells is not None:
            inside = [np.isin(self.cells, region.every_key(sort)) for sort in CELLS if region.stretches(sort)]
            return np.unique(self.cells[np.logical_or.reduce(inside)]) if inside else self.cells[:0]
        # -1 is no trial: the map is common to all of them
        return union(
            fault_set(keys) for keys, _ in struck_keys(region, (seed, -1), "weakmap", self.density)
        ).keys

    def draw(self, region: Region, key: Key) -> FaultSet:
        """See `Model.draw`."""
        weak = self.map(region, key[0])
        random = words(key, stream("weak"), weak, np.zeros(len(weak), np.uint64))
        weak = weak[uniform(random[:, 0]) < self.probability]
        return fault_set(weak, self._actions(region, weak, key[0]))

    def _actions(self, region: Region, weak: Keys, seed: int) -> NDArray[np.uint8] | Action:
        if self.layout == "symmetric":
            return Action.FLIP
        if self.layout == "true":
            return Action.SET0
        if self.layout == "anti":
            return Action.SET1
        if self.layout == "random":
            coin = words((seed, -1), stream("charge"), weak, np.zeros(len(weak), np.uint64))[
                :, 0
            ] >> np.uint64(63)
            return np.where(coin == 1, Action.SET0, Action.SET1).astype(np.uint8)
        offsets = (weak >> np.uint64(SECTOR_SHIFT)).astype(np.int64) * 32
        metadata = (weak >> np.uint64(8)) & np.uint64(7) == Sort.METADATA
        row = region.mapping.decode(np.where(metadata, 0, offsets)).row
        return np.where(row % 2 == 0, Action.SET0, Action.SET1).astype(np.uint8)

    def raw_ber(self, region: Region) -> float:
        """Taking as many cells to be charged as not."""
        density = self.density
        if self.cells is not None:
            density = len(self.map(region, 0)) / max(1, region.stored_bits)
        return density * self.probability * (1.0 if self.layout == "symmetric" else 0.5)


@dataclass(frozen=True)
class Event:
    """A kind of event: `weight`, and a span of `bits` (aligned if `aligned`), all flipped or each with 1/2."""

    weight: float
    bits: int
    aligned: bool
    certain: bool

    @property
    def flips(self) -> float:
        """Mean number of bits flipped."""
        return self.bits if self.certain else self.bits / 2

    def places(self, size: int) -> int:
        """Where in `size` bits such an event can be."""
        return -(-size // self.bits) if self.aligned else max(0, size - self.bits + 1)


EVENTS: dict[str, Event] = {
    "SE": Event(0.1002, 1, False, True),
    "DAE": Event(0.1245, 2, False, True),
    "SWL": Event(0.2374, 16, True, False),
    "SWD": Event(0.5380, 32, True, False),
}
"""The RangeGuard artifact's mix (facts 1.5): single bit, two adjacent ones, an aligned word of 16 and of 32 bits."""


@dataclass(frozen=True)
class EventMix:
    """The RangeGuard artifact's event mix in independent blocks ("AE mode").

    An event hits a block of 32 bytes with probability ``256 BER / mean flips``, split by weight. It is drawn per
    place: an SWL event, for instance, in each of a block's 16 words with a sixteenth of the probability, so at most
    once there (the artifact draws with replacement, and adds flips of one byte where events overlap). Check bits are
    hit like data bits, by the same probability per place; the artifact leaves them alone.

    Attributes:
        ber: raw bit error rate that the mix is calibrated to.
        events: by name.
    """

    ber: float
    events: dict[str, Event] = field(default_factory=lambda: dict(EVENTS), hash=False)
    name: str = "event mix"

    def __post_init__(self) -> None:
        _probability("BER", self.ber)
        _probability("BER times 23.6 (events per block)", self.block_probability)

    @property
    def block_probability(self) -> float:
        """Expected events of a block of 256 bits (facts 1.5: 23.583 BER)."""
        total = sum(event.weight for event in self.events.values())
        return 256 * self.ber * total / sum(event.weight * event.flips for event in self.events.values())

    def draw(self, region: Region, key: Key) -> FaultSet:
        """See `Model.draw`."""
        return union(self.draw_event(name, region, key) for name in self.events)

    def draw_event(self, name: str, region: Region, key: Key) -> FaultSet:
        """The faults of the events of one name."""
        return union(fault_set(self._flipped(name, items, sort, region, key)) for sort, items in
                     self._hits(name, region, key))  # fmt: skip

    def count(self, region: Region, key: Key) -> dict[str, int]:
        """Events of a trial by name, of data and check bits."""
        return {name: sum(len(items) for _, items in self._hits(name, region, key)) for name in self.events}

    def _hits(self, name: str, region: Region, key: Key) -> Iterator[tuple[Sort, NDArray[np.int64]]]:
        """Item numbers of the first bits of the events."""
        event = self.events[name]
        step = event.bits if event.aligned else 1
        rate = self.block_probability * event.weight / event.places(256)
        for sort in CELLS:
            slots = SLOTS[sort] // step
            for first, count in region.stretches(sort):
                places, _ = struck(key, stream("ev" + name, sort), first * slots, count * slots, rate)
                items = places * step
                last = region.bits(sort) - (1 if event.aligned else event.bits)
                yield sort, items[items % SLOTS[sort] <= last]

    def _flipped(self, name: str, items: NDArray[np.int64], sort: Sort, region: Region, key: Key) -> Keys:
        event = self.events[name]
        bits = items[:, None] + np.arange(event.bits)
        if not event.certain:
            number, zero = items.astype(np.uint64), np.zeros(len(items), np.uint64)
            content = words(key, stream("in" + name, sort), number, zero)[:, :1]
            bits = bits[(content >> np.arange(event.bits, dtype=np.uint64)) & np.uint64(1) == 1]
        return region.keys(np.unique(bits), sort)

    def raw_ber(self, region: Region) -> float:
        """See `Model.raw_ber`."""
        return self.ber


@dataclass(frozen=True)
class Listed:
    """The faults of a list, the same in every trial or by trial (`files.read_faults`)."""

    trials: dict[int, FaultSet] = field(hash=False)
    name: str = "list"

    def draw(self, region: Region, key: Key) -> FaultSet:
        """The faults of the trial, or of trial -1, which stands for every one."""
        found = self.trials.get(key[1], self.trials.get(-1))
        if found is None:
            raise DataError(f"the fault list has no trial {key[1]}", hint=f"It has {sorted(self.trials)[:8]}")
        return found.where(inside(region, found.keys))

    def raw_ber(self, region: Region) -> float:
        """Mean over the list's trials."""
        counts = [int(inside(region, found.keys).sum()) for found in self.trials.values()]
        return sum(counts) / max(1, len(counts)) / max(1, region.stored_bits)


def inside(region: Region, keys: Keys) -> NDArray[np.bool_]:
    """Which keys are bits of a region."""
    sector, sort = (keys >> np.uint64(SECTOR_SHIFT)).astype(np.int64), (keys >> np.uint64(8)) & np.uint64(7)
    bit = (keys & np.uint64(255)).astype(np.int64)
    found = np.zeros(len(keys), np.bool_)
    for kind in Sort:
        for first, count in region.stretches(kind):
            found |= (sort == kind) & (sector >= first) & (sector < first + count) & (bit < region.bits(kind))
    return found


MODELS: dict[str, Callable[[float], Model]] = {"uniform": Uniform, "events": EventMix}
"""Models of one number, the raw BER, by the name that the command line takes."""
