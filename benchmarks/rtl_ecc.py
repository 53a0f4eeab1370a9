"""Gates, depth, FPGA resources, area and period of the protection units, beside the two published sources there are.

The fact sheet's counts are of two-input gates (`abc -g simple`), so that flow is run here, too. The Unity ECC artifact
(SC'23) gives 28 nm areas of an RS(10,8) over GF(256); of those only the ratio of decoder to encoder can be compared.
Area and period need OpenSTA and the cell library and are left out without them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from potluck.hdl import toolchain
from potluck.hdl.synthesis import (
    Design,
    StandardCells,
    fpga_resources,
    generic_gates,
    standard_cells,
    two_input_gates,
)
from potluck.isa.formats.elements import BF16
from potluck.sim.ecc.rangeguard.hardware import BOUND_BITS, BOUNDS, hardware_table
from potluck.sim.ecc.rangeguard.ranges import artifact_table

Report = Callable[..., None]
SHEET = "our earlier Yosys count, scratch RTL"
UNITY = "Unity ECC (SC'23), 28 nm: 1185 / 113 um2"
BYTE, BF16_ONLY = {"format_i": "3'd3"}, {"format_i": "3'd1", "codes_i": "512'd0"}
_ARTIFACT = hardware_table(artifact_table(BF16, "dsc")).ports()["bounds_i"]
FIXED = {**BF16_ONLY, "bounds_i": f"{BOUNDS * BOUND_BITS}'h{_ARTIFACT:x}"}


@dataclass(frozen=True)
class Row:
    """A design under its name in the table.

    Attributes:
        name: of the row.
        design: what is mapped.
        gates: two-input gates of the reference; 0 if there is none.
        depth: likewise, gates in a row.
    """

    name: str
    design: Design
    gates: int = 0
    depth: int = 0


def _code(symbol_bits: int, side: str) -> Design:
    return Design(f"rs_{side}", {"SymbolBits": symbol_bits})


def _guard(symbol_bits: int, side: str, latency: int = 0) -> Design:
    return Design(f"rangeguard_{side}", {"SymbolBits": symbol_bits, "Latency": latency}, BF16_ONLY)


ROWS = (
    Row("Hsiao (39,32) encoder", Design("hsiao_encoder", {"DataBits": 32})),
    Row("Hsiao (39,32) decoder", Design("hsiao_decoder", {"DataBits": 32})),
    Row("Hsiao (72,64) encoder", Design("hsiao_encoder", {"DataBits": 64})),
    Row("Hsiao (72,64) decoder", Design("hsiao_decoder", {"DataBits": 64})),
    Row("RS(12,8) encoder", _code(4, "encoder"), 171, 5),
    Row("RS(12,8) decoder", _code(4, "decoder"), 1307, 34),
    Row("RS(10,8) encoder", _code(8, "encoder"), 137, 7),
    Row("RS(10,8) decoder", _code(8, "decoder"), 605, 17),
    Row("RID mapper, two BF16, DSC", Design("rid_mapper", tied=BF16_ONLY), 2 * 151, 13),
    Row("the same, fixed bounds", Design("rid_mapper", tied=FIXED)),
    Row("RID mapper, two BF16, SSC", Design("rid_mapper", {"SymbolBits": 8}, BF16_ONLY)),
    Row("RID mapper, four bytes, DSC", Design("rid_mapper", tied=BYTE)),
    Row("RID mapper, every format, DSC", Design("rid_mapper")),
    Row("RID mapper, every format, SSC", Design("rid_mapper", {"SymbolBits": 8})),
    Row("RangeGuard DSC encoder, BF16", _guard(4, "encoder")),
    Row("RangeGuard DSC decoder, BF16", _guard(4, "decoder")),
    Row("RangeGuard SSC encoder, BF16", _guard(8, "encoder")),
    Row("RangeGuard SSC decoder, BF16", _guard(8, "decoder")),
)
PIPELINED = {  # name: the code's symbol bits, and depths
    "RangeGuard DSC decoder, BF16": (4, (1, 3)),
    "RangeGuard SSC decoder, BF16": (8, (2,)),
}


def run(report: Report) -> None:
    """Measure and report every row, then the pipelined decoders.

    Raises:
        ToolError: Yosys is not installed.
        RtlError: a design does not synthesize.
    """
    timed = not toolchain.missing("timing")
    cells: dict[str, StandardCells] = {}
    for row in ROWS:
        two = two_input_gates(row.design)
        reference = f"{SHEET}: {row.gates}" if row.gates else ""
        report(f"{row.name}: gates", two.gates, "2-input gates", reference)
        report(f"{row.name}: depth", two.depth, "gates", f"{SHEET}: {row.depth}" if row.depth else "")
        report(f"{row.name}: NAND2", generic_gates(row.design).nand2, "NAND2", "generic gates")
        report(f"{row.name}: LUTs", fpga_resources(row.design).lut, "LUT", "Xilinx 7-series")
        if timed:
            cells[row.name] = _timed(report, row.name, row.design)
    if not timed:
        return
    ratio = cells["RS(10,8) decoder"].area_um2 / cells["RS(10,8) encoder"].area_um2
    report("RS(10,8) decoder / encoder: area", ratio, "x", f"{UNITY} = {1185 / 113:.1f}")
    for name, (symbol_bits, depths) in PIPELINED.items():
        for latency in depths:
            _timed(report, f"{name}, {latency} registers", _guard(symbol_bits, "decoder", latency))


def _timed(report: Report, name: str, design: Design) -> StandardCells:
    cells = standard_cells(design)
    report(f"{name}: area", cells.area_um2, "um2", "OSU 0.18 um, no wires")
    report(f"{name}: period", cells.period_ns, "ns", "OSU 0.18 um, typical, no wires")
    return cells
