"""A campaign's specification: what is asked, fixed before the first trial. docs/campaigns.md explains the keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from potluck.campaign.explain import explain
from potluck.inject.compute import ChipSite
from potluck.isa.documents import toml_of
from potluck.isa.errors import CampaignError
from potluck.sim.ecc.stack import Policy
from potluck.sim.faults.parts import Content

Probability = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | int | float) and not isinstance(value, bool) else value


Rates = Annotated[list[Probability], BeforeValidator(_listed), Field(min_length=1)]
Names = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
Counts = Annotated[list[Annotated[int, Field(ge=1)]], BeforeValidator(_listed), Field(min_length=1)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Network(_Group):
    """What runs.

    ``model``: ``demo``, a network of the zoo, an ONNX file or an ELF file (paths count from the spec's folder).
    ``schemes``: formats to quantize to, one after the other; ``as-is`` takes the network as it is in the file.
    ``machine``: preset or TOML file, with ``set`` overriding its keys (``{"dram.kind" = "hbm4"}``).
    ``engine``: ``onnx``, ``sim`` or ``auto``. ``contents``: what of the program faults in DRAM strike, ``constants``
    unless told, ``text`` (its instructions), ``pointers`` (tile records: addresses, sizes and strides of DMA transfers,
    arguments of kernels). ``site``: ``dram``, or ``module_outputs`` with activations ``stored`` as fp32, bf16 or fp16.
    """

    model: str
    schemes: Names = ["as-is"]
    machine: str = "spatz-mx"
    set: dict[str, Any] = {}
    engine: Literal["auto", "onnx", "sim"] = "auto"
    contents: Annotated[list[Content], BeforeValidator(_listed), Field(min_length=1)] = ["constants"]
    site: Literal["dram", "module_outputs"] = "dram"
    stored: Literal["fp32", "bf16", "fp16"] = "bf16"


class Data(_Group):
    """Inputs of every trial: the first ``samples`` of an .npz file; without ``path`` those of the demo or the zoo."""

    path: str = ""
    samples: Annotated[int, Field(ge=1)] = 64


class _Faults(_Group):
    label: str = ""


class Uniform(_Faults):
    """Every stored bit flips at a raw bit error rate; each of several rates is a fault model of its own."""

    kind: Literal["uniform"]
    ber: Rates


class Events(_Faults):
    """The RangeGuard artifact's event mix in independent blocks."""

    kind: Literal["events"]
    ber: Rates


class DataDependent(_Faults):
    """Zeros and ones fail at different rates."""

    kind: Literal["data-dependent"]
    zero_to_one: Probability
    one_to_zero: Probability


class Weak(_Faults):
    """The same cells are weak in every trial; each fails with ``ber``."""

    kind: Literal["weak"]
    density: Probability
    ber: Rates
    layout: Literal["true", "anti", "alternating", "random", "symmetric"] = "true"


class Flips(_Faults):
    """So many stored bits flip, drawn without replacement: the classic fault, and the uniform model given a count."""

    kind: Literal["flips"]
    count: Counts = [1]


class Curve(_Faults):
    """At least one flipped bit in every trial, and from the same trials the shares at each rate ``ber``.

    What ``uniform`` would give at each of them, for outcomes that a trial without faults does not have (SDC, DUE).
    """

    kind: Literal["curve"]
    ber: Rates


class Modes(_Faults):
    """One fault of each mode of a table of FIT rates, where it touches the network: rates become FIT_SDC and FIT_DUE.

    ``residency``: share of time for which what lies there is going to be read, which weighs transient faults; permanent
    ones stay for the rest of ``hours``, the mission.
    """

    kind: Literal["modes"]
    rates: str = "sridharan2012"
    modes: list[str] = []
    residency: Probability = 1.0
    hours: Annotated[float, Field(gt=0)] = 61320.0


class Mission(_Faults):
    """All faults of a table of FIT rates in ``hours``; ``forced``: at least one, and weighed by its probability."""

    kind: Literal["mission"]
    rates: str = "sridharan2012"
    hours: Annotated[float, Field(gt=0)] = 61320.0
    forced: bool = True


class Registers(_Faults):
    """One bit on the chip flips once in each run, before an instruction (a product of a PE) drawn at random.

    ``sites``, each a fault model of its own: ``vector`` (v0 to v31), ``float`` (f0 to f31), ``accumulator`` (the
    elements that the next multiply-accumulate adds to), ``scale`` (the scales of the next VMXDOTP); ``pe``, the
    accumulators of the PoT accelerator's PEs, where the machine has one. Stacks of DRAM do not concern them, so they
    run under the first one only. Needs ``engine = "sim"``.
    """

    kind: Literal["registers"]
    sites: Annotated[list[ChipSite], BeforeValidator(_listed), Field(min_length=1)] = [
        "vector",
        "accumulator",
        "scale",
    ]


class FaultList(_Faults):
    """The trials of a fault list, .csv or .parquet."""

    kind: Literal["list"]
    path: str


AnyFaults = Annotated[
    Uniform | Events | DataDependent | Weak | Flips | Curve | Modes | Mission | Registers | FaultList,
    Field(discriminator="kind"),
]


class Protection(_Group):
    """``stacks``: ``[ondie+]SYSTEM[+FILTER...]`` (docs/faults.md), and the ``policy`` on DUE."""

    stacks: Names = ["none"]
    policy: Policy = "pass"


class Metrics(_Group):
    """When answers are silently wrong.

    ``sdc``: criterion that makes a trial an SDC, if at least ``inputs`` of its inputs meet it: ``sdc1`` (top-1
    differs), ``sdc5`` (the golden top-1 leaves the top five), ``sdc10``, ``sdc20`` (its confidence moves by more than
    10 or 20 %), ``critical`` (golden right, faulty wrong) or ``difference`` (an output moves by more than
    ``tolerance`` of the largest: for networks without classes). ``outputs``: whether the network gives logits or
    probabilities. Changes of the negative log-likelihood are clipped to ``nll_clip`` nats an input.
    """

    sdc: Literal["sdc1", "sdc5", "sdc10", "sdc20", "critical", "difference"] = "sdc1"
    inputs: Annotated[int, Field(ge=1)] = 1
    tolerance: Annotated[float, Field(ge=0)] = 0.01
    outputs: Literal["auto", "logits", "probabilities"] = "auto"
    nll_clip: Annotated[float, Field(gt=0)] = 20.0


class Stop(_Group):
    """When a cell (a scheme under a stack and a fault model) has enough trials.

    At most ``trials``. It stops earlier, but not before ``least``, at the first look, taken after every so many trials
    (``every``), at which the interval of the share ``watch`` has a ``half_width``, a half-width ``relative`` to the
    estimate, or lies on one side of a ``threshold``. The interval is a confidence sequence: it holds at all looks at
    once. Without such a goal all trials run.

    ``allocation = "neyman"``: the cells of kind ``modes`` of a scheme and stack are one question, the FIT rate of
    ``watch``, to which goals refer. Trials go, in batches of ``every`` for each mode, where they narrow it most.
    """

    trials: Annotated[int, Field(ge=1, le=10**8)] = 200
    half_width: Annotated[float, Field(gt=0)] | None = None
    relative: Annotated[float, Field(gt=0)] | None = None
    threshold: Annotated[float, Field(gt=0)] | None = None
    least: Annotated[int, Field(ge=0)] = 0
    watch: Literal["sdc", "due", "masked"] = "sdc"
    every: Annotated[int, Field(ge=1)] = 50
    allocation: Literal["equal", "neyman"] = "equal"
    confidence: Share = 0.95

    @property
    def looks(self) -> bool:
        """Whether there is anything to look for."""
        return (self.half_width, self.relative, self.threshold) != (None, None, None)


class Spec(_Group):
    """A campaign: every scheme under every stack and every fault model, with the same faults wherever they can be."""

    name: str = "campaign"
    seed: Annotated[int, Field(ge=0, lt=1 << 63)]
    network: Network
    data: Data = Data()
    faults: Annotated[list[AnyFaults], Field(min_length=1)]
    protection: Protection = Protection()
    metrics: Metrics = Metrics()
    stop: Stop = Stop()

    @model_validator(mode="after")
    def _consistent(self) -> Spec:
        network = self.network
        for what, names in (
            ("schemes", network.schemes), ("contents", network.contents), ("stacks", self.protection.stacks)
        ):  # fmt: skip
            if len(set(names)) != len(names):
                raise ValueError(f"{what} name something twice")
        if self.metrics.inputs > self.data.samples:
            raise ValueError(f"metrics.inputs = {self.metrics.inputs} of data.samples = {self.data.samples}")
        return self

    def canonical(self) -> str:
        """JSON that is the same for all ways of writing the same: comments, order of keys, defaults left out."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @property
    def hash(self) -> str:
        """The pre-registration: SHA-256 of `canonical`."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def validated(data: Mapping[str, Any]) -> Spec:
    """A spec from plain values.

    Raises:
        CampaignError: an unknown key (suggesting the nearest), a missing one, or a value that is not allowed.
    """
    try:
        return Spec.model_validate(dict(data))
    except ValidationError as error:
        raise explain(error, Spec) from None


def load_spec(path: str | Path) -> Spec:
    """Read a TOML file.

    Raises:
        CampaignError: unreadable, no TOML, or see `validated`.
    """
    try:
        data = toml_of(Path(path).read_bytes())
    except OSError as problem:
        raise CampaignError(
            f"cannot read {path}: {problem.strerror}", hint="Give a campaign's TOML file"
        ) from None
    except ValueError as problem:
        raise CampaignError(f"{path} is not TOML: {problem}") from None
    return validated(data)


def schema() -> dict[str, Any]:
    """JSON Schema of a spec, for editors."""
    made = Spec.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Potluck campaign"} | made
