"""Each network on its samples is worth what the zoo says, by onnxruntime alone."""

import hashlib
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from potluck.compiler.footprint import footprints
from potluck.compiler.host import HostNetwork
from potluck.compiler.importer import load
from potluck.evaluation.network import free_batch
from potluck.isa.errors import DataError, ToolError
from potluck.zoo import registry, smollm2
from potluck.zoo.builder import Builder
from potluck.zoo.efficientnet_lite0 import same_padding
from tests.zoo.conftest import VISION


def by_onnxruntime(model, samples, step=20):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    parts = [
        session.run(None, {name: array[i : i + step] for name, array in samples.inputs.items()})[0]
        for i in range(0, len(samples), step)
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize("name", VISION)
def test_the_metric_in_fp32(zoo, name):
    network = zoo(name)
    model, samples = network.model(), network.samples()
    onnx.checker.check_model(model, full_check=True)
    found = network.measure(by_onnxruntime(model, samples), samples)
    # Another host sums in another order: one sample on a border may fall the other way.
    assert found.value == pytest.approx(network.fp32, abs=0.01 + 100 / max(100, found.count))
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("name", VISION)
def test_multiply_accumulates(zoo, name):
    network = zoo(name)
    source = network.model()
    model = load(source, {**free_batch(source, 1), **network.dims})
    found = sum(item.macs for item in footprints(model, HostNetwork(model).constants))
    for node in model.graph:
        if node.op_type == "ConvTranspose":  # each input meets all weights of its channel
            found += int(np.prod(node.inputs[0].shape)) * int(np.prod(node.inputs[1].shape[1:]))
    assert found == network.macs


@pytest.mark.parametrize("name", VISION)
def test_no_sample_calibrates(zoo, name):
    network = zoo(name)
    (samples,) = network.samples().inputs.values()
    (calibration,) = network.calibration().values()
    assert calibration.shape[1:] == samples.shape[1:] and calibration.dtype == samples.dtype == np.float32
    seen = {hashlib.sha256(row.tobytes()).digest() for row in samples}
    assert len(seen) == len(samples)
    assert not seen & {hashlib.sha256(row.tobytes()).digest() for row in calibration}


def test_mobilenet_gets_all_labelled_photos_into_its_first_five(zoo):
    """torchvision says 90.29 % of ImageNet's validation set: 20 of 20 is what a right network does here."""
    network = zoo("mobilenetv2")
    samples = network.samples().part(slice(0, 20))
    order = np.argsort(by_onnxruntime(network.model(), samples), axis=1)[:, -5:]
    assert all(label in row for label, row in zip(samples.labels, order, strict=True))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "wanted"),
    [(224, 3, 2, [0, 0, 1, 1]), (112, 3, 1, [1, 1, 1, 1]), (56, 5, 2, [1, 1, 2, 2]), (7, 5, 1, [2, 2, 2, 2]),
     (15, 3, 2, [1, 1, 1, 1])],
)  # fmt: skip
def test_padding_of_tensorflow(size, kernel, stride, wanted):
    """SAME as TensorFlow documents it: tf.nn.convolution, "Notes on padding"."""
    pads = same_padding(size, kernel, stride)
    assert pads == wanted
    assert (size + pads[0] + pads[2] - kernel) // stride + 1 == -(-size // stride)


def test_a_name_nearby_is_suggested():
    with pytest.raises(DataError, match=r"no network 'mobilenet-v2' in the zoo\. Did you mean mobilenetv2"):
        registry.find("mobilenet-v2")


def test_a_checkpoint_of_another_network_is_refused():
    weights = {"a.weight": np.zeros((2, 3, 1, 1), np.float32), "b": np.zeros(2, np.float32)}
    b = Builder(weights)
    with pytest.raises(
        DataError, match=r"'a\.weight': the checkpoint has the shape \[2, 3, 1, 1\] for it, not"
    ):
        b.conv("input", "a", (2, 4, 1, 1))
    x = b.conv("input", "a", (2, 3, 1, 1))
    with pytest.raises(DataError, match=r"'c\.weight': the checkpoint lacks it"):
        b.conv(x, "c", (2, 2, 1, 1))
    with pytest.raises(DataError, match="'b': no layer of net uses this tensor"):
        b.model("net", (3, 4, 4), x, 2)


@pytest.mark.parametrize(
    ("name", "module"), [("mobilenetv2", "PIL"), ("minilm", "tokenizers"), ("smollm2", "gguf")]
)
def test_a_missing_extra_is_named(name, module, monkeypatch):
    network = registry.find(name)
    if network.missing():
        pytest.skip("its packages are not here")
    for loaded in [item for item in sys.modules if item.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    smollm2.weights.cache_clear()
    smollm2.tokenizer.cache_clear()
    with pytest.raises(ToolError, match=r"potluck\[models\]"):
        network.samples()
