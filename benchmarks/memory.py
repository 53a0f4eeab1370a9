"""Codes and RangeGuard: constants of the literature, coverage beside Table III, speed of the coverage engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from potluck.benchmarks import memory_network
from potluck.isa.formats.elements import (
    BF16,
    E2M1,
    E2M3,
    E3M2,
    E4M3,
    E5M2,
    FP16,
    FP32,
    INTEGER8,
    ElementFormat,
)
from potluck.isa.pot.codes import POT_FORMATS
from potluck.sim.ecc.coverage.exact import exact_coverage
from potluck.sim.ecc.coverage.monte_carlo import draw_errors, engine_of
from potluck.sim.ecc.coverage.patterns import PATTERNS
from potluck.sim.ecc.coverage.table3 import ROWS, blocks
from potluck.sim.ecc.filters import blocks_of, code_clamp, codes_in, exponent_clamp, exponent_of
from potluck.sim.ecc.interface import Status, Words, as_words
from potluck.sim.ecc.outcomes import Outcome
from potluck.sim.ecc.rangeguard.codec import RangeGuard
from potluck.sim.ecc.rangeguard.ranges import Scheme, UndefinedCell, artifact_table, fitted_table, slots_of
from potluck.sim.ecc.rangeguard.rgx import RangeGuardX
from potluck.sim.ecc.reed_solomon import dsc16
from potluck.sim.faults.parts import CodeBook

Report = Callable[..., None]
TRIALS = 4_000_000
KEY = 260504563
Z = 4.2  # two-sided 99 % over all cells and outcomes, Bonferroni
SIGMA = 0.02
BLOCKS = 100_000


def codec(report: Report) -> None:
    """Correctable syndromes of the DSC code and the artifact's block."""
    status = dsc16().locator.locate(np.arange(1 << 16, dtype=np.uint64)).status
    known = int((status != Status.DUE).sum())
    report(
        "DSC syndromes that are correctable", known, "", "weight <= 2, enumerated", "15031", known == 15031
    )
    report("DSC share of random syndromes", 100 * known / 65536, "%", "facts: 22.94 %")
    block = as_words(bytes.fromhex("003fa0bf4040e5bb0841000000c0833ac8429abe9840003dc0c02040403f80c1"))
    vectors: tuple[tuple[Scheme, int], ...] = (("dsc", 0x69E3), ("ssc", 0x3115))
    for scheme, word in vectors:
        made = int(RangeGuard(artifact_table(BF16, scheme)).encode(block).checks[0, 0])
        report(
            f"RangeGuard {scheme} check word of the vector", made, "", f"{word:#x}", str(word), made == word
        )


def coverage(report: Report) -> None:
    """All cells exactly; Monte Carlo beside them; trials per second of CPU time, as cores may be shared."""
    agree, rates = True, []
    for row in ROWS:
        engine = engine_of(blocks(row)) if row != "hbm3" else None
        if engine:
            engine.count("SE", 1, KEY)  # compiled before the clock starts
        for pattern in PATTERNS:
            shares = exact_coverage(blocks(row), pattern)
            silent = shares[Outcome.MIS] + shares[Outcome.UND]
            report(f"{row}, {pattern}: CE", shares[Outcome.CE], "", "exact; Table III recomputed")
            report(f"{row}, {pattern}: MIS + UND", silent, "", "exact; Table III recomputed")
            if engine:
                start = time.thread_time()
                counts = engine.count(pattern, TRIALS, KEY)
                rates.append(TRIALS / (time.thread_time() - start) / 1e6)
                p = np.array([shares[outcome] for outcome in Outcome])
                margin = Z * np.sqrt(p * (1 - p) / TRIALS) + 10 / TRIALS
                agree &= bool((np.abs(counts / TRIALS - p) <= margin).all())
    report("Monte Carlo agrees with the exact shares", agree, "", "all cells jointly at 99 %", "1", agree)
    middle = float(np.median(rates))
    report(
        "coverage engine, median of the cells", middle, "M trials/s/core", "CPU time", ">= 20", middle >= 20
    )
    report("coverage engine, slowest cell", min(rates), "M trials/s/core", "CPU time")


