"""ResNet-50's layers as SCALE-Sim gets them, and the closed form of its cycles against its own reports."""

from __future__ import annotations

import pytest

from potluck.benchmarks.schedule_scalesim import Layer, alone, chosen, layers_of
from potluck.zoo import registry


def test_resnet50_is_resnet50() -> None:
    """53 convolutions and a product, 4.09 GMAC (He et al., arXiv 1512.03385: 3.8 G, with the strides of version 1)."""
    layers = list(layers_of(registry.find("light-resnet50").model()))
    assert len(layers) == 54 and layers[-1].macs == 2048 * 1000
    assert layers[0].macs == 112 * 112 * 7 * 7 * 3 * 64
    assert 3.8e9 < sum(layer.macs for layer in layers) < 4.2e9
    few = chosen(layers)
    assert (
        len({layer.places for layer in few}) == len(few) >= 3
        and sum(layer.cycles for layer in few) <= 150_000
    )


@pytest.mark.parametrize(("layer", "reported"), [
    (Layer("conv4", 16, 3, 256, 256, 1), 167_040), (Layer("conv5", 7, 1, 512, 2048, 1), 146_432),
])  # fmt: skip
def test_cycles_are_those_of_scalesim(layer: Layer, reported: int) -> None:
    """What SCALE-Sim 3.0.0 reports for a 32 x 32 weight-stationary array (its progress bar's total)."""
    assert layer.cycles == reported


def test_a_layer_alone() -> None:
    graph = alone(Layer("c", 30, 3, 64, 32, 1)).graph
    assert [d.dim_value for d in graph.output[0].type.tensor_type.shape.dim] == [1, 32, 28, 28]
