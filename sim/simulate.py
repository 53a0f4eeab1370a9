"""Run a program and add up what it cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.elf import Program
from potluck.isa.errors import DataError, ExitError, ProgramError
from potluck.isa.host import Engine
from potluck.isa.machine import Machine
from potluck.isa.manifest import Layer
from potluck.sim.blocks import BlockStore
from potluck.sim.cluster import DEFAULT_BUDGET, Cluster
from potluck.sim.dram.attach import stream_rate
from potluck.sim.dram.usage import DramUse
from potluck.sim.linux.process import Environment
from potluck.sim.observation import profile as profiles
from potluck.sim.observation import trace as traces
from potluck.sim.observation.listing import LayerOf
from potluck.sim.observation.watch import FOREVER, Watch
from potluck.sim.result import LayerResult, Result
from potluck.sim.timing.bounds import UNITS, lower_bounds, unit_cycles
from potluck.sim.timing.energy import COMPONENTS
from potluck.sim.timing.error import band, timing_error
from potluck.sim.timing.timer import CAUSES
from potluck.sim.transfers import MOVED, MOVED_DRAM

MODES = ("timed", "functional", "traced")
OUTSIDE = Layer("(runtime)", "", 0, 0)  # code of no layer: start-up, synchronization between layers


LARGEST = 16
"""Buffers that a result names."""


def simulate(
    program: Program,
    inputs: Mapping[str, NDArray[Any]],
    machine: Machine,
    mode: str = "timed",
    budget: int = DEFAULT_BUDGET,
    threads: int | None = None,
    signature: Path | None = None,
    environment: Environment | None = None,
    profile: bool = False,
    window: tuple[int, int] | None = None,
    engine: Engine | None = None,
    tier: int = 2,
) -> Result:
    """Execute a program, every instruction of it.

    Args:
        program: what to run.
        inputs: tensors by name, in their logical shapes.
        machine: on what.
        mode: ``timed``; ``functional`` for the same values without cycles; ``traced`` for the same values and cycles
            and a record of every instruction.
        budget: retired instructions per hart after which an endless loop is assumed.
        threads: host threads; never changes the result.
        signature: file for the memory between ``begin_signature`` and ``end_signature``.
        environment: arguments, streams and files of a program that is a Linux process.
        profile: whether to attribute cycles to instructions.
        window: cycles [first, end) of hart clocks that the trace is about; default: all.
        engine: what computes the nodes that the program leaves to the host (:mod:`potluck.isa.host`).
        tier: 2 compiles hot loops as a whole, 1 does not; never changes the result.

    Raises:
        ExitError: an exit code other than 0; its ``result`` tells what the run cost.
        DataError: an empty window, or a profile or window in a mode that has none.
        ProgramError, TrapError, DataError: see :class:`potluck.sim.cluster.Cluster`.
    """
    if mode not in MODES:
        raise ProgramError(f"mode {mode!r}; there are {', '.join(MODES)}")
    watch = _watch(mode, profile, window)
    cluster = Cluster(
        program,
        machine,
        mode != "functional",
        budget,
        threads,
        environment=environment,
        watch=watch,
        engine=engine,
        tier=tier,
    )
    try:
        outputs = cluster.run(inputs)
    except ExitError as error:
        error.result = _observed(cluster, summarize(cluster, {}, mode), watch)
        raise
    if signature:
        cluster.memory.write_signature(signature)
    return _observed(cluster, summarize(cluster, outputs, mode), watch)


def _observed(cluster: Cluster, result: Result, watch: Watch | None) -> Result:
    """The result with what was observed."""
    if watch and watch.profile:
        result = replace(result, profile=profiles.collect(cluster))
    if watch and watch.window:
        result = replace(result, trace=traces.collect(cluster, watch.window))
    return result


def _watch(mode: str, profile: bool, window: tuple[int, int] | None) -> Watch | None:
    """What to observe."""
    if window is not None and mode != "traced":
        raise DataError(f"a window of cycles belongs to mode traced, not {mode}")
    if profile and mode == "functional":
        raise DataError("a profile attributes cycles, and mode functional counts none: use timed or traced")
    if window is not None and not 0 <= window[0] < window[1]:
        raise DataError(f"window {window[0]}:{window[1]} holds no cycle: expected FIRST:END with FIRST < END")
    if mode == "traced":
        window = window or (0, FOREVER)
    return Watch(profile, window) if profile or window else None


def summarize(cluster: Cluster, outputs: dict[str, NDArray[Any]], mode: str) -> Result:
    """Sum cycles by cause, instructions and energy over a finished run, in all and by layer."""
    machine, program = cluster.machine, cluster.program
    layers = [*program.manifest.layers, OUTSIDE]
    written = [bytes(stream.kept) for stream in cluster.streams]
    find = LayerOf(program.manifest.layers)
    count = len(cluster.harts)
    causes_by = np.zeros((count, len(layers), len(CAUSES)), np.int64)
    instructions = np.zeros((count, len(layers)), np.int64)
    units = np.zeros((count, len(layers), len(UNITS)), np.int64)
    dynamic = np.zeros((len(layers), len(COMPONENTS)))
    tables: dict[int, tuple[NDArray[Any], ...]] = {}
    for hart in cluster.harts:
        if id(hart.store) not in tables:  # one, but of harts that have met other code than was loaded
            tables[id(hart.store)] = _block_table(hart.store, find)
        layer_of, length, fixed, per_element = tables[id(hart.store)]
        use = hart.usage()
        where = layer_of[use.block]
        np.add.at(instructions[hart.number], where, use.count * length[use.block])
        np.add.at(units[hart.number], where, unit_cycles(hart.store, use))
        joules = (fixed[use.block] + use.vl[:, None] * per_element[use.block]) * use.count[:, None]
        np.add.at(dynamic, where, joules)
        np.add.at(causes_by[hart.number], where, use.causes)
        waits = np.array([(pc, CAUSES.index(cause), n) for (pc, cause), n in hart.waited.items()], np.int64)
        waits = waits.reshape(-1, 3)
        places = find.all(waits[:, 0].view(np.uint64)), waits[:, 1]
        np.add.at(causes_by[hart.number], places, waits[:, 2])
    by_hart = [
        [dict(zip(CAUSES, row, strict=True)) for row in harts]
        for harts in causes_by.transpose(1, 0, 2).tolist()
    ]
    stalls = [harts[0] for harts in by_hart]  # hart 0's clock is the run's
    energy: list[dict[str, float]] = [
        defaultdict(float, zip(COMPONENTS, row, strict=True)) for row in dynamic.tolist()
    ]
    moved, far = np.zeros((2, len(layers)), np.int64)
    traffic = cluster.traffic()
    where = find.all(traffic.pcs)
    np.add.at(moved, where, traffic.moved[:, MOVED])
    _add_joules(energy, "dma", where, traffic.moved[:, MOVED] * machine.pj("dma"))
    if cluster.dram is None:
        np.add.at(far, where, traffic.moved[:, MOVED_DRAM])
        _add_joules(energy, "dram", where, traffic.moved[:, MOVED_DRAM] * machine.pj("dram"))
    array = np.zeros(len(layers), np.int64)
    for pc, work in cluster.pot.use.items() if cluster.pot else ():
        energy[find(pc)]["pot"] += work.picojoules(machine)
        array[find(pc)] += work.cycles
    dram_use = DramUse(cluster, find)
    far += [dram_use.bytes(k) for k in range(len(layers))]
    for k, pj in enumerate(dram_use.energy([sum(row.values()) for row in stalls])):
        for name, value in pj.items():
            energy[k][name] += value
    results, ideal_cycles = [], 0.0
    for k, layer in enumerate(layers):
        cycles = sum(stalls[k].values())
        energy[k]["static"] += cycles * machine.pj("static") * machine.cluster.cores
        ideal = layer.macs / machine.peak_macs_per_cycle(layer.format) if layer.macs else 0.0
        ideal_cycles += ideal
        busy = max(cycles, array.item(k))  # the accelerator's cycles beside other layers are theirs
        results.append(
            LayerResult(
                layer.name, layer.op, layer.format, cycles, layer.macs, ideal / busy if busy else 0.0,
                1e-12 * sum(energy[k].values()), int(instructions[:, k].sum()), stalls[k], int(moved[k]), int(far[k]),
                lower_bounds(machine, ideal, units[:, k], instructions[:, k], int(moved[k]), int(far[k]),
                             array.item(k)),
                by_hart[k],
            )
        )  # fmt: skip
    timed = mode != "functional"
    total = cluster.cycles if timed else 0
    components = (
        {name: 1e-12 * sum(e.get(name, 0.0) for e in energy) for name in _names(energy)} if timed else {}
    )
    return Result(
        outputs=outputs, mode=mode, machine=machine.name, clock_hz=machine.cluster.clock_hz, cycles=total,
        instructions=sum(hart.instructions for hart in cluster.harts), macs=sum(x.macs for x in results),
        utilization=ideal_cycles / total if total else 0.0, energy=components,
        layers=[x for x in results if x.cycles or x.macs] if timed else [],
        stalls={cause: sum(s[cause] for s in stalls) for cause in CAUSES} if timed else {},
        dram=dram_use.to_json(), roofs=_roofs(machine, layers),
        timing_error_band=band(machine), timing_error=timing_error(machine), host_seconds=cluster.host_seconds,
        stdout=written[0], stderr=written[1], manifest=_facts(cluster),
    )  # fmt: skip


def _roofs(machine: Machine, layers: Sequence[Layer]) -> dict[str, Any]:
    """What layers can do at most: products of each format, bytes from DRAM."""
    formats = dict.fromkeys(layer.format for layer in layers if layer.macs)
    return {
        "macs_per_cycle": {name: machine.peak_macs_per_cycle(name) for name in formats},
        "dram_bytes_per_cycle": stream_rate(machine),
    }


def _facts(cluster: Cluster) -> dict[str, Any]:
    """Of the program: its memory plan; nodes of the network, and those that the host computed, if it left it any."""
    manifest = cluster.program.manifest
    facts: dict[str, Any] = {}
    if manifest.memory:
        largest = sorted(manifest.buffers, key=lambda buffer: -buffer.bytes)[:LARGEST]
        facts["memory"] = dict(manifest.memory)
        facts["buffers"] = [
            {key: getattr(buffer, key) for key in ("name", "format", "region", "address", "bytes")}
            for buffer in largest
        ]
    if not manifest.host:
        return facts
    calls = zip(manifest.host, cluster.host_nodes.calls, strict=True)
    found = [{"name": node.name, "op": node.op, "reason": node.reason} for node, count in calls if count]
    return {**facts, "nodes": manifest.nodes, "host_nodes": found}


def _add_joules(
    energy: list[dict[str, float]], component: str, layers: NDArray[np.int64], joules: NDArray[Any]
) -> None:
    """Add what belongs to layers, [n], to a component of each."""
    sums = np.zeros(len(energy))
    np.add.at(sums, layers, joules)
    for k in np.flatnonzero(sums).tolist():
        energy[k][component] += sums.item(k)


def _block_table(store: BlockStore, find: LayerOf) -> tuple[NDArray[Any], ...]:
    """Of each block: layer, instructions, picojoules [blocks, components] fixed and per element of vl."""
    count, arrays = len(store.blocks), store.arrays
    layers, energy = find.all(arrays.extents[:count, 0]), arrays.energy[:count]
    return layers, arrays.info[:count, 1], energy[:, 0], energy[:, 1]


def _names(parts: list[dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part))
