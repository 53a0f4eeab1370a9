"""Campaigns from the command line and from Python: what they find, continue, refuse and tell."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import potluck
from potluck.assets import load_test_images, model_path
from potluck.campaign.record import essence
from potluck.campaign.spec import validated
from potluck.campaign.store import Store
from potluck.cli import app
from potluck.inject.campaign import inject
from potluck.inject.target import load_target
from potluck.isa.errors import CampaignError
from potluck.isa.machine import load_machine
from potluck.sim.faults.models import Uniform

ROOT = Path(__file__).parents[2]
TEXT = """
seed = 5
[network]
model = "demo"
schemes = ["int8"]
[data]
samples = 8
[[faults]]
kind = "uniform"
ber = 1e-4
[[faults]]
kind = "modes"
modes = ["bit", "row"]
residency = 0.25
[protection]
stacks = ["none", "ondie+RG"]
[stop]
trials = 6
"""


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["campaign", *map(str, arguments)])


def said(result: Result) -> str:
    return f"{result.output} {result.exception}".replace("\n", " ")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec whose campaign ran in one process."""
    path = tmp_path_factory.mktemp("campaign") / "c.toml"
    path.write_text(TEXT)
    result = call("run", path, "-j", "1", "--json", path.with_suffix(".json"))
    assert result.exit_code == 0, said(result)
    assert "registered as" in result.output and "FIT_SDC" in result.output
    return path


def emptied(folder: Path) -> None:
    """A campaign that is registered, and of which no trial ran."""
    for name in ("trials", "journal"):
        shutil.rmtree(folder / name)
        (folder / name).mkdir()


def trials(path: Path) -> list[dict]:
    return sorted(map(essence, Store(path.with_suffix(".campaign")).records()), key=lambda r: r["id"])


def test_every_cell_has_its_trials(done: Path) -> None:
    data = json.loads(done.with_suffix(".json").read_text())
    assert data["complete"] and data["trials"] == 60 and len(data["cells"]) == 10
    assert [r["id"] for r in trials(done)] == list(range(60))
    for cell in data["cells"]:
        assert cell["trials"] == sum(cell["outcomes"].values()) == 6 and cell["stopped_by"] == "max_trials"
        for share, count in ((cell["shares"][name], n) for name, n in cell["outcomes"].items()):
            assert share["low"] <= share["estimate"] == count / 6 <= share["high"]
    assert {cell["check_bits"] for cell in data["cells"]} == {0, 48}


def test_the_same_faults_as_inject(done: Path) -> None:
    """One trial function: `potluck inject` finds the same faults, wrong bits and answers."""
    target = load_target("demo", "int8", load_machine("spatz-mx"), samples=8)
    for cell, stack in ((0, "none"), (1, "ondie+RG")):
        report = inject(target, stack, Uniform(1e-4), 6, 5)
        mine = [r for r in trials(done) if r["cell"] == cell]
        assert [(r["faults"], r["raw"], r["after_on_die"], r["changed"], r["accuracy"]) for r in mine] == [
            (t.faults, t.raw, t.after_on_die, t.changed, t.metric) for t in report.trials
        ]
        due = [any(name.endswith("DUE") for name in r["sectors"]) for r in mine]
        assert [r["outcome"] == "due" for r in mine] == due


def test_stacks_share_faults_and_names_say_where(done: Path) -> None:
    every = trials(done)
    for number in range(6):
        bare, guarded = (next(r for r in every if r["cell"] == c and r["number"] == number) for c in (2, 3))
        assert bare["faults"] == guarded["faults"] == 1  # one bit of one device
        assert bare["tensors"] == guarded["tensors"] and bare["fields"] == guarded["fields"]
        assert guarded["outcome"] == "masked" and guarded["after_on_die"] == 0
    assert {name.split()[0] for r in every for name in r["fields"]} >= {"INT8", "INT32", "on-die"}


