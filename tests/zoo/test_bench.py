"""``potluck bench networks``: what it chooses, and the figures of a small network."""

import pytest

from potluck.benchmarks import networks
from potluck.isa.errors import DataError, ToolError
from potluck.zoo import packages, registry


def test_everything_runs_unless_something_is_chosen():
    assert [network.name for network, _ in networks.chosen("")] == [*registry.PLACES, *registry.LIGHT]
    ((first, schemes), (second, others)) = networks.chosen("resnet8:int8+mxfp8,mnist-cnn")
    assert (first.name, schemes, second.name, others) == (
        "resnet8", ("int8", "mxfp8"), "mnist-cnn", second.schemes,
    )  # fmt: skip
    with pytest.raises(DataError, match="no network 'resnet9'"):
        list(networks.chosen("resnet9"))


def test_figures_of_a_small_network(monkeypatch):
    monkeypatch.setenv(networks.CHOICE, "resnet8:int8")
    monkeypatch.setattr(networks, "SEVERAL", 2)
    found = {}

    def report(figure, value, unit="", reference="", target="", met=None):
        found[figure.removeprefix("resnet8 int8: ")] = (value, met)

    networks.run(report)
    assert found["MACs on the machine"] == (100, True) and found["nodes on the machine"] == (100, True)
    assert found["worst difference to ONNX"] == (0, True) and found["metric"][1]
    assert 0 < found["peak memory"][0] < 64 and found["simulate"][0] > 0


def test_missing_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv(networks.CHOICE, "mobilenetv2:fp32,ppocr-rec")
    monkeypatch.setenv("POTLUCK_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(packages, "_installed", lambda package: None)
    with pytest.raises(
        ToolError, match=r"the packages of mobilenetv2, ppocr-rec are not here\. Get them: potluck zoo"
    ):
        networks.run(lambda *_: None)
