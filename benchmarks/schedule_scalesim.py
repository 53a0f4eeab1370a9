"""SCALE-Sim v3 beside our simulator on layers of ResNet-50, in one run.

SCALE-Sim (a 32 x 32 weight-stationary array, as its own example has it) computes cycles and access traces, no values;
ours computes every value of MXFP8 and its cycles. It is timed on a few layers, without the traces that its command line
always writes, and extrapolated to all: its time follows the array's cycles, which are a closed form that each measured
layer is compared with. Both sides: CPU seconds of one thread.

SCALE-Sim 3.0.0 breaks on NumPy 2.4, so it has an environment of its own, ``POTLUCK_SCALESIM`` its Python.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, nan
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from potluck import api
from potluck.isa.errors import ToolError

if TYPE_CHECKING:
    from potluck.benchmarks import Report

PYTHON = "POTLUCK_SCALESIM"
HOW = "python3 -m venv S && S/bin/pip install scalesim==3.0.0 'numpy<2.4', and POTLUCK_SCALESIM=S/bin/python"
ARRAY = 32
MEASURED = 150_000
"""Cycles of SCALE-Sim's array that are measured: some 15 seconds."""
MACHINE, SCHEME = "spatz-mx", "mxfp8"
CONFIG = """[general]
run_name = run
[architecture_presets]
ArrayHeight: {array}
ArrayWidth: {array}
IfmapSramSzkB: 64
FilterSramSzkB: 64
OfmapSramSzkB: 64
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 10
Dataflow: ws
MemoryBanks: 1
ReadRequestBuffer: 32
WriteRequestBuffer: 32
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 100
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 100
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""
SCRIPT = """
import sys, time
from scalesim.scale_sim import scalesim
start = time.process_time()
made = scalesim(save_disk_space=True, verbose=False, config="c.cfg", topology="t.csv", layout="l.csv")
made.run_scale(top_path="out")
seconds = time.process_time() - start
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print("spent", seconds, 1024 * int(peak))
"""
"""getrusage would begin with the peak of the process that started it."""


@dataclass(frozen=True)
class Layer:
    """A convolution, or a product as one of 1 x 1.

    Attributes:
        name: of its node.
        size: rows and columns of the input, padding included.
        kernel: rows and columns.
        inputs: channels.
        outputs: channels.
        stride: in both directions.
    """

    name: str
    size: int
    kernel: int
    inputs: int
    outputs: int
    stride: int

    @property
    def places(self) -> int:
        """Of the output."""
        return ((self.size - self.kernel) // self.stride + 1) ** 2

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.places * self.inputs * self.kernel**2 * self.outputs

    @property
    def cycles(self) -> int:
        """Of the weight-stationary array: each fold is filled with weights, then inputs stream through."""
        folds = ceil(self.inputs * self.kernel**2 / ARRAY) * ceil(self.outputs / ARRAY)
        return folds * (3 * ARRAY + self.places - 2)


def layers_of(model: onnx.ModelProto) -> Iterator[Layer]:
    """Convolutions and products of a network of square images, in order."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    shapes |= {t.name: list(t.dims) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv":
            weights, made = shapes[node.input[1]], shapes[node.output[0]]
            given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            stride, kernel = given.get("strides", [1])[0], weights[2]
            yield Layer(
                node.name or node.output[0],
                (made[2] - 1) * stride + kernel,
                kernel,
                weights[1],
                weights[0],
                stride,
            )
        elif node.op_type == "Gemm":
            weights = shapes[node.input[1]]
            outputs = shapes[node.output[0]][-1]
            yield Layer(node.name or node.output[0], 1, 1, weights[0] * weights[1] // outputs, outputs, 1)


def chosen(layers: list[Layer], budget: int = MEASURED) -> list[Layer]:
    """Layers of different sizes, the cheapest of each number of output places, within a budget of cycles."""
    found: list[Layer] = []
    sizes = {layer.places for layer in layers if layer.places > 1}
    cheapest = [
        min((one for one in layers if one.places == size), key=lambda one: one.cycles) for size in sizes
    ]
    for layer in sorted(cheapest, key=lambda one: one.cycles):
        if sum(one.cycles for one in found) + layer.cycles <= budget:
            found.append(layer)
    return found


def scale_sim(python: str, layers: list[Layer]) -> tuple[float, int, list[int]]:
    """CPU seconds, resident bytes and compute cycles of each layer.

    Raises:
        ToolError: it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows = [f"L{k}, {one.size}, {one.size}, {one.kernel}, {one.kernel}, {one.inputs}, {one.outputs}, {one.stride},"
                for k, one in enumerate(layers)]  # fmt: skip
        head = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
        (place / "t.csv").write_text("\n".join([head, *rows]) + "\n")
        layout = [f"L{k}," + " 1," * 21 for k in range(len(layers))]  # not used, but read
        (place / "l.csv").write_text("\n".join(["Layer name," + " order," * 21, *layout]) + "\n")
        (place / "c.cfg").write_text(CONFIG.format(array=ARRAY))
        words = [python, "-c", SCRIPT]
        made = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
        report = next(place.glob("out/**/COMPUTE_REPORT.csv"), None)
        if made.returncode or report is None:
            raise ToolError(
                f"SCALE-Sim failed: {made.stderr.strip().splitlines()[-1:]}", tool="scalesim", hint=HOW
            )
        seconds, peak = made.stdout.rpartition("spent")[2].split()
        heads, *lines = [line.split(",") for line in report.read_text().splitlines()]
        column = next(k for k, text in enumerate(heads) if text.strip() == "Total Cycles")
        cycles = [round(float(line[column])) for line in lines]
    return float(seconds), int(peak), cycles


def alone(layer: Layer) -> onnx.ModelProto:
    """The layer as a network with seeded weights."""
    shape = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
    weights = np.random.Generator(np.random.Philox(1)).standard_normal(shape, np.float32)
    rows = (layer.size - layer.kernel) // layer.stride + 1
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", strides=[layer.stride] * 2)
    graph = helper.make_graph(
        [node], "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, layer.inputs, layer.size, layer.size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, layer.outputs, rows, rows])],
        [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def ours(model: onnx.ModelProto) -> tuple[float, int]:
    """CPU seconds of a simulation whose instructions are compiled, and its cycles."""
    program = api.compile(api.quantize(model, SCHEME), MACHINE)
    inputs = api.seeded_inputs(program)
    api.simulate(program, inputs)
    start = time.thread_time()
    result = api.simulate(program, inputs)
    return time.thread_time() - start, result.cycles


def run(report: Report) -> None:
    """Reports both sides on the layers that are measured, and on all."""
    from potluck.zoo import registry

    python = os.environ.get(PYTHON)
    if not python:
        report("SCALE-Sim v3 on ResNet-50's layers", nan, "s", f"left out: {HOW}")
        return
    model = registry.find("light-resnet50").model()
    every = list(layers_of(model))
    layers = chosen(every)
    theirs, memory, cycles = scale_sim(python, layers)
    what = json.dumps([layer.name for layer in layers])
    share = sum(layer.cycles for layer in layers) / sum(layer.cycles for layer in every)
    mine = [ours(alone(layer)) for layer in layers]
    seconds = sum(one for one, _ in mine)
    report(
        "SCALE-Sim v3, some layers of ResNet-50", theirs, "s", f"{what}, {100 * share:.1f} % of its cycles"
    )
    worst = max(abs(found / layer.cycles - 1) for found, layer in zip(cycles, layers, strict=True))
    report(
        "  its cycles against the closed form, worst",
        100 * worst,
        "%",
        "of which the extrapolation is made",
        "<= 1",
        worst <= 0.01,
    )
    report("  its memory", memory / 2**20, "MiB")
    report("the same layers here, every value", seconds, "s", f"{SCHEME} on {MACHINE}, simulation alone")
    report("  SCALE-Sim / ours", theirs / seconds, "x", "values computed on our side only")
    report("SCALE-Sim v3, all of ResNet-50, extrapolated", theirs / share, "s",
           "by its cycles; 1,829 s and 12.1 GB measured on another host, traces written")  # fmt: skip
    whole, _ = ours(model)
    report(
        "ResNet-50 here, whole network",
        whole,
        "s",
        f"{SCHEME}, every instruction, one thread",
        "<= 3 (two threads)",
        whole <= 3,
    )
    report("  SCALE-Sim / ours", theirs / share / whole, "x", "extrapolated / measured")
