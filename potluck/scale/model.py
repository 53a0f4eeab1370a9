"""Tokens per second, joules per token and bytes of a language model on N clusters.

Every layer is split over all clusters; each does its part as simulated, then they sum what they have, twice a layer.
Nothing overlaps: computing, waiting for a share of HBM that is smaller than a cluster's own channels, and the
all-reduce add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from potluck.isa.errors import DataError
from potluck.isa.machine import Machine
from potluck.scale.families import Family
from potluck.scale.noc import Noc
from potluck.scale.samples import BACKGROUND, BYTES, CYCLES, JOULES, MACS, Cost, Sampler, Size
from potluck.scale.shard import Shard, shard
from potluck.sim.dram.attach import core_rate

STACK_CHANNELS = 16
"""Channels of an HBM3 stack (JESD238)."""
CACHE_BYTES = 4
"""Of a key or value: the compiler keeps activations in FP32."""
PARTIAL_BYTES = 4
"""Of a value that clusters sum: FP32."""


@dataclass(frozen=True)
class System:
    """What is assumed of the clusters together; every field is an option of ``potluck scale``.

    Attributes:
        clusters: that share every layer.
        topology: of the NoC, see `potluck.scale.noc.Noc`.
        link_bytes_per_cycle: of a link between neighbours.
        hop_cycles: of a hop; setting a transfer up takes the machine's ``dma.setup_cycles`` more.
        hop_pj_per_byte: energy of a byte over a hop.
        stacks: of HBM, whose bandwidth all share; None: every cluster has its own channels to itself.
        stack_gib: capacity of a stack.
    """

    clusters: int
    topology: str = "mesh"
    link_bytes_per_cycle: float = 64.0
    hop_cycles: float = 10.0
    hop_pj_per_byte: float = 1.0
    stacks: int | None = None
    stack_gib: float = 16.0


@dataclass(frozen=True)
class Load:
    """What is asked of the model.

    Attributes:
        batch: sequences at once.
        prompt: tokens of each prompt.
        context: tokens in the cache when a token is made.
        chunk: tokens of a prompt at a time.
    """

    batch: int = 1
    prompt: int = 512
    context: int = 1024
    chunk: int = 64


@dataclass(frozen=True)
class Phase:
    """A phase, or a token of it.

    Attributes:
        tokens: that it is about.
        seconds: in all.
        tokens_per_second: of all sequences together.
        joules_per_token: all clusters, DRAM and NoC.
        dram_bytes_per_token: of all clusters.
        noc_bytes_per_token: that cross hops.
        compute_share: of the time, as simulated.
        hbm_share: of the time, in which clusters wait for HBM that they share.
        noc_share: of the time, in all-reduces.
        utilization: of the peak of all clusters.
        roofline_tokens_per_second: no machine with these peaks is faster: HBM's for weights once a step and caches
            once, and the multiply-accumulates.
        of_roofline: reached of it.
    """

    tokens: int
    seconds: float
    tokens_per_second: float
    joules_per_token: float
    dram_bytes_per_token: float
    noc_bytes_per_token: float
    compute_share: float
    hbm_share: float
    noc_share: float
    utilization: float
    roofline_tokens_per_second: float
    of_roofline: float


@dataclass(frozen=True)
class Scaled:
    """What was found.

    Attributes:
        family: the model.
        scheme: of quantization.
        machine: of a cluster.
        system: clusters together.
        load: what was asked.
        shard: a cluster's part.
        decode: a step, in which every sequence gets a token.
        prefill: all prompts.
        weight_bits: as stored, scales included.
        weight_bytes: of the model; the embedding in FP32.
        cache_bytes: at the load's context; clusters that share a group of heads each keep its keys and values.
        capacity_bytes: of HBM.
        samples: programs that were simulated.
        assumptions: each in a line.
    """

    family: Family
    scheme: str
    machine: str
    system: System
    load: Load
    shard: Shard
    decode: Phase
    prefill: Phase
    weight_bits: float
    weight_bytes: float
    cache_bytes: float
    capacity_bytes: float
    samples: int
    assumptions: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether weights and caches fit into HBM."""
        return self.weight_bytes + self.cache_bytes <= self.capacity_bytes

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "parameters": self.family.parameters, "fits": self.fits}


def part_of(family: Family, system: System, load: Load) -> Shard:
    """What a cluster has of a model.

    Raises:
        DataError: the model cannot be split so, or a number is none that can be.
    """
    for name, value in {
        **asdict(load),
        **{k: v for k, v in asdict(system).items() if k != "topology"},
    }.items():
        if value is not None and not 0 < value < math.inf:
            raise DataError(f"{name} = {value}: give a number above 0")
    return shard(family, system.clusters)