def pot_book(bits: int) -> CodeBook:
    """APoT's levels as four-bit codes, or as the bytes that hold them as integers; other bytes are no level."""
    table = POT_FORMATS["pot_apot"].table.astype(np.float64)
    if bits == 4:
        return CodeBook("PoT nibble", table)
    levels = np.full(256, np.nan)
    levels[table.astype(np.int64) & 255] = table
    return CodeBook("PoT byte", levels, 8)


ELEMENTS = (
    FP32, BF16, FP16, E4M3, E5M2, INTEGER8, cast(ElementFormat, pot_book(8)), E2M1,
    cast(ElementFormat, pot_book(4)), E3M2, E2M3,
)  # fmt: skip
"""Formats that RangeGuard may meet, from wide to narrow."""


def cells(report: Report) -> None:
    """RID bits of a value by format and scheme, and what storage five six-bit values to a word take."""
    for element in ELEMENTS:
        for scheme in get_args(Scheme):
            what = f"RangeGuard {scheme}, {element.name}: RID bits"
            try:
                width, slots, bits = slots_of(element, scheme)
            except UndefinedCell:
                report(what, float("nan"), "", "undefined: a lane has more values than RID bits")
                continue
            pair = width > element.bits
            stored = 32 / (slots * (2 if pair else 1))
            more = f", {100 * (stored / element.bits - 1):.1f} % more" if stored > element.bits else ""
            per = "a pair of values" if pair else "a value"
            report(what, bits, per, f"{stored:g} bits stored a value{more}; 16 check bits per 256")


def residuals(report: Report) -> None:
    """Blocks of weights with an error above 10 sigma: RG-X beside the clamp, patterns of up to 64 bits."""
    rng = np.random.default_rng(KEY)
    weights = rng.standard_t(5, (BLOCKS, 64)) * SIGMA * 0.6**0.5
    for element in ELEMENTS:
        if element.bits != 6:  # five to a word: not a layout of a network's weights here
            _residuals(report, element, weights[:, : 256 // element.bits])


def _residuals(report: Report, element: ElementFormat, weights: NDArray[np.float64]) -> None:
    wide = element.bits >= 16
    # formats with an exponent of their own hold values; narrow ones six or more deviations at a scale per tensor
    levels = element.decode(np.arange(1 << min(element.bits, 8))) if not wide else np.zeros(1)
    reach = {8: 16.0, 4: 6.0}.get(element.bits, 0.0)
    top = float(np.nanmax(np.where(np.isfinite(levels), levels, np.nan)))
    sigma = SIGMA if wide else top / reach
    scaled = np.clip(weights * (sigma / SIGMA), -top, top) if not wide else weights
    codes = element.encode(scaled.astype(np.float32))
    data = blocks_of(np.asarray(codes), element.bits)
    guard = RangeGuardX(fitted_table(element, "dsc", codes, "tails" if wide else "mae"))
    clamp = (
        exponent_clamp(element, int(exponent_of(codes, element).max()))
        if wide
        else code_clamp(element, codes)
    )
    checks, values = guard.encode(data).checks, element.decode(codes)

    def large(read: Words) -> int:
        with np.errstate(invalid="ignore", over="ignore"):
            errors = np.abs(element.decode(codes_in(read, element.bits)).astype(np.float64) - values)
        return int((~(errors <= 10 * sigma)).any(axis=1).sum())

    for pattern in PATTERNS:
        if pattern == "FC":
            continue
        faulty = data ^ draw_errors(pattern, BLOCKS, KEY)
        clamped, guarded = (
            large(clamp.decode(faulty, checks[:, :0]).data),
            large(guard.decode(faulty, checks).data),
        )
        # log ratio of two Poisson counts; half a count keeps it finite
        spread = 1.96 * np.sqrt(1 / (guarded + 0.5) + 1 / (clamped + 0.5))
        upper = (guarded + 0.5) / (clamped + 0.5) * float(np.exp(spread))
        found = f"blocks above 10 sigma: clamp {clamped}, RG-X {guarded} of {BLOCKS}"
        what = f"RG-X / clamp, {element.name}, {pattern}, upper 95 %"
        if element is BF16:
            report(what, upper, "x", found, "<= 0.1", upper <= 0.1)
        elif clamped:
            report(what, upper, "x", found)
        else:
            report(what, float("nan"), "", f"{found}: no ratio")


def run(report: Report) -> None:
    """Constants, formats, residuals, the network, coverage."""
    codec(report)
    cells(report)
    residuals(report)
    memory_network.run(report)
    coverage(report)
