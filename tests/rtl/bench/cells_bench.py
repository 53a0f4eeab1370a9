"""cocotb tests of the common cells; which of them run depends on the top module."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly, Timer

from potluck.isa.formats.elements import FORMATS
from potluck.isa.formats.rounding import ROUNDINGS
from tests.reference.mxdot_exact import NX, OF, UF, UNIT, round_exact
from tests.rtl.bench.handshake import Cycles, always, collect, drive, random_pace, start

SEED = int(os.environ.get("POTLUCK_SEED", "1"))
TOP = os.environ["POTLUCK_TOP"]
PARAMETERS = {
    k: int(v) for k, v in (p.split("=") for p in os.environ.get("POTLUCK_PARAMETERS", "").split() if p)
}


def for_top(*tops: str) -> Any:
    """Only for these top modules."""
    return cocotb.test(skip=TOP not in tops, timeout_time=100, timeout_unit="us")


@for_top("lzc")
async def counts_leading_zeros(dut: Any) -> None:
    """Every leading-zero count, with zeros, ones and random bits below; small widths exhaustively."""
    width = PARAMETERS.get("Width", 8)
    rng = np.random.default_rng(SEED)
    if width <= 10:
        words = list(range(1 << width))
    else:
        words = [0]
        for top in range(width):
            below = [0, (1 << top) - 1] + [
                int.from_bytes(rng.bytes(32), "little") % (1 << top) for _ in range(4)
            ]
            words += [1 << top | x for x in below]
    for value in words:
        dut.in_i.value = value
        await Timer(1, unit="ns")
        assert int(dut.empty_o.value) == (value == 0)
        assert int(dut.count_o.value) == (width - value.bit_length() if value else 0), hex(value)


async def _stream(dut: Any, latency: int | None) -> None:
    """Order and values under random handshakes; then, if it has one, the latency at full rate."""
    await start(dut, ["valid_i", "ready_i", "data_i"])
    cycles = Cycles()
    cocotb.start_soon(cycles.run(dut))
    await FallingEdge(dut.clk_i)
    rng = np.random.default_rng(SEED)
    for busy_in, busy_out in ((1.0, 1.0), (0.8, 0.8), (1.0, 0.4), (0.3, 1.0), (0.2, 0.2)):
        data = rng.integers(0, 256, 300).tolist()
        give = always if busy_in == 1 else random_pace(rng, busy_in)
        take = always if busy_out == 1 else random_pace(rng, busy_out)
        driver = cocotb.start_soon(drive(dut, iter([{"data_i": x} for x in data]), give, cycles))
        found = await collect(dut, ["data_o"], len(data), take, cycles, timeout=10_000)
        entered = await driver
        assert [fields["data_o"] for _, fields in found] == data
        if busy_in == busy_out == 1 and latency is not None:
            assert {out - into for into, (out, _) in zip(entered, found, strict=True)} == {latency}
            assert found[-1][0] - found[0][0] == len(data) - 1


@for_top("pipe_stage")
async def pipe_keeps_order(dut: Any) -> None:
    await _stream(dut, PARAMETERS.get("Stages", 1))


@for_top("spill_register")
async def spill_keeps_order(dut: Any) -> None:
    await _stream(dut, 1)


@for_top("spill_register")
async def spill_cuts_the_ready_path(dut: Any) -> None:
    """ready_o follows from registers alone, and a stall that nobody announced loses nothing."""
    await start(dut, ["valid_i", "ready_i", "data_i"])
    dut.valid_i.value = 1
    accepted = 0
    for value in range(4):
        dut.data_i.value = value
        for ready in (1, 0):
            dut.ready_i.value = ready
            await Timer(100, unit="ps")
            assert int(dut.ready_o.value) == (accepted < 2)
        accepted += accepted < 2
        await FallingEdge(dut.clk_i)
    dut.valid_i.value = 0
    dut.ready_i.value = 1
    for value in range(2):
        await ReadOnly()
        assert dut.valid_o.value
        assert int(dut.data_o.value) == value
        await FallingEdge(dut.clk_i)


@for_top("fifo")
async def fifo_keeps_order(dut: Any) -> None:
    fall_through = bool(PARAMETERS.get("FallThrough", 0))
    full_rate = fall_through or PARAMETERS.get("Depth", 4) > 1
    await _stream(dut, (0 if fall_through else 1) if full_rate else None)


@for_top("fifo")
async def fifo_counts_and_fills(dut: Any) -> None:
    """usage_o, full and empty; an item that meets an empty fall-through queue passes in the same cycle."""
    depth, fall_through = PARAMETERS.get("Depth", 4), bool(PARAMETERS.get("FallThrough", 0))
    await start(dut, ["valid_i", "ready_i", "data_i"])
    for stored in range(depth + 1):
        await ReadOnly()
        assert int(dut.usage_o.value) == stored
        assert int(dut.ready_o.value) == (stored < depth)
        assert int(dut.valid_o.value) == (stored > 0)
        await FallingEdge(dut.clk_i)
        if stored < depth:
            dut.valid_i.value, dut.data_i.value = 1, 0x40 + stored
            await FallingEdge(dut.clk_i)
            dut.valid_i.value = 0
    for stored in range(depth, 0, -1):
        dut.ready_i.value = 1
        await ReadOnly()
        assert int(dut.data_o.value) == 0x40 + depth - stored
        await FallingEdge(dut.clk_i)
    await ReadOnly()
    assert not dut.valid_o.value
    await FallingEdge(dut.clk_i)
    dut.valid_i.value, dut.data_i.value = 1, 0x77
    await ReadOnly()
    assert int(dut.valid_o.value) == fall_through
    if fall_through:
        assert int(dut.data_o.value) == 0x77


@for_top("fp_round")
async def rounds_once(dut: Any) -> None:
    """Against exact integers: every exponent region, ties, all modes, both formats, flags of both tininess rules."""
    rng = np.random.default_rng(SEED)
    exact_tininess = PARAMETERS.get("ExactTininess", 0)
    exponents = [-40, -27, -26, -25, -24, -2, -1, 0, 1, 2, 127, 253, 254, 255, 256, 300]
    tails = [0, 1, 2, 3, 4, 6, 1 << 16, 1 << 17, 3 << 17, 1 << 18, (1 << 17) - 1, (1 << 18) - 1]
    significands = [1 << 25, (1 << 26) - 1, (1 << 26) - 2, (1 << 26) - 4, (1 << 26) - (1 << 17)]
    significands += [1 << 25 | t for t in tails] + [((1 << 26) - 1) ^ t for t in tails]
    seen = set()
    for exponent in exponents:
        for significand in [*significands, *(rng.integers(1 << 25, 1 << 26, 4).tolist())]:
            for (number, frm), acc_format, sign in [
                (mode, form, s) for mode in enumerate(ROUNDINGS) for form in ("fp32", "bf16") for s in (0, 1)
            ]:
                dut.sign_i.value, dut.exponent_i.value = sign, exponent
                dut.significand_i.value, dut.rm_i.value = significand, number
                dut.fmt_i.value = int(acc_format == "bf16")
                await Timer(1, unit="ns")
                mantissa = FORMATS[acc_format].mantissa_bits
                value = (-1) ** sign * (significand << (UNIT - 25 + exponent - 127))
                want, flags = round_exact(value, mantissa, frm)
                if exact_tininess and flags & NX and not flags & OF:
                    # Tiny if the result with unlimited exponent would be below the smallest normal number.
                    far_up, _ = round_exact((-1) ** sign * (significand << UNIT), mantissa, frm)
                    carried = (far_up >> mantissa & 0xFF) - 127 - 25
                    tiny = Fraction(2) ** (exponent - 127 + carried) < Fraction(2) ** -126
                    flags = flags & ~UF | (UF if tiny else 0)
                got = int(dut.result_o.value) >> (16 if acc_format == "bf16" else 0)
                case = (hex(significand), exponent, frm, acc_format, sign)
                assert got == want, (case, hex(got), hex(want))
                assert int(dut.flags_o.value) == flags, (case, int(dut.flags_o.value), flags)
                seen.add(flags)
    assert seen >= {0, NX, OF | NX, UF | NX}
    dut.significand_i.value = 0
    for exponent in (-40, 0, 100, 400):
        dut.exponent_i.value = exponent
        await Timer(1, unit="ns")
        assert int(dut.result_o.value) == int(dut.sign_i.value) << 31
        assert int(dut.flags_o.value) == 0
