"""The benches as the tests call them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from potluck.hdl.bench import BenchResult, cocotb_run
from potluck.hdl.build import build_library, cocotb_build
from potluck.isa.arithmetic.mxdot import mxdot
from potluck.isa.formats.rounding import ROUNDINGS
from tests.reference.mxdot_lanes import lanes
from tests.rtl.bench.bins import Coverage, cover, form_bins
from tests.rtl.bench.directed import directed
from tests.rtl.bench.lane_library import LaneLibrary
from tests.rtl.bench.transactions import Lanes, encoded
from tests.rtl.bench.vectors import Batch, save

HERE = Path(__file__).parent
ALL_FORMATS = {"EnableFp6": 1, "EnableInt8": 1}
Replaced = Mapping[str, Path] | None


def lane_library(
    parameters: Mapping[str, int] = ALL_FORMATS, optimize: str = "-O1", replaced: Replaced = None
) -> LaneLibrary:
    """The lane for bulk vectors; ``-O1`` builds quickly and runs a million lanes a second."""
    return LaneLibrary(
        build_library("mxdotp_lane", HERE / "mxdotp_lane.cc", dict(parameters), optimize, replaced)
    )


def run_bench(
    module: str, unit: str, folder: Path, parameters: Mapping[str, int] | None = None, *, simulator: str = "verilator",
    variables: Mapping[str, str] | None = None, replaced: Replaced = None, seed: int = 1,
) -> BenchResult:  # fmt: skip
    """Run a cocotb module of this folder on a unit."""
    values = dict(parameters or {})
    bench = cocotb_build(unit, simulator, values, replaced=replaced)
    root = HERE.parents[2]
    given = {
        "POTLUCK_TOP": unit,
        "POTLUCK_PARAMETERS": " ".join(f"{k}={v}" for k, v in values.items()),
        "POTLUCK_SEED": str(seed),
        "PYTHONPATH": os.pathsep.join([str(HERE), str(root), os.environ.get("PYTHONPATH", "")]),
    }
    return cocotb_run(
        bench, HERE / f"{module}.py", folder, seed=seed, variables=given | dict(variables or {})
    )


def run_stream(
    unit: str, batches: Sequence[Batch], folder: Path, parameters: Mapping[str, int], *, simulator: str = "verilator",
    replaced: Replaced = None,
) -> BenchResult:  # fmt: skip
    """Run operations through a unit with a valid/ready handshake under cocotb."""
    folder.mkdir(parents=True, exist_ok=True)
    save(batches, folder / "vectors.npz")
    variables = {"POTLUCK_VECTORS": str(folder / "vectors.npz")}
    return run_bench(
        "stream_bench", unit, folder, parameters, simulator=simulator, variables=variables, replaced=replaced
    )


def random_form(
    fmt: str,
    acc_format: str,
    frm: str,
    count: int,
    rng: np.random.Generator,
    coverage: Coverage | None = None,
) -> Lanes:
    """Random lanes of one form and mode with their expected results."""
    lane = lanes(rng, fmt, acc_format, count)
    result, flags = mxdot(*lane, fmt, acc_format, frm)
    if coverage is not None:
        cover(coverage, fmt, acc_format, frm, lane, flags, result)
    return encoded(lane, fmt, acc_format, frm, result, flags)


def directed_form(fmt: str, acc_format: str, thin: int = 1) -> Lanes:
    """Every ``thin``-th directed lane of a form, in every mode."""
    corner = tuple(x[::thin] for x in directed(fmt, acc_format))
    return Lanes.concatenate(
        [encoded(corner, fmt, acc_format, frm, *mxdot(*corner, fmt, acc_format, frm)) for frm in ROUNDINGS]
    )


__all__ = [
    "ALL_FORMATS",
    "Coverage",
    "directed_form",
    "form_bins",
    "lane_library",
    "random_form",
    "run_bench",
    "run_stream",
]
