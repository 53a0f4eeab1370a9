"""The PoT array's arithmetic, bit by bit: a shift-PE, a unit of 64 of them, and the PPU behind it.

This is the contract: the simulator and `rtl/pot/` are compared with these functions. A *unit* takes four rows of
activations times four filters times four depths per cycle. Each of its sixteen outputs has one 32-bit accumulator per
depth lane (depth modulo 4); after the last depth the four are summed with the filter's ``wsum`` (bias minus zero point
times sum of weights), all modulo 2^32. The PPU makes an int8 of the sum.

Source: PoTAcc's v12 hardware (gicLAB/PoTAcc, arXiv 2605.06082): code sets, accumulators, rounding. The activation
clamp, the code set chosen at run time and PoT with zero are ours, and so is a result for every multiplier and shift
that a word can hold. The PPU's other two laws are ours as well: onnxruntime's requantization, and FP32 outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError
from potluck.isa.formats.requantize import tflite_single
from potluck.isa.pot.codes import APOT, MSQ, QKERAS, SIGN, ZERO, PotFormat

I8 = NDArray[np.int8]
F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

ROWS: Final = 4
"""Rows of activations (output pixels) of a unit's tile."""
FILTERS: Final = 4
"""Filters of a unit's tile: a *weight block*."""
LANES: Final = 4
"""Depth lanes: depths that a unit takes per cycle."""
PES: Final = ROWS * FILTERS * LANES
"""Shift-PEs of a unit."""
DEPTH_STEP: Final = 16
"""A layer's depth is padded with activations of 0 to a multiple of this."""
MULTIPLIER_BITS: Final = 31
"""Of a requantization multiplier's word; the PPU does not look at bit 31."""
SHIFT_BITS: Final = 6
"""Of a requantization shift t."""
Law = Literal["tflite_single", "ort_float_rne", "float"]
LAWS: Final[tuple[Law, ...]] = ("tflite_single", "ort_float_rne", "float")
"""How the PPU ends a sum, by number. v12 has the first alone; the others are the cluster's accelerator's."""


@dataclass(frozen=True)
class CodeSet:
    """What a weight's bits mean.

    Attributes:
        number: Value of the mode register's field.
        name: Of the scheme.
        pot: The shifts; None for two's complement integers.
        weight_bits: Bits of a stored weight.
    """

    number: int
    name: str
    pot: PotFormat | None
    weight_bits: int

    def __str__(self) -> str:
        return self.name

    @property
    def product_bits(self) -> int:
        """Signed bits of a PE's output."""
        return self.pot.product_bits if self.pot else 16

    def weights(self, codes: ArrayLike) -> I32:
        """The integers that codes stand for; INT8 weights are their own codes.

        Raises:
            DataError: a code that does not fit in the weight's bits.
        """
        if self.pot:
            return self.pot.decode(codes).astype(np.int32)
        values = np.asarray(codes, np.int64)
        if values.size and (values.min() < -128 or values.max() > 127):
            raise DataError("a weight is no int8", hint="INT8 weights are two's complement, -128 to 127")
        return values.astype(np.int32)


CODE_SETS: Final = (
    *(CodeSet(number, kind.name, kind, 4) for number, kind in enumerate((QKERAS, APOT, MSQ, ZERO))),
    CodeSet(4, "int8", None, 8),
)
"""By number. A shift-PE has the first four at run time; INT8 is another build, with multipliers (the VM baseline)."""


def code_set(name: str) -> CodeSet:
    """The code set called ``name``.

    Raises:
        DataError: no such set.
    """
    for found in CODE_SETS:
        if found.name == name:
            return found
    raise DataError(f"no code set is called {name!r}", hint=f"Known: {', '.join(map(str, CODE_SETS))}")


