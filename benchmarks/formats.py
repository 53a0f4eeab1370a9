"""Formats face to face on the packaged networks, and SigmaQuant: ``potluck bench formats``.

Each network in each format: agreement with FP32 and its interval, effective bits, cycles and energy of one input; how
many outputs of the program differ from onnx's evaluator where sums are integers; how far MX products are from exact
ones, beside the bound; what SigmaQuant makes of targets, and its clustering and KL divergence beside the values that
the literature's sheet states.

Networks are those of the zoo whose packages are here; ``POTLUCK_BENCH_FORMATS=mobilenetv2,minilm`` chooses.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.allocation.clusters import cluster, normalized
from potluck.allocation.sigmaquant import Allocator, allocate
from potluck.allocation.targets import parse
from potluck.benchmarks import mx_products
from potluck.benchmarks.networks import chosen
from potluck.comparison.rows import Comparison, Row
from potluck.compiler.build import prepare
from potluck.compiler.quantizers.statistics import divergence
from potluck.evaluation.network import Bench
from potluck.evaluation.samples import Samples
from potluck.isa.machine import Machine, load_machine
from potluck.zoo.network import Network, largest

if TYPE_CHECKING:
    from potluck.benchmarks import Report

SCHEMES = (
    "fp32",
    "mxfp8",
    "mxfp6",
    "mxfp4",
    "mxfp4:better",
    "mxfp4:hadamard=16+better",
    "int8",
    "int4",
    "int4:better",
    "pot_msq",
    "pot_apot",
)
BETTER = (("mxfp4", "mxfp4:hadamard=16+better"), ("int4", "int4:better"))
"""Rows without and with the better quantization, which is to close half of the distance to FP32."""
OWN = {"minilm": {"mxfp4:hadamard=16+better": "mxfp4@even:hadamard=32+better/first+last+sensitive=6"}}
"""A better row, and what is judged instead for a network."""
NETWORKS = ("resnet8", "mobilenetv2", "minilm", "smollm2")
CHOICE = "POTLUCK_BENCH_FORMATS"
BATCH = 20
"""Samples at a time on the host."""
EXACT = "resnet8"
"""The network whose integer programs are compared with onnx's evaluator, and which SigmaQuant allocates."""
QAT_STEPS = 100
"""Of training between SigmaQuant's moves."""
REQUANTIZED = frozenset({"smollm2"})
"""Networks whose FP32 weights lie on a grid of four bits already: they say nothing of what four bits lose."""
INTEGERS = ("int8", "int4", "pot_apot")
"""Schemes whose outputs are those of onnx's evaluator to the bit."""
DEVIATIONS = (0.1157, 0.0513, 0.0421, 0.0380, 0.0365, 0.0092, 0.0101, 0.0280)
"""Standard deviations of eight layers, with the best clustering's objective in `OBJECTIVE`."""
OBJECTIVE = 0.186788
DIVERGENCES = {2: 0.2179, 4: 0.0220, 6: 0.0046, 8: 0.0032}
"""Bits -> KL divergence of 200,000 normal weights with scales from the largest one."""


def run(report: Report) -> None:
    """Reports every network, then how near MX products are and SigmaQuant's own numbers.

    Raises:
        DataError: A network that was chosen is unknown.
    """
    machine = load_machine("spatz-mx")
    for network, _ in chosen(os.environ.get(CHOICE) or ",".join(NETWORKS)):
        if network.missing():
            report(
                f"{network.name}: left out",
                len(network.missing()),
                "",
                f"needs {', '.join(network.missing())}",
            )
        else:
            _faces(report, network, machine)
    mx_products.run(report)
    _sheet(report)


def _faces(report: Report, network: Network, machine: Machine) -> None:
    """One network in every format."""
    samples = (network.many or network.samples)()
    bench = Bench(
        network.model(), network.calibration(), BATCH if network.batched else 1, {"dims": dict(network.dims)}
    )
    comparison = Comparison(bench, samples, machine, "auto" if network.decide is largest else "sqnr")
    fine = network.name in REQUANTIZED
    own = OWN.get(network.name, {})
    for scheme in (own.get(name, name) for name in SCHEMES):
        if fine and ":" in scheme:
            continue
        row = comparison.add(scheme, scheme)
        _report(report, network, row, comparison.rows[0], machine)
    rows = {row.name: row for row in comparison.rows}
    for plain, better in () if fine else BETTER:
        better = own.get(better, better)
        before, after = (_distance(rows[name], rows["fp32"]) for name in (plain, better))
        closed = 1 - after / before if before > 0 else 1.0
        report(
            f"{network.name} {better}: distance to FP32 closed", 100 * closed, "%",
            f"{rows[plain].score.metric} {plain} {_value(rows[plain])}, {better} {_value(rows[better])}", "at least 50",
            closed >= 0.5,
        )  # fmt: skip
    if network.name == EXACT:
        for scheme in INTEGERS:
            count = _differing(bench, scheme, samples)
            report(
                f"{network.name} {scheme}: differing outputs", count, "of one input",
                "program against onnx's reference evaluator", "0", count == 0,
            )  # fmt: skip
        _allocations(report, network, bench, samples)


