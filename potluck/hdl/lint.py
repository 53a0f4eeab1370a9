"""Lint of a unit by two tools that read SystemVerilog independently: Verilator and slang.

What Verilator is not to warn of is in ``rtl/lint.vlt``, with the reason; slang's waivers are here.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from potluck.hdl import toolchain
from potluck.hdl.sources import (
    Parameters,
    find_unit,
    include_directories,
    lint_configuration,
    literal,
    sources,
)
from potluck.isa.errors import RtlError

_TIMEOUT = 300.0  # seconds; the largest unit takes one

# The wheel is slang as a library; this is its command line.
_SLANG = """
import sys
from pyslang.driver import Driver
driver = Driver()
driver.addStandardArgs()
command = " ".join(f'"{argument}"' for argument in ["slang", *sys.argv[1:]])
done = driver.parseCommandLine(command) and driver.processOptions() and driver.parseAllSources()
sys.exit(not (done and driver.runFullCompilation(True)))
"""
_SLANG_WARNINGS = [
    "-Wextra",
    "-Wno-missing-top",  # a package alone has none; a module that is missing is an error all the same
]


def lint_verilator(unit: str, parameters: Parameters | None = None) -> list[str]:
    """What ``verilator --lint-only -Wall`` finds; empty if the unit is clean.

    Args:
        unit: name in ``rtl/units.toml``.
        parameters: values other than the unit's.

    Raises:
        ToolError: Verilator is not installed.
        RtlError: no such unit, or Verilator fails without saying why.
    """
    options = ["--lint-only", "-Wall", "-Wno-fatal", str(lint_configuration()), *_design(unit, parameters)]
    return _findings(unit, [str(toolchain.require("verilator")), *options], toolchain.environment())


def lint_slang(unit: str, parameters: Parameters | None = None) -> list[str]:
    """What slang's elaboration and analysis find; empty if the unit is clean. Arguments as of `lint_verilator`.

    Raises:
        ToolError: pyslang is not installed.
        RtlError: no such unit, or slang fails without saying why.
    """
    toolchain.require("pyslang")
    command = [sys.executable, "-c", _SLANG, *_SLANG_WARNINGS, *_design(unit, parameters)]
    return _findings(unit, command, toolchain.environment())


def _design(unit: str, parameters: Parameters | None) -> list[str]:
    """Options that both tools understand, and the files."""
    entry, files = find_unit(unit), sources(unit)
    # A package is no top.
    top = ["--top", entry.top] if _is_module(files[-1].read_text()) else []
    values = {**entry.parameters, **(parameters or {})}
    return [
        *(f"-I{folder}" for folder in include_directories()),
        *(f"-G{name}={literal(value)}" for name, value in values.items()),
        *top,
        *map(str, files),
    ]


def _is_module(text: str) -> bool:
    return any(line.startswith("module ") for line in text.splitlines())


def _findings(unit: str, command: list[str], environment: Mapping[str, str]) -> list[str]:
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=_TIMEOUT, env=dict(environment), check=False
    )
    output = (run.stdout + run.stderr).splitlines()
    found = [
        line
        for line in output
        if "warning:" in line.lower() or "error:" in line.lower() or line.startswith("%")
    ]
    if run.returncode and not found:
        raise RtlError(f"lint exited {run.returncode}", unit=unit, log="\n".join(output[-20:]))
    return found
