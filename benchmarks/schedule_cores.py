"""Networks in MXFP8 on 1 to 16 cores: cycles, whether outputs keep their bits, and what layers side by side save."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from potluck import api
from potluck.compiler.build import build, prepare
from potluck.compiler.compile import generate
from potluck.compiler.lowering.abreast import AbreastPlan
from potluck.compiler.lowering.base import LayerPlan, Target
from potluck.compiler.schedule.abreast import eligible
from potluck.compiler.schedule.file import ABREAST, Entry
from potluck.isa.machine import Machine, load_machine
from potluck.isa.manifest import members
from potluck.sim.result import Result
from potluck.zoo import light, minilm
from potluck.zoo.registry import find

if TYPE_CHECKING:
    from potluck.benchmarks import Report

CORES = (1, 2, 4, 8, 16)
Inputs = Mapping[str, Any]
MODELS: dict[str, tuple[str, Callable[[], Any]]] = {
    "ResNet-50": ("light-resnet50", lambda: light.model("resnet50")),
    "SqueezeNet": ("light-squeezenet", lambda: light.model("squeezenet")),
    "GoogLeNet": ("light-inception_v1", lambda: light.model("inception_v1")),
}


def run(report: Report) -> None:
    """Reports the speed-up over one core, and layers side by side beside one after the other."""
    if not find("minilm").missing():
        model, inputs = minilm.model(layers=1), minilm.encoded(minilm.documents("lee.cor")[:1])
        _cores(report, "a block of MiniLM", model, inputs)
    for name, (network, made) in MODELS.items():
        if not find(network).missing():
            _cores(report, name, made(), {})


def _cores(report: Report, name: str, model: Any, inputs: Inputs) -> None:
    prepared = prepare(model, "mxfp8")
    first, bits = 0, b""
    for cores in CORES:
        machine = load_machine("spatz-mx", {"cluster.cores": cores})
        result, joined = _run(prepared, machine, inputs)
        output = _bits(result)
        first, bits = first or result.cycles, bits or output
        text = f"{result.cycles:,} cycles, utilization {100 * result.utilization:.1f} %"
        same = "the same bits" if output == bits else "OTHER BITS"
        report(f"{name} on {cores} cores", first / result.cycles, "x", f"{text}, {same}")
        if not joined:
            continue
        apart, _ = _run(prepared, machine, inputs, alone=True)
        same = "the same bits" if _bits(apart) == bits else "OTHER BITS"
        alone = {layer.name: layer.cycles for layer in apart.layers}
        layers = [layer for layer in result.layers if len(members(layer.name)) > 1]
        before = sum(alone[part] for layer in layers for part in members(layer.name))
        after = sum(layer.cycles for layer in layers)
        text = f"than {apart.cycles:,} one after the other, {same}; {joined} layers: {before:,} to {after:,}"
        saved = 100 * (1 - result.cycles / apart.cycles)
        report(f"{name} on {cores} cores: layers side by side", saved, "% fewer cycles", text)


def _run(model: ir.Model, machine: Machine, inputs: Inputs, alone: bool = False) -> tuple[Result, int]:
    """A run, and how many layers are side by side with others; ``alone``: none."""
    edits: list[Entry] = []
    if alone:
        plans = build(model, machine).plans
        every: list[LayerPlan] = [
            item.plan for plan in plans if isinstance(plan, AbreastPlan) for item in plan.members
        ]
        every += [plan for plan in plans if eligible(plan, Target(machine))]
        edits = [Entry(plan.name, "", {ABREAST: ""}) for plan in every]
    schedule = build(model, machine, edits=edits)
    rng = np.random.default_rng(0)
    given = {
        tensor.name: inputs[tensor.name]
        if tensor.name in inputs
        else rng.standard_normal(tensor.shape, np.float32)
        for tensor in schedule.inputs
    }
    result = api.simulate(generate(schedule), given, machine=machine)
    return result, sum(len(members(op.name)) for op in schedule.ops if len(members(op.name)) > 1)


def _bits(result: Result) -> bytes:
    return b"".join(np.ascontiguousarray(value).tobytes() for value in result.outputs.values())
