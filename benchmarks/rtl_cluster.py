"""Networks on the RTL cluster, from their ELF: lock step with the simulator, cycles layer by layer, speed.

The demo's network, and a decoder's token: its weights stream from DRAM while all cores read L1, which is where cores
and DMA meet at banks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck import api
from potluck.assets import load_test_images, model_path
from potluck.hdl import toolchain
from potluck.hdl.cluster import ClusterBuild
from potluck.hdl.lockstep import LockStep, lock_step
from potluck.hdl.simulate import layers_of
from potluck.isa.elf import Program
from potluck.isa.errors import ToolError
from potluck.isa.machine import Machine, load_machine
from potluck.sim.cluster import Cluster
from potluck.sim.memory import Memory
from potluck.zoo import llama

Report = Callable[..., None]
PRESET = "spatz-mx"
DRAM = {"dram.kind": "simple"}
"""A latency and a rate, in RTL and simulator: the RTL has no DRAM of commands."""
OPTIMIZE = "-O2"
SCHEME = "mxfp8"
CORES = (1, 2)
WORST = 8.0
DECODER = llama.Config(
    layers=1, width=576, heads=9, groups=3, hidden=1536, vocabulary=512, theta=1e4, epsilon=1e-5
)
"""A layer of SmolLM2-135M's sizes and a small head, with seeded weights."""
PAST = 128
Inputs = Mapping[str, NDArray[Any]]


def run(report: Report) -> None:
    """Compare with one core and with two.

    Raises:
        ToolError: no Verilator.
        RtlError: the RTL does not build.
    """
    if missing := toolchain.missing("rtl"):
        raise ToolError(f"{', '.join(found.tool.name for found in missing)} missing", tool="verilator")
    for cores in CORES:
        machine = load_machine(PRESET, {"cluster.cores": cores, **DRAM})
        for name, (program, inputs) in (
            ("demo network", demo(machine)),
            ("decoder's layer", decoder(machine)),
        ):
            where = f"{name}, {SCHEME}, {cores} core{'s' if cores > 1 else ''}"
            compare(report, where, program, inputs, machine)


def demo(machine: Machine) -> tuple[Program, Inputs]:
    """ResNet-8 and its first image."""
    images, _ = load_test_images(1)
    return api.compile(api.quantize(model_path(), SCHEME), machine), {"input": images[:1]}


def decoder(machine: Machine) -> tuple[Program, Inputs]:
    """A token behind a full cache."""
    program = api.compile(api.quantize(llama.build(llama.Seeded(DECODER), 1, PAST), SCHEME), machine)
    inputs = api.seeded_inputs(program)
    return program, {**inputs, "position": np.array([PAST - 1], np.int64)}


def compare(
    report: Report, where: str, program: Program, inputs: Inputs, machine: Machine, optimize: str = OPTIMIZE
) -> LockStep:
    """A network on both."""
    build = ClusterBuild(machine, optimize)
    build.library()
    cluster = Cluster(program, machine)
    expected = cluster.run(inputs)
    found = lock_step(program, build, inputs=inputs)
    report(f"{where}: instructions that differ", 0.0 if not found.difference else float("nan"), "",
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
