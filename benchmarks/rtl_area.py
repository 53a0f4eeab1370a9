"""Gates, FPGA resources, area and clock period of the RTL units, the VMXDOTP lane beside a lane of BF16 multiply-adds.

Both lanes are built from the same cells with three registers each, take 64-bit operands and one operation per cycle.
What the published unit costs is known as a share of its cluster only, so the ratios have no reference to meet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from potluck.hdl import toolchain
from potluck.hdl.synthesis import (
    Design,
    FpgaResources,
    GenericGates,
    StandardCells,
    fpga_resources,
    generic_gates,
    standard_cells,
)

Report = Callable[..., None]
PAPER = "paper: +7.2 % of a cluster (arXiv 2603.04979); per lane unpublished"
FP32_ONLY = {"acc_fmt_i": "1'b0"}
BASE = "BF16 FMA lane"


@dataclass(frozen=True)
class Row:
    """A design under its name in the table; `macs` is the most multiply-adds that it does per cycle, 0 for a cell."""

    name: str
    design: Design
    macs: int = 0


ROWS = (
    Row(BASE, Design("bf16_fma_lane"), 4),
    Row("BF16 FMA lane, Spatz's latency 2", Design("bf16_fma_lane", {"Latency": 2}), 4),
    Row("VMXDOTP FP8", Design("mxdotp_lane", {"EnableFp4": 0}), 8),
    Row("VMXDOTP FP8+FP4", Design("mxdotp_lane"), 16),
    Row("VMXDOTP FP8+FP4, FP32 results only", Design("mxdotp_lane", tied=FP32_ONLY), 16),
    Row("VMXDOTP all formats", Design("mxdotp_lane", {"EnableFp6": 1, "EnableInt8": 1}), 16),
    Row("VMXDOTP FP8+FP4, 4 lanes", Design("mxdotp_unit"), 64),
    Row("fp_round, FP32 and BF16", Design("fp_round")),
    Row("lzc, 121 bits", Design("lzc", {"Width": 121})),
    Row("pipe_stage, 32 bits", Design("pipe_stage", {"Width": 32})),
    Row("spill_register, 32 bits", Design("spill_register", {"Width": 32})),
    Row("fifo, 4 of 32 bits", Design("fifo", {"Width": 32})),
)
RATIOS = ("VMXDOTP FP8", "VMXDOTP FP8+FP4", "VMXDOTP all formats")


class Measured(NamedTuple):
    """All about one design; `fpga` without DSP slices, `fpga_dsp` with them."""

    gates: GenericGates
    fpga: FpgaResources
    fpga_dsp: FpgaResources
    cells: StandardCells


def _fpga(design: Design) -> tuple[FpgaResources, FpgaResources]:
    """Without and with DSP slices: only the former compares what multiplies in LUTs by nature with what does not."""
    resources = fpga_resources(design)
    return (fpga_resources(design, dsp=False) if resources.dsp48 else resources), resources


def measure(rows: tuple[Row, ...]) -> Iterator[Measured]:
    """Results in the order of the rows; each flow is a process of its own, as many at a time as there are cores.

    Raises:
        ToolError: a tool for synthesis is missing.
        RtlError: a design does not synthesize.
    """
    for tool in ("pyosys", "sta", "osu018"):
        toolchain.require(tool)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        jobs: list[
            tuple[Future[GenericGates], Future[tuple[FpgaResources, FpgaResources]], Future[StandardCells]]
        ] = [
            (
                pool.submit(generic_gates, row.design),
                pool.submit(_fpga, row.design),
                pool.submit(standard_cells, row.design),
            )
            for row in rows
        ]
        try:
            for gates, fpga, cells in jobs:
                yield Measured(gates.result(), *fpga.result(), cells.result())
        finally:
            pool.shutdown(cancel_futures=True)


def run(report: Report) -> None:
    """Measure and report every row, then the lanes as multiples of the baseline."""
    results: dict[str, Measured] = {}
    for row, result in zip(ROWS, measure(ROWS), strict=True):
        results[row.name] = result
        report(f"{row.name}: gates", result.gates.nand2, "NAND2", "generic gates")
        report(f"{row.name}: LUTs", result.fpga.lut, "LUT", "Xilinx 7-series, no DSP slices")
        report(f"{row.name}: flip-flops", result.fpga.flip_flop, "FF", "Xilinx 7-series, no DSP slices")
        dsp = result.fpga_dsp
        leaves = (
            f"Xilinx 7-series, leaving {dsp.lut} LUT, {dsp.flip_flop} FF" if dsp.dsp48 else "Xilinx 7-series"
        )
        report(f"{row.name}: DSPs", dsp.dsp48, "DSP48", leaves)
        report(f"{row.name}: area", result.cells.area_um2, "um2", "OSU 0.18 um, no wires")
        report(f"{row.name}: period", result.cells.period_ns, "ns", "OSU 0.18 um, typical, no wires")
    macs = {row.name: row.macs for row in ROWS}
    base = results[BASE]
    for name in RATIOS:
        lane = results[name]
        area = lane.cells.area_um2 / base.cells.area_um2
        report(f"{name} / BF16: gates", lane.gates.nand2 / base.gates.nand2, "x", PAPER)
        report(f"{name} / BF16: LUTs", lane.fpga.lut / base.fpga.lut, "x", PAPER)
        report(f"{name} / BF16: area", area, "x", PAPER)
        report(f"{name} / BF16: area per multiply-add", area * macs[BASE] / macs[name], "x", PAPER)
        report(f"{name} / BF16: period", lane.cells.period_ns / base.cells.period_ns, "x", PAPER)
