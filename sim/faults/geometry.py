"""The bits of a burst by device: what footprints in device coordinates are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from potluck.sim.dram.cells import Bit, Cells
from potluck.sim.dram.cells import Sort as SortName
from potluck.sim.dram.kind import SECTOR
from potluck.sim.dram.mapping import Mapping
from potluck.sim.faults.faultset import Sort

_NAMES: tuple[tuple[Sort, SortName], ...] = (
    (Sort.DATA, "data"), (Sort.SIDEBAND, "sideband"), (Sort.ON_DIE, "on-die"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Bits:
    """Some of the bits of a burst, as arrays of equal length.

    Attributes:
        sector: of the burst.
        sort: a `Sort`.
        bit: in the sector.
        beat, pin, device: where `Cells` says that they are.
    """

    sector: NDArray[np.int64]
    sort: NDArray[np.int64]
    bit: NDArray[np.int64]
    beat: NDArray[np.int64]
    pin: NDArray[np.int64]
    device: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bit)

    def where(self, chosen: NDArray[np.generic]) -> Bits:
        """Some of them, by index or mask."""
        return Bits(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class Geometry:
    """Devices of a kind and their bits.

    Attributes:
        mapping: any of the kind.
    """

    mapping: Mapping

    @cached_property
    def burst(self) -> Bits:
        """All bits of a burst, check bits included."""
        o, cells = self.mapping.kind.organization, Cells(self.mapping)
        rows = []
        for sort, name in _NAMES:
            size = {Sort.DATA: 8 * SECTOR, Sort.SIDEBAND: o.sideband_bits, Sort.ON_DIE: o.on_die_bits}[sort]
            for sector in range(o.burst_bytes // SECTOR):
                for bit in range(size):
                    start = sector * SECTOR
                    where = (
                        Bit(name, start + bit // 8, bit % 8) if sort is Sort.DATA else Bit(name, start, bit)
                    )
                    cell = cells.locate(where)
                    rows.append((sector, sort, bit, cell.beat, cell.pin, cell.device))
        return Bits(*np.array(rows, np.int64).T)

    @property
    def devices(self) -> int:
        """Devices of a rank of a pseudochannel that fail apart from each other.

        Where one device has all data pins (HBM: a pseudochannel of a die), its check pins are its own as well.
        """
        return 1 if self._alone else int(self.burst.device.max()) + 1

    @property
    def _alone(self) -> bool:
        o = self.mapping.kind.organization
        return o.data_pins == o.device_pins

    def device(self, number: int) -> Bits:
        """The bits of a burst in one device, in the order of its array: beat by beat, pin by pin; check pins last."""
        bits = self.burst if self._alone else self.burst.where(self.burst.device == number)
        check = bits.sort == Sort.SIDEBAND
        return bits.where(np.lexsort((bits.pin, bits.beat, check if self._alone else 0 * bits.pin)))
