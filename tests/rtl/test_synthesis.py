"""Synthesis: counts that can be worked out by hand, results that are kept, errors that say what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from potluck import benchmarks
from potluck.benchmarks import rtl_area, rtl_ecc, rtl_pot
from potluck.hdl import synthesis, toolchain
from potluck.hdl.sources import Unit, unit_names
from potluck.hdl.synthesis import Design, fpga_resources, generic_gates, standard_cells, two_input_gates
from potluck.isa.errors import RtlError, ToolError

needs_tools = pytest.mark.usefixtures("rtl_tools")
needs_timing = pytest.mark.skipif(bool(toolchain.missing("timing")), reason="no OpenSTA or no cell library")

PROBE = """
module probe #(parameter int unsigned Width = 4) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             enable_i,
  input  logic [Width-1:0] a_i,
  input  logic [Width-1:0] b_i,
  output logic [Width-1:0] nand_o,
  output logic [Width-1:0] held_q
);
  assign nand_o = ~(a_i & b_i);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) held_q <= '0;
    else if (enable_i) held_q <= a_i;
  end
endmodule
"""


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Design:
    """NANDs, and registers with reset and enable, `Width` of each."""
    file = tmp_path / "probe.sv"
    file.write_text(PROBE)
    monkeypatch.setenv("POTLUCK_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(synthesis, "find_unit", lambda unit: Unit("probe", "probe"))
    monkeypatch.setattr(synthesis, "sources", lambda unit: [file])
    return Design("probe")


@needs_tools
def test_generic_gates_are_those_of_the_source(probe: Design) -> None:
    gates = generic_gates(probe)
    assert gates.reset_flip_flop == 4
    assert gates.flip_flop == 0
    # A NAND each, and three for each multiplexer that holds the value, with one inverted select.
    assert gates.nand + gates.nor == 4 + 3 * 4
    assert gates.nand2 == gates.nand + gates.nor + gates.inverter / 2 + 5 * 4


@needs_tools
def test_two_input_gates_and_their_depth() -> None:
    # Both outputs are the parity of all inputs: one tree.
    gates = two_input_gates(Design("xor_matrix", {"Inputs": 16, "Outputs": 2}))
    assert (gates.gates, gates.exclusive_or, gates.depth) == (15, 15, 4)


@needs_tools
def test_registers_are_no_two_input_gates(probe: Design) -> None:
    with pytest.raises(RtlError, match="not counted"):
        two_input_gates(probe)


@needs_tools
def test_parameters_reach_the_module(probe: Design) -> None:
    assert generic_gates(Design("probe", {"Width": 9})).reset_flip_flop == 9


@needs_tools
def test_tied_inputs_are_constants(probe: Design) -> None:
    # Always enabled: no multiplexers. One NAND input high: inverters.
    gates = generic_gates(Design("probe", tied={"enable_i": "1'b1", "b_i": "4'b1111"}))
    assert (gates.nand, gates.nor, gates.inverter, gates.reset_flip_flop) == (0, 0, 4, 4)


@needs_tools
def test_xilinx_resources(probe: Design) -> None:
    resources = fpga_resources(probe)
    # The flip-flops have the enable; their reset is active high, so its inversion takes a LUT.
    assert (resources.flip_flop, resources.lut, resources.carry4, resources.dsp48) == (4, 5, 0, 0)


@needs_tools
@needs_timing
def test_standard_cells(probe: Design) -> None:
    cells = standard_cells(probe)
    assert cells.flip_flop == 4
    # DFFSR 176 um2, NAND2X1 24, and at least a multiplexer (48) or its gates each.
    assert 4 * (176 + 24 + 40) <= cells.area_um2 <= 4 * (176 + 24 + 100)
    assert 0.1 < cells.period_ns < 2


@needs_tools
@needs_timing
def test_logic_without_a_clock_has_a_delay() -> None:
    narrow, wide = (standard_cells(Design("lzc", {"Width": width})).period_ns for width in (4, 64))
    assert 0 < narrow < wide


@needs_tools
def test_a_result_is_kept_until_its_source_changes(probe: Design, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    run = synthesis.yosys.run_yosys
    monkeypatch.setattr(
        synthesis.yosys, "run_yosys", lambda *arguments: runs.append(arguments) or run(*arguments)
    )
    first = generic_gates(probe)
    assert generic_gates(probe) == first
    assert len(runs) == 1
    file = synthesis.sources("probe")[0]
    file.write_text(PROBE.replace("Width = 4", "Width = 5"))
    assert generic_gates(probe).reset_flip_flop == 5
    assert len(runs) == 2


@needs_tools
def test_an_unknown_parameter_is_an_error(probe: Design) -> None:
    with pytest.raises(RtlError, match=r"no parameter 'Widht'.*'Width'"):
        generic_gates(Design("probe", {"Widht": 8}))


@needs_tools
def test_a_design_that_does_not_elaborate_is_an_error(probe: Design) -> None:
    synthesis.sources("probe")[0].write_text(PROBE.replace("a_i & b_i", "a_i & absent"))
    with pytest.raises(RtlError, match="absent"):
        generic_gates(probe)


@pytest.fixture
def no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("POTLUCK_LIBERTY", str(tmp_path / "absent.lib"))
    toolchain.find.cache_clear()
    yield
    toolchain.find.cache_clear()


@pytest.mark.usefixtures("no_library")
def test_a_missing_library_is_named() -> None:
    with pytest.raises(ToolError, match="qflow-tech-osu018"):
        standard_cells(Design("lzc"))


@pytest.mark.usefixtures("no_library")
def test_without_tools_the_benchmark_is_left_out_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks, "BENCHMARKS", ("rtl_area",))
    console = Console(record=True, file=StringIO(), width=400)
    assert benchmarks.run_benchmarks([], console) == []
    assert "rtl_area left out: tool " in console.export_text()
    with pytest.raises(ToolError):
        benchmarks.run_benchmarks(["rtl_area"], console)


def test_the_benchmark_names_units_that_exist() -> None:
    assert {row.design.unit for row in (*rtl_area.ROWS, *rtl_ecc.ROWS)} <= set(unit_names())
    assert rtl_ecc.PIPELINED.keys() <= {row.name for row in rtl_ecc.ROWS}
    assert {rtl_area.BASE, *rtl_area.RATIOS} <= {row.name for row in rtl_area.ROWS}
    pot = [
        rtl_pot.OPERATOR,
        rtl_pot.ACCUMULATOR,
        rtl_pot.PPU,
        *map(rtl_pot.unit, rtl_pot.ROWS),
        *map(rtl_pot.pe, rtl_pot.ROWS),
        *map(rtl_pot.mac, rtl_pot.ROWS),
        *map(rtl_pot.engine, rtl_pot.ENGINE),
    ]
    assert {design.unit for design in pot} <= set(unit_names())
    assert {*rtl_pot.POST_ROUTE} <= {row.name for row in rtl_pot.ROWS}
