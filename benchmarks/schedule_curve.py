"""Host seconds and memory of simulations from 1e6 to 4e9 multiply-accumulates: how they grow.

Programs are compiled here and simulated in processes of their own, one thread each, so that the peak of resident memory
is that of the simulation.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from potluck import api
from potluck.isa.elf import Program
from potluck.isa.machine import load_machine
from potluck.peak import peak_memory
from potluck.sim.cluster import Cluster
from potluck.zoo import registry

if TYPE_CHECKING:
    from potluck.benchmarks import Report

SIZES = (100, 160, 256, 400, 640, 1000, 1600)
"""Rows, columns and terms of the products: 1e6 to 4.1e9 multiply-accumulates."""
NETWORKS = ("resnet8", "mobilenetv2", "light-resnet50")
SCHEME, RUNS = "int8", 2
LARGE = 1e7
"""Multiply-accumulates from which on the exponent counts: below, what a run costs at all does."""
MOST_EXPONENT, MOST_GROWTH = 1.1, 2.0


class Point(NamedTuple):
    """A simulation: seconds of CPU time of the faster of two runs, MiB of resident memory at its peak."""

    name: str
    macs: int
    seconds: float
    mebibytes: float


def gemm(size: int) -> onnx.ModelProto:
    """A product of square matrices, the right one constant, seeded."""
    helper, shape = onnx.helper, [size, size]
    weights = np.random.Generator(np.random.Philox(size)).standard_normal(shape).astype(np.float32)
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], f"gemm{size}", ends[:1], ends[1:],
        [onnx.numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def programs(
    sizes: tuple[int, ...] = SIZES, networks: tuple[str, ...] = NETWORKS
) -> Iterator[tuple[str, Program]]:
    """Products and the networks whose packages are here, compiled."""
    machine = load_machine("spatz-mx")
    for size in sizes:
        samples = np.random.Generator(np.random.Philox(1)).standard_normal((1, size, size)).astype(np.float32)
        quantized = api.quantize(gemm(size), SCHEME, calibration={"x": samples.reshape(size, size)})
        yield f"GEMM {size}^3", api.compile(quantized, machine)
    for name in networks:
        network = registry.find(name)
        if not network.missing():
            calibration = network.calibration()
            quantized = api.quantize(
                network.model(), SCHEME, calibration=calibration, dims=dict(network.dims)
            )
            yield name, api.compile(quantized, machine)


def measured(name: str, program: Program) -> Point:
    """A program's simulation in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.elf"
        program.save(path)
        command = [sys.executable, "-m", "potluck.benchmarks.schedule_curve", str(path)]
        seconds, mebibytes = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return Point(name, sum(layer.macs for layer in program.manifest.layers), seconds, mebibytes)


def exponent(points: list[Point]) -> float:
    """Of the power of the multiply-accumulates that host seconds grow with, least squares of logarithms."""
    macs: NDArray[np.float64] = np.log([point.macs for point in points])
    return float(np.polyfit(macs, np.log([point.seconds for point in points]), 1)[0])


def run(report: Report) -> None:
    """Reports each point, the exponent of the products and how memory grows."""
    points = [measured(name, program) for name, program in programs()]
    for point in points:
        report(f"{point.name}, {point.macs:.2g} MAC: simulation", point.seconds, "s",
               f"one thread, {point.macs / point.seconds / 1e9:.1f} GMAC/s, {point.mebibytes:.0f} MiB")  # fmt: skip
    products = [point for point in points if point.name.startswith("GEMM")]
    power = exponent([point for point in products if point.macs >= LARGE])
    report(f"host seconds grow with MACs to the power of (products from {LARGE:.0e})", power, "",
           "least squares", f"<= {MOST_EXPONENT}", power <= MOST_EXPONENT)  # fmt: skip
    growth = max(p.mebibytes for p in points) / min(p.mebibytes for p in points)
    report("peak memory, largest over smallest of all points", growth, "x",
           f"MACs {max(p.macs for p in points) / min(p.macs for p in points):.0f} x",
           f"<= {MOST_GROWTH}", growth <= MOST_GROWTH)  # fmt: skip


def main(path: str) -> None:
    """Simulate a program and print seconds of CPU time of this thread, and MiB."""
    program, machine = api.load_program(path), load_machine("spatz-mx")
    inputs = api.seeded_inputs(program)
    spent = []
    for _ in range(RUNS):
        cluster = Cluster(program, machine, threads=1)
        start = time.thread_time()
        cluster.run(inputs)
        spent.append(time.thread_time() - start)
        del cluster
    print(json.dumps([min(spent), peak_memory() / 2**20]))


if __name__ == "__main__":
    main(sys.argv[1])
