"""One network on one set of samples, in FP32 and quantized: outputs, noise of each layer, and what it stores."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.footprint import Footprint, footprints
from potluck.compiler.graph.nodes import label, shape_of
from potluck.compiler.host import HostNetwork
from potluck.compiler.importer import Source
from potluck.compiler.passes.assign import products
from potluck.compiler.ptq.pipeline import kept_words
from potluck.compiler.ptq.recipe import before
from potluck.compiler.ptq.transfer import transfer
from potluck.compiler.quantize import QuantizedModel, quantize_model
from potluck.compiler.quantizers.statistics import sqnr
from potluck.compiler.schemes import Assignment, Options, Trainer, calibrated
from potluck.evaluation.samples import Samples
from potluck.isa.errors import ModelError

PLAIN = ("fp32", "none")
"""Schemes that quantize nothing."""
OBSERVED = 64
"""Samples from which the noise of layers is taken."""
OBSERVED_BYTES = 1 << 28
"""Fewer samples, when their layers' outputs take so much: those of a language model are some 200 MB each."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A network on samples.

    Attributes:
        outputs: Its first output, [n, ...].
        layers: SQNR in dB of each product's output against FP32, noise of the layers before it included.
        footprints: What its products store.
        engines: What ran it.
        model: The graph.
    """

    outputs: NDArray[Any]
    layers: Mapping[str, float]
    footprints: list[Footprint]
    engines: str
    model: ir.Model


@dataclass
class Bench:
    """A network, its calibration samples, and the options of every quantization.

    Attributes:
        source: The network.
        calibration: Input name -> samples.
        batch: Samples at a time, if the network's first dimension is free; becomes 1 if the network gives other outputs
            or none for several samples than for each alone (a Reshape may have its batch written into it).
        options: Of `potluck.compiler.quantize.quantize_model`; samples come from ``calibration``.
        train: Trains what `evaluate` quantizes (QAT).
        training: Samples for it; the calibration samples if None.
    """

    source: Source
    calibration: Mapping[str, NDArray[Any]]
    batch: int = 32
    options: Mapping[str, Any] = field(default_factory=dict)
    train: Trainer | None = None
    training: Mapping[str, NDArray[Any]] | None = None
    _reference: dict[int, tuple[Samples, NDArray[Any], dict[str, list[NDArray[Any]]]]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        if self.batch > 1 and self.calibration and not self._takes_batches():
            self.batch = 1

    def _takes_batches(self) -> bool:
        bound = self.options.get("bind") or ()
        if not free_batch(self.source, 1, bound):
            return True  # it has a size of its own
        count = min(self.batch, len(next(iter(self.calibration.values()))))
        few = Samples({name: array[:count] for name, array in self.calibration.items()})
        alone = self._outputs(1, few.part(np.array([0, count - 1])))
        try:
            together = self._outputs(self.batch, few)
        except Exception:  # shape inference and each engine have errors of their own
            return False
        if together.shape != (count, *alone.shape[1:]):
            return False
        return bool(
            np.allclose(together[[0, -1]], alone, rtol=1e-3, atol=1e-3 * float(np.abs(alone).max(initial=0)))
        )

    def _outputs(self, batch: int, samples: Samples) -> NDArray[Any]:
        model = self.quantized("fp32", batch)
        network = HostNetwork(model)
        parts = [network.run(feed)[network.outputs[0]][:count] for feed, count in batches(model, samples)]
        return np.concatenate(parts)

    def quantized(self, scheme: str | Assignment, batch: int | None = None, **options: Any) -> QuantizedModel:
        """The quantized network, for `batch` samples at a time; FP32 is left as it is whatever the options."""
        given = {**self.options, **options}
        plain = scheme in PLAIN
        for name in ("calibration", *(("ptq", "keep") if plain else ())):
            given.pop(name, None)
        if not plain and (calibrated(scheme) or given.get("ptq") or given.get("keep") or given.get("train")):
            given["calibration"] = self.calibration
        dims = free_batch(self.source, self.batch if batch is None else batch, given.get("bind") or ())
        return quantize_model(self.source, scheme, dims={**dims, **given.pop("dims", {})}, **given)

    def trained(self, scheme: str | Assignment, batch: int | None = None) -> QuantizedModel:
        """As `quantized`, and trained if there is something to train with; the weights do not depend on `batch`."""
        if self.train is None or scheme in PLAIN:
            return self.quantized(scheme, batch)
        made = self.quantized(scheme, train=self.train, tuning=self.training)
        return made if batch is None else self.resized(made, scheme, batch)

    def resized(
        self, model: ir.Model, scheme: str | Assignment, batch: int, **options: Any
    ) -> QuantizedModel:
        """What `quantized` gave for some options, for another batch, without optimizing its weights again."""
        given = {**self.options, **options}
        if scheme in PLAIN or not (given.get("ptq") or self.train):
            return self.quantized(scheme, batch, **options)
        words = kept_words(scheme, Options.of(ptq=given.get("ptq", ""), keep=given.get("keep")))
        made = self.quantized(
            scheme, batch, **{**options, "ptq": before(given.get("ptq", "")), "keep": words}
        )
        transfer(model, made)
        return made

    def evaluate(
        self, scheme: str | Assignment | ir.Model, samples: Samples, layers: bool = False
    ) -> Evaluated:
        """Runs a scheme, or a network that is quantized already, on samples.

        Args:
            scheme: What to run.
            samples: On what.
            layers: Measure the noise of each layer, too.
        """
        model = scheme if isinstance(scheme, ir.Model) else self.trained(scheme)
        made = {label(node): node.outputs[0].name or "" for node in model.graph}
        wanted: dict[str, str] = {}
        if layers:
            self.reference(samples)
            seen = self._reference[id(samples)][2]
            wanted = {name: made[name] for name in seen if name in made}
        network = HostNetwork(model, [name for name in wanted.values() if name])
        outputs, noise = [], {}
        gathered: dict[str, list[NDArray[Any]]] = {name: [] for name in wanted}
        for feed, count in batches(model, samples):
            found = network.run(feed)
            outputs.append(found[network.outputs[0]][:count])
            for name, value in wanted.items():
                if sum(map(len, gathered[name])) < sum(map(len, seen[name])):
                    gathered[name].append(found[value][:count])
        for name, parts in gathered.items():
            theirs = np.concatenate(seen[name])[:OBSERVED]
            ours = np.concatenate(parts)[: len(theirs)]
            if ours.shape == theirs.shape:
                noise[name] = sqnr(theirs, ours)
        stored = footprints(model, network.constants)
        return Evaluated(np.concatenate(outputs), noise, stored, network.engines, model)

    def reference(self, samples: Samples) -> NDArray[Any]:
        """FP32's outputs on samples, computed once."""
        if id(samples) not in self._reference:
            model = self.quantized("fp32")
            names = {label(node): node.outputs[0].name or "" for node in products(model)}
            network = HostNetwork(model, list(names.values()))
            outputs: list[NDArray[Any]] = []
            seen: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
            held = 0
            for feed, count in batches(model, samples):
                found = network.run(feed)
                outputs.append(found[network.outputs[0]][:count])
                if sum(map(len, outputs)) - count < OBSERVED and held < OBSERVED_BYTES:
                    for name, value in names.items():
                        seen[name].append(found[value][:count])
                        held += seen[name][-1].nbytes
            # The samples are kept as well, so that their id is not given to others.
            self._reference[id(samples)] = (samples, np.concatenate(outputs), seen)
        return self._reference[id(samples)][1]


