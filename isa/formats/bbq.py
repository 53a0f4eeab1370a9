"""Bell Box codes (Yang and Aamodt, arXiv 2603.01599): the sets of numbers, their thresholds, and integer binning.

A code stands for one of 2^bits equiprobable bins of a normal variable, and its number is what products multiply.
`potluck.compiler.quantizers.bbq` says how values become codes in training, `integer_codes` at inference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError

BLOCKS = (128, 64, 32, 16, 8)
"""Hadamard blocks, the first that divides the contraction is taken; larger ones overflow int16."""
PEAK = 127
"""Largest magnitude of an activation rounded to 8 bits."""

_QUANTILES = {
    1: (),
    2: (0.6744897501960818,),
    3: (0.3186393639643752, 0.6744897501960818, 1.1503493803760083),
    4: (
        0.1573106846101707,
        0.3186393639643752,
        0.4887764111146696,
        0.6744897501960818,
        0.8871465590188762,
        1.1503493803760083,
        1.5341205443525465,
    ),
}
"""Positive Phi^-1(i / 2^bits)."""


@dataclass(frozen=True)
class BbqFormat:
    """A set of BBQ codes.

    Attributes:
        bits: 1 to 4.
        zero_point: z; -1/2 makes the set symmetric without 0, 0 makes it two's complement. NaN: the authors'
            choice, -1/2 for 1 and 2 bits and 0 for 3 and 4.
    """

    bits: int
    zero_point: float = math.nan

    def __post_init__(self) -> None:
        if self.bits not in _QUANTILES:
            raise DataError(f"BBQ with {self.bits} bits", hint="Use 1 to 4 bits")
        if math.isnan(self.zero_point):
            object.__setattr__(self, "zero_point", -0.5 if self.bits <= 2 else 0.0)
        if self.zero_point not in (-0.5, 0.0):
            raise DataError(f"BBQ with the zero point {self.zero_point}", hint="Use -0.5 or 0")

    @property
    def levels(self) -> int:
        """2^bits."""
        return 1 << self.bits

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """t_1 ... t_(n-1), ascending."""
        high = np.array(_QUANTILES[self.bits])
        return np.concatenate([-high[::-1], [0.0], high])

    @property
    def multiple(self) -> int:
        """Stored integers are ``multiple`` q: 2 where q is odd halves, so that they are odd integers."""
        return 2 if self.zero_point else 1

    @property
    def lowest(self) -> int:
        """Stored integer of k = 0."""
        return round(self.multiple * (-(1 << self.bits - 1) - self.zero_point))

    @property
    def codes(self) -> NDArray[np.int8]:
        """Stored integers of k = 0 ... n-1: -1, 1 (1 bit); -3, -1, 1, 3; -4 ... 3; -8 ... 7; odd numbers to 15."""
        return (self.lowest + self.multiple * np.arange(self.levels)).astype(np.int8)

    @property
    def unit(self) -> float:
        """u = unit * stored integer = q / 2^(bits-1), what gamma multiplies."""
        return 1 / (self.multiple << self.bits - 1)

    @property
    def centroids(self) -> NDArray[np.float64]:
        """Means of a standard normal variable in the bins: what ``lut`` reconstruction multiplies sigma by."""
        edges = np.concatenate([[-np.inf], self.thresholds, [np.inf]])
        density = np.exp(-0.5 * edges**2) / math.sqrt(2 * math.pi)
        return np.asarray(self.levels * (density[:-1] - density[1:]))

    @property
    def zeta(self) -> float:
        """gamma / sigma of the least squared error on normal input."""
        u = self.codes.astype(np.float64) * self.unit
        return float(self.centroids @ u / (u @ u))


def hadamard(size: int) -> NDArray[np.int8]:
    """Sylvester's matrix of +1 and -1: H[i, j] = (-1)^popcount(i & j).

    Raises:
        DataError: Not a power of two.
    """
    _check_block(size)
    index = np.arange(size)
    parity = np.bitwise_count(index[:, None] & index) & 1
    return np.asarray(1 - 2 * parity.astype(np.int8), np.int8)


def _check_block(size: int) -> None:
    if size < 1 or size & (size - 1):
        raise DataError(f"a Hadamard block of {size}", hint="Use a power of two")


def block_of(length: int, largest: int = BLOCKS[0]) -> int:
    """The Hadamard block of a contraction: the largest of `BLOCKS` up to ``largest`` that divides it.

    Raises:
        DataError: None does.
    """
    for size in BLOCKS:
        if size <= largest and length % size == 0:
            return size
    raise DataError(
        f"a contraction of {length} elements has no Hadamard block",
        hint=f"Pad it to a multiple of {BLOCKS[-1]}, or leave the layer unquantized",
    )


def butterflies(x: NDArray[Any], block: int) -> NDArray[Any]:
    """x times blockdiag(H) along the last axis, not normalized, in x's own type.

    Raises:
        DataError: The last axis is no multiple of the block.
    """
    _check_block(block)
    if not x.ndim or x.shape[-1] % block:
        raise DataError(f"shape {list(x.shape)} in Hadamard blocks of {block} along the last axis")
    stride, out = 1, x
    while stride < block:
        pairs = out.reshape(*x.shape[:-1], -1, 2, stride)
        out = np.stack([pairs[..., 0, :] + pairs[..., 1, :], pairs[..., 0, :] - pairs[..., 1, :]], axis=-2)
        stride *= 2
    return out.reshape(x.shape)


def integer_codes(
    x: ArrayLike, rate: float, thresholds: Sequence[int], kind: BbqFormat, block: int
) -> NDArray[np.int8]:
    """Stored integers of an activation [..., K] at inference.

    x8 = clip(rint(x rate), -127, 127), an FP32 product, is transformed by butterflies in int16; k counts the thresholds
    that a sum reaches. NaN counts as -127, which is what the machine's maximum makes of it.
    """
    scaled = np.asarray(x, np.float32) * np.float32(rate)
    limited = np.fmin(np.fmax(np.rint(scaled), np.float32(-PEAK)), np.float32(PEAK))
    sums = butterflies(limited.astype(np.int16), block)
    return np.asarray(kind.codes[np.searchsorted(np.asarray(thresholds), sums, side="right")])


def pack_planes(codes: NDArray[np.int8], kind: BbqFormat) -> NDArray[np.uint8]:
    """Bit planes of codes [..., K] of 1 or 2 bits, the high one first: uint8 [..., bits, K / 8].

    The first element is the lowest bit of a byte.
    """
    k = (codes.astype(np.int64) - kind.lowest) // kind.multiple
    planes = [(k >> bit) & 1 for bit in reversed(range(kind.bits))]
    return np.packbits(np.stack(planes, axis=-2).astype(np.uint8), axis=-1, bitorder="little")
