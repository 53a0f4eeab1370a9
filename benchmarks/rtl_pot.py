"""LUTs and gates of the PoT array's processing elements, beside two 8x8 multipliers and PoTAcc's post-route reports.

PoTAcc's figures are differences between builds of whole accelerators, divided by their PEs (Vivado, after routing): so
the PEs are compared with an accumulator behind each, where the last multiplexer of a shifter costs nothing beside the
addition, and in units of 64. A multiplier is what synthesis makes of an operator, and radix-4 Booth written for carry
chains, the smallest that we know. Area and period need OpenSTA and the cell library and are left out without them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from potluck.hdl import toolchain
from potluck.hdl.synthesis import Design, FpgaResources, fpga_resources, generic_gates, standard_cells
from potluck.isa.pot.array import PES
from potluck.isa.pot.codes import APOT, MSQ, POT_FORMATS, QKERAS

Report = Callable[..., None]
HALF = 0.5


class Row(NamedTuple):
    """A PE under its name in the table, and the value of parameter CodeSet."""

    name: str
    code_set: int


SETS = tuple(Row(name, number) for number, name in enumerate(POT_FORMATS))
ANY = Row("any set, run time", len(SETS) + 1)
BOOTH = Row("int8, Booth", len(SETS))
ROWS = (*SETS, ANY, BOOTH)
OPERATOR = Design("multiplier_pe", {"Booth": 0})
ACCUMULATOR = Design("pot_mac", {"CodeSet": 0}, {"control_i": "8'd0"})
PPU = Design("pot_ppu")
REQUANTIZER = Design("pot_requantizer")
ENGINE_BUFFERS = {"InputBytes": 65536, "WindowBytes": 8192, "WeightLines": 2048, "Groups": 64, "OutputBytes": 16384,
                  "Tiles": 64}  # fmt: skip
"""Of `spatz-mx-pot`, by the modules' parameters."""
ENGINE = {  # how many of it the cluster's accelerator has, and which buffers it knows
    "pot_queue": (1, ()), "pot_checker": (1, tuple(ENGINE_BUFFERS)), "pot_load": (1, ("InputBytes", "Groups")),
    "pot_windows": (1, ("InputBytes", "WindowBytes")), "pot_window_buffer": (1, ("WindowBytes",)),
    "pot_sequencer": (1, ("WindowBytes", "WeightLines", "Groups", "OutputBytes", "Tiles")), "pot_engine_unit": (4, ()),
    "pot_post": (1, ("Groups", "OutputBytes", "Tiles")), "pot_store": (1, ("OutputBytes",)),
}  # fmt: skip
POST_ROUTE = {  # LUT and FF of a PE beyond QKeras's: (PYNQ-Z2, Kria)
    MSQ.name: ((4.1, 5.2), (14.9, 19.2)),
    APOT.name: ((10.8, 9.0), (17.1, 20.0)),
    BOOTH.name: ((44.5, 51.1), (2.5, 8.5)),
}


def pe(row: Row) -> Design:
    """The PE alone, with its decoder."""
    return Design("pot_pe", {"CodeSet": row.code_set})


def mac(row: Row) -> Design:
    """The PE with its accumulator, behind a decoder that a vector unit's rows share."""
    return Design("pot_mac", {"CodeSet": row.code_set})


def unit(row: Row) -> Design:
    """The 64 PEs of a vector unit with decoders, accumulators and adder trees."""
    return Design("pot_compute", {"CodeSet": row.code_set})


def engine(name: str) -> Design:
    """A part of the cluster's accelerator, with its buffers."""
    known = {key: ENGINE_BUFFERS[key] for key in ENGINE[name][1]}
    if name == "pot_load":
        known["WeightWords"] = ENGINE_BUFFERS["WeightLines"]
    return Design(name, known)


def run(report: Report) -> None:
    """Measure and report every PE, its ratios and the accelerator's parts.

    Raises:
        ToolError: Yosys is not installed.
        RtlError: a design does not synthesize.
    """
    report("multiplier as synthesized: LUTs", _luts(OPERATOR), "LUT", "Xilinx 7-series, no DSP slices")
    for row in ROWS:
        _alone(report, row)
    pe_luts(report)
    _accelerator(report)


def _luts(design: Design) -> int:
    """Without DSP slices."""
    return fpga_resources(design, dsp=False).lut


