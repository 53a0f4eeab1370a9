"""From a value's code to its range identifier and back to a representative, for every element format.

A block has eight lanes of 32 bits, a code symbol each. FP32, BF16 and FP16 have their RID by exponent and keep the
received sign; formats of eight bits by a table over the byte; of four bits one RID a value in SSC and one a byte in
DSC; of six bits, stored five to a word, one bit a value in SSC only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.isa.formats.elements import ElementFormat
from potluck.sim.ecc.rangeguard.bins import Bins, fault_aware_bins, mae_bins

Scheme = Literal["dsc", "ssc"]
Objective = Literal["mae", "fault_aware", "tails"]
SYMBOL_BITS: dict[Scheme, int] = {"dsc": 4, "ssc": 8}
ARTIFACT_SIGMA = 4.0
TAILS = (0.8, 3.0, 6.0)


class UndefinedCell(DataError):
    """A format that a scheme is not defined for; tables say n/a there."""


@dataclass(frozen=True, eq=False)
class RangeTable:
    """RIDs of the values of a lane.

    Attributes:
        scheme: ``dsc`` or ``ssc``.
        width: bits of a slot; `slots` of them lie in a lane from bit 0 on.
        slots: values (or, of four bits under DSC, pairs) in a lane.
        rid_bits: of a slot.
        shift: low bits of a slot that the RID does not depend on.
        rid: uint8 (2^(width - shift),), RID by the bits above.
        representative: uint32 (2^rid_bits,), code that replaces a value of a wrong RID.
        keep: bits of the received value that survive a replacement (the sign of formats by exponent).
        violates: bool like `rid`: codes that the clean tensor never holds (`rgx`); all False if nothing is known.
        entry_bits: of the controller's range table for this tensor.
    """

    scheme: Scheme
    width: int
    slots: int
    rid_bits: int
    shift: int
    rid: NDArray[np.uint8]
    representative: NDArray[np.uint32]
    keep: int
    violates: NDArray[np.bool_]
    entry_bits: int


def slots_of(element: ElementFormat, scheme: Scheme) -> tuple[int, int, int]:
    """Slot width, slots in a lane, RID bits of a slot.

    Raises:
        UndefinedCell: a lane has fewer RID bits than values.
    """
    width = {6: 6, 4: 4 if scheme == "ssc" else 8}.get(element.bits, element.bits)
    slots = 32 // width
    rid_bits = SYMBOL_BITS[scheme] // slots
    if not rid_bits:
        raise UndefinedCell(f"{element.name} under RangeGuard {scheme} is undefined (n/a)", hint="Use ssc")
    return width, slots, rid_bits


def exponent_table(
    element: ElementFormat, scheme: Scheme, bounds: Sequence[int], representatives: Sequence[float],
    largest: int | None = None,
) -> RangeTable:  # fmt: skip
    """By exponent field: RID = number of bounds that it reaches, representative +2^(R - bias).

    Args:
        element: FP32, BF16 or FP16.
        scheme: ``dsc`` or ``ssc``.
        bounds: first exponents of bins 1, 2, ..., ascending.
        representatives: exponent per bin.
        largest: largest exponent of the clean tensor, which makes those above it violations.

    Raises:
        DataError: more bins than the format's RIDs, or not one representative per bin.
    """
    width, slots, rid_bits = slots_of(element, scheme)
    if len(bounds) >= 1 << rid_bits or len(representatives) != len(bounds) + 1:
        raise DataError(f"{len(bounds)} bounds, {len(representatives)} representatives for {rid_bits}-bit RIDs",
                        hint="One representative per bin, one bound between two")  # fmt: skip
    exponents = np.arange(1 << (1 + element.exponent_bits)) & ((1 << element.exponent_bits) - 1)
    codes = np.zeros(1 << rid_bits, np.uint32)
    codes[: len(representatives)] = np.asarray(representatives, np.uint32) << element.mantissa_bits
    violates = exponents > largest if largest is not None else np.zeros(len(exponents), np.bool_)
    rid = np.searchsorted(np.asarray(bounds), exponents, "right").astype(np.uint8)
    entry = element.exponent_bits * (
        1 + len(bounds)
    )  # largest exponent and bounds; representatives follow from them
    return RangeTable(scheme, width, slots, rid_bits, element.mantissa_bits, rid, codes,
                      element.sign_mask, violates, entry)  # fmt: skip


def artifact_table(element: ElementFormat, scheme: Scheme, sigma: float = ARTIFACT_SIGMA) -> RangeTable:
    """The artifact's table: bins for a Gaussian by mean absolute error; FP16 by the same exponents, rebiased."""
    rid_bits = slots_of(element, scheme)[2]
    if rid_bits >= element.exponent_bits:  # one bin an exponent
        every = range(1 << element.exponent_bits)
        return exponent_table(element, scheme, every[1:], every)
    bins = mae_bins(1 << rid_bits, sigma)
    return _rebiased(element, scheme, bins, None)


def _rebiased(element: ElementFormat, scheme: Scheme, bins: Bins, largest: int | None) -> RangeTable:
    top = (1 << element.exponent_bits) - 2
    move = element.bias - 127
    bounds = [int(np.clip(b + move, 1, top)) for b in bins.bounds]
    representatives = [int(np.clip(r + move, 0, top)) for r in bins.representatives]
    return exponent_table(element, scheme, bounds, representatives, largest)


