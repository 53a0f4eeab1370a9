"""A network of the zoo in one scheme: on onnxruntime, as the quantized ONNX reference, and on the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck import api
from potluck.compiler.footprint import footprints
from potluck.compiler.host import HostNetwork
from potluck.compiler.passes import make, run_passes
from potluck.compiler.quantizers.statistics import sqnr
from potluck.compiler.schemes import written
from potluck.compiler.support import Unsupported, unsupported
from potluck.evaluation.network import Bench
from potluck.isa.elf import Program
from potluck.isa.errors import DataError, MachineError, ModelError
from potluck.isa.machine import Machine
from potluck.peak import forget_peak, peak_memory
from potluck.sim.result import LayerResult
from potluck.zoo.generation import THREADS
from potluck.zoo.measures import Measure
from potluck.zoo.network import Network, largest

BATCH = 20
"""Samples at a time on the host, where a network takes several."""
Step = Callable[[], object]


@dataclass(frozen=True)
class Comparison:
    """How near outputs are to a reference's.

    Attributes:
        agreement: Percentage of samples, or of positions in them, about which the same is decided.
        equal: Percentage of outputs that are the reference's bits.
        difference: Largest difference, relative to the reference's largest magnitude.
        sqnr: dB; infinite if all are equal.
    """

    agreement: float
    equal: float
    difference: float
    sqnr: float


@dataclass(frozen=True)
class OnMachine:
    """What the machine made of the first samples.

    Attributes:
        measure: The task metric.
        against: Its outputs compared with the quantized ONNX network's.
        samples: How many it ran.
        macs: Multiply-accumulates of one sample.
        cycles: Of one sample, mean.
        joules: The same.
        compile_seconds: Host time.
        first_seconds: Of the first sample's simulation, which compiles instructions that are not in the cache.
        seconds: Of the fastest of the others; of the first if there are no others.
        peak_bytes: Most memory that this process had while it compiled and simulated, whatever it held before included;
            0 where the system does not tell.
        layers: Of the last sample, as the simulator reports them.
    """

    measure: Measure
    against: Comparison
    samples: int
    macs: int
    cycles: float
    joules: float
    compile_seconds: float
    first_seconds: float
    seconds: float
    peak_bytes: int
    layers: tuple[LayerResult, ...]


@dataclass(frozen=True)
class Outcome:
    """What a network does in one scheme, and what that costs.

    Attributes:
        scheme: Its name.
        everything: The metric of the quantized ONNX network on all samples, products in FP32.
        fp32: The metric in FP32 on the samples that the machine runs.
        reference: The metric of the quantized ONNX network on the same; integer products in it end by the law of
            rounding that the machine follows, written out in standard operators.
        noise: SQNR of the reference's outputs against FP32's, dB: what quantization itself does.
        quantize_seconds: Host time.
        macs_share: Percentage of the multiply-accumulates with weights that the machine takes.
        nodes_share: Percentage of the nodes of the compiled graph.
        refused: Nodes that it does not take, each with the reason.
        machine: None if the network was refused.
        error: Why it was, else empty.
    """

    scheme: str
    everything: Measure
    fp32: Measure
    reference: Measure
    noise: float
    quantize_seconds: float
    macs_share: float
    nodes_share: float
    refused: tuple[Unsupported, ...]
    machine: OnMachine | None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass
class Stand:
    """A network with its samples, for runs in several schemes.

    Attributes:
        network: Of the zoo.
        machine: What to compile for.
        count: Samples to run on the machine: the first ones.
        mode: Of the simulation.

    Raises:
        DataError: There are fewer samples.
        ToolError: A package of the network is missing.
    """

    network: Network
    machine: Machine
    count: int
    mode: str = "timed"

    def __post_init__(self) -> None:
        self.network.check()
        self.all = self.network.samples()
        if not 1 <= self.count <= len(self.all):
            raise DataError(f"{self.network.name} has {len(self.all)} samples, not {self.count}")
        self.few = self.all.part(slice(0, self.count))
        batch = BATCH if self.network.batched else 1
        options = {"dims": dict(self.network.dims)}
        self.bench = Bench(self.network.model(), self.network.calibration(), batch, options)
        self._plain: NDArray[Any] | None = None

    def plain(self) -> NDArray[Any]:
        """FP32's outputs on all samples, computed once."""
        if self._plain is None:
            self._plain = self.bench.evaluate("fp32", self.all).outputs
        return self._plain

    def outcome(self, scheme: str, step: Step = lambda: None) -> Outcome:
        """Quantizes, evaluates the reference on all samples, compiles, and runs the first samples.

        Args:
            scheme: A name of `potluck.compiler.schemes`; methods of `potluck.compiler.ptq.recipe` may follow:
                ``mxfp4:better``, ``mxfp4:clip+gptq``.
            step: Called after each sample on the machine.

        Raises:
            ModelError: The scheme does not fit the network.
            TrapError: The program went wrong.
        """
        measure, few, (name, options) = self.network.measure, self.few, self._options(scheme)
        plain = self.plain()
        start = time.perf_counter()
        quantized = self.bench.quantized(name, batch=1, **options)
        spent = time.perf_counter() - start
        whole = self.bench.evaluate(self.bench.quantized(name, **options), self.all).outputs
        lowered = ir.from_proto(ir.to_proto(quantized))
        run_passes(lowered, [make("integer_products")])
        reference = self.bench.evaluate(lowered, few).outputs
        refused, macs_share, nodes_share = coverage(lowered)
        machine, error = None, ""
        del lowered
        forget_peak()
        start = time.perf_counter()
        try:
            program = api.compile(quantized, self.machine)
        except (ModelError, MachineError) as reason:
            error = str(reason)
            macs_share *= bool(refused)  # a network that does not fit is not run in part
        else:
            machine = self._run(program, reference, time.perf_counter() - start, step)
        return Outcome(
            scheme, measure(whole, self.all), measure(plain[: len(few)], few), measure(reference, few),
            float(sqnr(plain[: len(few)], reference)), spent, macs_share, nodes_share, refused, machine, error,
        )  # fmt: skip

    def _options(self, scheme: str) -> tuple[str, dict[str, Any]]:
        """A scheme's name, and the options of its quantization."""
        name, options = written.parse(scheme)
        return name, {**self.network.options.get(name, {}), **options}

    def _run(self, program: Program, reference: NDArray[Any], spent: float, step: Step) -> OnMachine:
        outputs, cycles, joules, seconds = [], [], [], []
        for index in range(len(self.few)):
            inputs = {name: array[index : index + 1] for name, array in self.few.inputs.items()}
            start = time.perf_counter()
            result = api.simulate(program, inputs, self.mode, self.machine, threads=THREADS)
            seconds.append(time.perf_counter() - start)
            outputs.append(result.outputs[program.manifest.outputs[0].name])
            cycles.append(result.cycles)
            joules.append(result.energy_joules)
            step()
        ours = np.concatenate(outputs).reshape(reference.shape)
        against = compared(ours, reference, self.network.decide)
        return OnMachine(
            self.network.measure(ours, self.few), against, len(self.few), result.macs,
            float(np.mean(cycles)), float(np.mean(joules)), spent, seconds[0], min(seconds[1:] or seconds),
            peak_memory(), tuple(result.layers),
        )  # fmt: skip


def coverage(model: ir.Model) -> tuple[tuple[Unsupported, ...], float, float]:
    """Nodes that the machine does not take; percentages of multiply-accumulates and of nodes that it takes."""
    refused = tuple(unsupported(model))
    names = {item.node for item in refused}
    work = footprints(model, HostNetwork(model).constants)
    total = sum(item.macs for item in work)
    lost = sum(item.macs for item in work if item.node in names)
    nodes = len(list(model.graph))
    return refused, 100 * (1 - lost / max(1, total)), 100 * (1 - len(refused) / max(1, nodes))


def compared(
    ours: NDArray[Any], reference: NDArray[Any], decide: Callable[[NDArray[Any]], NDArray[Any]] = largest
) -> Comparison:
    """Compares outputs with those of a reference, and what is decided by them."""
    magnitude = float(np.abs(reference).max(initial=0)) or 1.0
    return Comparison(
        float(100 * (decide(ours) == decide(reference)).mean()),
        float(100 * (_bits(ours) == _bits(reference.astype(ours.dtype))).mean()),
        float(np.abs(ours.astype(np.float64) - reference).max(initial=0)) / magnitude,
        sqnr(reference, ours),
    )


def _bits(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