def _alone(report: Report, row: Row) -> None:
    """A PE by itself, in all flows."""
    report(f"{row.name}: LUTs", _luts(pe(row)), "LUT", "Xilinx 7-series, no DSP slices")
    report(f"{row.name}: LUTs with accumulator", _luts(mac(row)), "LUT", f"{_luts(ACCUMULATOR)} without a PE")
    report(f"{row.name}: gates", generic_gates(pe(row)).nand2, "NAND2", "generic gates")
    if not toolchain.missing("timing"):
        cells = standard_cells(mac(row))
        report(f"{row.name}: area with accumulator", cells.area_um2, "um2", "OSU 0.18 um, no wires")
        report(f"{row.name}: period with accumulator", cells.period_ns, "ns", "OSU 0.18 um, no wires")


def pe_luts(report: Report) -> None:
    """The ratios that issue 8 asks for, and the order of the code sets beside PoTAcc's.

    Raises:
        ToolError: Yosys is not installed.
        RtlError: a design does not synthesize.
    """
    alone = {row.name: _luts(pe(row)) for row in ROWS}
    macs = {row.name: _luts(mac(row)) for row in ROWS}
    units: dict[str, FpgaResources] = {}
    for row in ROWS:
        units[row.name] = fpga_resources(unit(row), dsp=False)
        report(f"{row.name}, 64 PEs of a unit: LUTs", units[row.name].lut, "LUT", "without DSP slices")
        report(f"{row.name}, 64 PEs of a unit: flip-flops", units[row.name].flip_flop, "FF")
    operator, base = _luts(OPERATOR), _luts(ACCUMULATOR)
    # What a unit has beside its PEs: accumulators, adder trees, registers.
    rest = units[QKERAS.name].lut - PES * (macs[QKERAS.name] - base)
    for row in (*SETS, ANY):
        for name, lut, whole in (
            ("multiplier as synthesized", alone[row.name], operator),
            ("Booth", alone[row.name], alone[BOOTH.name]),
            ("Booth, above the accumulator", macs[row.name] - base, macs[BOOTH.name] - base),
            ("Booth, in a unit", units[row.name].lut - rest, units[BOOTH.name].lut - rest),
        ):
            ratio = lut / whole
            report(f"{row.name} / {name}: LUTs", ratio, "x", "issue 8", f"below {HALF}", ratio < HALF)
    for name, (luts, flip_flops) in POST_ROUTE.items():
        reference = f"post-route {luts[0]} (Z2), {luts[1]} (Kria)"
        report(f"{name} - {QKERAS}, PE: LUTs", macs[name] - macs[QKERAS.name], "LUT", reference)
        more = (units[name].lut - units[QKERAS.name].lut) / PES
        report(f"{name} - {QKERAS}, in a unit, per PE: LUTs", more, "LUT", reference)
        more = (units[name].flip_flop - units[QKERAS.name].flip_flop) / PES
        places = f"post-route {flip_flops[0]} (Z2), {flip_flops[1]} (Kria)"
        report(f"{name} - {QKERAS}, in a unit, per PE: flip-flops", more, "FF", places)
    ours = sorted(POST_ROUTE, key=lambda name: units[name].lut)
    theirs = sorted(POST_ROUTE, key=lambda name: POST_ROUTE[name][0])
    least = all(units[QKERAS.name].lut < units[name].lut for name in POST_ROUTE)
    same = least and ours == theirs
    order = "post-route: " + " < ".join([QKERAS.name, *theirs])
    report("order of LUTs", float(same), "", order, "same", same)


def _accelerator(report: Report) -> None:
    """The parts of the cluster's accelerator."""
    post = fpga_resources(PPU)
    report("PPU: LUTs", post.lut, "LUT", f"with {post.dsp48} DSP48")
    three = fpga_resources(REQUANTIZER)
    report("requantizer of three laws: LUTs", three.lut, "LUT", f"with {three.dsp48} DSP48")
    total = 0
    for name, (count, _) in ENGINE.items():
        part = fpga_resources(engine(name))
        total += count * part.lut
        beside = f"{part.flip_flop} FF, {part.dsp48} DSP48, {part.bram18} memories of 18 Kib; {count} of it"
        report(f"accelerator's {name}: LUTs", part.lut, "LUT", beside)
    report("accelerator, its parts: LUTs", total, "LUT", "beside memories of slots and weights")
