"""Synthesis of the vector unit: units as they stand in another, with parts left out, and the sum of them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import potluck.hdl.synthesis as synthesis
from potluck.benchmarks import rtl_vector
from potluck.benchmarks.rtl_vector import RegisterFile, Total, gates
from potluck.hdl.core_tile import vector_parameters
from potluck.hdl.sources import Unit, rtl_directory, unit_names
from potluck.hdl.synthesis import Design, generic_gates
from potluck.isa.errors import RtlError
from potluck.isa.machine import load_machine

needs_tools = pytest.mark.usefixtures("rtl_tools")

MEMORY = """
module memory #(parameter int unsigned Words = 16, parameter int unsigned Width = 32) (
  input  logic                     clk_i,
  input  logic                     write_i,
  input  logic [$clog2(Words)-1:0] to_i,
  input  logic [Width-1:0]         data_i,
  input  logic [$clog2(Words)-1:0] from_i,
  output logic [Width-1:0]         data_o
);
  logic [Width-1:0] memory_q[Words];
  always_ff @(posedge clk_i) if (write_i) memory_q[to_i] <= data_i;
  assign data_o = memory_q[from_i];
endmodule
"""


@needs_tools
def test_a_unit_inside_another_has_the_parameters_that_it_has_there() -> None:
    inside = generic_gates(Design("lzc", {"Precision": 8}, inside="fma_sum.u_lzc"), solver=False)
    assert inside == generic_gates(Design("lzc", {"Width": 3 * 8 + 5}), solver=False)


@needs_tools
def test_what_is_left_out_is_not_counted() -> None:
    rest = generic_gates(Design("bf16_fma", without=("fma_sum",)), solver=False)
    assert rest.flip_flop + rest.reset_flip_flop == 0  # all registers stand in the sum
    parts = rest.nand2 + gates(Design("fma_sum", inside="bf16_fma.u_sum"))
    # What the mapper would merge across the cut: a tenth.
    assert 0.97 < parts / gates(Design("bf16_fma")) < 1.15


@needs_tools
def test_a_place_that_is_not_there_is_an_error() -> None:
    with pytest.raises(RtlError, match="u_absent"):
        generic_gates(Design("lzc", inside="fma_sum.u_absent"), solver=False)


@needs_tools
def test_the_flow_for_wide_multipliers_costs_little_where_both_end() -> None:
    design = Design("bf16_fma")
    searched, without = generic_gates(design), generic_gates(design, solver=False)
    assert without.flip_flop == searched.flip_flop
    assert without.nand2 == pytest.approx(searched.nand2, rel=0.05)


@needs_tools
def test_storage_is_counted_as_the_mapper_counts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "memory.sv"
    file.write_text(MEMORY)
    monkeypatch.setenv("POTLUCK_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(synthesis, "find_unit", lambda unit: Unit("memory", "memory"))
    monkeypatch.setattr(synthesis, "sources", lambda unit: [file])
    counted = 16 * 32 * rtl_vector.BIT + 32 * 15 * rtl_vector.MULTIPLEXER
    assert gates(Design("memory")) == pytest.approx(counted, rel=0.1)  # decoders of addresses are not counted


def test_the_storage_is_that_of_the_package() -> None:
    text = (rtl_directory() / "vector/vector_unit_pkg.sv").read_text()
    vector = load_machine(rtl_vector.PRESET).vector
    for name, value in {"Lanes": vector.lanes, "VlenBits": vector.vlen, "Banks": vector.vrf_banks}.items():
        assert f"localparam int unsigned {name} = {value};" in text
    registers = (rtl_directory() / "vector/vector_registers.sv").read_text()
    assert (
        f"Readers = {rtl_vector.READERS}," in registers and f"Writers = {rtl_vector.WRITERS}\n" in registers
    )
    file = rtl_vector.register_file()
    assert file.bits == 32 * 512 * rtl_vector.BIT
    assert file.ports == 12 * 15 * 256 * rtl_vector.MULTIPLEXER
    assert file.select == (8 * 3 * 256 + 2 * 4 * 256) * rtl_vector.MULTIPLEXER
    assert file.scales == 2 * 3 * 256 * rtl_vector.MULTIPLEXER


@pytest.mark.parametrize("unit", ["vector_unit", "vector_arithmetic", "vector_scoreboard"])
def test_units_are_measured_with_the_parameters_of_the_machine(unit: str) -> None:
    wanted = vector_parameters(load_machine(rtl_vector.PRESET)) | {"HasMxdotp": 1}
    declared = re.findall(
        r"parameter (?:int unsigned|bit) +(\w+) *= (?:1'b)?(\d+)",
        (rtl_directory() / f"vector/{unit}.sv").read_text(),
    )
    assert declared
    assert {name: int(value) for name, value in declared} == {name: wanted[name] for name, _ in declared}


def test_the_parts_are_units_and_the_whole_is_their_sum() -> None:
    designs = {
        **rtl_vector.blocks(),
        **rtl_vector.control_designs(),
        **rtl_vector.lane_designs(0),
        **rtl_vector.lane_designs(1),
    }
    assert {design.unit for design in designs.values()} <= set(unit_names())
    # Every unit within the vector unit is measured, or within one that is.
    first = dict.fromkeys(rtl_vector.lane_designs(0), 10.0)
    other = dict.fromkeys(rtl_vector.lane_designs(1), 7.0)
    control = {**dict.fromkeys(rtl_vector.control_designs(), 5.0), "without VMXDOTP": 3.0}
    total = Total(first, other, control, RegisterFile(100, 20, 30, 4))
    everything = sum(first.values()) + 3 * sum(other.values()) + sum(control.values()) - 3.0 + 150
    assert total.vmxdotp + total.without == pytest.approx(everything)
    assert total.vmxdotp == 10 + 3 * 7 + 2 + 4
    assert total.idle_integer == 3 * 2 * 7
    more = Total({**first, "mxdotp_lane": 11.0}, other, control, replace(total.registers, scales=5))
    assert more.vmxdotp == total.vmxdotp + 2


@needs_tools
@pytest.mark.parametrize(("unit", "least"), [("vector_adder", 64 * 9), ("vector_set", 0), ("vector_clip", 0)])
def test_small_units_map(unit: str, least: int) -> None:
    # A full adder takes nine NAND2 of either kind.
    assert least < gates(Design(unit)) < least + 2_000


@pytest.mark.slow
@needs_tools
def test_the_table_is_what_the_benchmark_prints() -> None:
    printed: dict[str, float] = {}
    rtl_vector.run(lambda figure, value, *_: printed.update({figure: value}))
    text = (Path(__file__).parents[2] / "docs/rtl.md").read_text()
    for figure, value in printed.items():
        shown = re.search(rf"^\| {re.escape(figure)} \| ([\d.,]+)", text, re.MULTILINE)
        assert shown, f"docs/rtl.md has no row {figure!r}"
        assert float(shown[1].replace(",", "")) == pytest.approx(value, rel=0.05, abs=0.06), figure
