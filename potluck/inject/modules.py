"""The artifact's fault site: weights once, and the outputs of every layer on every run (``module_outputs``).

Physically a tensor of activations is written to DRAM and read by the next layer; here its values are rounded to the
stored format, cut into blocks of 32 bytes, encoded, struck, decoded, and go on. As in the artifact, a tail of less than
32 bytes is left alone, and the faults of a layer are those of independent blocks: nothing says where they would lie.
Range tables are made of the fault-free run's values, as a controller would have them before the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from potluck.inject.campaign import Report, report
from potluck.inject.decode import Array
from potluck.inject.target import Answers
from potluck.inject.trial import Observation, Tally
from potluck.isa.errors import DataError
from potluck.isa.formats.elements import BF16, FP16, FP32, ElementFormat
from potluck.sim.dram.mapping import Mapping as DramMapping
from potluck.sim.ecc.interface import Words, as_bytes, as_words
from potluck.sim.ecc.outcomes import Data
from potluck.sim.ecc.stack import Policy
from potluck.sim.faults.faultset import FaultSet
from potluck.sim.faults.models import Model, Uniform
from potluck.sim.faults.parts import Part
from potluck.sim.faults.protected import BlockReads, Protected, Uncorrectable, bit_errors, cells_used
from potluck.sim.faults.recipes import Applied, Recipe, recipe

STORED: dict[str, ElementFormat] = {"fp32": FP32, "bf16": BF16, "fp16": FP16}
MOST_LAYERS = 1 << 16


@dataclass
class Seen:
    """What reads of several tensors found.

    Attributes:
        reads: blocks that faults touched.
        faults: bits struck.
        raw, after: wrong bits in cells, and after on-die correction.
        cells: bits used, in all and without on-die check bits.
    """

    reads: list[BlockReads] = field(default_factory=list)
    faults: int = 0
    raw: int = 0
    after: int = 0
    cells: tuple[int, int] = (0, 0)

    def read(self, protected: Protected, faults: FaultSet, policy: Policy) -> list[Words]:
        """Words of all parts as read."""
        found = protected.read(faults, policy, faults if policy == "retry" else None)
        errors, cells = bit_errors(protected, faults), cells_used(protected)
        self.add(Seen(found, len(faults), errors.raw, errors.after_on_die, cells))
        return protected.words(found)

    def add(self, other: Seen) -> None:
        """Take what others found, too."""
        self.reads += other.reads
        self.faults, self.raw, self.after = (
            self.faults + other.faults,
            self.raw + other.raw,
            self.after + other.after,
        )
        self.cells = self.cells[0] + other.cells[0], self.cells[1] + other.cells[1]


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer's output in the fault-free run.

    Attributes:
        name: of the value.
        number: in the order of the graph.
        protected: one part, its fault-free values.
    """

    name: str
    number: int
    protected: Protected


