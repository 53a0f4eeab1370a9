"""Where a bit lies in DRAM: from (address, bit), check bits included, to device coordinates and back.

A burst occupies ``burst_length`` beats on the data and check pins of a pseudochannel. Byte b of a burst of P data pins
lies on beat 8 b // P, its bit i on pin 8 b mod P + i. Sideband check bits of each 32 bytes lie on the check pins of the
same beats, bit i on beat i // pins and pin i mod pins of them. On-die check bits leave the device on no pin: they are
given beats from ``burst_length`` on, on the data pins of their device.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Literal

from potluck.isa.errors import DataError
from potluck.sim.dram.kind import SECTOR
from potluck.sim.dram.mapping import Mapping, Place

Sort = Literal["data", "sideband", "on-die"]


@dataclass(frozen=True)
class Bit:
    """A stored bit as the controller sees it.

    Attributes:
        sort: ``data``, ``sideband`` or ``on-die`` (check bits).
        offset: byte offset from the start of DRAM; for check bits of the first byte of their 32 bytes.
        bit: in the byte, or number of the check bit.
    """

    sort: Sort
    offset: int
    bit: int


@dataclass(frozen=True)
class Cell:
    """A stored bit as the devices see it: ``device`` = pin ÷ device width, check devices behind the data devices."""

    channel: int
    pseudochannel: int
    rank: int
    bank_group: int
    bank: int
    row: int
    burst: int
    beat: int
    pin: int
    device: int


@dataclass(frozen=True)
class Cells:
    """The bijection of a mapping.

    Attributes:
        mapping: the address mapping.
    """

    mapping: Mapping

    def locate(self, bit: Bit) -> Cell:
        """Device coordinates of a bit.

        Raises:
            DataError: the kind has no such bit, or it lies outside DRAM.
        """
        o = self.mapping.kind.organization
        if not 0 <= bit.offset < self.mapping.bytes:
            raise DataError(f"offset {bit.offset:#x} is outside DRAM of {self.mapping.bytes:#x} bytes")
        place = self.mapping.decode(bit.offset)
        within = bit.offset % o.burst_bytes
        lane = o.data_pins // 8
        if bit.sort == "data":
            self._require(0 <= bit.bit < 8, bit, 8)
            beat, pin = within // lane, within % lane * 8 + bit.bit
        else:
            size = o.sideband_bits if bit.sort == "sideband" else o.on_die_bits
            self._require(0 <= bit.bit < size and bit.offset % SECTOR == 0, bit, size)
            if bit.sort == "sideband":
                beat, pin = within // lane + bit.bit // o.check_pins, o.data_pins + bit.bit % o.check_pins
            else:
                devices = o.data_pins // o.device_pins
                each = o.on_die_bits * o.burst_bytes // SECTOR // devices
                number = within // SECTOR * o.on_die_bits + bit.bit  # in the burst
                device, index = number // each, number % each
                beat = o.burst_length + index // o.device_pins
                pin = device * o.device_pins + index % o.device_pins
        channel, pseudochannel, rank, group, bank, row, burst = (int(x) for x in place)
        return Cell(channel, pseudochannel, rank, group, bank, row, burst, beat, pin, self._device(pin))

    def bit(self, cell: Cell) -> Bit:
        """The bit in a cell; the inverse of :meth:`locate`.

        Raises:
            DataError: there is no such cell.
        """
        o = self.mapping.kind.organization
        offset = int(self.mapping.encode(Place(*astuple(cell)[:7])))
        lane = o.data_pins // 8
        if cell.device != self._device(cell.pin):
            raise DataError(f"pin {cell.pin} belongs to device {self._device(cell.pin)}, not {cell.device}")
        if 0 <= cell.beat < o.burst_length and 0 <= cell.pin < o.data_pins:
            return Bit("data", offset + cell.beat * lane + cell.pin // 8, cell.pin % 8)
        if 0 <= cell.beat < o.burst_length and o.data_pins <= cell.pin < o.data_pins + o.check_pins:
            beats = SECTOR // lane
            sector = cell.beat // beats * SECTOR
            return Bit("sideband", offset + sector, cell.beat % beats * o.check_pins + cell.pin - o.data_pins)
        devices = o.data_pins // o.device_pins
        each = o.on_die_bits * o.burst_bytes // SECTOR // devices
        index = (cell.beat - o.burst_length) * o.device_pins + cell.pin % o.device_pins
        if cell.beat >= o.burst_length and 0 <= cell.pin < o.data_pins and index < each:
            number = cell.pin // o.device_pins * each + index
            return Bit("on-die", offset + number // o.on_die_bits * SECTOR, number % o.on_die_bits)
        raise DataError(f"{self.mapping.kind.key} has no beat {cell.beat} on pin {cell.pin}")

    def _device(self, pin: int) -> int:
        o = self.mapping.kind.organization
        data = o.data_pins // o.device_pins
        return pin // o.device_pins if pin < o.data_pins else data + (pin - o.data_pins) // o.device_pins

    def _require(self, condition: bool, bit: Bit, size: int) -> None:
        if not condition:
            raise DataError(
                f"no {bit.sort} bit {bit.bit} at {bit.offset:#x}: {self.mapping.kind.key} has {size} there",
                hint="Check bits are numbered per 32 bytes, at their first byte."
                if bit.sort != "data"
                else "",
            )
