"""Outcomes of cells as stacked bars with the interval of the SDC share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from potluck.replacing import replacing

COLOURS = {
    "masked": "#d9dfe4", "tolerable": "#a9c6b0", "due": "#6f9fcf", "sdc": "#b5451b", "non-finite": "#7a2f6b",
    "crash": "#444444", "hang": "#999999",
}  # fmt: skip
"""Outcome -> colour, in the order of the bars."""
BAR, ROW, LEFT, WIDTH = 14, 22, 380, 560

Cells = Sequence[Mapping[str, Any]]


def ordered(cells: Cells) -> list[Mapping[str, Any]]:
    """By stored check bits; cells without trials left out."""
    return sorted((c for c in cells if c["trials"]), key=lambda c: (c["check_bits"], c["cell"]))


def label(cell: Mapping[str, Any]) -> str:
    """Of a bar."""
    return f"{cell['stack']} ({cell['check_bits']}), {cell['scheme']}, {cell['faults']}"


def shares_svg(cells: Cells) -> str:
    """Bars as SVG text; the same cells give the same text."""
    shown = ordered(cells)
    height = ROW * len(shown) + 44
    parts = [
        f'<svg viewBox="0 0 {LEFT + WIDTH + 20} {height}" width="{LEFT + WIDTH + 20}" role="img" '
        'aria-label="Shares of outcomes by cell" font-family="system-ui,sans-serif" font-size="12">'
    ]
    for row, cell in enumerate(shown):
        y = ROW * row + 4
        parts.append(f'<text x="{LEFT - 8}" y="{y + BAR - 3}" text-anchor="end">{escape(label(cell))}</text>')
        x = float(LEFT)
        for name, colour in COLOURS.items():
            width = WIDTH * cell["outcomes"][name] / cell["trials"]
            if width:
                what = f"{name}: {cell['outcomes'][name]} of {cell['trials']}"
                parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}">'
                             f"<title>{escape(what)}</title></rect>")  # fmt: skip
                x += width
        low, high = (LEFT + WIDTH * cell["shares"]["sdc"][end] for end in ("low", "high"))
        parts.append(f'<path d="M{low:.1f} {y + BAR + 3}H{high:.1f}M{low:.1f} {y + BAR}v6M{high:.1f} {y + BAR}v6" '
                     'stroke="#b5451b" fill="none"/>')  # fmt: skip
    y, x = ROW * len(shown) + 16, LEFT
    for name, colour in COLOURS.items():
        parts.append(f'<rect x="{x}" y="{y}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="{y + 10}">{escape(name)}</text>')
        x += 80
    parts.append(
        f'<text x="{LEFT - 8}" y="{y + 10}" text-anchor="end">whiskers: interval of the SDC share</text></svg>'
    )
    return "\n".join(parts)


def draw_png(cells: Cells, path: Path) -> None:
    """The same bars as PNG, all of it or nothing; needs matplotlib."""
    from matplotlib.figure import Figure

    shown = ordered(cells)
    figure = Figure(figsize=(11, max(2.0, 0.3 * len(shown) + 1)), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    places = list(range(len(shown)))
    left = [0.0] * len(shown)
    for name, colour in COLOURS.items():
        widths = [100 * c["outcomes"][name] / c["trials"] for c in shown]
        axes.barh(places, widths, left=left, color=colour, label=name, height=0.7)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for place, cell in zip(places, shown, strict=True):
        share = cell["shares"]["sdc"]
        axes.plot(
            [100 * share["low"], 100 * share["high"]], [place + 0.42] * 2, color=COLOURS["sdc"], linewidth=1.5
        )
    axes.set_yticks(places, [label(c) for c in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("% of trials; line below a bar: interval of the SDC share")
    axes.set_xlim(0, 100)
    figure.legend(loc="outside upper center", ncols=len(COLOURS), fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
