"""Faults on the chip: one bit of a hart's registers, or of an accumulator of the PoT array, flips in each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from potluck.inject.decode import Array
from potluck.inject.target import Target
from potluck.inject.trial import Observation, Tally
from potluck.isa.errors import EndlessError, ExitError, TrapError
from potluck.isa.pot.array import FILTERS, LANES, ROWS
from potluck.sim.checkpoints.runs import FaultyRuns
from potluck.sim.checkpoints.upset import Site, Upset
from potluck.sim.cluster import Cluster
from potluck.sim.faults.faultset import FaultSet, nothing
from potluck.sim.faults.models import Key
from potluck.sim.faults.region import Region
from potluck.sim.observation.listing import LayerOf
from potluck.sim.pot.accelerator import Accelerator
from potluck.sim.pot.upset import ACCUMULATOR_BITS, PeUpset

ChipSite = Site | Literal["pe"]
"""``pe``: the accumulators of the PoT accelerator's PEs; the others are in harts."""


@dataclass(frozen=True)
class Registers:
    """No fault of DRAM: the model of arms whose faults are elsewhere.

    Attributes:
        site: that is struck.
    """

    site: ChipSite

    @property
    def name(self) -> str:
        """For reports."""
        return f"registers {self.site}"

    def draw(self, region: Region, key: Key) -> FaultSet:
        """See `potluck.sim.faults.models.Model.draw`."""
        return nothing()

    def raw_ber(self, region: Region) -> float:
        """See `potluck.sim.faults.models.Model.raw_ber`."""
        return 0.0


@dataclass(frozen=True, eq=False)
class ComputeArm:
    """A network that is struck on the chip once a run; members as of `trial.Arm`.

    A trial is one place, at one share of the run's instructions (products, of PEs), on every sample.

    Attributes:
        target: the network, on a machine that has the site.
        site: that is struck.
        seed: of the campaign; (seed, number) decides a trial's fault.
    """

    target: Target
    site: ChipSite
    seed: int

    @property
    def stack(self) -> str:
        """See `Arm.stack`: nothing protects registers."""
        return "none"

    @property
    def model(self) -> Registers:
        """See `Arm.model`."""
        return Registers(self.site)

    @property
    def golden(self) -> Array:
        """See `Arm.golden`."""
        return self.target.golden

    @property
    def labels(self) -> Array | None:
        """See `Arm.labels`."""
        return self.target.labels

    @property
    def check_bits(self) -> int:
        """See `Arm.check_bits`."""
        return 0

    @property
    def bits(self) -> tuple[int, int]:
        """All bits that may be struck."""
        return self._bits, self._bits

    @property
    def _bits(self) -> int:
        raise NotImplementedError

    @property
    def expected_ber(self) -> float:
        """Of those bits, over a run."""
        return 1 / self.bits[0]

    @property
    def notes(self) -> list[str]:
        """What is not a matter of stacks."""
        return ["registers: stacks of DRAM do not concern them"]

    def drawn(self, number: int) -> tuple[float, int]:
        """A trial's fault: at which share of a run, and a choice among the bits there."""
        rng = np.random.Generator(np.random.Philox(key=[self.seed, number]))
        return float(rng.random()), int(rng.integers(1 << 62))

    def output(self, number: int, sample: int) -> NDArray[Any]:
        """First output of a trial's run of a sample.

        Raises:
            TrapError, ExitError, EndlessError: how the run may end.
        """
        raise NotImplementedError

    def story(self, number: int) -> list[dict[str, Any]]:
        """What was struck in the run of the first sample."""
        raise NotImplementedError

    def observe(self, number: int) -> Observation:
        """Run a trial."""
        answers = self.target.ended(lambda sample: self.output(number, sample))
        return Observation(number, 1, 1, 1, Tally(), True, False, answers)

    def layer(self, pc: int) -> str:
        """Name of the layer whose code is there; empty if it is none's."""
        found = LayerOf(self.target.program.manifest.layers).layer(pc)
        return found.name if found else ""


