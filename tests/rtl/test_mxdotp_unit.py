"""The four-lane unit under cocotb: handshakes, latency and throughput, reset, in two simulators."""

from __future__ import annotations

from pathlib import Path

import pytest

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.machine import load_machine
from potluck.sim.cluster import Cluster
from tests.rtl.bench.running import ALL_FORMATS, run_bench

pytestmark = pytest.mark.usefixtures("rtl_tools")

TESTS = {
    "latency_and_throughput", "single_operations", "random_handshakes", "long_stall_fills_the_unit",
    "reset_in_the_middle",
}  # fmt: skip


@pytest.mark.parametrize("latency", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 1, 2, 4, 7))])
def test_unit_in_verilator(latency: int, tmp_path: Path) -> None:
    variables = {"POTLUCK_GROUPS": "2000", "POTLUCK_LATENCY": str(latency)}
    result = run_bench(
        "unit_bench", "mxdotp_unit", tmp_path, {**ALL_FORMATS, "Latency": latency}, variables=variables
    )
    assert set(result.tests) == TESTS


@pytest.mark.parametrize("lanes", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_unit_in_icarus(lanes: int, tmp_path: Path) -> None:
    """A four-state simulator and another front end: what no reset initializes must not reach an output."""
    variables = {"POTLUCK_GROUPS": "400", "POTLUCK_LANES": str(lanes)}
    parameters = {**ALL_FORMATS, "Lanes": lanes}
    result = run_bench(
        "unit_bench", "mxdotp_unit", tmp_path, parameters, simulator="icarus", variables=variables
    )
    assert set(result.tests) == TESTS


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_unit_whole(seed: int, tmp_path: Path) -> None:
    variables = {"POTLUCK_GROUPS": "40000"}
    run_bench("unit_bench", "mxdotp_unit", tmp_path, ALL_FORMATS, variables=variables, seed=seed + 10)


def test_latency_is_the_simulators(tmp_path: Path) -> None:
    """The bench asserts the latency that it is given for every group: here the machine's own."""
    machine = load_machine("spatz-mx")
    variables = {
        "POTLUCK_LATENCY": str(machine.timing.vmxdotp - 1),
        "POTLUCK_LANES": str(machine.vector.lanes),
    }
    parameters = {**ALL_FORMATS, "Latency": machine.timing.vmxdotp - 1}
    result = run_bench("unit_bench", "mxdotp_unit", tmp_path, parameters, variables=variables)
    assert {"latency_and_throughput", "single_operations"} <= set(result.tests)


@pytest.mark.parametrize("count", [8, 16, 32])
def test_throughput_is_the_simulators(count: int) -> None:
    """In the simulator, too, one group of lanes a cycle: independent vmxdotp of ``count`` accumulators each."""
    machine = load_machine("spatz-mx", {"cluster.cores": 1})

    def cycles(repeats: int) -> int:
        a = Assembler()
        a.text(f".text\n.globl _start\n_start:\nli t0, {count}\nvsetvli t1, t0, e32, m2, ta, ma\n")
        for i in range(repeats):
            a.text(f"vmxdotp.wf v{2 * (i % 4)}, ft0, v{16 + 4 * (i % 2)}, ft1, v28\n")
        a.text("li a7, 93\nli a0, 0\necall\n")
        cluster = Cluster(a.assemble().program(), machine)
        cluster.run()
        return cluster.harts[0].cycles

    groups = -(-count // machine.vector.lanes)
    assert cycles(40) - cycles(20) == 20 * groups
