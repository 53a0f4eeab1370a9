"""Builds of a unit, each once per content: a shared library for bulk vectors, a cocotb bench for either simulator.

A build lives in a folder of the cache that is named by a hash of everything it is made from: sources, parameters,
harness, options, versions of the tools and, for native code, the instruction set of the processor.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from potluck.hdl import toolchain
from potluck.hdl.files import folder_once
from potluck.hdl.process import run_logged
from potluck.hdl.sources import (
    Parameters,
    find_unit,
    include_directories,
    lint_configuration,
    literal,
    sources,
)
from potluck.hdl.yosys import write_plain_verilog
from potluck.sim.cache import cache_root

SIMULATORS = {"verilator": "verilator", "icarus": "iverilog"}
"""cocotb's name of a simulator -> the tool's name."""

NATIVE = "-O3 -march=native"
_BUILD_TIMEOUT = 900.0
_VERILATOR_BENCH = [
    "-Wall", "--assert",
    # So that a run may ask for random values in registers that no reset has reached.
    "--x-assign", "unique", "--x-initial", "unique",
    # cocotb makes every signal public, which keeps Verilator from splitting arrays: slower, not wrong.
    "-Wno-UNOPTFLAT",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bench:
    """A unit built for cocotb.

    Attributes:
        unit: name of the unit.
        simulator: ``verilator`` or ``icarus``.
        parameters: as built, defaults of ``units.toml`` included.
        waves: whether it can write waveforms.
        folder: holds the build.
    """

    unit: str
    simulator: str
    parameters: Parameters
    waves: bool
    folder: Path


def build_library(
    unit: str,
    harness: Path,
    parameters: Parameters | None = None,
    optimize: str = NATIVE,
    replaced: Mapping[str, Path] | None = None,
    waves: bool = False,
) -> Path:
    """Verilate a unit with a C++ harness to a shared library for :mod:`ctypes`.

    Args:
        unit: name in ``rtl/units.toml``; the harness includes ``V<top>.h``.
        harness: C++ source with ``extern "C"`` functions.
        parameters: module parameters other than the unit's.
        optimize: flags for the C++ compiler.
        replaced: unit -> file that stands in for its own (a mutation).
        waves: whether the harness can write a waveform (``VM_TRACE`` is 1 there).

    Returns:
        Path of the library.

    Raises:
        ToolError: a tool is missing.
        RtlError: the unit or its harness does not build; warnings are errors.
    """
    verilator = toolchain.require("verilator")
    toolchain.require("make")
    files, values, top = _design(unit, parameters, replaced)
    native = _native(optimize)
    # OPT_FAST and OPT_GLOBAL stand for -Os unless told otherwise.
    levels = f"OPT_FAST={shlex.quote(optimize)} OPT_GLOBAL={shlex.quote(optimize)}"
    options = ["--cc", "--exe", "--build", "-O3", "-Wall", "--assert", "--x-assign", "fast",
               # Few large files: every one of the many that Verilator writes has to read the model's header anew.
               "--build-jobs", str(_jobs()), "--output-groups", str(_jobs()),
               "-CFLAGS", "-fPIC", "-LDFLAGS", "-shared", "-MAKEFLAGS", levels,
               "--top-module", top, "-o", f"lib{unit}.so", *["--trace-vcd"] * waves]  # fmt: skip
    headers = sorted(harness.parent.glob("*.h"))
    key = _digest(files, values, harness, headers, *options, native, toolchain.find("verilator").version)

    def make(folder: Path) -> None:
        environment = toolchain.environment()
        # ccache takes -march=native as text: one processor's objects must not serve another.
        environment["CCACHE_NAMESPACE"] = environment.get("CCACHE_NAMESPACE", "") + native
        command: list[str | Path] = [
            verilator, *options, *_waivers(replaced), "--Mdir", folder, *_include_options(),
            *_parameter_options(values), lint_configuration(), *files, harness.absolute(),
        ]  # fmt: skip
        run_logged(command, folder / "build.log", environment, unit, _BUILD_TIMEOUT)

    return folder_once(_place(unit, key), make) / f"lib{unit}.so"


def cocotb_build(
    unit: str,
    simulator: str = "verilator",
    parameters: Parameters | None = None,
    waves: bool | None = None,
    replaced: Mapping[str, Path] | None = None,
) -> Bench:
    """Build a unit for cocotb.

    Args:
        unit: name in ``rtl/units.toml``.
        simulator: ``verilator`` (warnings are errors, assertions on) or ``icarus``, which runs what slang elaborated
            and Yosys wrote as plain Verilog: Icarus 11 does not know the language well enough, and this way the
            second opinion shares no front end with the first. Parameters are gone there.
        parameters: module parameters other than the unit's.
        waves: prepare for waveforms; default: whether the variable WAVES is set.
        replaced: unit -> file that stands in for its own (a mutation).

    Raises:
        ToolError: a tool is missing.
        RtlError: the unit does not build.
    """
    tool = SIMULATORS[simulator]
    needed = [tool, "cocotb", *(("g++", "make", "perl") if tool == "verilator" else ("pyosys",))]
    files, values, top = _design(unit, parameters, replaced)
    if waves is None:
        waves = os.environ.get("WAVES", "0") not in ("", "0")
    # Paths, too: Verilator's model finds cocotb's libraries where they were.
    versions = [f"{toolchain.require(name)} {toolchain.find(name).version}" for name in needed]
    key = _digest(simulator, files, values, waves, *versions, *_VERILATOR_BENCH)

    def make(folder: Path) -> None:
        arguments: dict[str, Any] = {
            "hdl_toplevel": top, "timescale": ["1ns", "1ps"], "build_dir": str(folder), "waves": waves,
        }  # fmt: skip
        if tool == "verilator":
            arguments["sources"] = [str(path) for path in [lint_configuration(), *files]]
            arguments["includes"] = [str(path) for path in include_directories()]
            arguments["parameters"] = {name: literal(value) for name, value in values.items()}
            arguments["build_args"] = [*_VERILATOR_BENCH, *_waivers(replaced)]
        else:
            arguments["sources"] = [str(write_plain_verilog(files, top, values, folder, unit))]
        run_cocotb("build", simulator, arguments, folder / "build.log", {}, unit, _BUILD_TIMEOUT)

    return Bench(unit, simulator, values, waves, folder_once(_place(unit, key), make))


def run_cocotb(
    action: str,
    simulator: str,
    arguments: Mapping[str, Any],
    log: Path,
    variables: Mapping[str, str],
    unit: str,
    timeout: float,
) -> None:
    """One call of cocotb's runner in a process of its own, which leaves our environment alone and can be stopped."""
    environment = toolchain.environment() | dict(variables)
    order = json.dumps({"simulator": simulator, "action": action, "arguments": arguments})
    command = [sys.executable, "-m", "potluck.hdl.cocotb_process"]
    run_logged(command, log, environment, unit, timeout, order)


