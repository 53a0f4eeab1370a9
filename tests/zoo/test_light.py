"""The light models of the onnx package, with weights, are what onnxruntime says they are."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from potluck.compiler.footprint import footprints
from potluck.compiler.host import HostNetwork
from potluck.compiler.importer import load
from potluck.isa.errors import DataError
from potluck.isa.machine import load_machine
from potluck.zoo import light, registry
from potluck.zoo.running import Stand

QUICK = {"light-shufflenet": "fp32", "light-squeezenet": "mxfp8", "light-inception_v1": "fp32"}
"""What CI runs; the others by ``pytest -m slow``."""
SLOW = [
    (name, scheme) for name in registry.LIGHT for scheme in ("fp32", "mxfp8") if QUICK.get(name) != scheme
]


def check(name, scheme):
    network = registry.find(name)
    few = network.samples().part(slice(0, 1))
    outcome = Stand(replace(network, samples=lambda: few), load_machine("spatz-mx"), 1, "functional").outcome(
        scheme
    )
    assert outcome.error == "" and outcome.macs_share == outcome.nodes_share == 100
    against = outcome.machine.against
    if scheme == "fp32":
        assert against.difference < 1e-5 and against.agreement == 100
    else:  # a sum in another order now and then moves an activation to the next code
        assert against.sqnr > outcome.noise


@pytest.mark.parametrize("name", QUICK)
def test_a_light_model_on_the_machine(name):
    check(name, QUICK[name])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scheme"), SLOW)
def test_every_light_model_on_the_machine(name, scheme):
    check(name, scheme)


@pytest.mark.parametrize("name", ["light-shufflenet", "light-squeezenet", "light-densenet121"])
def test_weights_take_the_place_of_constants(name):
    network = registry.find(name)
    model = network.model()
    onnx.checker.check_model(model)
    original = onnx.load(light.FOLDER / f"{name.replace('-', '_')}.onnx")
    graph = load(model)
    assert sum(item.macs for item in footprints(graph, HostNetwork(graph).constants)) == network.macs
    kept = [node.op_type for node in original.graph.node if node.op_type != "ConstantOfShape"]
    assert [node.op_type for node in model.graph.node] == kept
    big = [numpy_helper.to_array(item) for item in model.graph.initializer if np.prod(item.dims) > 1000]
    assert all(0 < array.std() < 2 for array in big)
    assert model == network.model()


def test_what_goes_into_the_softmax_comes_out_first_and_does_not_saturate():
    model = light.model("squeezenet")
    (taken,) = light.noise(model, 1, light.SEED).items()
    logits, classes = light._session(model).run(None, dict([taken]))
    assert logits.std() == pytest.approx(light.SPREAD, rel=1e-4)
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(classes, exponents / exponents.sum(1, keepdims=True), rtol=1e-4)


def test_an_unknown_light_model_is_refused():
    with pytest.raises(DataError, match="no network 'light-vgg16' in the zoo"):
        registry.find("light-vgg16")
