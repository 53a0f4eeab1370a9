"""`potluck compare` and `potluck replay`: what is said of runs that were written down."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from potluck.assets import load_test_images, model_path
from potluck.exits import Exit
from potluck.sweeps.api import sweep


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network and inputs, to run in."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copyfile(model_path(), folder / "m.onnx")
    np.savez(folder / "x.npz", input=load_test_images(1)[0])
    return folder


@pytest.fixture
def results(place: Path, potluck: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two results, made once."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "300")
    if not (place / "a.json").exists():
        first = ("run", "m.onnx", "--scheme", "mxfp8", "--input", "x.npz", "--profile", "--mode", "timed")
        assert potluck(*first, "--json", "a.json", "-o", "y.npz")[0] == 0
        assert potluck(*first[:3], "mxfp4", "--set", "vector.vlen=1024", "--json", "b.json")[0] == 0
    return place / "a.json", place / "b.json"


def test_compare_tells_what_the_results_say(potluck: Any, results: tuple[Path, Path]) -> None:
    status, said = potluck("compare", "a.json", "b.json", "--json", "c.json")
    a, b = (json.loads(path.read_text()) for path in results)
    found = json.loads(Path("c.json").read_text())
    assert status == 0 and [run["cycles"] for run in found["runs"]] == [a["cycles"], b["cycles"]]
    assert f"{b['cycles'] / a['cycles']:.3f}" in said
    assert sum(row["cycles"][0] or 0 for row in found["layers"]) == a["cycles"]
    assert sum(row["cycles"][1] or 0 for row in found["layers"]) == b["cycles"]
    assert found["differs"]["description.vector.vlen"] == [512, 1024]
    assert found["differs"]["scheme"] == ["mxfp8", "mxfp4"]
    assert set(found["differs"]) == {"description.vector.vlen", "scheme", "recipe.files.x.npz"}
    assert found["outputs"] == ["same", "different"]
    assert "vector.vlen: 512 | 1024" in said
    assert potluck("compare", "a.json")[0] == Exit.FAILED
    same = potluck("compare", "a.json", "a.json")[1]
    assert "do not differ" in same


def test_replay_gives_the_same_bytes_and_says_if_not(
    potluck: Any, results: tuple[Path, Path], tmp_path: Path, place: Path
) -> None:
    status, said = potluck("replay", "a.json")
    assert (status, "every byte is the same" in said) == (Exit.OK, True), said
    held = json.loads(results[0].read_text())
    assert held["manifest"]["recipe"]["command"] == ["run", "--scheme", "mxfp8", "--input", "x.npz", "m.onnx"]
    changed = json.loads(json.dumps(held))
    changed["layers"][1]["cycles"] += 1
    changed["manifest"]["outputs"]["logits"] = "0" * 64
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    status, said = potluck("replay", tmp_path / "changed.json")
    assert status == Exit.DIFFERENT and "layers.1.cycles" in said and "manifest.outputs.logits" in said


def test_what_is_not_there_any_more(potluck: Any, results: tuple[Path, Path], tmp_path: Path) -> None:
    held = json.loads(results[0].read_text())
    path = tmp_path / "r.json"

    def refused(**changes: Any) -> str:
        manifest = held["manifest"] | {key: changes[key] for key in changes if key != "folder"}
        if "folder" in changes:
            manifest["recipe"] = manifest["recipe"] | {"folder": changes["folder"]}
        path.write_text(json.dumps({**held, "manifest": manifest}))
        status, said = potluck("replay", path)
        assert status == Exit.FAILED and "Traceback" not in said
        return str(said)

    assert "is gone" in refused(folder=str(tmp_path / "nowhere")) and "--folder" in refused(folder="/nowhere")
    assert "'m.onnx' is gone" in refused(folder=str(tmp_path))
    shutil.copyfile("m.onnx", tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", input=load_test_images(2)[0][1:])
    assert "'x.npz'" in (said := refused(folder=str(tmp_path))) and "not the one of the run" in said
    said = refused(versions=held["manifest"]["versions"] | {"numpy": "1.0.0"})
    assert "numpy 1.0.0" in said and "--any-version" in said
    said = refused(recipe=None)
    assert "does not say how it was made" in said


def test_a_sweep_and_a_campaign_again(potluck: Any, tmp_path: Path) -> None:
    sweep("demo", {"vector.vlen": ["512", "1024"]}, folder=tmp_path / "s")
    assert potluck("replay", tmp_path / "s", "--count", "1")[0] == Exit.OK
    (tmp_path / "c.toml").write_text(
        'seed = 1\n[network]\nmodel = "demo"\nschemes = ["mxfp8"]\n[data]\nsamples = 4\n'
        '[[faults]]\nkind = "uniform"\nber = 1e-3\n[stop]\ntrials = 4\n'
    )
    status, said = potluck("campaign", "run", tmp_path / "c.toml", "-j", 1)
    assert status == 0, said
    status, said = potluck("replay", tmp_path / "c.campaign", "--count", "2")
    assert status == Exit.OK and "2 trials again: every byte is the same" in said, said
