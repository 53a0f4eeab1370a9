"""What ships with the package: a trained network and held-out images (made by ``examples/train_resnet8.py``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEAN, STD = 0.2860, 0.3530


def model_path() -> Path:
    """The trained ResNet-8 as ONNX: input ``input`` [batch, 1, 28, 28], output ``logits`` [batch, 10]."""
    return Path(__file__).parent / "resnet8_fashion.onnx"


def test_images(count: int = 1000) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """The first ``count`` of the 1,000 held-out Fashion-MNIST images, normalized [count, 1, 28, 28], and labels."""
    with np.load(Path(__file__).parent / "fashion_test1000.npz") as data:
        images, labels = data["images"][:count], data["labels"][:count]
    return ((images[:, None].astype(np.float32) / 255 - MEAN) / STD).astype(np.float32), labels
