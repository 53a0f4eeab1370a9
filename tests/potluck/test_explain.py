"""`potluck explain`: roofline arithmetic by hand, reasons, names, and the command on a real result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import potluck
from potluck import explain, saved
from potluck.assets import load_test_images, model_path
from potluck.cli import app
from potluck.isa.errors import DataError


def layer(**keys: object) -> dict:
    """A layer of 1,000 cycles, 64,000 MACs at a peak of 128 a cycle, 8,000 bytes at 100 bytes a cycle."""
    return {
        "name": "conv1", "op": "Conv", "format": "mxfp8", "cycles": 1000, "macs": 64_000, "utilization": 0.5,
        "dram_bytes": 8_000, "bounds": {"compute": 500.0, "vfu": 510, "dram": 80.0, "issue": 300},
        "stalls": {"issue": 300, "vfu": 700, "sync": 0}, "harts": [{"issue": 300, "vfu": 700, "sync": 0}],
    } | keys  # fmt: skip


def test_roofline_by_hand() -> None:
    found = explain.explained(layer())
    assert found.intensity == 2 * 64_000 / 8_000 == 16.0
    assert found.ridge == pytest.approx(2 * 128 / 100)  # FLOP per cycle over bytes per cycle
    assert found.roofline == 1.0 and found.bound == "compute" and found.reached == 0.5
    far = explain.explained(
        layer(macs=6_400, bounds={"compute": 50.0, "vfu": 60, "dram": 800.0}, dram_bytes=80_000)
    )
    assert far.intensity == pytest.approx(0.16) and far.ridge == pytest.approx(2.56)
    assert far.roofline == pytest.approx(0.0625) == 50 / 800  # attainable: 1/16 of the peak
    assert (far.bound, far.reason, far.least) == ("dram", "DRAM roofline", 800.0)


@pytest.mark.parametrize(("bounds", "stalls", "reason"), [
    ({"vfu": 900, "compute": 100.0}, {"vfu": 900}, "vector arithmetic"),  # little of it is products
    ({"l1_ports": 600, "vfu": 500}, {"vlsu": 900}, "L1 ports"),
    ({"issue": 400}, {"issue": 400, "sync": 500}, "synchronization"),
    ({"issue": 400}, {"issue": 400, "dma": 500, "sync": 100}, "waiting for DMA"),
    ({"issue": 400}, {"issue": 400, "chaining": 500, "dma": 100}, "latency"),
    ({"issue": 400}, {"issue": 400, "bank_conflict": 600}, "bank conflicts"),
    ({}, {"dram": 10}, "DRAM latency"),
])  # fmt: skip
def test_reasons(bounds: dict, stalls: dict, reason: str) -> None:
    assert explain.explained(layer(bounds=bounds, stalls=stalls, macs=0)).reason == reason


def test_the_sum() -> None:
    layers = explain.explain(
        {"layers": [layer(), layer(name="add", macs=0, cycles=500, bounds={"l1_ports": 400})]}
    )
    total = explain.summed(layers)
    assert total == {"cycles": 1500, "least": 900.0, "ideal": 500.0, "utilization": 500 / 1500}


def test_names() -> None:
    layers = explain.explain({"layers": [layer(), layer(name="conv2"), layer(name="conv2")]})
    assert [one.name for one in explain.find(layers, "conv2")] == ["conv2", "conv2"]
    with pytest.raises(DataError, match=r"no layer 'conv3'\. Near: conv"):
        explain.find(layers, "conv3")


def test_bounds_of_nothing() -> None:
    """Found by fuzzing: no work on the vector unit, and no bound by compute."""
    assert explain.explained(layer(bounds={"vfu": 0.0})).bound == "vfu"


def test_what_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no layers\. Use a timed run"):
        explain.explain({"layers": []})
    path = tmp_path / "x.json"
    good = potluck.run(model_path(), mode="functional").to_json()
    path.write_text(json.dumps(good))
    assert saved.load(path)["instructions"] == good["instructions"]
    for text, said in (
        ("[1]", "no result of a run"), ("{", "as JSON"), ("[" * 9000, "nests too deeply"),
        (json.dumps({**good, "version": 0}), "of version 0, this Potluck reads 1"),
        (json.dumps({**good, "cycles": -1}), "cycles"), (json.dumps({**good, "dram": {"bytes": 1.5}}), r"dram\.bytes"),
        (json.dumps({**good, "layers": [{"name": "x"}]}), r"layers\.0\.op"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            saved.load(path)
    with pytest.raises(DataError, match="cannot read"):
        saved.load(tmp_path / "y.json")


def test_the_command(tmp_path: Path) -> None:
    result = potluck.run(model_path(), {"input": load_test_images(1)[0]}, "mxfp8")
    path, out = tmp_path / "r.json", tmp_path / "e.json"
    path.write_text(json.dumps(result.to_json()))
    told = CliRunner().invoke(app, ["explain", str(path), "--json", str(out)])
    assert told.exit_code == 0, told.output
    found = json.loads(out.read_text())
    assert found["sum"]["cycles"] == result.cycles and found["sum"]["utilization"] == pytest.approx(
        result.utilization
    )
    assert [one["name"] for one in found["layers"]] == [one.name for one in result.layers]
    one = CliRunner().invoke(app, ["explain", str(path), "--layer", "stage3_conv2"])
    assert one.exit_code == 0 and "bound by compute peak" in one.output and "hart 1" in one.output
    wrong = CliRunner().invoke(app, ["explain", str(path), "--layer", "stage3_conv"])
    assert wrong.exit_code != 0 and "stage3_conv2" in str(wrong.exception)
    anew = CliRunner().invoke(app, ["explain", "demo", "--scheme", "mxfp8", "--layer", "head"])
    assert anew.exit_code == 0 and "head: Gemm, mxfp8" in anew.output
