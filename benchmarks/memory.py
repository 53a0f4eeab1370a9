"""Codes and RangeGuard: constants of the literature, coverage beside Table III, speed of the coverage engine."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from potluck.benchmarks import memory_network
from potluck.isa.formats import BF16
from potluck.sim.ecc.coverage.exact import exact_coverage
from potluck.sim.ecc.coverage.monte_carlo import draw_errors, engine_of
from potluck.sim.ecc.coverage.patterns import PATTERNS
from potluck.sim.ecc.coverage.table3 import ROWS, blocks
from potluck.sim.ecc.filters import codes_in, exponent_clamp
from potluck.sim.ecc.interface import Status, Words, as_words
from potluck.sim.ecc.outcomes import Outcome
from potluck.sim.ecc.rangeguard.codec import RangeGuard
from potluck.sim.ecc.rangeguard.ranges import Scheme, artifact_table, fitted_table
from potluck.sim.ecc.rangeguard.rgx import RangeGuardX
from potluck.sim.ecc.reed_solomon import dsc16

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


def residuals(report: Report) -> None:
    """Blocks of BF16 weights with an error above 10 sigma: RG-X beside the clamp, patterns up to 64 bits."""
    rng = np.random.default_rng(KEY)
    codes = BF16.encode((rng.standard_t(5, (BLOCKS, 16)) * SIGMA * 0.6**0.5).astype(np.float32))
    data = as_words(codes)
    guard = RangeGuardX(fitted_table(BF16, "dsc", codes, "tails"))
    clamp = exponent_clamp(BF16, int(((codes >> 7) & 255).max()))
    checks = guard.encode(data).checks
    values = BF16.decode(codes)

    def large(read: Words) -> int:
        return int((np.abs(BF16.decode(codes_in(read, 16)) - values) > 10 * SIGMA).any(axis=1).sum())

    for pattern in ("SE", "16E", "32E", "16E+16E", "32E+32E"):
        faulty = data ^ draw_errors(pattern, BLOCKS, KEY)
        clamped, guarded = (
            large(clamp.decode(faulty, checks[:, :0]).data),
            large(guard.decode(faulty, checks).data),
        )
        # log ratio of two Poisson counts; half a count keeps it finite
        spread = 1.96 * np.sqrt(1 / (guarded + 0.5) + 1 / (clamped + 0.5))
        upper = (guarded + 0.5) / (clamped + 0.5) * float(np.exp(spread))
        report(f"blocks above 10 sigma, {pattern}: clamp", clamped / BLOCKS, "", "Student t (5) weights")
        report(f"blocks above 10 sigma, {pattern}: RG-X", guarded / BLOCKS, "", "Student t (5) weights")
        report(f"RG-X / clamp, {pattern}, upper 95 %", upper, "x", "", "<= 0.1", upper <= 0.1)


def run(report: Report) -> None:
    """Constants, residuals, the network, coverage."""
    codec(report)
    residuals(report)
    memory_network.run(report)
    coverage(report)
