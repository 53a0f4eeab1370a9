"""Layers and queues on the cluster's accelerator, in RTL and in the simulator, and what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.pot.array import LAWS
from potluck.isa.pot.codes import POT_FORMATS
from potluck.isa.pot.command import STATE
from potluck.isa.pot.stream import Status
from potluck.sim.pot.schedule import Engine
from tests.rtl.bench.bins import Coverage
from tests.rtl.bench.pot_engine_library import AT, EngineBuild, Modeled, Session
from tests.rtl.bench.pot_engine_limits import limits
from tests.sim.pot.pot_layers import INPUT, OUTPUT, WEIGHTS, Case

LAYER_BINS = [
    *POT_FORMATS, *LAWS, *(f"planes {n}" for n in (2, 4, 5)), "depthwise", "depthwise planes 4", "depthwise planes 5",
    "stride", "gaps in a row", "border", "beyond the border", "parts", "tiles", "unsigned inputs", "unsigned outputs",
    "ragged filters", "ragged depth", "ragged pixels",
]  # fmt: skip


@dataclass(frozen=True)
class LayerRun:
    """A layer on both.

    Attributes:
        wrong: bytes of memory that differ, and values that are not those of ONNX's Conv.
        cycles: of each computation in RTL, from its begin to the begin of one that waits for it.
        wanted: of each computation by `potluck.isa.pot.cycles`.
        error: of the whole queue's cycles, RTL's to the simulator's less 1.
    """

    wrong: int
    cycles: NDArray[np.int64]
    wanted: NDArray[np.int64]
    error: float


def queues(commands: NDArray[np.uint32], most: int = 1000) -> list[NDArray[np.uint32]]:
    """A layer's commands in queues that fit into L1, each with its TLAST."""
    parts = [commands[start : start + most].copy() for start in range(0, len(commands), most)]
    for part in parts:
        part[-1, 0] |= 1 << 8
    return parts


def run_layer(build: EngineBuild, case: Case, gaps: float = 0) -> LayerRun:
    """Run a layer's commands on both."""
    memory = {INPUT: np.ascontiguousarray(case.x).view(np.uint8).ravel(), WEIGHTS: case.layer.weights}
    modeled, session = build.sessions(memory, gaps)
    wanted = cycles = wrong = 0
    for commands in queues(case.layer.commands):
        (wanted_state, more), (state, took) = (both.ring(commands) for both in (modeled, session))
        wanted, cycles, wrong = wanted + more, cycles + took, wrong + (state != wanted_state)
    y = case.expected()
    out = session.view(OUTPUT, y.nbytes).view(y.dtype).reshape(y.shape)
    wrong += int((out != y).sum()) + len(differences(modeled, session, memory))
    begins, ends = session.events(Engine.COMPUTE).T
    works = [work.cycles for work in modeled.works if work.engine is Engine.COMPUTE]
    return LayerRun(wrong, ends + 1 - begins, np.array(works), cycles / wanted - 1)


def cover(coverage: Coverage, case: Case, run: LayerRun) -> None:
    """What a layer was."""
    c = case.conv
    depth = c.kernel[0] * c.kernel[1] * (1 if c.depthwise else c.channels)
    reach = [d * (k - 1) for d, k in zip(c.dilation, c.kernel, strict=True)]
    parts = not c.depthwise and case.layer.tiling.channels < c.channels
    hits = {
        c.kind.name: c.planes == 1 and c.kind.pot is not None, case.requantizer.law: True,
        f"planes {c.planes}": c.planes > 1,
        "depthwise": c.depthwise, f"depthwise planes {c.planes}": c.depthwise and c.planes >= 4,
        "stride": max(c.stride) > 1, "gaps in a row": c.dilation[1] > 1 and c.kernel[1] > 1, "border": any(c.pads),
        "beyond the border": c.pads[0] > reach[0] or c.pads[1] > reach[1],
        "parts": parts, "tiles": len(run.cycles) > 1 and not parts, "unsigned inputs": c.unsigned_inputs,
        "unsigned outputs": c.unsigned_outputs, "ragged filters": c.filters % 4 > 0, "ragged depth": depth % 4 > 0,
        "ragged pixels": c.out_height * c.out_width % 4 > 0,
    }  # fmt: skip
    for name, hit in hits.items():
        if hit:
            coverage.hit(name)


