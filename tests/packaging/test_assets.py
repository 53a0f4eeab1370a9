"""The packaged network and images: clean to import, and as accurate as the README beside them says."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnxruntime
import pytest

from potluck import assets
from potluck.isa.errors import DataError

OPERATORS = {"Conv", "BatchNormalization", "Relu", "Add", "GlobalAveragePool", "Flatten", "Gemm"}


def test_network_holds_only_plain_operators() -> None:
    model = onnx.load(assets.model_path())
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node} == OPERATORS
    assert [value.name for value in model.graph.input] == ["input"]
    assert [value.name for value in model.graph.output] == ["logits"]
    assert assets.model_path().stat().st_size < 1 << 20


def test_network_is_as_accurate_as_documented() -> None:
    images, labels = assets.load_test_images()
    assert images.dtype == np.float32 and images.shape == (1000, 1, 28, 28)
    session = onnxruntime.InferenceSession(assets.model_path(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input": images})
    right = int((logits.argmax(axis=1) == labels).sum())
    readme = (assets.model_path().parent / "README.md").read_text()
    documented = re.search(r"\*\*([0-9.]+) %\*\* of the 1,000 packaged images", readme)
    assert documented
    # Another host sums in another order: an image on the border between two classes may fall the other way.
    assert right == pytest.approx(10 * float(documented[1]), abs=2)


def test_images_are_normalized_as_in_training() -> None:
    with np.load(assets.images_path()) as data:
        raw = data["images"][:2]
    images, labels = assets.load_test_images(2)
    np.testing.assert_allclose(images[:, 0], (raw / 255 - 0.2860) / 0.3530, rtol=0, atol=1e-6)
    assert [assets.class_names()[label] for label in labels] == ["Ankle boot", "Pullover"]


@pytest.mark.parametrize("n", [0, -1, 1001])
def test_a_wrong_number_of_images_is_an_error(n: int) -> None:
    with pytest.raises(DataError, match=f"{n} test images asked for, 1000 are packaged"):
        assets.load_test_images(n)
