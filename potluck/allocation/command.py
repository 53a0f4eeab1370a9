"""``potluck allocate``: reads, runs SigmaQuant, prints and writes what it found."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from potluck.allocation.sigmaquant import WIDTHS, Allocation, Allocator, allocate
from potluck.allocation.targets import ON_MACHINE, UNITS, Target, parse
from potluck.compiler.ptq.data import check_disjoint
from potluck.compiler.schemes import Trainer
from potluck.digest import digest_of
from potluck.evaluation.network import Bench, graph_inputs
from potluck.evaluation.samples import Samples, read, split
from potluck.isa.machine import load_machine


def run(
    model: Path,
    target: str,
    data: Path,
    output: Path,
    console: Console,
    *,
    calibration: Path | None = None,
    schemes: list[str] | None = None,
    machine: Any = "spatz-mx",
    metric: str = "auto",
    sensitivity: str = "noise",
    exclude: list[str] | None = None,
    limit: int | None = None,
    batch: int = 32,
    options: dict[str, Any] | None = None,
    train: Trainer | None = None,
    training: Path | None = None,
    network: Path | None = None,
    **search: Any,
) -> tuple[Allocation, dict[str, Any]]:
    """Allocates, prints tables and writes the assignment.

    Args:
        model: ONNX file in FP32.
        target: See `potluck.allocation.targets.parse`.
        data: Samples as .npz.
        output: Where the assignment goes.
        console: For tables.
        calibration: Samples that fix ranges, if not the first of the data.
        schemes: Candidates, fidelity ascending.
        machine: For cycles and joules: its name, file or description.
        metric: See `potluck.evaluation.metrics.score`.
        sensitivity: See `Allocator`.
        exclude: Layers that stay in FP32.
        limit: Use the first so many samples.
        batch: Samples at a time.
        options: Of quantization.
        train: Trains every assignment before it is judged.
        training: Samples for it, if not those that fix ranges.
        network: Where the network of the assignment goes.
        search: See `potluck.allocation.sigmaquant.allocate`.

    Returns:
        What was found, and the report as plain JSON values.
    """
    wanted = parse(target)
    inputs = [value for value in graph_inputs(model) if value.name not in ((options or {}).get("bind") or {})]
    samples = read(data, inputs)
    if limit is not None:
        samples = samples.part(slice(0, limit))
    given = read(calibration, inputs) if calibration is not None else None
    fixed, (tuning, test) = split(samples, given, (0.5, 0.5))
    parts = {"calibration": fixed, "tuning": tuning, "test": test}
    if training is not None:
        parts["training"] = read(training, inputs)
        check_disjoint(training=parts["training"].inputs, tuning=tuning.inputs, test=test.inputs)
    bench = Bench(
        model, fixed.inputs, batch, options or {}, train, parts["training"].inputs if training else None
    )
    target_machine = None
    if wanted.kind in ON_MACHINE:
        target_machine = load_machine(machine) if isinstance(machine, str) else machine
    allocator = Allocator(
        bench, wanted, tuple(schemes or WIDTHS[wanted.kind]), tuning, target_machine, metric, sensitivity, exclude or ()
    )  # fmt: skip
    found = allocate(allocator, test, **search)
    found.assignment.save(output)
    made = report(found, wanted, model, parts, target_machine.name if target_machine is not None else None)
    made["sensitivity"] = sensitivity
    made["mode"] = "PTQ: calibration instead of the paper's training" if train is None else f"QAT: {train}"
    show(found, wanted, console)
    console.print(f"wrote {output}")
    if network is not None:
        bench.trained(found.assignment, batch=1).save(network)
        console.print(f"wrote {network}")
    return found, made


def report(
    found: Allocation, target: Target, model: Path, parts: dict[str, Samples], machine: str | None
) -> dict[str, Any]:
    """Everything as plain JSON values."""
    chosen = found.assignment.layers
    layers = []
    for name in found.layers:
        rows = {
            scheme: {
                "bits": item.footprint.bits,
                "activation_bits": item.footprint.activation_bits,
                "bytes": item.footprint.bytes,
                "bops": item.footprint.bops,
                "kl": item.divergence,
                **(asdict(item.machine) if item.machine is not None else {}),
            }
            for (layer, scheme), item in found.candidates.items()
            if layer == name
        }
        first = found.candidates[name, chosen[name]].footprint
        layers.append(
            {
                "name": name, "op": first.operator, "weights": first.elements, "macs": first.macs,
                "sigma": found.sigmas[name], "scheme": chosen[name], "bits": first.bits,
                "effective_bits": first.effective_bits, "ladder": list(found.ladders[name]), "candidates": rows,
            }
        )  # fmt: skip
    return {
        "model": str(model),
        "model_sha256": digest_of(model),
        "target": str(target),
        "unit": UNITS[target.kind],
        "machine": machine,
        "status": found.outcome.status,
        "reason": found.outcome.reason,
        "metric": found.metric,
        "settings": asdict(found.settings),
        "assignment": found.assignment.to_json(),
        "cost": found.cost,
        "weight_bytes": found.bytes,
        "tuning_metric": found.outcome.step.metric,
        "test": {name: asdict(item) for name, item in found.test.items()},
        "uniform": {
            name: {"tuning_metric": value, "cost": cost} for name, (value, cost) in found.uniform.items()
        },
        "layers": layers,
        "steps": [asdict(step) for step in found.outcome.steps],
        "data": {name: {"samples": len(part), "sha256": part.sha256} for name, part in parts.items()},
        "evaluated_on": found.engines,
    }


def show(found: Allocation, target: Target, console: Console) -> None:
    """Layers, moves and the verdict."""
    clusters = _clusters(found)
    names = ["layer", "weights", "sigma", *(["cluster"] if clusters else []), "KL", "bits", "scheme"]
    table = Table(*names, box=None)
    for index, name in enumerate(found.layers):
        scheme = found.assignment.layers[name]
        item = found.candidates[name, scheme]
        table.add_row(
            name, f"{item.footprint.elements:,}", f"{found.sigmas[name]:.4f}",
            *([str(clusters[index])] if clusters else []),
            f"{item.divergence:.4f}", f"{item.footprint.effective_bits:.2f}", scheme,
        )  # fmt: skip
    console.print(table)
    moves = Table("phase", "round", "moved", found.metric, UNITS[target.kind], "then", box=None)
    for step in found.outcome.steps:
        if step.phase == 1:
            text = f"clusters, penalty {step.penalty:g}"
        else:
            text = ", ".join(f"{name} {a} to {b}" for name, (a, b) in step.moved.items()) or step.reason
        moves.add_row(
            str(step.phase), str(step.round), text, f"{step.metric:.4f}", f"{step.cost:,.6g}", step.zone
        )
    console.print(moves)
    settings, step, test = found.settings, found.outcome.step, found.test["assignment"]
    colour = "green" if found.met else "red"
    console.print(f"[{colour}]{found.outcome.status}[/]: {found.outcome.reason}", highlight=False)
    console.print(
        f"{target}: {found.cost:,.6g} of {settings.most:,.6g} {UNITS[target.kind]}; {found.metric} "
        f"{step.metric:.4f} of {settings.least:.4f} on tuning samples, {test.value:.4f} on test samples "
        f"({test.count}; the start has {found.test['start'].value:.4f})",
        highlight=False,
    )


def _clusters(found: Allocation) -> tuple[int, ...]:
    return next((step.clusters for step in reversed(found.outcome.steps) if step.clusters), ())
