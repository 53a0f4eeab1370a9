"""The machines that the rules are proven on."""

from __future__ import annotations

import pytest

from potluck.isa.machine import load_machine
from tests.sim.rules.gate import Gate


@pytest.fixture(params=["spatz-mx", "ara-like"])
def gate(request: pytest.FixtureRequest) -> Gate:
    """SEW 32, LMUL 1, full registers on each machine; DRAM is a latency and a rate, its own rules: tests/sim/dram."""
    return Gate(load_machine(request.param, {"dram.kind": "simple"}))
