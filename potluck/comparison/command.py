"""``potluck formats``: reads, compares, prints and writes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from potluck.comparison.page import write_page
from potluck.comparison.plot import check_plot, draw
from potluck.comparison.rows import Comparison, Row, fronts
from potluck.comparison.table import show, write_csv
from potluck.compiler.quantizers.bbq_inference import BbqCeilingWarning
from potluck.compiler.schemes import schemes, written
from potluck.compiler.schemes.assignment import load
from potluck.digest import digest_of
from potluck.evaluation.metrics import ENOUGH_LABELS
from potluck.evaluation.network import Bench, graph_inputs
from potluck.evaluation.samples import read, split
from potluck.isa.errors import DataError, PotluckError
from potluck.pages.document import check_suffix

ENOUGH = 500
"""Inputs below which the comparison says that they are few."""


def default_schemes() -> list[str]:
    """Every scheme that quantizes trained FP32 networks."""
    return [
        name for name, scheme in schemes().items() if scheme.by_layer and name != "none" and "bbq" not in name
    ]


def run(
    model: Path,
    data: Path,
    console: Console,
    *,
    calibration: Path | None = None,
    names: Sequence[str] | None = None,
    assignments: Sequence[Path] = (),
    trained: Sequence[Path] = (),
    machine: Any = None,
    metric: str = "auto",
    limit: int | None = None,
    batch: int = 32,
    options: dict[str, Any] | None = None,
    plot: Path | None = None,
    csv: Path | None = None,
    report: Path | None = None,
) -> dict[str, Any]:
    """Compares formats.

    Args:
        model: ONNX file in FP32.
        data: Samples as .npz.
        console: For the table.
        calibration: Samples that fix ranges, if not the first of the data.
        names: Schemes; all that quantize trained networks if none are given. FP32 is always there.
        assignments: Files of mixed precision, a row each.
        trained: Networks that were trained in their formats, a row each.
        machine: Description, for cycles and energy; None leaves them out.
        metric: See `potluck.evaluation.metrics.score`.
        limit: Use the first so many samples.
        batch: Samples at a time.
        options: Of quantization.
        plot: Where the Pareto plot goes.
        csv: Where the table goes as CSV.
        report: Where the page goes, ``.html``.

    Returns:
        The comparison as plain JSON values. A scheme that does not fit the network is in ``left_out`` with its error.

    Raises:
        ModelError: A scheme is unknown.
        DataError: The data do not fit the network.
    """
    if report is not None:
        check_suffix(report)
    if plot is not None:
        check_plot(plot)
    chosen = list(dict.fromkeys(["fp32", *(names or default_schemes())]))
    for name in chosen:
        written.parse(name)
    bound = (options or {}).get("bind") or {}
    inputs = [value for value in graph_inputs(model) if value.name not in bound]
    samples = read(data, inputs)
    if limit is not None:
        samples = samples.part(slice(0, limit))
    given = read(calibration, inputs) if calibration is not None else None
    fixed, (test,) = split(samples, given, (1.0,))
    comparison = Comparison(Bench(model, fixed.inputs, batch, options or {}), test, machine, metric)
    left_out: dict[str, str] = {}

    def attempt(name: str, add: Any) -> None:
        with console.status(f"{name} ..."):
            try:
                add()
            except PotluckError as error:
                left_out[name] = str(error)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BbqCeilingWarning)
        comparison.add("fp32", "fp32")  # what is wrong with the network is wrong with all rows
        for name in chosen[1:]:
            attempt(name, lambda name=name: comparison.add(name, name))
        for path in assignments:
            assignment = load(path)
            attempt(path.stem, lambda path=path, assignment=assignment: comparison.add(path.stem, assignment))
        for path in trained:
            attempt(path.stem, lambda path=path: comparison.add_trained(path))
    rows = marked(comparison.rows)
    show(rows, console)
    notes(rows, left_out, console)
    if plot is not None:
        draw(rows, plot, f"{model.stem}, {len(test)} samples")
    if csv is not None:
        write_csv(rows, csv)
    if report is not None:
        write_page(rows, left_out, report, f"Formats of {model.stem}")
    if left_out and len(rows) == 1:
        raise DataError(f"no scheme fits the network: {next(iter(left_out.values()))}")
    return {
        "model": str(model),
        "model_sha256": digest_of(model),
        "machine": machine.name if machine is not None else None,
        "metric": rows[0].score.metric,
        "data": {
            name: {"samples": len(part), "sha256": part.sha256}
            for name, part in (("calibration", fixed), ("test", test))
        },
        "rows": [row.to_json() for row in rows],
        "fronts": {mode: [row.name for row in front] for mode, front in fronts(rows).items()},
        "left_out": left_out,
    }  # fmt: skip


def marked(rows: Sequence[Row]) -> list[Row]:
    """The rows, those on a front marked."""
    best = {id(row) for front in fronts(rows).values() for row in front}
    return [replace(row, pareto=id(row) in best) for row in rows]


def notes(rows: Sequence[Row], left_out: dict[str, str], console: Console) -> None:
    """What a reader of the table has to know."""
    first = rows[0].score
    reason = ""
    if first.metric == "agreement" and first.accuracy is not None:
        reason = f" (fewer than {ENOUGH_LABELS:,} labels)"
    console.print(
        f"metric: {first.metric}{reason} of {first.count} samples, 95 % intervals; * on the front of its mode (metric, "
        f"bytes); evaluated by {'; '.join(dict.fromkeys(row.engines for row in rows))}",
        highlight=False,
    )
    if first.count < ENOUGH:
        console.print(f"[yellow]{first.count} samples are few[/]: intervals are wide", highlight=False)
    for row in rows:
        if row.cycles is None and row.note != "not asked for":
            console.print(f"{row.name} was not simulated: {row.note}", highlight=False, markup=False)
    for name, error in left_out.items():
        console.print(f"{name} left out: {error}", highlight=False, markup=False)
