"""The common cells under cocotb, over their parameters."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rtl.bench.running import run_bench

pytestmark = pytest.mark.usefixtures("rtl_tools")

CASES = [
    *[("lzc", {"Width": width}) for width in (1, 2, 5, 8, 26, 121)],
    *[("pipe_stage", {"Stages": stages}) for stages in (0, 1, 3)],
    ("spill_register", {}),
    *[("fifo", {"Depth": depth, "FallThrough": through}) for depth in (1, 3, 4) for through in (0, 1)],
    *[("fp_round", {"ExactTininess": exact}) for exact in (0, 1)],
]


IDS = [f"{u}-{'-'.join(f'{k}{v}' for k, v in p.items())}" for u, p in CASES]


@pytest.mark.parametrize(("unit", "parameters"), CASES, ids=IDS)
def test_cell_in_icarus(unit: str, parameters: dict[str, int], tmp_path: Path) -> None:
    assert run_bench("cells_bench", unit, tmp_path, parameters, simulator="icarus").tests


QUICK = ("lzc-Width8", "pipe_stage-Stages3", "spill_register-", "fifo-Depth3-FallThrough0")


@pytest.mark.parametrize(
    ("unit", "parameters"),
    [
        pytest.param(*case, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for case, name in zip(CASES, IDS, strict=True)
    ],
)
def test_cell_in_verilator(unit: str, parameters: dict[str, int], tmp_path: Path) -> None:
    """With assertions; building takes longer, so that the normal run has one of each handshake cell."""
    assert run_bench("cells_bench", unit, tmp_path, parameters).tests