def scale(
    family: Family,
    scheme: str,
    machine: Machine,
    system: System,
    load: Load = Load(),
    sampler: Sampler | None = None,
    step: Callable[[str], object] = lambda text: None,
) -> Scaled:
    """Puts a model on clusters.

    Args:
        family: the model.
        scheme: of quantization, or ``fp32``.
        machine: of each cluster.
        system: how clusters are connected.
        load: what is asked.
        sampler: whose samples of this machine and scheme are used, and to which others are added.
        step: told of every sample before it is simulated.

    Raises:
        DataError: the model cannot be split so, or a number is none that can be.
        ModelError: the compiler refuses a layer.
    """
    part = part_of(family, system, load)
    taken = sampler or Sampler(machine, scheme, step=step)
    return _Scaling(family, machine, system, load, part, taken).result()


@dataclass(frozen=True)
class _Scaling:
    family: Family
    machine: Machine
    system: System
    load: Load
    part: Shard
    sampler: Sampler

    @property
    def noc(self) -> Noc:
        s = self.system
        adds = 2.0 * self.machine.vector.lanes * self.machine.cluster.cores  # FP32 values in 64-bit lanes
        step = s.hop_cycles + self.machine.dma.setup_cycles
        return Noc(s.topology, s.link_bytes_per_cycle, step, s.hop_pj_per_byte, adds)

    @property
    def share(self) -> float:
        """Bytes of DRAM that a cluster gets per cycle."""
        own = core_rate(self.machine)
        if self.system.stacks is None:
            return own
        stack = own / self.machine.dram.channels * STACK_CHANNELS
        return min(own, self.system.stacks * stack / self.system.clusters)

    @property
    def stacks(self) -> int:
        """Of HBM."""
        return self.system.stacks or math.ceil(
            self.system.clusters * self.machine.dram.channels / STACK_CHANNELS
        )

    def result(self) -> Scaled:
        load, family, sampler, part = self.load, self.family, self.sampler, self.part
        clusters = self.system.clusters
        head = sampler.head(part, load.batch)
        first = sampler.layer(part, load.batch, 0)
        decode = self._phase(
            [(first + load.batch * load.context * sampler.slope(part, 1), family.layers, load.batch), (head, 1, 0)],
            load.batch, 1, load.context,
        )  # fmt: skip
        chunk = min(load.chunk, load.prompt)
        chunks = load.prompt / chunk
        behind = load.prompt * (chunks - 1) / 2  # tokens in the cache, summed over the chunks of a prompt
        opening, more = sampler.layer(part, chunk, 0), sampler.slope(part, chunk)
        whole = load.batch * (chunks * opening + behind * more)
        prefill = self._phase(
            [(whole, family.layers, load.batch * load.prompt), (head, 1, 0)],
            load.batch * load.prompt, load.batch * chunks, load.prompt / 2,
        )  # fmt: skip
        bits = sampler.bits
        held = family.layers * family.layer_weights + family.embedding
        return Scaled(
            family, sampler.scheme, self.machine.name, self.system, load, part, decode, prefill, bits,
            held * bits / 8 + 4.0 * family.embedding,
            float(CACHE_BYTES * load.batch * load.context * 2 * family.layers * clusters * part.groups * part.head),
            self.stacks * self.system.stack_gib * (1 << 30), len(sampler.samples), self._assumptions(),
        )  # fmt: skip

    def _phase(self, parts: list[tuple[Cost, int, int]], tokens: int, steps: float, context: float) -> Phase:
        """A phase of parts: cost on a cluster, how often, and rows that all clusters sum twice each time."""
        clusters, clock, noc, family = (
            self.system.clusters,
            self.machine.cluster.clock_hz,
            self.noc,
            self.family,
        )
        compute = waiting = exchange = crossed = joules = moved = macs = 0.0
        for cost, times, rows in parts:
            cycles = float(cost[CYCLES])
            compute += times * cycles
            slower = (
                max(0.0, float(cost[BYTES]) / self.share - cycles)
                if self.share < core_rate(self.machine)
                else 0.0
            )
            waiting += times * slower
            calls = steps if times > 1 else 0.0
            size = PARTIAL_BYTES * rows * family.width / max(1.0, calls)
            spent, bytes_ = noc.all_reduce(size, clusters, PARTIAL_BYTES) if rows else (0.0, 0.0)
            if rows and self.part.sharing > 1:  # partial scores of clusters that share a head
                shared = PARTIAL_BYTES * rows * (self.part.head + 2) / max(1.0, calls)
                extra, hops = noc.all_reduce(shared, self.part.sharing, PARTIAL_BYTES)
                spent, bytes_ = spent + extra / 2, bytes_ + hops / 2 * family.heads
            exchange += times * 2 * calls * spent
            crossed += times * 2 * calls * bytes_
            background = float(cost[BACKGROUND]) / cycles
            idle = times * (slower + 2 * calls * spent) * background
            joules += clusters * (times * float(cost[JOULES] + cost[BACKGROUND]) + idle)
            moved += clusters * times * float(cost[BYTES])
            macs += clusters * times * float(cost[MACS])
        cycles = compute + waiting + exchange
        seconds = cycles / clock
        joules += noc.joules(crossed)
        peak = clusters * self.machine.peak_macs_per_cycle(self.sampler.scheme)
        roof = self._roofline(tokens, steps, context, peak)
        return Phase(
            tokens, seconds, tokens / seconds, joules / tokens, moved / tokens, crossed / tokens, compute / cycles,
            waiting / cycles, exchange / cycles, macs / (peak * cycles), roof, tokens / seconds / roof,
        )  # fmt: skip

    def _roofline(self, tokens: int, steps: float, context: float, peak: float) -> float:
        """Tokens per second of all clusters' HBM and multiply-accumulates, whichever is less."""
        family, clock = self.family, self.machine.cluster.clock_hz
        weights = family.layers * family.layer_weights
        bits = self.sampler.bits / 8
        caches = CACHE_BYTES * family.cache_values(1) * context * (self.load.batch if steps == 1 else steps)
        bytes_ = steps * weights * bits + family.embedding * bits + caches
        macs = tokens * weights + self.load.batch * family.embedding
        seconds = max(bytes_ / (self.system.clusters * self.share), macs / peak) / clock
        return tokens / seconds

    def _assumptions(self) -> tuple[str, ...]:
        s, load, part, share = self.system, self.load, self.part, self.share
        small = self.sampler.fitting(part)
        cut = [f"{key} {getattr(small, key):,} of {getattr(part, key):,}" for key in ("groups", "hidden", "vocabulary")
               if getattr(small, key) != getattr(part, key)]  # fmt: skip
        clock = self.machine.cluster.clock_hz / 1e9
        rows, columns = self.noc.sides(s.clusters)
        shape = f"{rows} x {columns} mesh" if s.topology == "mesh" else s.topology
        sampler, setup = self.sampler, self.machine.dma.setup_cycles
        extrapolated = f"; extrapolated from {', '.join(cut)}" if cut else ""
        lines = [
            f"tensor parallel: every layer on all {s.clusters} clusters; a cluster has {part.heads} heads of "
            f"{part.head} ({part.groups} of keys), {part.hidden:,} hidden units, {part.vocabulary:,} tokens of the "
            "vocabulary; what does not divide is rounded up for all",
            f"a cluster's layers as compiled and simulated on {self.machine.name}, {sampler.scheme}; keys, values and "
            f"what clusters sum are FP32; cache sampled at {sampler.past // 2} and {sampler.past} tokens, affine from "
            f"there{extrapolated}",
            f"NoC: {shape}, links of {s.link_bytes_per_cycle:g} B/cycle at {clock:g} GHz, {s.hop_cycles:g} cycles a "
            f"hop and {setup} to set up, {s.hop_pj_per_byte:g} pJ per byte and hop; two all-reduces a layer, nothing "
            "overlaps",
            f"HBM: {self.stacks} stacks of {STACK_CHANNELS} channels and {s.stack_gib:g} GiB, {share * clock:.1f} GB/s "
            "a cluster",
            f"decode: {load.batch} sequences behind {load.context:,} tokens each; prefill: {load.prompt:,} tokens "
            f"each in chunks of {min(load.chunk, load.prompt)}, one sequence after the other",
        ]  # fmt: skip
        if part.sharing > 1:
            lines.append(
                f"{part.sharing} clusters share a head by its width, and sum their scores once a layer"
            )
        return tuple(lines)


def check(
    family: Family, scheme: str, machine: Machine, layers: int, vocabulary: int, past: int, rows: int = 1,
    sampler: Sampler | None = None,
) -> tuple[float, float]:  # fmt: skip
    """Cycles of a model cut to some layers on one cluster: as scaled, and as simulated whole.

    Args:
        family: the model.
        scheme: of quantization.
        machine: of the cluster.
        layers: to which it is cut.
        vocabulary: the same.
        past: tokens in the cache.
        rows: tokens at once.
        sampler: that scales; its sizes should be smaller than the model's, or nothing is tested.
    """
    part = Shard(family.width, family.heads, family.groups, family.head, family.hidden, vocabulary, 1)
    taken = sampler or Sampler(machine, scheme)
    scaled = layers * taken.layer(part, rows, past) + taken.head(part, rows)
    whole = Sampler(machine, scheme).run(Size(part, rows, past, layers))
    return float(scaled[CYCLES]), float(whole[CYCLES])