def terms(pot: PotFormat, code: int) -> tuple[int | None, int | None]:
    """The shifts of a code's two terms, from its magnitude bits; None is no contribution.

    A set of one field has no second term. So a PE is one shifter by 0 to 7, one by 1 or 2, and an adder.
    """
    magnitude, found = code & (SIGN - 1), []
    for field in reversed(pot.fields):
        magnitude, digit = divmod(magnitude, len(field))
        found.append(field[digit])
    first, *rest = reversed(found)
    return first, rest[0] if rest else None


def pe_product(kind: CodeSet, code: int, activation: int) -> tuple[bool, int]:
    """A PE's outputs: whether the accumulator subtracts, and the product (signed, ``kind.product_bits``).

    A PoT product is the activation times the weight's magnitude: the code's sign bit goes to the accumulator. An INT8
    product has its sign, and the accumulator always adds.
    """
    if kind.pot is None:
        return False, int(kind.weights(code)) * activation
    shifted = [activation << shift for shift in terms(kind.pot, code) if shift is not None]
    return bool(code & SIGN), sum(shifted)


def accumulate(kind: CodeSet, codes: ArrayLike, activations: ArrayLike) -> I32:
    """The accumulators after the last depth, one per depth lane.

    Args:
        kind: Code set.
        codes: Weights' codes [filters, depth].
        activations: int8 [rows, depth]; of a depth that is no multiple of 4 the missing activations are 0.

    Returns:
        int32 [rows, filters, 4], modulo 2^32.

    Raises:
        DataError: the depths differ, or a code is none.
    """
    x, w = np.asarray(activations, np.int64), kind.weights(codes).astype(np.int64)
    if x.shape[1] != w.shape[1]:
        raise DataError(f"activations have depth {x.shape[1]}, weights {w.shape[1]}")
    lanes = [x[:, lane::LANES] @ w[:, lane::LANES].T for lane in range(LANES)]
    return np.asarray(np.stack(lanes, axis=-1), np.int64).astype(np.int32)


def output_sum(accumulators: ArrayLike, wsum: ArrayLike) -> I32:
    """Sum of the four lanes and the filter's wsum, modulo 2^32.

    Args:
        accumulators: int32 [rows, filters, 4].
        wsum: int32 [filters].
    """
    lanes = np.asarray(accumulators, np.int64).sum(axis=-1)
    return np.asarray(lanes + np.asarray(wsum, np.int64), np.int64).astype(np.int32)


def ppu(
    acc: ArrayLike, multiplier: ArrayLike, shift: ArrayLike, zero_point: int, low: int = -128, high: int = 127
) -> I8:
    """Activations of sums: min(max(sat32((acc m + 2^(t-1)) >> t) + zero_point, low), high).

    The product has 64 bits, the shift is arithmetic (ties towards plus infinity), the saturation comes before the
    zero point, whose sum has 33 bits. With t = 0 nothing is shifted or rounded.

    Args:
        acc: int32 [rows, filters].
        multiplier: Words whose low 31 bits are m [filters].
        shift: t, 0 to 63 [filters].
        zero_point: Of the output, int8.
        low: Lowest output (a fused ReLU raises it).
        high: Highest output.
    """
    m = np.asarray(multiplier, np.int64) & (1 << MULTIPLIER_BITS) - 1
    t = np.asarray(shift, np.int64) & (1 << SHIFT_BITS) - 1
    rounded = tflite_single(acc, m, 31 - np.maximum(t, 1)).astype(np.int64)
    product = np.clip(np.asarray(acc, np.int64) * m, -(1 << 31), (1 << 31) - 1)
    scaled = np.where(t == 0, product, rounded)
    return np.asarray(np.minimum(np.maximum(scaled + zero_point, low), high), np.int64).astype(np.int8)


