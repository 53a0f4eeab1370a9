"""Faults on the chip: one bit of a hart's registers flips in each run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.inject.decode import Array
from potluck.inject.target import Target
from potluck.inject.trial import Observation, Tally
from potluck.isa.errors import EndlessError, ExitError, TrapError
from potluck.sim.checkpoints.runs import FaultyRuns
from potluck.sim.checkpoints.upset import Site, Upset
from potluck.sim.faults.faultset import FaultSet, nothing
from potluck.sim.faults.models import Key
from potluck.sim.faults.region import Region
from potluck.sim.listing import LayerOf


@dataclass(frozen=True)
class Registers:
    """No fault of DRAM: the model of arms whose faults are elsewhere.

    Attributes:
        site: that is struck.
    """

    site: Site

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
    """A network whose harts are struck once a run; members as of `trial.Arm`.

    A trial is one place of one hart, at one share of the run's instructions, on every sample.

    Attributes:
        target: of which runs can be kept (`Target.runs`).
        site: that is struck.
        seed: of the campaign; (seed, number) decides a trial's fault.
    """

    target: Target
    site: Site
    seed: int

    @cached_property
    def runs(self) -> FaultyRuns:
        """On the machine."""
        assert self.target.runs is not None
        return self.target.runs

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
        """All bits of the register file that is struck, of all harts."""
        cluster, vlen = self.target.machine.cluster, self.target.machine.vector.vlen
        own = 32 * (64 if self.site == "float" else vlen)
        return own * cluster.cores, own * cluster.cores

    @property
    def expected_ber(self) -> float:
        """Of those bits, over a run."""
        return 1 / self.bits[0]

    @property
    def notes(self) -> list[str]:
        """What is not a matter of stacks."""
        return ["registers: stacks of DRAM do not concern them"]

    def upset(self, number: int, sample: int) -> Upset:
        """A trial's fault in the run of a sample."""
        rng = np.random.Generator(np.random.Philox(key=[self.seed, number]))
        share, choice = float(rng.random()), int(rng.integers(1 << 62))
        counts: Sequence[int] = self.runs.golden(sample).by_hart
        at = int(share * sum(counts))
        for hart, count in enumerate(counts):
            if at < count:
                return Upset(hart, at, self.site, choice)
            at -= count
        return Upset(len(counts) - 1, counts[-1] - 1, self.site, choice)

    def observe(self, number: int) -> Observation:
        """Run a trial."""
        name = self.target.program.manifest.outputs[0].name

        def run(sample: int) -> NDArray[Any]:
            return np.asarray(self.runs.upset(sample, self.upset(number, sample))[name])

        answers = self.target.ended(run)
        return Observation(number, 1, 1, 1, Tally(), True, False, answers)

    def story(self, number: int) -> list[dict[str, Any]]:
        """What was struck in the run of the first sample."""
        upset = self.upset(number, 0)
        with suppress(TrapError, ExitError, EndlessError):
            self.runs.upset_from_the_start(0, upset)
        struck = self.runs.aim.struck if self.runs.aim is not None else None
        if struck is None:
            missed = f"no {self.site} came after its instruction {upset.instruction}"
            return [{"where": f"hart {upset.hart}", "what": missed, "verdict": "nothing was struck"}]
        found = LayerOf(self.target.program.manifest.layers).layer(struck.pc)
        layer = found.name if found else ""
        where = f"hart {upset.hart}, before {struck.mnemonic} at {struck.pc:#x}"
        return [{
            "site": self.site, "hart": upset.hart, "instruction": upset.instruction, "pc": struck.pc, "layer": layer,
            "register": struck.register, "bit": struck.bit, "where": where + (f" in {layer}" if layer else ""),
            "what": f"bit {struck.bit} of {struck.register} flips", "verdict": "nothing watches registers",
        }]  # fmt: skip
