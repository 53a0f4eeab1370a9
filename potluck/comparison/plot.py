"""The Pareto plot: task metric over effective bytes of the weights, one front for each way of quantizing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from potluck.comparison.rows import Row, fronts
from potluck.evaluation.metrics import Estimate
from potluck.isa.errors import DataError, ToolError
from potluck.replacing import replacing

STYLES = {"FP32": ("s", "#555555"), "PTQ": ("o", "#1f5fa8"), "QAT": ("^", "#b5451b")}
"""Mode -> marker and colour."""
SUFFIXES = (".svg", ".png", ".pdf")
OFFSETS = ((4, 3), (-10, 3), (4, -9), (-10, -9))
"""Where a point's number stands, in turn, so that neighbours' do not cover each other."""


def check_plot(path: Path) -> None:
    """Refuses what is no plot; called before any work.

    Raises:
        DataError: names the file and the suffixes.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"--plot {path.name!r}: unknown suffix", hint=f"Use one of {', '.join(SUFFIXES)}")


def draw(rows: Sequence[Row], path: Path, title: str = "") -> None:
    """Writes the plot, all of it or nothing; the same rows give the same SVG.

    Args:
        rows: To show.
        path: SVG, PNG or PDF, by its suffix.
        title: Above the plot.

    Raises:
        DataError: Another suffix.
        ToolError: matplotlib is not installed.
    """
    check_plot(path)
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise ToolError(
            "plots need matplotlib", tool="matplotlib", hint="pip install 'potluck[plot]'"
        ) from None
    best = fronts(rows)
    figure = Figure(figsize=(9, max(5.0, 0.16 * len(rows))), layout="constrained")
    axes = figure.add_subplot()
    share = all(row.score.metric != "sqnr" for row in rows)
    factor = 100 if share else 1
    drawn = [row for row in rows if np.isfinite(row.score.value)]  # FP32 has no SQNR
    floor = _floor([factor * row.score.value for row in drawn])
    for mode, (marker, colour) in STYLES.items():
        own = [row for row in drawn if row.mode == mode]
        if not own:
            continue
        shown = [row for row in own if factor * row.score.value >= floor]
        x, y = [row.bytes / 1024 for row in shown], [factor * row.score.value for row in shown]
        axes.errorbar(x, y, yerr=_bars(shown, factor), fmt=marker, color=colour, ecolor=colour, elinewidth=0.8,
                      capsize=2, markersize=5, label=mode)  # fmt: skip
        front = best.get(mode, [])
        if front:
            axes.step([row.bytes / 1024 for row in front], [factor * row.score.value for row in front],
                      where="post", color=colour, linewidth=1, alpha=0.6, label=f"{mode} front")  # fmt: skip
        below = [row for row in own if row not in shown]
        axes.plot([row.bytes / 1024 for row in below], [floor] * len(below), "v", color=colour, markersize=5)
    for index, row in enumerate(drawn):
        where = (row.bytes / 1024, max(floor, factor * row.score.value))
        axes.annotate(
            str(index + 1),
            where,
            xytext=OFFSETS[index % len(OFFSETS)],
            textcoords="offset points",
            fontsize=7,
        )
    top = max((factor * row.score.value for row in drawn), default=1.0)
    margin = 0.05 * ((top - floor) or 1.0)
    axes.set_ylim(floor - margin, top + margin)
    key = [f"{index + 1:>2} {row.name}{_below(row, factor, floor)}" for index, row in enumerate(drawn)]
    axes.text(1.02, 1.0, "\n".join(key), transform=axes.transAxes, va="top", fontsize=7, family="monospace")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("effective bytes of weights, KiB (scales and padding counted)")
    name = rows[0].score.metric if rows else "metric"
    axes.set_ylabel(f"{name}, % (95 % interval)" if share else "SQNR of the outputs, dB")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="lower right")
    plain: dict[str, Any] = {"Date": None} if path.suffix == ".svg" else {}
    with replacing(path) as draft, matplotlib.rc_context({"svg.hashsalt": "potluck"}):
        figure.savefig(draft, dpi=150, metadata=plain)


def _floor(values: Sequence[float]) -> float:
    """Where the axis begins: rows far below the median would press all others into a line."""
    if not values:
        return 0.0
    top, middle = max(values), float(np.median(values))
    return max(min(values), top - max(8 * (top - middle), 0.02 * abs(top)))


def _below(row: Row, factor: float, floor: float) -> str:
    """A row's value if it lies below the axis."""
    value = factor * row.score.value
    return f" ({value:.1f})" if value < floor else ""


def _bars(rows: Sequence[Row], factor: float) -> list[list[float]] | None:
    """Distances to both ends of the intervals."""
    found: list[Estimate | None] = [getattr(row.score, row.score.metric, None) for row in rows]
    if not all(isinstance(item, Estimate) for item in found):
        return None
    pairs = [(item.value - item.low, item.high - item.value) for item in found if isinstance(item, Estimate)]
    return [[factor * max(0.0, pair[i]) for pair in pairs] for i in (0, 1)]
