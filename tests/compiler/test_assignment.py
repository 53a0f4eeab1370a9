"""Mixed precision: formats side by side in one network, from the file to the program's bits."""

import json

import numpy as np
import onnx_ir as ir
import pytest
from networks import residual
from onnx.reference import ReferenceEvaluator
from running import by_reference, by_schedule, by_simulator, feeds, same_bits
from test_integer_networks import chain, samples

from potluck.assets import load_test_images, model_path
from potluck.compiler.build import build, prepare
from potluck.compiler.footprint import footprints
from potluck.compiler.host import HostNetwork
from potluck.compiler.passes.assign import products
from potluck.compiler.quantize import quantize_model
from potluck.compiler.schemes.assignment import Assignment, load, parse
from potluck.isa.errors import ModelError
from potluck.isa.machine import load_machine

SPATZ = load_machine("spatz-mx")
SHAPE = (1, 3, 12, 12)
SCHEMES = ("int8", "mxfp8", "int4", "mxfp4", "pot_apot", "fp32", "int4_weights")


def network():
    return residual(size=12, channels=32)


def names():
    return [node.name for node in products(quantize_model(network(), "fp32"))]


def stored(model):
    network = HostNetwork(model)
    return {item.node: (item.bits, item.activation_bits) for item in footprints(model, network.constants)}


@pytest.mark.parametrize("seed", range(4))
def test_any_mixture_compiles_to_what_the_onnx_file_says(seed):
    layers = names()
    chosen = np.random.default_rng(seed).choice(SCHEMES, len(layers))
    mixed = Assignment(dict(zip(layers, chosen.tolist(), strict=True)))
    model = prepare(network(), mixed, calibration=samples(SHAPE))
    schedule = build(model, SPATZ)
    given = feeds(schedule)
    got = by_schedule(schedule, given)
    assert same_bits(by_simulator(schedule, given), got)
    reference = by_reference(schedule, given)[0]
    assert np.abs(got[0] - reference).max() <= 0.05 * np.abs(reference).max()  # a code or two of the mean


def test_each_layer_has_what_it_was_assigned():
    layers = names()
    wanted = {"int8": (8, 8), "mxfp8": (8, 8), "int4": (4, 8), "mxfp4": (4, 4), "pot_apot": (4, 8), "fp32": (32, 32),
              "int4_weights": (4, 32), "int6": (6, 8), "int2": (2, 8)}  # fmt: skip
    for shift in range(len(wanted)):
        pairs = dict(zip(layers, np.roll(list(wanted), shift).tolist(), strict=False))
        # An FP32 layer that reads what an integer layer reads too gets the same codes, dequantized.
        found = stored(quantize_model(network(), Assignment(pairs), calibration=samples(SHAPE)))
        assert {name: bits for name, (bits, _) in found.items()} == {
            name: wanted[pairs[name]][0] for name in layers
        }
        for name, scheme in pairs.items():
            assert found[name][1] in {wanted[scheme][1], 8}


def test_sums_between_integer_layers_of_two_widths_stay_in_codes():
    layers = names()
    mixed = Assignment({name: ("int8", "int4")[i % 2] for i, name in enumerate(layers)})
    model = prepare(network(), mixed, calibration=samples(SHAPE))
    assert "IntegerAdd" in {node.op_type for node in model.graph}
    assert (
        sum(node.op_type == "QuantizeLinear" for node in model.graph) == 2
    )  # the input, and the mean before Gemm
    schedule = build(model, SPATZ)
    given = feeds(schedule)
    assert same_bits(by_simulator(schedule, given), by_schedule(schedule, given))


def test_uniform_assignment_is_the_scheme():
    for scheme in ("int8", "mxfp4", "pot_zero"):
        one = quantize_model(network(), scheme, calibration=samples(SHAPE))
        other = quantize_model(network(), Assignment({}, scheme), calibration=samples(SHAPE))
        assert ir.to_proto(one).graph.SerializeToString() == ir.to_proto(other).graph.SerializeToString()


def test_weights_name_layers_too_and_the_default_is_for_the_rest():
    found = stored(quantize_model(network(), Assignment({"w2": "mxfp4"}, "int8"), calibration=samples(SHAPE)))
    assert list(found.values()) == [(8, 8), (8, 8), (4, 4), (8, 8), (8, 8)]


