"""The parts of the PoT array that have a clock, against the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rtl.bench.running import run_bench

pytestmark = pytest.mark.usefixtures("rtl_tools")


@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
@pytest.mark.parametrize("overlap", [0, 1])
def test_ppu(simulator: str, overlap: int, tmp_path: Path) -> None:
    run_bench("pot_bench", "pot_ppu", tmp_path, {"Overlap": overlap}, simulator=simulator)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_ppu_at_length(seed: int, tmp_path: Path) -> None:
    variables = {"POTLUCK_BLOCKS": "20000"}
    run_bench("pot_bench", "pot_ppu", tmp_path, {"Overlap": 1}, variables=variables, seed=seed)
