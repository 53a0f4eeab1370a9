"""A range table as the circuits of `rtl/ecc` take it: one layout for every element format.

Formats by exponent have ascending bounds, the others a RID for each code; both have representatives. A controller
stores only the fields that a format reads (`RangeTable.entry_bits`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from potluck.isa.errors import DataError
from potluck.sim.ecc.rangeguard.ranges import RangeTable

BOUNDS, BOUND_BITS = 15, 9
REPRESENTATIVES, REPRESENTATIVE_BITS = 16, 8
CODES, CODE_BITS = 256, 2
NEVER = 256
"""A bound that no exponent reaches."""


class RangeFormat(IntEnum):
    """How a lane divides into values: by exponent, or codes of eight, four or six bits (five to a lane)."""

    FP32 = 0
    BF16 = 1
    FP16 = 2
    BYTE = 3
    NIBBLE = 4
    SEXTET = 5


_LAYOUTS = {  # slot width, low bits that the RID does not depend on
    (32, 23): RangeFormat.FP32,
    (16, 7): RangeFormat.BF16,
    (16, 10): RangeFormat.FP16,
    (8, 0): RangeFormat.BYTE,
    (4, 0): RangeFormat.NIBBLE,
    (6, 0): RangeFormat.SEXTET,
}


@dataclass(frozen=True)
class HardwareTable:
    """Values of the ports of the same names; element i of a port is ``field[i]``.

    Attributes:
        format: of the lane.
        bounds: first exponents of bins 1, 2, ..., ascending, `NEVER` beyond the last; not read by FP32 under SSC.
        representatives: exponent field or code by RID; not read by FP32 under SSC, whose RID is the exponent.
        codes: RID by code, of formats of at most eight bits.
    """

    format: RangeFormat
    bounds: tuple[int, ...]
    representatives: tuple[int, ...]
    codes: tuple[int, ...]

    def ports(self) -> dict[str, int]:
        """The ports' values as integers."""
        return {
            "format_i": int(self.format),
            "bounds_i": _packed(self.bounds, BOUND_BITS),
            "representatives_i": _packed(self.representatives, REPRESENTATIVE_BITS),
            "codes_i": _packed(self.codes, CODE_BITS),
        }


def _packed(values: tuple[int, ...], width: int) -> int:
    return sum(value << (width * i) for i, value in enumerate(values))


def hardware_table(table: RangeTable) -> HardwareTable:
    """The circuits' form of a range table.

    Raises:
        DataError: the circuits cannot hold the table: RIDs that fall with the exponent or depend on the sign,
            or eight-bit RIDs other than the exponent itself.
    """
    layout = _LAYOUTS[table.width, table.shift]
    representatives = [int(r) >> table.shift for r in table.representative]
    if not table.shift:
        codes = [int(r) for r in table.rid] + [0] * (CODES - len(table.rid))
        return _made(layout, [], representatives, codes)
    half = len(table.rid) // 2
    positive, negative = table.rid[:half].astype(int), table.rid[half:].astype(int)
    if (positive != negative).any() or (np.diff(positive) < 0).any():
        raise DataError("RIDs that do not rise with the exponent alone", hint="Use exponent_table")
    if table.rid_bits == REPRESENTATIVE_BITS:
        every = np.arange(256)
        if (positive != every).any() or (np.array(representatives) != every).any():
            raise DataError(
                "eight-bit RIDs other than the exponent", hint="The circuit has no bounds for them"
            )
        return _made(layout, [], [], [])
    bounds = [int(np.searchsorted(positive, k)) for k in range(1, 1 << table.rid_bits)]
    return _made(layout, [b if b < half else NEVER for b in bounds], representatives, [])


def _made(
    layout: RangeFormat, bounds: list[int], representatives: list[int], codes: list[int]
) -> HardwareTable:
    def filled(values: list[int], size: int, value: int) -> tuple[int, ...]:
        return tuple(values + [value] * (size - len(values)))

    return HardwareTable(
        layout,
        filled(bounds, BOUNDS, NEVER),
        filled(representatives, REPRESENTATIVES, 0),
        filled(codes, CODES, 0),
    )
