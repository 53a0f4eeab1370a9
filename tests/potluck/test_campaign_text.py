"""Campaigns whose faults strike program text and pointers, which none does unless its spec says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import potluck
from potluck.campaign.bench import Bench
from potluck.campaign.spec import validated
from potluck.cli import app
from potluck.isa.errors import CampaignError

NETWORK = {"model": "demo", "schemes": ["mxfp8"], "set": {"dram.kind": "hbm3"}}


def test_outcomes_fields_and_stories(tmp_path: Path) -> None:
    """Crashes and wrong answers, struck fields by name; Hsiao's code over them masks every single flip."""
    network = {**NETWORK, "contents": ["text", "pointers"], "engine": "sim"}
    campaign = potluck.Campaign(
        "demo", faults={"kind": "flips", "count": 1}, protection=["none", "hsiao"], samples=2, trials=24, seed=3,
        network=network, folder=tmp_path,
    )  # fmt: skip
    records = campaign.run().trials
    plain, coded = ([r for r in records if r["cell"] == cell] for cell in (0, 1))
    outcomes = {r["outcome"] for r in plain}
    assert {"crash", "masked"} <= outcomes and outcomes & {"sdc", "tolerable", "hang", "non-finite"}
    assert {r["outcome"] for r in coded} == {"masked"}
    assert {name for r in plain for name in r["tensors"]} == {".text", ".tiles"}
    fields = {name.split()[0] for r in plain for name in r["fields"]} - {"check", "on-die"}
    assert fields == {"RV64", "WORDS"}
    crashed = next(r for r in plain if r["outcome"] == "crash" and ".text" in r["tensors"])
    assert crashed["crashed"] == 2
    story = campaign.replay(crashed["id"])
    assert story.again and story.record["outcome"] == "crash"
    (flip,) = story.flips
    assert (
        flip["format"] == "RV64" and " -> " in flip["what"] and flip["value_before"] != flip["value_struck"]
    )
    assert story.visible is not None


def test_a_graph_takes_what_is_only_in_constants(tmp_path: Path) -> None:
    """With engine auto, trials that touch text run on the machine, and end as they do there from the start."""
    made = [
        potluck.Campaign(
            "demo", faults={"kind": "uniform", "ber": 2e-6}, samples=2, trials=12, seed=4,
            network={**NETWORK, "schemes": ["int8"], "contents": ["constants", "text"], "engine": engine},
        ).run().trials
        for engine in ("auto", "sim")
    ]  # fmt: skip
    kept = [[(r["id"], r["outcome"], r["accuracy"], r["tensors"]) for r in one] for one in made]
    assert kept[0] == kept[1] and {r["outcome"] for r in made[0]} > {"masked"}


def test_off_unless_asked_for(tmp_path: Path) -> None:
    spec = validated({"seed": 1, "network": NETWORK, "faults": [{"kind": "flips"}]})
    assert spec.network.contents == ["constants"]
    with pytest.raises(CampaignError, match="twice"):
        validated(
            {"seed": 1, "network": {**NETWORK, "contents": ["text", "text"]}, "faults": [{"kind": "flips"}]}
        )
    both = {"model": "demo", "site": "module_outputs", "contents": ["text"]}
    bench = Bench(validated({"seed": 1, "network": both, "faults": [{"kind": "uniform", "ber": 1e-4}]}), tmp_path,
                  tmp_path)  # fmt: skip
    with pytest.raises(CampaignError, match="constants alone") as problem:
        bench.arm(bench.cells[0])
    assert problem.value.key == "network.contents"


def test_inject_strikes_text_alone() -> None:
    arguments = ["inject", "demo", "--scheme", "int8", "--ber", "1e-5", "--trials", "2", "--samples", "2", "--stack",
                 "none", "--content", "text", "--set", "dram.kind=hbm3"]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(app, [*arguments[:-4], "--content", "code"])
    assert result.exit_code and "One of constants, text, pointers" in str(result.exception)
