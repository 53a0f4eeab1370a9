"""The packaged ResNet-8 on Fashion-MNIST: no other package is needed for it."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from potluck.assets import load_test_images, model_path
from potluck.evaluation.samples import Samples
from potluck.zoo.measures import top1
from potluck.zoo.network import Network

CALIBRATION = 100


def samples() -> Samples:
    """900 held-out images."""
    images, labels = load_test_images()
    return Samples({"input": images[CALIBRATION:]}, labels[CALIBRATION:].astype(np.int64))


def calibration() -> dict[str, NDArray[np.float32]]:
    """100 others."""
    return {"input": load_test_images(CALIBRATION)[0]}


def model() -> onnx.ModelProto:
    """The network as the demo has it."""
    return onnx.load(model_path())


NETWORK = Network(
    name="resnet8",
    title="ResNet-8 on Fashion-MNIST images",
    packages=(),
    model=model,
    samples=samples,
    calibration=calibration,
    measure=top1,
    macs=9_345_920,
    fp32=93.89,
    origin="Potluck (Apache-2.0), trained by examples/train_resnet8.py",
)
