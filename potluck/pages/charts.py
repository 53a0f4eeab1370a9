"""Figures as SVG text; the same numbers give the same text. Colours are the page's variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, LEFT, BAR, STEP = 960, 230, 14, 20
COLOURS = 10


def colour(number: int) -> str:
    """The page's variable for the n-th series."""
    return f"var(--c{number % COLOURS})"


def start(height: float, label: str) -> str:
    """The opening tag of a drawing that a screen reader calls `label`."""
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img" aria-label="{escape(label)}">'


def text(x: float, y: float, content: str, anchor: str = "start", style: str = "") -> str:
    """A word at a place."""
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(content)}</text>'


def box(x: float, y: float, width: float, height: float, fill: str, hint: str) -> str:
    """A rectangle that says what it is."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.2f}" height="{height:.1f}" fill="{fill}">'
        f"<title>{escape(hint)}</title></rect>"
    )


def legend(names: Sequence[str], y: float, x: float = LEFT) -> list[str]:
    """Names of series beside their colours."""
    parts = []
    for number, name in enumerate(names):
        parts += [
            f'<rect x="{x:.0f}" y="{y:.0f}" width="10" height="10" fill="{colour(number)}"/>',
            text(x + 14, y + 10, name),
        ]
        x += 30 + 7 * len(name)
    return parts


def short(name: str, most: int = 32) -> str:
    """A name that fits beside a bar: its beginning and its end."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-(most - most // 2) :]}"


def stacked_bars(rows: Sequence[tuple[str, Mapping[str, float]]], unit: str, label: str) -> str:
    """A bar for each row from its parts, all on one scale.

    Args:
        rows: name, and value by part.
        unit: of the values.
        label: of the drawing.
    """
    names = [
        name
        for name in dict.fromkeys(n for _, parts in rows for n in parts)
        if any(p.get(name) for _, p in rows)
    ]
    longest = max((sum(parts.values()) for _, parts in rows), default=0.0) or 1.0
    room = WIDTH - LEFT - 90
    out = [start(STEP * len(rows) + 34, label)]
    for place, (name, parts) in enumerate(rows):
        y, x = STEP * place + 4, float(LEFT)
        out.append(text(LEFT - 8, y + BAR - 3, short(name), "end"))
        for number, part in enumerate(names):
            width = room * parts.get(part, 0.0) / longest
            if width > 0:
                out.append(box(x, y, width, BAR, colour(number), f"{name}: {part} {parts[part]:,.6g} {unit}"))
                x += width
        out.append(text(x + 6, y + BAR - 3, amount(sum(parts.values())), style="soft"))
    if len(names) > 1:
        out += legend(names, STEP * len(rows) + 14)
    return "\n".join([*out, "</svg>"])


@dataclass(frozen=True)
class Span:
    """A piece of a timeline.

    Attributes:
        name: shown when pointed at.
        kind: what gives it its colour.
        begin, end: on the axis.
    """

    name: str
    kind: str
    begin: float
    end: float


def timeline(spans: Sequence[Span], unit: str, label: str) -> str:
    """Spans on a line of time for each kind; neighbours too small to be seen are drawn as one."""
    kinds = list(dict.fromkeys(span.kind for span in spans))
    total = max((span.end for span in spans), default=1.0) or 1.0
    room = WIDTH - LEFT - 20
    height = STEP * len(kinds) + 30
    out = [start(height, label)]
    for place, kind in enumerate(kinds):
        y = STEP * place + 4
        out.append(text(LEFT - 8, y + BAR - 3, short(kind), "end"))
        for first, last, count in _visible([span for span in spans if span.kind == kind], total / room):
            name = first.name if count == 1 else f"{count} from {first.name} to {last.name}"
            hint = f"{name}: {unit} {first.begin:,.0f} to {last.end:,.0f}"
            out.append(
                box(
                    LEFT + room * first.begin / total,
                    y,
                    max(0.5, room * (last.end - first.begin) / total),
                    BAR,
                    colour(place),
                    hint,
                )
            )
    y = STEP * len(kinds) + 8
    out.append(f'<path class="axis" d="M{LEFT} {y}H{LEFT + room}"/>')
    for part in range(5):
        x, anchor = LEFT + room * part / 4, ("start", "middle", "middle", "middle", "end")[part]
        out.append(
            text(x, y + 16, f"{total * part / 4:,.0f}" + (f" {unit}" if part == 4 else ""), anchor, "soft")
        )
    return "\n".join([*out, "</svg>"])


