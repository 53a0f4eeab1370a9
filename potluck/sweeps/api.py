"""`potluck.sweep`: a sweep from Python."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from potluck import api, pareto
from potluck.isa.errors import DataError
from potluck.parallel.folder import Record
from potluck.parallel.schedulers import scheduler_of
from potluck.parallel.work import Step, work_off
from potluck.sweeps.plan import Ledger, Plan, SweepFolder, hash_of
from potluck.sweeps.worker import run_points

OBJECTIVES = {
    "seconds": 1, "cycles": 1, "energy_joules": 1, "area_gates": 1, "dram_bytes": 1, "utilization": -1,
    "metric_value": -1,
}  # fmt: skip
"""What a front can be of: 1, the smaller the better; -1, the larger."""
DEFAULT = ("seconds", "energy_joules")
SMALL_IS_BETTER = ("perplexity", "CER")
"""Metrics, by a word of their name, of which the smaller is the better."""


class Swept:
    """What a sweep found.

    Attributes:
        folder: where it lies.
        rows: one a point, by id: keys, figures, ``error`` (empty if all went well), ``pareto``.
        objectives: of the front.
    """

    def __init__(self, folder: SweepFolder, objectives: Sequence[str] = DEFAULT) -> None:
        held = folder.registration()
        self.folder, self.objectives, self._owner = folder.folder, tuple(objectives), folder.owner
        self.model: str = held["plan"]["model"]
        self.axes: list[str] = list(held["plan"]["axes"])
        self.points: int = held["points"]
        self.versions: dict[str, str] = held["versions"]
        self.rows: list[Record] = sorted(folder.records(), key=lambda row: int(row["id"]))
        best = set(front(self.rows, self.objectives))
        for k, row in enumerate(self.rows):
            row["pareto"] = k in best

    @property
    def front(self) -> list[Record]:
        """Rows that no other beats, by the first objective."""
        return sorted(
            (row for row in self.rows if row["pareto"]), key=lambda row: cost(row, self.objectives[0])
        )

    @property
    def failed(self) -> list[Record]:
        """Rows with an error."""
        return [row for row in self.rows if row["error"]]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"model": self.model, "keys": self.axes, "objectives": list(self.objectives), "rows": self.rows,
                "front": [row["id"] for row in self.front], "versions": self.versions}  # fmt: skip

    def to_parquet(self, path: str | Path) -> Path:
        """Write all rows and columns."""
        from potluck.sweeps.table import write_parquet

        return write_parquet(self, Path(path))

    def report(self, path: str | Path) -> Path:
        """Write an HTML page with plot and tables, or the plot alone as PNG, by the suffix."""
        from potluck.sweeps.figure import write_report

        return write_report(self, Path(path))

    def print(self) -> None:
        """As ``potluck sweep`` prints it."""
        from rich.console import Console

        from potluck.sweeps.table import show

        show(self, Console())


def cost(row: Record, objective: str) -> float:
    """What is to be small."""
    sign = OBJECTIVES[objective]
    if objective == "metric_value" and any(word in row.get("metric", "") for word in SMALL_IS_BETTER):
        sign = 1
    value = row.get("dram.bytes" if objective == "dram_bytes" else objective)
    return math.nan if value is None else sign * float(value)


def front(rows: Sequence[Record], objectives: Sequence[str]) -> list[int]:
    """Places of the rows without an error, and with all objectives known, that no other beats."""
    costs = [[cost(row, name) for name in objectives] for row in rows]
    known = [
        k
        for k, (row, c) in enumerate(zip(rows, costs, strict=True))
        if not row["error"] and not any(map(math.isnan, c))
    ]
    return [known[k] for k in pareto.front([costs[k] for k in known])]


def sweep(
    model: str | Path,
    set: Mapping[str, Sequence[Any]] | None = None,
    machine: str | Path | Sequence[str | Path] = (),
    scheme: str | Sequence[str] = (),
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    folder: str | Path | None = None,
    samples: int = 0,
    mode: str = "timed",
    dims: Mapping[str, int] | None = None,
    data: str | Path | None = None,
    calibration: str | Path | None = None,
    objectives: Sequence[str] = DEFAULT,
    step: Step = lambda done, most: None,
) -> Swept:
    """One network on every machine of a cross product of keys; docs/sweep.md.

    Args:
        model: path of an ONNX or ELF file, ``demo``, or a network of the zoo.
        set: machine key -> values.
        machine: one or several presets or TOML files; spatz-mx unless told, or what an ELF file was compiled for.
        scheme: one or several schemes of quantization.
        jobs: processes of this host; -1: one per processor.
        scheduler: address of a Dask scheduler instead.
        folder: where rows are kept, so that a killed sweep goes on; None: a temporary one.
        samples: inputs that each point runs, and whose task metric it gives; 0: one run, no metric.
        mode: ``timed`` or ``functional``.
        dims: sizes of dynamic dimensions.
        data: .npz with inputs, and labels if a metric needs them.
        calibration: .npz with samples that fix ranges.
        objectives: of the Pareto front, names of `OBJECTIVES`.
        step: told of progress.

    Raises:
        MachineError: an unknown key, before any work; what is wrong with one point is in its row.
        DataError: another sweep lies in the folder, or data do not fit.
    """
    unknown = next((name for name in objectives if name not in OBJECTIVES), None)
    if unknown is not None or not objectives:
        what = "no objective" if unknown is None else f"objective {unknown!r}"
        raise DataError(what, hint=f"Give some of {', '.join(OBJECTIVES)}")
    machines = (machine,) if isinstance(machine, str | Path) else tuple(machine)
    plan = Plan(
        str(model), tuple(str(name) for name in machines), (scheme,) if isinstance(scheme, str) else tuple(scheme),
        {key: tuple(_text(value) for value in values) for key, values in (set or {}).items()}, samples, mode,
        dict(dims or {}), Path(data) if data else None, Path(calibration) if calibration else None,
    )  # fmt: skip
    temporary = tempfile.TemporaryDirectory(prefix="potluck-sweep-") if folder is None else None
    store = SweepFolder(temporary.name if temporary else folder or "", temporary)
    return execute(plan, store, jobs, scheduler, objectives, step)


def execute(
    plan: Plan, store: SweepFolder, jobs: int = 1, scheduler: str | None = None,
    objectives: Sequence[str] = DEFAULT, step: Step = lambda done, most: None,
) -> Swept:  # fmt: skip
    """Begin a sweep, or go on with it, to its end.

    Raises:
        DataError: the folder holds another one.
    """
    checked, points = plan.check(), plan.points()
    expected = hash_of(checked)
    with store.locked():
        if store.registered:
            held = store.registration()
            if held["hash"] != expected:
                key = next((key for key in checked if checked[key] != held["checked"].get(key)), "hash")
                raise DataError(f"{store.folder} holds another sweep: its {key} differ",
                                hint="Give another folder with --out, or delete this one")  # fmt: skip
        else:
            plan.store(store.folder)
            store.register({"hash": expected, "checked": checked, "plan": plan.to_json(), "points": len(points),
                            "versions": api.versions()})  # fmt: skip
        ledger = Ledger(len(points))
        ledger.add(store.records())
        if ledger.due():
            workers = scheduler_of(scheduler, jobs)
            try:
                task = partial(run_points, str(store.folder.resolve()), expected)
                work_off(ledger, workers, task, 1, store.records, DataError, step)
            finally:
                store.leave()
                workers.close()
        return Swept(store, objectives)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
