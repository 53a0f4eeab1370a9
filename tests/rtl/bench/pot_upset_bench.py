"""cocotb test of pot_engine_unit: a bit of a PE's accumulator flips in the middle of a computation."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge

from tests.rtl.bench.handshake import start

CASES = json.loads(Path(os.environ["POTLUCK_UPSETS"]).read_text())
ROWS, LATE = 4, 3
"""Rows are a cycle apart; a row's sums may be asked for three cycles after its line came in."""


async def sums(dut: Any, case: dict[str, Any], flip: bool) -> tuple[list[list[int]], int]:
    """What each round gives, rows one after the other, and what the accumulator held before the flip."""
    dut.clear_i.value = 1
    await FallingEdge(dut.clk_i)
    dut.clear_i.value = 0
    place, rounds = case["place"], case["rounds"]
    mac = dut.gen_row[place["row"]].gen_output[place["column"]].gen_lane[place["lane"]].u_mac
    asks: dict[int, int] = {}
    entered: dict[tuple[int, int], int] = {}
    cycle, lines = 0, []
    for number, one in enumerate(rounds):
        for at, line in enumerate(one):
            entered[number, at] = cycle + at
            lines.append(line)
        lines += [None] * (ROWS - len(one))  # a row of sums a cycle
        for row in range(ROWS):
            asks[cycle + len(one) - 1 + LATE + row] = row
        cycle += max(ROWS, len(one))
    when = entered[place["round"], place["line"]] + 2 + place["row"]  # before the row's PEs add the line
    found, held = [], -1
    for now in range(cycle + LATE + ROWS + 3):
        line = lines[now] if now < len(lines) else None
        dut.valid_i.value = line is not None
        if line is not None:
            dut.rows_i.value, dut.weights_i.value, dut.filters_i.value = line
        dut.row_valid_i.value = now in asks
        dut.row_i.value = asks.get(now, 0)
        if now - 2 in asks:
            value = int(dut.sums_o.value)
            found.append([value >> 32 * i & 0xFFFF_FFFF for i in range(4)])
        if now == when:
            held = int(mac.acc_q.value)
            if flip:
                mac.acc_q.value = held ^ 1 << place["bit"]
        await FallingEdge(dut.clk_i)
    return found, held


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def flips_end_as_in_the_simulator(dut: Any) -> None:
    """What the accumulator holds, the sums of every round without the flip, and with it."""
    await start(dut, ["clear_i", "valid_i", "row_valid_i"])
    await FallingEdge(dut.clk_i)
    for number, case in enumerate(CASES):
        dut.code_set_i.value, dut.transpose_i.value = case["code_set"], case["depthwise"]
        for flip, wanted in ((False, case["clean"]), (True, case["faulty"])):
            found, held = await sums(dut, case, flip)
            assert held == case["held"], (
                f"case {number}: the accumulator holds {held:x}, not {case['held']:x}"
            )
            assert found == wanted, f"case {number}, {flip=}: {found} are not {wanted}"
    dut._log.info("%d flips", len(CASES))
