"""cocotb tests of the PoT accelerator's four streams: words of a beat at different times, faults, reset."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly

from potluck.isa.pot.stream import Status
from tests.rtl.bench.handshake import start
from tests.rtl.bench.pot_cases import ANY
from tests.rtl.bench.pot_programs import (
    bad_program,
    buffers,
    expected,
    kinds,
    random_layer,
    shortened,
    with_last,
)

SEED = int(os.environ.get("POTLUCK_SEED", "1"))
PARAMETERS = {k: int(v) for k, v in (p.split("=") for p in os.environ["POTLUCK_PARAMETERS"].split())}
ROOM = buffers(PARAMETERS["Units"])
PROGRAMS = int(os.environ.get("POTLUCK_PROGRAMS", "4"))


@dataclass
class Streams:
    """What has gone through the eight streams.

    Attributes:
        sent: words that each input stream has taken.
        found: (word, TLAST) of each output stream.
    """

    sent: list[int] = field(default_factory=lambda: [0] * 4)
    found: list[list[tuple[int, int]]] = field(default_factory=lambda: [[], [], [], []])


async def exchange(
    dut: Any, beats: np.ndarray, count: int, rng: np.random.Generator, busy: list[float]
) -> Streams:
    """Offer every stream its words until all are taken and `count` have come from each output, and a while longer.

    `busy` is how often each input stream offers a word and, after these four, each output takes one.
    """
    streams, offered, longer = Streams(), [False] * 4, 60
    words, lasts = beats[:, :4].tolist(), beats[:, 4].tolist()
    limit = 400 * (len(beats) + count) + 2000
    while longer and limit:
        chance = (rng.random(8) < busy).tolist()
        valid = data = last = 0
        for s in range(4):
            offered[s] = streams.sent[s] < len(words) and (offered[s] or chance[s])
            if offered[s]:
                valid |= 1 << s
                data |= words[streams.sent[s]][s] << 32 * s
                last |= (lasts[streams.sent[s]] >> s & 1) << s
        dut.s_axis_tvalid_i.value, dut.s_axis_tdata_i.value, dut.s_axis_tlast_i.value = valid, data, last
        ready = sum(chance[4 + s] << s for s in range(4))
        dut.m_axis_tready_i.value = ready
        await ReadOnly()
        taken = valid & int(dut.s_axis_tready_o.value)
        given = ready & int(dut.m_axis_tvalid_o.value)
        if given:
            out, ends = dut.m_axis_tdata_o.value.to_unsigned(), int(dut.m_axis_tlast_o.value)
        for s in range(4):
            if taken >> s & 1:
                streams.sent[s] += 1
                offered[s] = False
            if given >> s & 1:
                streams.found[s].append((out >> 32 * s & 0xFFFFFFFF, ends >> s & 1))
        done = min(streams.sent) == len(words) and min(map(len, streams.found)) >= count
        longer -= done
        limit -= 1
        await FallingEdge(dut.clk_i)
    assert limit, (
        f"hangs: {streams.sent} of {len(words)} taken, {[len(f) for f in streams.found]} of {count} given"
    )
    return streams


async def check(dut: Any, beats: np.ndarray, rng: np.random.Generator, busy: list[float]) -> Status:
    wanted, status = expected(ROOM, beats)
    streams = await exchange(dut, beats, len(wanted), rng, busy)
    for s, found in enumerate(streams.found):
        assert found == [(beat[s], beat[4]) for beat in wanted.tolist()], f"stream {s}"
    assert int(dut.status_o.value) == status
    assert not int(dut.busy_o.value)
    return status


async def reset(dut: Any) -> None:
    dut.rst_ni.value = 0
    await FallingEdge(dut.clk_i)
    dut.rst_ni.value = 1


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def streams_apart(dut: Any) -> None:
    """Programs with each stream at its own pace: results and their TLAST."""
    await start(dut, ["s_axis_tvalid_i", "m_axis_tready_i"])
    await FallingEdge(dut.clk_i)
    rng = np.random.default_rng(SEED)
    for number in range(PROGRAMS):
        layers = [shortened(random_layer(rng, kind, ROOM), rng) for kind in kinds(ANY)[number % 3 :][:2]]
        beats = with_last([packet for layer in layers for packet in layer.packets()])
        busy = [1.0] * 8 if number == 0 else rng.choice([0.15, 0.5, 0.9, 1.0], 8).tolist()
        assert await check(dut, beats, rng, busy) is Status.OK


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def faults_and_reset(dut: Any) -> None:
    """After a fault everything is taken and nothing more given; after a reset the array works as if new."""
    await start(dut, ["s_axis_tvalid_i", "m_axis_tready_i"])
    await FallingEdge(dut.clk_i)
    rng = np.random.default_rng(SEED + 1)
    seen = set()
    for number in range(max(7, PROGRAMS)):
        layers = [shortened(random_layer(rng, kinds(ANY)[number % 4], ROOM), rng) for _ in range(2)]
        what = ("opcode", "last", "more", "cut", "none", "longer", "mode")[number % 7]
        beats = bad_program(rng, layers, what)
        seen.add(await check(dut, beats, rng, rng.choice([0.5, 1.0], 8).tolist()))
        await reset(dut)
        assert int(dut.status_o.value) == Status.OK
    assert seen >= {Status.OK, Status.BAD_OPCODE, Status.NOT_LOADED, Status.EARLY_LAST, Status.MISSING_LAST}


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def reset_at_any_time(dut: Any) -> None:
    """A reset in the middle of loads, of a COMPUTE and of its results leaves nothing behind."""
    await start(dut, ["s_axis_tvalid_i", "m_axis_tready_i"])
    await FallingEdge(dut.clk_i)
    rng = np.random.default_rng(SEED + 2)
    layer = shortened(random_layer(rng, kinds(ANY)[1], ROOM), rng)
    beats = with_last(layer.packets())
    for cycles in (3, len(beats) // 2, len(beats) + 5, len(beats) + 40, len(beats) + 90):
        streams = cocotb.start_soon(exchange(dut, beats, 1 << 30, rng, [1.0] * 4 + [0.3] * 4))
        for _ in range(cycles):
            await FallingEdge(dut.clk_i)
        streams.cancel()
        dut.s_axis_tvalid_i.value = 0
        await reset(dut)
        assert await check(dut, beats, rng, [1.0] * 8) is Status.OK
