"""The simulator's speed with cycles, one thread: the second tier beside the first and beside OpenBLAS, and networks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from potluck import api
from potluck.benchmarks.spine import random_inputs, sgemm
from potluck.isa.elf import Program
from potluck.isa.errors import DataError
from potluck.isa.machine import Machine, load_machine
from potluck.kernels.base import Kernel, Operand
from potluck.kernels.conv.depthwise_int8 import DepthwiseInt8
from potluck.kernels.conv.window import Window
from potluck.kernels.matmul.fp32 import GemmFp32
from potluck.kernels.matmul.int8 import GemmInt8
from potluck.kernels.matmul.mx import MatmulMx
from potluck.kernels.program import standalone
from potluck.kernels.requantize import Finish
from potluck.sim.cluster import Cluster
from potluck.zoo import generation, registry

Report = Callable[..., None]
SIZE, REPEAT, RUNS = 256, 8, 5
L1 = {"memory.l1_bytes": 1 << 20}
SGEMM = 0.4  # of OpenBLAS's FP32 product, what the slowest of int8 and FP32 should reach
ROOM = 64  # tokens of the cache of a decode step
NETWORKS = (("mobilenetv2", "int8", 0.6), ("light-resnet50", "int8", 3.0), ("smollm2", "mxfp8", 0.3))
"""Name, scheme and most host seconds on two threads."""


def depthwise() -> tuple[Program, dict[str, Any]]:
    """A 3 x 3 depthwise layer of 8 rows, 56 columns and 128 channels, requantized, many times; and its inputs."""
    window, rows, channels = Window(58, 56, (3, 3)), 8, 128
    kernel = DepthwiseInt8(window, channels, Finish("ort_float_rne", 0, -128, 127))
    operands = (
        Operand("a0", "x", "int8", (window.rows(rows), window.in_width, channels)),
        Operand("a1", "w", "int16", (9, channels)),
        Operand("a2", "constants", "int32", (kernel.finish.rows, channels)),
        Operand("a3", "out", "int8", (window.out_width * channels,), per_row=True, output=True),
    )
    program = standalone.build(
        kernel, rows, operands, repeat=32 * REPEAT, harts=1, l1_bytes=L1["memory.l1_bytes"]
    )
    constants = kernel.finish.constants(np.zeros(channels), np.full(channels, 1e-3))
    return program, random_inputs(program) | {"constants": constants}


def seconds(
    program: Program, machine: Machine, tier: int, inputs: dict[str, Any], threads: int = 1
) -> tuple[float, float]:
    """CPU seconds of the fastest of a few runs (on two threads of the wall clock), and those of the first."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    spent = []
    for _ in range(RUNS):
        cluster = Cluster(program, machine, threads=threads, tier=tier)
        start = clock()
        cluster.run(inputs)
        spent.append(clock() - start)
    return min(spent), spent[0]


def kernels(report: Report) -> None:
    """GMAC/s of one thread."""
    machine = load_machine("spatz-mx", {**L1, "cluster.cores": 1})
    blas = sgemm(SIZE)
    report("OpenBLAS sgemm 256^3, one thread", blas, "GMAC/s", "numpy, same run")
    products: list[tuple[str, Kernel, float, str]] = [
        ("int8 GEMM 256^3", GemmInt8(n=SIZE, k=SIZE), 20, "30.8"),
        ("FP32 GEMM 256^3", GemmFp32(n=SIZE, k=SIZE), 25, "45.8"),
        ("MXFP8 matmul 256^3, bit-exact", MatmulMx(n=SIZE, k=SIZE), 4.5, "5.0"),
    ]
    rows = []
    for name, kernel, goal, prototype in products:
        program = standalone.build(
            kernel, SIZE, granule=8, repeat=REPEAT, harts=1, l1_bytes=L1["memory.l1_bytes"]
        )
        rows.append((name, program, random_inputs(program), goal, prototype))
    for name, program, inputs, goal, prototype in [*rows, ("depthwise 3x3 int8", *depthwise(), 6, "12.1")]:
        macs = sum(layer.macs for layer in program.manifest.layers) / 1e9
        first, _ = seconds(program, machine, 1, inputs)
        both, cold = seconds(program, machine, 2, inputs)
        rate = macs / both
        report(f"iss_speed {name}", rate, "GMAC/s",
               f"first tier alone {macs / first:.1f}; prototype {prototype}; the first run {cold:.2f} s",
               f">= {goal}", rate >= goal)  # fmt: skip
        if "GEMM" in name:
            report(
                f"iss_speed {name} beside sgemm", rate / blas, "x", "", f">= {SGEMM}", rate / blas >= SGEMM
            )


def networks(report: Report) -> None:
    """Host seconds of whole networks on two threads, what has to be compiled compiled before."""
    machine = load_machine("spatz-mx")
    for name, scheme, goal in NETWORKS:
        network = registry.find(name)
        if network.missing():
            report(f"{name} left out", float("nan"), "s", f"without {', '.join(network.missing())}")
            continue
        if name == "smollm2":
            if network.language is None:
                raise DataError(f"{name} is no language model")
            program = generation.compiled(network.language, ROOM, scheme, machine)
        else:
            quantized = api.quantize(
                network.model(), scheme, calibration=network.calibration(), dims=dict(network.dims)
            )
            program = api.compile(quantized, machine)
        inputs = api.seeded_inputs(program)
        first, _ = seconds(program, machine, 1, inputs, threads=2)
        both, cold = seconds(program, machine, 2, inputs, threads=2)
        report(f"{name} {scheme}: simulation" + (" of a token" if name == "smollm2" else ""), both, "s",
               f"first tier alone {first:.2f} s; the first run {cold:.2f} s", f"<= {goal}", both <= goal)  # fmt: skip


def run(report: Report) -> None:
    """All rows."""
    kernels(report)
    networks(report)
