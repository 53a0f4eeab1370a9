"""The comparison as a table for people, and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from potluck.comparison.rows import Row, worst
from potluck.evaluation.metrics import Estimate
from potluck.replacing import replacing
from potluck.report import aligned

COLUMNS = ("accuracy", "difference", "agreement")


def lines(rows: Sequence[Row]) -> list[list[str]]:
    """The head and a line per row; stars mark the fronts."""
    labelled = any(row.score.accuracy is not None for row in rows)
    classes = any(row.score.agreement is not None for row in rows)
    timed = any(row.cycles is not None for row in rows)
    names = ["scheme", "mode", *(["accuracy %", "vs FP32"] if labelled else []), *(["agreement %"] if classes else []),
             "SQNR dB", "worst layer", "W/A bits", "eff. bits", "bytes", "kept high",
             *(["cycles", "µJ"] if timed else [])]  # fmt: skip
    table = [names]
    for row in rows:
        where, noise = worst(row)
        cells = [f"{row.name}{' *' if row.pareto else ''}", row.mode]
        if labelled:
            cells += [_percent(row.score.accuracy), _points(row.score.difference)]
        if classes:
            cells.append(_percent(row.score.agreement))
        cells += [
            _decibels(row.score.sqnr), f"{where} {_decibels(noise)}".strip(),
            f"{row.weight_bits}/{row.activation_bits}", f"{row.effective_bits:.2f}", f"{row.bytes:,}",
            str(len(row.kept_high)),
        ]  # fmt: skip
        if timed:
            simulated = row.cycles is not None and row.joules is not None
            cells += [
                f"{row.cycles:,}" if simulated else "-",
                f"{1e6 * (row.joules or 0):.1f}" if simulated else "-",
            ]
        table.append(cells)
    return table


def show(rows: Sequence[Row], console: Console) -> None:
    """One line per row."""
    aligned(lines(rows), {0, 1}, console)
    paths: dict[str, list[str]] = {}
    for row in rows:
        if row.path:
            paths.setdefault(row.path, []).append(row.name)
    for path, users in paths.items():
        console.print(f"{', '.join(users)}: {path}", highlight=False, markup=False, soft_wrap=True)


def _percent(estimate: Estimate | None) -> str:
    return "-" if estimate is None else str(estimate)


def _points(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{100 * estimate.value:+.1f} [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"


def _decibels(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else "-"


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """A line per row, with a column of SQNR for every layer; all of it or nothing."""
    layers = list(dict.fromkeys(name for row in rows for name in row.layers))
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        bounds = [f"{name}{end}" for name in COLUMNS for end in ("", "_low", "_high")]
        out.writerow(
            ["scheme", "mode", "metric", "value", "samples", *bounds, "sqnr_db", "weight_bits", "activation_bits",
             "effective_bits", "bytes", "kept_high", "cycles", "joules", "batch", "multiplies_with", "pareto", "note",
             *(f"sqnr_db:{name}" for name in layers)]
        )  # fmt: skip
        for row in rows:
            cells: list[object] = [row.name, row.mode, row.score.metric, row.score.value, row.score.count]
            for name in COLUMNS:
                item: Estimate | None = getattr(row.score, name)
                cells += ["", "", ""] if item is None else [item.value, item.low, item.high]
            cells += [row.score.sqnr, row.weight_bits, row.activation_bits, row.effective_bits, row.bytes]
            cells += [
                ";".join(row.kept_high),
                row.cycles,
                row.joules,
                row.batch or "",
                row.path,
                row.pareto,
                row.note,
            ]
            out.writerow([*cells, *(row.layers.get(name, "") for name in layers)])