def free_batch(source: Source, size: int, bound: Collection[str] = ()) -> dict[str, int]:
    """Sizes for the first dimensions of inputs that are free, but of inputs that become constants.

    Raises:
        ModelError: The file cannot be read.
    """
    dims = {}
    for value in graph_inputs(source):
        if (
            value.name not in bound
            and value.shape is not None
            and len(value.shape)
            and not isinstance(value.shape[0], int)
        ):
            dims[value.shape[0].value or f"{value.name}.0"] = size
    return dims


def graph_inputs(source: Source) -> list[ir.Value]:
    """Inputs of a network as its file states them, weights left out."""
    if isinstance(source, ir.Model):
        model = source
    elif isinstance(source, onnx.ModelProto):
        model = ir.from_proto(source)
    else:
        path = Path(source)
        if not path.is_file():
            raise ModelError(f"no such file {str(path)!r}", hint="Give the path of an ONNX model")
        try:
            model = ir.load(path)
        except Exception as error:  # protobuf and onnx-ir each have their own
            raise ModelError(f"{str(path)!r} is not a valid ONNX model: {error}") from error
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def batches(model: ir.Model, samples: Samples) -> Iterator[tuple[dict[str, NDArray[Any]], int]]:
    """Feeds of the network's batch size, each with how many of its samples are new (the last one is filled up)."""
    inputs = [value for value in model.graph.inputs]
    size = max((shape_of(value)[0] for value in inputs if shape_of(value)), default=1)
    for start in range(0, len(samples), size):
        which = range(start, start + size)
        feed = {
            value.name or "": np.take(samples.inputs[value.name or ""], which, axis=0, mode="wrap")
            for value in inputs
        }
        yield feed, min(size, len(samples) - start)
