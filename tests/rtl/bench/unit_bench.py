"""cocotb tests of mxdotp_unit: values under every handshake pattern, latency, throughput, reset in the middle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly

from tests.rtl.bench.bins import Coverage
from tests.rtl.bench.handshake import Cycles, Pace, always, collect, drive, random_pace, start
from tests.rtl.bench.transactions import ELEM_FORMATS, Lanes, mixed

LANES = int(os.environ.get("POTLUCK_LANES", "4"))
SEED = int(os.environ.get("POTLUCK_SEED", "1"))
GROUPS = int(os.environ.get("POTLUCK_GROUPS", "600"))
LATENCY = int(os.environ.get("POTLUCK_LATENCY", "3"))  # of a lane; the input register adds one
TIMEOUT = 50 + GROUPS // 8  # microseconds of 500 cycles: a unit that loses an item must not hang the bench
FORMATS = tuple(os.environ.get("POTLUCK_FORMATS", ",".join(ELEM_FORMATS)).split(","))

INPUTS = [
    "valid_i", "ready_i", "enable_i", "scalar_i", "a_i", "b_i", "scale_a_i", "scale_b_i", "acc_i", "elem_fmt_i",
    "acc_fmt_i", "rm_i", "tag_i",
]  # fmt: skip
OUTPUTS = ["enable_o", "result_o", "flags_o", "tag_o"]


def word(values: np.ndarray, width: int) -> int:
    """Lane values side by side, lane 0 lowest."""
    return sum(int(v) << width * i for i, v in enumerate(values.tolist()))


def shown(fields: dict[str, int]) -> str:
    """Port values in hexadecimal."""
    return " ".join(f"{name}={value:x}" for name, value in fields.items())


class Groups:
    """Lane groups: what goes in and what must come out."""

    def __init__(self, rng: np.random.Generator, count: int) -> None:
        by_form = mixed(rng, LANES * count, FORMATS)
        # Lanes of a group share formats and mode.
        key = (by_form.elem_fmt.astype(int) * 2 + by_form.acc_fmt) * 8 + by_form.rm
        order = np.argsort(key, kind="stable")
        self.lanes = Lanes(*(getattr(by_form, name)[order] for name in Lanes.__annotations__))
        whole = [i for i in range(0, len(order) - LANES + 1, LANES) if np.ptp(key[order[i : i + LANES]]) == 0]
        self.starts = [whole[i] for i in rng.permutation(len(whole))]
        self.enables = rng.integers(0, 1 << LANES, len(self.starts)).tolist()
        self.scalar = (rng.random(len(self.starts)) < 0.3).tolist()
        self.tags = rng.integers(0, 16, len(self.starts)).tolist()

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[tuple[dict[str, int], dict[str, int]]]:
        x = self.lanes
        for start_, enable, scalar, tag in zip(
            self.starts, self.enables, self.scalar, self.tags, strict=True
        ):
            at = slice(start_, start_ + LANES)
            a, scale_a = x.a[at].copy(), x.scale_a[at].copy()
            if scalar:
                # One operand for all lanes: the lanes repeat lane 0's operation; what the others' first operand
                # ports carry must not matter.
                index = np.full(LANES, start_)
                a[1:], scale_a[1:] = ~a[1:], scale_a[1:] ^ 0x55
            else:
                index = np.arange(start_, start_ + LANES)
            sent = {
                "enable_i": enable,
                "scalar_i": int(scalar),
                "a_i": word(a, 64),
                "b_i": word(x.b[index], 64),
                "scale_a_i": word(scale_a, 8),
                "scale_b_i": word(x.scale_b[index], 8),
                "acc_i": word(x.acc[index], 32),
                "elem_fmt_i": int(x.elem_fmt[start_]),
                "acc_fmt_i": int(x.acc_fmt[start_]),
                "rm_i": int(x.rm[start_]),
                "tag_i": tag,
            }
            flags = 0
            for lane in range(LANES):
                flags |= int(x.flags[index[lane]]) if enable >> lane & 1 else 0
            wanted = {
                "enable_o": enable,
                "result_o": word(x.result[index], 32),
                "flags_o": flags,
                "tag_o": tag,
            }
            yield sent, wanted


async def exchange(
    dut: Any, groups: Groups, cycles: Cycles, give: Pace, take: Pace
) -> tuple[list[int], list[int]]:
    """Run all groups through; compares values and order, returns the cycles of entry and of exit."""
    pairs = list(groups)
    driver = cocotb.start_soon(drive(dut, iter([sent for sent, _ in pairs]), give, cycles))
    found = await collect(dut, OUTPUTS, len(pairs), take, cycles, timeout=20 * len(pairs) + 100)
    for number, ((_, got), (sent, wanted)) in enumerate(zip(found, pairs, strict=True)):
        assert got == wanted, f"group {number}: sent {shown(sent)}, got {shown(got)}, want {shown(wanted)}"
    return await driver, [cycle for cycle, _ in found]


async def begin(dut: Any) -> Cycles:
    await start(dut, INPUTS)
    cycles = Cycles()
    cocotb.start_soon(cycles.run(dut))
    await FallingEdge(dut.clk_i)
    return cycles


@cocotb.test(timeout_time=TIMEOUT, timeout_unit="us")
async def latency_and_throughput(dut: Any) -> None:
    """A free-running unit gives each group LATENCY + 1 cycles after it entered, one a cycle."""
    cycles = await begin(dut)
    entered, left = await exchange(
        dut, Groups(np.random.default_rng(SEED), GROUPS // 4), cycles, always, always
    )
    assert {out - into for into, out in zip(entered, left, strict=True)} == {LATENCY + 1}
    assert left[-1] - left[0] == len(left) - 1
    dut._log.info("latency %d, %d groups in %d cycles", LATENCY + 1, len(left), left[-1] - left[0] + 1)


@cocotb.test(timeout_time=TIMEOUT, timeout_unit="us")
async def single_operations(dut: Any) -> None:
    """The same latency for operations far apart: nothing is released by its successor."""
    cycles = await begin(dut)
    rng = np.random.default_rng(SEED + 1)
    entered, left = await exchange(dut, Groups(rng, 60), cycles, lambda: 2 * LATENCY + 3, always)
    assert {out - into for into, out in zip(entered, left, strict=True)} == {LATENCY + 1}


@cocotb.test(timeout_time=TIMEOUT, timeout_unit="us")
async def random_handshakes(dut: Any) -> None:
    """Values and order under gaps and back-pressure of all kinds; every listed bin is hit."""
    cycles = await begin(dut)
    rng = np.random.default_rng(SEED + 2)
    bins = [f"enable {e:b}" for e in range(1 << LANES)] + [f"tag {t}" for t in range(16)]
    bins += ["scalar", "vector"] + [f"gap {n}" for n in range(9)] + [f"stall {n}" for n in range(9)]
    coverage = Coverage(bins)

    def counted(pace: Pace, what: str) -> Pace:
        def next_pause() -> int:
            pause = pace()
            coverage.hit(f"{what} {pause}")
            return pause

        return next_pause

    for busy_in, busy_out in ((0.9, 0.9), (1.0, 0.5), (0.5, 1.0), (0.3, 0.3)):
        groups = Groups(rng, GROUPS // 4)
        for enable, scalar, tag in zip(groups.enables, groups.scalar, groups.tags, strict=True):
            coverage.hit(f"enable {enable:b}")
            coverage.hit(f"tag {tag}")
            coverage.hit("scalar" if scalar else "vector")
        give = counted(random_pace(rng, busy_in), "gap")
        await exchange(dut, groups, cycles, give, counted(random_pace(rng, busy_out), "stall"))
    assert not coverage.missing(), f"{coverage}; not hit: {coverage.missing()}"
    dut._log.info("coverage: %s", coverage)


@cocotb.test(timeout_time=TIMEOUT, timeout_unit="us")
async def long_stall_fills_the_unit(dut: Any) -> None:
    """A stalled unit takes what its registers hold, then refuses, and loses nothing."""
    await begin(dut)
    pairs = list(Groups(np.random.default_rng(SEED + 3), 64))
    dut.ready_i.value = 0
    accepted = 0
    for _ in range(LATENCY + 10):
        dut.valid_i.value = 1
        for name, value in pairs[accepted][0].items():
            getattr(dut, name).value = value
        await ReadOnly()
        accepted += int(dut.ready_o.value)
        await FallingEdge(dut.clk_i)
    dut.valid_i.value = 0
    assert accepted == LATENCY + 2, "one in each lane register, two in the input register"
    dut.ready_i.value = 1
    for _, wanted in pairs[:accepted]:
        await ReadOnly()
        assert dut.valid_o.value
        assert {name: int(getattr(dut, name).value) for name in OUTPUTS} == wanted
        await FallingEdge(dut.clk_i)
    await ReadOnly()
    assert not dut.valid_o.value


@cocotb.test(timeout_time=TIMEOUT, timeout_unit="us")
async def reset_in_the_middle(dut: Any) -> None:
    """Reset with any number of operations inside empties the unit; what follows is not disturbed."""
    cycles = await begin(dut)
    rng = np.random.default_rng(SEED + 4)
    for inside in range(LATENCY + 3):
        pairs = list(Groups(rng, 64))
        dut.ready_i.value = 0
        for sent, _ in pairs[:inside]:
            dut.valid_i.value = 1
            for name, value in sent.items():
                getattr(dut, name).value = value
            await FallingEdge(dut.clk_i)
        dut.valid_i.value = 0
        dut.rst_ni.value = 0
        await ReadOnly()
        assert not dut.valid_o.value, f"a result during reset, with {inside} operations inside"
        await FallingEdge(dut.clk_i)
        dut.rst_ni.value = 1
        dut.ready_i.value = 1
        for _ in range(LATENCY + 3):
            await ReadOnly()
            assert not dut.valid_o.value, f"a result of before the reset, {inside} operations inside"
            await FallingEdge(dut.clk_i)
        await exchange(dut, Groups(rng, 20), cycles, always, always)