def fitted_table(
    element: ElementFormat, scheme: Scheme, codes: NDArray[Any], objective: Objective = "mae"
) -> RangeTable:
    """A tensor's own table. Exponents above its largest, and codes beyond its range, are violations.

    Args:
        element: format of the tensor.
        scheme: ``dsc`` or ``ssc``.
        codes: the clean tensor's element codes, any shape.
        objective: of formats by exponent: ``mae``, `mae_bins` for the tensor's standard deviation; ``fault_aware``,
            `fault_aware_bins` of its exponents, which gives impossible ranges a bin of their own; ``tails``, bounds
            at 0.8, 3 and 6 standard deviations (2-bit RIDs only), for `rgx`, which needs no bin for the impossible.
            Formats of eight bits and less always take `fault_aware_bins` of their codes.

    Raises:
        UndefinedCell: see `slots_of`.
        DataError: no finite value.
    """
    held, count = _held(element, codes)
    values = element.decode(held).astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise DataError("no finite value to fit ranges to")
    if element.bits < 16:
        return _code_table(element, scheme, values[finite], count[finite])
    field = (held.astype(np.int64) & element.magnitude_mask) >> element.mantissa_bits
    largest = int(field[finite].max())
    rid_bits = slots_of(element, scheme)[2]
    if rid_bits >= element.exponent_bits:
        every = range(1 << element.exponent_bits)
        return exponent_table(element, scheme, every[1:], every, largest)
    if objective == "fault_aware":
        return _exponent_bins(element, scheme, field, count, largest)
    sigma = max(_root_mean_square(values[finite], count[finite]), 2.0**-60)
    if objective == "tails" and rid_bits == 2:
        bounds = [round(log2(k * sigma)) + 127 for k in TAILS]
        bins = Bins(tuple(bounds), (bounds[0] - 2, *bounds), 0.0)
        return _rebiased(element, scheme, bins, largest)
    return _rebiased(element, scheme, mae_bins(1 << rid_bits, sigma), largest)


def _held(element: ElementFormat, codes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Codes of a tensor, and how often it has each; of 32 bits all by themselves, as sorting takes longer."""
    if element.bits > 16:
        return codes.ravel(), np.ones(codes.size)
    counts = np.bincount(codes.ravel())
    held = np.flatnonzero(counts)
    return held, counts[held].astype(np.float64)


def _root_mean_square(values: NDArray[np.float64], count: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.sum(count * (values * values)) / count.sum()))


def _exponent_bins(
    element: ElementFormat, scheme: Scheme, field: NDArray[np.int64], held: NDArray[np.float64], largest: int
) -> RangeTable:
    """Fault-aware bins of exponents, every faulty exponent equally likely."""
    count = 1 << element.exponent_bits
    values = np.ldexp(1.0, np.arange(count) - element.bias)
    p = np.bincount(field, held, minlength=count) / held.sum()
    bins = fault_aware_bins(values, p, np.full(count, 1 / count), 1 << slots_of(element, scheme)[2])
    representatives = [
        int(np.clip(round(log2(r)) + element.bias, 0, count - 2)) for r in bins.representatives
    ]
    return exponent_table(element, scheme, bins.bounds, representatives, largest)


def _code_table(
    element: ElementFormat, scheme: Scheme, tensor: NDArray[np.float64], count: NDArray[np.float64]
) -> RangeTable:
    width, slots, rid_bits = slots_of(element, scheme)
    value = element.decode(np.arange(1 << element.bits)).astype(np.float64)
    finite = np.isfinite(value)
    levels, level = np.unique(value[finite], return_inverse=True)
    p = np.bincount(np.searchsorted(levels, tensor), count, minlength=len(levels)) / count.sum()
    q = np.bincount(level, minlength=len(levels)) / finite.sum()
    violates = ~finite | (value < tensor.min()) | (value > tensor.max())
    if width != element.bits:
        return _pair_table(element, scheme, value, violates, _root_mean_square(tensor, count))
    bins = fault_aware_bins(levels, p, q, 1 << rid_bits)
    rid = np.full(1 << width, (1 << rid_bits) - 1, np.uint8)  # NaN and Inf join the uppermost bin
    rid[finite] = np.searchsorted(np.asarray(bins.bounds), level, "right")
    representative = element.encode(np.asarray(bins.representatives, np.float32)).astype(np.uint32)
    entry = len(rid) * rid_bits + width * len(representative)
    return RangeTable(scheme, width, slots, rid_bits, 0, rid, representative, 0, violates, entry)


def _pair_table(
    element: ElementFormat, scheme: Scheme, value: NDArray[np.float64], violates: NDArray[np.bool_],
    root_mean_square: float,
) -> RangeTable:  # fmt: skip
    """Two four-bit values a byte: RID 1 if either exceeds the tensor's root mean square.

    The smallest such value beside a 0 represents it.
    """
    byte = np.arange(256)
    large = np.abs(value) > root_mean_square
    rid = (large[byte & 15] | large[byte >> 4]).astype(np.uint8)
    bad = violates[byte & 15] | violates[byte >> 4]
    smallest = int(np.argmin(np.where(large & (value > 0), value, np.inf)))
    return RangeTable(scheme, 8, 4, 1, 0, rid, np.array([0, smallest], np.uint32), 0, bad, 256 + 16)
