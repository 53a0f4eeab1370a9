"""Struck and decoded sectors against the coverage engine's exact shares."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from potluck.sim.dram.kind import load_kind
from potluck.sim.dram.mapping import Mapping
from potluck.sim.ecc.coverage.exact import exact_coverage
from potluck.sim.ecc.coverage.monte_carlo import draw_errors
from potluck.sim.ecc.coverage.table3 import blocks
from potluck.sim.ecc.interface import as_words
from potluck.sim.ecc.outcomes import Outcome
from potluck.sim.faults.cost import cost_of
from potluck.sim.faults.faultset import Sort, fault_set, keys_of
from potluck.sim.faults.parts import Part
from potluck.sim.faults.protected import Protected
from potluck.sim.faults.recipes import recipe

HBM3 = Mapping(load_kind("hbm3"), 1)
SECTORS = 4000
PART = Part("x", "other", "bytes", None, 64, as_words(np.random.default_rng(2).bytes(32 * SECTORS)))


@pytest.mark.parametrize(
    ("row", "stack"),
    [("hsiao_272_256", "hsiao"), ("secded_artifact", "secded_artifact"), ("vapi_78_64", "vapi_78_64"),
     ("hbm3", "ondie+crc")],
)  # fmt: skip
@pytest.mark.parametrize("pattern", ["DAE", "16E", "SE+SE", "SE+32E"])
def test_outcomes_have_the_exact_shares(row: str, stack: str, pattern: str) -> None:
    """Each outcome's count within its exact binomial interval, jointly at 99 %."""
    errors = draw_errors(pattern, SECTORS, 77)
    bits = np.unpackbits(errors.view(np.uint8), axis=1, bitorder="little")
    rows, places = np.nonzero(bits)
    protected = Protected(
        (PART,), recipe(stack), HBM3 if stack != "vapi_78_64" else Mapping(load_kind("ddr5"), 1)
    )
    (read,) = protected.read(fault_set(keys_of(PART.first + rows, Sort.DATA, places)))
    assert len(read.rows) == SECTORS
    counts = np.bincount(read.outcome, minlength=len(Outcome))
    shares = exact_coverage(blocks(row), pattern)
    for outcome in Outcome:
        low, high = stats.binom.interval(1 - 0.01 / 80, SECTORS, float(np.clip(shares[outcome], 0, 1)))
        assert low <= counts[outcome] <= high, (outcome, shares[outcome], counts)


def test_costs_in_closed_form() -> None:
    """HBM3: array 2.7 and pins 0.8 pJ/bit; 16 bits cross the pins, 32 stay inside."""
    both, inside, none = (cost_of(recipe(name), HBM3) for name in ("ondie+rg", "ondie", "none"))
    assert both.check_pj == pytest.approx(16 * 3.5 + 32 * 2.7) and inside.check_pj == pytest.approx(32 * 2.7)
    assert (both.bits, inside.bits, none.bits) == (48, 32, 0) and none.picojoules(1 << 20) == 0
    assert both.cycles == 2 and inside.cycles == 0 and both.codec_pj == pytest.approx(3894 * 0.3e-3)
    assert both.picojoules(64) == pytest.approx(2 * (both.check_pj + both.codec_pj))
    wide = cost_of(recipe("hsiao_72_64"), HBM3)
    assert (wide.sideband_bits, wide.inline_bits) == (0, 32) and wide.check_pj == 0
    assert cost_of(recipe("rgx+clamp"), HBM3).cycles >= 3 and both.band[0] < both.codec_pj < both.band[1]
