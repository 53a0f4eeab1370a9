"""The 20 labelled ImageNet photos that `foolbox` carries, as ImageNet networks take them."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.evaluation.samples import Samples
from potluck.zoo import packages

PACKAGE = "foolbox"
RESIZED, SIZE = 256, 224
UNLABELLED = -1
"""Label of a view of which nobody has said what it shows."""
CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))


def image(data: bytes) -> Any:
    """A decoded picture.

    Raises:
        ToolError: Pillow is not installed.
    """
    with packages.extra("reading pictures"):
        from PIL import Image
    return Image.open(io.BytesIO(data))


def labelled(dataset: str) -> list[tuple[bytes, int]]:
    """Pictures of one data set, in order, each with the class that its name says: ``imagenet_07_609.jpg``."""
    pattern = re.compile(rf"foolbox/data/{dataset}_\d+_(\d+)\.\w+")
    found = [(name, pattern.fullmatch(name)) for name in packages.names(PACKAGE)]
    return [(packages.read(PACKAGE, name), int(match[1])) for name, match in found if match]


def view(
    picture: Any, row: float, column: float, side: int = RESIZED, filter: str = "bilinear"
) -> NDArray[np.uint8]:
    """A square part of a picture whose shorter side becomes `side` pixels.

    Args:
        picture: As `image` gives it.
        row: Where it lies from top (0) to bottom (1).
        column: The same from left to right.
        side: Pixels; `SIZE` of them are seen.
        filter: How it is resized: as the network's training did, ``bilinear`` or ``bicubic``.

    Returns:
        [SIZE, SIZE, 3]
    """
    from PIL import Image

    width, height = picture.size
    scale = side / min(width, height)
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    pixels = np.asarray(picture.convert("RGB").resize(size, Image.Resampling[filter.upper()]))
    top, left = round(row * (size[1] - SIZE)), round(column * (size[0] - SIZE))
    return pixels[top : top + SIZE, left : left + SIZE]


def normalized(
    views: Sequence[NDArray[np.uint8]], mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """Pixels as a network was trained on them, [n, 3, SIZE, SIZE]."""
    scaled = np.stack(views).astype(np.float32) / np.float32(255)
    made = (scaled - np.array(mean, np.float32)) / np.array(std, np.float32)
    return np.ascontiguousarray(made.transpose(0, 3, 1, 2))


def samples(mean: Sequence[float], std: Sequence[float], filter: str = "bilinear") -> Samples:
    """The photos' centres with their labels, then their four corners without (for agreement): 100 in all."""
    pairs = [(image(data), label) for data, label in labelled("imagenet")]
    places = [(0.5, 0.5), *CORNERS]
    views = [view(picture, row, column, filter=filter) for row, column in places for picture, _ in pairs]
    labels = [label for _, label in pairs] + [UNLABELLED] * (len(pairs) * len(CORNERS))
    return Samples({"input": normalized(views, mean, std)}, np.array(labels, np.int64))


def views(mean: Sequence[float], std: Sequence[float], filter: str = "bilinear", side: int = 5) -> Samples:
    """``side`` times ``side`` views of every photo, from corner to corner, unlabelled: 500 in all."""
    places = [(row / (side - 1), column / (side - 1)) for row in range(side) for column in range(side)]
    pictures = [image(data) for data, _ in labelled("imagenet")]
    made = [view(picture, *place, filter=filter) for place in places for picture in pictures]
    return Samples({"input": normalized(made, mean, std)})


def calibration(mean: Sequence[float], std: Sequence[float]) -> dict[str, NDArray[np.float32]]:
    """Mirrored and closer views of the photos, for ranges of activations; none of them is among `samples`."""
    pictures = [image(data) for data, _ in labelled("imagenet")]
    places = ((0.3, 0.6), (0.7, 0.4))
    views = [view(picture, *place, 288)[:, ::-1] for picture in pictures for place in places]
    return {"input": normalized(views, mean, std)}
