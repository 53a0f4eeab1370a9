"""Flips that campaigns make in accumulators and scales, forced in the RTL: the dot products come out alike.

The program runs to the flip in the simulator, which executes the one VMXDOTP that follows; its operands, and the bit,
go to the unit's operand register under cocotb.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from potluck.isa.arithmetic.mxdot import CHUNK_ELEMENTS
from potluck.sim.checkpoints import upset as module
from potluck.sim.checkpoints.upset import Struck, Upset
from potluck.sim.state import F, V
from tests.rtl.bench.running import ALL_FORMATS, run_bench
from tests.rtl.bench.transactions import ELEM_FORMATS
from tests.sim.checkpoints.test_replay import runs_of

pytestmark = pytest.mark.usefixtures("rtl_tools")
LANES, CASES = 4, 24


class Done(Exception):
    """The instruction after the flip has been executed."""


@contextmanager
def caught(seen: dict[str, Any]) -> Iterator[None]:
    """Stop behind the instruction that a flip comes before, with what it read and gave, both ways."""
    strike = module._strike

    def instead(hart: Any, upset: Upset, block: Any) -> Struck:
        before = hart.state.raw.copy()
        struck = strike(hart, upset, block)
        hit = hart.state.raw.copy()
        fields, vl = block.insns[0][1], hart.state["vl"]
        results, following = [], hart.here()
        for start in (before, hit):
            hart.state.raw[:] = start
            assert hart.step(following).paused
            at = V + fields["vd"] * hart.state["vlenb"]
            results.append(hart.state.raw[at : at + 4 * vl].view(np.uint32).copy())
        seen.update(before=before, struck=struck, fields=fields, vl=vl, results=results, control=hart.context().control,
                    vlenb=hart.state["vlenb"])  # fmt: skip
        raise Done

    module._strike = instead
    try:
        yield
    finally:
        module._strike = strike


def case(seen: dict[str, Any]) -> dict[str, Any]:
    """The lane group that the bit belongs to (of a scale of all lanes, the first one), as the unit's ports have it."""
    raw, fields, vl, struck = seen["before"], seen["fields"], seen["vl"], seen["struck"]

    def register(name: str, size: int) -> np.ndarray:
        at = V + fields[name] * seen["vlenb"]
        return raw[at : at + size * vl].view(f"u{size}")

    port, element = "scale_a_i", 0
    if struck.register == f"v{fields['vd']}":
        port, element, bit = "acc_i", struck.bit // 32, struck.bit % 32
    elif struck.register == f"v{fields['vs4']}":
        port, element, bit = "scale_b_i", struck.bit // 8, struck.bit % 8
    else:
        bit = struck.bit
    first = element // LANES * LANES
    group = range(first, min(first + LANES, vl))
    width = {"acc_i": 32, "scale_b_i": 8, "scale_a_i": 8}[port]

    def side_by_side(values: np.ndarray, size: int) -> int:
        return sum(int(values[k]) << size * (k - first) for k in group)

    sent = {
        "enable_i": (1 << len(group)) - 1, "scalar_i": 1, "tag_i": 0,
        "a_i": int(raw[F + 8 * fields["fs1"] :][:8].view(np.uint64)[0]), "b_i": side_by_side(register("vs2", 8), 64),
        "scale_a_i": int(raw[F + 8 * fields["fs3"]]), "scale_b_i": side_by_side(register("vs4", 1), 8),
        "acc_i": side_by_side(register("vd", 4), 32), "elem_fmt_i": ELEM_FORMATS.index("e4m3"), "acc_fmt_i": 0,
        "rm_i": seen["control"] & 7,
    }  # fmt: skip
    clean, faulty = (side_by_side(values, 32) for values in seen["results"])
    return {"sent": sent, "port": port, "bit": width * (element - first) + bit, "clean": clean, "faulty": faulty,
            "mask": (1 << 32 * len(group)) - 1}  # fmt: skip


def test_forced_flips_end_as_in_the_simulator(tmp_path: Path) -> None:
    """Accumulators and both scales of VMXDOTP, at random instructions of the packaged network in MXFP8."""
    assert CHUNK_ELEMENTS["e4m3"] == 8
    runs, rng = runs_of("mxfp8"), np.random.Generator(np.random.Philox(11))
    counts, found = runs.golden(0).by_hart, []
    while len(found) < CASES:
        hart = int(rng.integers(len(counts)))
        site = ("accumulator", "scale")[len(found) % 2]
        choice = int(rng.integers(1 << 62))
        if len(found) % 4 == 1:  # the scale of all lanes, which few of the bits are
            choice = choice % 8
        seen: dict[str, Any] = {}
        with caught(seen), suppress(Done):
            runs.upset_from_the_start(0, Upset(hart, int(rng.integers(counts[hart])), site, choice))
        if seen and seen["struck"].mnemonic == "vmxdotp.wf":
            found.append(case(seen))
    ports = {one["port"] for one in found}
    assert ports == {"acc_i", "scale_a_i", "scale_b_i"}
    assert sum(one["clean"] != one["faulty"] for one in found) > CASES // 2
    (tmp_path / "upsets.json").write_text(json.dumps(found))
    variables = {"POTLUCK_UPSETS": str(tmp_path / "upsets.json")}
    result = run_bench("upset_bench", "mxdotp_unit", tmp_path, ALL_FORMATS, variables=variables)
    assert set(result.tests) == {"flips_end_as_in_the_simulator"}
