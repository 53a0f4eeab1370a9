"""``potluck compare``: figures of several runs, layer by layer, and what differs in how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from potluck import saved
from potluck.isa.documents import flat
from potluck.isa.errors import DataError
from potluck.report import aligned

TEXT = {0}
IGNORED = ("recipe.folder", "recipe.command", "outputs", "memory.", "buffers.")
"""Keys of manifests that are told otherwise, or follow from others."""


def compare(paths: Sequence[Path]) -> dict[str, Any]:
    """Figures of runs side by side.

    Raises:
        DataError: fewer than two, or one is no result.
    """
    if len(paths) < 2:
        raise DataError(
            "there is nothing to compare with", hint="Give two results or more: potluck compare A B"
        )
    runs = [saved.load(path) for path in paths]
    names = [str(path) for path in paths]
    manifests = [_facts(run) for run in runs]
    keys = [
        key for key in dict.fromkeys(key for one in manifests for key in one) if not key.startswith(IGNORED)
    ]
    facts = {key: [one.get(key) for one in manifests] for key in keys}
    outputs = [run["manifest"].get("outputs") for run in runs]
    return {
        "runs": [_figures(name, run, runs[0]) for name, run in zip(names, runs, strict=True)],
        "layers": _layers(runs),
        "outputs": ["unknown" if not one or not outputs[0] else "same" if one == outputs[0] else "different"
                    for one in outputs],
        "differs": {key: values for key, values in facts.items() if len({repr(value) for value in values}) > 1},
    }  # fmt: skip


def _facts(run: Mapping[str, Any]) -> dict[str, Any]:
    return {"machine": run["machine"], "mode": run["mode"]} | flat(run["manifest"])


def _figures(name: str, run: Mapping[str, Any], first: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run": name, "cycles": run["cycles"], "of_first": run["cycles"] / first["cycles"] if first["cycles"] else None,
        "seconds": run["seconds_at_clock"], "joules": run["energy_joules"]["total"], "utilization": run["utilization"],
        "dram_bytes": run["dram"].get("bytes", 0), "instructions": run["instructions"],
    }  # fmt: skip


def _layers(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each layer of any run, matched by name and by which of that name it is."""
    tables = []
    for run in runs:
        counted: dict[str, int] = {}
        table = {}
        for layer in run["layers"]:
            number = counted[layer["name"]] = counted.get(layer["name"], 0) + 1
            table[layer["name"] if number == 1 else f"{layer['name']} ({number})"] = layer
        tables.append(table)
    found = []
    for name in dict.fromkeys(name for table in tables for name in table):
        held = [table.get(name) for table in tables]
        found.append({
            "layer": name, "format": [one["format"] if one else None for one in held],
            "cycles": [one["cycles"] if one else None for one in held],
            "joules": [one["energy_joules"] if one else None for one in held],
        })  # fmt: skip
    return found


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print what `compare` found."""
    lines = [["run", "cycles", "of the first", "µJ", "util %", "DRAM kB", "outputs"]]
    for run, outputs in zip(found["runs"], found["outputs"], strict=True):
        lines.append([
            run["run"], f"{run['cycles']:,}", _text(run["of_first"], ".3f"), f"{1e6 * run['joules']:,.2f}",
            f"{100 * run['utilization']:.1f}", f"{run['dram_bytes'] / 1e3:,.1f}",
            outputs,
        ])  # fmt: skip
    aligned(lines, TEXT, console)
    count = len(found["runs"])
    if found["layers"]:
        head = ["layer", *(f"cycles {k + 1}" for k in range(count)), *(f"{k + 1} of 1" for k in range(1, count)),
                *(f"µJ {k + 1}" for k in range(count))]  # fmt: skip
        rows = [head]
        for layer in found["layers"]:
            cycles = layer["cycles"]
            shares = [c / cycles[0] if c is not None and cycles[0] else None for c in cycles[1:]]
            rows.append([layer["layer"], *(_text(c, ",") for c in cycles), *(_text(s, ".3f") for s in shares),
                         *(_text(None if j is None else 1e6 * j, ",.3f") for j in layer["joules"])])  # fmt: skip
        console.print()
        aligned(rows, TEXT, console)
    console.print()
    for key, values in found["differs"].items():
        text = " | ".join("-" if value is None else str(value) for value in values)
        console.print(f"{key}: {text}", highlight=False, markup=False, soft_wrap=True)
    if not found["differs"]:
        console.print("the manifests do not differ")


def _text(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)
