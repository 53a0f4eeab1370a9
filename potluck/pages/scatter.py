"""Points over two axes, those on a front filled and joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from potluck.pages.charts import WIDTH, colour, start, text

HEIGHT, BOTTOM, EDGE = 420, 380, 70


@dataclass(frozen=True)
class Mark:
    """A point.

    Attributes:
        x: across.
        y: up.
        series: what gives it its colour.
        hint: shown when pointed at.
        name: beside it, if there is one.
        front: whether no other point is better in both.
        interval: of `y`.
    """

    x: float
    y: float
    series: str
    hint: str
    name: str = ""
    front: bool = False
    interval: tuple[float, float] | None = None


def scatter(marks: Sequence[Mark], across: str, up: str, label: str) -> str:
    """Marks on linear axes; `across` and `up` name them with their units."""
    series = list(dict.fromkeys(mark.series for mark in marks))
    xs = [mark.x for mark in marks]
    ys = [y for mark in marks for y in (mark.y, *(mark.interval or ()))]
    low_x, step_x = _scale(xs, WIDTH - EDGE - 60)
    low_y, step_y = _scale(ys, BOTTOM - 30)

    def place(x: float, y: float) -> tuple[float, float]:
        return EDGE + 10 + (x - low_x) * step_x, BOTTOM - 10 - (y - low_y) * step_y

    out = [start(HEIGHT + 20 * len(series), label)]
    out.append(f'<path class="axis" d="M{EDGE} 10V{BOTTOM}H{WIDTH - 10}"/>')
    out += [
        text(place(value, low_y)[0], BOTTOM + 15, f"{value:.4g}", "middle", "soft") for value in _ticks(xs)
    ]
    out += [text(EDGE - 6, place(low_x, value)[1] + 4, f"{value:.4g}", "end", "soft") for value in _ticks(ys)]
    out += [text((EDGE + WIDTH) / 2, BOTTOM + 34, across, "middle"), text(EDGE + 6, 18, up)]
    best = sorted(place(mark.x, mark.y) for mark in marks if mark.front)
    if len(best) > 1:
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in best)
        out.append(f'<polyline points="{corners}" fill="none" stroke="var(--soft)"/>')
    for mark in marks:
        x, y = place(mark.x, mark.y)
        ink = colour(series.index(mark.series))
        if mark.interval is not None:
            low, high = (place(mark.x, end)[1] for end in mark.interval)
            out.append(f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="{ink}" stroke-opacity=".5"/>')
        out.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{5 if mark.front else 3.5}" '
            f'fill="{ink if mark.front else "var(--ground)"}" stroke="{ink}" stroke-width="1.5">'
            f"<title>{escape(mark.hint)}</title></circle>"
        )
        if mark.name:
            out.append(text(x + 7, y - 5, mark.name))
    for number, name in enumerate(series):
        y = HEIGHT + 20 * number
        out.append(f'<rect x="{EDGE}" y="{y}" width="10" height="10" fill="{colour(number)}"/>')
        out.append(text(EDGE + 16, y + 9, name))
    return "\n".join([*out, "</svg>"])


def _scale(values: Sequence[float], length: int) -> tuple[float, float]:
    """The least value, and pixels for each unit."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return low, length / ((high - low) or abs(high) or 1.0)


def _ticks(values: Sequence[float]) -> list[float]:
    if not values or min(values) == max(values):
        return list(values[:1])
    low, high = min(values), max(values)
    return [low + (high - low) * k / 4 for k in range(5)]
