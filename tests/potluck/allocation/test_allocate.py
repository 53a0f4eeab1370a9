"""SigmaQuant on networks: its numbers are those of the quantized network, and of the machine."""

import json

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import potluck
from potluck.allocation.machine import attribute, layer_costs, simulate
from potluck.allocation.sigmaquant import Allocator, allocate
from potluck.allocation.targets import parse
from potluck.assets import load_test_images, model_path
from potluck.cli import app
from potluck.compiler.footprint import footprints
from potluck.compiler.host import HostNetwork
from potluck.compiler.schemes.assignment import load
from potluck.evaluation.network import Bench
from potluck.evaluation.samples import Samples
from potluck.isa.errors import DataError, ModelError
from potluck.isa.machine import load_machine

SPATZ = load_machine("spatz-mx")


def perceptron():
    """Three products that FP32, MX and integers can take."""
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 20]>
    g (float[batch, 64] x) => (float[batch, 10] y) {
      a = Gemm <transB = 1> (x, w0, b0)
      b = Relu (a)
      c = MatMul (b, w1)
      d = Relu (c)
      y = Gemm (d, w2)
    }""")
    return with_weights(model, w0=(96, 64), b0=(96,), w1=(96, 64), w2=(64, 10))


def images():
    """Two convolutions that MX makes faster, and a classifier."""
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 20]>
    g (float[batch, 32, 12, 12] x) => (float[batch, 10] y) {
      a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w0)
      b = Relu (a)
      c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (b, w1)
      d = GlobalAveragePool (c)
      e = Flatten (d)
      y = Gemm (e, w2)
    }""")
    return with_weights(model, w0=(64, 32, 3, 3), w1=(32, 64, 3, 3), w2=(32, 10))


def with_weights(model, **shapes):
    rng = np.random.default_rng(11)
    for name, shape in shapes.items():
        array = rng.standard_normal(shape).astype(np.float32) * 0.1
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def samples(count, *shape, seed=0):
    x = np.random.default_rng([seed, count]).standard_normal((count, *(shape or (64,))))
    return Samples({"x": x.astype(np.float32)})


@pytest.fixture(scope="module")
def bench():
    return Bench(perceptron(), samples(20).inputs)


INTEGERS, MX = ("int2", "int4", "int6", "int8"), ("mxfp4", "mxfp8", "fp32")


@pytest.mark.parametrize(
    ("target", "schemes"), [("size=60%", INTEGERS), ("bops=40%", MX), ("size=70%", ("pot_apot", "int8"))]
)
def test_the_assignment_costs_what_is_said(bench, target, schemes):
    allocator = Allocator(bench, parse(target), schemes, samples(120))
    found = allocate(allocator, samples(60), loss=0.2)
    model = bench.quantized(found.assignment, batch=1)
    stored = footprints(model, HostNetwork(model).constants)
    total = sum(item.bytes if target.startswith("size") else item.bops for item in stored)
    assert found.cost == total
    assert found.bytes == sum(item.bytes for item in stored)
    assert found.met
    assert total <= found.settings.most
    outputs = bench.evaluate(found.assignment, allocator.tuning).outputs
    same = outputs.argmax(1) == bench.reference(allocator.tuning).argmax(1)
    assert found.outcome.step.metric == pytest.approx(same.mean())
    assert set(found.assignment.layers.values()) != {schemes[-1]}


def test_costs_of_layers_add_up_to_the_simulation(bench):
    names = ("Gemm_0", "MatMul_2", "Gemm_4")
    for scheme in ("int8", "mxfp4", "fp32"):
        model = bench.quantized(scheme, batch=1)
        result = simulate(model, SPATZ, bench.calibration)
        found = attribute(result, names)
        assert list(found) == list(names)
        assert sum(cost.cycles for cost in found.values()) == result.cycles
        assert sum(cost.joules for cost in found.values()) == pytest.approx(result.energy_joules)
        assert layer_costs(model, SPATZ, bench.calibration, names) == found
        assert layer_costs(model, SPATZ, {}, names) == found  # from disk: nothing is simulated


@pytest.mark.parametrize("kind", ["cycles", "joules"])
def test_a_machine_s_target_is_judged_by_simulation(kind):
    shape = (32, 12, 12)
    bench = Bench(images(), samples(8, *shape).inputs)
    allocator = Allocator(bench, parse(f"{kind}=45%"), ("mxfp4", "mxfp8", "fp32"), samples(40, *shape), SPATZ)
    found = allocate(allocator, samples(30, *shape), loss=0.4)
    result = simulate(bench.quantized(found.assignment, batch=1), SPATZ, bench.calibration)
    assert found.met
    assert (
        found.cost == {"cycles": result.cycles, "joules": result.energy_joules}[kind] <= found.settings.most
    )
    for ladder in found.ladders.values():
        assert ladder[-1] == "fp32"


def test_what_is_wrong_is_named(bench):
    with pytest.raises(DataError, match="machine"):
        Allocator(bench, parse("cycles=50%"), ("mxfp4", "fp32"), samples(10))
    with pytest.raises(DataError, match="between schemes"):
        Allocator(bench, parse("size=50%"), ("mxfp4",), samples(10))
    with pytest.raises(DataError, match="rotated"):
        Allocator(bench, parse("size=50%"), ("bbq2", "int8"), samples(10))
    with pytest.raises(ModelError, match="nobody"):
        Allocator(bench, parse("size=50%"), ("int4", "int8"), samples(10), exclude=["nobody"])
    allocator = Allocator(
        bench, parse("size=60%"), ("int4", "int8"), samples(30), metric="sqnr", exclude=["w0"]
    )
    assert allocator.layers == ("MatMul_2", "Gemm_4")
    with pytest.raises(DataError, match="least"):
        allocate(allocator, samples(10))
    found = allocate(allocator, samples(10), least=10.0)
    assert found.metric == "sqnr"
    assert found.met


def test_command_writes_what_other_commands_read(tmp_path):
    images, labels = load_test_images(240)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)  # any name serves for the only input
    arguments = [
        "allocate",
        str(model_path()),
        "--data",
        str(tmp_path / "data.npz"),
        "-o",
        str(tmp_path / "a.json"),
    ]
    more = [
        "--target",
        "size=65%",
        "--schemes",
        "int4,int6,int8",
        "--loss",
        "2",
        "--json",
        str(tmp_path / "r.json"),
    ]
    result = CliRunner().invoke(app, [*arguments, *more], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["status"] == "met"
    assert report["cost"] <= 0.65 * report["uniform"]["int8"]["cost"] + 1
    assert (
        report["cost"] < report["uniform"]["int6"]["cost"]
    )  # of the uniform networks only INT4 is as small,
    assert report["tuning_metric"] >= report["uniform"]["int4"]["tuning_metric"]  # and it is no better
    hashes = {part["sha256"] for part in report["data"].values()}
    assert len(hashes) == 3
    assert sum(part["samples"] for part in report["data"].values()) == 240
    assert load(tmp_path / "a.json").layers == report["assignment"]["layers"]
    found = potluck.run(model_path(), {"input": images[:1]}, load(tmp_path / "a.json"))
    assert found.outputs["logits"].argmax() == labels[0]

    result = CliRunner().invoke(app, [*arguments, "--target", "size=10%"], catch_exceptions=False)
    assert result.exit_code == 3
    assert "infeasible" in result.output
