"""SigmaQuant on a network: candidates and their costs per layer, then the search, then the verdict on test data.

The paper retrains after each move. So does a `Bench` with a trainer, each assignment from the FP32 network's weights
(QAT); without one, an assignment is the FP32 network quantized with calibrated ranges (PTQ). Both are judged on tuning
samples that calibrate and train nothing and that the verdict does not use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.allocation.machine import LayerCost, layer_costs, simulate
from potluck.allocation.search import Choice, Outcome, Problem, Settings, search
from potluck.allocation.targets import ON_MACHINE, Target
from potluck.compiler.footprint import Footprint, footprints
from potluck.compiler.graph.nodes import label
from potluck.compiler.host import HostNetwork
from potluck.compiler.passes.assign import products
from potluck.compiler.quantizers.statistics import divergence, sigma, sqnr
from potluck.compiler.schemes import Assignment
from potluck.evaluation.metrics import Score, score
from potluck.evaluation.network import OBSERVED, PLAIN, Bench
from potluck.evaluation.samples import Samples
from potluck.isa.errors import DataError, ModelError
from potluck.isa.machine import Machine

WIDTHS = {
    "size": ("int2", "int4", "int6", "int8"),
    "bops": ("int2", "int4", "int6", "int8"),
    "cycles": ("mxfp4", "mxfp8", "fp32"),
    "joules": ("mxfp4", "mxfp8", "fp32"),
}
"""Schemes by kind of target unless others are given: the paper's widths, or what the machine multiplies fastest."""

SENSITIVITIES = ("noise", "kl")


@dataclass(frozen=True)
class Candidate:
    """One layer in one scheme.

    Attributes:
        footprint: What it stores.
        divergence: KL of its weights, nats.
        machine: Its cycles and joules, if they were asked for.
    """

    footprint: Footprint
    divergence: float
    machine: LayerCost | None

    def cost(self, kind: str) -> float:
        """In the unit of a kind of target."""
        if kind in ON_MACHINE:
            assert self.machine is not None
            return float(getattr(self.machine, kind))
        return float(self.footprint.bytes if kind == "size" else self.footprint.bops)


@dataclass(frozen=True)
class Allocation:
    """What SigmaQuant found.

    Attributes:
        assignment: For `potluck.quantize`.
        outcome: Of the search.
        settings: Targets in numbers.
        metric: Its name.
        layers: Every layer, in order.
        sigmas: Standard deviation of each layer's weights.
        candidates: (layer, scheme) -> what it costs.
        ladders: Schemes that each layer could have, cost ascending.
        uniform: Scheme everywhere (a layer that cannot have it in the next of its ladder) -> metric and cost.
        test: The assignment and the start on test samples.
        cost: Of the assignment; simulated if the target is the machine's.
        bytes: Of its weights.
        engines: What ran the networks.
    """

    assignment: Assignment
    outcome: Outcome
    settings: Settings
    metric: str
    layers: tuple[str, ...]
    sigmas: Mapping[str, float]
    candidates: Mapping[tuple[str, str], Candidate]
    ladders: Mapping[str, tuple[str, ...]]
    uniform: Mapping[str, tuple[float, float]]
    test: Mapping[str, Score]
    cost: float
    bytes: int
    engines: str

    @property
    def met(self) -> bool:
        """Whether both targets are."""
        return self.outcome.status == "met"