@pytest.mark.parametrize("scheme", ["int4", "int2", "pot_qkeras"])
def test_named_depthwise_and_small_layers_are_made_as_assigned(scheme):
    layers = [node.name for node in products(quantize_model(chain(), "fp32"))]
    mixed = Assignment(dict.fromkeys(layers, scheme))
    model = quantize_model(chain(), mixed, calibration=samples((2, 3, 9, 10)))
    bits = {"int4": 4, "int2": 2, "pot_qkeras": 4}[scheme]
    assert stored(model) == dict.fromkeys(layers, (bits, 8))
    schedule = build(prepare(chain(), mixed, calibration=samples((2, 3, 9, 10))), SPATZ)
    given = feeds(schedule)
    got = by_simulator(schedule, given)
    assert same_bits(got, by_schedule(schedule, given))
    assert same_bits(got, by_reference(schedule, given))


def test_six_and_two_bits_round_trip_as_onnx(tmp_path):
    for scheme, top in (("int6", 31), ("int2", 1)):
        model = quantize_model(network(), scheme, calibration=samples(SHAPE), min_channels=0)
        model.save(tmp_path / "q.onnx")
        again = ir.load(tmp_path / "q.onnx")
        assert set(stored(again).values()) == {(int(scheme[3:]), 8)}
        codes = [value.const_value.numpy().astype(int) for name, value in again.graph.initializers.items()
                 if name.startswith("w") and name.endswith("_codes")]  # fmt: skip
        assert {(array.min(), array.max()) for array in codes} == {(-top, top)}
        ReferenceEvaluator(ir.to_proto(again)).run(None, {"x": np.ones(SHAPE, np.float32)})


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        (Assignment({"nobody": "int8"}), "nobody"),
        (Assignment({"w1": "int9"}), "int8"),
        (Assignment({"w1": "int8", "Conv_2": "int4"}), "two schemes"),
        (Assignment({"w1": "pot_recover"}), "whole networks"),
    ],
)
def test_what_is_wrong_is_named(assignment, said):
    with pytest.raises(ModelError, match=said):
        quantize_model(network(), assignment, calibration=samples(SHAPE))


def test_a_layer_that_a_scheme_cannot_take_is_an_error_by_name_and_spared_by_default():
    depthwise = products(quantize_model(chain(), "fp32"))[1].name
    with pytest.raises(ModelError, match="cannot take this layer") as error:
        quantize_model(chain(), Assignment({depthwise: "mxfp8"}))
    assert error.value.node == depthwise
    assert stored(quantize_model(chain(), Assignment({}, "mxfp8")))[depthwise] == (16, 32)


def test_files(tmp_path):
    path = tmp_path / "a.json"
    mixed = Assignment({"conv1": "int4"}, "mxfp8")
    mixed.save(path)
    assert load(path) == mixed
    assert load(path).layers == mixed.layers
    for text, said in (
        ("[]", "object"),
        ('{"layers": {"a": 4}}', "'a'"),
        ("{", "cannot read"),
        ("{}", "names no layer"),
    ):
        path.write_text(text)
        with pytest.raises(ModelError, match=said):
            load(path)
    assert parse({"layers": {"a": "int8"}, "report": 1}).default == "fp32"


def test_resnet8_with_five_formats_classifies():
    images, labels = load_test_images(340)
    layers = [node.name for node in products(quantize_model(model_path(), "fp32"))]
    schemes = ("int8", "mxfp8", "int4", "mxfp8", "pot_apot", "mxfp8", "mxfp4", "int6", "int8", "fp32")
    mixed = parse(json.loads(json.dumps({"layers": dict(zip(layers, schemes, strict=True))})))
    calibration = {"input": images[300:]}
    host = HostNetwork(quantize_model(model_path(), mixed, calibration=calibration, dims={"batch": 300}))
    logits = host.run({"input": images[:300]})["logits"]
    assert np.mean(logits.argmax(1) == labels[:300]) >= 0.91  # FP32 has 0.937
    schedule = build(prepare(model_path(), mixed, calibration=calibration), SPATZ)
    given = {"input": images[:1]}
    got = by_simulator(schedule, given, timed=True)[0]
    assert same_bits([got], by_schedule(schedule, given))
    assert np.abs(got[0] - logits[0]).max() < 0.1 * np.abs(logits[0]).max()
