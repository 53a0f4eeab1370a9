"""cocotb test of a unit with a valid/ready handshake: operations from a file, in order, at several paces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge

from tests.rtl.bench.handshake import Cycles, always, collect, drive, random_pace, start
from tests.rtl.bench.vectors import Batch, integers, load

RNG = np.random.Generator(np.random.Philox(int(os.environ.get("POTLUCK_SEED", "1"))))
PARAMETERS = dict(p.split("=") for p in os.environ.get("POTLUCK_PARAMETERS", "").split())


def items(inputs: dict[str, list[int]]) -> Iterator[dict[str, int]]:
    for values in zip(*inputs.values(), strict=True):
        yield dict(zip(inputs, values, strict=True))


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def streams(dut: Any) -> None:
    """Values and order; without gaps and stalls the latency, too."""
    batches = load(Path(os.environ["POTLUCK_VECTORS"]))
    first = batches[0].vectors
    await start(dut, ["valid_i", "ready_i", *first.inputs, *first.held])
    cycles = Cycles()
    cocotb.start_soon(cycles.run(dut))
    await FallingEdge(dut.clk_i)
    for number, batch in enumerate(batches):
        await check(dut, cycles, batch, f"batch {number}")


async def check(dut: Any, cycles: Cycles, batch: Batch, name: str) -> None:
    given, at_full_rate = batch.vectors, batch.busy_in == batch.busy_out == 1
    for port, value in given.held.items():
        getattr(dut, port).value = value
    give, take = (always if busy == 1 else random_pace(RNG, busy) for busy in (batch.busy_in, batch.busy_out))
    inputs, outputs = ({p: integers(c) for p, c in side.items()} for side in (given.inputs, given.outputs))
    driver = cocotb.start_soon(drive(dut, items(inputs), give, cycles))
    found = await collect(dut, list(outputs), len(given), take, cycles, timeout=40 * len(given) + 1000)
    entered = await driver
    for i, (_, fields) in enumerate(found):
        for port, value in fields.items():
            assert value == outputs[port][i], (
                f"{name}, {i}: {port} {value:#x}, expected {outputs[port][i]:#x}"
            )
    if at_full_rate:
        latencies = {out - into for into, (out, _) in zip(entered, found, strict=True)}
        assert latencies == {int(PARAMETERS.get("Latency", 0))}, latencies
