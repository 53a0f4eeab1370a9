"""The table of cycles beside RTL belongs to the simulator as it is, and results say what stands in it."""

from __future__ import annotations

import statistics
import tomllib
from pathlib import Path

import pytest

from potluck.isa.machine import load_machine
from potluck.sim.cluster import Cluster
from potluck.sim.timing.error import NOT_COMPARED, TABLE, band, core_digest, read, timing_error, written
from tests.rtl.bench.core_programs import machine
from tests.rtl.bench.vector_shapes import SHAPES

RENEW = "Renew the table, which needs Verilator: python -m potluck.benchmarks.rtl_core"


def test_the_table_is_of_these_kernels_and_this_core() -> None:
    table = read()
    assert list(table.kernels) == list(SHAPES), RENEW
    assert table.core == core_digest(load_machine(table.machine)) == core_digest(machine()), RENEW
    assert written(table) == TABLE.read_text()


@pytest.mark.parametrize("name", SHAPES)
def test_the_simulator_still_counts_what_the_table_says(name: str) -> None:
    cluster = Cluster(SHAPES[name](), machine())
    cluster.run()
    (hart,) = cluster.harts
    row = read().kernels[name]
    assert (cluster.cycles, hart.instructions) == (row.simulator, row.instructions), RENEW


def test_the_figures_are_the_tables() -> None:
    rows = tomllib.loads(TABLE.read_text())["kernels"].values()
    more = [100 * (row["rtl"] - row["simulator"]) / row["simulator"] for row in rows]
    found = timing_error(load_machine("spatz-mx"))
    assert found is not None and found.kernels == len(more)
    assert found.median_percent == pytest.approx(statistics.median(map(abs, more)), abs=0.006)
    assert found.worst_percent == pytest.approx(max(map(abs, more)), abs=0.006)
    assert (found.low_percent, found.high_percent) == pytest.approx((min(more), max(more)), abs=0.006)


@pytest.mark.parametrize("key", ["vector.vlen=1024", "vector.ports=2", "timing.fma=5", "memory.l1_banks=8"])
def test_another_core_has_not_been_compared(key: str) -> None:
    name, _, value = key.partition("=")
    other = load_machine("spatz-mx", {name: value})
    assert timing_error(other) is None and band(other) == NOT_COMPARED


@pytest.mark.parametrize(
    "key", ["cluster.cores=4", "dram.kind=ddr4", "memory.l1_bytes=262144", "energy.vrf.pj=0.2"]
)
def test_what_is_around_the_core_is_no_other_core(key: str) -> None:
    name, _, value = key.partition("=")
    assert timing_error(load_machine("spatz-mx", {name: value})) == timing_error(load_machine("spatz-mx"))


def test_a_machine_adds_to_the_text_or_has_its_own(tmp_path: Path) -> None:
    found = timing_error(load_machine("spatz-mx"))
    assert found is not None
    text = band(load_machine("spatz-mx"))
    for figure in (
        f"{found.low_percent:+.1f}",
        f"{found.high_percent:+.1f}",
        f"{found.median_percent:.1f}",
        found.table,
    ):
        assert figure in text
    assert f"cores: {text}; the accelerator" in band(load_machine("spatz-mx-pot"))
    path = tmp_path / "own.toml"
    path.write_text('extends = "spatz-mx"\nname = "own"\ntiming_error_band = "2 % on my board"\n')
    assert band(load_machine(path)) == "2 % on my board"
