"""The bench catches each bug of a list (tests/rtl/mutations): one that lets them pass would be worth nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from potluck.isa.errors import RtlError
from potluck.isa.formats.rounding import ROUNDINGS
from tests.rtl.bench.lane_library import differences
from tests.rtl.bench.mutants import mutated
from tests.rtl.bench.running import directed_form, lane_library, random_form, run_bench
from tests.rtl.bench.transactions import ACC_FORMATS, ELEM_FORMATS, Lanes

pytestmark = pytest.mark.usefixtures("rtl_tools")

PATCHES = sorted((Path(__file__).parent / "mutations").glob("*.patch"))
SAMPLE = {path.stem for path in PATCHES[:: len(PATCHES) // 8]}
LANE = ("fp_round", "lzc_node", "mxdotp_element", "mxdotp_products", "mxdotp_sum", "mxdotp_special", "mxdotp_add",
        "mxdotp_lane")  # fmt: skip
CELLS: dict[
    str, tuple[str, dict[str, int]]
] = {  # the bench of a cell, with parameters that spare no part of it
    "fifo": ("fifo", {"Depth": 3}),
    "fp_round": ("fp_round", {}),
    "lzc_node": ("lzc", {"Width": 5}),
    "pipe_stage": ("pipe_stage", {"Stages": 3}),
    "spill_register": ("spill_register", {}),
}
# Handshakes do not depend on formats: a small unit builds in a fraction of the time.
SMALL = {"EnableFp8": 0, "Lanes": 2}
SMALL_RUN = {"POTLUCK_GROUPS": "800", "POTLUCK_LANES": "2", "POTLUCK_FORMATS": "e2m1"}


@cache
def vectors() -> Lanes:
    """What the lane's tests run, thinned."""
    rng = np.random.Generator(np.random.Philox(5))
    parts = []
    for fmt in ELEM_FORMATS:
        for acc_format in ACC_FORMATS:
            parts.append(directed_form(fmt, acc_format, thin=5))
            parts += [random_form(fmt, acc_format, frm, 4000, rng) for frm in ROUNDINGS]
    return Lanes.concatenate(parts)


def catch(patch: Path, folder: Path) -> str:
    """What noticed the bug; empty if nothing did."""
    replaced = mutated(patch, folder / "source")
    unit = next(iter(replaced))
    if unit in LANE:
        given = vectors()
        try:
            if differences(given, *lane_library(replaced=replaced).run(given)):
                return "bulk vectors"
        except AssertionError:
            return "bulk vectors: no answer"
    try:
        if unit in CELLS:
            cell, parameters = CELLS[unit]
            run_bench("cells_bench", cell, folder / "cells", parameters, replaced=replaced)
        if unit not in LANE and unit != "fifo":
            run_bench(
                "unit_bench", "mxdotp_unit", folder / "unit", SMALL, variables=SMALL_RUN, replaced=replaced
            )
    except RtlError as error:
        # A mutant that does not build would prove nothing.
        assert "failed" in str(error) or "stopped" in str(error), error
        return "cocotb"
    return ""


def _check(patch: Path, folder: Path) -> None:
    assert catch(patch, folder), f"not caught: {patch.read_text().splitlines()[0]}"


def test_the_list_is_long_enough() -> None:
    assert len(PATCHES) >= 20


@pytest.mark.parametrize("patch", [p for p in PATCHES if p.stem in SAMPLE], ids=lambda p: p.stem)
def test_sample_of_mutations(patch: Path, tmp_path: Path) -> None:
    _check(patch, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("patch", [p for p in PATCHES if p.stem not in SAMPLE], ids=lambda p: p.stem)
def test_other_mutations(patch: Path, tmp_path: Path) -> None:
    _check(patch, tmp_path)