def run_queue(
    build: EngineBuild,
    memory: Mapping[int, NDArray[np.uint8]],
    rings: Sequence[NDArray[np.uint32]],
    *,
    gaps: float = 0,
    reset: bool = False,
    count: int | None = None,
    queue: int = AT,
    found: Counter[Status] | None = None,
) -> str:
    """Ring for queues one after the other; what differs, empty if nothing.

    Args:
        build: the RTL.
        memory: bytes by address.
        rings: commands of each queue.
        gaps: how often memory does not answer.
        reset: after each ring.
        count: of commands, where it is not the queue's.
        queue: its address.
        found: counts statuses.
    """
    modeled, session = build.sessions(memory, gaps)
    for number, commands in enumerate(rings):
        wanted, _ = modeled.ring(commands, count, queue)
        state, _ = session.ring(commands, count, queue)
        if found is not None:
            found[Status(wanted & 0xFF)] += 1
        if state != wanted:
            return f"ring {number}: state {state:#x}, not {wanted:#x}"
        if reset:
            modeled.reset()
            session.reset()
            if session.access(STATE)[0] != modeled.state:
                return f"state after reset {number}"
    wrong = differences(modeled, session, memory)
    return f"{len(wrong)} bytes, first at {wrong[0]:#x}" if wrong else ""


def run_doorbells(build: EngineBuild, commands: NDArray[np.uint32]) -> str:
    """Ring with numbers and addresses that are right, wrong, or just so; what differs, empty if nothing."""
    end = build.machine.memory.l1_bytes - commands.nbytes
    rings = [(count, 0) for count in (0, 65536, 65535)]
    rings += [(len(commands), place) for place in (4, -8, 0x7000_0000, end + 8, end)]
    for count, place in rings:
        if differs := run_queue(build, {}, [commands], count=count, queue=AT + place, reset=True):
            return f"{count} commands at {place:#x}: {differs}"
    return ""


def run_limits(build: EngineBuild, memory: Mapping[int, NDArray[np.uint8]]) -> str:
    """Every queue at a limit, memory with and without gaps; what differs, empty if nothing."""
    modeled, _ = build.sessions({})
    text = range(modeled.memory.layout.dram_base, modeled.memory.first_writable)
    for limit in limits(build.machine, text):
        for gaps in (0.0, 0.5):
            found: Counter[Status] = Counter()
            if differs := run_queue(build, memory, [limit.commands], gaps=gaps, found=found):
                return f"{limit.name}: {differs}"
            if list(found) != [limit.status]:
                return f"{limit.name}: {list(found)} is not {limit.status!r}"
    return ""


STORED = range(OUTPUT - (1 << 14), OUTPUT + (1 << 18))
"""Where good stores go to."""


def differences(modeled: Modeled, session: Session, contents: Mapping[int, NDArray[np.uint8]]) -> list[int]:
    """Addresses whose bytes differ: in L1, in what was there, where stores go to and where the RTL's went to."""
    layout = session.layout
    places = [range(address, address + data.size) for address, data in contents.items()]
    places += [STORED, range(layout.dram_base, layout.dram_base + (1 << 12)), session.written]
    found = {layout.l1_base + int(at) for at in np.flatnonzero(session.l1 != modeled.memory.l1)}
    for place in places:
        first = max(place.start, layout.dram_base)
        ours = session.view(first, max(0, place.stop - first))
        theirs = modeled.memory.dram[first - layout.dram_base :][: ours.size]
        found |= {first + int(at) for at in np.flatnonzero(ours != theirs)}
    return sorted(found)
