"""Logic synthesis of a unit: generic gates, Xilinx 7-series resources, a standard-cell netlist with its timing.

Results are kept on disk by the content of everything that they depend on.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from potluck.hdl import opensta, process, toolchain, yosys
from potluck.hdl.files import write_atomic
from potluck.hdl.sources import Unit, find_unit, include_directories, sources
from potluck.isa.errors import RtlError
from potluck.sim.cache import cache_root

_Result = TypeVar("_Result", "TwoInputGates", "GenericGates", "FpgaResources", "StandardCells")

# A flip-flop with an enable or a synchronous reset becomes a plain one and gates, so that all are counted alike.
_PLAIN_REGISTERS = "dfflegalize -cell $_DFF_P_ x -cell $_DFF_PN0_ x"

# Timing first: balance the logic for depth, map it for delay, then split nets that drive more than eight inputs. The
# library has one drive strength of most cells, so that buffers alone can help a net; ABC's own script adds none.
_ABC = (
    "+strash;&get,-n;&fraig,-x;&put;scorr;dc2;strash;if,-g,-K,6;strash;dch,-f;map,-B,{D};"
    "topo;buffer,-c,-N,8;topo;upsize,{D};dnsize,{D}"
)
# ABC's script for generic gates without its SAT sweep (&fraig), which does not end on the carry-save array of a wide
# multiplier.
_WITHOUT_SWEEP = "+strash;ifraig;scorr;dc2;strash;&get,-n;&dch,-f;&nf;&put"
_TARGET_PS = 1000  # beyond the library's reach: the mapper is to do its best

_NAND2_UM2 = 24.0  # cell NAND2X1 of that library

_TWO_INPUT = {"$_AND_", "$_OR_", "$_XOR_", "$_MUX_", "$_NOT_"}
_LUTS = {
    **{f"LUT{n}": 1 for n in range(1, 7)},
    "INV": 1,
    "RAM32M": 4,
    "RAM64M": 4,
    "RAM32X1D": 2,
    "RAM64X1D": 2,
    "SRL16E": 1,
    "SRLC32E": 1,
}
_FLIP_FLOPS = {"FDRE", "FDSE", "FDCE", "FDPE"}
_BLOCK_MEMORIES = {"RAMB18E1": 1, "RAMB36E1": 2}
_IN_SLICE = {"MUXF7", "MUXF8"}  # come with the LUTs


@dataclass(frozen=True)
class Design:
    """A unit as it is to be synthesized.

    Attributes:
        unit: name in ``rtl/units.toml``.
        parameters: values other than the unit's; of the outermost unit, if this one is inside another.
        tied: input ports of the unit that are constant, as Yosys constants such as ``1'b0``, or ``0``.
        inside: where the unit stands in another, whose parameters then decide its own: ``unit.instance.instance``.
        without: units in it that are left out, with all that only feeds them if nothing else uses their results.
    """

    unit: str
    parameters: Mapping[str, int] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
    inside: str = ""
    without: tuple[str, ...] = ()

    @property
    def outermost(self) -> str:
        """The unit that is elaborated."""
        return self.inside.partition(".")[0] or self.unit


@dataclass(frozen=True)
class TwoInputGates:
    """Logic without registers in AND, OR, XOR, multiplexers and inverters.

    Attributes:
        gates: of all kinds.
        exclusive_or: of these.
        depth: gates on the longest path.
    """

    gates: int
    exclusive_or: int
    depth: int


@dataclass(frozen=True)
class GenericGates:
    """Two-input gates, inverters and D flip-flops (without and with asynchronous reset), of no library."""

    nand: int
    nor: int
    inverter: int
    flip_flop: int
    reset_flip_flop: int

    @property
    def nand2(self) -> float:
        """NAND2 equivalents by transistors: 4 of a gate, 2 of an inverter, 16 of a flip-flop, 20 with reset."""
        gates = self.nand + self.nor + self.inverter / 2
        return gates + 4 * self.flip_flop + 5 * self.reset_flip_flop


@dataclass(frozen=True)
class FpgaResources:
    """Xilinx 7-series primitives; `lut` counts inverters, LUT memories and shift registers in LUTs, too.

    ``bram18`` counts block memories of 18 Kib; one of 36 Kib is two.
    """

    lut: int
    flip_flop: int
    carry4: int
    dsp48: int
    bram18: int = 0


@dataclass(frozen=True)
class StandardCells:
    """A netlist of OSU 0.18 µm cells: typical corner (1.8 V, 25 °C), no wires.

    Attributes:
        area_um2: of all cells.
        cells: their number.
        flip_flop: how many of them are flip-flops.
        period_ns: the shortest clock period; of logic without a clock, its delay.
        start: where the critical path begins (a register or a port).
        end: where it ends.
    """

    area_um2: float
    cells: int
    flip_flop: int
    period_ns: float
    start: str
    end: str

    @property
    def nand2(self) -> float:
        """Area in the library's NAND2."""
        return self.area_um2 / _NAND2_UM2