def _design(
    unit: str, parameters: Parameters | None, replaced: Mapping[str, Path] | None
) -> tuple[list[Path], Parameters, str]:
    entry = find_unit(unit)
    return sources(unit, replaced), {**entry.parameters, **(parameters or {})}, entry.top


def _place(unit: str, key: str) -> Path:
    folder = cache_root() / "rtl" / f"{unit}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def _digest(*parts: Any) -> str:
    """Hash of values and of the contents of files; include files and the lint configuration belong to every build."""
    digest = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, Path):
            digest.update(f"{part.name}\0".encode() + part.read_bytes())
        elif isinstance(part, list):
            for item in part:
                add(item)
        elif isinstance(part, Mapping):
            digest.update(json.dumps(dict(part), sort_keys=True).encode())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")

    headers = [path for folder in include_directories() for path in sorted(folder.glob("*.svh"))]
    add([lint_configuration(), *headers, *parts])
    return digest.hexdigest()[:16]


@cache
def _native(optimize: str) -> str:
    """What the compiler's flags mean on this machine (its own options after `-march=native` is resolved), as a hash."""
    command = [str(toolchain.require("g++")), *shlex.split(optimize), "-E", "-v", "-x", "c++", "-"]
    child = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    resolved = [line for line in child.stderr.splitlines() if "cc1plus" in line or "version" in line]
    return hashlib.sha256("\n".join(resolved).encode()).hexdigest()[:16]


def _jobs() -> int:
    return min(4, os.cpu_count() or 1)


def _waivers(replaced: Mapping[str, Path] | None) -> list[str]:
    """A file that stands in for another may have any name, and a bug may leave something without use."""
    return ["-Wno-DECLFILENAME", "-Wno-UNUSED"] if replaced else []


def _include_options() -> list[str]:
    return [f"-I{path}" for path in include_directories()]


def _parameter_options(parameters: Parameters) -> list[str]:
    return [f"-G{name}={literal(value)}" for name, value in parameters.items()]