def _report(report: Report, network: Network, row: Row, fp32: Row, machine: Machine) -> None:
    score, name = row.score, f"{network.name} {row.name}"
    accuracy = (
        f"accuracy {score.accuracy}, FP32 {fp32.score.accuracy}; " if score.accuracy is not None else ""
    )
    few = row.weight_bits <= 4
    if score.agreement is not None and score.metric != "sqnr":
        report(
            f"{name}: agreement with FP32", 100 * score.agreement.value, "%",
            f"{score.count} inputs, 95 % {score.agreement}; {accuracy}SQNR {score.sqnr:.1f} dB",
            "above 0 %" if few else "", score.agreement.value > 0 if few else None,
        )  # fmt: skip
    else:
        report(
            f"{name}: SQNR to FP32", score.sqnr, "dB", f"{score.count} inputs", "above 0 dB" if few else "",
            score.sqnr > 0 if few else None,
        )  # fmt: skip
    report(f"{name}: effective weight bits", row.effective_bits, "bits", f"{row.bytes:,} bytes")
    report(f"{name}: cycles", row.cycles or 0, "cycles", row.path or row.note)
    report(f"{name}: energy", 1e6 * (row.joules or 0), "µJ", machine.name)


def _distance(row: Row, fp32: Row) -> float:
    """From FP32: points of the metric, or of an SQNR the relative size of the noise."""
    if row.score.metric == "sqnr":
        return float(10 ** (-row.score.sqnr / 20))
    return float(fp32.score.value - row.score.value)


def _value(row: Row) -> str:
    return f"{row.score.sqnr:.1f} dB" if row.score.metric == "sqnr" else f"{100 * row.score.value:.1f} %"


def _differing(bench: Bench, scheme: str, test: Samples) -> int:
    from onnx.reference import ReferenceEvaluator

    from potluck import api

    model = prepare(bench.source, scheme, calibration=bench.calibration, dims={"batch": 1})
    given = {name: array[:1] for name, array in test.inputs.items()}
    expected = np.asarray(next(iter(ReferenceEvaluator(ir.to_proto(model)).run(None, given))))
    program = api.compile(api.quantize(bench.source, scheme, calibration=bench.calibration))
    found = next(iter(api.simulate(program, given, "functional").outputs.values()))
    return int(np.count_nonzero(_bits(found) != _bits(expected)))


def _bits(array: NDArray[np.generic]) -> NDArray[np.uint32]:
    return np.ascontiguousarray(array, np.float32).view(np.uint32)


def _allocations(report: Report, network: Network, bench: Bench, samples: Samples) -> None:
    """SigmaQuant after calibration, and with training between its moves."""
    for target, steps in (("size=55%", None), ("size=50%", None), ("size=50%", QAT_STEPS)):
        if steps is None:
            _allocation(report, network, replace(bench, train=None), samples, target)
        elif importlib.util.find_spec("torch") is None:
            report(f"{network.name} SigmaQuant {target}, QAT: left out", 1, "", "needs potluck[train]")
        else:
            from potluck.train import Finetune

            _allocation(report, network, replace(bench, train=Finetune(steps)), samples, target)


def _allocation(report: Report, network: Network, bench: Bench, samples: Samples, target: str) -> None:
    """An assignment beside the uniform networks of about its size."""
    half = len(samples) // 2
    tuning, test = samples.part(slice(0, half)), samples.part(slice(half, None))
    allocator = Allocator(bench, parse(target), ("int2", "int4", "int6", "int8"), tuning)
    found = allocate(allocator, test)
    name = f"{network.name} SigmaQuant {target}, {'PTQ' if bench.train is None else 'QAT'}"
    uniform = "; ".join(
        f"{scheme} {cost:,.0f} B, {100 * value:.1f} %" for scheme, (value, cost) in found.uniform.items()
    )
    report(
        f"{name}: bytes", found.cost, "bytes", uniform,
        f"at most {found.settings.most:,.0f}", found.met,
    )  # fmt: skip
    verdict = found.test["assignment"]
    report(
        f"{name}: tuning agreement", 100 * found.outcome.step.metric, "%",
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
