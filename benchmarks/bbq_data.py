"""Data of `benchmarks.bbq`: three disjoint parts of Fashion-MNIST and of a text, each with its hash."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck import assets
from potluck.isa.errors import DataError

VALIDATION = 5000
"""Training images held back to choose the learning rate."""


@dataclass(frozen=True, eq=False)
class Parts:
    """Inputs and labels of training, validation and test; for text the labels are the next characters.

    Attributes:
        name: ``image`` or ``text``.
        parts: (inputs, labels) by part.
        classes: Labels.
    """

    name: str
    parts: dict[str, tuple[NDArray[Any], NDArray[np.int64]]]
    classes: int

    @property
    def hashes(self) -> dict[str, str]:
        """First 16 digits of the SHA-256 of each part's inputs."""
        return {
            key: hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()[:16]
            for key, (x, _) in self.parts.items()
        }


def _idx(path: Path) -> NDArray[np.uint8]:
    """An IDX file; byte 3 counts the dimensions, which follow as big-endian integers."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    shape = np.frombuffer(raw, ">i4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def images(folder: Path | None) -> Parts:
    """Fashion-MNIST from the four IDX files below ``folder``; None: the thousand packaged test images, for short runs.

    Raises:
        DataError: A file is missing.
    """
    if folder is None:
        x, y = assets.load_test_images()
        cuts = {"train": slice(0, 700), "validation": slice(700, 850), "test": slice(850, 1000)}
        flat, labels = x.reshape(len(x), -1), y.astype(np.int64)
        return Parts("image", {key: (flat[cut], labels[cut]) for key, cut in cuts.items()}, 10)
    found = {}
    for part in ("train", "t10k"):
        for kind in ("images", "labels"):
            paths = sorted(folder.rglob(f"{part}-{kind}-idx*"))
            if not paths:
                raise DataError(
                    f"no {part}-{kind}-idx* below {str(folder)!r}",
                    hint="apt-get install dataset-fashion-mnist",
                )
            found[part, kind] = _idx(paths[0])
    pixels, test = (assets.normalize(found[part, "images"]).reshape(-1, 784) for part in ("train", "t10k"))
    targets, test_targets = (found[part, "labels"].astype(np.int64) for part in ("train", "t10k"))
    return Parts(
        "image",
        {
            "train": (pixels[:-VALIDATION], targets[:-VALIDATION]),
            "validation": (pixels[-VALIDATION:], targets[-VALIDATION:]),
            "test": (test, test_targets),
        },
        10,
    )


def text() -> Parts:
    """CPython's help topics as characters: 90 % to train, 5 % each to validate and test, in this order.

    Characters that occur less than 20 times are one class.
    """
    from pydoc_data.topics import topics

    raw = np.frombuffer("\n".join(topics.values()).encode("ascii", "replace"), np.uint8)
    kept = np.flatnonzero(np.bincount(raw, minlength=256) >= 20)
    table = np.zeros(256, np.int64)
    table[kept] = np.arange(1, len(kept) + 1)
    ids = table[raw]
    first, second = len(ids) * 90 // 100, len(ids) * 95 // 100
    cuts = {"train": ids[:first], "validation": ids[first:second], "test": ids[second:]}
    return Parts("text", {key: (part[:-1], part[1:]) for key, part in cuts.items()}, len(kept) + 1)