def scaled(acc: ArrayLike, factor: ArrayLike) -> F32:
    """FP32(acc) times a factor, each rounded to nearest even: where FP32 outputs and onnxruntime's law begin.

    Args:
        acc: int32.
        factor: Words of FP32 numbers. Exponent 0 is a zero of its sign, and exponent 255 is 2^128 and a fraction: no
            special values, which no network's factors are. Overflow is infinite.
    """
    words = np.asarray(factor, np.int32).view(np.uint32).astype(np.int64)
    exponent, fraction = words >> 23 & 255, words & (1 << 23) - 1
    size = np.where(exponent == 0, 0.0, np.ldexp(1 + fraction / 2.0**23, exponent - 127))
    signed = np.where(words >> 31 == 1, -size, size)
    with np.errstate(over="ignore"):  # a product of 24 by 24 bits is exact in double precision
        return np.asarray(np.asarray(acc, np.int32).astype(np.float32).astype(np.float64) * signed).astype(
            np.float32
        )


def ppu_ort(acc: ArrayLike, factor: ArrayLike, zero_point: int, low: int = -128, high: int = 127) -> I8:
    """rne(clip(:func:`scaled`, low - zero_point, high - zero_point)) + zero_point: onnxruntime's QLinearConv."""
    clipped = np.clip(scaled(acc, factor), np.float32(low - zero_point), np.float32(high - zero_point))
    return np.asarray(np.rint(clipped).astype(np.int64) + zero_point).astype(np.int8)


def ppu_float(acc: ArrayLike, factor: ArrayLike, low: float = -np.inf, high: float = np.inf) -> F32:
    """:func:`scaled`, raised to ``low`` and lowered to ``high``, where -0 is below +0."""
    found, least, most = scaled(acc, factor), np.float32(low), np.float32(high)
    found = np.where((found < least) | ((found == least) & np.signbit(found)), least, found)
    return np.where((found > most) | ((found == most) & np.signbit(most)), most, found)


@dataclass(frozen=True)
class Requantizer:
    """What the PPU knows of each filter, and of the layer.

    Attributes:
        wsum: int32 [filters]: bias minus the input's zero point times the filter's sum of weights, modulo 2^32.
        multiplier: m [filters], 0 to 2^31 - 1; of the other laws, the word of an FP32 factor.
        shift: t = 31 - exponent [filters], 0 to 63; the other laws have none.
        zero_point: Of the output.
        low: Lowest output.
        high: Highest output.
        law: One of `LAWS`.
        float_low: Lowest output of FP32 outputs.
        float_high: Highest output of FP32 outputs.
    """

    wsum: I32
    multiplier: I32
    shift: I32
    zero_point: int = 0
    low: int = -128
    high: int = 127
    law: Law = "tflite_single"
    float_low: float = -np.inf
    float_high: float = np.inf

    def apply(self, accumulators: ArrayLike) -> NDArray[Any]:
        """Outputs [rows, filters] of accumulators [rows, filters, 4]."""
        return self.finish(output_sum(accumulators, self.wsum))

    def finish(self, acc: ArrayLike) -> NDArray[Any]:
        """Outputs of sums [..., filters] that hold wsum: int8, or float32 with the law ``float``."""
        if self.law == "float":
            return ppu_float(acc, self.multiplier, self.float_low, self.float_high)
        if self.law == "ort_float_rne":
            return ppu_ort(acc, self.multiplier, self.zero_point, self.low, self.high)
        return ppu(acc, self.multiplier, self.shift, self.zero_point, self.low, self.high)


def tile(kind: CodeSet, codes: ArrayLike, activations: ArrayLike, requantizer: Requantizer) -> NDArray[Any]:
    """Outputs [rows, filters] of codes [filters, depth] and activations int8 [rows, depth]."""
    return requantizer.apply(accumulate(kind, codes, activations))


def folded_wsum(kind: CodeSet, codes: ArrayLike, bias: ArrayLike, zero_point: int) -> I32:
    """bias - zero_point sum(weights) per filter, modulo 2^32.

    Args:
        kind: Code set.
        codes: [filters, depth].
        bias: int32 [filters], of the scale input times weight.
        zero_point: Of the input.
    """
    sums = kind.weights(codes).astype(np.int64).sum(axis=1)
    return np.asarray(np.asarray(bias, np.int64) - zero_point * sums, np.int64).astype(np.int32)
