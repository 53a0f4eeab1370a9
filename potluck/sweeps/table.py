"""A sweep on the terminal and as Parquet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from potluck.isa.errors import DataError
from potluck.parallel.folder import Record
from potluck.replacing import replacing
from potluck.report import aligned
from potluck.sweeps.api import Swept

FIRST = ("id", "machine", "scheme")
FIGURES = (
    "pareto", "cycles", "seconds", "energy_joules", "area_gates", "utilization", "metric", "metric_value",
    "instructions", "macs", "samples",
)  # fmt: skip
LAST = ("error", "error_kind", "timing_error_band", "simulation_seconds", "seconds_host", "worker")
"""Order of the columns; keys stand behind the first, stalls, energy and DRAM before the last."""


def columns(swept: Swept) -> list[str]:
    """All columns in order."""
    keys = dict.fromkeys(key for row in swept.rows for key in row)
    named = [*FIRST, *swept.axes, *FIGURES]
    parts = [key for key in keys if key not in named and key not in LAST]
    return [*named, *parts, *LAST]


def write_parquet(swept: Swept, path: Path) -> Path:
    """Write all rows, one file, all of it or nothing; versions and model are in the file's metadata.

    Raises:
        DataError: it cannot be written.
    """
    import pyarrow
    from pyarrow import parquet

    arrays = {name: pyarrow.array(_column([row.get(name) for row in swept.rows])) for name in columns(swept)}
    about = {"potluck.model": swept.model, "potluck.versions": json.dumps(swept.versions)}
    table = pyarrow.table(arrays).replace_schema_metadata(about)
    try:
        with replacing(path) as temporary:
            parquet.write_table(table, temporary)
    except OSError as problem:
        raise DataError(f"cannot write {path}: {problem.strerror}") from None
    return path


def _column(values: list[Any]) -> list[Any]:
    """Values of one type: whole numbers, numbers, truth values, or text."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1:
        return values
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else str(value) for value in values]


def show(swept: Swept, console: Console) -> None:
    """Print a line per point, then the front and what went wrong."""
    aligned(lines(swept, swept.rows), set(range(1, 3)), console)
    names = ", ".join(swept.objectives)
    best = " ".join(str(row["id"]) for row in swept.front) or "none"
    console.print(f"* front of {names}: {best}", highlight=False, soft_wrap=True)
    if any(row.get("area_gates") for row in swept.rows):
        console.print("Mgates: NAND2 equivalents of lanes, register files, L1 and accelerator; "
                      "docs/sweep.md says what is left out", highlight=False, soft_wrap=True)  # fmt: skip
    for row in swept.failed:
        console.print(f"{row['id']}: {row['error']}", highlight=False, markup=False, soft_wrap=True)
    defects = sum(row["error_kind"] == "defect" for row in swept.rows)
    if defects:
        console.print(
            f"[bold red]{defects} of these errors are defects of Potluck[/]: please report them",
            highlight=False,
        )
    if len(swept.rows) < swept.points:
        console.print(
            f"{swept.points - len(swept.rows)} of {swept.points} points have not run", highlight=False
        )


def lines(swept: Swept, rows: Sequence[Record]) -> list[list[str]]:
    """Head and rows of the table as text."""
    metric = next((row["metric"] for row in rows if row.get("metric")), "")
    figures = ["cycles", "ms", "µJ", "util %", "Mgates", *([metric] if metric else []), "mostly"]
    made = [["", "machine", "scheme", *swept.axes, *figures]]
    for row in rows:
        keys = [str(row.get(key, "")) for key in swept.axes]
        start = [f"{row['id']}{' *' if row['pareto'] else '  '}", row["machine"], row["scheme"], *keys]
        if row["error"]:
            made.append([*start, row["error_kind"], *[""] * (len(made[0]) - len(start) - 1)])
            continue
        stalls = {
            key.removeprefix("stall."): row[key] for key in row if key.startswith("stall.") and row[key]
        }
        cause = max(stalls, key=lambda name: float(stalls[name]), default="")
        mostly = f"{cause} {100 * stalls[cause] / sum(stalls.values()):.0f} %" if cause else ""
        made.append([
            *start, f"{row['cycles']:,.0f}", f"{1e3 * row['seconds']:.4g}", f"{1e6 * row['energy_joules']:.4g}",
            f"{100 * row['utilization']:.1f}", f"{row['area_gates'] / 1e6:.3g}",
            *([f"{row['metric_value']:.4g}"] if metric else []), mostly,
        ])  # fmt: skip
    return made
