"""Training after quantization: the module computes what the quantized network does, and training makes it better."""

import json

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from typer.testing import CliRunner

from potluck.cli import app
from potluck.compiler.host import HostNetwork
from potluck.compiler.ptq.products import product_of
from potluck.compiler.ptq.weights import quantized_weight
from potluck.compiler.quantizers.statistics import sqnr
from potluck.evaluation.network import Bench
from potluck.evaluation.samples import Samples
from potluck.isa.errors import DataError, ModelError
from potluck.train import Finetune
from potluck.train.finetune import exact_weights
from potluck.train.network import TrainableNetwork

SCHEMES = ("int8", "int4", "mxfp4", "mxfp6", "pot_apot", "nvfp4")

CNN = (
    """<ir_version: 10, opset_import: ["" : 20]>
    g (float[batch, 16, 8, 8] x) => (float[batch, 10] y) {
      a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (x, w0, b0)
      b = Relu (a)
      c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (b, w1, b1)
      d = Add (b, c)
      e = Relu (d)
      f = GlobalAveragePool (e)
      h = Flatten (f)
      y = Gemm (h, w2, b2)
    }""",
    {"w0": (32, 16, 3, 3), "b0": (32,), "w1": (32, 32, 3, 3), "b1": (32,), "w2": (32, 10), "b2": (10,)},
    (16, 8, 8),
)
ENCODER = (
    """<ir_version: 10, opset_import: ["" : 20]>
    g (float[batch, 6, 32] x) => (float[batch, 6, 32] y) {
      n = LayerNormalization <axis = -1> (x, s0, b0)
      q = MatMul (n, wq)
      k = MatMul (n, wk)
      v = MatMul (n, wv)
      kt = Transpose <perm = [0, 2, 1]> (k)
      raw = MatMul (q, kt)
      p = Softmax <axis = -1> (raw)
      m = MatMul (p, v)
      r = Add (x, m)
      u = MatMul (r, wu)
      ub = Add (u, bu)
      g1 = Gelu (ub)
      d = MatMul (g1, wd)
      y = Add (r, d)
    }""",
    {"s0": (32,), "b0": (32,), "wq": (32, 32), "wk": (32, 32), "wv": (32, 32), "wu": (32, 64), "bu": (64,),
     "wd": (64, 32)},
    (6, 32),
)  # fmt: skip
NETWORKS = {"cnn": CNN, "encoder": ENCODER}
WEIGHTS = {"cnn": 3, "encoder": 5}


def network(name):
    text, shapes, _ = NETWORKS[name]
    model, rng = onnx.parser.parse_model(text), np.random.default_rng(5)
    for weight, shape in shapes.items():
        array = (rng.standard_normal(shape) * 0.2).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, weight))
    return model


def samples(name, count, seed=0):
    shape = NETWORKS[name][2]
    x = np.random.default_rng([seed, count]).standard_normal((count, *shape)).astype(np.float32)
    return Samples({"x": x})


def bench(name, batch=8):
    return Bench(network(name), samples(name, 64).inputs, batch)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_module_computes_what_the_quantized_network_does(name, scheme):
    made = bench(name)
    model = made.quantized(scheme)
    x = samples(name, 8, seed=3).inputs["x"]
    module = TrainableNetwork(model, exact_weights(made.quantized("fp32")))
    with torch.no_grad():
        found = module({"x": torch.tensor(x)})["y"].numpy()
    expected = HostNetwork(model).run({"x": x})["y"]
    assert len(module.weights) == (
        0 if scheme == "nvfp4" else WEIGHTS[name]
    )  # two scales a weight: left as they are
    assert sqnr(expected, found) > 60  # sums are added in other orders, which may move an activation's code


@pytest.mark.parametrize("scheme", SCHEMES[:5])
def test_weights_start_at_the_codes_that_they_have(scheme):
    made = bench("cnn")
    model = made.quantized(scheme, ptq="gptq", keep=("none",))
    before = [held.ratio.copy() for node in model.graph if (held := weights_of(node))]
    TrainableNetwork(model, exact_weights(made.quantized("fp32"))).write()
    after = [held.ratio for node in model.graph if (held := weights_of(node))]
    assert len(before) == 3
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def weights_of(node):
    product = product_of(node)
    return quantized_weight(product.weight) if product is not None else None


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("scheme", ["int4", "mxfp4", "pot_qkeras"])
def test_training_brings_unseen_outputs_nearer_and_is_repeatable(name, scheme):
    made, test = bench(name, batch=16), samples(name, 64, seed=9)
    wanted = made.reference(test)
    plain = sqnr(wanted, made.evaluate(scheme, test).outputs)
    made.train = Finetune(60, seed=1)
    first, second = made.evaluate(scheme, test), made.evaluate(scheme, test)
    assert np.array_equal(first.outputs, second.outputs)
    assert sqnr(wanted, first.outputs) > plain + 0.3
    record = json.loads(first.model.metadata_props["potluck.ptq"])["train"]
    assert record["after"] < record["before"]


def test_another_batch_has_the_same_weights():
    made, test = bench("cnn", batch=16), samples("cnn", 16, seed=9)
    made.train = Finetune(10)
    many = made.trained("int4")
    one = made.resized(many, "int4", 1)
    expected = HostNetwork(many).run({"x": test.inputs["x"]})["y"]
    network = HostNetwork(one)
    found = np.concatenate([network.run({"x": x[None]})["y"] for x in test.inputs["x"]])
    assert sqnr(expected, found) > 60
    assert sqnr(expected, made.evaluate(made.quantized("int4"), test).outputs) < 60


def test_what_cannot_be_trained_is_named():
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 20]>
    g (float[2, 32] x) => (float[2, 32] y) { a = MatMul (x, w)  y = Round (a) }""")
    rng = np.random.default_rng(0)
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(rng.standard_normal((32, 32)).astype(np.float32), "w")
    )
    made = Bench(model, {"x": rng.standard_normal((8, 32)).astype(np.float32)}, train=Finetune(1))
    with pytest.raises(ModelError, match="Round cannot be trained through"):
        made.trained("int8")
    with pytest.raises(DataError, match="positive"):
        Finetune(0)


def test_allocation_trains_what_it_judges_and_writes_it(tmp_path):
    model = tmp_path / "net.onnx"
    onnx.save(network("cnn"), model)
    data = samples("cnn", 120)
    labels = bench("cnn").reference(data).argmax(1)
    np.savez(tmp_path / "data.npz", **data.inputs, labels=labels)
    paths = {name: tmp_path / name for name in ("a.json", "q.onnx", "r.json")}
    result = CliRunner().invoke(
        app,
        ["allocate", str(model), "--data", str(tmp_path / "data.npz"), "--target", "size=60%", "--loss", "30", "-o",
         str(paths["a.json"]), "--qat", "5", "--network", str(paths["q.onnx"]), "--json", str(paths["r.json"])],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = json.loads(paths["r.json"].read_text())
    assert report["mode"].startswith("QAT") and report["status"] == "met"
    written = ir.load(paths["q.onnx"])
    schemes = report["assignment"]["layers"]
    assert json.loads(written.metadata_props["potluck.scheme"])["layers"] == schemes
    held = [weights_of(node) for node in written.graph]
    assert sum(item is not None for item in held) == len(schemes)
