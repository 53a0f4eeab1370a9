"""Text from a decoder on the machine, token by token, with a cache of keys and values."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck import api
from potluck.compiler.schemes import calibrated
from potluck.evaluation.network import PLAIN
from potluck.isa.elf import Program
from potluck.isa.errors import DataError
from potluck.isa.machine import Machine
from potluck.zoo.network import Language

THREADS = 2
"""Of the host, for one simulation; more are of no use."""


@dataclass(frozen=True)
class Step:
    """One token through the network.

    Attributes:
        token: What the network takes for the next token: its largest logit.
        logits: [vocabulary].
        cycles: Of the machine.
        joules: The same.
        seconds: On the host.
    """

    token: int
    logits: NDArray[np.float32]
    cycles: int
    joules: float
    seconds: float


@dataclass
class Decoder:
    """A program for one token behind a cache, and the cache's content.

    The program is the same at every step: an input says how many tokens the cache holds. It hands out the keys and
    values of its token, which come into the cache for the next.

    Attributes:
        program: Of a network as `potluck.zoo.llama.build` makes it, with ``sequence`` 1 and a ``past``.
        machine: That it was compiled for.
        mode: Of the simulation.
        position: Tokens in the cache.
    """

    program: Program
    machine: Machine
    mode: str = "timed"
    position: int = 0
    _cache: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        held = [tensor for tensor in self.program.manifest.inputs if tensor.name.startswith("past.")]
        if not held:
            raise DataError("the program has no cache", hint="Build the network with a past")
        self._cache = {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in held}
        self.room = int(held[0].shape[2])

    def step(self, token: int) -> Step:
        """Runs the network on the next token.

        Raises:
            DataError: The cache is full.
        """
        if self.position > self.room:
            raise DataError(
                f"the cache has room for {self.room} tokens", hint="Compile the network for a longer past"
            )
        inputs = {"tokens": np.array([[token]], np.int64), "position": np.array([self.position], np.int64)}
        start = time.perf_counter()
        result = api.simulate(
            self.program, {**inputs, **self._cache}, self.mode, self.machine, threads=THREADS
        )
        seconds = time.perf_counter() - start
        if self.position < self.room:
            for name, held in self._cache.items():
                held[:, :, self.position] = result.outputs[name.replace("past.", "present.", 1)][:, :, 0]
        self.position += 1
        logits = result.outputs["logits"][0, -1]
        return Step(int(logits.argmax()), logits, result.cycles, result.energy_joules, seconds)


def compiled(language: Language, room: int, scheme: str, machine: Machine) -> Program:
    """The program for one token behind a cache of so many, in a scheme."""
    given = {"calibration": language.calibration(room)} if calibrated(scheme) else {}
    source: Any = language.decoder(room)
    if scheme not in PLAIN:
        source = api.quantize(source, scheme, **given)
    return api.compile(source, machine)


def generate(decoder: Decoder, prompt: Sequence[int], count: int, stop: int | None = None) -> Iterator[Step]:
    """Takes in a prompt, then the likeliest token after it, and so on.

    Args:
        decoder: With an empty cache, or one that holds what comes before the prompt.
        prompt: Tokens, one at least.
        count: Most tokens to make.
        stop: A token that ends the text; it is still given.

    Yields:
        The steps that made a token: the first is that of the prompt's last token.

    Raises:
        DataError: The prompt is empty, or the cache is too small for all; nothing has been run then.
    """
    if not prompt:
        raise DataError("the prompt is empty")
    needed = decoder.position + len(prompt) + count - 2
    if needed > decoder.room:
        raise DataError(
            f"{len(prompt)} tokens of prompt and {count} more need a cache of {needed}, there is one of {decoder.room}"
        )
    for token in prompt[:-1]:
        decoder.step(token)
    token = prompt[-1]
    for _ in range(count):
        made = decoder.step(token)
        yield made
        token = made.token
        if token == stop:
            return
