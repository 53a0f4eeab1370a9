"""Power-of-two weight codes: four bits, a sign and a magnitude that shifts make of an activation.

A code is ``sign << 3 | magnitude``. The magnitude bits are cut into fields, most significant first, and each field
chooses a shift of the activation, or nothing; the product is the sum of the shifted activations, and the sign says
whether it is added or subtracted. So one declaration gives the code table, the levels, the width of a product, and
the multiplexers of a shift-PE.

Sources: the code sets of PoTAcc's v12 hardware (gicLAB/PoTAcc, arXiv 2605.06082): ``quantized_po2`` of QKeras,
APoT (arXiv 1909.13144), SP2 of MSQ (arXiv 2012.04240); PoT with zero spends the lowest code on 0 (LogNet).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError

SIGN = 8
"""The code's sign bit."""

Field = tuple[int | None, ...]
"""Shift by value of a field of magnitude bits; None contributes nothing."""


@dataclass(frozen=True)
class PotFormat:
    """One code set.

    Attributes:
        name: Of the scheme, e.g. ``pot_apot``.
        fields: The fields of the three magnitude bits, most significant first.
        preferred: Magnitude code of a level that two codes have.
        power_scale: Whether a trained scale is a power of two (QKeras has exponents and no scale).
    """

    name: str
    fields: tuple[Field, ...]
    preferred: tuple[tuple[int, int], ...] = ()
    power_scale: bool = False

    def __post_init__(self) -> None:
        assert np.prod([len(field) for field in self.fields]) == SIGN, self.name
        assert all(self.magnitudes[code] == level for level, code in self.preferred), self.name

    def __str__(self) -> str:
        return self.name

    @cached_property
    def magnitudes(self) -> NDArray[np.int16]:
        """Level of each of the eight magnitude codes."""
        sums = np.zeros(1, np.int16)
        for field in self.fields:
            terms = np.array([0 if shift is None else 1 << shift for shift in field], np.int16)
            sums = (sums[:, None] + terms).reshape(-1)
        return sums

    @cached_property
    def table(self) -> NDArray[np.int16]:
        """Level of each of the sixteen codes."""
        return np.concatenate([self.magnitudes, -self.magnitudes])

    @cached_property
    def levels(self) -> NDArray[np.int16]:
        """The distinct levels, ascending."""
        return np.unique(self.table)

    @property
    def top(self) -> int:
        """Largest level."""
        return int(self.magnitudes.max())

    @property
    def has_zero(self) -> bool:
        """Whether 0 is a level."""
        return bool((self.magnitudes == 0).any())

    @property
    def product_bits(self) -> int:
        """Signed bits of magnitude times int8 activation, the width of a shift-PE's output."""
        return (128 * self.top - 1).bit_length() + 1

    @cached_property
    def _codes(self) -> dict[int, int]:
        codes: dict[int, int] = {}
        for code, level in enumerate(self.magnitudes.tolist()):
            codes.setdefault(level, code)
        codes.update(self.preferred)
        return codes

    def decode(self, codes: ArrayLike) -> NDArray[np.int16]:
        """Levels of codes, any shape.

        Raises:
            DataError: A code above 15.
        """
        array = np.asarray(codes)
        if array.size and (array.min() < 0 or array.max() > 15):
            raise DataError(f"{int(array.max())} is no four-bit code of {self}", hint="Unpack nibbles first")
        return np.asarray(self.table[array], np.int16)

    def encode(self, levels: ArrayLike, *, compat_release: bool = False) -> NDArray[np.uint8]:
        """Codes of levels, any shape; 0 is +0, and a level that two codes have takes the preferred one.

        Args:
            levels: Integers of the level set.
            compat_release: Encode 0 as PoTAcc's released delegate does: with the sign bit set, and as the code of
                +1 where the set has no zero.

        Raises:
            DataError: An integer that is no level, by name.
        """
        array = np.asarray(levels)
        table = np.full(2 * self.top + 1, 255, np.uint8)
        for level, code in self._codes.items():
            table[self.top + level] = code
            table[self.top - level] = code | (SIGN if level else 0)
        if compat_release:
            table[self.top] = self._codes[0] | SIGN if self.has_zero else 0
        inside = np.abs(array) <= self.top
        codes = np.where(inside, table[np.where(inside, array + self.top, 0)], 255).astype(np.uint8)
        if (codes == 255).any():
            wrong = array[codes == 255].flat[0]
            raise DataError(f"{wrong} is no level of {self}", hint=f"Its levels are {self.levels.tolist()}")
        return codes

    def nearest(self, values: ArrayLike) -> NDArray[np.int16]:
        """The nearest level of each value, in units of the lowest level; a tie takes the level of smaller magnitude.

        A value of 0 takes +1 where the set has no zero.
        """
        array = np.asarray(values, np.float64)
        magnitudes = np.unique(self.magnitudes).astype(np.float64)
        index = np.searchsorted((magnitudes[1:] + magnitudes[:-1]) / 2, np.abs(array), side="left")
        return np.where(array < 0, -magnitudes[index], magnitudes[index]).astype(np.int16)


_ZERO, _ONE = None, 0
QKERAS = PotFormat("pot_qkeras", (tuple(range(8)),), power_scale=True)
APOT = PotFormat("pot_apot", ((_ONE, _ZERO, 2, 3), (_ZERO, 1)))
MSQ = PotFormat("pot_msq", ((_ONE, 1, 2, _ZERO), (_ZERO, 2)), preferred=((4, 0b100),))
ZERO = PotFormat("pot_zero", ((_ZERO, *range(7)),))

POT_FORMATS: dict[str, PotFormat] = {f.name: f for f in (QKERAS, APOT, MSQ, ZERO)}
"""Every code set by its name."""


def pot_format(name: str) -> PotFormat:
    """The code set called ``name``.

    Raises:
        DataError: No such set; the hint has the nearest name.
    """
    if name not in POT_FORMATS:
        near = difflib.get_close_matches(name, POT_FORMATS, n=1, cutoff=0.0)[0]
        raise DataError(
            f"no PoT code set is called {name!r}", hint=f"Did you mean {near!r}? Known: {sorted(POT_FORMATS)}"
        )
    return POT_FORMATS[name]
