"""How near networks come to what bounds them on ``spatz-mx`` with HBM3, in MXFP8.

Utilization is what the products would take at the peak of their own format over the cycles of the whole run (MX
products: 8 a lane and cycle; products of two activations stay in FP32: 2). Beside it stands the share of the MX peak,
as if all products were MX. The bound of a layer is the largest of those that results hold
(`potluck.sim.timing.bounds`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from potluck import api
from potluck.compiler.build import Schedule, build, prepare
from potluck.compiler.compile import generate
from potluck.compiler.lowering.base import tensor_bytes
from potluck.isa.errors import DataError, ToolError
from potluck.isa.machine import Machine, load_machine
from potluck.scale.families import Family
from potluck.scale.families import find as find_family
from potluck.sim.dram.attach import stream_rate
from potluck.sim.result import LayerResult, Result
from potluck.zoo import light, llama, minilm, smollm2
from potluck.zoo.registry import find

if TYPE_CHECKING:
    from potluck.benchmarks import Report

CHOICE = "POTLUCK_BENCH_SCHEDULE"
SCHEME, SCALE = "mxfp8", 33 / 32
"""Bytes of a weight, its share of a scale included."""
PAST = 128
LARGE, PART = "llama3.2-1b", 8
"""A decoder in which less than in SmolLM2 is beside weights, and how much of it is run."""
LEAST = 0.005
"""Share of a run's cycles below which a class of layers is not listed."""
Inputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """A network and what is asked of it.

    Attributes:
        network: Of the zoo, whose packages it needs; None: weights are seeded.
        model: Builds it.
        inputs: Real ones, where cycles depend on them or values must be legal; others are seeded.
        target: Percentage; of the DRAM roofline for a decoder, else of the peak.
        decoder: Whether one token is made from all weights.
        part: What of the network is run, empty: all.
    """

    network: str | None
    model: Callable[[], onnx.ModelProto]
    inputs: Callable[[], Inputs]
    target: float
    decoder: bool = False
    part: str = ""


def _documents() -> Inputs:
    return minilm.encoded(minilm.documents("lee.cor")[:1])


def _prompt() -> Inputs:
    return {"tokens": smollm2.windows(smollm2.ARTICLE, 1)}


def _cache() -> Inputs:
    return {name: values[-1:] for name, values in smollm2.cached(PAST, 8).items() if name != "position"} | {
        "position": np.array([7], np.int64)
    }


def layers_of(family: Family, past: int, share: int) -> onnx.ModelProto:
    """A decoder of seeded weights for one token, the ``share``-th part of its layers and of its head's columns."""
    config = llama.Config(
        family.layers // share, family.width, family.heads, family.groups, family.hidden,
        family.vocabulary // share, 5e5, 1e-5, family.head,
    )  # fmt: skip
    return llama.build(llama.Seeded(config), 1, past)


def _decoder(past: int) -> Case:
    """The larger decoder behind a full cache: a part in proportion, as all of it would take 18 GB."""
    family = find_family(LARGE)
    inputs = {"tokens": np.zeros((1, 1), np.int64), "position": np.array([past], np.int64)}
    part = f"{family.layers // PART} of {family.layers} layers and 1/{PART} of the head of {LARGE}, seeded"
    return Case(None, lambda: layers_of(family, past, PART), lambda: inputs, 85, True, part)


CASES = {
    "resnet50": Case("light-resnet50", lambda: light.model("resnet50"), dict, 80),
    "minilm": Case("minilm", minilm.model, _documents, 70),
    "smollm2": Case("smollm2", smollm2.model, _prompt, 70),
    "decode": Case("smollm2", lambda: smollm2.model(1, PAST), _cache, 85, True),
    "decode-large": _decoder(PAST),
    "decode-large-1024": _decoder(1024),
}