class Modules:
    """A network in FP32, node by node.

    Args:
        model: standard ONNX, FP32; its first dimension fits the samples.
        stored: format of activations in memory: fp32, bf16 or fp16.
        recipe: stack that protects them.
        mapping: kind of DRAM, for what it stores beside data.

    Raises:
        DataError: an unknown format, or a node that onnxruntime cannot run.
    """

    def __init__(self, model: onnx.ModelProto, stored: str, recipe: Recipe, mapping: DramMapping) -> None:
        if stored not in STORED:
            raise DataError(f"activations stored as {stored!r}", hint=f"One of {', '.join(STORED)}")
        self.element, self.recipe, self.mapping = STORED[stored], recipe, mapping
        inferred = onnx.shape_inference.infer_shapes(model)
        self._types = {
            v.name: v for v in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
        }
        self._constants = {t.name: t for t in model.graph.initializer}
        self.output = model.graph.output[0].name
        self._sessions = [self._session(node, model) for node in model.graph.node]
        self.layers: dict[str, Layer] = {}

    def _session(
        self, node: onnx.NodeProto, model: onnx.ModelProto
    ) -> tuple[onnxruntime.InferenceSession, str]:
        given = [name for name in dict.fromkeys(node.input) if name and name not in self._constants]
        graph = onnx.helper.make_graph(
            [node], node.name or node.output[0], [self._types[name] for name in given],
            [self._types.get(name, onnx.helper.make_empty_tensor_value_info(name)) for name in node.output[:1]],
            [self._constants[name] for name in node.input if name in self._constants],
        )  # fmt: skip
        one = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=10)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        try:
            return onnxruntime.InferenceSession(
                one.SerializeToString(), options, ["CPUExecutionProvider"]
            ), node.output[0]
        except Exception as problem:
            raise DataError(f"onnxruntime cannot run {node.op_type}: {str(problem).splitlines()[0]}",
                            tensor=node.output[0]) from None  # fmt: skip

    def run(
        self, inputs: Mapping[str, Array], model: Model | None = None, key: tuple[int, int] = (0, 0),
        policy: Policy = "pass",
    ) -> tuple[Array, Seen]:  # fmt: skip
        """The network's first output, and what became of the blocks that faults touched.

        Args:
            inputs: by name.
            model: of the faults; None: the fault-free run, which has to come first.
            key: seed and trial.
            policy: on DUE.

        Raises:
            DataError: faults before a fault-free run.
        """
        if model is not None and not self.layers:
            raise DataError("no ranges of activations are known", hint="Run without faults first")
        values, found = dict(inputs), Seen()
        for number, (session, name) in enumerate(self._sessions):
            feeds = {i.name: values[i.name] for i in session.get_inputs()}
            value = session.run([name], feeds)[0]
            if value.dtype == np.float32:
                value = self._stored(value)
                if model is None:
                    self._learn(name, number, value)
                elif name in self.layers:
                    value = self._struck(self.layers[name], value, model, key, policy, found)
            values[name] = value
        return values[self.output], found

    def _stored(self, value: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self.element.decode(self.element.encode(value)), np.float32).reshape(value.shape)

    def _codes(self, value: NDArray[np.float32]) -> tuple[Array, int]:
        codes = self.element.encode(value).astype(self.element.code_dtype).ravel()
        return codes, codes.size * self.element.bits // 256

    def _part(self, name: str, value: NDArray[np.float32]) -> Part | None:
        codes, blocks = self._codes(value)
        if not blocks:
            return None
        words = as_words(codes[: blocks * 256 // self.element.bits])
        return Part(name, "elements", self.element.name, self.element, 0, words)

    def _learn(self, name: str, number: int, value: NDArray[np.float32]) -> None:
        part = self._part(name, value)
        if part is not None:
            self.layers[name] = Layer(name, number, Protected((part,), self.recipe, self.mapping))

    def _struck(
        self, layer: Layer, value: NDArray[np.float32], model: Model, key: tuple[int, int], policy: Policy,
        seen: Seen,
    ) -> NDArray[np.float32]:  # fmt: skip
        part = self._part(layer.name, value)
        assert part is not None
        now = WithRanges((part,), self.recipe, self.mapping, layer.protected)
        faults = model.draw(now.region, (key[0], key[1] * MOST_LAYERS + layer.number + 1))
        (words,) = seen.read(now, faults, policy)
        codes, blocks = self._codes(value)
        read = as_bytes(words).view(self.element.code_dtype).ravel()
        faulty = np.concatenate([read, codes[blocks * 256 // self.element.bits :]])
        return np.asarray(self.element.decode(faulty), np.float32).reshape(value.shape)


@dataclass(frozen=True, eq=False)
class WithRanges(Protected):
    """Values of this run under the stacks, and so the ranges, of another.

    Attributes:
        ranges: whose stacks they are.
    """

    ranges: Protected

    @cached_property
    def applied(self) -> tuple[Applied, ...]:
        """The stack of each part."""
        return self.ranges.applied


def struck_parameters(
    model: onnx.ModelProto, element: ElementFormat, recipe: Recipe, mapping: DramMapping, faults: Model,
    key: tuple[int, int], policy: Policy = "pass",
) -> tuple[onnx.ModelProto, Seen]:  # fmt: skip
    """The network with its parameters struck once, stored as activations are.

    Args:
        model: FP32.
        element: stored format.
        recipe: stack.
        mapping: kind of DRAM.
        faults: model.
        key: seed and trial.
        policy: on DUE.
    """
    out, seen = onnx.ModelProto(), Seen()
    out.CopyFrom(model)
    floats = [t for t in out.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    values = [np.asarray(onnx.numpy_helper.to_array(t)) for t in floats]
    codes = [element.encode(value).astype(element.code_dtype).ravel() for value in values]
    sizes = [one.size * element.bits // 256 * 256 // element.bits for one in codes]
    parts: list[Part] = []
    for tensor, one, size in zip(floats, codes, sizes, strict=True):
        if size:
            first = parts[-1].first + parts[-1].count if parts else 0
            parts.append(Part(tensor.name, "elements", element.name, element, first, as_words(one[:size])))
    protected = Protected(tuple(parts), recipe, mapping)
    words = seen.read(protected, faults.draw(protected.region, (key[0], key[1] * MOST_LAYERS)), policy)
    read = dict(zip((part.name for part in parts), words, strict=True))
    for tensor, value, one, size in zip(floats, values, codes, sizes, strict=True):
        if tensor.name in read:
            one = np.concatenate([as_bytes(read[tensor.name]).view(element.code_dtype).ravel(), one[size:]])
        array = np.asarray(element.decode(one), np.float32).reshape(value.shape)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return out, seen


@dataclass(frozen=True, eq=False)
class ModulesArm:
    """Faults at the artifact's site; arguments as of `inject_modules`, members as of `trial.Arm`."""

    network: onnx.ModelProto
    inputs: Mapping[str, Array]
    labels: Array | None
    stored: str
    stack: str
    model: Model
    seed: int
    mapping: DramMapping
    policy: Policy = "pass"

    @cached_property
    def recipe(self) -> Recipe:
        """The stack."""
        return recipe(self.stack)

    @cached_property
    def _fault_free(self) -> tuple[Modules, Array]:
        made = Modules(self.network, self.stored, self.recipe, self.mapping)
        return made, made.run(self.inputs)[0]

    @property
    def clean(self) -> Modules:
        """After its fault-free run."""
        return self._fault_free[0]

    @property
    def golden(self) -> Array:
        """Answers without faults."""
        return self._fault_free[1]

    @property
    def check_bits(self) -> int:
        """Stored per 256 bits of data."""
        return self._first.applied[0].stack.check_bits

    @property
    def bits(self) -> tuple[int, int]:
        """Cells used, and those of them outside the devices' own code."""
        cells = [cells_used(layer.protected) for layer in self.clean.layers.values()]
        parameters = self._struck(Uniform(0.0), 0)[1].cells
        return parameters[0] + sum(c[0] for c in cells), parameters[1] + sum(c[1] for c in cells)

    @property
    def expected_ber(self) -> float:
        """Raw, of the model."""
        return self.model.raw_ber(self._first.region)

    @property
    def notes(self) -> list[str]:
        """What differs from the stack's name."""
        layers = self.clean.layers.values()
        return sorted({a.note for layer in layers for a in layer.protected.applied if a.note})

    @property
    def _first(self) -> Protected:
        return next(iter(self.clean.layers.values())).protected

    def _struck(self, faults: Model, number: int) -> tuple[onnx.ModelProto, Seen]:
        key = self.seed, number
        return struck_parameters(
            self.network, STORED[self.stored], self.recipe, self.mapping, faults, key, self.policy
        )

    def observe(self, number: int) -> Observation:
        """Run a trial."""
        clean = self.clean
        try:
            faulty, seen = self._struck(self.model, number)
            run = Modules(faulty, self.stored, self.recipe, self.mapping)
            run.layers = clean.layers
            given, later = run.run(self.inputs, self.model, (self.seed, number), self.policy)
        except Uncorrectable:
            return Observation(number, 0, 0, 0, Tally(), False, True, None)
        seen.add(later)
        tally = Tally()
        for read in seen.reads:
            tally.add("elements", read)
        changed = any((read.state != Data.EXACT).any() for read in seen.reads)
        answers = Answers(given, np.zeros(len(given), np.uint8))
        return Observation(number, seen.faults, seen.raw, seen.after, tally, changed, False, answers)


def inject_modules(
    model: onnx.ModelProto, inputs: Mapping[str, Array], labels: Array | None, stored: str, stack: str,
    faults: Model, trials: int | Sequence[int], seed: int, mapping: DramMapping, policy: Policy = "pass",
    step: Callable[[], object] = lambda: None,
) -> Report:  # fmt: skip
    """A campaign at the artifact's site: parameters once, the output of every layer on every run.

    Args:
        model: standard ONNX in FP32, for as many samples as there are.
        inputs: samples by name.
        labels: class of each; None: answers are compared with the fault-free ones.
        stored: fp32, bf16 or fp16.
        stack: a recipe.
        faults: their model.
        trials: how many, or which.
        seed: of the campaign.
        mapping: kind of DRAM.
        policy: on DUE.
        step: called after each trial.
    """
    arm = ModulesArm(model, inputs, labels, stored, stack, faults, seed, mapping, policy)
    return report(arm, trials, step)
