"""cocotb tests that :mod:`test_build` runs: one that passes, one that fails, one that never ends."""

import random

import cocotb
from cocotb.triggers import Timer

WIDTH = 13


@cocotb.test()
async def counts(dut):
    for _ in range(200):
        value = random.getrandbits(WIDTH) >> random.randrange(WIDTH + 1)
        dut.in_i.value = value
        await Timer(1, "ns")
        assert int(dut.empty_o.value) == (value == 0)
        if value:
            assert int(dut.count_o.value) == WIDTH - value.bit_length()


@cocotb.test()
async def is_wrong(dut):
    dut.in_i.value = 1
    await Timer(1, "ns")
    assert int(dut.count_o.value) == 0, "a leading zero was counted"


@cocotb.test()
async def hangs(dut):
    while True:
        await Timer(1, "ns")
