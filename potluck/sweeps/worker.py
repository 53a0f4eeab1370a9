"""What a worker process does with points: compile, simulate, write the row down."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck import api
from potluck.arrays import load_npz
from potluck.compiler.schemes import written
from potluck.evaluation.metrics import score
from potluck.evaluation.network import Bench, graph_inputs
from potluck.evaluation.samples import Samples, from_arrays
from potluck.isa.elf import Program
from potluck.isa.errors import DataError, PotluckError
from potluck.isa.machine import Machine, load_machine
from potluck.parallel.folder import Record
from potluck.sim.result import Result
from potluck.sweeps.area import area_gates
from potluck.sweeps.plan import CALIBRATION, DATA, NETWORK, SweepFolder, plan_of, zoo
from potluck.sweeps.space import Point, value_at

Array = NDArray[Any]


class Runner:
    """Runs the points of a registered sweep; networks are quantized once for each scheme.

    Args:
        folder: of the sweep.
    """

    def __init__(self, folder: SweepFolder) -> None:
        held = folder.registration()
        self.plan, self.folder = plan_of(held["plan"]), folder.folder
        self.points = self.plan.points()
        self._prepared: tuple[str | None, api.Prepared] | None = None

    def row(self, point: Point) -> Record:
        """A point's row: figures, or the error that it ended with."""
        start = time.perf_counter()
        row: Record = {"id": point.id, "machine": point.machine or "", "scheme": point.scheme or "as-is"}
        row |= point.settings
        error = kind = ""
        try:
            machine = self._machine(point)
            row["machine"] = machine.name
            row |= {key: value_at(machine, key) for key in point.settings}
            row["area_gates"] = area_gates(machine)
            row |= self._figures(point, machine)
        except PotluckError as problem:
            error, kind = str(problem), type(problem).__name__
        except (
            Exception
        ) as problem:  # a defect of ours costs its point, not the sweep; the row and the report say so
            error, kind = f"{type(problem).__name__}: {problem}", "defect"
        return row | {
            "error": error, "error_kind": kind, "seconds_host": round(time.perf_counter() - start, 6),
            "worker": f"{socket.gethostname()}-{os.getpid()}",
        }  # fmt: skip

    def _machine(self, point: Point) -> Machine:
        name = point.machine or self._program.manifest.machine
        return load_machine(name, point.settings)

    @cached_property
    def _program(self) -> Program:
        return api.load_program(self.plan.model)

    def _figures(self, point: Point, machine: Machine) -> Record:
        if self.plan.elf:
            inputs = load_npz(self.folder / DATA) if (self.folder / DATA).exists() else {}
            tensors = {**api.seeded_inputs(self._program), **inputs}
            return figures([api.simulate(self._program, tensors, self.plan.mode, machine)])
        program = self._ready(point.scheme).compiled(machine)
        samples, results = self._samples, []
        for k in range(max(1, self.plan.samples)):
            given = (
                {} if samples is None else {name: array[k : k + 1] for name, array in samples.inputs.items()}
            )
            results.append(
                api.simulate(program, {**api.seeded_inputs(program), **given}, self.plan.mode, machine)
            )
        row = figures(results)
        if self.plan.samples:
            name = program.manifest.outputs[0].name
            row |= self._metric(np.concatenate([result.outputs[name] for result in results]))
        return row

    def _ready(self, scheme: str | None) -> api.Prepared:
        if self._prepared is None or self._prepared[0] != scheme:
            name, options = written.parse(scheme) if scheme else (None, {})
            network = zoo(self.plan.model)
            if network is not None:
                options = {**network.options.get(name, {}), **options}
            if scheme and (self.folder / CALIBRATION).exists():
                options["calibration"] = load_npz(self.folder / CALIBRATION)
            self._prepared = (scheme, api.prepare(self._path, scheme=name, dims=self._dims, **options))
        return self._prepared[1]

    @cached_property
    def _path(self) -> Path:
        return self.folder / NETWORK if zoo(self.plan.model) is not None else Path(self.plan.model)

    @cached_property
    def _dims(self) -> dict[str, int]:
        network = zoo(self.plan.model)
        return {**(network.dims if network is not None else {}), **self.plan.dims}

    @cached_property
    def _samples(self) -> Samples | None:
        """The inputs that every point runs; None: seeded noise."""
        if not (self.folder / DATA).exists():
            return None
        made = from_arrays(load_npz(self.folder / DATA), graph_inputs(self._path))
        return made.part(slice(0, max(1, self.plan.samples)))

    @cached_property
    def _reference(self) -> Array:
        """FP32's outputs on the samples."""
        assert self._samples is not None
        return Bench(self._path, {}, 1, {"dims": self._dims}).evaluate("fp32", self._samples).outputs

    def _metric(self, outputs: Array) -> Record:
        samples, network = self._samples, zoo(self.plan.model)
        assert samples is not None
        if network is not None:
            found = network.measure(outputs, samples)
            return {"metric": found.name, "metric_value": float(found.value)}
        scored = score(outputs.reshape(self._reference.shape), self._reference, samples.labels,
                       "auto" if samples.labels is None else "accuracy")  # fmt: skip
        return {"metric": scored.metric, "metric_value": float(scored.value)}


def figures(results: list[Result]) -> Record:
    """What runs cost: means of a run, which are whole numbers where all runs are alike."""
    one = results[0]
    row: Record = {
        "cycles": _mean([r.cycles for r in results]), "seconds": _mean([r.cycles / r.clock_hz for r in results]),
        "instructions": _mean([r.instructions for r in results]), "macs": one.macs,
        "utilization": _mean([r.utilization for r in results]),
        "energy_joules": _mean([r.energy_joules for r in results]), "samples": len(results),
        "simulation_seconds": sum(r.host_seconds for r in results), "timing_error_band": one.timing_error_band,
    }  # fmt: skip
    for prefix, parts in (
        ("energy", [r.energy for r in results]), ("stall", [r.stalls for r in results]),
        ("dram", [r.dram for r in results]),
    ):  # fmt: skip
        row |= {f"{prefix}.{key}": _mean([part.get(key, 0) for part in parts]) for key in _keys(parts)}
    return row


def _keys(parts: list[Mapping[str, Any]] | list[dict[str, int]] | list[dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(key for part in parts for key in part))


def _mean(values: list[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else math.fsum(values) / len(values)


@lru_cache(maxsize=1)
def runner_of(folder: Path, expected: str) -> Runner:
    """The runner of a registered sweep; made once per process.

    Raises:
        DataError: another sweep lies there.
    """
    store = SweepFolder(folder)
    found = store.registration()["hash"]
    if found != expected:
        raise DataError(f"the sweep in {folder} is {found[:12]}, not {expected[:12]}",
                        hint="Workers need the folder of the process that began it")  # fmt: skip
    return Runner(store)


def run_points(folder: str, expected: str, ids: list[int]) -> list[Record]:
    """Run points by their ids.

    Args:
        folder: of the sweep.
        expected: its hash.
        ids: of the points.

    Returns:
        Their rows, all of them in the journal.
    """
    runner = runner_of(Path(folder), expected)
    journal, made = SweepFolder(folder).journal(), []
    for identity in ids:
        row = runner.row(runner.points[identity])
        journal.append(row)
        made.append(row)
    journal.sync()
    return made
