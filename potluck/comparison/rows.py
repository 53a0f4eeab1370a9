"""One row: a network in one format, what it is worth and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from potluck import pareto
from potluck.comparison.path import summary
from potluck.compiler.footprint import Footprint
from potluck.compiler.importer import load
from potluck.compiler.ptq import recipe
from potluck.compiler.schemes import Assignment, written
from potluck.evaluation.metrics import Score, score
from potluck.evaluation.network import PLAIN, Bench, Evaluated, free_batch
from potluck.evaluation.samples import Samples
from potluck.isa.errors import MachineError, ModelError
from potluck.isa.machine import Machine

MOVING = frozenset({"equalize", "smoothquant", "hadamard"})
"""Methods after which tensors between layers are others than in FP32, so that their noise cannot be measured."""


@dataclass(frozen=True)
class Row:
    """A network in one format.

    Attributes:
        name: The scheme, or the file it comes from.
        mode: ``FP32``, ``PTQ`` (calibrated) or ``QAT`` (trained in the format).
        score: On the test samples.
        layers: SQNR of each product's output against FP32, dB, noise of the layers before it included; empty after
            methods that scale or rotate what is between layers.
        bytes: Of the products' weights: codes, scales, zero points, padding.
        effective_bits: The same per weight.
        weight_bits: Codes of most multiply-accumulates.
        activation_bits: The same of activations.
        kept_high: Products with more weight bits than the fewest in the network.
        cycles: Of one batch; None if it was not simulated.
        joules: The same.
        batch: Inputs in this batch.
        path: Instructions that multiply, with their shares of multiply-accumulates.
        note: Why it was not simulated.
        engines: What ran it on the test samples.
        pareto: Whether no row of its mode is both smaller and better.
    """

    name: str
    mode: str
    score: Score
    layers: Mapping[str, float]
    bytes: int
    effective_bits: float
    weight_bits: int
    activation_bits: int
    kept_high: tuple[str, ...]
    cycles: int | None
    joules: float | None
    batch: int
    path: str
    note: str
    engines: str
    pareto: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass
class Comparison:
    """A network and the samples that its formats are compared on.

    Attributes:
        bench: The network with its calibration samples.
        test: The samples.
        machine: For cycles, energy and instructions; None leaves them out.
        metric: See `potluck.evaluation.metrics.score`.
    """

    bench: Bench
    test: Samples
    machine: Machine | None = None
    metric: str = "auto"
    rows: list[Row] = field(default_factory=list)

    def add(self, name: str, scheme: str | Assignment) -> Row:
        """A row after calibration.

        Args:
            name: Of the row.
            scheme: What it is, as `potluck.compiler.schemes.written` reads it.

        Raises:
            ModelError: The scheme is unknown or does not fit the network.
            DataError: It cannot quantize the weights or activations.
        """
        methods: dict[str, Any] = {}
        if isinstance(scheme, str):
            scheme, methods = written.parse(scheme)
        plain = scheme in PLAIN
        used = recipe.parse(str(methods.get("ptq", self.bench.options.get("ptq", ""))))
        layers = not plain and MOVING.isdisjoint(used)
        model = self.bench.quantized(scheme, **methods)
        found = self.bench.evaluate(model, self.test, layers)
        mode = "FP32" if plain else "PTQ"
        return self._row(name, mode, found, lambda: self.bench.resized(model, scheme, 1, **methods))

    def add_trained(self, path: Path) -> Row:
        """A row of a network that was trained in its format, and is quantized already.

        Raises:
            ModelError: The file is no network, or has other outputs than the FP32 one.
        """
        found = self.bench.evaluate(load(path, free_batch(path, self.bench.batch)), self.test, layers=True)
        reference = self.bench.reference(self.test)
        if found.outputs.shape != reference.shape:
            raise ModelError(
                f"{str(path)!r} gives outputs of the shape {found.outputs.shape}, the FP32 network {reference.shape}"
            )
        return self._row(path.stem, "QAT", found, lambda: load(path, free_batch(path, 1)))

    def _row(self, name: str, mode: str, found: Evaluated, one: Any) -> Row:
        reference = self.bench.reference(self.test)
        judged = score(found.outputs, reference, self.test.labels, self.metric)
        stored = found.footprints
        elements, total = sum(item.elements for item in stored), sum(item.bytes for item in stored)
        cycles, joules, batch, path, note = self._simulated(one)
        row = Row(
            name, mode, judged, found.layers, total, 8 * total / elements if elements else 0.0,
            _most(stored, "bits"), _most(stored, "activation_bits"), kept_high(stored),
            cycles, joules, batch, path, note, found.engines,
        )  # fmt: skip
        self.rows.append(row)
        return row

    def _simulated(self, one: Any) -> tuple[int | None, float | None, int, str, str]:
        if self.machine is None:
            return None, None, 0, "", "not asked for"
        from potluck import api

        model: ir.Model = one()
        try:
            program = api.compile(model, self.machine)
        except (ModelError, MachineError) as error:
            return None, None, 0, "", str(error)
        tensors = program.manifest.inputs
        inputs = {item.name: self.test.inputs[item.name][: item.shape[0]] for item in tensors}
        result = api.simulate(program, inputs, "timed", self.machine)
        batch = max((item.shape[0] for item in tensors if item.shape), default=1)
        path = summary(program, self.machine.isa.vmxdotp_encoding)
        return result.cycles, result.energy_joules, batch, path, ""


def _most(stored: Sequence[Footprint], name: str) -> int:
    """The value that most multiply-accumulates have."""
    weights: dict[int, int] = {}
    for item in stored:
        key = int(getattr(item, name))
        weights[key] = weights.get(key, 0) + item.macs
    return max(weights, key=lambda key: weights[key]) if weights else 32


def kept_high(stored: Sequence[Footprint]) -> tuple[str, ...]:
    """Products with more weight bits than the fewest."""
    least = min((item.bits for item in stored), default=32)
    return tuple(item.node for item in stored if item.bits > least)


def fronts(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Mode -> its rows that no other of the same mode beats in bytes and metric, by bytes.

    Rows of different modes have had different chances, so they share no front. FP32 is on none.
    """
    found: dict[str, list[Row]] = {}
    for mode in dict.fromkeys(row.mode for row in rows if row.mode != "FP32"):
        own = [row for row in rows if row.mode == mode]
        best = [own[k] for k in pareto.front([(row.bytes, -row.score.value) for row in own])]
        found[mode] = sorted(best, key=lambda row: (row.bytes, row.name))
    return found


def worst(row: Row) -> tuple[str, float]:
    """The layer with the most noise, and its SQNR."""
    finite = {name: value for name, value in row.layers.items() if np.isfinite(value)}
    if not finite:
        return "", float("inf")
    name = min(finite, key=lambda key: finite[key])
    return name, finite[name]
