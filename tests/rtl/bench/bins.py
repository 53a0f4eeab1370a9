"""Functional coverage of the VMXDOTP unit: bins that a bench must hit, all of them, before it may call itself done."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np

from potluck.isa.arithmetic.mxdot import CHUNK_ELEMENTS, NV, NX, OF, UF
from potluck.isa.formats.elements import FORMATS, ElementFormat
from potluck.isa.formats.rounding import ROUNDINGS

CLASSES = ("zero", "subnormal", "normal", "largest", "inf", "quiet", "signalling")
SIGNS = ("+", "-")
FLAG_SETS = {"none": 0, "NV": NV, "NX": NX, "OF NX": OF | NX, "UF NX": UF | NX}
SHIFTS = {  # of the accumulator against the sum of products: fact sheet section 1.5, rule 4
    "below -26": (-400, -27),
    "-26 and -25": (-26, -25),
    "-24 to -1": (-24, -1),
    "0": (0, 0),
    "1 to 69": (1, 69),
    "70": (70, 70),
    "71": (71, 71),
    "above 71": (72, 400),
}
RESULTS = ("NaN", "inf", "largest", "normal", "smallest normal", "subnormal", "zero")


class Coverage:
    """Counts of named bins, all declared beforehand."""

    def __init__(self, bins: list[str]) -> None:
        self.counts = Counter(dict.fromkeys(bins, 0))

    def hit(self, name: str, count: int = 1) -> None:
        if name not in self.counts:
            raise KeyError(f"bin {name!r} is not declared")
        self.counts[name] += count

    def missing(self) -> list[str]:
        return sorted(name for name, count in self.counts.items() if not count)

    def __str__(self) -> str:
        return f"{len(self.counts) - len(self.missing())} of {len(self.counts)} bins"


def element_classes(fmt: ElementFormat) -> list[str]:
    """Classes that a format has."""
    absent = set() if fmt.has_inf else {"inf", "signalling"}
    absent |= {"quiet"} if fmt.nan == "none" else set()
    absent |= {"subnormal"} if fmt.name == "INT8" else set()
    return [name for name in CLASSES if name not in absent]


def classify(codes: np.ndarray, fmt: ElementFormat) -> np.ndarray:
    """Index into CLASSES of every code."""
    if fmt.name == "INT8":
        value = codes.astype(np.int8).astype(np.int16)
        return np.select([value == 0, np.abs(value) >= 127], [0, 3], 2)
    magnitude = codes & fmt.magnitude_mask
    quiet = (magnitude > fmt.inf_code) & ((magnitude >> (fmt.mantissa_bits - 1)) & 1 == 1)
    special = fmt.nan == "ieee"
    return np.select(
        [
            magnitude == 0,
            magnitude < 1 << fmt.mantissa_bits,
            magnitude == fmt.max_code,
            (magnitude == fmt.inf_code) & special,
            (quiet & special) | ((magnitude == fmt.magnitude_mask) & (fmt.nan == "all_ones")),
            (magnitude > fmt.inf_code) & special,
        ],
        [0, 1, 3, 4, 5, 6],
        2,
    )


def form_bins(fmt: str, acc_format: str) -> list[str]:
    """Bins of one element format and result format."""
    pairs = product(element_classes(FORMATS[fmt]), repeat=2)
    bins = [f"pair {a} x {b}" for a, b in pairs]
    bins += [f"acc {sign}{kind}" for sign, kind in product(SIGNS, CLASSES)]
    bins += [f"frm {frm} gives {flags}" for frm, flags in product(ROUNDINGS, FLAG_SETS)]
    bins += [f"shift {name}, sum {what}" for name, what in product(SHIFTS, ("zero", "nonzero"))]
    bins += [f"result {sign}{kind}" for sign, kind in product(SIGNS, RESULTS) if (sign, kind) != ("-", "NaN")]
    bins += [f"scale {side} {code}" for side, code in product("ab", (0, 127, 254, 255))]
    bins += [f"sum {sign} at shift {name}" for sign, name in product(SIGNS, SHIFTS)]
    return [*bins, "exact cancellation", "only rule 4b keeps -0"]


def cover(
    coverage: Coverage, fmt: str, acc_format: str, frm: str, lanes: tuple[np.ndarray, ...], flags: np.ndarray,
    result: np.ndarray,
) -> None:  # fmt: skip
    """Count the bins that lanes of one form and rounding mode hit; operands: `potluck.isa.arithmetic.mxdot.mxdot`."""
    acc, a, b, sa, sb = lanes
    element, form = FORMATS[fmt], FORMATS[acc_format]
    width = len(CLASSES)
    pairs = np.bincount((classify(a, element) * width + classify(b, element)).reshape(-1), minlength=width**2)
    for first, second in product(element_classes(element), repeat=2):
        count = int(pairs[CLASSES.index(first) * width + CLASSES.index(second)])
        coverage.hit(f"pair {first} x {second}", count)
    negative = (acc & form.sign_mask) != 0
    for index, kind in enumerate(CLASSES):
        for sign, where in zip(SIGNS, (~negative, negative), strict=True):
            coverage.hit(f"acc {sign}{kind}", int((where & (classify(acc, form) == index)).sum()))
    for name, value in FLAG_SETS.items():
        coverage.hit(f"frm {frm} gives {name}", int((flags == value).sum()))
    for side, scale in (("a", sa), ("b", sb)):
        for code in (0, 127, 254, 255):
            coverage.hit(f"scale {side} {code}", int((scale == code).sum()))

    with np.errstate(invalid="ignore"):  # signs and zeros are exact: every product is an exact FP32 number
        total = (element.decode(a).astype(np.float64) * element.decode(b)).sum(-1)
    finite = np.isfinite(total) & np.isfinite(form.decode(acc)) & (sa != 255) & (sb != 255)
    field = (acc >> form.mantissa_bits).astype(np.int32) & 0xFF
    field += (field == 0) & ((acc & form.magnitude_mask) != 0)
    shift = 11 - (sa.astype(np.int32) + sb - 254) + field - 127
    for name, (low, high) in SHIFTS.items():
        here = finite & (shift >= low) & (shift <= high)
        coverage.hit(f"shift {name}, sum zero", int((here & (total == 0)).sum()))
        coverage.hit(f"shift {name}, sum nonzero", int((here & (total != 0)).sum()))
        coverage.hit(f"sum + at shift {name}", int((here & (total > 0)).sum()))
        coverage.hit(f"sum - at shift {name}", int((here & (total < 0)).sum()))

    magnitude = result & form.magnitude_mask
    smallest = 1 << form.mantissa_bits
    conditions = {
        "NaN": magnitude > form.inf_code,
        "inf": magnitude == form.inf_code,
        "largest": magnitude == form.max_code,
        "normal": (magnitude > smallest) & (magnitude < form.max_code),
        "smallest normal": magnitude == smallest,
        "subnormal": (magnitude > 0) & (magnitude < smallest),
        "zero": magnitude == 0,
    }
    for kind, where in conditions.items():
        for sign, side in zip(SIGNS, (0, form.sign_mask), strict=True):
            if (sign, kind) != ("-", "NaN"):
                coverage.hit(f"result {sign}{kind}", int((where & ((result & form.sign_mask) == side)).sum()))
    moved = finite & (total != 0) & (shift <= 70)
    coverage.hit("exact cancellation", int((moved & (magnitude == 0) & (flags == 0)).sum()))
    kept = finite & (total == 0) & (result == form.sign_mask) & (acc == form.sign_mask)
    coverage.hit("only rule 4b keeps -0", int((kept & (shift < -24)).sum()))


assert set(CHUNK_ELEMENTS) <= set(FORMATS)