def two_input_gates(design: Design) -> TwoInputGates:
    """Map combinational logic to two-input gates, as published gate counts do.

    Raises:
        ToolError: Yosys is not installed.
        RtlError: the unit is unknown, does not synthesize or has registers.
    """

    def measure(top: str, folder: Path) -> TwoInputGates:
        passes = [f"synth -flatten -top {top}", "abc -g simple", "opt_clean -purge", "ltp -noff"]
        cells = _cells(design, _run(design, top, passes, folder), _TWO_INPUT)
        found = re.search(
            r"^Longest topological path .*\(length=(\d+)\)", (folder / "yosys.log").read_text(), re.MULTILINE
        )
        if found is None:
            raise RtlError("Yosys reports no longest path", unit=design.unit)
        return TwoInputGates(sum(cells.values()), cells.get("$_XOR_", 0), int(found[1]))

    return _cached(TwoInputGates, measure, design, "")


def generic_gates(design: Design, *, solver: bool = True) -> GenericGates:
    """Map to NAND2, NOR2, inverters and D flip-flops.

    Args:
        design: what to map.
        solver: whether SAT looks for operators that can share hardware and for nodes that are equal. It does not end
            on wide multipliers and on some controllers, and saves some 1 % elsewhere.

    Raises:
        ToolError: Yosys is not installed.
        RtlError: the unit is unknown or does not synthesize.
    """
    names = {
        "$_NAND_": "nand",
        "$_NOR_": "nor",
        "$_NOT_": "inverter",
        "$_DFF_P_": "flip_flop",
        "$_DFF_PN0_": "reset_flip_flop",
    }

    def measure(top: str, folder: Path) -> GenericGates:
        steps = ("", "") if solver else ("-noshare -noabc", f"-script {_WITHOUT_SWEEP}")
        passes = [
            f"synth -flatten {steps[0]} -top {top}",
            _PLAIN_REGISTERS,
            f"abc -g cmos2 {steps[1]}",
            "opt_clean -purge",
        ]
        cells = _cells(design, _run(design, top, passes, folder), names)
        return GenericGates(**{name: cells.get(cell, 0) for cell, name in names.items()})

    return _cached(GenericGates, measure, design, f"solver {solver}")


def fpga_resources(design: Design, *, dsp: bool = True) -> FpgaResources:
    """Map to Xilinx 7-series primitives, without pads.

    Args:
        design: what to map.
        dsp: whether multipliers may become DSP slices.

    Raises:
        ToolError: Yosys is not installed.
        RtlError: the unit is unknown or does not synthesize.
    """

    def measure(top: str, folder: Path) -> FpgaResources:
        options = "-noiopad -noclkbuf" + ("" if dsp else " -nodsp")
        passes = [f"synth_xilinx -family xc7 -flatten {options} -top {top}"]
        known = {*_LUTS, *_FLIP_FLOPS, *_IN_SLICE, *_BLOCK_MEMORIES, "CARRY4", "DSP48E1"}
        cells = _cells(design, _run(design, top, passes, folder), known)
        return FpgaResources(
            lut=sum(count * _LUTS.get(cell, 0) for cell, count in cells.items()),
            flip_flop=sum(cells.get(cell, 0) for cell in _FLIP_FLOPS),
            carry4=cells.get("CARRY4", 0),
            dsp48=cells.get("DSP48E1", 0),
            bram18=sum(count * _BLOCK_MEMORIES.get(cell, 0) for cell, count in cells.items()),
        )

    return _cached(FpgaResources, measure, design, f"dsp {dsp}")


