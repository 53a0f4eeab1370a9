"""A program on several inputs, with corrupted constants: what a campaign runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.elf import Program
from potluck.isa.machine import Machine
from potluck.sim.checkpoints.files import Recorded, shared
from potluck.sim.checkpoints.golden import Golden, record
from potluck.sim.checkpoints.pages import PageStore
from potluck.sim.checkpoints.replay import Effort, Patch, Replay
from potluck.sim.checkpoints.stage import Outside, Stage
from potluck.sim.checkpoints.upset import Aim, Upset
from potluck.sim.checkpoints.visible import Comparison, Visible

MOST_IN_ALL, MOST_OF_A_RUN = 4096, 64
"""Checkpoints over all inputs, which take a dozen pages each, and of one."""


class FaultyRuns:
    """Runs of a program with corrupted constants, each on one of several inputs.

    Golden runs are recorded when the first of them is needed.

    Args:
        program: one that is `potluck.sim.checkpoints.stage.supported`.
        machine: that runs it.
        inputs: by name, the first axis counting samples.
        first: sector of DRAM, counted from its start, with the first constant.
        count: of sectors to the end of the last constant.
        patience: a hart that executes so many times the first golden run's instructions runs without end.
        folder: where processes share golden runs; None: this process has its own.
        delayed, dropping: see `Replay`.
    """

    def __init__(
        self, program: Program, machine: Machine, inputs: Mapping[str, NDArray[Any]], first: int, count: int,
        patience: int, folder: Path | None = None, delayed: bool = True, dropping: bool = True,
    ) -> None:  # fmt: skip
        self.program, self.machine, self.inputs = program, machine, inputs
        self.first, self.count, self.patience = first, count, patience
        self.folder, self.delayed, self.dropping = folder, delayed, dropping
        self.aim: Aim | None = None  # of the last run from the start

    @property
    def samples(self) -> int:
        """Number of inputs."""
        return len(next(iter(self.inputs.values())))

    @property
    def key(self) -> str:
        """What golden runs depend on, as a digest."""
        found = hashlib.sha256(repr((self.machine, self.first, self.count, self.program.entry)).encode())
        for section in self.program.sections:
            found.update(f"{section.address} {len(section.data)}".encode() + bytes(section.data))
        for name, value in self.inputs.items():
            found.update(
                f"{name} {value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes()
            )
        return found.hexdigest()[:16]

    @cached_property
    def recorded(self) -> Recorded:
        """The golden runs.

        Raises:
            Outside: see `record`.
        """
        return self._record() if self.folder is None else shared(self.folder, self.key, self._record)

    def _record(self) -> Recorded:
        stage = Stage(self.program, self.machine, PageStore())
        most = max(4, min(MOST_OF_A_RUN, MOST_IN_ALL // self.samples))
        runs = [record(stage, self._sample(k), self.first, self.count, most) for k in range(self.samples)]
        return Recorded(stage.contents, tuple(stage.arena), runs)

    def _sample(self, number: int) -> dict[str, NDArray[Any]]:
        return {name: value[number : number + 1] for name, value in self.inputs.items()}

    def golden(self, sample: int) -> Golden:
        """The run of a sample without faults."""
        return self.recorded.runs[sample]

    @cached_property
    def replay(self) -> Replay:
        """What runs them."""
        held = self.recorded
        stage = Stage(self.program, self.machine, held.store, held.arena)
        stage.limit(self.budget)
        return Replay(stage, self.delayed, self.dropping)

    @property
    def budget(self) -> int:
        """Instructions of a hart after which a run is given up as endless."""
        return self.patience * self.golden(0).instructions

    @property
    def effort(self) -> Effort:
        """What the runs so far took."""
        return self.replay.effort

    def outputs(self, sample: int, patch: Patch) -> Mapping[str, NDArray[Any]]:
        """Of a run.

        Args:
            sample: number of the input.
            patch: what is corrupted.

        Raises:
            ExitError, TrapError, EndlessError, Outside: see `Replay.run`.
        """
        golden = self.golden(sample)
        found = self.replay.run(golden, patch)
        return golden.outputs if found is None else found

    def upset(self, sample: int, upset: Upset) -> Mapping[str, NDArray[Any]]:
        """Outputs of a run in which a bit of a hart's registers flips once.

        Raises:
            ExitError, TrapError, EndlessError: see `Replay.run`.
        """
        golden = self.golden(sample)
        try:
            found = self.replay.upset(golden, upset)
        except Outside:
            return self.upset_from_the_start(sample, upset).outputs()
        return golden.outputs if found is None else found

    def upset_from_the_start(self, sample: int, upset: Upset) -> Stage:
        """The same run without checkpoints, after its end."""
        stage = Stage(self.program, self.machine, PageStore(), free=True)
        stage.limit(self.budget)
        stage.enter(self._sample(sample))
        stage.upset(upset)
        self.aim = stage.aim
        while stage.advance():
            pass
        return stage

    def visible(self, sample: int, patch: Patch) -> Visible | None:
        """Where corrupted constants first show in DRAM; None: nowhere."""
        return Comparison(self.replay.stage, self.golden(sample), patch).first()
