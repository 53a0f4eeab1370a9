"""cocotb test of mxdotp_unit: a bit of its operand register flips while an operation waits there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, ReadOnly

from tests.rtl.bench.handshake import start
from tests.rtl.bench.unit_bench import INPUTS

CASES = json.loads(Path(os.environ["POTLUCK_UPSETS"]).read_text())


async def result(dut: Any, sent: dict[str, int], flipped: int | None) -> int:
    """What the unit gives, with or without a flipped bit in the register behind its ports."""
    for name, value in sent.items():
        getattr(dut, name).value = value
    dut.valid_i.value, dut.ready_i.value = 1, 1
    await FallingEdge(dut.clk_i)  # the operation is in the register now
    dut.valid_i.value = 0
    if flipped is not None:
        dut.u_input.main_q.value = int(dut.u_input.main_q.value) ^ 1 << flipped
    for _ in range(40):
        await ReadOnly()
        if dut.valid_o.value:
            found = int(dut.result_o.value)
            await FallingEdge(dut.clk_i)
            return found
        await FallingEdge(dut.clk_i)
    raise AssertionError("no result")


@cocotb.test(timeout_time=1000, timeout_unit="us")
async def flips_end_as_in_the_simulator(dut: Any) -> None:
    """The fault-free result, and the faulty one, of every case."""
    await start(dut, INPUTS)
    await FallingEdge(dut.clk_i)
    below = {"acc_i": sum(len(getattr(dut, name)) for name in ("tag_i", "rm_i", "acc_fmt_i", "elem_fmt_i"))}
    below["scale_b_i"] = below["acc_i"] + len(dut.acc_i)
    below["scale_a_i"] = below["scale_b_i"] + len(dut.scale_b_i)
    for number, case in enumerate(CASES):
        mask = case["mask"]
        clean = await result(dut, case["sent"], None)
        assert clean & mask == case["clean"], (
            f"case {number}: {clean & mask:x} without a fault, not {case['clean']:x}"
        )
        faulty = await result(dut, case["sent"], below[case["port"]] + case["bit"])
        assert faulty & mask == case["faulty"], f"case {number}: {faulty & mask:x}, not {case['faulty']:x}"
    dut._log.info("%d flips", len(CASES))
