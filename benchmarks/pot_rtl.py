"""The PoT accelerator in RTL beside the simulator's: random layers, driven by their commands, and bad programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from potluck.benchmarks.checkout import checkout
from potluck.hdl import toolchain
from potluck.isa.errors import ToolError
from potluck.isa.pot.stream import Status

Report = Callable[..., None]
LAYERS = 200
BAD = 400
"""Bad programs."""


def run(report: Report) -> None:
    """On the cluster's own buffers, and on small ones, where layers are cut into many tiles and parts.

    What it needs (Verilator, the source checkout) may be missing: then that is the figure.
    """
    try:
        if missing := toolchain.missing("rtl"):
            raise ToolError(f"{', '.join(found.tool.name for found in missing)} missing", tool="verilator")
        library = checkout("tests.rtl.bench.pot_engine_library")
    except ToolError as error:
        report("RTL: left out", None, "", str(error))
        return
    small = library.EngineBuild(library.SMALL)
    _layers(report, "the cluster's buffers", library.EngineBuild({}))
    _layers(report, "small buffers", small)
    _bad(report, "queues", _queues(small))
    _bad(report, "streams of the v12 array", _streams())


def _layers(report: Report, name: str, build: Any) -> None:
    """Values and cycles of random layers."""
    cases, runs = (checkout(f"tests.rtl.bench.pot_engine_{part}") for part in ("cases", "runs"))
    rng = np.random.Generator(np.random.Philox(8))
    found = [runs.run_layer(build, cases.layer(rng, build.machine, number)) for number in range(LAYERS)]
    wrong = sum(run.wrong > 0 for run in found)
    cycles = np.concatenate([np.abs(run.cycles / run.wanted - 1) for run in found])
    queues = np.array([abs(run.error) for run in found])
    label = f"RTL, {name}"
    text = f"of {LAYERS} random layers, in every byte"
    report(f"{label}: layers that differ", wrong, "", text, "0", wrong == 0)
    report(f"{label}: cycles of a computation, worst", float(100 * cycles.max()), "%",
           f"{len(cycles)} computations by isa/pot/cycles.py", "<= 5", bool(cycles.max() <= 0.05))  # fmt: skip
    for what, value, most in (("median", np.median(queues), 2), ("worst", queues.max(), 5)):
        met = bool(100 * value <= most)
        reference = "the simulator's, memory of fixed latency"
        report(f"{label}: cycles of a queue, {what}", float(100 * value), "%", reference, f"<= {most}", met)


def _bad(report: Report, name: str, results: Iterator[tuple[Status, str]]) -> None:
    """Programs with another status, other outputs, or no end, of pairs of the contract's status and what differs."""
    statuses: Counter[Status] = Counter()
    wrong = 0
    for status, differs in results:
        statuses[status] += 1
        wrong += bool(differs)
    kinds = ", ".join(f"{count} {status.name}" for status, count in sorted(statuses.items()))
    report(f"RTL, bad {name}: programs that differ", wrong, "", f"{kinds}; none hangs", "0", wrong == 0)


def _queues(build: Any) -> Iterator[tuple[Status, str]]:
    """Queues of commands with faults of ten kinds."""
    cases, runs = (checkout(f"tests.rtl.bench.pot_engine_{part}") for part in ("cases", "runs"))
    rng = np.random.Generator(np.random.Philox(9))
    memory = cases.contents(rng)
    for number in range(BAD):
        good = cases.Queue(rng, build.machine).commands(int(rng.integers(2, 14)))
        bad = cases.break_one(rng, good, cases.FAULTS[number % len(cases.FAULTS)])
        found: Counter[Status] = Counter()
        try:
            differs = runs.run_queue(build, memory, [bad], found=found)
        except AssertionError as error:  # then no status was counted
            yield Status.OK, str(error)
            continue
        yield next(iter(found)), differs


def _streams() -> Iterator[tuple[Status, str]]:
    """Packets with faults of ten kinds."""
    builds, programs = checkout("tests.rtl.bench.pot_builds"), checkout("tests.rtl.bench.pot_programs")
    build = builds.Build(2)
    rng = np.random.Generator(np.random.Philox(10))
    for number in range(BAD):
        layers = [programs.shortened(build.layer(rng, number), rng) for _ in range(2)]
        beats = programs.bad_program(rng, layers, programs.FAULTS[number % len(programs.FAULTS)])
        _, status = programs.expected(build.room, beats)
        try:
            _, _, differs = build.run(beats)
        except AssertionError as error:
            differs = str(error)
        yield status, differs
