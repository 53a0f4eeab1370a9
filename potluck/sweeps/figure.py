"""The Pareto plot of a sweep: a page with tables, or an image."""

from __future__ import annotations

from html import escape
from pathlib import Path

from potluck.isa.errors import DataError, ToolError
from potluck.pages.document import Section, document, figure, table
from potluck.pages.scatter import Mark, scatter
from potluck.parallel.folder import Record
from potluck.replacing import replace_text, replacing
from potluck.sweeps.api import DEFAULT, Swept
from potluck.sweeps.table import lines

PAGE, IMAGES = ".html", (".png", ".svg", ".pdf")
"""Suffixes."""
COLOURS = ("#1f5fa8", "#b5451b", "#4d7f3a", "#7a2f6b", "#8a6d1d", "#3a7f7f", "#444444")
"""Of machines and schemes in an image, in turn."""
LABELS = {
    "seconds": ("ms", 1e3), "cycles": ("cycles", 1.0), "energy_joules": ("energy, µJ", 1e6),
    "area_gates": ("area, Mgates", 1e-6), "dram_bytes": ("DRAM traffic, MB", 1e-6),
    "utilization": ("utilization, %", 100.0), "metric_value": ("metric", 1.0),
}  # fmt: skip
"""Objective -> axis and factor."""


def axes_of(swept: Swept) -> tuple[str, str]:
    """What the plot has across and up: the first two objectives, or the usual second."""
    names = [*swept.objectives, *(name for name in DEFAULT if name not in swept.objectives)]
    return names[0], names[1]


def plotted(swept: Swept) -> list[tuple[Record, float, float]]:
    """Rows with both coordinates in the units of `LABELS`."""
    places = []
    for row in swept.rows:
        across, up = (row.get("dram.bytes" if name == "dram_bytes" else name) for name in axes_of(swept))
        if not row["error"] and across is not None and up is not None:
            factor_x, factor_y = (LABELS[name][1] for name in axes_of(swept))
            places.append((row, float(across) * factor_x, float(up) * factor_y))
    return places


def label(swept: Swept, row: Record) -> str:
    """A point in words."""
    return ", ".join([row["machine"], row["scheme"], *(f"{key}={row.get(key)}" for key in swept.axes)])


def groups(swept: Swept) -> dict[tuple[str, str], str]:
    """Machine and scheme -> colour."""
    names = dict.fromkeys((row["machine"], row["scheme"]) for row, _, _ in plotted(swept))
    return {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(names)}


def svg(swept: Swept) -> str:
    """The plot as SVG text; the same rows give the same text."""
    across, up = (LABELS[name][0] for name in axes_of(swept))
    marks = [
        Mark(
            x, y, f"{row['machine']}, {row['scheme']}", name=str(row["id"]) if row["pareto"] else "",
            front=bool(row["pareto"]), hint=f"{row['id']}: {label(swept, row)}: {x:.5g} {across}, {y:.5g} {up}",
        )
        for row, x, y in plotted(swept)
    ]  # fmt: skip
    return scatter(marks, across, up, f"{up} over {across}")


def page(swept: Swept) -> str:
    """The page as HTML; it loads nothing."""
    head, *rows = lines(swept, swept.rows)
    best = lines(swept, swept.front)
    errors = [(str(row["id"]), label(swept, row), row["error"]) for row in swept.failed]
    versions = ", ".join(f"{name} {version}" for name, version in swept.versions.items())
    missing = swept.points - len(swept.rows)
    answer = (
        f"<p class=answer>{len(swept.rows)} points{f', {missing} have not run' if missing else ''}. Filled points are "
        f"not beaten in all of {escape(', '.join(swept.objectives))}.</p>"
    )
    across, up = (LABELS[name][0] for name in axes_of(swept))
    sections = [
        Section("Plot", figure(svg(swept), f"{up} over {across}")),
        Section("Front", table(best[0], best[1:], "Points that no other beats")),
        Section("All points", table(head, rows, "All points")),
        *(
            [Section("Errors", table(("point", "what", "error"), errors, "Points that failed"))]
            if errors
            else []
        ),
        Section("Made by", f"<p>{escape(versions)}</p>"),
    ]
    return document(f"Sweep of {Path(swept.model).name}", answer, sections)


def check_plot(path: Path) -> None:
    """Refuses what is no page and no image; called before any work.

    Raises:
        DataError: names the file and the suffixes.
    """
    if path.suffix not in (PAGE, *IMAGES):
        raise DataError(f"--plot {path.name!r}: unknown suffix", hint=f"Use {PAGE}, {', '.join(IMAGES)}")


def write_report(swept: Swept, path: Path) -> Path:
    """Write ``.html``, or the plot alone as ``.png``, ``.svg`` or ``.pdf``, all of it or nothing.

    Raises:
        DataError: another suffix, or it cannot be written.
        ToolError: an image needs matplotlib.
    """
    check_plot(path)
    try:
        if path.suffix == PAGE:
            replace_text(path, page(swept))
        else:
            _draw(swept, path)
    except OSError as problem:
        raise DataError(f"cannot write {path}: {problem.strerror}") from None
    return path


def _draw(swept: Swept, path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ToolError(
            "plots need matplotlib", tool="matplotlib", hint="pip install 'potluck[plot]', or give .html"
        ) from None
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    found = plotted(swept)
    best = sorted((x, y) for row, x, y in found if row["pareto"])
    axes.plot([x for x, _ in best], [y for _, y in best], color="#aaaaaa", linewidth=1, zorder=0)
    for name, colour in groups(swept).items():
        own = [(row, x, y) for row, x, y in found if (row["machine"], row["scheme"]) == name]
        axes.scatter([x for _, x, _ in own], [y for _, _, y in own], edgecolors=colour, label=", ".join(name), s=28,
                     c=[colour if row["pareto"] else "white" for row, _, _ in own])  # fmt: skip
        for row, x, y in own:
            if row["pareto"]:
                axes.annotate(str(row["id"]), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=8)
    across, up = (LABELS[name][0] for name in axes_of(swept))
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_title(f"{Path(swept.model).name}: filled points are on the front", fontsize=10)
    axes.grid(alpha=0.25)
    if found:
        axes.legend(fontsize=8)
    with replacing(path) as draft:
        figure.savefig(draft, dpi=150)
