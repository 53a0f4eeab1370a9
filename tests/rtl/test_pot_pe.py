"""The PoT array's processing elements: every weight times every activation in every code set, in two simulators."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from potluck.isa.pot.codes import POT_FORMATS
from potluck.isa.verilog.pot import pot_package
from tests.rtl.bench.pot_cases import ANY, INT8
from tests.rtl.bench.running import run_bench

BUILDS = [*range(len(POT_FORMATS)), INT8, ANY]
NAMES = [*POT_FORMATS, "int8", "any"]


@pytest.mark.usefixtures("rtl_tools")
@pytest.mark.parametrize("code_set", BUILDS, ids=NAMES)
def test_pe_in_icarus(code_set: int, tmp_path: Path) -> None:
    """The multiplier's 65,536 products, the baseline's, are left to the slow run but for a fifth."""
    thin = {"POTLUCK_THIN": "5"} if code_set == INT8 else {}
    run_bench("pot_bench", "pot_pe", tmp_path, {"CodeSet": code_set}, simulator="icarus", variables=thin)


@pytest.mark.usefixtures("rtl_tools")
@pytest.mark.parametrize(
    "code_set", [pytest.param(b, marks=() if b == ANY else pytest.mark.slow) for b in BUILDS]
)
def test_pe_in_verilator(code_set: int, tmp_path: Path) -> None:
    run_bench("pot_bench", "pot_pe", tmp_path, {"CodeSet": code_set})


def test_the_package_has_the_published_levels() -> None:
    """Facts 2.1: the levels of the v12 hardware by magnitude code, from the tables of the superset PE."""
    published = {
        "POT_QKERAS": [1, 2, 4, 8, 16, 32, 64, 128],
        "POT_APOT": [1, 3, 0, 2, 4, 6, 8, 10],
        "POT_MSQ": [1, 5, 2, 6, 4, 8, 0, 4],
        "POT_ZERO": [0, 1, 2, 4, 8, 16, 32, 64],
    }
    text = pot_package()
    names = re.findall(r"(POT_\w+) = 2'd(\d)", text)
    assert [int(number) for _, number in names] == list(range(len(names)))

    def table(name: str) -> list[list[int]]:
        body = re.search(rf" {name} = \{{\n(.*?)\n  \}};", text, re.DOTALL)
        assert body, name
        rows = [[int(v) for v in re.findall(r"\d'd(\d+)", row)[::-1]] for row in body[1].splitlines()]
        return rows[::-1]

    factor = {0: 1, 2: 3, 3: 5}
    present, shift, odd = (table(f"LEVEL_{name}") for name in ("PRESENT", "SHIFT", "ODD"))
    for number, (name, _) in enumerate(names):
        parts = zip(present[number], shift[number], odd[number], strict=True)
        assert [p * factor[o] << s for p, s, o in parts] == published[name]
