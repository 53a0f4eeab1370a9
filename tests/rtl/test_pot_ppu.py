"""The PoT array's post-processing unit, against the contract and the published vectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rtl.bench.running import run_bench

pytestmark = pytest.mark.usefixtures("rtl_tools")


@pytest.mark.parametrize(
    ("simulator", "overlap"),
    [("icarus", 0), ("verilator", 1), *(pytest.param(s, o, marks=pytest.mark.slow) for s, o in
                                        (("icarus", 1), ("verilator", 0)))],
)  # fmt: skip
def test_ppu(simulator: str, overlap: int, tmp_path: Path) -> None:
    run_bench("pot_bench", "pot_ppu", tmp_path, {"Overlap": overlap}, simulator=simulator)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_ppu_at_length(seed: int, tmp_path: Path) -> None:
    variables = {"POTLUCK_BLOCKS": "20000"}
    run_bench("pot_bench", "pot_ppu", tmp_path, {"Overlap": 1}, variables=variables, seed=seed)
