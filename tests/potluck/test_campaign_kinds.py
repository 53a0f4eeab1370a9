"""Every kind of faults, network and site in a campaign."""

from __future__ import annotations

from pathlib import Path

import pytest

import potluck
from potluck.campaign.record import essence
from potluck.inject.campaign import inject
from potluck.inject.target import load_target
from potluck.isa.errors import CampaignError
from potluck.isa.machine import load_machine
from potluck.sim.faults.files import write_faults
from potluck.sim.faults.models import EventMix, Uniform, WeakCells
from potluck.sim.faults.protected import Protected
from potluck.sim.faults.recipes import recipe

INT8 = {"schemes": ["int8"]}


def test_every_kind_of_faults(tmp_path: Path) -> None:
    target = load_target("demo", "int8", load_machine("spatz-mx"), samples=2)
    region = Protected(target.parts, recipe("none"), target.mapping).region
    listed = {trial: Uniform(1e-4).draw(region, (9, trial)) for trial in (3, 8)}
    write_faults(tmp_path / "f.csv", listed, target.machine.memory.dram_base)
    faults = [
        {"kind": "events", "ber": 1e-4},
        {"kind": "data-dependent", "zero_to_one": 1e-5, "one_to_zero": 1e-4},
        {"kind": "weak", "density": 1e-3, "ber": [0.1, 0.5], "layout": "symmetric"},
        {"kind": "flips", "count": [1, 50]},
        {"kind": "mission", "rates": "sridharan2012", "hours": 1000.0},
        {"kind": "list", "path": str(tmp_path / "f.csv")},
        {"kind": "modes", "rates": "rangeguard_mix"},
    ]  # fmt: skip
    result = potluck.Campaign("demo", faults=faults, network=INT8, samples=2, trials=3, seed=6).run()
    cells = {cell["faults"]: cell for cell in result.cells}
    assert list(cells)[:7] == [
        "events 0.0001", "data-dependent", "weak 0.1", "weak 0.5", "flips 1", "flips 50", "mission",
    ]  # fmt: skip
    assert [cell["trials"] for cell in result.cells] == [3] * 7 + [2] + [3] * 4
    mine = {name: [r for r in result.trials if r["cell"] == cell["cell"]] for name, cell in cells.items()}
    for name, model in (("events 0.0001", EventMix(1e-4)), ("weak 0.5", WeakCells(1e-3, 0.5, "symmetric"))):
        report = inject(target, "none", model, 3, 6)
        assert [(r["faults"], r["raw"], r["accuracy"]) for r in mine[name]] == [
            (t.faults, t.raw, t.metric) for t in report.trials
        ]
    assert [r["faults"] for r in mine["flips 50"]] == [50] * 3
    assert [r["faults"] for r in mine["list"]] == [len(listed[3]), len(listed[8])]
    mission = cells["mission"]
    assert 0 < mission["probability"] < 0.01 and all(r["faults"] for r in mine["mission"])
    sdc = mission["shares"]["sdc"]
    assert mission["unconditional"]["sdc"]["high"] == pytest.approx(mission["probability"] * sdc["high"])
    assert [row["fit_touching"] > 0 for row in result.fit] == [True]
    assert result.cells[2]["observed_raw_ber"] == pytest.approx(1e-4, rel=0.5)


def test_a_network_of_the_zoo_is_the_same_network(tmp_path: Path) -> None:
    """The zoo's ResNet-8 is the demo's; its samples are others, and calibration is its own."""
    faults = {"kind": "uniform", "ber": 1e-4}
    found = potluck.Campaign(
        "resnet8", faults=faults, network=INT8, samples=4, trials=2, folder=tmp_path / "z"
    ).run()
    assert (tmp_path / "z" / "network.onnx").exists() and found.cells[0]["golden_accuracy"] is not None
    demo = potluck.Campaign("demo", faults=faults, network=INT8, samples=4, trials=2).run()
    assert [r["tensors"] for r in found.trials] == [r["tensors"] for r in demo.trials]


def test_the_artifacts_site() -> None:
    """Weights once and every layer's output: the same trials as `potluck inject --site module_outputs`."""
    import onnx

    from potluck.assets import load_test_images, model_path
    from potluck.inject.modules import inject_modules

    made = potluck.Campaign(
        "demo", faults={"kind": "events", "ber": 1e-4}, protection=["none", "rg"], samples=3, trials=2, seed=8,
        network={"site": "module_outputs"},
    )  # fmt: skip
    result = made.run()
    images, labels = load_test_images(3)
    target = load_target("demo", None, load_machine("spatz-mx"), samples=3)
    for cell, stack in enumerate(("none", "rg")):
        report = inject_modules(
            onnx.load(model_path()),
            {"input": images},
            labels,
            "bf16",
            stack,
            EventMix(1e-4),
            2,
            8,
            target.mapping,
        )
        mine = [r for r in result.trials if r["cell"] == cell]
        assert [(r["faults"], r["raw"], r["accuracy"]) for r in mine] == [
            (t.faults, t.raw, t.metric) for t in report.trials
        ]
    assert made.replay(0).again is True


def test_policy_fail_stops_trials() -> None:
    made = potluck.Campaign(
        "demo", faults={"kind": "uniform", "ber": 3e-3}, protection="hsiao", policy="fail", network=INT8, samples=2,
        trials=2,
    )  # fmt: skip
    result = made.run()
    assert result.cells[0]["outcomes"]["due"] == 2 and "accuracy" not in result.cells[0]
    assert all(r["stopped"] for r in result.trials) and made.replay(1).again is True


def test_trials_do_not_depend_on_what_ran_before() -> None:
    """In any order, in one process: the same records."""
    from potluck.campaign.record import record_trial
    from potluck.campaign.worker import bench_of

    made = potluck.Campaign("demo", faults=[{"kind": "uniform", "ber": 1e-4}, {"kind": "flips"}],
                            protection=["none", "ondie+RG"], network=INT8, samples=2, trials=4)  # fmt: skip
    result = made.run()
    expected = {r["id"]: essence(r) for r in result.trials}
    bench = bench_of(made.store.folder.resolve(), made.spec.hash)
    for identity in (15, 3, 3, 8, 0):
        assert essence(record_trial(bench, identity)) == expected[identity]


@pytest.mark.parametrize(
    ("program", "options", "message"),
    [
        ("no such thing", {}, "no network and no file"),
        ("demo", {"data": "no.npz"}, "cannot read no.npz"),
        ("demo", {"protection": []}, "protection.stacks"),
        ("demo", {"trials": 0}, "stop.trials"),
        ("demo", {"nonsense": 1}, "unknown key"),
    ],
)
def test_errors_from_python(program: str, options: dict, message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        potluck.Campaign(program, faults={"kind": "flips"}, **options).run()
