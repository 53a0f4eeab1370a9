"""From a failing execution of words to the fewest instructions and earlier executions that still fail."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from potluck.isa.assembly.disassembler import disassemble
from potluck.isa.decode import length
from tests.robustness.arena import TEXT, Arena, Stepper, snapshot
from tests.robustness.campaign import STATES, Batch
from tests.robustness.states import image, states

NOP = b"\x01\x00"  # c.nop
SHOWN = 64  # bytes of code in the report


class Shrinker:
    """One failing execution of a batch of words.

    Args:
        batch: where it is from.
        index: its number in the batch.
    """

    def __init__(self, batch: Batch, index: int) -> None:
        self.batch = batch
        every = list(batch.executions())
        self.case, self.before = every[index], every[:index]
        rng = np.random.default_rng(batch.seed)
        self._data = image(rng)
        self._states = states(rng, batch.setting.vlen, STATES)

    def shrink(self) -> str:
        """What remains, as assembly with its registers; says so if it fails only in its batch, or not at all."""
        if not self._fails(self.batch.text, self.before):
            return "does not fail again"
        self._fewer_before()
        self._fewer_instructions()
        entry, number = self.case
        at = entry - TEXT
        state = self._states[number]
        code = disassemble(self.batch.text[at : at + SHOWN], entry)
        registers = " ".join(f"x{k}={value:#x}" for k, value in enumerate(state.x.tolist()))
        return "\n".join([str(self.batch.setting), f"after {len(self.before)} executions, from {entry:#x}:", code,
                          registers, str(state.words)])  # fmt: skip

    def _fewer_before(self) -> None:
        """Leave out what came before, in halves, quarters and so on."""
        size = len(self.before)
        while size:
            for start in range(0, len(self.before), size):
                fewer = self.before[:start] + self.before[start + size :]
                if self._fails(self.batch.text, fewer):
                    self.before = fewer
                    break
            else:
                size //= 2

    def _fewer_instructions(self) -> None:
        at, end = self.case[0] - TEXT, min(len(self.batch.text), self.case[0] - TEXT + SHOWN)
        while at < end:
            size = length(int.from_bytes(self.batch.text[at : at + 2], "little"))
            text = self.batch.text[:at] + NOP * (size // 2) + self.batch.text[at + size :]
            if self._fails(text, self.before):
                self.batch = replace(self.batch, text=text)
            at += size

    def _fails(self, text: bytes, before: Sequence[tuple[int, int]]) -> bool:
        """Whether it still does, tried in a process of its own, which may end."""
        child = os.fork()
        if child:
            return os.waitpid(child, 0)[1] != 0
        try:
            self._run(text, before)
        except BaseException:  # whatever it is, it is told by the exit status
            os._exit(1)
        os._exit(0)

    def _run(self, text: bytes, before: Sequence[tuple[int, int]]) -> None:
        setting = self.batch.setting
        arena = Arena(setting, text, self._data)
        for entry, number in before:
            arena.run(entry, self._states[number])
        entry, number = self.case
        outcome = arena.run(entry, self._states[number])
        if setting.cores == 1:
            Stepper(setting, text, self._data).agree(entry, self._states[number], outcome, snapshot(arena))
