"""The comparison as a page: metric over bytes, the table, where each format loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from potluck.comparison.rows import Row, worst
from potluck.comparison.table import lines
from potluck.pages.charts import stacked_bars
from potluck.pages.document import Section, document, figure, table, tiles, write_document
from potluck.pages.scatter import Mark, scatter


def write_page(rows: Sequence[Row], left_out: Mapping[str, str], path: Path, title: str) -> Path:
    """Write the comparison, all of it or nothing.

    Args:
        rows: the first is FP32's; fronts are marked.
        left_out: scheme -> why it does not fit the network.
        path: ``.html``.
        title: of the page.

    Raises:
        DataError: another suffix, or it cannot be written.
    """
    return write_document(page(rows, left_out, title), path)


def page(rows: Sequence[Row], left_out: Mapping[str, str], title: str) -> str:
    """The page as HTML; it loads nothing."""
    first = rows[0].score
    head, *body = lines(rows)
    sections = [
        Section("Accuracy and size", _plot(rows), "No row of its mode beats a filled point in metric and bytes."),
        Section("Formats", table(head, body, "Formats"), "95 % intervals; * on the front of its mode."),
        *([Section("Cycles", _cycles(rows), _reasons(rows))] if any(row.cycles for row in rows) else []),
        Section("Weakest layers", _weakest(rows), "The layer with the least signal over noise, against FP32."),
        *(
            [Section("Left out", table(("scheme", "why"), list(left_out.items()), "Schemes that do not fit"))]
            if left_out
            else []
        ),
    ]  # fmt: skip
    return document(title, _answer(rows, first.metric, first.count), sections)


def _answer(rows: Sequence[Row], metric: str, count: int) -> str:
    best = [row for row in rows if row.pareto]
    smallest = min(rows, key=lambda row: row.bytes)
    items = [("formats", str(len(rows))), ("samples", str(count)), ("metric", metric),
             (f"smaller than FP32: {smallest.name}", f"{rows[0].bytes / max(smallest.bytes, 1):.1f}x")]  # fmt: skip
    names = ", ".join(row.name for row in best)
    return f"<p class=answer>On the front of metric and bytes: {escape(names)}.</p>{tiles(items)}"


def _plot(rows: Sequence[Row]) -> str:
    percent = rows[0].score.metric != "sqnr"
    marks = []
    for row in rows:
        estimate = row.score.accuracy if row.score.metric == "accuracy" else row.score.agreement
        factor = 100 if percent else 1
        interval = (100 * estimate.low, 100 * estimate.high) if percent and estimate is not None else None
        value = factor * row.score.value
        if value != value or abs(value) == float("inf"):
            continue  # FP32 beside itself has no noise
        marks.append(
            Mark(
                row.bytes / 1024, value, row.mode, f"{row.name}: {value:.4g}, {row.bytes:,} bytes", row.name,
                row.pareto, interval,
            )
        )  # fmt: skip
    up = f"{rows[0].score.metric}, {'%' if percent else 'dB'}"
    return figure(scatter(marks, "KiB of weights", up, f"{up} over size"), f"{up} over KiB of weights")


def _cycles(rows: Sequence[Row]) -> str:
    bars = [(row.name, {"cycles": float(row.cycles)}) for row in rows if row.cycles is not None]
    return figure(stacked_bars(bars, "cycles", "cycles of a batch"), "Cycles of a batch")


def _reasons(rows: Sequence[Row]) -> str:
    missing = [f"{row.name}: {row.note}" for row in rows if row.cycles is None]
    return f"Not simulated: {'; '.join(missing)}." if missing else ""


def _weakest(rows: Sequence[Row]) -> str:
    found = [(row.name, *worst(row)) for row in rows if row.layers]
    return table(("scheme", "layer", "SQNR, dB"), [(name, where, f"{noise:.1f}") for name, where, noise in found],
                 "Weakest layer of each format")  # fmt: skip
