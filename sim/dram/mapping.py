"""Address mapping: DRAM bytes to channel, pseudochannel, rank, bank group, bank, row, burst, and back.

A mapping is a string of two-letter fields from the most to the least significant, DRAMsim3's notation: ``ch`` channel,
``pc`` pseudochannel, ``ra`` rank or ``si`` stack id, ``bg`` bank group, ``ba`` bank, ``ro`` row, ``co`` burst in the
row. Below them are the bytes of a burst.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError, MachineError
from potluck.sim.dram.kind import Kind

FIELDS = ("ch", "pc", "ra", "bg", "ba", "ro", "co")  # order of the arrays below; "si" counts as "ra"


class Place(NamedTuple):
    """Where a burst lies; numbers are integers or arrays of them."""

    channel: Any
    pseudochannel: Any
    rank: Any
    bank_group: Any
    bank: Any
    row: Any
    burst: Any


@dataclass(frozen=True)
class Mapping:
    """A mapping of a kind's channels.

    Attributes:
        kind: the DRAM.
        channels: how many, a power of two.
        order: the string.

    Raises:
        MachineError: a field is unknown, missing or twice there, or the number of channels is no power of two.
    """

    kind: Kind
    channels: int
    order: str = ""

    def __post_init__(self) -> None:
        if self.channels < 1 or self.channels & (self.channels - 1):
            raise MachineError(f"{self.channels} is not a power of two", key="dram.channels")
        names, sizes = self._names, self._sizes
        missing = [name for name, size in sizes.items() if size > 1 and name not in names]
        wrong = [name for name in names if name not in sizes or names.count(name) > 1]
        if missing or wrong:
            raise MachineError(
                f"{self.order!r} lacks {missing or 'nothing'} and has {wrong or 'nothing'} too much",
                key="dram.mapping",
                hint=f"Name each of {', '.join(sizes)} once; a field of one value may be left out.",
            )

    @property
    def _sizes(self) -> dict[str, int]:
        return {"ch": self.channels, **self.kind.organization.field_sizes()}

    @property
    def _names(self) -> list[str]:
        text = self.order or self.kind.mapping
        return [text[k : k + 2] for k in range(0, len(text), 2)]

    @cached_property
    def shifts(self) -> NDArray[np.int64]:
        """int64 [7, 2]: lowest bit and width of each of :data:`FIELDS` in a byte address."""
        found = dict.fromkeys(FIELDS, (0, 0))
        at = self.kind.organization.burst_bytes.bit_length() - 1
        for name in reversed(self._names):
            width = self._sizes[name].bit_length() - 1
            found["ra" if name == "si" else name] = at, width
            at += width
        return np.array([found[name] for name in FIELDS], np.int64)

    @property
    def bytes(self) -> int:
        """Capacity of all channels."""
        return self.channels * self.kind.organization.channel_bytes

    def decode(self, offset: Any) -> Place:
        """The burst that holds a byte, or bytes; ``offset`` from the start of DRAM, inside the capacity."""
        values = np.asarray(offset, np.int64)
        if values.size and (int(values.min()) < 0 or int(values.max()) >= self.bytes):
            raise DataError(f"offset outside DRAM of {self.bytes} bytes")
        return Place(*(values >> shift & (1 << width) - 1 for shift, width in self.shifts.tolist()))

    def encode(self, place: Place) -> NDArray[np.int64]:
        """Offset of a burst's first byte; the inverse of :meth:`decode`.

        Raises:
            DataError: a number is out of its field's range.
        """
        offset = np.zeros(np.broadcast(*place).shape, np.int64)
        for name, value, (shift, width) in zip(Place._fields, place, self.shifts.tolist(), strict=True):
            values = np.asarray(value, np.int64)
            if values.size and (int(values.min()) < 0 or int(values.max()) >= 1 << width):
                raise DataError(
                    f"{name} {int(values.max())} of {1 << width}; {self.kind.key} has no such place"
                )
            offset |= values << shift
        return offset

    def flat_bank(self, place: Place) -> Any:
        """Number of the bank in its channel, as the engine counts: pseudochannel, rank, bank group, bank."""
        o = self.kind.organization
        rank = place.pseudochannel * o.ranks + place.rank
        return (rank * o.bank_groups + place.bank_group) * o.banks + place.bank
