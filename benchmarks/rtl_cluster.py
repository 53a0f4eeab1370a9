"""The demo's network on the RTL cluster, from its ELF: lock step with the simulator, cycles layer by layer, speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from potluck import api
from potluck.assets import load_test_images, model_path
from potluck.hdl import toolchain
from potluck.hdl.cluster import ClusterBuild
from potluck.hdl.lockstep import LockStep, lock_step
from potluck.hdl.simulate import layers_of
from potluck.isa.errors import ToolError
from potluck.isa.machine import Machine, load_machine
from potluck.sim.cluster import Cluster
from potluck.sim.memory import Memory

Report = Callable[..., None]
PRESET = "spatz-mx"
DRAM = {"dram.kind": "simple"}
"""A latency and a rate, in RTL and simulator: the RTL has no DRAM of commands."""
OPTIMIZE = "-O2"
SCHEME = "mxfp8"
CORES = (1, 2)
WORST = 8.0


def run(report: Report) -> None:
    """Compare with one core and with two.

    Raises:
        ToolError: no Verilator.
        RtlError: the RTL does not build.
    """
    if missing := toolchain.missing("rtl"):
        raise ToolError(f"{', '.join(found.tool.name for found in missing)} missing", tool="verilator")
    for cores in CORES:
        compare(report, load_machine(PRESET, {"cluster.cores": cores, **DRAM}), SCHEME)


def compare(report: Report, machine: Machine, scheme: str, optimize: str = OPTIMIZE) -> LockStep:
    """The network's first image on both."""
    cores = machine.cluster.cores
    where = f"{scheme}, {cores} core{'s' if cores > 1 else ''}"
    images, _ = load_test_images(1)
    program = api.compile(api.quantize(model_path(), scheme), machine)
    inputs = {"input": images[:1]}
    build = ClusterBuild(machine, optimize)
    build.library()
    cluster = Cluster(program, machine)
    expected = cluster.run(inputs)
    found = lock_step(program, build, inputs=inputs)
    report(f"demo network, {where}: instructions that differ", 0.0 if not found.difference else float("nan"), "",
           found.difference or f"{found.instructions} instructions, {found.end}", "0",
           not found.difference and found.end == "ecall")  # fmt: skip
    assert found.run is not None
    memory = Memory(machine, program)
    memory.l1[:], memory.dram[:] = found.run.l1, found.run.dram
    outputs = {tensor.name: memory.read_tensor(tensor) for tensor in program.manifest.outputs}
    wrong = sum(int((outputs[name] != value).sum()) for name, value in expected.items())
    report(f"{where}: outputs that differ from the simulator's", wrong, "", "", "0", wrong == 0)
    _cycles(report, f"{where}: all", cluster.cycles, found.rtl_cycles)
    for layer in layers_of(program, found):
        _cycles(report, f"{where}: {layer.name}", layer.cycles, layer.rtl_cycles)
    start = time.thread_time()
    build.run(program, 1 << 20, 8 * cluster.cycles, inputs=inputs)
    seconds = time.thread_time() - start
    report(
        f"{where}: speed of the RTL", found.rtl_cycles / seconds / 1e3, "kcycles/s", f"{optimize}, one thread"
    )
    return found


def _cycles(report: Report, what: str, simulator: int, rtl: int) -> None:
    more = 100 * (rtl / simulator - 1)
    report(f"{what}: RTL takes longer by", more, "%", f"{simulator:,} cycles, {rtl:,} in RTL", f"within {WORST:g}",
           bool(np.abs(more) <= WORST))  # fmt: skip


def main() -> None:
    """The same as a plain list."""

    def report(figure: str, value: float, unit: str = "", reference: str = "", *_: Any) -> None:
        print(f"{figure:70} {value:10,.2f} {unit:10} {reference}", flush=True)

    run(report)


if __name__ == "__main__":
    main()
