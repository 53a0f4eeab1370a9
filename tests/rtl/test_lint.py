"""No unit has a lint warning, in any of the configurations that are synthesized."""

from pathlib import Path

import pytest

from potluck.hdl import lint
from potluck.hdl.sources import find_unit, unit_names

pytestmark = pytest.mark.usefixtures("rtl_tools")

USED = {name for unit in unit_names() for name in find_unit(unit).uses}
CONFIGURATIONS = [
    # What another unit contains is linted there; alone, with its own defaults, in the slow run. Verilator does not
    # take a module that instantiates itself as top: lzc_node is linted inside lzc only.
    *(
        pytest.param(unit, {}, id=unit, marks=pytest.mark.slow if unit in USED else ())
        for unit in unit_names()
        if unit != "lzc_node"
    ),
    ("mxdotp_lane", {}),
    ("mxdotp_lane", {"EnableFp4": 0}),
    ("mxdotp_lane", {"EnableFp8": 0}),
    ("mxdotp_lane", {"EnableFp6": 1, "EnableInt8": 1}),
    *(("mxdotp_lane", {"Latency": latency}) for latency in (0, 1, 2, 4, 7)),
    *(("bf16_fma_lane", {"Latency": latency}) for latency in (0, 1, 2, 4, 7)),
    ("hsiao_decoder", {"DataBits": 32, "Latency": 2}),
    ("rs_decoder", {"Latency": 3}),
    *((f"rangeguard_{side}", {"SymbolBits": 8}) for side in ("encoder", "decoder")),
    ("rangeguard_decoder", {"Latency": 5}),
    *((unit, {"CodeSet": code_set}) for unit in ("pot_pe", "pot_mac") for code_set in range(5)),
    ("multiplier_pe", {"Booth": 0}),
    (
        "core_tile",
        {
            "HasVector": 1,
            "Multiply": 1,
            "Divide": 2,
            "BranchTaken": 3,
            "Jump": 9,
            "FloatResult": 0,
            "FenceI": 0,
        },
    ),
    (
        "vector_lane",
        {
            "IntegerLatency": 3,
            "FmaLatency": 6,
            "NoncompLatency": 1,
            "ConvertLatency": 1,
            "DivideCycles": 3,
        },
    ),
    ("vector_arithmetic", {"HasMxdotp": 0}),
    ("pot_ppu", {"Overlap": 1}),
    ("pot_engine", {"CodeSet": 4}),
    *(("pot_engine", {"Units": units}) for units in (1, 2, 8)),
    ("pot_array", {"CodeSet": 4, "Units": 1}),
    ("pot_array", {"CodeSet": 1, "Units": 8, "Groups": 64, "Overlap": 1}),
]


@pytest.mark.parametrize(("unit", "parameters"), CONFIGURATIONS)
def test_verilator_has_nothing_to_say(unit: str, parameters: dict[str, int]) -> None:
    assert lint.lint_verilator(unit, parameters) == []


@pytest.mark.parametrize(("unit", "parameters"), CONFIGURATIONS)
def test_slang_has_nothing_to_say(unit: str, parameters: dict[str, int]) -> None:
    assert lint.lint_slang(unit, parameters) == []


WIDTHS = "module probe (input logic [7:0] a_i, output logic [3:0] b_o);\n  assign b_o = a_i;\nendmodule\n"
UNKNOWN = "module probe (input logic a_i, output logic b_o);\n  absent u_absent (.a_i, .b_o);\nendmodule\n"


@pytest.mark.parametrize("text", [WIDTHS, UNKNOWN])
@pytest.mark.parametrize("tool", ["verilator", "pyslang"])
def test_a_defect_is_found(tool: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "probe.sv"
    file.write_text(text)
    monkeypatch.setattr(lint, "sources", lambda unit: [file])
    monkeypatch.setattr(lint, "find_unit", lambda unit: type("Unit", (), {"top": "probe", "parameters": {}}))
    check = {"verilator": lint.lint_verilator, "pyslang": lint.lint_slang}[tool]
    assert any("probe.sv" in line for line in check("probe"))
