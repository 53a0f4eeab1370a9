"""Correlated faults: modes with footprints in device coordinates (facts 3.4), and how often they come.

A mode's *granule* is the part of the memory that it chooses at random (a burst, a row, a bank ...). A footprint is a
granule, some bits of each of its bursts, and the probability that such a bit fails. So whether a fault touches a region
is a matter of counting granules, and campaigns on a small part of a large memory can draw only the faults that touch
it: `touching` says how many of all do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.sim.dram.kind import SECTOR
from potluck.sim.dram.mapping import Mapping
from potluck.sim.faults.faultset import (
    PINS,
    SECTOR_SHIFT,
    Action,
    FaultSet,
    Sort,
    fault_set,
    nothing,
    union,
)
from potluck.sim.faults.geometry import Bits, Geometry
from potluck.sim.faults.philox import stream, uniform, words
from potluck.sim.faults.region import Region

PSEUDOCHANNEL = ("channel", "pseudochannel")
RANK = (*PSEUDOCHANNEL, "rank")
BANK = (*RANK, "bank_group", "bank")
SUBARRAY_ROWS = 512


@dataclass(frozen=True)
class Mode:
    """A way in which a device fails.

    Attributes:
        granule: coordinates that are drawn; ``subarray`` is 512 rows. All others are hit over their whole range.
        bits: of each burst of the device: ``bit``, ``pair`` (adjacent, in an aligned 16), ``few`` (1 to 4),
            ``word`` (aligned 16), ``lane`` (aligned 32), ``pin``, or ``all``.
        certain: whether each of these bits fails for sure; else with 1/2, drawn once for each cell.
        share: of the banks of the granule that fail, for multi-bank faults.
        crossing: whether bits fail between the device's decoder and the controller, not in their cells; a permanent
            fault holds all of them at one value.
    """

    granule: tuple[str, ...]
    bits: str
    certain: bool = False
    share: float = 1.0
    crossing: bool = False


MODES: dict[str, Mode] = {
    "bit": Mode((*BANK, "row", "burst"), "bit", True),
    "pair": Mode((*BANK, "row", "burst"), "pair", True),
    "word": Mode((*BANK, "row", "burst"), "word"),
    "column": Mode((*BANK, "subarray", "burst"), "few", True),
    "swl": Mode((*BANK, "row"), "word"),  # sub-word-line: a piece of a row
    "swd": Mode((*BANK, "subarray"), "lane"),  # its driver
    "row": Mode((*BANK, "row"), "all"),
    "bank": Mode(BANK, "all"),
    "multi_bank": Mode(RANK, "all", share=0.5),
    "pin": Mode(PSEUDOCHANNEL, "pin", crossing=True),  # TSV, microbump or data pin
}
FEW = np.array([0.858, 0.033, 0.008, 0.100])
"""Share of column faults in 1, 2, 3 and 4 DQ (facts 3.1), to be normalized."""


@dataclass(frozen=True)
class Fault:
    """One correlated fault.

    Attributes:
        mode: a key of `MODES`.
        number: in its trial; the contents of its footprint depend on it.
        permanent: cells are stuck; otherwise they flip once.
        device: of the rank.
        place: granule coordinates, in the order of `Mode.granule`.
        index: which bits, an index into the device's choices.
        hours: when it comes.
    """

    mode: str
    number: int
    permanent: bool
    device: int
    place: tuple[int, ...]
    index: int
    hours: float = 0.0


@dataclass(frozen=True, eq=False)
class Footprints:
    """Draws and lays out faults of one memory.

    Attributes:
        mapping: of the memory.
    """

    mapping: Mapping
    _granules: dict[tuple[str, tuple[tuple[int, int], ...]], NDArray[np.int64]] = field(
        default_factory=dict, repr=False
    )
    _choices: dict[tuple[str, int], list[NDArray[np.intp]]] = field(default_factory=dict, repr=False)

    @cached_property
    def geometry(self) -> Geometry:
        """Of the kind's bursts."""
        return Geometry(self.mapping)

    @property
    def devices(self) -> int:
        """Of the whole memory."""
        o = self.mapping.kind.organization
        return self.mapping.channels * o.ranks_per_channel * self.geometry.devices

    def sizes(self, mode: str) -> tuple[int, ...]:
        """Number of values of each granule coordinate."""
        o = self.mapping.kind.organization
        every = {
            "channel": self.mapping.channels, "pseudochannel": o.pseudochannels, "rank": o.ranks,
            "bank_group": o.bank_groups, "bank": o.banks, "row": o.rows, "burst": o.bursts,
            "subarray": -(-o.rows // SUBARRAY_ROWS),
        }  # fmt: skip
        return tuple(every[name] for name in _mode(mode).granule)

    def granules(self, mode: str, region: Region) -> NDArray[np.int64]:
        """The distinct granules that a region touches, int64 (n, coordinates)."""
        known = mode, region.ranges
        if known not in self._granules:
            place = self.mapping.decode(region.sectors * SECTOR)._asdict()
            place["subarray"] = place["row"] // SUBARRAY_ROWS
            sizes = self.sizes(mode)
            flat = np.ravel_multi_index([place[name] for name in _mode(mode).granule], sizes)
            self._granules[known] = np.stack(np.unravel_index(np.unique(flat), sizes), axis=1)
        return self._granules[known]

    def touching(self, mode: str, region: Region) -> float:
        """Probability that a fault of the mode, anywhere in the memory, has its granule in the region."""
        return len(self.granules(mode, region)) / float(np.prod(self.sizes(mode), dtype=np.float64))

    def choices(self, mode: str, device: int) -> list[NDArray[np.intp]]:
        """The sets of bits (indices into `Geometry.device`) of which a fault of the mode has one."""
        if (mode, device) not in self._choices:
            self._choices[mode, device] = self._sets(_mode(mode).bits, self.geometry.device(device))
        return self._choices[mode, device]

    @staticmethod
    def _sets(kind: str, bits: Bits) -> list[NDArray[np.intp]]:
        n = len(bits)
        if kind == "all":
            return [np.arange(n)]
        if kind == "pin":  # what does not cross the pins is not hit: on-die check bits
            crossing = bits.sort != Sort.ON_DIE
            return [np.flatnonzero(crossing & (bits.pin == pin)) for pin in np.unique(bits.pin[crossing])]
        if kind in ("bit", "few"):
            return [np.array([k]) for k in range(n)]
        size = {"pair": 16, "word": 16, "lane": 32}[kind]
        words = [np.arange(first, min(first + size, n)) for first in range(0, n, size)]
        if kind == "pair":
            return [word[k : k + 2] for word in words for k in range(len(word) - 1)]
        return words

    def bits_hit(self, mode: str, region: Region) -> float:
        """Mean number of a region's bits in the footprint of a fault that touches it; of each, as if it were wrong."""
        granules = max(1, len(self.granules(mode, region)))
        per = self.mapping.kind.organization.burst_bytes // SECTOR
        some = self.choices(mode, 0)
        size = sum(len(c) for c in some) / len(some)
        size *= float((FEW * [1, 2, 3, 4]).sum() / FEW.sum()) if _mode(mode).bits == "few" else 1.0
        size *= 1.0 if _mode(mode).certain else 0.5
        return region.count / per / granules * size * _mode(mode).share

    def draw(self, mode: str, number: int, permanent: bool, key: tuple[int, int], region: Region | None = None,
             hours: float = 0.0) -> Fault:  # fmt: skip
        """A fault at a random place.

        Args:
            mode: which.
            number: in the trial.
            permanent: see `Fault`.
            key: seed and trial.
            region: draw only among granules of this region; None: anywhere.
            hours: when it comes.
        """
        first = np.array([number], np.uint64)
        random = uniform(
            words(key, stream("place"), np.repeat(first, 3), np.arange(3, dtype=np.uint64))
        ).ravel()
        device = int(random[0] * self.geometry.devices)
        sizes = self.sizes(mode)
        if region is None:
            place = tuple(int(u * size) for u, size in zip(random[2:], sizes, strict=False))
        else:
            granules = self.granules(mode, region)
            place = tuple(granules[int(random[2] * len(granules))].tolist())
        index = int(random[1] * len(self.choices(mode, device)))
        return Fault(mode, number, permanent, device, place, index, hours)

    def faults(self, fault: Fault, region: Region, key: tuple[int, int]) -> FaultSet:
        """The bits of a region that a fault hits."""
        mode = _mode(fault.mode)
        hit = self._bursts(fault, region, key)
        if not hit.size:
            return nothing()
        bits = self._bits(fault, key)
        sector = hit[:, None] + bits.sector
        sorts = bits.sort
        if mode.crossing:
            sorts = np.select([sorts == cell for cell in PINS], list(PINS.values()), sorts)
        keys = (sector.astype(np.uint64) << np.uint64(SECTOR_SHIFT)) | (sorts << 8 | bits.bit).astype(
            np.uint64
        )
        keys = np.sort(keys.ravel())
        keys = keys[np.isin((keys >> np.uint64(SECTOR_SHIFT)).astype(np.int64), region.sectors)]
        if mode.crossing and fault.permanent:
            number = np.array([fault.number], np.uint64)
            high = words(key, stream("stuck"), number, number)[0, 0] >> np.uint64(63) == 1
            return fault_set(keys, Action.SET1 if high else Action.SET0, True)
        content = words(key, stream("cells"), keys, np.full(len(keys), fault.number, np.uint64))
        if not mode.certain:
            fails = content[:, 0] >> np.uint64(63) == 1
            keys, content = keys[fails], content[fails]
        if not fault.permanent:
            return fault_set(keys)
        stuck = np.where(content[:, 1] >> np.uint64(63) == 1, Action.SET1, Action.SET0)
        return fault_set(keys, stuck, True)

    def _bursts(self, fault: Fault, region: Region, key: tuple[int, int]) -> NDArray[np.int64]:
        """First sectors of the region's bursts in the footprint."""
        per = self.mapping.kind.organization.burst_bytes // SECTOR
        bursts = np.unique(region.sectors // per * per)
        place = self.mapping.decode(bursts * SECTOR)._asdict()
        place["subarray"] = place["row"] // SUBARRAY_ROWS
        mode = _mode(fault.mode)
        chosen = np.ones(len(bursts), np.bool_)
        for name, value in zip(mode.granule, fault.place, strict=True):
            chosen &= place[name] == value
        if mode.share < 1.0:
            bank = place["bank_group"] * self.mapping.kind.organization.banks + place["bank"]
            chosen &= np.isin(bank, self._banks(fault, mode.share, key))
        return bursts[chosen]

    def _banks(self, fault: Fault, share: float, key: tuple[int, int]) -> NDArray[np.int64]:
        """Banks of a multi-bank fault: at least two, a random choice."""
        o = self.mapping.kind.organization
        count = o.banks_per_rank
        order = words(key, stream("banks"), np.arange(count, dtype=np.uint64),
                      np.full(count, fault.number, np.uint64))[:, 0]  # fmt: skip
        return np.argsort(order)[: max(2, round(share * count))]

    def _bits(self, fault: Fault, key: tuple[int, int]) -> Bits:
        bits = self.geometry.device(fault.device)
        choices = self.choices(fault.mode, fault.device)
        chosen = choices[fault.index]
        if _mode(fault.mode).bits == "few":  # neighbours on other pins of the same beat
            one = np.array([fault.number], np.uint64)
            u = float(uniform(words(key, stream("few"), one, one * np.uint64(0)))[0, 0])
            extra = int(np.searchsorted(np.cumsum(FEW / FEW.sum()), u, "right"))
            same = np.flatnonzero(
                (bits.beat == bits.beat[fault.index]) & (bits.sort == bits.sort[fault.index])
            )
            at = int(np.searchsorted(same, fault.index))
            chosen = np.take(same, np.arange(at, at + min(extra + 1, len(same))), mode="wrap")
        return bits.where(chosen)


def _mode(name: str) -> Mode:
    if name not in MODES:
        raise DataError(f"no fault mode {name!r}", hint=f"Modes: {', '.join(MODES)}")
    return MODES[name]


@dataclass(frozen=True)
class Rate:
    """FIT (failures per 10^9 hours) of a mode per device."""

    transient: float
    permanent: float


@dataclass(frozen=True, eq=False)
class Correlated:
    """Faults at given rates over given hours, all present at the end: no scrubbing, no repair (`life` has both).

    Attributes:
        mapping: of the memory.
        rates: by mode.
        hours: of exposure.
        forced: draw at least one fault that touches the region in every trial, and only such; a rare event's
            campaign then multiplies by `probability`.
    """

    mapping: Mapping
    rates: dict[str, Rate]
    hours: float
    forced: bool = False
    name: str = field(default="correlated")

    @cached_property
    def footprints(self) -> Footprints:
        """Of the memory."""
        return Footprints(self.mapping)

    def expected(self, region: Region) -> dict[tuple[str, bool], float]:
        """Mean number of faults by (mode, permanent) that touch the region."""
        found = {}
        scale = self.footprints.devices * self.hours * 1e-9
        for mode, rate in self.rates.items():
            share = self.footprints.touching(mode, region)
            for permanent, fit in ((False, rate.transient), (True, rate.permanent)):
                if fit:
                    found[mode, permanent] = fit * scale * share
        return found

    def probability(self, region: Region) -> float:
        """That a trial has at least one fault that touches the region."""
        return float(-np.expm1(-sum(self.expected(region).values())))

    def arrivals(self, region: Region, key: tuple[int, int]) -> list[Fault]:
        """The faults of a trial that touch the region, by time."""
        expected = self.expected(region)
        modes, means = list(expected), np.array(list(expected.values()))
        total = float(means.sum())
        if total <= 0:
            if self.forced:
                raise DataError(
                    "no fault can touch the region: every rate is 0", hint="Check the table of rates"
                )
            return []
        zero = np.zeros(1, np.uint64)
        u = float(uniform(words(key, stream("count"), zero, zero))[0, 0])
        count = poisson(total, u, 1 if self.forced else 0)
        number = np.arange(count, dtype=np.uint64)
        random = uniform(words(key, stream("mode"), number, 0 * number))
        which = np.searchsorted(np.cumsum(means / total), random[:, 0], "right")
        which = np.minimum(which, len(modes) - 1)
        when = random[:, 1] * self.hours
        made = [
            self.footprints.draw(*_spec(modes[k], n), key, region, float(hours))
            for n, (k, hours) in enumerate(zip(which.tolist(), when.tolist(), strict=True))
        ]
        return sorted(made, key=lambda fault: (fault.hours, fault.number))

    def draw(self, region: Region, key: tuple[int, int]) -> FaultSet:
        """See `models.Model.draw`."""
        return union(self.footprints.faults(fault, region, key) for fault in self.arrivals(region, key))

    def raw_ber(self, region: Region) -> float:
        """Expected share of struck bits, an upper bound: overlaps count twice, stuck cells as if all were wrong."""
        bits = sum(
            mean * self.footprints.bits_hit(mode, region) for (mode, _), mean in self.expected(region).items()
        )
        return bits / max(1, region.stored_bits)


def _spec(mode: tuple[str, bool], number: int) -> tuple[str, int, bool]:
    return mode[0], number, mode[1]


def poisson(mean: float, u: float, least: int = 0) -> int:
    """The quantile `u` of a Poisson count given that it is at least `least` (0 or 1), by inversion."""
    if mean > 600:
        raise DataError(f"{mean:.0f} faults expected in a trial", hint="Take fewer hours or lower rates")
    p = float(np.exp(-mean))
    target = p + u * (1 - p) if least else u
    count, below = 0, p
    while (below < target and p > 1e-300) or count < least:
        count += 1
        p *= mean / count
        below += p
    return count
