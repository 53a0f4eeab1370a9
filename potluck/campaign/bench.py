"""A campaign's networks, ready for trials: what every worker makes for itself from the spec alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from potluck.campaign.cells import Cell, cells, model_of, rates_of
from potluck.campaign.forced import Forced
from potluck.campaign.outcomes import Judge
from potluck.campaign.spec import FaultList, Mission, Modes, Spec
from potluck.inject.compute import ChipSite, ComputeArm, HartArm, PeArm
from potluck.inject.decode import Array
from potluck.inject.modules import ModulesArm
from potluck.inject.target import Target, load_target, samples_of
from potluck.inject.trial import Arm, DramArm
from potluck.isa.errors import CampaignError, DataError, MachineError, PotluckError
from potluck.isa.machine import Machine, load_machine
from potluck.replacing import replacing
from potluck.sim.dram.attach import mapping_of
from potluck.sim.dram.mapping import Mapping as DramMapping
from potluck.sim.faults.conditioned import OneFault
from potluck.sim.faults.draws import Draws
from potluck.sim.faults.footprints import Correlated
from potluck.sim.faults.models import Listed, Model
from potluck.sim.faults.tables import rate_tables

AS_IS = "as-is"


@dataclass(frozen=True, eq=False)
class Source:
    """Where a network and its inputs come from.

    Attributes:
        model: path, or ``demo``.
        data: arrays by name; empty: those that come with ``demo``.
        dims: sizes of dynamic dimensions.
        options: of quantization, by scheme.
        calibration: samples that fix ranges; None: the trials' own inputs.
    """

    model: str | Path
    data: dict[str, Array]
    dims: dict[str, int] = field(default_factory=dict)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    calibration: dict[str, Array] | None = None


@dataclass(frozen=True, eq=False)
class Bench:
    """What trials run on.

    Attributes:
        spec: of the campaign.
        base: folder that the spec's paths count from.
        folder: of the campaign, where a network of the zoo is kept as ONNX.
        expected: digests of each cell's fault-free answers, if another process registered them.
    """

    spec: Spec
    base: Path
    folder: Path
    expected: list[str] | None = None
    _targets: dict[str, Target] = field(default_factory=dict, repr=False)
    _arms: dict[int, Arm] = field(default_factory=dict, repr=False)
    _models: dict[str, Model] = field(default_factory=dict, repr=False)
    _draws: Draws = field(default_factory=Draws, repr=False)
    _judges: dict[tuple[str, str], Judge] = field(default_factory=dict, repr=False)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Of the campaign."""
        return cells(self.spec, self.base)

    @cached_property
    def machine(self) -> Machine:
        """That runs the program.

        Raises:
            CampaignError: unknown, or a wrong key.
        """
        name = self.spec.network.machine
        try:
            return load_machine(self.base / name if name.endswith(".toml") else name, self.spec.network.set)
        except MachineError as problem:
            key = "network.machine" if problem.key is None else f"network.set.{problem.key}"
            raise CampaignError(problem.message, key=key, hint=problem.hint) from None

    @cached_property
    def mapping(self) -> DramMapping:
        """Of the machine's DRAM.

        Raises:
            CampaignError: it is ``simple``.
        """
        found = mapping_of(self.machine)
        if found is None:
            raise CampaignError("simple DRAM has no cells", key="network.set",
                                hint='Give a kind: set = {"dram.kind" = "hbm3"}')  # fmt: skip
        return found

    @cached_property
    def source(self) -> Source:
        """The network and its inputs.

        Raises:
            CampaignError: no such network, or no inputs.
        """
        from potluck.zoo import registry

        name, data = self.spec.network.model, self._data()
        if name == "demo":
            return Source(name, data)
        if name in registry.PLACES:
            network = registry.find(name)
            network.check()
            path = self.folder / "network.onnx"
            if not path.exists():
                _write_model(network.model(), path)
            if not data:
                samples = network.samples()
                data = {key: np.asarray(value) for key, value in samples.inputs.items()}
                if samples.labels is not None:
                    data["labels"] = samples.labels
            options = {scheme: dict(given) for scheme, given in network.options.items()}
            calibration = {key: np.asarray(value) for key, value in network.calibration().items()}
            return Source(path, data, dict(network.dims), options, calibration)
        path = self.base / name
        if not path.is_file():
            hint = f"Give demo, a path, or one of the zoo: {', '.join(registry.PLACES)}"
            raise CampaignError(f"no network and no file {name!r}", key="network.model", hint=hint)
        if not data:
            raise CampaignError("is missing: the inputs of a trial", key="data.path",
                                hint="Give an .npz file with an array per input, and labels")  # fmt: skip
        return Source(path, data)

    def _data(self) -> dict[str, Array]:
        if not self.spec.data.path:
            return {}
        path = self.base / self.spec.data.path
        try:
            with np.load(path, allow_pickle=False) as held:
                return dict(held)
        except (OSError, ValueError) as problem:
            raise CampaignError(f"cannot read {path} as .npz: {problem}", key="data.path") from None

    def target(self, scheme: str) -> Target:
        """The network in a scheme.

        Raises:
            CampaignError: fewer inputs than the spec asks for, or a scheme where there is no graph to quantize.
        """
        if scheme not in self._targets:
            spec, source = self.spec, self.source
            chosen = None if scheme == AS_IS else scheme
            if chosen and Path(source.model).suffix == ".elf":
                raise CampaignError("an ELF file is compiled already", key="network.schemes",
                                    hint=f'Leave out the key, or give ["{AS_IS}"]')  # fmt: skip
            if chosen:
                _check_scheme(chosen)
            options = dict(source.options.get(scheme, {}))
            if chosen and source.calibration is not None:
                options["calibration"] = source.calibration
            made = load_target(
                source.model, chosen, self.machine, source.data, spec.data.samples, spec.network.engine,
                source.dims, spec.network.contents, **options,
            )  # fmt: skip
            if made.samples < spec.data.samples:
                raise CampaignError(f"asks for {spec.data.samples} inputs, there are {made.samples}",
                                    key="data.samples")  # fmt: skip
            self._targets[scheme] = replace(made, folder=self.folder / "golden")
        return self._targets[scheme]

    def arm(self, cell: Cell) -> Arm:
        """What the trials of a cell are observed of."""
        if cell.index not in self._arms:
            spec = self.spec
            label, base = cell.source.label, self.machine.memory.dram_base
            if label not in self._models:
                self._models[label] = model_of(cell.source, self.mapping, base, self.base)
            model = self._models[label]
            policy = spec.protection.policy
            if cell.source.site is not None:
                self._arms[cell.index] = self._chip(cell, cell.source.site)
            elif spec.network.site == "dram":
                self._arms[cell.index] = DramArm(
                    self.target(cell.scheme), cell.stack, model, spec.seed, policy, self._draws
                )
            else:
                network, inputs, labels = self._graph(cell)
                self._arms[cell.index] = ModulesArm(
                    network, inputs, labels, spec.network.stored, cell.stack, model, spec.seed, self.mapping, policy
                )  # fmt: skip
        return self._arms[cell.index]

    def _chip(self, cell: Cell, site: ChipSite) -> ComputeArm:
        """A network that is struck on the chip.

        Raises:
            CampaignError: its machine has no such site, or its runs do not go by there.
        """
        sim, seed = self.spec.network.engine == "sim", self.spec.seed
        if site == "pe":
            pot = self.machine.pot
            if not sim or pot is None or pot.engine is None:
                raise CampaignError("flips in PEs need a machine with a PoT accelerator", key="network.machine",
                                    hint='machine = "spatz-mx-pot", engine = "sim"')  # fmt: skip
            made = PeArm(self.target(cell.scheme), site, seed)
            if not made.products:
                raise CampaignError(f"no product of {cell.scheme} is computed by PEs", key="network.schemes",
                                    hint="Take int8 or a pot scheme")  # fmt: skip
            return made
        if not sim or self.target(cell.scheme).runs is None:
            raise CampaignError(
                "flips in registers need a program whose runs on the machine can be kept",
                key="network.engine", hint='engine = "sim", no Linux process, accelerator or host nodes',
            )  # fmt: skip
        return HartArm(self.target(cell.scheme), site, seed)

    def _graph(self, cell: Cell) -> tuple[onnx.ModelProto, dict[str, Array], Array | None]:
        if self.spec.network.contents != ["constants"]:
            raise CampaignError("site module_outputs has constants alone", key="network.contents")
        if cell.scheme != AS_IS or cell.source.keys.kind not in ("uniform", "events", "data-dependent"):
            raise CampaignError(
                "site module_outputs takes an FP32 network as it is, and faults by rate", key="network.site"
            )
        path, inputs, labels = samples_of(self.source.model, self.source.data, self.spec.data.samples)
        try:
            return onnx.load(str(path)), inputs, labels
        except Exception as problem:
            text = str(problem).splitlines()[0]
            raise DataError(f"cannot read {path} as ONNX: {text}") from None

    def judge(self, cell: Cell) -> Judge:
        """What a cell's answers are compared by.

        Raises:
            CampaignError: the fault-free answers are not those that were registered.
        """
        key = cell.scheme, "" if self.spec.network.site == "dram" else cell.stack
        if key not in self._judges:
            arm = self.arm(cell)
            if self.expected is not None and digest(arm.golden) != self.expected[cell.index]:
                raise CampaignError(
                    f"this host computes other fault-free answers for {cell.scheme} than the one that began",
                    hint="Run all of a campaign with the same versions on hosts of one kind",
                )  # fmt: skip
            self._judges[key] = Judge(arm.golden, arm.labels, self.spec.metrics)
        return self._judges[key]

    def numbers(self, cell: Cell) -> list[int] | None:
        """The trials that there are, if a list says so."""
        model = self.arm(cell).model
        if not isinstance(model, Listed):
            return None
        return sorted(model.trials)

    def files(self) -> dict[str, str]:
        """SHA-256 of every file that the spec names, by key."""
        from potluck.zoo import registry

        spec, named = self.spec, {"data.path": self.spec.data.path}
        if spec.network.model != "demo" and spec.network.model not in registry.PLACES:
            named["network.model"] = spec.network.model
        if spec.network.machine.endswith(".toml"):
            named["network.machine"] = spec.network.machine
        for index, entry in enumerate(spec.faults):
            if isinstance(entry, FaultList):
                named[f"faults.{index}.path"] = entry.path
            elif isinstance(entry, Modes | Mission) and entry.rates not in rate_tables():
                named[f"faults.{index}.rates"] = entry.rates
        found: dict[str, str] = {}
        for key, name in named.items():
            try:
                found |= {key: hashlib.sha256((self.base / name).read_bytes()).hexdigest()} if name else {}
            except OSError as problem:
                raise CampaignError(f"cannot read {self.base / name}: {problem.strerror}", key=key) from None
        return found

    def facts(self, cell: Cell) -> dict[str, Any]:
        """What reports have to know of a cell, as plain JSON values.

        ``golden`` is a digest of the fault-free answers: workers on other hosts have to find the same.
        """
        arm, judge = self.arm(cell), self.judge(cell)
        clean = judge.measures(arm.golden)
        found: dict[str, Any] = {
            "cell": cell.index, "scheme": cell.scheme, "faults": cell.source.label, "kind": cell.source.keys.kind,
            "entry": cell.source.entry, "rate": cell.source.rate, "stack": cell.stack, "check_bits": arm.check_bits,
            "bits": list(arm.bits), "raw_ber": arm.expected_ber, "golden": digest(arm.golden),
            "golden_accuracy": None if arm.labels is None else clean.accuracy, "notes": arm.notes,
            "numbers": self.numbers(cell), "inputs": len(arm.golden),
        }  # fmt: skip
        model, keys = arm.model, cell.source.keys
        if isinstance(model, OneFault) and isinstance(keys, Modes) and isinstance(arm, DramArm):
            rate = rates_of(keys, self.base).rates[model.mode]
            fit = model.touching_fit(rate, arm.protected.region)
            found |= {
                "mode": model.mode, "permanent": model.permanent, "fit": fit,
                "exposure": 1.0 if model.permanent else keys.residency, "hours": keys.hours,
            }  # fmt: skip
        elif isinstance(model, Forced) and isinstance(arm, DramArm):
            found |= {"curve": list(model.rates), "stored_bits": arm.protected.region.stored_bits}
        elif isinstance(model, Correlated) and isinstance(arm, DramArm):
            found |= {"probability": model.probability(arm.protected.region) if model.forced else 1.0}
        return found


def _check_scheme(name: str) -> None:
    from potluck.compiler.schemes import find

    try:
        find(name)
    except PotluckError as problem:
        raise CampaignError(problem.message, key="network.schemes", hint=problem.hint) from None


def digest(array: Array) -> str:
    """Of an array's bytes, type and shape."""
    held = np.ascontiguousarray(array)
    return hashlib.sha256(f"{held.dtype}{held.shape}".encode() + held.tobytes()).hexdigest()[:16]


def _write_model(model: onnx.ModelProto, path: Path) -> None:
    """Write a network, all of it or nothing."""
    with replacing(path) as temporary:
        onnx.save(model, str(temporary))
