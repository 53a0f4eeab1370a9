"""cocotb test of the cluster's accelerator's requantizer: a sum a cycle by each law, against the contract."""

from __future__ import annotations

import os
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly
from numpy.typing import NDArray

from potluck.isa.pot.array import LAWS, Law, Requantizer
from tests.rtl.bench.bins import Coverage
from tests.rtl.bench.handshake import start

SEED = int(os.environ.get("POTLUCK_SEED", "1"))
COUNT = int(os.environ.get("POTLUCK_SUMS", "400"))
LATENCY = 10
MOST = (1 << 31) - 1
MODES = ((0, -128, 127), (-128, -128, 127), (127, -20, 127), (3, 3, 90))
"""Zero point, low and high of codes."""
BOUNDS = ((-np.inf, np.inf), (0.0, 6.0), (-0.0, np.inf), (-1.5, -0.0))
"""Of FP32 outputs."""


def operands(
    rng: np.random.Generator, law: Law, count: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Sums, multipliers (or words of factors) and shifts: any words, a layer's, ties, ends of the range."""
    sums = np.clip(np.rint(rng.normal(0, 1, count) * np.exp2(rng.uniform(0, 31, count))), -MOST - 1, MOST)
    words, shifts = rng.integers(0, 1 << 32, count), rng.integers(0, 64, count)
    if law == "tflite_single":
        layer = rng.random(count) < 0.6  # results within a little more than a code
        wide = np.log2(np.maximum(np.abs(sums), 1)) + 30.5 - rng.uniform(-1, 8, count)
        shifts = np.where(layer, np.clip(np.rint(wide), 0, 63), shifts)
        tie = rng.random(count) < 0.2
        words, sums = np.where(tie, 1 << 30, words), np.where(tie, 2 * (sums // 2) + 1, sums)
        shifts = np.where(tie, 31, shifts)
    else:
        factor = np.exp2(rng.uniform(-1, 9, count)) / np.maximum(np.abs(sums), 1) * rng.choice([-1, 1], count)
        words = np.where(rng.random(count) < 0.6, factor.astype(np.float32).view(np.uint32), words)
        tie = rng.random(count) < 0.2  # halves, and sums that FP32 rounds in a tie
        half = np.exp2(-rng.integers(1, 5, count)).astype(np.float32).view(np.uint32)
        words = np.where(tie, half, words)
        sums = np.where(tie, rng.integers(-2000, 2000, count), sums)
        sums = np.where(rng.random(count) < 0.1, (rng.integers(1 << 24, 1 << 25, count) << 1) + 1, sums)
        ends = rng.random(count)
        words = np.where(ends < 0.1, below_powers(rng, sums), words)
        words = np.where(ends > 0.9, rng.integers(0x6F00_0000, 0x7FFF_FFFF, count), words)  # up to overflow
    sums = np.where(rng.random(count) < 0.05, rng.choice([-MOST - 1, MOST, 0, -1, 1], count), sums)
    return sums.astype(np.int32), words.astype(np.uint32).view(np.int32), shifts.astype(np.int32)


def below_powers(rng: np.random.Generator, sums: NDArray[Any]) -> NDArray[np.int64]:
    """Words of factors whose products are just below powers of two, where rounding up carries as often as not."""
    sizes = np.maximum(np.abs(sums), 1).astype(np.int64)
    places = np.floor(np.log2(sizes)).astype(np.int64)
    significands = np.minimum(((1 << 24 + places) - 1) // sizes, (1 << 24) - 1)
    exponents = np.clip(rng.integers(120, 140, len(sums)) - places, 1, 254)
    return np.asarray(exponents << 23 | significands & (1 << 23) - 1)


def cover(
    coverage: Coverage, law: Law, sums: NDArray[np.int32], found: NDArray[Any], end: Requantizer
) -> None:
    """What the sums and their results were."""
    coverage.hit(f"{law}: sum of 0", int((sums == 0).sum()))
    coverage.hit(f"{law}: least sum", int((sums == -MOST - 1).sum()))
    low, high = (end.float_low, end.float_high) if law == "float" else (end.low, end.high)
    coverage.hit(f"{law}: low", int((found == low).sum()))
    coverage.hit(f"{law}: high", int((found == high).sum()))
    coverage.hit(f"{law}: between", int(((found > low) & (found < high)).sum()))


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def every_law(dut: Any) -> None:
    """Random sums one after the other, with gaps: each result ten cycles after its sum, to the bit."""
    await start(dut, ["valid_i"])
    await FallingEdge(dut.clk_i)
    rng = np.random.default_rng(SEED)
    parts = ("sum of 0", "least sum", "low", "high", "between")
    coverage = Coverage([f"{law}: {part}" for law in LAWS for part in parts])
    for number, law in enumerate(LAWS):
        for mode, bounds in zip(MODES, BOUNDS, strict=True):
            sums, words, shifts = operands(rng, law, COUNT)
            end = Requantizer(sums * 0, words, shifts, *mode, law, *bounds)
            wanted = end.finish(sums)
            cover(coverage, law, sums, wanted, end)
            low, high = (int(np.float32(bound).view(np.uint32)) for bound in bounds)
            dut.law_i.value, dut.float_low_i.value, dut.float_high_i.value = number, low, high
            dut.zero_point_i.value, dut.low_i.value, dut.high_i.value = mode
            await stream(dut, sums, words, shifts, wanted, rng)
    assert not coverage.missing(), coverage.missing()


async def stream(
    dut: Any,
    sums: NDArray[np.int32],
    words: NDArray[np.int32],
    shifts: NDArray[np.int32],
    wanted: NDArray[Any],
    rng: np.random.Generator,
) -> None:
    """One batch."""
    expected = (wanted.view(np.uint32) if wanted.dtype == np.float32 else wanted.view(np.uint8)).tolist()
    due: dict[int, int] = {}
    cycle = given = seen = 0
    while seen < len(sums):
        offers = given < len(sums) and rng.random() < 0.9
        dut.valid_i.value = int(offers)
        if offers:
            dut.sum_i.value = int(sums[given])
            dut.multiplier_i.value, dut.shift_i.value = int(words.view(np.uint32)[given]), int(shifts[given])
            due[cycle + LATENCY] = given
            given += 1
        await ReadOnly()
        assert bool(dut.valid_o.value) == (cycle in due), cycle
        if cycle in due:
            at = due.pop(cycle)
            text = f"sum {sums[at]}, word {words.view(np.uint32)[at]:#x}, shift {shifts[at]}"
            assert int(dut.result_o.value) == expected[at], (
                f"{text}: {int(dut.result_o.value):#x}, not {expected[at]:#x}"
            )
            seen += 1
        await FallingEdge(dut.clk_i)
        cycle += 1
    dut.valid_i.value = 0
