"""Run a program and add up what it cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.elf import Program
from potluck.isa.errors import ExitError, ProgramError
from potluck.isa.machine import Machine
from potluck.isa.manifest import Layer
from potluck.sim.blocks import Block
from potluck.sim.cluster import DEFAULT_BUDGET, Cluster
from potluck.sim.energy import COMPONENTS
from potluck.sim.process import Environment
from potluck.sim.result import LayerResult, Result
from potluck.sim.timing import CAUSES

MODES = ("timed", "functional")
OUTSIDE = Layer("(runtime)", "", 0, 0)  # code of no layer: start-up, synchronization between layers


def simulate(
    program: Program,
    inputs: Mapping[str, NDArray[Any]],
    machine: Machine,
    mode: str = "timed",
    budget: int = DEFAULT_BUDGET,
    threads: int | None = None,
    signature: Path | None = None,
    environment: Environment | None = None,
) -> Result:
    """Execute a program, every instruction of it.

    Args:
        program: what to run.
        inputs: tensors by name, in their logical shapes.
        machine: on what.
        mode: ``timed``, or ``functional`` for the same values without cycles.
        budget: retired instructions per hart after which an endless loop is assumed.
        threads: host threads; never changes the result.
        signature: file for the memory between ``begin_signature`` and ``end_signature``.
        environment: arguments, streams and files of a program that is a Linux process.

    Raises:
        ExitError: an exit code other than 0; its ``result`` tells what the run cost.
        ProgramError, TrapError, DataError: see :class:`potluck.sim.cluster.Cluster`.
    """
    if mode not in MODES:
        raise ProgramError(f"mode {mode!r}; there are {', '.join(MODES)}")
    cluster = Cluster(program, machine, mode == "timed", budget, threads, environment=environment)
    try:
        outputs = cluster.run(inputs)
    except ExitError as error:
        error.result = summarize(cluster, {}, mode)
        raise
    if signature:
        cluster.memory.write_signature(signature)
    return summarize(cluster, outputs, mode)


def summarize(cluster: Cluster, outputs: dict[str, NDArray[Any]], mode: str) -> Result:
    """Sum cycles by cause, instructions and energy over a finished run, in all and by layer."""
    machine, program = cluster.machine, cluster.program
    layers = [*program.manifest.layers, OUTSIDE]
    written = [bytes(stream.kept) for stream in cluster.streams]
    find = _LayerOf(program.manifest.layers)
    cycles_by = np.zeros((len(layers), len(CAUSES)), np.int64)
    instructions = np.zeros(len(layers), np.int64)
    dynamic = np.zeros((len(layers), len(COMPONENTS)))
    tables: dict[int, tuple[NDArray[Any], ...]] = {}
    for hart in cluster.harts:
        if id(hart.store) not in tables:  # one, but of harts that have met other code than was loaded
            tables[id(hart.store)] = _block_table(hart.store.blocks, find)
        layer_of, length, fixed, per_element = tables[id(hart.store)]
        use = hart.usage()
        where = layer_of[use.block]
        np.add.at(instructions, where, use.count * length[use.block])
        joules = (fixed[use.block] + use.vl[:, None] * per_element[use.block]) * use.count[:, None]
        np.add.at(dynamic, where, joules)
        if hart.number == 0:  # its clock is the run's
            np.add.at(cycles_by, where, use.causes)
            for (pc, cause), cycles in hart.waited.items():
                cycles_by[find(pc), CAUSES.index(cause)] += cycles
    stalls = [dict(zip(CAUSES, row, strict=True)) for row in cycles_by.tolist()]
    energy: list[dict[str, float]] = [
        defaultdict(float, zip(COMPONENTS, row, strict=True)) for row in dynamic.tolist()
    ]
    moved = [0] * len(layers)
    for pc, (count, dram) in cluster.dma.moved.items():
        moved[find(pc)] += count
        energy[find(pc)]["dma"] += count * machine.pj("dma")
        energy[find(pc)]["dram"] += dram * machine.pj("dram")
    results = []
    for k, layer in enumerate(layers):
        cycles = sum(stalls[k].values())
        energy[k]["static"] += cycles * machine.pj("static") * machine.cluster.cores
        ideal = layer.macs / machine.peak_macs_per_cycle(layer.format) if layer.macs else 0.0
        results.append(
            LayerResult(
                layer.name, layer.op, layer.format, cycles, layer.macs, ideal / cycles if cycles else 0.0,
                1e-12 * sum(energy[k].values()), int(instructions[k]), stalls[k], moved[k],
            )
        )  # fmt: skip
    timed = mode == "timed"
    total = cluster.cycles if timed else 0
    components = (
        {name: 1e-12 * sum(e.get(name, 0.0) for e in energy) for name in _names(energy)} if timed else {}
    )
    ideal = sum(x.utilization * x.cycles for x in results)
    return Result(
        outputs=outputs, mode=mode, machine=machine.name, clock_hz=machine.cluster.clock_hz, cycles=total,
        instructions=sum(hart.instructions for hart in cluster.harts), macs=sum(x.macs for x in results),
        utilization=ideal / total if total else 0.0, energy=components,
        layers=[x for x in results if x.cycles or x.macs] if timed else [],
        stalls={cause: sum(s[cause] for s in stalls) for cause in CAUSES} if timed else {},
        dram={"read_bytes": cluster.dma.bytes["dram_read"], "write_bytes": cluster.dma.bytes["dram_write"]},
        timing_error_band=machine.timing_error_band, host_seconds=cluster.host_seconds,
        stdout=written[0], stderr=written[1],
    )  # fmt: skip


def _block_table(blocks: list[Block], find: _LayerOf) -> tuple[NDArray[Any], ...]:
    """Of each block: layer, instructions, picojoules [blocks, components] fixed and per element of vl."""
    energy = np.array([block.energy for block in blocks])
    layers = np.array([find(block.pc) for block in blocks], np.int64)
    return layers, np.array([len(block.insns) for block in blocks], np.int64), energy[:, 0], energy[:, 1]


def _names(parts: list[dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part))


class _LayerOf:
    """Which layer a pc belongs to; the last index means none."""

    def __init__(self, layers: list[Layer]) -> None:
        order = np.argsort([layer.start for layer in layers], kind="stable")
        self._order = order.tolist()
        self._starts = np.array([layers[k].start for k in order], np.uint64)
        self._layers = layers

    def __call__(self, pc: int) -> int:
        place = int(np.searchsorted(self._starts, np.uint64(pc), side="right")) - 1
        if place >= 0 and pc < self._layers[self._order[place]].end:
            return int(self._order[place])
        return len(self._layers)
