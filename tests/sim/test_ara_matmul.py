"""A matrix product as a program on ``ara-like``: its result, and cycles between its lanes' bound and Ara's RTL."""

from __future__ import annotations

import numpy as np
import pytest

from potluck.benchmarks import ara_matmul
from potluck.isa.machine import load_machine
from potluck.sim.cluster import Cluster

ARA = load_machine("ara-like")


@pytest.mark.parametrize("size", [4, 8, 16, 32, 80, 144])
def test_product_is_numpys(size: int) -> None:
    """Also where a row of C takes several vectors, the last of them short."""
    generator = np.random.default_rng(size)
    a, b = (generator.integers(-50, 50, (size, size)).astype(float) for _ in range(2))  # exact in any order
    found = Cluster(ara_matmul.program(size), ARA).run({"a": a, "b": b})["c"]
    assert (found == a @ b).all() and found.any()


@pytest.mark.parametrize("size", ara_matmul.RTL_CYCLES)
def test_cycles_lie_between_the_lanes_bound_and_the_rtl(size: int) -> None:
    """Without caches and CVA6 the model must not be slower than the RTL, and no program beats its multipliers."""
    cycles, error = ara_matmul.measure(size)
    assert size**3 / ARA.vector.lanes < cycles < ara_matmul.RTL_CYCLES[size] and error < 1e-12


def test_large_products_keep_the_lanes_busy() -> None:
    """The paper's 97 % is for a larger machine and includes what is not modeled here."""
    cycles, _ = ara_matmul.measure(128)
    assert 0.97 < 128**3 / ARA.vector.lanes / cycles < 1


def test_lanes_pace_the_product() -> None:
    """Twice the lanes (and ports, memory and the data per row) halve the cycles of a long product nearly."""
    wide = load_machine(
        "ara-like",
        {"vector.lanes": 8, "vector.integer_lanes": 8, "vector.ports": 4, "dram.bytes_per_cycle": 32},
    )
    assert 1.9 < ara_matmul.measure(128)[0] / ara_matmul.measure(128, wide)[0] <= 2
