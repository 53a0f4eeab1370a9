"""The project's own figures, each beside its reference: ``potluck bench [NAME ...]``.

A benchmark is a module with ``run(report)``, which calls ``report`` once per figure. Timings are ratios or rates
measured in this run; none of them is a test.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

from rich.console import Console
from rich.markup import escape

from potluck.isa.errors import DataError, ToolError
from potluck.isa.progress import steps

BENCHMARKS = (
    "spine",
    "rtl_area",
    "rtl_vector",
    "rtl_ecc",
    "rtl_pot",
    "rtl_core",
    "rtl_cluster",
    "pot_energy",
    "isa",
    "dram",
    "memory",
    "bbq",
    "formats",
    "networks",
    "pot",
    "campaigns",
    "schedule",
    "face",
)


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        bench: benchmark it belongs to.
        figure: its name.
        value: measured; None where the figure is undefined (n/a).
        unit: of value and target.
        reference: what it is compared with, and where that comes from.
        target: what the project aims at, as text.
        met: whether it does; None if there is no target.
        seconds: host time that the measurement took.
    """

    bench: str
    figure: str
    value: float | None
    unit: str
    reference: str
    target: str
    met: bool | None
    seconds: float


Report = Callable[..., None]


def run_benchmarks(names: list[str], console: Console) -> list[dict[str, Any]]:
    """Run the named benchmarks, print a line per figure, return the JSON rows.

    If none are named, all run, but those whose tools are not installed.

    Raises:
        DataError: unknown name.
        ToolError: a tool that a named benchmark needs is missing.
    """
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        raise DataError(f"no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    figures: list[Figure] = []
    for name in steps(names or list(BENCHMARKS), "benchmarks"):
        clock = [time.perf_counter()]

        def report(
            figure: str, value: float, unit: str = "", reference: str = "", target: str = "",
            met: bool | None = None, name: str = name, clock: list[float] = clock,
        ) -> None:  # fmt: skip
            now = time.perf_counter()
            known = None if math.isnan(value) else float(value)
            figures.append(Figure(name, figure, known, unit, reference, target, met, now - clock[0]))
            clock[0] = now
            mark = {True: "[green]met[/]", False: "[red]not met[/]", None: ""}[met]
            shown = "n/a" if known is None else f"{known:,.4g}"
            console.print(
                f"{figure:42} {shown:>12} {unit:14} {target:24} {mark}  {reference}", highlight=False
            )

        try:
            import_module(f"potluck.benchmarks.{name}").run(report)
        except ToolError as error:
            if names:
                raise
            console.print(f"[yellow]{name} left out:[/] {escape(str(error))}", highlight=False)
    return [asdict(figure) for figure in figures]
