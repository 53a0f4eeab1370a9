"""Campaigns of flips in registers: the same trials again and elsewhere, each a single struck bit; stories of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import potluck
from potluck.campaign.bench import Bench
from potluck.campaign.record import essence
from potluck.campaign.spec import load_spec, validated
from potluck.campaign.store import Store
from potluck.cli import app
from potluck.inject.compute import HartArm, PeArm
from potluck.isa.errors import CampaignError
from potluck.isa.pot.command import Decoded
from potluck.sim.cluster import Cluster
from potluck.sim.pot import accelerator
from potluck.sim.pot.upset import products
from potluck.sim.pot.windows import Weights

SPEC = """
seed = 5
[network]
model = "demo"
schemes = ["mxfp8"]
engine = "sim"
[network.set]
"dram.kind" = "hbm3"
[data]
samples = 3
[[faults]]
kind = "registers"
[[faults]]
kind = "flips"
[protection]
stacks = ["none", "hsiao"]
[stop]
trials = 8
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("registers") / "r.toml"
    path.write_text(SPEC)
    result = CliRunner().invoke(app, ["campaign", "run", str(path), "-j", "1"])
    assert result.exit_code == 0, result.output
    return path


def test_trials_are_those_of_whole_runs(done: Path) -> None:
    """Cells of the first stack alone; what a trial gave is what runs from the start give."""
    store, spec = Store(done.with_suffix(".campaign")), load_spec(done)
    bench = Bench(spec, done.parent, store.folder)
    cells = [(cell.source.label, cell.stack) for cell in bench.cells]
    assert cells == [("registers vector", "none"), ("registers accumulator", "none"), ("registers scale", "none"),
                     ("flips 1", "none"), ("flips 1", "hsiao")]  # fmt: skip
    records = sorted(store.records(), key=lambda r: r["id"])
    assert len(records) == 8 * 5 and list((store.folder / "golden").glob("*/pages.npy"))
    arm = bench.arm(bench.cells[2])
    assert isinstance(arm, HartArm)
    name = arm.target.program.manifest.outputs[0].name
    for number in range(4):
        record = next(r for r in records if r["cell"] == 2 and r["number"] == number)
        assert record["faults"] == 1 and record["fields"] == {"scale": 1}
        whole = [arm.runs.upset_from_the_start(k, arm.upset(number, k)).outputs()[name] for k in range(3)]
        seen = arm.observe(number)
        assert seen.answers is not None and np.array_equal(
            seen.answers.values, np.concatenate(whole), equal_nan=True
        )
        assert (record["outcome"] == "masked") == np.array_equal(seen.answers.values, arm.golden)
    assert {r["outcome"] for r in records if r["cell"] == 2} != {"masked"}


def test_a_story_names_the_instruction(done: Path, tmp_path: Path) -> None:
    store = Store(done.with_suffix(".campaign"))
    record = next(r for r in store.records() if r["cell"] == 2)
    arguments = [
        "campaign",
        "replay",
        str(done),
        "--trial",
        str(record["id"]),
        "--json",
        str(tmp_path / "s.json"),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0 and "bit for bit the recorded one" in result.output, result.output
    story = json.loads((tmp_path / "s.json").read_text())
    assert story["record"] == essence(record)
    (flip,) = story["flips"]
    assert "before vmxdotp" in flip["where"] and flip["layer"] and flip["register"][0] in "vf"


def test_accumulators_of_the_array(tmp_path: Path) -> None:
    """Each trial flips one bit of one PE: what it gave is what the accelerator gives with a wrong sum, and no other."""
    network = {"schemes": ["int8"], "machine": "spatz-mx-pot", "engine": "sim", "set": {"dram.kind": "hbm3"}}
    campaign = potluck.Campaign("demo", faults={"kind": "registers", "sites": "pe"}, samples=2, trials=16, seed=6,
                                protection=["none", "hsiao"], network=network, folder=tmp_path)  # fmt: skip
    records = campaign.run().trials
    assert len(records) == 16 and all(r["fields"] == {"pe": 1} for r in records)
    assert {"masked", "tolerable"} <= {r["outcome"] for r in records}
    bench = Bench(campaign.spec, campaign.base, tmp_path)
    arm = bench.arm(bench.cells[0])
    assert isinstance(arm, PeArm) and arm.bits[0] == 4 * 64 * 32
    hit = next(r for r in records if r["outcome"] != "masked")
    story = campaign.replay(hit["id"])
    (flip,) = story.flips
    assert story.again and flip["layer"] and flip["where"].startswith("PE of unit")
    one = {name: value[:1] for name, value in arm.target.inputs.items()}
    wrong = Cluster(arm.target.program, arm.target.machine, timed=False)
    assert wrong.pot is not None
    upset, sums, begun = arm.upset(hit["number"]), accelerator.sums, [0]

    def struck(command: Decoded, inputs: NDArray[np.uint8], weights: Weights) -> NDArray[np.int64]:
        found = sums(command, inputs, weights)
        first, begun[0] = begun[0], begun[0] + products(command)
        if first <= upset.product < begun[0]:
            found[flip["pixel"], flip["filter"]] += int(flip["what"].split(": ")[1])
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accelerator, "sums", struck)
        outputs = wrong.run(one)
    assert np.array_equal(outputs["logits"], arm.output(hit["number"], 0))


def test_what_cannot_be_struck_is_said(tmp_path: Path) -> None:
    faults = [{"kind": "registers", "sites": "vector"}]
    one = validated({"seed": 1, "network": {"model": "demo", "set": {"dram.kind": "hbm3"}}, "faults": faults})
    bench = Bench(one, tmp_path, tmp_path)
    with pytest.raises(CampaignError, match="registers") as problem:
        bench.arm(bench.cells[0])
    assert problem.value.key == "network.engine"
    for network, key in ({"schemes": ["int8"]}, "machine"), ({"machine": "spatz-mx-pot"}, "schemes"):
        given = {"model": "demo", "engine": "sim", "set": {"dram.kind": "hbm3"}, **network}
        bench = Bench(validated({"seed": 1, "network": given, "data": {"samples": 1},
                                 "faults": [{"kind": "registers", "sites": "pe"}]}), tmp_path, tmp_path)  # fmt: skip
        with pytest.raises(CampaignError, match="PEs") as problem:
            bench.arm(bench.cells[0])
        assert problem.value.key == f"network.{key}"
    with pytest.raises(CampaignError, match="sites"):
        validated(
            {"seed": 1, "network": {"model": "demo"}, "faults": [{"kind": "registers", "sites": ["cache"]}]}
        )
