"""A program in both tiers of the simulator, and what must be the same."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from potluck.isa.elf import Program
from potluck.isa.errors import PotluckError
from potluck.isa.machine import Machine
from potluck.sim import blocks, hart
from potluck.sim.cluster import Cluster

DRAM = 1 << 25
"""Bytes, for all programs here: each run's memory is hashed, and of a whole GiB that would take most of the time."""
WORDS = ("vl", "vtype", "vstart", "vxsat", "vxrm", "fcsr")


class Compared(NamedTuple):
    """Both runs' cluster, of the second tier, and how often its loops were gone through."""

    cluster: Cluster
    error: str
    turns: int


def eager(monkeypatch: Any, instructions: int = 1) -> None:
    """Let the second tier have every loop from its second turn on, or from so many instructions on."""
    monkeypatch.setattr(hart, "HOT", 1)
    monkeypatch.setattr(hart, "LOAD", instructions)
    monkeypatch.setattr(hart, "COMPILE", instructions)


def facts(cluster: Cluster, error: str) -> dict[str, Any]:
    """All that a run leaves."""
    found: dict[str, Any] = {"error": error, "exit": cluster.exit_code}
    for at in cluster.harts:
        state = at.state
        found[f"x{at.number}"], found[f"f{at.number}"] = state.x[:32].tolist(), state.f.tolist()
        found[f"v{at.number}"] = state.v.tobytes()
        found[f"words{at.number}"] = {name: state[name] for name in WORDS}
        found[f"clock{at.number}"] = at.cycles, at.instructions, at.causes
        use = at.usage()
        order = np.lexsort((use.far, use.vl, use.block)) if at.timed else slice(0)
        found[f"usage{at.number}"] = [part[order].tolist() for part in (use.block, use.vl, use.far)]
        found[f"counts{at.number}"] = np.trim_zeros(at.counts).tolist()
    found["l1"], found["dram"] = cluster.memory.l1.tobytes(), hash(cluster.memory.dram.tobytes())
    return found


def run(
    program: Program, inputs: dict[str, Any], machine: Machine, keep: int, **options: Any
) -> tuple[Cluster, str]:
    """A run, with blocks of its own unless ``keep``, and how it ended if not well."""
    if not keep:
        blocks._STORES.clear()
    cluster = Cluster(program, machine, **options)
    try:
        cluster.run(inputs)
    except PotluckError as error:
        return cluster, str(error)
    return cluster, ""


def both(
    program: Program, machine: Machine, inputs: dict[str, Any] | None = None, again: bool = False, **options: Any
) -> Compared:  # fmt: skip
    """Run a program in both tiers (``again``: in the second one once more, with its loops there from the start).

    Raises:
        AssertionError: they differ.
    """
    memory = machine.memory.model_copy(update={"dram_bytes": DRAM})
    machine = machine.model_copy(update={"memory": memory})
    runs = 2 if again else 1  # the second one finds the blocks, and the loops, of the first
    expected = [facts(*run(program, inputs or {}, machine, n, tier=1, **options)) for n in range(runs)]
    for number in range(runs):
        cluster, error = run(program, inputs or {}, machine, number, **options)
        _same(facts(cluster, error), expected[number])
    stores = {id(at.store): at.store for at in cluster.harts}.values()
    return Compared(cluster, error, sum(store.turns for store in stores))


def _same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        assert found[name] == value, name
