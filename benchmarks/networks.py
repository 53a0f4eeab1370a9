"""The zoo on the machine: coverage, likeness to the quantized ONNX network, host seconds and memory.

``potluck bench networks`` runs every network of the zoo whose packages are here (``potluck zoo --fetch`` gets them) and
the light models of the `onnx` package in every scheme that its declaration names, a few samples each.
``POTLUCK_BENCH_NETWORKS=mobilenetv2,resnet8:int8+mxfp8`` chooses networks and schemes. Host seconds are
those of this machine as it is: run it alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from potluck.evaluation.samples import Samples
from potluck.isa.errors import ToolError
from potluck.isa.machine import Machine, load_machine
from potluck.zoo import registry
from potluck.zoo.generation import Decoder, compiled, generate
from potluck.zoo.network import Language, Network
from potluck.zoo.running import OnMachine, Outcome, Stand

if TYPE_CHECKING:
    from potluck.benchmarks import Report

CHOICE = "POTLUCK_BENCH_NETWORKS"
SMALL, LARGE = 20_000_000, 5_000_000_000
"""Networks of at most, and of more than, so many multiply-accumulates."""
SEVERAL, FEW, ONE = 20, 2, 1
"""Samples of small, other and large networks."""
SIMULATE = {"mobilenetv2": 1.5, "efficientnet-lite0": 2.0, "minilm": 3.0, "smollm2": 40.0}
"""Host seconds of a timed run that issue 6 aims at."""
DECODE, PAST, STEPS = 1.0, 128, 4
"""Host seconds of a token that it aims at, behind a cache of so many; tokens, of which the fastest counts."""
COMPILE, COMPILE_LARGE, MEMORY = 10.0, 40.0, 4.0
"""Host seconds (of large networks) and GiB that it aims at."""
EXACT = {("mnist-cnn", "int8")}
"""Every operator that rounds has an exact contract. Others average in FP32, which may move a code by one."""
ORDER = 1e-4
"""In FP32 outputs differ by the order of sums: less than this of the largest."""


def run(report: Report) -> None:
    """Reports every network in every scheme.

    Raises:
        ToolError: No network that was asked for has its packages here.
        DataError: A network is unknown.
    """
    missing, ran, machine = [], 0, load_machine("spatz-mx")
    for network, schemes in chosen(os.environ.get(CHOICE, "")):
        if network.missing():
            missing.append(network.name)
            continue
        ran += 1
        few = network.samples().part(slice(0, _count(network)))
        stand = Stand(replace(network, samples=partial(Samples.part, few, slice(None))), machine, len(few))
        for scheme in schemes:
            outcome = stand.outcome(scheme)
            _report(report, network, outcome)
            if outcome.machine is not None and network.language is not None:
                _tokens(report, network, network.language, scheme, machine)
    if missing:
        text = f"the packages of {', '.join(missing)} are not here"
        if not ran:
            raise ToolError(text, tool="potluck[models]", hint="Get them: potluck zoo --fetch")
        report("networks left out", len(missing), "", text)


def chosen(text: str) -> Iterator[tuple[Network, tuple[str, ...]]]:
    """Networks and schemes: ``name,name:scheme+scheme``; all if the text is empty."""
    for item in text.split(",") if text else (*registry.PLACES, *registry.LIGHT):
        name, _, schemes = item.partition(":")
        network = registry.find(name)
        yield network, tuple(schemes.split("+")) if schemes else network.schemes


def _count(network: Network) -> int:
    seeded = network.name in registry.LIGHT
    return SEVERAL if network.macs <= SMALL else ONE if seeded or network.macs > LARGE else FEW


def _report(report: Report, network: Network, outcome: Outcome) -> None:
    name = f"{network.name} {outcome.scheme}"
    report(f"{name}: MACs on the machine", outcome.macs_share, "%", "", "100", outcome.macs_share == 100)
    report(f"{name}: nodes on the machine", outcome.nodes_share, "%", "", ">= 99", outcome.nodes_share >= 99)
    if outcome.machine is None:
        report(f"{name}: refused", math.nan, "", outcome.error, "runs", False)
        return
    _likeness(report, name, network, outcome, outcome.machine)
    run, limit = outcome.machine, SIMULATE.get(network.name)
    most = COMPILE_LARGE if network.macs > LARGE else COMPILE
    report(f"{name}: compile", run.compile_seconds, "s", "", f"<= {most:g}", run.compile_seconds <= most)
    report(
        f"{name}: simulate", run.seconds, "s", f"the first {run.first_seconds:.2f} s; {run.cycles:,.0f} cycles",
        f"<= {limit:g}" if limit else "", run.seconds <= limit if limit else None,
    )  # fmt: skip
    memory = run.peak_bytes / (1 << 30)
    report(f"{name}: peak memory", memory, "GiB", "compile and simulate", f"<= {MEMORY:g}", memory <= MEMORY)


def _tokens(report: Report, network: Network, language: Language, scheme: str, machine: Machine) -> None:
    """Tokens one by one."""
    decoder = Decoder(compiled(language, PAST, scheme, machine), machine)
    steps = list(generate(decoder, language.encode("Once upon a time")[:1], STEPS))
    last = min(steps, key=lambda step: step.seconds)
    report(
        f"{network.name} {scheme}: a token", last.seconds, "s",
        f"the first {steps[0].seconds:.2f} s; {last.cycles:,} cycles, {1e3 * last.joules:.1f} mJ",
        f"<= {DECODE:g}", last.seconds <= DECODE,
    )  # fmt: skip


def _likeness(report: Report, name: str, network: Network, outcome: Outcome, run: OnMachine) -> None:
    near = run.against
    if (network.name, outcome.scheme) in EXACT:
        target, met = "0 (all bits equal)", near.equal == 100
    elif outcome.scheme == "fp32":
        target, met = f"<= {ORDER:g}", near.difference <= ORDER
    else:
        target, met = f"SQNR >= {outcome.noise:.1f} dB", near.sqnr >= outcome.noise
    report(
        f"{name}: worst difference to ONNX",
        near.difference,
        "of the largest",
        f"SQNR {near.sqnr:.1f} dB",
        target,
        met,
    )
    ours, reference = run.measure.value, outcome.reference.value
    unit = f"{run.measure.name}, {run.samples} samples"
    near_enough = abs(ours - reference) <= max(0.5 if "%" in run.measure.name else 0, 0.01 * abs(reference))
    known = not math.isnan(reference)  # a correlation of two samples says nothing
    text = f"quantized ONNX {reference:.2f}, FP32 {outcome.fp32.value:.2f}; agreement {near.agreement:.1f} %"
    report(f"{name}: metric", ours, unit, text, "within 0.5 points or 1 %", near_enough if known else None)
