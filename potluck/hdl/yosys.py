"""Yosys as a child process: a list of passes, a log."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from potluck.hdl import toolchain
from potluck.hdl.process import run_logged
from potluck.hdl.sources import Parameters, include_directories, literal


def run_yosys(passes: Sequence[str], log: Path, unit: str, timeout: float = 900.0) -> None:
    """Run passes on one design, in the folder of the log.

    Raises:
        ToolError: pyosys is missing.
        RtlError: a pass failed; carries the log's end.
    """
    toolchain.require("pyosys")
    command = [sys.executable, "-m", "potluck.hdl.yosys_process"]
    run_logged(command, log, toolchain.environment(), unit, timeout, json.dumps(list(passes)))


def read_pass(files: Sequence[Path], top: str, parameters: Parameters, folder: Path) -> str:
    """The pass that elaborates SystemVerilog with slang, which knows the whole language.

    Yosys splits its commands at spaces, whatever the quotes: it gets copies under names without any.

    Args:
        files: sources in compile order.
        top: module on top.
        parameters: of the top module.
        folder: where Yosys will run.
    """
    for header in (path for include in include_directories() for path in include.glob("*.svh")):
        shutil.copyfile(header, folder / header.name)
    names = [f"source{number:03}_{path.name.replace(' ', '_')}" for number, path in enumerate(files)]
    for name, path in zip(names, files, strict=True):
        shutil.copyfile(path, folder / name)
    options = [f"-G {name}={literal(value)}" for name, value in parameters.items()]
    return " ".join(["read_slang --keep-hierarchy -I .", f"--top {top}", *options, *names])


def write_plain_verilog(
    files: Sequence[Path], top: str, parameters: Parameters, folder: Path, unit: str
) -> Path:
    """Elaborate a design and write it as Verilog 2005 with registers and operators, for tools that know no more."""
    passes = [read_pass(files, top, parameters, folder), "proc", "opt_clean", "write_verilog -noattr plain.v"]
    run_yosys(passes, folder / "yosys.log", unit)
    return folder / "plain.v"
