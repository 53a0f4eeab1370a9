"""cocotb tests of the PoT array's parts; which of them run depends on the top module."""

from __future__ import annotations

import os
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import Timer

from tests.rtl.bench.bins import Coverage
from tests.rtl.bench.pot_cases import INT8, POT_SETS, pe_modes, pe_vectors

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
        inputs, outputs = pe_vectors(code_set, mode)
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
