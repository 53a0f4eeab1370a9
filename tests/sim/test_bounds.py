"""Lower bounds: work counted by hand from a program's text, and inequalities that hold for every program."""

from __future__ import annotations

from pathlib import Path

import pytest

import potluck
from potluck.assets import load_test_images, model_path
from potluck.isa.assembly.assembler import assemble_file
from potluck.isa.machine import load_machine
from potluck.sim.result import LayerResult, Result

TEXT = """
    .globl _start
_start:
    bnez a0, end
    li t0, {vl}
    li a1, 0x10000000
    vsetvli zero, t0, e32, m4, ta, ma
    {body}
end:
    li a7, 93
    li a0, 0
    ecall
"""


def ran(folder: Path, vl: int, *body: tuple[int, str], **settings: object) -> LayerResult:
    """The layer of a program, hart 0 of which repeats instructions."""
    source = folder / "p.s"
    source.write_text(TEXT.format(vl=vl, body="\n".join(line for count, line in body for _ in range(count))))
    keys = {key.replace("__", "."): value for key, value in settings.items()}
    result = potluck.simulate(assemble_file(source, "spatz"), {}, machine=load_machine("spatz-mx", keys))
    (layer,) = result.layers
    return layer


@pytest.fixture(scope="module")
def demo() -> Result:
    return potluck.run(model_path(), {"input": load_test_images(1)[0]}, "mxfp8")


def test_units_by_hand(tmp_path: Path) -> None:
    """Four lanes and four ports of 64 bits: 64 elements of 32 bits take 8 cycles, 33 take 5."""
    layer = ran(tmp_path, 64, (7, "vle32.v v0, (a1)"), (20, "vfadd.vv v4, v8, v12"), (3, "vmv.v.v v16, v20"))
    assert (
        layer.bounds["vfu"] == 20 * 8 and layer.bounds["l1_ports"] == 7 * 8 and layer.bounds["slide"] == 3 * 8
    )
    assert ran(tmp_path, 33, (20, "vfadd.vv v4, v8, v12")).bounds["vfu"] == 20 * 5
    wide = ran(tmp_path, 64, (20, "vfadd.vv v4, v8, v12"), vector__lanes=8)
    assert wide.bounds["vfu"] == 20 * 4
    integers = ran(tmp_path, 64, (20, "vadd.vv v4, v8, v12"))
    assert integers.bounds["vfu"] == 20 * 32  # one integer lane


def test_issue_is_the_busiest_harts_instructions(tmp_path: Path) -> None:
    layer = ran(tmp_path, 8, (100, "addi t1, t1, 1"))
    assert (
        layer.instructions == layer.bounds["issue"] + 3
    )  # hart 1: its branch and two of its last, then hart 0 ends it
    assert "vfu" not in layer.bounds and "dram" not in layer.bounds


def test_a_full_unit_is_at_its_bound(tmp_path: Path) -> None:
    """Independent additions with nothing between them: the unit is never idle, and four are in flight at the end."""
    layer = ran(tmp_path, 64, *[(1, f"vfadd.vv v{4 * (k % 4)}, v16, v20") for k in range(400)])
    assert layer.bounds["vfu"] == 3200 and 3200 - 4 * 8 <= layer.cycles <= 3200 + 16


def test_bounds_of_a_network(demo: Result) -> None:
    machine = load_machine("spatz-mx")
    assert sum(layer.dram_bytes for layer in demo.layers) == demo.dram["bytes"]
    for layer in demo.layers:
        assert layer.harts[0] == layer.stalls and len(layer.harts) == 2
        assert layer.bounds.get("dma", 0) == layer.bytes_moved / 64
        ideal = layer.macs / machine.peak_macs_per_cycle(layer.format) if layer.macs else 0
        assert layer.bounds.get("compute", 0) == ideal
        assert layer.utilization == pytest.approx(ideal / layer.cycles)
        for cause in ("vfu", "l1_ports", "slide", "issue", "compute"):
            assert (
                layer.bounds.get(cause, 0) <= layer.cycles * 1.01 + 40
            )  # the tail of a unit's work may be another's
        assert layer.bounds.get("vfu", 0) >= ideal * 0.999  # products run there
    # HBM3, two channels: 6.4 Gbit/s on 64 data pins each is 51.2 GB/s; docs/dram.md
    total = sum(layer.bounds.get("dram", 0) for layer in demo.layers)
    assert demo.dram["bytes"] / total == pytest.approx(102.4, rel=0.3)
    assert sum(map(sum, (layer.harts[1].values() for layer in demo.layers))) <= demo.cycles


def test_simple_dram_counts_bytes(tmp_path: Path) -> None:
    machine = load_machine("spatz-mx", {"dram.kind": "simple", "dram.bytes_per_cycle": 16})
    found = potluck.run(model_path(), {"input": load_test_images(1)[0]}, "mxfp8", machine)
    reads_and_writes = found.dram["read_bytes"] + found.dram["write_bytes"]
    assert sum(layer.dram_bytes for layer in found.layers) == reads_and_writes
    assert sum(layer.bounds.get("dram", 0) for layer in found.layers) == pytest.approx(reads_and_writes / 16)
