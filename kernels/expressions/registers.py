"""Vector registers for the values of an expression: whole groups, given back after a value's last use."""

from __future__ import annotations

from potluck.isa.errors import DataError
from potluck.kernels.expressions.graph import WIDTHS

RATIO = 16
"""SEW / LMUL of every value, so that vl stays when the element width changes: LMUL is SEW / 16."""
WIDE = 8
"""The same where few values live at a time: strips twice as long, whose work hides each instruction's latency."""


def group(bits: int, ratio: int = RATIO) -> int:
    """Registers that elements of a width take; fractions take one."""
    return max(1, bits // ratio)


def multiplier(bits: int, ratio: int = RATIO) -> str:
    """LMUL in assembly."""
    return f"m{bits // ratio}" if bits >= ratio else f"mf{ratio // bits}"


class Pool:
    """Free vector registers.

    Args:
        ratio: SEW / LMUL of all groups.
        masks: Whether v0 is kept for the mask of selections.
    """

    def __init__(self, ratio: int = RATIO, masks: bool = True) -> None:
        self.ratio = ratio
        self._free = set(range(int(masks), 32))

    def take(self, bits: int) -> int:
        """The number of an aligned group; narrow ones from the top and beside others, so that wide groups stay whole.

        Raises:
            DataError: No group is left.
        """
        size = group(bits, self.ratio)
        places = range(32 - size, -1, -size) if size < group(64, self.ratio) else range(0, 32, size)
        for start in sorted(places, key=self._whole) if size < group(32, self.ratio) else places:
            wanted = set(range(start, start + size))
            if start % size == 0 and wanted <= self._free:
                self._free -= wanted
                return start
        raise DataError(
            "an expression needs more vector registers than there are", hint="Split it into two kernels"
        )

    def _whole(self, start: int) -> bool:
        """Whether the group of 32-bit elements around a register is free."""
        size = group(32, self.ratio)
        return set(range(start - start % size, start - start % size + size)) <= self._free

    def give(self, start: int, bits: int) -> None:
        """Gives a group back."""
        self._free |= set(range(start, start + group(bits, self.ratio)))


def bits_of(type: str) -> int:
    """Width that decides a value's group; a mask takes one register, like bytes."""
    return max(8, WIDTHS[type])