class HartArm(ComputeArm):
    """Registers of harts; the target's runs can be kept (`Target.runs`)."""

    @cached_property
    def runs(self) -> FaultyRuns:
        """On the machine."""
        assert self.target.runs is not None
        return self.target.runs

    @property
    def _bits(self) -> int:
        """Of the register file, of all harts."""
        cluster, vlen = self.target.machine.cluster, self.target.machine.vector.vlen
        return 32 * (64 if self.site == "float" else vlen) * cluster.cores

    def upset(self, number: int, sample: int) -> Upset:
        """A trial's fault in the run of a sample."""
        assert self.site != "pe"
        share, choice = self.drawn(number)
        counts: Sequence[int] = self.runs.golden(sample).by_hart
        at = int(share * sum(counts))
        for hart, count in enumerate(counts):
            if at < count:
                return Upset(hart, at, self.site, choice)
            at -= count
        return Upset(len(counts) - 1, counts[-1] - 1, self.site, choice)

    def output(self, number: int, sample: int) -> NDArray[Any]:
        """See `ComputeArm.output`."""
        name = self.target.program.manifest.outputs[0].name
        return np.asarray(self.runs.upset(sample, self.upset(number, sample))[name])

    def story(self, number: int) -> list[dict[str, Any]]:
        """See `ComputeArm.story`."""
        upset = self.upset(number, 0)
        with suppress(TrapError, ExitError, EndlessError):
            self.runs.upset_from_the_start(0, upset)
        struck = self.runs.aim.struck if self.runs.aim is not None else None
        if struck is None:
            missed = f"no {self.site} came after its instruction {upset.instruction}"
            return [{"where": f"hart {upset.hart}", "what": missed, "verdict": "nothing was struck"}]
        layer = self.layer(struck.pc)
        where = f"hart {upset.hart}, before {struck.mnemonic} at {struck.pc:#x}"
        return [{
            "site": self.site, "hart": upset.hart, "instruction": upset.instruction, "pc": struck.pc, "layer": layer,
            "register": struck.register, "bit": struck.bit, "where": where + (f" in {layer}" if layer else ""),
            "what": f"bit {struck.bit} of {struck.register} flips", "verdict": "nothing watches registers",
        }]  # fmt: skip


class PeArm(ComputeArm):
    """Accumulators of the PEs of the machine's PoT accelerator; every run goes from start to end."""

    @cached_property
    def products(self) -> int:
        """That PEs add in a run."""
        return self._run(0, None)[0].products

    @property
    def _bits(self) -> int:
        pot = self.target.machine.pot
        assert pot is not None
        return pot.units * ROWS * FILTERS * LANES * ACCUMULATOR_BITS

    def upset(self, number: int) -> PeUpset:
        """A trial's fault."""
        share, choice = self.drawn(number)
        return PeUpset(int(share * self.products), choice % ACCUMULATOR_BITS)

    def _run(self, sample: int, upset: PeUpset | None) -> tuple[Accelerator, Mapping[str, NDArray[Any]]]:
        """The accelerator after the run of a sample, and outputs."""
        target = self.target
        cluster = Cluster(target.program, target.machine, timed=False, budget=target.budget)
        assert cluster.pot is not None
        cluster.pot.upset = upset
        outputs = cluster.run({name: value[sample : sample + 1] for name, value in target.inputs.items()})
        return cluster.pot, outputs

    def output(self, number: int, sample: int) -> NDArray[Any]:
        """See `ComputeArm.output`."""
        name = self.target.program.manifest.outputs[0].name
        return np.asarray(self._run(sample, self.upset(number))[1][name])

    def story(self, number: int) -> list[dict[str, Any]]:
        """See `ComputeArm.story`."""
        struck = self._run(0, self.upset(number))[0].struck
        assert struck is not None
        layer = self.layer(struck.pc)
        place = f"unit {struck.unit}, row {struck.row}, filter {struck.column}, lane {struck.lane}"
        return [{
            "site": self.site, "pc": struck.pc, "layer": layer, "unit": struck.unit, "row": struck.row,
            "column": struck.column, "lane": struck.lane, "pixel": struck.pixel, "filter": struck.filter,
            "bit": struck.bit, "where": f"PE of {place}, before line {struck.line} of output {struck.pixel}, "
            f"{struck.filter}" + (f" in {layer}" if layer else ""),
            "what": f"bit {struck.bit} of {struck.held:#010x} flips: {struck.error:+d}",
            "verdict": "nothing watches accumulators",
        }]  # fmt: skip
