"""What a layer costs on one cluster: programs that are compiled and simulated, and what follows for larger ones.

The cost of a layer is taken as affine in each size that is too large to be simulated: groups of heads, hidden units,
columns of the head, tokens in the cache. Sizes that fit are simulated as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck import api
from potluck.compiler.footprint import footprints
from potluck.compiler.host import HostNetwork
from potluck.compiler.schemes import calibrated, written
from potluck.evaluation.network import PLAIN
from potluck.isa.machine import Machine
from potluck.scale.shard import BLOCK, Shard
from potluck.zoo import llama

CYCLES, JOULES, BACKGROUND, BYTES, MACS = range(5)
"""Places of a cost: cycles, joules of work, joules of time (static, DRAM's standby and refresh), DRAM bytes, MACs."""
IN_BACKGROUND = ("static", "dram_standby", "dram_refresh")
Cost = NDArray[np.float64]
Step = Callable[[str], object]


@dataclass(frozen=True)
class Size:
    """What is simulated: a cluster's part, tokens at once, and room in the cache."""

    part: Shard
    rows: int
    past: int
    layers: int = 1


@dataclass
class Sampler:
    """Simulates sizes, each once.

    Attributes:
        machine: of a cluster.
        scheme: of quantization, or ``fp32``.
        weights: that a sample of one layer may have; more are extrapolated to.
        past: tokens in the cache of samples; half of them in a second one, and affine from there.
        step: told of every sample before it runs.
        samples: what was simulated: sizes and costs.
        bits: of a weight as stored, scales included; known after the first sample.
    """

    machine: Machine
    scheme: str
    weights: int = 8 << 20
    past: int = 512
    step: Step = lambda text: None
    samples: dict[Size, Cost] = field(default_factory=dict)
    bits: float = 0.0

    def run(self, size: Size) -> Cost:
        """The cost of a whole program: embedding, layers, head.

        Raises:
            ModelError: the compiler refuses it.
        """
        if size not in self.samples:
            self.step(f"{size.layers} x {size.part}, {size.rows} tokens behind {size.past}")
            self.samples[size] = self._simulated(size)
        return self.samples[size]

    def _simulated(self, size: Size) -> Cost:
        part = size.part
        config = llama.Config(
            size.layers, part.width, part.heads, part.groups, part.hidden, part.vocabulary, 1e4, 1e-5, part.head
        )  # fmt: skip
        model: Any = llama.build(llama.Seeded(config), size.rows, size.past)
        shape = (1, part.groups, size.past, part.head)
        generator = np.random.Generator(np.random.Philox(7))
        inputs: dict[str, NDArray[Any]] = {
            "tokens": np.zeros((1, size.rows), np.int64),
            "position": np.array([size.past], np.int64),
        }
        for layer in range(size.layers):
            for name in ("key", "value"):
                inputs[f"past.{layer}.{name}"] = generator.standard_normal(shape, np.float32)
        name, options = written.parse(self.scheme)
        if name not in PLAIN:
            if calibrated(name):
                options["calibration"] = inputs
            model = api.quantize(model, name, **options)
            if not self.bits:
                stored = footprints(model, HostNetwork(model).constants)
                kept = sum(one.code_bytes + one.scale_bytes for one in stored)
                self.bits = 8 * kept / sum(one.elements for one in stored)
        self.bits = self.bits or 32.0
        result = api.simulate(api.compile(model, self.machine), inputs, machine=self.machine)
        background = sum(result.energy.get(key, 0.0) for key in IN_BACKGROUND)
        return np.array([
            result.cycles, result.energy_joules - background, background,
            sum(layer.dram_bytes for layer in result.layers), result.macs,
        ], np.float64)  # fmt: skip

    def layer(self, part: Shard, rows: int, past: int) -> Cost:
        """The cost of one layer of a part: a second layer's, at sizes that fit, and what larger ones add."""
        base = Size(self.fitting(part), rows, self.past)
        one = self.run(base)
        cost = self.run(replace(base, layers=2)) - one
        for key in ("groups", "hidden"):
            here, target = getattr(base.part, key), getattr(part, key)
            if here != target:
                other = self._other(base.part, key)
                slope = (self.run(replace(base, part=other)) - one) / (getattr(other, key) - here)
                cost = cost + slope * (target - here)
        return cost + self.slope(part, rows) * (past - self.past)

    def slope(self, part: Shard, rows: int) -> Cost:
        """What a token more in the cache adds to a layer."""
        small = self.fitting(part)
        near, far = (self.run(Size(small, rows, past)) for past in (self.past // 2, self.past))
        return (far - near) / (self.past - self.past // 2) * (part.groups / small.groups)

    def head(self, part: Shard, rows: int) -> Cost:
        """The cost of embedding, last norm and head, and of what is done once per call."""
        base = Size(self.fitting(part), rows, self.past)
        one = self.run(base)
        cost = 2 * one - self.run(replace(base, layers=2))
        here, target = base.part.vocabulary, part.vocabulary
        if here != target:
            other = self._other(base.part, "vocabulary")
            slope = (one - self.run(replace(base, part=other))) / (here - other.vocabulary)
            cost = cost + slope * (target - here)
        return cost

    @staticmethod
    def _other(part: Shard, key: str) -> Shard:
        """The same part with half of a size, or twice the least."""
        here, unit = getattr(part, key), 1 if key == "groups" else BLOCK
        half = max(unit, here // 2 // unit * unit)
        changed = replace(part, **{key: half if half != here else 2 * here})
        return replace(changed, heads=changed.groups * (part.heads // part.groups))

    def fitting(self, part: Shard) -> Shard:
        """The part of a part that may be simulated."""
        room, share = self.weights // 2, part.heads // part.groups
        groups = max(1, min(part.groups, room // (part.attention_weights // part.groups)))
        hidden = max(BLOCK, min(part.hidden, room // (3 * part.width) // BLOCK * BLOCK))
        vocabulary = max(2 * BLOCK, min(part.vocabulary, room // part.width // BLOCK * BLOCK))
        return replace(
            part,
            groups=groups,
            heads=groups * share,
            hidden=hidden,
            vocabulary=min(part.vocabulary, vocabulary),
        )