@dataclass
class Allocator:
    """A network under a target.

    Attributes:
        bench: The network with its calibration samples.
        target: What it may cost.
        schemes: Candidates, fidelity ascending.
        tuning: Samples to choose on.
        machine: For cycles and joules.
        metric: See `potluck.evaluation.metrics.score`.
        sensitivity: What ranks layers in phase 2: ``noise``: what the network's outputs lose, measured, when this layer
            alone has the scheme; or ``kl`` of their weights, as the paper has it.
        exclude: Layers, by node or weight, that stay in FP32.
    """

    bench: Bench
    target: Target
    schemes: Sequence[str]
    tuning: Samples
    machine: Machine | None = None
    metric: str = "auto"
    sensitivity: str = "noise"
    exclude: Sequence[str] = ()
    layers: tuple[str, ...] = ()
    sigmas: dict[str, float] = field(default_factory=dict)
    candidates: dict[tuple[str, str], Candidate] = field(default_factory=dict)
    ladders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    engines: dict[str, None] = field(default_factory=dict)
    _scores: dict[Choice, Score] = field(default_factory=dict)
    _noise: dict[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.sensitivity not in SENSITIVITIES:
            raise DataError(
                f"no sensitivity {self.sensitivity!r}", hint=f"Use one of {', '.join(SENSITIVITIES)}"
            )
        self._few = self.tuning.part(slice(0, OBSERVED))
        if len(self.schemes) < 2:
            raise DataError(f"allocation chooses between schemes; there is {list(self.schemes)}")
        if self.target.kind in ON_MACHINE and self.machine is None:
            raise DataError(f"a target of {self.target.kind} needs a machine")
        model = self.bench.quantized("fp32", batch=1)
        network = HostNetwork(model)
        weights, known = {}, set()
        for node in products(model):
            source = node.inputs[1]
            assert source is not None
            known |= {label(node), source.name}
            if {label(node), source.name} & set(self.exclude):
                continue
            weights[label(node)] = np.asarray(network.constants[source.name or ""], np.float64)
        unknown = sorted(set(self.exclude) - known)
        if unknown:
            raise ModelError(f"exclude names {unknown}, which are neither products nor weights of the model")
        if not weights:
            raise DataError("the network has no product with constant weights")
        self.layers = tuple(weights)
        self.sigmas = {name: sigma(array) for name, array in weights.items()}
        for scheme in self.schemes:
            self._column(scheme, weights)
        self.ladders = {name: self._ladder(name) for name in self.layers}

    def _column(self, scheme: str, weights: Mapping[str, NDArray[np.float64]]) -> None:
        """What every layer costs in one scheme; layers that it cannot take get no candidate."""
        plain = scheme in PLAIN
        assignment = Assignment(dict.fromkeys(self.layers, scheme), lenient=True)
        model = self.bench.quantized(assignment, batch=1)
        constants = HostNetwork(model).constants
        costs: dict[str, LayerCost] = {}
        if self.machine is not None:
            first = {name: array for name, array in self.tuning.inputs.items()}
            costs = layer_costs(model, self.machine, first, self.layers)
        for item in footprints(model, constants):
            if item.node not in weights or (item.bits == 32 and not plain):
                continue
            if not item.values:
                raise DataError(
                    f"scheme {scheme!r} multiplies rotated codes, which no weights compare with",
                    hint="Allocate integers, MX and PoT",
                )
            kl = 0.0
            if not plain:
                levels, scale = (
                    (item.grid.levels, item.grid.scale) if item.grid else (constants[item.values], 1.0)
                )
                kl = divergence(weights[item.node], levels, scale)
            self.candidates[item.node, scheme] = Candidate(item, kl, costs.get(item.node))

    def _ladder(self, layer: str) -> tuple[str, ...]:
        """Candidates that cost less than every one of higher fidelity, cheapest first."""
        kept: list[str] = []
        for scheme in reversed(self.schemes):
            found = self.candidates.get((layer, scheme))
            least = self.candidates[layer, kept[-1]].cost(self.target.kind) if kept else np.inf
            if found is not None and found.cost(self.target.kind) < least:
                kept.append(scheme)
        if not kept:
            raise DataError(f"layer {layer!r} can have none of {list(self.schemes)}", hint="Add fp32 or int8")
        return tuple(reversed(kept))

    def assignment(self, choice: Choice) -> Assignment:
        """For `potluck.quantize`."""
        return Assignment(dict(zip(self.layers, choice, strict=True)))

    def scored(self, choice: Choice) -> Score:
        """An assignment on the tuning samples."""
        if choice not in self._scores:
            self._scores[choice] = self.judge(choice, self.tuning)
        return self._scores[choice]

    def judge(self, choice: Choice, samples: Samples) -> Score:
        """An assignment on any samples."""
        found = self.bench.evaluate(self.assignment(choice), samples)
        self.engines[found.engines] = None
        return score(found.outputs, self.bench.reference(samples), samples.labels, self.metric)

    def predicted(self, choice: Choice) -> float:
        """The sum of the layers' costs."""
        pairs = zip(self.layers, choice, strict=True)
        return sum(self.candidates[pair].cost(self.target.kind) for pair in pairs)

    def measured(self, choice: Choice) -> float:
        """Cycles or joules of the whole network."""
        assert self.machine is not None
        model = self.bench.quantized(self.assignment(choice), batch=1)
        result = simulate(model, self.machine, self.tuning.inputs)
        return float(result.cycles if self.target.kind == "cycles" else result.energy_joules)

    def rank(self, layer: str, scheme: str) -> float:
        """How much a scheme does to a layer, by the chosen sensitivity."""
        if self.sensitivity == "kl":
            return self.candidates[layer, scheme].divergence
        key = (layer, scheme)
        if key not in self._noise:
            alone = self.bench.quantized(Assignment({layer: scheme}))
            found = self.bench.evaluate(alone, self._few)
            self._noise[key] = float(10 ** (-sqnr(self.bench.reference(self._few), found.outputs) / 10))
        return self._noise[key]

    def problem(self) -> Problem:
        """For the search."""
        return Problem(
            self.layers,
            self.ladders,
            self.sigmas,
            self.rank,
            lambda choice: self.scored(choice).value,
            self.predicted,
            self.measured if self.target.kind in ON_MACHINE else None,
        )

    def nearest(self, scheme: str) -> Choice:
        """A scheme everywhere; layers that cannot have it have the next one of higher fidelity, or their highest."""
        order = list(self.schemes)
        choice = []
        for name in self.layers:
            fit = [item for item in self.ladders[name] if order.index(item) >= order.index(scheme)]
            choice.append(fit[0] if fit else self.ladders[name][-1])
        return tuple(choice)


def allocate(
    allocator: Allocator,
    test: Samples,
    *,
    loss: float = 0.01,
    least: float | None = None,
    cost_buffer: float = 0.05,
    **constants: Any,
) -> Allocation:
    """Runs SigmaQuant.

    Args:
        allocator: The network and its target.
        test: Samples that nothing is chosen on.
        loss: How much of the metric may be lost against FP32 (0.01: one point); also the metric's buffer.
        least: The metric's target itself, instead of ``loss``; needed where the metric is SQNR.
        cost_buffer: The cost's buffer, as a share of its target.
        constants: Others of `Settings`.

    Raises:
        DataError: The metric is SQNR and ``least`` is missing.
    """
    top = allocator.nearest(allocator.schemes[-1])
    first = allocator.scored(top)
    reference = allocator.bench.reference(allocator.tuning)
    exact = score(reference, reference, allocator.tuning.labels, first.metric)
    if least is None and first.metric == "sqnr":
        raise DataError(
            "the outputs are no classes, so the metric is SQNR", hint="Say how many dB: --least 20"
        )
    start = allocator.predicted(top)
    most = allocator.target.bound(start)
    settings = Settings(
        exact.value - loss if least is None else least,
        most,
        metric_buffer=max(loss, 1e-6) if least is None else abs(least) * 0.05,
        cost_buffer=cost_buffer * most,
        **constants,
    )
    outcome = search(allocator.problem(), settings)
    choice = outcome.step.choice
    cost = outcome.step.cost
    if allocator.target.kind in ON_MACHINE and outcome.step.measured is None:
        cost = allocator.measured(choice)
    uniform = {}
    for scheme in allocator.schemes:
        everywhere = allocator.nearest(scheme)
        uniform[scheme] = (allocator.scored(everywhere).value, allocator.predicted(everywhere))
    return Allocation(
        allocator.assignment(choice),
        outcome,
        settings,
        first.metric,
        allocator.layers,
        allocator.sigmas,
        allocator.candidates,
        allocator.ladders,
        uniform,
        {"assignment": allocator.judge(choice, test), "start": allocator.judge(top, test)},
        cost,
        sum(
            allocator.candidates[pair].footprint.bytes for pair in zip(allocator.layers, choice, strict=True)
        ),
        "; ".join(allocator.engines),
    )
