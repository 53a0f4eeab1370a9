"""Formats face to face on the packaged networks, and SigmaQuant: ``potluck bench formats``.

Each network in each format: agreement with FP32 and its interval, effective bits, cycles and energy of one input; how
many outputs of the program differ from onnx's evaluator where sums are integers; how far MX products are from exact
ones, beside the bound; what SigmaQuant makes of targets, and its clustering and KL divergence beside the values that
the literature's sheet states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.allocation.clusters import cluster, normalized
from potluck.allocation.sigmaquant import Allocator, allocate
from potluck.allocation.targets import parse
from potluck.assets import load_test_images, model_path
from potluck.benchmarks import mx_products
from potluck.comparison.rows import Comparison
from potluck.compiler.build import prepare
from potluck.compiler.quantizers.statistics import divergence
from potluck.evaluation.network import Bench
from potluck.evaluation.samples import Samples, split
from potluck.isa.machine import load_machine

if TYPE_CHECKING:
    from potluck.benchmarks import Report

SCHEMES = (
    "fp32",
    "mxfp8",
    "mxfp6",
    "mxfp4",
    "mxfp4:better",
    "int8",
    "int4",
    "int4:better",
    "pot_msq",
    "pot_apot",
)
BETTER = (("mxfp4", "mxfp4:better"), ("int4", "int4:better"))
"""Rows without and with the better quantization, which is to close half of the distance to FP32."""
INTEGERS = ("int8", "int4", "pot_apot")
"""Schemes whose outputs are those of onnx's evaluator to the bit."""
DEVIATIONS = (0.1157, 0.0513, 0.0421, 0.0380, 0.0365, 0.0092, 0.0101, 0.0280)
"""Standard deviations of eight layers, with the best clustering's objective in `OBJECTIVE`."""
OBJECTIVE = 0.186788
DIVERGENCES = {2: 0.2179, 4: 0.0220, 6: 0.0046, 8: 0.0032}
"""Bits -> KL divergence of 200,000 normal weights with scales from the largest one."""


@dataclass(frozen=True)
class Network:
    """A packaged network with data that it was not trained on."""

    name: str
    path: Callable[[], Path]
    samples: Callable[[], Samples]


def _fashion() -> Samples:
    images, labels = load_test_images(1000)
    return Samples({"input": images}, labels.astype(np.int64))


NETWORKS = (Network("ResNet-8", model_path, _fashion),)


def run(report: Report) -> None:
    """Reports every network, then SigmaQuant's own numbers."""
    machine = load_machine("spatz-mx")
    for network in NETWORKS:
        fixed, (test,) = split(network.samples(), None, (1.0,))
        bench = Bench(network.path(), fixed.inputs)
        comparison = Comparison(bench, test, machine)
        for scheme in SCHEMES:
            row = comparison.add(scheme, scheme)
            score, fp32 = row.score, comparison.rows[0].score
            accuracy = (
                f"accuracy {score.accuracy}, FP32 {fp32.accuracy}" if score.accuracy is not None else ""
            )
            few = row.weight_bits <= 4
            report(
                f"{network.name} {scheme}: agreement with FP32", 100 * score.value, "%",
                f"{score.count} inputs, 95 % {score.agreement}; {accuracy}; SQNR {score.sqnr:.1f} dB",
                "above 50 %" if few else "", score.value > 0.5 if few else None,
            )  # fmt: skip
            report(
                f"{network.name} {scheme}: effective weight bits",
                row.effective_bits,
                "bits",
                f"{row.bytes:,} bytes",
            )
            report(f"{network.name} {scheme}: cycles", row.cycles or 0, "cycles", row.path)
            report(f"{network.name} {scheme}: energy", 1e6 * (row.joules or 0), "µJ", machine.name)
        rows = {row.name: row for row in comparison.rows}
        for plain, better in BETTER:
            gaps = [rows["fp32"].score.value - rows[name].score.value for name in (plain, better)]
            closed = 1 - gaps[1] / gaps[0] if gaps[0] > 0 else 1.0
            report(
                f"{network.name} {better}: gap to FP32 closed", 100 * closed, "%",
                f"of {100 * gaps[0]:.1f} points of agreement", "at least 50", closed >= 0.5,
            )  # fmt: skip
        for scheme in INTEGERS:
            count = _differing(network, scheme, fixed.inputs, test)
            report(
                f"{network.name} {scheme}: differing outputs", count, "of one input",
                "program against onnx's reference evaluator", "0", count == 0,
            )  # fmt: skip
        _allocations(report, network, bench, test)
    mx_products.run(report)
    _sheet(report)


def _differing(network: Network, scheme: str, calibration: Any, test: Samples) -> int:
    from onnx.reference import ReferenceEvaluator

    from potluck import api

    model = prepare(network.path(), scheme, calibration=calibration, dims={"batch": 1})
    given = {name: array[:1] for name, array in test.inputs.items()}
    expected = np.asarray(next(iter(ReferenceEvaluator(ir.to_proto(model)).run(None, given))))
    program = api.compile(api.quantize(network.path(), scheme, calibration=calibration))
    found = next(iter(api.simulate(program, given, "functional").outputs.values()))
    return int(np.count_nonzero(_bits(found) != _bits(expected)))


def _bits(array: NDArray[Any]) -> NDArray[np.uint32]:
    return np.ascontiguousarray(array, np.float32).view(np.uint32)


def _allocations(report: Report, network: Network, bench: Bench, samples: Samples) -> None:
    """SigmaQuant beside the uniform networks of about its size."""
    half = len(samples) // 2
    tuning, test = samples.part(slice(0, half)), samples.part(slice(half, None))
    allocator = Allocator(bench, parse("size=55%"), ("int2", "int4", "int6", "int8"), tuning)
    found = allocate(allocator, test)
    uniform = "; ".join(
        f"{name} {cost:,.0f} B, {100 * value:.1f} %" for name, (value, cost) in found.uniform.items()
    )
    report(
        f"{network.name} SigmaQuant size=55%: bytes", found.cost, "bytes", uniform,
        f"at most {found.settings.most:,.0f}", found.met,
    )  # fmt: skip
    verdict = found.test["assignment"]
    report(
        f"{network.name} SigmaQuant size=55%: tuning agreement", 100 * found.outcome.step.metric, "%",
        f"on test samples {100 * verdict.value:.1f} %", f"at least {100 * found.settings.least:.1f}", found.met,
    )  # fmt: skip


def _sheet(report: Report) -> None:
    found = cluster(normalized(DEVIATIONS), 4, 0.1)
    bits = [2 * (j + 1) for j in found.of]
    report(
        "SigmaQuant clustering: objective", found.objective, "", f"{OBJECTIVE} stated, bits {bits}", "within 3e-6",
        abs(found.objective - OBJECTIVE) < 3e-6 and bits == [8, 8, 6, 6, 4, 2, 2, 4],
    )  # fmt: skip
    weights = np.random.default_rng(0).standard_normal(200_000)
    for width, stated in DIVERGENCES.items():
        top = 2 ** (width - 1) - 1
        value = divergence(weights, np.arange(-top, top + 1), np.abs(weights).max() / top)
        report(f"KL of normal weights, {width} bits", value, "nats", f"{stated} stated", "within 6e-5",
               abs(value - stated) < 6e-5)  # fmt: skip
