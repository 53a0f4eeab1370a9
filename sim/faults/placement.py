"""Where a system code's check bits go: on the kind's sideband pins, or inline in reserved addresses.

Inline, the check bits of each sector take the next power of two of bits at the top of DRAM, in the order of the
sectors. A read of data then reads their burst as well, a write reads it, changes it and writes it back; the controller
keeps the last such burst (CHOICE), so a stream pays once for all sectors that share one. A write of less than a sector
is a read-modify-write with any code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from potluck.isa.errors import DataError
from potluck.sim.dram.kind import SECTOR
from potluck.sim.dram.mapping import Mapping
from potluck.sim.faults.recipes import Recipe

MOST_INLINE = 256


@dataclass(frozen=True)
class Placement:
    """Where check bits lie.

    Attributes:
        mapping: of the DRAM.
        check_bits: of the system code per sector.
        slot: bits reserved inline per sector, 0 if the check bits are on sideband pins.
    """

    mapping: Mapping
    check_bits: int
    slot: int

    @property
    def inline(self) -> bool:
        """Whether addresses are reserved."""
        return self.slot > 0

    @property
    def data_sectors(self) -> int:
        """Sectors of DRAM that hold data; the rest is reserved."""
        every = self.mapping.bytes // SECTOR
        return every if not self.inline else every * MOST_INLINE // (MOST_INLINE + self.slot)

    @property
    def reserved_bytes(self) -> int:
        """At the top of DRAM."""
        return self.mapping.bytes - self.data_sectors * SECTOR

    def check_place(self, sector: int) -> tuple[int, int]:
        """Sector and first bit of a data sector's check bits, inline.

        Raises:
            DataError: the sector is itself reserved, or there are no inline check bits.
        """
        if not self.inline:
            raise DataError("check bits are on sideband pins, not in addresses")
        if not 0 <= sector < self.data_sectors:
            raise DataError(
                f"offset {sector * SECTOR:#x} is reserved for check bits", hint=f"Data end at "
                f"{self.data_sectors * SECTOR:#x}",
            )  # fmt: skip
        word, rest = divmod(sector * self.slot, MOST_INLINE)
        return self.data_sectors + word, rest


def place(recipe: Recipe, mapping: Mapping) -> Placement:
    """Find room for a recipe's check bits.

    Raises:
        DataError: the kind lacks the on-die code, or no layout fits.
    """
    kind = mapping.kind
    recipe.check(kind)
    bits, room = recipe.system_bits, kind.organization.sideband_bits
    if bits <= room:
        return Placement(mapping, bits, 0)
    if bits > MOST_INLINE:
        raise DataError(f"{recipe.name}: {bits} check bits per 32 bytes fit neither {kind.key}'s {room} sideband "
                        "bits nor a sector inline")  # fmt: skip
    if recipe.on_die:
        raise DataError(
            f"{recipe.name}: {bits} check bits do not fit {kind.key}'s {room} sideband bits, and inline check bits "
            "under an on-die code are not modelled",
            hint="Leave out ondie and state rates after on-die correction, or choose a code of fewer bits",
        )
    return Placement(mapping, bits, 1 << (bits - 1).bit_length())


@dataclass(frozen=True)
class Traffic:
    """Bursts of an access stream.

    Attributes:
        reads, writes: of data.
        check_reads, check_writes: of inline check bits.
        modify_reads: reads of data that writes of parts of a codeword need.
    """

    reads: int = 0
    writes: int = 0
    check_reads: int = 0
    check_writes: int = 0
    modify_reads: int = 0

    @property
    def extra(self) -> int:
        """Bursts that the protection costs."""
        return self.check_reads + self.check_writes + self.modify_reads


def traffic(placement: Placement, accesses: Iterable[tuple[int, int, bool]]) -> Traffic:
    """Count what an access stream costs.

    Args:
        placement: of the check bits.
        accesses: offset, bytes and whether it is a write, in order.

    Raises:
        DataError: an access reaches the reserved addresses.
    """
    burst = placement.mapping.kind.organization.burst_bytes
    counts = dict.fromkeys(("reads", "writes", "check_reads", "check_writes", "modify_reads"), 0)
    protected = placement.check_bits > 0
    kept, dirty, untouched = (
        -1,
        False,
        0,
    )  # burst of check bits in the controller; sectors of it still to be written

    def turn_to(line: int, write: bool, whole: int) -> None:
        nonlocal kept, dirty, untouched
        if line != kept:
            _finish()
            kept, dirty, untouched = line, False, whole
            if not write:
                counts["check_reads"] += 1
                untouched = 0
        dirty |= write
        if write and untouched:
            untouched -= 1

    def _finish() -> None:
        nonlocal dirty
        if dirty:
            counts["check_writes"] += 1
            counts["check_reads"] += untouched > 0  # a part of the burst was not written: it had to be read
        dirty = False

    share = burst * 8 // placement.slot if placement.inline else 0
    for offset, size, write in accesses:
        if not size:
            continue
        first, last = offset // burst, (offset + size - 1) // burst
        counts["writes" if write else "reads"] += last - first + 1
        sectors = range(offset // SECTOR, (offset + size - 1) // SECTOR + 1)
        if write and protected:
            head, tail = offset % SECTOR, (offset + size) % SECTOR
            partial = {sectors[0]} if head else set()
            partial |= {sectors[-1]} if tail else set()
            counts["modify_reads"] += len({s * SECTOR // burst for s in partial})
        if placement.inline:
            placement.check_place(sectors[-1])
            for sector in sectors:
                turn_to(placement.check_place(sector)[0] * SECTOR // burst, write, share)
    _finish()
    return Traffic(**counts)
