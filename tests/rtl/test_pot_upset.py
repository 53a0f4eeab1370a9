"""Flips that campaigns make in the accumulators of PEs, forced in the RTL: sums of all rounds come out alike.

The simulator strikes a product of a run; all lines that the PE's unit works through from the computation's begin to two
rounds behind the flip go to the unit under cocotb, which flips the same bit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from potluck.inject.compute import PeArm
from potluck.inject.target import load_target
from potluck.isa.machine import load_machine
from potluck.sim.pot import accelerator as module
from potluck.sim.pot.upset import PeUpset
from potluck.sim.pot.windows import windows
from tests.rtl.bench.pot_cases import ANY
from tests.rtl.bench.pot_engine_cases import layer
from tests.rtl.bench.pot_engine_library import EngineBuild, Modeled
from tests.rtl.bench.pot_engine_runs import queues
from tests.rtl.bench.running import run_bench
from tests.sim.pot.pot_layers import INPUT, WEIGHTS

pytestmark = pytest.mark.usefixtures("rtl_tools")
AFTER = 2
"""Rounds behind the one that is struck, which the flip must leave alone."""
MOST = 4000
"""Lines of a case: what cocotb has time for."""


@contextmanager
def caught(found: list[dict[str, Any]]) -> Iterator[None]:
    """Keep computations that are struck, as lines of their unit."""
    sums, strike, last = module.sums, module.strike, {}

    def summed(command: Any, inputs: Any, weights: Any) -> Any:
        last["sums"] = sums(command, inputs, weights)
        return last["sums"]

    def struck(command: Any, inputs: Any, weights: Any, units: int, *rest: Any) -> Any:
        made = strike(command, inputs, weights, units, *rest)
        found.append(case(command, windows(command, inputs), weights, units, made, last["sums"].copy()))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "sums", summed)
        patch.setattr(module, "strike", struck)
        yield


def order(command: Any, units: int) -> list[tuple[int, int]]:
    """Row block and round, as rtl/pot/pot_sequencer.sv goes through them."""
    blocks, rounds = -(-command.pixels // 4), -(-command.weight_blocks // units)
    if not command["depthwise"]:
        return [(b, k) for b in range(blocks) for k in range(rounds)]
    return [
        (b, k)
        for first in range(0, rounds, 4)
        for b in range(blocks)
        for k in range(first, min(first + 4, rounds))
    ]


def packed(values: Any, width: int) -> int:
    return sum((int(v) & (1 << width) - 1) << width * i for i, v in enumerate(np.ravel(values)))


def case(command: Any, acts: Any, weights: Any, units: int, struck: Any, sums: Any) -> dict[str, Any]:
    """Lines of the struck unit, round by round, and what the rounds' sums are."""
    every = order(command, units)
    mine = every.index((struck.pixel // 4, struck.filter // 4 // units))
    planes, deep = command["planes"], bool(command["depthwise"])
    each = -(-planes // 4)
    count = command.depth * each if deep else -(-command.depth // 4) * planes
    rounds, clean = [], []
    for block, turn in every[: mine + 1 + AFTER]:
        weight, lines = turn * units + struck.unit, []
        for line in range(count):
            rows = np.zeros((4, 4), np.int64)
            for row in range(4):
                if 4 * block + row >= command.pixels:
                    continue
                window = acts[4 * block + row]
                for lane in range(4):
                    if deep:
                        channel = 4 * weight + lane
                        at = line // each * command["channels"] + channel
                        rows[row, lane] = window[at] if channel < command["channels"] else 0
                    else:
                        at = line // planes * 4 + lane
                        rows[row, lane] = window[at] if at < command.depth else 0
            mask = sum(1 << f for f in range(4) if not deep or line % each * 4 + f < planes)
            lines.append([packed(rows, 8), packed(weights._codes[weight, line], 4), mask])
        rounds.append(lines)
        for row in range(4):
            pixel = 4 * block + row
            there = pixel < command.pixels and 4 * weight + 4 <= sums.shape[1]
            clean.append([int(v) % (1 << 32) for v in sums[pixel, 4 * weight :][:4]] if there else None)
    faulty = [list(row) if row is not None else None for row in clean]
    hit = faulty[4 * mine + struck.row]
    hit[struck.filter % 4] = (hit[struck.filter % 4] + struck.error) % (1 << 32)
    place = {"row": struck.row, "column": struck.column, "lane": struck.lane, "round": mine, "line": struck.line,
             "bit": struck.bit}  # fmt: skip
    return {"rounds": rounds, "clean": clean, "faulty": faulty, "place": place, "held": struck.held,
            "code_set": command["code_set"], "depthwise": int(deep), "planes": planes}  # fmt: skip


def short(one: dict[str, Any]) -> bool:
    return sum(map(len, one["rounds"])) <= MOST and all(row is not None for row in one["clean"])


def of_networks(number: int) -> list[dict[str, Any]]:
    """Trials of campaigns on the packaged network."""
    found: list[dict[str, Any]] = []
    for scheme in ("int8", "pot_apot"):
        target = load_target("demo", scheme, load_machine("spatz-mx-pot"), samples=1, engine="sim")
        arm, trial, wanted = PeArm(target, "pe", 7), 0, len(found) + number
        while len(found) < wanted:
            seen: list[dict[str, Any]] = []
            with caught(seen):
                arm.output(trial, 0)
            found += [one for one in seen if short(one)]
            trial += 1
    return found


def of_layers(number: int) -> list[dict[str, Any]]:
    """Random layers, depthwise ones and all code sets among them."""
    build, rng = EngineBuild(), np.random.Generator(np.random.Philox(12))
    found: list[dict[str, Any]] = []
    for count in range(400):
        one = layer(rng, build.machine, count)
        modeled = Modeled.of(build.machine)
        contents = {INPUT: np.ascontiguousarray(one.x).view(np.uint8).ravel(), WEIGHTS: one.layer.weights}
        for address, data in contents.items():
            modeled.memory.view(address, data.size)[:] = data
        whole = one.conv.out_height * one.conv.out_width * one.conv.filters
        modeled.accelerator.upset = PeUpset(int(rng.integers(whole)), int(rng.integers(32)))
        seen: list[dict[str, Any]] = []
        with caught(seen):
            for commands in queues(one.layer.commands):
                modeled.ring(commands)
        found += [one for one in seen if short(one)]
        if len(found) >= number and sum(one["depthwise"] for one in found) >= 4:
            break
    return found


def test_forced_flips_end_as_in_the_simulator(tmp_path: Path) -> None:
    """Bits of accumulators at random products of a network, and of random layers."""
    found = [*of_networks(8), *of_layers(16)]
    assert {one["depthwise"] for one in found} == {0, 1} and len({one["code_set"] for one in found}) >= 3
    assert {one["held"] >> one["place"]["bit"] & 1 for one in found} == {0, 1}
    assert sum(one["place"]["round"] > 0 for one in found) > len(found) // 2
    (tmp_path / "upsets.json").write_text(json.dumps(found))
    variables = {"POTLUCK_UPSETS": str(tmp_path / "upsets.json")}
    result = run_bench("pot_upset_bench", "pot_engine_unit", tmp_path, {"CodeSet": ANY}, variables=variables)
    assert set(result.tests) == {"flips_end_as_in_the_simulator"}