def _visible(spans: Sequence[Span], pixel: float) -> list[tuple[Span, Span, int]]:
    """First, last and number of the spans that are drawn as one: small ones with gaps of less than a pixel between."""
    groups: list[tuple[Span, Span, int]] = []
    for span in spans:
        if groups:
            first, last, count = groups[-1]
            if (
                span.begin - last.end < pixel
                and span.end - span.begin < pixel
                and last.end - first.begin < 3 * pixel
            ):
                groups[-1] = (first, span, count + 1)
                continue
        groups.append((span, span, 1))
    return groups


@dataclass(frozen=True)
class Point:
    """A layer in a roofline.

    Attributes:
        name: shown when pointed at.
        series: what gives it its colour, such as the format.
        intensity: operations per byte from memory; infinite if there are no bytes.
        rate: operations per second.
        weight: its share of the time, 0 to 1.
    """

    name: str
    series: str
    intensity: float
    rate: float
    weight: float


def roofline(points: Sequence[Point], peaks: Mapping[str, float], bandwidth: float, label: str) -> str:
    """Operations per second over operations per byte, both logarithmic, under the roofs.

    Args:
        points: layers; the area of a point grows with its share of the time.
        peaks: operations per second by series.
        bandwidth: bytes per second of the memory.
        label: of the drawing.
    """
    height, bottom, right = 420, 380, WIDTH - 200
    finite = [p for p in points if 0 < p.intensity < float("inf") and p.rate > 0]
    ridges = [peak / bandwidth for peak in peaks.values()]
    xs, ys = [p.intensity for p in finite] + ridges, [p.rate for p in finite] + list(peaks.values())
    if not xs:
        return start(20, label) + text(4, 14, "no layer multiplies") + "</svg>"
    x0, x1 = floor(log10(min(xs))), ceil(log10(max(xs)) + 0.3)
    y0, y1 = floor(log10(min(ys))), ceil(log10(max(ys)) + 0.1)

    def x_of(value: float) -> float:
        return 70 + (right - 70) * (log10(value) - x0) / (x1 - x0)

    def y_of(value: float) -> float:
        return bottom - (bottom - 10) * (log10(value) - y0) / (y1 - y0)

    out = [start(height, label)]
    for power in range(x0, x1 + 1):
        x = x_of(10.0**power)
        out += [
            f'<path class="axis" d="M{x:.1f} 10V{bottom}"/>',
            text(x, bottom + 16, f"{10.0**power:g}", "middle", "soft"),
        ]
    for power in range(y0, y1 + 1):
        y = y_of(10.0**power)
        out += [
            f'<path class="axis" d="M70 {y:.1f}H{right}"/>',
            text(64, y + 4, si(10.0**power), "end", "soft"),
        ]
    out += [text((70 + right) / 2, height - 6, "MAC per byte of DRAM", "middle"), text(70, 22, "MAC/s")]
    series = list(peaks)
    low = max(10.0**x0, 10.0**y0 / bandwidth)
    for peak in dict.fromkeys(peaks.values()):
        out.append(
            f'<path d="M{x_of(low):.1f} {y_of(low * bandwidth):.1f}L{x_of(peak / bandwidth):.1f} {y_of(peak):.1f}'
            f'H{right}" fill="none" stroke="var(--soft)" stroke-width="1.5"/>'
        )
        out.append(text(right + 8, y_of(peak) + 4, f"{si(peak)}MAC/s"))
        for place, name in enumerate(name for name, value in peaks.items() if value == peak):
            y = y_of(peak) + 10 + 16 * place
            out.append(
                f'<circle cx="{right + 14}" cy="{y + 6:.1f}" r="5" fill="{colour(series.index(name))}"/>'
            )
            out.append(text(right + 24, y + 10, name))
    for point in sorted(finite, key=lambda p: -p.weight):
        share = f"{100 * point.weight:.1f} % of the time"
        hint = f"{point.name}: {point.intensity:.3g} MAC/byte, {si(point.rate)}MAC/s, {share}"
        fill = colour(series.index(point.series)) if point.series in series else colour(7)
        out.append(
            f'<circle cx="{x_of(point.intensity):.1f}" cy="{y_of(point.rate):.1f}" '
            f'r="{2.5 + 12 * point.weight**0.5:.1f}" fill="{fill}" fill-opacity=".6" '
            f'stroke="var(--ground)"><title>{escape(hint)}</title></circle>'
        )
    return "\n".join([*out, "</svg>"])


def amount(value: float) -> str:
    """A number with as many digits as matter."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def si(value: float) -> str:
    """A number with a decimal prefix."""
    for power, prefix in (
        (12, "T"),
        (9, "G"),
        (6, "M"),
        (3, "k"),
        (0, ""),
        (-3, "m"),
        (-6, "µ"),
        (-9, "n"),
        (-12, "p"),
    ):
        if abs(value) >= 10.0**power:
            return f"{value / 10.0**power:.3g} {prefix}"
    return f"{value:.3g} "