def test_fit_rates_add_up(done: Path) -> None:
    """By hand, from the table's rates, the cells' shares and the probability to touch the network."""
    data = json.loads(done.with_suffix(".json").read_text())
    facts = json.loads((done.with_suffix(".campaign") / "campaign.json").read_text())["cells"]
    row = next(r for r in data["fit"] if r["stack"] == "none")
    total = touching = 0.0
    for fact, cell in zip(facts, data["cells"], strict=True):
        if cell["stack"] == "none" and "mode" in fact:
            weight = 1.0 if fact["permanent"] else 0.25
            total += weight * fact["fit"] * cell["outcomes"]["sdc"] / 6
            touching += fact["fit"]
    assert row["fit_sdc"]["estimate"] == pytest.approx(total) and row["fit_touching"] == pytest.approx(
        touching
    )
    assert row["fit_sdc"]["low"] < total < row["fit_sdc"]["high"]
    assert row["mission_sdc"]["estimate"] == pytest.approx(1 - np.exp(-total * 61320e-9))
    # A row holds 1 KiB of each of 32 pseudochannels' banks; a fault of one row touches the weights that lie in it.
    by_mode = {(f["mode"], f["permanent"]): f["fit"] for f in facts if f.get("mode")}
    assert by_mode["bit", True] / by_mode["bit", False] == pytest.approx(18.6 / 14.2)
    assert by_mode["row", True] / by_mode["row", False] == pytest.approx(8.2 / 0.2)


def test_a_campaign_is_begun_once(done: Path) -> None:
    result = call("run", done)
    assert result.exit_code != 0 and "Continue it with resume" in said(result)
    again = call("resume", done, "-j", "1")
    assert again.exit_code == 0 and "60 trials" in again.output


