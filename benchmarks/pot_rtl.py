"""The cluster's PoT accelerator in RTL beside the simulator's: random layers, driven by their commands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from potluck.benchmarks.checkout import checkout
from potluck.hdl import toolchain
from potluck.isa.errors import ToolError

Report = Callable[..., None]
LAYERS = 200


def run(report: Report) -> None:
    """On the cluster's own buffers, and on small ones, where layers are cut into many tiles and parts.

    What it needs (Verilator, the source checkout) may be missing: then that is the figure.
    """
    try:
        if missing := toolchain.missing("rtl"):
            raise ToolError(f"{', '.join(found.tool.name for found in missing)} missing", tool="verilator")
        cases = checkout("tests.rtl.bench.pot_engine_cases")
        library, runs = (
            checkout("tests.rtl.bench.pot_engine_library"),
            checkout("tests.rtl.bench.pot_engine_runs"),
        )
    except ToolError as error:
        report("RTL: left out", None, "", str(error))
        return
    for name, overrides in (("the cluster's buffers", {}), ("small buffers", library.SMALL)):
        build = library.EngineBuild(overrides)
        rng = np.random.Generator(np.random.Philox(8))
        found = [runs.run_layer(build, cases.layer(rng, build.machine, number)) for number in range(LAYERS)]
        wrong = sum(run.wrong > 0 for run in found)
        cycles = np.concatenate([np.abs(run.cycles / run.wanted - 1) for run in found])
        queues = np.array([abs(run.error) for run in found])
        label = f"RTL, {name}"
        report(
            f"{label}: layers that differ",
            wrong,
            "",
            f"of {LAYERS} random layers, in every byte",
            "0",
            wrong == 0,
        )
        report(f"{label}: cycles of a computation, worst", float(100 * cycles.max()), "%",
               f"{len(cycles)} computations by isa/pot_cycles.py", "<= 5", bool(cycles.max() <= 0.05))  # fmt: skip
        for what, value, most in (("median", np.median(queues), 2), ("worst", queues.max(), 5)):
            met = bool(100 * value <= most)
            reference = "the simulator's, memory of fixed latency"
            report(
                f"{label}: cycles of a queue, {what}", float(100 * value), "%", reference, f"<= {most}", met
            )