def run(report: Report) -> None:
    """Reports every network.

    Raises:
        DataError: One that was asked for is unknown.
        ToolError: None that was asked for has its packages here.
    """
    wanted, ran, missing = os.environ.get(CHOICE, ""), 0, []
    machine = load_machine("spatz-mx", {"dram.kind": "hbm3"})
    for name in wanted.split(",") if wanted else CASES:
        if name not in CASES:
            raise DataError(f"no network {name!r} in {CHOICE}", hint=f"There are {', '.join(CASES)}")
        case = CASES[name]
        if case.network is not None and find(case.network).missing():
            missing.append(case.network)
            continue
        ran += 1
        schedule, result = simulated(case, machine)
        _report(report, name, case, machine, schedule, result)
        _estimates(report, name, schedule, result)
    if missing and not ran:
        raise ToolError(
            f"the packages of {', '.join(missing)} are not here",
            tool="potluck[models]",
            hint="Get them: potluck zoo --fetch",
        )


def simulated(case: Case, machine: Machine) -> tuple[Schedule, Result]:
    """Quantizes, compiles and simulates a network."""
    schedule = build(prepare(api.quantize(case.model(), SCHEME)), machine)
    program = generate(schedule)
    inputs = {**api.seeded_inputs(program), **case.inputs()}
    return schedule, api.simulate(program, inputs, machine=machine)


def _report(
    report: Report, name: str, case: Case, machine: Machine, schedule: Schedule, result: Result
) -> None:
    peak = machine.peak_macs_per_cycle(SCHEME)
    share = 100 * result.macs / (peak * result.cycles)
    text = f"{result.cycles:,} cycles, {result.macs / 1e9:.3f} GMAC; {share:.1f} % of the MX peak"
    if case.decoder:
        reads = sum(layer.macs for layer in result.layers if layer.format == SCHEME) * SCALE
        reads += sum(tensor_bytes(tensor) for tensor in schedule.inputs)
        value = 100 * reads / (stream_rate(machine) * result.cycles)
        text += f"; weights and cache are {reads / 1e6:.1f} MB" + (f"; {case.part}" if case.part else "")
        report(f"{name}: DRAM roofline", value, "%", text, f">= {case.target:g}", value >= case.target)
    else:
        value = 100 * result.utilization
        report(f"{name}: utilization", value, "%", text, f">= {case.target:g}", value >= case.target)
    _classes(report, name, result)


def _classes(report: Report, name: str, result: Result) -> None:
    """What each class of layers takes, as a share of its bound."""
    groups: dict[tuple[str, str], list[LayerResult]] = {}
    for layer in result.layers:
        groups.setdefault((layer.op, layer.format), []).append(layer)
    for (op, kind), layers in sorted(groups.items(), key=lambda item: -sum(x.cycles for x in item[1])):
        cycles = sum(layer.cycles for layer in layers)
        if cycles < LEAST * result.cycles:
            continue
        by: dict[str, float] = {}
        for layer in layers:
            limit = max(layer.bounds, key=layer.bounds.__getitem__)
            by[limit] = by.get(limit, 0) + layer.bounds[limit]
        most = max(by, key=by.__getitem__)
        text = f"{len(layers)} layers, {100 * cycles / result.cycles:.1f} % of the cycles, bound by {most}"
        report(f"{name}: {op} {kind}".strip(), 100 * sum(by.values()) / cycles, "% of bound", text)


def _estimates(report: Report, name: str, schedule: Schedule, result: Result) -> None:
    """How far the cost model that chooses tiles is from the simulated cycles, by kind of plan."""
    layers, pairs = iter(result.layers), dict[str, list[tuple[float, int]]]()
    for plan in schedule.plans:
        layer = next((item for item in layers if (item.name, item.op) == (plan.name, plan.op)), None)
        if layer is not None and plan.estimate is not None:
            pairs.setdefault(type(plan).__name__, []).append((plan.estimate, layer.cycles))
    for kind, found in pairs.items():
        cycles = sum(count for _, count in found)
        errors = [abs(estimate - count) for estimate, count in found]
        bias = 100 * (sum(estimate for estimate, _ in found) / cycles - 1)
        worst = max(100 * error / count for error, (_, count) in zip(errors, found, strict=True))
        text = f"{len(found)} layers, bias {bias:+.1f} %, worst layer {worst:.0f} %"
        report(f"{name}: cost model, {kind}", 100 * sum(errors) / cycles, "% error", text)
