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


@pytest.mark.parametrize("simulator", ["verilator", pytest.param("icarus", marks=pytest.mark.slow)])
def test_requantizer(simulator: str, tmp_path: Path) -> None:
    """The cluster's accelerator's, with its three laws."""
    run_bench("pot_requantizer_bench", "pot_requantizer", tmp_path, simulator=simulator)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 5))
def test_requantizer_at_length(seed: int, tmp_path: Path) -> None:
    variables = {"POTLUCK_SUMS": "20000"}
    run_bench("pot_requantizer_bench", "pot_requantizer", tmp_path, variables=variables, seed=seed)
