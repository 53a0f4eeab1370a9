"""Vector registers for the values of an expression: whole groups, given back after a value's last use."""

from __future__ import annotations

from potluck.isa.errors import DataError
from potluck.kernels.expressions.graph import WIDTHS

RATIO = 16
"""SEW / LMUL of every value, so that vl stays when the element width changes: LMUL is SEW / 16."""
FIRST = 1
"""v0 is the mask of selections."""


def group(bits: int) -> int:
    """Registers that elements of a width take; fractions take one."""
    return max(1, bits // RATIO)


def multiplier(bits: int) -> str:
    """LMUL in assembly."""
    return f"m{bits // RATIO}" if bits >= RATIO else f"mf{RATIO // bits}"


class Pool:
    """Free vector registers."""

    def __init__(self) -> None:
        self._free = set(range(FIRST, 32))

    def take(self, bits: int) -> int:
        """The number of an aligned group; narrow ones from the top, so that wide groups stay whole.

        Raises:
            DataError: No group is left.
        """
        size = group(bits)
        places = range(32 - size, 0, -size) if size < group(64) else range(size, 32, size)
        for start in places:
            wanted = set(range(start, start + size))
            if start % size == 0 and wanted <= self._free:
                self._free -= wanted
                return start
        raise DataError(
            "an expression needs more vector registers than there are", hint="Split it into two kernels"
        )

    def give(self, start: int, bits: int) -> None:
        """Gives a group back."""
        self._free |= set(range(start, start + group(bits)))


def bits_of(type: str) -> int:
    """Width that decides a value's group; a mask takes one register, like bytes."""
    return max(8, WIDTHS[type])