def standard_cells(design: Design) -> StandardCells:
    """Map to the OSU 0.18 µm library for speed, and time the netlist.

    Raises:
        ToolError: Yosys, OpenSTA or the library is not installed.
        RtlError: the unit is unknown or does not synthesize.
    """
    library = toolchain.require("osu018").absolute()

    def measure(top: str, folder: Path) -> StandardCells:
        passes = [
            f"synth -flatten -top {top}",
            f"dfflibmap -liberty {library}",
            f"abc -liberty {library} -D {_TARGET_PS} -script {_ABC}",
            "opt_clean -purge",
            "write_verilog -noattr -noexpr -simple-lhs netlist.v",
        ]
        totals = _run(design, top, passes, folder, f"-liberty {library}")
        cells = _cells(design, totals, _library_cells(library))
        return StandardCells(
            area_um2=float(totals["area"]),
            cells=sum(cells.values()),
            flip_flop=sum(count for cell, count in cells.items() if cell.startswith("DFF")),
            **asdict(opensta.critical_path(design.unit, top, folder / "netlist.v", library)),
        )

    toolchain.require("sta")
    library_digest = hashlib.sha256(library.read_bytes()).hexdigest()
    return _cached(StandardCells, measure, design, f"{library_digest} {toolchain.find('sta').version}")


def _run(design: Design, top: str, passes: list[str], folder: Path, statistics: str = "") -> dict[str, Any]:
    """Load the design, make the tied inputs constant, run the passes; the totals over all cells."""
    outermost = find_unit(design.outermost)
    files = sources(outermost.name)
    # The frontend ignores a parameter that the module does not have.
    declared = set(re.findall(r"\bparameter\b[^=;,]*?(\w+)\s*=", files[-1].read_text()))
    for name in design.parameters.keys() - declared:
        raise RtlError(f"no parameter {name!r}", unit=outermost.name, hint=f"There are: {sorted(declared)}")
    parameters = {**outermost.parameters, **design.parameters}
    steps = [yosys.read_pass(files, outermost.top, parameters, folder)]
    if design.inside:  # the frontend makes a module of each instance, named after both
        steps += [f"hierarchy -top {top}${design.inside}", f"rename {top}${design.inside} {top}"]
    steps += [
        f"hierarchy -top {top}",
        *(f"blackbox {part}$*" for part in design.without),
        "flatten -noscopeinfo",
    ]
    for port, value in design.tied.items():
        # Without -nounset the pass takes an alias of the port for its driver and cuts it off.
        steps += [
            f"delete -input {top}/w:{port}",
            f"cd {top}",
            f"connect -nounset -set {port} {value}",
            "cd ..",
        ]
    steps += [*passes, f"tee -q -o stat.json stat -json {statistics}"]
    yosys.run_yosys(steps, folder / "yosys.log", design.unit)
    totals: dict[str, Any] = json.loads((folder / "stat.json").read_text())["design"]
    return totals


def _library_cells(library: Path) -> set[str]:
    return set(re.findall(r"^\s*cell\s*\(\s*\"?(\w+)", library.read_text(), re.MULTILINE))


def _cells(design: Design, totals: Mapping[str, Any], known: Collection[str]) -> dict[str, int]:
    """Cells by type; one that no count covers would vanish from the figures."""
    cells = {
        cell: count
        for cell, count in totals["num_cells_by_type"].items()
        if not cell.startswith(tuple(f"{part}$" for part in design.without))
    }
    unknown = sorted(cells.keys() - set(known))
    if unknown:
        raise RtlError(f"mapped to cells that are not counted: {', '.join(unknown)}", unit=design.unit)
    return cells


def _cached(
    kind: type[_Result], measure: Callable[[str, Path], _Result], design: Design, tools: str
) -> _Result:
    """The kept result of a run with the same content, or a new one, kept."""
    toolchain.require("pyosys")
    outermost: Unit = find_unit(design.outermost)
    files = [*sources(outermost.name), *(f for d in include_directories() for f in sorted(d.glob("*.svh")))]
    # The code of the flows is content, too: their scripts make the result.
    files += [Path(module.__file__ or "") for module in (yosys, process, opensta)] + [Path(__file__)]
    parameters = {**outermost.parameters, **design.parameters}
    digest = hashlib.sha256()
    place = [design.inside, *design.without]
    key = [kind.__name__, find_unit(design.unit).top, parameters, dict(design.tied), place, tools]
    key.append(toolchain.find("pyosys").version)
    digest.update(json.dumps(key, sort_keys=True).encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    path = cache_root() / "synthesis" / f"{digest.hexdigest()[:32]}.json"
    if path.is_file():
        return kind(**json.loads(path.read_text()))
    with tempfile.TemporaryDirectory(prefix="potluck-synthesis-") as folder:
        result = measure(find_unit(design.unit).top, Path(folder))
    write_atomic(path, json.dumps(asdict(result)))
    return result
