"""A network ready to be injected into: its program, its constants, its samples, and how answers are computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from potluck import api
from potluck.inject.decode import Array
from potluck.inject.reference import NotExact, Reference, reference
from potluck.isa.elf import Program
from potluck.isa.errors import DataError, EndlessError, ExitError, MachineError, TrapError
from potluck.isa.machine import Machine
from potluck.sim.checkpoints.replay import Patch
from potluck.sim.checkpoints.runs import FaultyRuns
from potluck.sim.checkpoints.stage import Outside, supported
from potluck.sim.checkpoints.visible import Visible
from potluck.sim.dram.attach import mapping_of
from potluck.sim.dram.mapping import Mapping as DramMapping
from potluck.sim.ecc.interface import Words
from potluck.sim.faults.contents import parts_of
from potluck.sim.faults.parts import Content, Part, constants, patched

Engine = Literal["auto", "onnx", "sim"]
BATCH = 50
RECENT = 4
"""Answers that are kept, for the stacks that come next."""
PATIENCE = 10
"""A run that takes so many times the fault-free run's instructions hangs."""


class End(IntEnum):
    """How the run of a sample ended."""

    WHOLE = 0
    CRASH = 1
    HANG = 2


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network gave.

    Attributes:
        values: first output, the first axis counting samples; NaN of a run that did not come to its end.
        ends: uint8 (samples,), an `End` each.
    """

    values: Array
    ends: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Target:
    """What faults are injected into.

    Attributes:
        program: compiled.
        machine: that runs it.
        inputs: by name, the first axis counting samples.
        labels: class of each sample; None: answers are compared with the fault-free ones.
        fast: the same network on onnxruntime; None: the machine runs everything.
        strict: never leave onnxruntime (engine ``onnx``), but refuse what it cannot do.
        folder: where processes share the machine's golden runs; None: this process keeps its own.
        contents: what of the program faults may strike.
        checkpoints: whether the machine begins at checkpoints of golden runs, and ends where it equals them; else all
            runs go from start to end. Answers are the same.
    """

    program: Program
    machine: Machine
    inputs: Mapping[str, Array]
    labels: Array | None
    fast: Reference | None
    strict: bool = False
    folder: Path | None = None
    contents: tuple[Content, ...] = ("constants",)
    checkpoints: bool = True
    _recent: dict[tuple[bytes, bytes], Answers] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """What faults may strike."""
        return tuple(parts_of(self.program, self.machine.memory.dram_base, self.contents))

    @cached_property
    def mapping(self) -> DramMapping:
        """Of the machine's DRAM.

        Raises:
            MachineError: it is ``simple``.
        """
        found = mapping_of(self.machine)
        if found is None:
            raise MachineError("simple DRAM has no cells", key="dram.kind", hint="--set dram.kind=hbm3")
        return found

    @cached_property
    def golden(self) -> Array:
        """Answers without faults."""
        return self.answers([part.clean for part in self.parts])

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(next(iter(self.inputs.values())))

    @cached_property
    def runs(self) -> FaultyRuns | None:
        """Runs from checkpoints; None: the program cannot, is not to, or runs too rarely for golden runs to pay."""
        rarely = self.fast is not None and self.folder is None
        if not self.checkpoints or rarely or not supported(self.program, self.machine):
            return None
        made = self._faulty_runs(self.inputs, self.folder)
        try:
            made.golden(0)
        except Outside:
            return None
        return made

    def visible(self, sample: int, patch: Patch) -> Visible | None:
        """Where corrupted constants first show when the machine runs a sample.

        None: nowhere, or the program's runs cannot be kept.
        """
        if not supported(self.program, self.machine):
            return None
        try:
            return self._faulty_runs(self._input(sample)).visible(0, patch)
        except Outside:
            return None

    def _faulty_runs(self, inputs: Mapping[str, Array], folder: Path | None = None) -> FaultyRuns:
        first, end = self.parts[0].first, max(part.first + part.count for part in self.parts)
        return FaultyRuns(self.program, self.machine, inputs, first, end - first, PATIENCE, folder)

    def _input(self, sample: int) -> dict[str, Array]:
        return {name: value[sample : sample + 1] for name, value in self.inputs.items()}

    @cached_property
    def budget(self) -> int:
        """Instructions after which a run with faults hangs."""
        if self.runs is not None:
            return self.runs.budget
        result = api.simulate(self.program, self._input(0), mode="functional", machine=self.machine)
        return PATIENCE * int(result.instructions)

    def run(self, words: Sequence[Words]) -> Answers:
        """The network on every sample with constants as read.

        Raises:
            DataError: engine ``onnx``, and this trial is only exact on the machine.
        """
        known = [part.content == "constants" for part in self.parts]
        graph = all(k or read is part.clean for k, part, read in zip(known, self.parts, words, strict=True))
        if self.fast is not None and graph:
            try:
                mine = [read for k, read in zip(known, words, strict=True) if k]
                mine = mine or [part.clean for part in self.fast.parts]
                return Answers(self.fast.run(self.inputs, mine), np.zeros(self.samples, np.uint8))
            except NotExact as problem:
                if self.strict:
                    raise DataError("its faults have no exact meaning in ONNX", tensor=str(problem),
                                    hint="Use engine auto or sim") from None  # fmt: skip
        return self.executed(words)

    def run_with(self, patch: Patch) -> Answers:
        """The network on every sample with some sectors of constants as read; see `run`.

        Stacks that read the same (which nobody corrected, say) have the same answers, which are kept for a while.
        """
        key = patch.sectors.tobytes(), patch.words.tobytes()
        found = self._recent.pop(key, None)
        if found is None:
            found = self.run(self.words(patch)) if self.fast is not None else self._executed(patch)
        self._recent[key] = found
        while len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]
        return found

    def words(self, patch: Patch) -> list[Words]:
        """All sectors of each part as read; a part that nothing changed is `Part.clean` itself."""
        out = [part.clean for part in self.parts]
        for number, part in enumerate(self.parts):
            mine = (patch.sectors >= part.first) & (patch.sectors < part.first + part.count)
            if mine.any():
                out[number] = part.clean.copy()
                out[number][patch.sectors[mine] - part.first] = patch.words[mine]
        return out

    def answers(self, words: Sequence[Words]) -> Array:
        """First output of every sample with constants as read; see `run`."""
        return self.run(words).values

    def simulated(self, words: Sequence[Words]) -> Array:
        """First output of every sample, on the machine; see `executed`."""
        return self.executed(words).values

    def executed(self, words: Sequence[Words]) -> Answers:
        """The program on the machine, from the faulty bytes in its DRAM."""
        return self._executed(self.patch(words))

    def _executed(self, patch: Patch) -> Answers:
        return self.ended(lambda sample: self._output(sample, patch))

    def ended(self, run: Callable[[int], Array]) -> Answers:
        """Answers, and how runs ended.

        Args:
            run: gives the first output of a sample, or raises how its run ended.
        """
        found, ends = [], np.zeros(self.samples, np.uint8)
        shape = self.program.manifest.outputs[0].shape
        for k in range(self.samples):
            try:
                found.append(run(k))
                continue
            except (TrapError, ExitError):
                ends[k] = End.CRASH
            except EndlessError:
                ends[k] = End.HANG
            found.append(np.full(shape, np.nan, np.float32))
        return Answers(np.concatenate(found), ends)

    def _output(self, sample: int, patch: Patch) -> Array:
        """First output of a sample."""
        name = self.program.manifest.outputs[0].name
        if self.runs is not None:
            try:
                return np.asarray(self.runs.outputs(sample, patch)[name])
            except Outside:
                pass
        program = patched(self.program, list(self.parts), self.words(patch), self.machine.memory.dram_base)
        one, budget = self._input(sample), self.budget
        result = api.simulate(program, one, mode="functional", machine=self.machine, budget=budget)
        return np.asarray(result.outputs[name])

    def patch(self, words: Sequence[Words]) -> Patch:
        """Where constants as read differ from clean ones."""
        return Patch.of(
            (part.first + np.arange(part.count), part.clean, read)
            for part, read in zip(self.parts, words, strict=True) if read is not part.clean
        )  # fmt: skip

    def metric(self, answers: Array) -> float:
        """Share of samples whose largest output is the label's (without labels: the fault-free run's)."""
        return top_share(answers, wanted_of(self.golden, self.labels))


def wanted_of(golden: Array, labels: Array | None) -> Array:
    """The class that each sample should have: its label, or what the fault-free run gives."""
    return np.asarray(golden.argmax(axis=-1) if labels is None else labels)


def top_share(answers: Array, wanted: Array) -> float:
    """Share of samples whose largest output is the wanted one; NaN among the outputs is a wrong answer."""
    given = np.asarray(answers, np.float64)
    chosen = np.where(np.isnan(given).any(axis=-1), -1, np.nan_to_num(given).argmax(axis=-1))
    return float((chosen == wanted.reshape(chosen.shape)).mean())


def load_target(
    source: str | Path, scheme: str | None, machine: Machine, data: Mapping[str, Any] | None = None,
    samples: int = 100, engine: str = "auto", sizes: Mapping[str, int] | None = None,
    contents: Sequence[Content] = ("constants",), **options: Any,
) -> Target:  # fmt: skip
    """Make a target.

    Args:
        source: ``demo`` (the packaged ResNet-8 with its images), an ONNX file, or an ELF file.
        scheme: quantize first; not of an ELF file.
        machine: to compile for and run on.
        data: samples by input name, and ``labels``; needed but for ``demo``.
        samples: how many of them to use, from the first.
        engine: ``onnx`` (onnxruntime, only where that is exact), ``sim`` (the machine), or ``auto``: onnxruntime, and
            the machine for trials that need it.
        sizes: of dynamic dimensions other than the number of samples.
        contents: what of the program faults may strike; runs with faults in text or pointers need the machine.
        options: of `potluck.quantize`; calibration defaults to the samples.

    Raises:
        DataError: no samples, an unknown engine, or engine ``onnx`` of a program that has no graph, or with `contents`
            that no graph has.
    """
    contents = tuple(contents)
    if engine == "onnx" and set(contents) != {"constants"}:
        raise DataError(f"a graph has no {' and '.join(sorted({*contents} - {'constants'}))}",
                        hint="Use engine auto or sim")  # fmt: skip
    if engine not in get_args(Engine):
        raise DataError(f"engine {engine!r}", hint=f"One of {', '.join(get_args(Engine))}")
    source, arrays, labels = samples_of(source, data or {}, samples)
    if Path(source).suffix == ".elf":
        if engine == "onnx":
            raise DataError("an ELF file has no ONNX graph", hint="Give the network, or use engine sim")
        return Target(api.load_program(source), machine, arrays, labels, None, contents=contents)
    from potluck.compiler.build import prepare

    if scheme and options.get("calibration") is None:
        options["calibration"] = arrays
    if scheme:
        program = api.compile(api.quantize(source, scheme, dims=sizes, **options), machine)
    else:
        program = api.compile(source, machine, dims=sizes)
    target = Target(program, machine, arrays, labels, None, contents=contents)
    if engine == "sim":
        return target
    try:
        dims = {name: min(BATCH, target.samples) for name in _batch_names(source)}
        batch = next(iter(dims.values()), 1)
        model = prepare(source, scheme, dims={**(sizes or {}), **dims}, **options)
        base = machine.memory.dram_base
        fast = reference(model, program, constants(program, base), base, batch)
    except DataError:
        if engine == "onnx":
            raise
        return target
    return replace(target, fast=fast, strict=engine == "onnx")


def samples_of(
    source: str | Path, data: Mapping[str, Any], samples: int
) -> tuple[str | Path, dict[str, Array], Array | None]:
    """A network's file, its first samples by input, and their labels, if there are any.

    Raises:
        DataError: no samples.
    """
    arrays = dict(data)
    if str(source) == "demo":
        from potluck.assets import load_test_images, model_path

        source = model_path()
        if not arrays:
            images, classes = load_test_images(samples)
            arrays = {"input": images, "labels": classes}
    labels = arrays.pop("labels", None)
    if not arrays:
        raise DataError("no samples to run", hint="Give --data X.npz: an array per input, and labels")
    found = {name: np.asarray(value)[:samples] for name, value in arrays.items()}
    return source, found, None if labels is None else np.asarray(labels)[:samples]


def _batch_names(source: str | Path) -> set[str]:
    """Names of the inputs' first dimensions where they are dynamic; otherwise samples run one by one."""
    import onnx

    graph = onnx.load(str(source), load_external_data=False).graph
    constants = {t.name for t in graph.initializer}
    shapes = [v.type.tensor_type.shape.dim for v in graph.input if v.name not in constants]
    return {shape[0].dim_param for shape in shapes if shape and shape[0].dim_param}