def test_processes_find_the_same(done: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(TEXT)
    result = call("run", path, "-j", "2")
    assert result.exit_code == 0, said(result)
    assert trials(path) == trials(done)
    workers = {r["worker"] for r in Store(path.with_suffix(".campaign")).records()}
    assert workers and not workers & {r["worker"] for r in Store(done.with_suffix(".campaign")).records()}


def test_resume_does_what_is_missing(done: Path, tmp_path: Path) -> None:
    """Without some records, with a torn and a damaged journal: the same campaign in the end."""
    from potluck.parallel.journal import Journal

    folder = tmp_path / "c.campaign"
    shutil.copytree(done.with_suffix(".campaign"), folder)
    kept = [r for r in Store(folder).records() if r["id"] % 3]
    emptied(folder)
    with Journal(folder / "journal") as journal:
        for one in kept:
            journal.append(one)
    raw = bytearray(journal.path.read_bytes())
    raw[len(raw) // 2] ^= 1
    journal.path.write_bytes(raw[:-7])
    path = tmp_path / "c.toml"
    path.write_text(TEXT)
    shutil.copy(done, path)
    partial = call("report", path, "--json", tmp_path / "r.json")
    assert partial.exit_code == 0 and "NOT COMPLETE" in partial.output
    result = call("resume", path, "-j", "1")
    assert result.exit_code == 0, said(result)
    assert trials(path) == trials(done)
    torn, corrupt = re.search(r"journals: (\d+) torn and (\d+) damaged bytes", result.output).groups()
    assert int(torn) > 100 and int(corrupt) > 100


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 5", "seed = 6", "key 'seed': the spec differs from the one that was registered: it was 5"),
        ("ber = 1e-4", "ber = 2e-4", "key 'faults.0.ber.0'"),
        ("samples = 8", "samples = 9", "key 'data.samples'"),
        ('"none", ', "", "key 'protection.stacks"),
        ("trials = 6", "trials = 7", "key 'stop.trials'"),
    ],
)
def test_a_changed_spec_is_refused(done: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    path = tmp_path / "other.toml"
    path.write_text(TEXT.replace(old, new))
    result = call("resume", path, "--out", done.with_suffix(".campaign"))
    assert result.exit_code != 0 and message in said(result) and "Undo the change" in said(result)


def test_comments_are_no_change(done: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text("# why this seed\n" + TEXT)
    assert call("resume", path, "--out", done.with_suffix(".campaign"), "-j", "1").exit_code == 0


def write_network(folder: Path, samples: int = 4) -> Path:
    """A spec with a network and data of its own."""
    shutil.copy(model_path(), folder / "net.onnx")
    images, labels = load_test_images(samples)
    np.savez(folder / "data.npz", input=images, labels=labels)
    text = TEXT.replace('"demo"', '"net.onnx"').replace(
        "samples = 8", f"path = 'data.npz'\nsamples = {samples}"
    )
    path = folder / "own.toml"
    path.write_text(text.replace("trials = 6", "trials = 1"))
    return path


def test_changed_data_are_refused(tmp_path: Path) -> None:
    path = write_network(tmp_path)
    assert call("run", path, "-j", "1").exit_code == 0
    images, labels = load_test_images(5)
    np.savez(tmp_path / "data.npz", input=images[1:], labels=labels[1:])
    result = call("resume", path)
    assert result.exit_code != 0 and "key 'data.path': the file is not the one that was registered" in said(
        result
    )
    (tmp_path / "net.onnx").unlink()
    assert "key 'network.model'" in said(call("resume", path))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("'data.npz'", "'other.npz'", "key 'data.path': cannot read"),
        ("path = 'data.npz'", "", "key 'data.path': is missing"),
        ("samples = 4", "samples = 9", "key 'data.samples': asks for 9 inputs, there are 4"),
        ('"net.onnx"', '"no.onnx"', "key 'network.model': no network and no file 'no.onnx'"),
        ('schemes = ["int8"]', 'schemes = ["int9"]', "key 'network.schemes'"),
        ('schemes = ["int8"]', 'machine = "spatz-xm"', "key 'network.machine'"),
        ('schemes = ["int8"]', 'set = {"dram.kind" = "simple"}', "key 'network.set': simple DRAM has no cells"),
        ('schemes = ["int8"]', 'set = {"dram.kidn" = "hbm3"}', "key 'network.set.dram.kidn': unknown key"),
        ('"ondie+RG"', '"ondie+vapi_78_64"', "do not fit hbm3's 16 sideband bits"),
        ('"ondie+RG"', '"ondie+hope"', "key 'protection.stacks': stack 'ondie+hope': no layer 'hope'"),
        ('kind = "uniform"\nber = 1e-4', 'kind = "list"\npath = "f.csv"', "key 'faults.0.path'"),
        ('schemes = ["int8"]', 'site = "module_outputs"', "key 'network.site'"),
        ("[stop]", '[metrics]\nsdc = "sdc7"\n[stop]', "key 'metrics.sdc'"),
    ],
)  # fmt: skip
def test_user_errors_leave_no_campaign(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write_network(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    result = call("run", path, "-j", "1")
    assert result.exit_code != 0 and message in said(result)
    assert not Store(path.with_suffix(".campaign")).registered
    assert call("resume", path).exit_code != 0 and call("report", path).exit_code != 0


def test_sequential_stopping_is_that_of_the_outcomes(tmp_path: Path) -> None:
    """Cells stop at looks, where their interval is narrow; an uninterrupted plan and a resumed one agree."""
    path = tmp_path / "c.toml"
    text = TEXT.replace("trials = 6", "trials = 60\nhalf_width = 0.2\nevery = 5\nleast = 10")
    path.write_text(text)
    result = call("run", path, "-j", "1", "--json", tmp_path / "r.json")
    assert result.exit_code == 0, said(result)
    cells = json.loads((tmp_path / "r.json").read_text())["cells"]
    for cell in cells:
        width = cell["shares"]["sdc"]["high"] - cell["shares"]["sdc"]["low"]
        assert cell["trials"] % 5 == 0 and cell["trials"] >= 10
        assert cell["stopped_by"] == "half_width" or cell["trials"] == 60
        assert cell["stopped_by"] == "max_trials" or width / 2 <= 0.2 + 1e-12
    assert len({cell["trials"] for cell in cells}) > 1


def test_modes_that_share_their_trials(tmp_path: Path) -> None:
    """Rows of certain outcome weigh little and single bits much: trials go to what the rate hangs on."""
    path = tmp_path / "c.toml"
    text = TEXT.replace('kind = "uniform"\nber = 1e-4\n[[faults]]\n', "").replace('"none", ', "")
    stop = 'trials = 10\nevery = 5\nhalf_width = 0.004\nwatch = "due"\nallocation = "neyman"'
    path.write_text(text.replace("trials = 6", stop))
    result = call("run", path, "-j", "1", "--json", tmp_path / "r.json")
    assert result.exit_code == 0, said(result)
    data = json.loads((tmp_path / "r.json").read_text())
    counts = [cell["trials"] for cell in data["cells"]]
    assert sum(counts) in (20, 40) and len(set(counts)) > 1
    (row,) = data["fit"]
    truth = sum(
        cell["fit"] * cell["exposure"] for cell in data["cells"] if cell["mode"] == "row"
    )  # every fault of a row is found, none of a bit
    assert row["fit_due"]["low"] < truth < row["fit_due"]["high"] and row["fit_sdc"]["estimate"] == 0
    assert row["fit_due"]["estimate"] == pytest.approx(truth, rel=0.5)
    again = call("resume", path, "-j", "1")
    assert again.exit_code == 0 and f"{sum(counts)} trials" in again.output


def test_replay_tells_the_story_of_a_bit(done: Path, tmp_path: Path) -> None:
    record = next(r for r in trials(done) if r["cell"] == 2 and r["outcome"] == "tolerable")
    result = call("replay", done, "--trial", str(record["id"]), "--json", tmp_path / "s.json")
    assert result.exit_code == 0, said(result)
    assert "bit for bit the recorded one" in result.output and "INT8" in result.output
    story = json.loads((tmp_path / "s.json").read_text())
    assert story["record"] == record and story["again"] is True and len(story["flips"]) == 1
    flip = story["flips"][0]
    place = f"{flip['address']:#x}:{flip['bit']}"
    target = load_target("demo", "int8", load_machine("spatz-mx"), samples=8)
    elf = tmp_path / "p.elf"
    target.program.save(elf)
    located = CliRunner().invoke(app, ["where", str(elf), place, "--json", str(tmp_path / "w.json")])
    assert located.exit_code == 0, said(located)
    (name,) = json.loads((tmp_path / "w.json").read_text())[0]["names"]
    assert (
        name["tensor"] == flip["tensor"] and name["index"] == flip["index"] and name["field"] == flip["field"]
    )
    assert (
        bin(flip["code_before"] ^ flip["code_struck"]).count("1") == 1
        and flip["code_read"] == flip["code_struck"]
    )
    assert flip["status"] == "CLEAN" and flip["data"] == "WRONG" and flip["outcome"] == "UND"
    assert len(story["answers"]) >= 1 and {one["end"] for one in story["answers"]} == {"whole"}
    seen = story["visible"]  # in the layer that the weight belongs to
    assert flip["tensor"].replace(".weight", "_weight").startswith(seen["layer"]) and seen["op"] in (
        "Conv",
        "MatMul",
    )
    assert seen["input"] == story["answers"][0]["input"] and seen["address"] > flip["address"]
    assert f"first visible in layer {seen['layer']}" in " ".join(result.output.split())


def test_replay_of_what_never_ran(done: Path) -> None:
    result = call("replay", done, "--trial", "60")
    assert result.exit_code != 0 and "there is no trial 60. Ids go from 0 to 59" in said(result)


def test_replay_says_when_a_record_is_not_what_happens(done: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c.campaign"
    shutil.copytree(done.with_suffix(".campaign"), folder)
    emptied(folder)
    from potluck.parallel.journal import Journal

    with Journal(folder / "journal") as journal:
        journal.append(trials(done)[2] | {"outcome": "hang", "seconds": 1.0, "worker": "x"})
    result = call("replay", done, "--out", folder, "--trial", "2")
    assert result.exit_code != 0 and "gave another result" in said(result)


def test_the_report_is_one_page(done: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    result = call("report", done, "--html", page, "--json", tmp_path / "r.json")
    assert result.exit_code == 0, said(result)
    text = page.read_text()
    data = json.loads((tmp_path / "r.json").read_text())
    assert data == json.loads(done.with_suffix(".json").read_text())
    assert (
        "http" not in text.replace("http://www.w3.org", "")
        and "<script" not in text
        and text.count("<svg") == 1
    )
    assert data["hash"] in text and "FIT_SDC" in text and "stage3_conv2" in text and "INT8 sign" in text
    assert text.index(">none (0), int8, uniform") < text.index(">ondie+RG (48), int8, uniform")
    rows = text.split(">Outcomes</h2>")[1].split("<tbody>")[1].split("</tbody>")[0].split("<tr>")[1:]
    bits = [int(row.split("<td>")[1].split("<")[0]) for row in rows]
    assert len(bits) == len(data["cells"])
    assert bits == sorted(bits)
    assert call("report", done, "--html", tmp_path / "r.pdf").exit_code != 0
    png = page.with_suffix(".png")
    assert png.read_bytes().startswith(b"\x89PNG") and not list(tmp_path.glob(".*"))


def test_names_in_a_page_are_text(tmp_path: Path) -> None:
    from potluck.campaign.report import page
    from potluck.pages.document import table

    assert "<b>" not in table(("<b>",), [("<b>&",)], "<b>")
    data = {"name": "<script>", "hash": "x", "complete": False, "confidence": 0.95, "trials": 0, "samples": 1,
            "sdc": "sdc1", "sdc_inputs": 1, "cells": [], "fit": [], "comparisons": [], "versions": {}}  # fmt: skip
    assert "<script>" not in page(data) and "not complete" in page(data)


def test_from_python(tmp_path: Path) -> None:
    """An ELF program in memory, arrays, a stack by its long name."""
    images, labels = load_test_images(2)
    quantized = potluck.quantize(model_path(), scheme="int8", calibration={"input": load_test_images(50)[0]})
    program = potluck.compile(quantized, machine="spatz-mx")
    made = potluck.Campaign(
        program, faults={"kind": "flips", "count": 40}, protection=["none", "rangeguard-dsc"],
        data={"input": images, "labels": labels}, trials=2, folder=tmp_path / "c",
    )  # fmt: skip
    result = made.run()
    assert [cell["stack"] for cell in result.cells] == ["none", "rangeguard-dsc"] and len(result.trials) == 4
    assert all(cell["trials"] == 2 and cell["inputs"]["sdc1"]["estimate"] <= 1 for cell in result.cells)
    assert made.run().to_json() == result.to_json()  # nothing is left to do
    assert made.replay(1).again is True
    assert result.report(tmp_path / "r.html").exists()
    temporary = potluck.Campaign("demo", faults=[{"kind": "flips"}], trials=1, samples=2)
    assert temporary.run().cells[0]["trials"] == 1
    with pytest.raises(CampaignError, match="Did you mean 'kind'"):
        potluck.Campaign("demo", faults={"kin": "flips", "kind": "flips"})


def test_onnx_and_machine_agree_on_outcomes(tmp_path: Path) -> None:
    """Integer networks: both engines write the same records, as far as answers go."""
    found = []
    for engine in ("onnx", "sim"):
        made = potluck.Campaign(
            "demo", faults={"kind": "uniform", "ber": 1e-4}, samples=2, trials=2, folder=tmp_path / engine,
            network={"schemes": ["int8"], "engine": engine},
        )  # fmt: skip
        found.append([essence(r) for r in made.run().trials])
    assert found[0] == found[1]


def test_golden_answers_of_another_host_are_refused(done: Path, tmp_path: Path) -> None:
    from potluck.campaign.worker import run_chunk

    folder = tmp_path / "c.campaign"
    shutil.copytree(done.with_suffix(".campaign"), folder)
    path = folder / "campaign.json"
    held = json.loads(path.read_text())
    for cell in held["cells"]:
        cell["golden"] = "0" * 16
    path.write_text(json.dumps(held))
    with pytest.raises(CampaignError, match="other fault-free answers for int8"):
        run_chunk(str(folder), held["hash"], [0])
    with pytest.raises(CampaignError, match=r"is [0-9a-f]{12}, not ffff"):
        run_chunk(str(folder), "f" * 64, [0])
    held["spec"]["seed"] = 99
    path.write_text(json.dumps(held))
    with pytest.raises(CampaignError, match="does not have the hash it states"):
        Store(folder).spec()


def test_a_hanging_and_a_crashing_network() -> None:
    """Programs that do not end, or trap, in some runs: one outcome each."""
    from potluck.campaign.outcomes import Judge, TrialOutcome
    from potluck.inject.target import End
    from potluck.inject.trial import Observation, Tally

    target = load_target("demo", "int8", load_machine("spatz-mx"), samples=1, engine="sim")
    words = [part.clean for part in target.parts]
    whole = target.run(words)
    assert whole.ends.tolist() == [End.WHOLE]
    assert target.budget > 1000 and target.runs is not None
    target.runs.replay.stage.limit(1000)
    words[0] = ~words[0]  # without a corrupted word nothing would be executed
    hung = target.run(words)
    assert hung.ends.tolist() == [End.HANG] and np.isnan(hung.values).all()
    seen = Observation(0, 1, 1, 1, Tally(), True, False, hung)
    judge = Judge(
        whole.values,
        None,
        validated({"seed": 1, "network": {"model": "demo"}, "faults": [{"kind": "flips"}]}).metrics,
    )
    assert judge.judge(seen)[0] is TrialOutcome.HANG
