"""The core with its vector unit in RTL beside the simulator: kernels in lock step, cycles, utilization, speed.

``potluck bench rtl_core`` compares; ``python -m potluck.benchmarks.rtl_core`` also renews ``sim/timing/error.toml``,
which results take their timing error from.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console

from potluck.benchmarks.checkout import checkout
from potluck.hdl import toolchain
from potluck.hdl.core_tile import CoreBuild, rtl_digest
from potluck.hdl.lockstep import lock_step
from potluck.isa.elf import Program
from potluck.isa.errors import ToolError
from potluck.isa.machine import Machine
from potluck.sim.cluster import Cluster
from potluck.sim.timing.error import TABLE, Cycles, Table, core_digest, read, summary, written

Report = Callable[..., None]
PRESET = "spatz-mx"
MEDIAN, WORST = 3.0, 8.0
OPTIMIZE = "-O2"
QUICK = "-O0"
"""The tests' build: the table's cycles are the same, and no minutes go to the compiler."""
RUNS = 20
"""Runs of the simulator, each a fraction of a second; the fastest counts."""


def run(report: Report) -> None:
    """Compare every kernel, report it and what comes of all.

    Raises:
        ToolError: no Verilator, or no source checkout.
        RtlError: the RTL does not build.
    """
    build = _build(OPTIMIZE)
    library = checkout("tests.rtl.bench.vector_shapes")
    build.library()
    report("Verilator's model: built", 1.0, "", OPTIMIZE)
    table = compare(report, build, library.SHAPES)
    found = summary(table, "")
    for what, value, most in (
        ("median", found.median_percent, MEDIAN),
        ("worst", found.worst_percent, WORST),
    ):
        report(f"cycles, RTL against simulator: {what}", value, "%", f"{found.kernels} kernels", f"<= {most:g}",
               value <= most)  # fmt: skip
    known = read()
    report("kernels whose cycles are not the committed table's",
           sum(known.kernels.get(name) != row for name, row in table.kernels.items()), "", TABLE.name, "0",
           known.kernels == table.kernels)  # fmt: skip
    for name, products in library.PAPER.items():
        share = _macs(name) / (products * build.machine.vector.lanes)
        row = table.kernels[name]
        report(f"{name}: utilization in RTL", 100 * share / row.rtl, "%",
               f"{100 * share / row.simulator:.1f} on the simulator; 97, the paper's best, on two cores", "97 +- 2",
               abs(100 * share / row.rtl - 97) <= 2)  # fmt: skip
    speed(report, build, [library.SHAPES[name]() for name in library.PAPER])


def _build(optimize: str) -> CoreBuild:
    if missing := toolchain.missing("rtl"):
        raise ToolError(f"{', '.join(found.tool.name for found in missing)} missing", tool="verilator")
    return CoreBuild(checkout("tests.rtl.bench.core_programs").machine(), optimize, vector=True)


def compare(report: Report, build: CoreBuild, shapes: dict[str, Callable[[], Program]]) -> Table:
    """Every kernel in lock step; a difference in values is reported and its cycles are left out."""
    rows: dict[str, Cycles] = {}
    for name, make in shapes.items():
        found = lock_step(make(), build)
        same = not found.difference and found.end == "ecall"
        if same:
            rows[name] = Cycles(found.instructions, found.cycles, found.rtl_cycles)
        more = 100 * (found.rtl_cycles / found.cycles - 1)
        text = (
            f"{found.instructions} instructions, 0 differ; {found.cycles} cycles, {found.rtl_cycles} in RTL"
        )
        report(f"{name}: RTL takes longer by", more if same else float("nan"), "%",
               text if same else found.difference or found.end, f"within {WORST:g}",
               same and abs(more) <= WORST)  # fmt: skip
    return Table(PRESET, core_digest(build.machine), rtl_digest(), rows)


def _macs(name: str) -> int:
    """Products of a matrix product whose name ends with its extents."""
    m, n, k = (int(part) for part in name.rpartition(", ")[2].split(" x "))
    return m * n * k


def speed(report: Report, build: CoreBuild, programs: list[Program]) -> None:
    """Cycles per second of processor time: the RTL without a comparison, the simulator in compiled loops."""
    cycles = rtl = simulated = 0.0
    for program in programs:
        machine: Machine = build.machine
        cluster = Cluster(program, machine)
        cluster.run()
        start = time.thread_time()
        done: Any = build.run(program, 1 << 17, 4 * cluster.cycles)
        rtl += time.thread_time() - start
        cycles += done.cycles
        simulated += min(_seconds(program, machine) for _ in range(RUNS))
    report("RTL: speed", cycles / rtl / 1e3, "kcycles/s", f"{OPTIMIZE}, assertions on, one thread")
    report(
        "simulator: speed",
        cycles / simulated / 1e6,
        "Mcycles/s",
        "the same programs, one thread, loading left out",
    )
    report("simulator / RTL", rtl / simulated, "x")


def _seconds(program: Program, machine: Machine) -> float:
    cluster = Cluster(program, machine)
    cluster.run()
    return cluster.host_seconds


def main() -> None:
    """Compare, and renew the table if every kernel's values are the same."""
    console = Console()
    failed: list[str] = []

    def report(figure: str, value: float, unit: str = "", reference: str = "", target: str = "",
               met: bool | None = None) -> None:  # fmt: skip
        console.print(f"{figure:60} {value:12,.4g} {unit:10} {target:12} {reference}", highlight=False)
        if value != value:
            failed.append(figure)

    table = compare(report, _build(QUICK), checkout("tests.rtl.bench.vector_shapes").SHAPES)
    if failed:
        raise SystemExit(f"not written, as values differ: {', '.join(failed)}")
    TABLE.write_text(written(table))
    console.print(f"wrote {TABLE}")


if __name__ == "__main__":
    main()
