"""Static timing of a mapped netlist by OpenSTA."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from potluck.hdl import toolchain
from potluck.hdl.process import run_logged, tail
from potluck.isa.errors import RtlError

_TIMEOUT = 300.0  # seconds; the largest unit takes a few
_PERIOD_NS = 1000.0  # longer than any path: the slack says the rest
_OUTPUT_LOAD_PF = 0.0375  # four inverters of the OSU 0.18 µm library


@dataclass(frozen=True)
class CriticalPath:
    """The longest path of a netlist; `start` and `end` are cells (registers) or ports."""

    period_ns: float
    start: str
    end: str


def critical_path(unit: str, module: str, netlist: Path, library: Path) -> CriticalPath:
    """Shortest clock period of a netlist; of logic without the clock ``clk_i``, its delay.

    Inputs arrive with the clock edge and outputs are due at the next; ``rst_ni`` is not timed.

    Args:
        unit: for the error's text.
        module: top of the netlist.
        netlist: Verilog file of cells of the library; the script and the log appear beside it.
        library: Liberty file.

    Raises:
        ToolError: OpenSTA is not installed.
        RtlError: it finds no path.
    """
    text = netlist.read_text()
    clock = "[get_ports clk_i]" if re.search(r"^\s*input clk_i;", text, re.MULTILINE) else ""
    reset = re.search(r"^\s*input rst_ni;", text, re.MULTILINE)
    commands, log = netlist.with_suffix(".tcl"), netlist.with_suffix(".sta.log")
    commands.write_text(
        f"""
        read_liberty {library}
        read_verilog {netlist}
        link_design {module}
        create_clock -name clk -period {_PERIOD_NS} {clock}
        set_input_delay 0 -clock clk [all_inputs]
        set_output_delay 0 -clock clk [all_outputs]
        set_load {_OUTPUT_LOAD_PF} [all_outputs]
        {"set_false_path -from [get_ports rst_ni]" if reset else ""}
        report_checks -path_delay max -digits 4
        exit
        """
    )
    command: list[str | Path] = [toolchain.require("sta"), "-no_splash", "-exit", commands]
    run_logged(command, log, toolchain.environment(), unit, _TIMEOUT)
    report = log.read_text()
    slack = re.search(r"(-?[\d.]+)\s+slack", report)
    start = re.search(r"^Startpoint: (\S+)", report, re.MULTILINE)
    end = re.search(r"^Endpoint: (\S+)", report, re.MULTILINE)
    if slack is None or start is None or end is None:
        raise RtlError("OpenSTA reports no path", unit=unit, log=tail(log))
    return CriticalPath(round(_PERIOD_NS - float(slack[1]), 4), start[1], end[1])
