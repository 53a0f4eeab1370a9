"""cocotb tests of the PoT array's parts; which of them run depends on the top module."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly, Timer

from tests.rtl.bench.bins import Coverage
from tests.rtl.bench.handshake import start
from tests.rtl.bench.pot_cases import (
    INT8,
    POT_SETS,
    PpuBlock,
    golden_blocks,
    pe_modes,
    pe_vectors,
    ppu_bins,
    ppu_blocks,
    ppu_cover,
)

SEED = int(os.environ.get("POTLUCK_SEED", "1"))
TOP = os.environ["POTLUCK_TOP"]
PARAMETERS = {
    k: int(v) for k, v in (p.split("=") for p in os.environ.get("POTLUCK_PARAMETERS", "").split() if p)
}


def for_top(*tops: str) -> Any:
    """Only for these top modules."""
    return cocotb.test(skip=TOP not in tops, timeout_time=10, timeout_unit="ms")


@for_top("pot_pe")
async def every_product(dut: Any) -> None:
    """Every weight times every activation, in every code set that the PE has; every level of these is seen."""
    code_set = PARAMETERS["CodeSet"]
    for mode in pe_modes(code_set):
        inputs, outputs = pe_vectors(code_set, mode, int(os.environ.get("POTLUCK_THIN", "1")))
        coverage = None
        if code_set != INT8:
            pot = POT_SETS[mode if code_set > INT8 else code_set]
            coverage = Coverage([f"level {level}" for level in np.unique(np.abs(pot.levels))])
        for row in zip(*inputs.values(), *outputs.values(), strict=True):
            activation, weight, chosen, product, subtract = map(int, row)
            dut.activation_i.value, dut.weight_i.value = activation, weight
            dut.code_set_i.value = chosen
            await Timer(1, unit="ns")
            found = dut.product_o.value.to_unsigned(), int(dut.subtract_o.value)
            assert found == (product, subtract), f"set {chosen}: {weight:#x} times {activation:#x} is {found}"
            if coverage and activation == 1:
                coverage.hit(f"level {product}")
        assert not (coverage and coverage.missing()), coverage


def packed(values: np.ndarray, width: int) -> int:
    """Fields side by side, the first lowest."""
    mask = (1 << width) - 1
    return sum((int(v) & mask) << width * i for i, v in enumerate(np.asarray(values).reshape(-1).tolist()))


async def post(dut: Any, blocks: list[PpuBlock], interval: int, gaps: list[int]) -> None:
    """Blocks of one mode: results, when they come, when the next is taken.

    A block is on offer as soon as the one before is taken, or `gaps` cycles after it could be; so its parameters are on
    the ports while the PPU has the other's inside.
    """
    zero_point, low, high = blocks[0].mode
    dut.zero_point_i.value, dut.low_i.value, dut.high_i.value = zero_point, low, high
    taken: list[int] = []
    found: list[tuple[int, int]] = []
    cycle, free = 0, 0
    while len(found) < len(blocks):
        if len(taken) < len(blocks) and cycle >= free:
            dut.valid_i.value = 1
            dut.multipliers_i.value = packed(blocks[len(taken)].multipliers, 31)
            dut.shifts_i.value = packed(blocks[len(taken)].shifts, 6)
        await ReadOnly()
        accepted = bool(dut.valid_i.value) and bool(dut.ready_o.value)
        if dut.valid_o.value:
            found.append((cycle, int(dut.result_o.value)))
        await FallingEdge(dut.clk_i)
        if accepted:  # its sums are there from now on, for sixteen cycles
            dut.sums_i.value = packed(blocks[len(taken)].sums, 32)
            gap = gaps[len(taken)]
            free = cycle + interval + gap if gap else cycle + 1
            taken.append(cycle)
            dut.valid_i.value = 0
        cycle += 1
        assert cycle < 60 * len(blocks) + 100, f"{len(found)} of {len(blocks)} blocks"
    for number, (block, into, (out, result)) in enumerate(zip(blocks, taken, found, strict=True)):
        assert result == packed(block.results, 8), f"block {number}: {result:032x}, {block}"
        assert out - into == 28
    wanted = [interval + gap for gap in gaps[:-1]]
    assert [b - a for a, b in pairwise(taken)] == wanted


@for_top("pot_ppu")
async def requantizes(dut: Any) -> None:
    """The published vectors and random blocks; every bin is hit; a block every 29 cycles, or 16 with Overlap."""
    await start(dut, ["valid_i"])
    await FallingEdge(dut.clk_i)
    interval = 16 if PARAMETERS.get("Overlap") else 29
    rng = np.random.default_rng(SEED)
    blocks = ppu_blocks(rng, int(os.environ.get("POTLUCK_BLOCKS", "1200")))
    coverage = Coverage(ppu_bins())
    for block in blocks:
        ppu_cover(coverage, block)
    assert not coverage.missing(), coverage.missing()
    await post(dut, golden_blocks(), interval, [0] * len(golden_blocks()))
    for mode in sorted({block.mode for block in blocks}):
        chosen = [block for block in blocks if block.mode == mode]
        gaps = np.where(rng.random(len(chosen)) < 0.7, 0, rng.integers(0, 20, len(chosen)))
        await post(dut, chosen, interval, gaps.tolist())
