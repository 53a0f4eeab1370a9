"""The report of a run: where cycles and energy went, what bounds each layer, and how to do it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from potluck.explain import explained
from potluck.pages.charts import Point, Span, roofline, si, stacked_bars, timeline
from potluck.pages.document import Section, document, figure, folded, table, tiles, write_document

Run = Mapping[str, Any]
"""What `Result.to_json` gives."""
Layer = Mapping[str, Any]
SHOWN = 24
"""Layers that have a bar of their own: those with most of what is shown."""
LISTED = 1800
"""Layers that the table lists, so that a page stays below a megabyte."""
DRAM = {
    "reads": "bursts read", "writes": "bursts written", "row_hits": "to open rows", "row_closed": "to closed banks",
    "row_conflicts": "to banks with another row open", "activations": "rows opened", "refreshes": "refreshes",
    "bank_refreshes": "refreshes of one bank", "bytes": "bytes",
}  # fmt: skip


def write_page(run: Run, path: Path, command: Sequence[str] = ()) -> Path:
    """Write the report of a run, all of it or nothing.

    Args:
        run: what `Result.to_json` gives.
        path: ``.html``.
        command: that made the run, as words of a shell.

    Raises:
        DataError: another suffix, or it cannot be written.
    """
    return write_document(page(run, command), path)


def page(run: Run, command: Sequence[str] = ()) -> str:
    """The page as HTML."""
    timed, layers = run["cycles"] > 0, bool(run["layers"])
    sections = [
        *([_time(run), _roofline(run), _timeline(run), _energy(run)] if timed and layers else []),
        *([_formats(run)] if layers else []),
        *([_memory(run)] if run["manifest"].get("memory") else []),
        *([_dram(run)] if any(run["dram"].values()) else []),
        *([_layers(run)] if layers else []),
        _again(run, command),
    ]
    answer = _answer(run) if timed else _untimed(run)
    return document(f"{_name(run)} on {run['machine']}", answer, sections)


def _name(run: Run) -> str:
    scheme, model = run["manifest"].get("scheme"), run["manifest"].get("model", "Program")
    return f"{model}, {scheme}" if isinstance(scheme, str) and scheme != "as in the file" else str(model)


def _untimed(run: Run) -> str:
    return f"<p class=answer>{run['instructions']:,} instructions, without times (mode {run['mode']}).</p>"


def _answer(run: Run) -> str:
    most = sorted(run["stalls"].items(), key=lambda item: -item[1])[:2]
    mostly = " and ".join(
        f"{escape(name)} ({_percent(count, run['cycles'])})" for name, count in most if count
    )
    joules, seconds, macs = run["energy_joules"]["total"], run["seconds_at_clock"], run["macs"]
    lines = [
        f"<p class=answer><strong>{run['cycles']:,} cycles</strong> ({si(seconds)}s), <strong>{si(joules)}J</strong>, "
        f"{100 * run['utilization']:.1f} % of the peak of its products. Most cycles went to {mostly}.</p>"
    ]
    host = run["manifest"].get("host_nodes", [])
    if host:
        nodes = f"{len(host)} of {run['manifest']['nodes']} nodes"
        lines.append(f"<p class=answer>{nodes} ran on the host, in no time of the machine.</p>")
    lines.append(tiles([
        ("time at the machine's clock", f"{si(seconds)}s"),
        ("runs per second, one after the other", f"{1 / seconds:,.4g}"),
        ("energy", f"{si(joules)}J"),
        ("multiply-accumulates", si(macs)),
        ("energy per multiply-accumulate", f"{si(joules / macs)}J" if macs else "-"),
        ("instructions", si(run["instructions"])),
        ("from and to DRAM", f"{si(run['dram'].get('bytes', 0))}B"),
        ("timing error", run["timing_error_band"].split(";")[0]),
    ]))  # fmt: skip
    return "\n".join(lines)


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _sum(layers: Iterable[Layer], key: str) -> float:
    return float(sum(layer[key] for layer in layers))


def _largest(run: Run, key: str) -> tuple[list[Layer], list[Layer]]:
    """The layers with most of something in the order of execution, and the others."""
    layers = run["layers"]
    chosen = set(sorted(range(len(layers)), key=lambda place: -layers[place][key])[:SHOWN])
    return [layers[k] for k in sorted(chosen)], [one for k, one in enumerate(layers) if k not in chosen]


def _time(run: Run) -> Section:
    shown, rest = _largest(run, "cycles")
    rows = [(layer["name"], layer["stalls"]) for layer in shown]
    what = "Cycles by layer and cause"
    if rest:
        others = {cause: sum(layer["stalls"].get(cause, 0) for layer in rest) for cause in run["stalls"]}
        rows.append((f"{len(rest)} other layers", others))
        what += f": the {len(shown)} longest layers, and all others"
    causes = sorted(((name, n) for name, n in run["stalls"].items() if n), key=lambda item: -item[1])
    lines = [(name, f"{count:,}", _percent(count, run["cycles"])) for name, count in causes]
    body = figure(stacked_bars(rows, "cycles", what), what) + table(
        ("cause", "cycles", "share"), lines, "Cycles by cause"
    )
    note = "Every cycle of core 0, whose clock is the run's, has one cause; the causes add up to all cycles."
    return Section("Where the cycles went", body, note)


def _roofline(run: Run) -> Section:
    clock = run["cycles"] / run["seconds_at_clock"]
    peaks = {name: value * clock for name, value in sorted(run["roofs"]["macs_per_cycle"].items())}
    points = []
    for layer in run["layers"]:
        if layer["macs"] and layer["cycles"]:
            intensity = layer["macs"] / layer["dram_bytes"] if layer["dram_bytes"] else float("inf")
            rate, weight = layer["macs"] / layer["cycles"] * clock, layer["cycles"] / run["cycles"]
            points.append(Point(layer["name"], layer["format"], intensity, rate, weight))
    label = "Multiply-accumulates per second of each layer over those per byte of DRAM traffic"
    drawing = roofline(points, peaks, run["roofs"]["dram_bytes_per_cycle"] * clock, label)
    note = (
        "No layer is above the roof of its format: left of the bend the way to DRAM bounds it, right of it the "
        "multipliers. Areas are shares of the cycles. Layers that multiply nothing are not shown."
    )
    return Section("Roofline", figure(drawing, label), note)


def _timeline(run: Run) -> Section:
    spans, at = [], 0
    for layer in run["layers"]:
        spans.append(Span(layer["name"], layer["op"] or "(runtime)", at, at + layer["cycles"]))
        at += layer["cycles"]
    label = "Layers in the order of execution, a line for each operator"
    note = "From the cycles of each layer; what one layer already loads for the next counts for the one that runs."
    return Section("Timeline", figure(timeline(spans, "cycles", label), label), note)


def _energy(run: Run) -> Section:
    joules = run["energy_joules"]
    parts = sorted(
        ((name, j) for name, j in joules.items() if name != "total" and j), key=lambda item: -item[1]
    )
    rows = [(name, f"{1e6 * value:,.4g}", _percent(value, joules["total"])) for name, value in parts]
    shown, rest = _largest(run, "energy_joules")
    bars = [(layer["name"], {"energy": 1e6 * layer["energy_joules"]}) for layer in shown]
    if rest:
        bars.append((f"{len(rest)} other layers", {"energy": 1e6 * _sum(rest, "energy_joules")}))
    what = "Energy by layer, µJ"
    body = table(("component", "µJ", "share"), rows, "Energy by component")
    note = "Each entry's source, node, voltage and band are in the machine's description (potluck machine)."
    return Section("Energy", body + figure(stacked_bars(bars, "µJ", what), what), note)


def _formats(run: Run) -> Section:
    groups: dict[str, list[Layer]] = {}
    for layer in run["layers"]:
        groups.setdefault(layer["format"] or "-", []).append(layer)
    rows = [
        (
            name, str(len(layers)), f"{_sum(layers, 'macs') / 1e6:,.3f}", f"{_sum(layers, 'cycles'):,.0f}",
            f"{1e6 * _sum(layers, 'energy_joules'):,.4g}", f"{_sum(layers, 'dram_bytes') / 1e3:,.1f}",
        )
        for name, layers in groups.items()
    ]  # fmt: skip
    head = ("format", "layers", "MMAC", "cycles", "µJ", "DRAM, kB")
    return Section("Formats", table(head, rows, "Work by number format"))


def _memory(run: Run) -> Section:
    held = run["manifest"]["memory"]
    has = run["manifest"].get("description", {}).get("memory", {})
    rows = []
    for what, taken, live, room in (
        ("L1", "l1_peak", "l1_live", "l1_bytes"),
        ("activations in DRAM", "dram_activations", "dram_live", "dram_bytes"),
        ("constants in DRAM", "dram_constants", "", "dram_bytes"),
    ):  # fmt: skip
        if taken in held:
            rows.append((
                what, f"{held[taken]:,}", f"{held[live]:,}" if live in held else "-",
                f"{has[room]:,}" if room in has else "-",
            ))  # fmt: skip
    body = table(
        ("memory", "set aside, bytes", "live at once, bytes", "there are, bytes"), rows, "Memory plan"
    )
    bars = [(name, {"live": float(held[live]), "besides": max(0.0, float(held[taken] - held[live]))})
            for name, taken, live in (("L1", "l1_peak", "l1_live"), ("DRAM", "dram_activations", "dram_live"))
            if taken in held and live in held]  # fmt: skip
    what = "Bytes set aside at most: live at once, and what the placement takes besides"
    buffers = [
        (one["name"], one["format"], one["region"], f"{one['address']:#x}", f"{one['bytes']:,}")
        for one in run["manifest"].get("buffers", [])
    ]
    head = ("buffer", "format", "memory", "address", "bytes")
    listed = folded("Show the largest buffers", table(head, buffers, "Largest buffers")) if buffers else ""
    note = "Peak of what is set aside beside what is live: the lower bound of any placement of this schedule."
    return Section("Memory plan", body + figure(stacked_bars(bars, "bytes", what), what) + listed, note)


def _dram(run: Run) -> Section:
    held = run["dram"]
    rows = [(what, f"{held[name]:,}") for name, what in DRAM.items() if held.get(name)]
    asked = held.get("reads", 0) + held.get("writes", 0)
    if asked and run["cycles"]:
        possible = run["roofs"]["dram_bytes_per_cycle"] * run["cycles"]
        rows.append(("hits of open rows", _percent(held.get("row_hits", 0), asked)))
        rows.append(("of the bursts, reads", _percent(held.get("reads", 0), asked)))
        waited = run["stalls"].get("dram", 0) + run["stalls"].get("dma", 0)
        rows.append(
            (
                "cycles of core 0 that waited for DRAM or DMA",
                f"{waited:,} ({_percent(waited, run['cycles'])})",
            )
        )
        rows.append(("share of what DMA and DRAM can move", _percent(held["bytes"], possible)))
    return Section("DRAM", table(("what", "number"), rows, "What the memory did"))


def _layers(run: Run) -> Section:
    rows = []
    for layer in run["layers"][:LISTED]:
        cause, count = max(layer["stalls"].items(), key=lambda item: item[1], default=("", 0))
        found = explained(layer)
        rows.append((
            layer["name"], layer["op"], layer["format"], f"{layer['cycles']:,}", f"{layer['macs'] / 1e6:.3f}",
            f"{100 * layer['utilization']:.1f}" if layer["macs"] else "", f"{1e6 * layer['energy_joules']:.4g}",
            f"{layer['dram_bytes'] / 1e3:,.1f}", f"{cause} {_percent(count, layer['cycles'])}" if count else "",
            found.reason, f"{100 * found.reached:.1f}" if found.bound else "",
        ))  # fmt: skip
    left = len(run["layers"]) - len(rows)
    caption = f"{len(run['layers'])} layers" + (f"; the last {left} are in the JSON" if left else "")
    head = (
        "layer", "operator", "format", "cycles", "MMAC", "utilization, %", "µJ", "DRAM, kB", "mostly", "bound by",
        "of the bound, %",
    )  # fmt: skip
    body = table(head, rows, caption)
    note = "Bounds are explained in docs/views.md; potluck explain RESULT.json --layer NAME says more of one."
    return Section("All layers", body if len(rows) <= 2 * SHOWN else folded(f"Show {caption}", body), note)


def _again(run: Run, command: Sequence[str]) -> Section:
    held = {name: run[name] for name in ("machine", "mode", "timing_error_band", "host_seconds")}
    record = json.dumps({**held, **run["manifest"]}, indent=2, ensure_ascii=False, default=str)
    parts = [f"<pre>{escape(text)}</pre>" for text in ([shlex.join(command)] if command else []) + [record]]
    return Section(
        "How to do it again", "".join(parts), "The same versions, files and seeds give the same bytes."
    )
