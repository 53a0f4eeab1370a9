"""The recorded comparison is what it says it is, and one short seed of it runs."""

import json
from types import SimpleNamespace

import pytest
import torch

from potluck.benchmarks import bbq, bbq_data
from potluck.benchmarks.bbq_training import METHODS, Budget, train


@pytest.fixture(scope="module")
def record():
    return json.loads(bbq.RECORD.read_text(encoding="utf-8"))


@pytest.mark.parametrize("task", ["image", "text"])
def test_rates_were_chosen_on_validation_and_seeds_are_paired(record, task):
    runs = [run for run in record["runs"] if run["task"] == task]
    for method in METHODS:
        mine = [run for run in runs if run["method"] == method]
        chosen = {run["rate"]: run["loss"] for run in mine if run["part"] == "validation"}
        assert sorted(chosen) == list(bbq.RATES)
        tested = [run for run in mine if run["part"] == "test"]
        assert sorted(run["seed"] for run in tested) == [0, 1, 2, 3, 4]
        assert {run["rate"] for run in tested} == {min(chosen, key=chosen.get)}
        assert {run["seed"] for run in mine if run["part"] == "validation"} == {bbq.CHOOSING}
        assert all(len(run["curve"]) == record[task]["budget"]["probes"] for run in tested)


def test_interval_is_students():
    mean, half = bbq.interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3 and half == pytest.approx(1.96324, rel=1e-3)  # scipy.stats.t.interval(0.95, 4, 3, sem)


def test_the_benchmark_reports_all_pairs(monkeypatch):
    figures = []
    monkeypatch.setattr(bbq, "SHORT", {"image": (3, 16), "text": (3, 2)})
    bbq.run(lambda figure, value, *rest: figures.append((figure, value)))
    assert len(figures) == 6 + 2 and all(-1 < value < 10 for _, value in figures)


def test_one_short_seed_learns_and_is_repeatable(tmp_path, capsys, monkeypatch):
    torch.set_num_threads(1)
    data = bbq_data.images(None)
    budget = Budget(40, 32, 2)
    runs = [train(data, "bbq2", 3e-3, 0, budget, "test") for _ in range(2)]
    assert runs[0]["loss"] == runs[1]["loss"] < 1.2
    assert runs[0]["curve"] == runs[1]["curve"]
    tiny = SimpleNamespace(name="image", parts=data.parts, classes=10, hashes={})
    monkeypatch.setattr(bbq, "RATES", bbq.RATES[:1])
    for _ in range(2):  # the second finds everything done
        bbq.compare([tiny], 1, tmp_path / "out.json", {"image": (2, 8)})
    assert len(json.loads((tmp_path / "out.json").read_text())["runs"]) == 2 * len(METHODS)
    assert capsys.readouterr().out.count("validation") == len(METHODS)
