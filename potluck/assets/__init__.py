"""The packaged demo network and its held-out images; origin and licence are in this folder's README.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError

MEAN, STD = 0.2860, 0.3530
"""Mean and standard deviation of Fashion-MNIST's training pixels on the scale 0 to 1."""

_FOLDER = Path(__file__).parent


def model_path() -> Path:
    """The trained ResNet-8 as ONNX: ``input`` float32 [batch, 1, 28, 28], ``logits`` float32 [batch, 10]."""
    return _FOLDER / "resnet8_fashion.onnx"


def images_path() -> Path:
    """The .npz file with ``images`` uint8 [1000, 28, 28], ``labels`` uint8 [1000] and ``classes``."""
    return _FOLDER / "fashion_test1000.npz"


def normalize(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels as the network was trained on them.

    Args:
        images: grey levels [n, 28, 28].

    Returns:
        float32 [n, 1, 28, 28], of mean 0 and variance 1 over the training set.
    """
    scaled = images.astype(np.float32) / np.float32(255)
    return ((scaled - np.float32(MEAN)) / np.float32(STD))[:, None]


def load_test_images(n: int = 1000) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The first `n` images of Fashion-MNIST's test set, which the network was not trained on.

    Returns:
        Normalized images float32 [n, 1, 28, 28] and their labels uint8 [n].

    Raises:
        DataError: fewer than `n` images are packaged, or `n` is below 1.
    """
    images, labels = _read("images"), _read("labels")
    if not 1 <= n <= len(images):
        raise DataError(f"{n} test images asked for, {len(images)} are packaged", tensor="input")
    return normalize(images[:n]), labels[:n]


# The demo's name for it. A test module that imports this name would have pytest collect it as a test.
test_images = load_test_images


def class_names() -> tuple[str, ...]:
    """What each label stands for."""
    return tuple(str(name) for name in _read("classes"))


def _read(key: str) -> NDArray[Any]:
    with np.load(images_path()) as data:
        return np.asarray(data[key])
