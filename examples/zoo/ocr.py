"""PP-OCRv4's recognizer and detector as `rapidocr-onnxruntime` carries them: Paddle's export, weights in Constants."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from potluck.evaluation.metrics import bootstrap
from potluck.evaluation.samples import Samples
from potluck.zoo import packages, writing
from potluck.zoo.measures import Measure, share
from potluck.zoo.network import Network

PACKAGE = "rapidocr-onnxruntime"
MODELS = "rapidocr_onnxruntime/models/"
BATCH = "p2o.DynamicDimension.0"
HEIGHT, WIDTH, CHARACTERS = 48, 320, 20
SIDE = 320
"""Of the detector's pages."""
THRESHOLD = 0.3
"""Above it a pixel belongs to text (``Det.thresh`` of the package's settings)."""
SHRINK = 0.4
"""The detector finds boxes shrunk by this ratio (DBNet, Liao et al. 2020, section 3.5)."""
BLANK, NOTHING = 0, -1
"""The class between characters, and what fills rows of labels."""


def recognizer() -> onnx.ModelProto:
    """``x`` float32 [n, 3, 48, 320] to probabilities [n, 40, 6625]."""
    return onnx.load_from_string(packages.read(PACKAGE, f"{MODELS}ch_PP-OCRv4_rec_infer.onnx"))


def detector() -> onnx.ModelProto:
    """``x`` float32 [n, 3, height, width] to the probability of text [n, 1, height, width]."""
    return onnx.load_from_string(packages.read(PACKAGE, f"{MODELS}ch_PP-OCRv4_det_infer.onnx"))


@cache
def alphabet() -> tuple[str, ...]:
    """What each class of the recognizer stands for; the file keeps it in its metadata."""
    (held,) = [item.value for item in recognizer().metadata_props if item.key == "character"]
    return ("", *held.splitlines(), " ")


def normalized(pixels: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Grey levels as three channels between -1 and 1, [n, 3, height, width]."""
    scaled = np.stack(pixels)[:, None] / np.float32(127.5) - np.float32(1)
    return np.ascontiguousarray(np.repeat(scaled, 3, 1))


def strip(text: str, seed: int) -> NDArray[np.float32]:
    """A line of text as the recognizer takes it: as high as the strip, squeezed if it is longer, then middle grey."""
    from PIL import Image

    drawn = writing.page(HEIGHT, 640, [(text, 8, 4, 32)], seed)
    seen = drawn.pixels[:, : min(640, drawn.boxes[0][2] + 8)]
    if seen.shape[1] > WIDTH:
        picture = Image.fromarray(seen.astype(np.uint8))
        seen = np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR), np.float32)
    full = np.full((HEIGHT, WIDTH), 127.5, np.float32)
    full[:, : seen.shape[1]] = seen
    return full


def strips(texts: tuple[str, ...], seed: int) -> Samples:
    """Lines with the classes of their characters."""
    known = {character: index for index, character in enumerate(alphabet())}
    labels = np.full((len(texts), CHARACTERS), NOTHING, np.int64)
    for row, text in zip(labels, texts, strict=True):
        row[: len(text)] = [known[character] for character in text]
    return Samples({"x": normalized([strip(text, seed + k) for k, text in enumerate(texts)])}, labels)


def read_out(outputs: NDArray[Any]) -> list[list[int]]:
    """Classes of each line: the best of each position, repeats and blanks left out (CTC, Graves et al. 2006)."""
    best = outputs.argmax(-1)
    kept = np.concatenate([np.ones((len(best), 1), bool), best[:, 1:] != best[:, :-1]], 1) & (best != BLANK)
    return [[int(item) for item in row[which]] for row, which in zip(best, kept, strict=True)]


def right_lines(outputs: NDArray[Any], samples: Samples) -> Measure:
    """Percentage of lines in which every character is right but spaces, which the network often drops."""
    assert samples.labels is not None
    ignored = (NOTHING, len(alphabet()) - 1)
    found = [[item for item in row if item not in ignored] for row in read_out(outputs)]
    wanted = [[int(item) for item in row if item not in ignored] for row in samples.labels]
    return share("lines right %", np.array([a == b for a, b in zip(found, wanted, strict=True)]))


def pages(count: int, seed: int) -> Samples:
    """Pages of four to six lines, with the shrunk boxes of the lines as a mask."""
    texts, pictures = writing.lines(CHARACTERS), []
    masks = np.zeros((count, SIDE, SIDE), np.int64)
    for index, mask in enumerate(masks):
        chosen = np.random.Generator(np.random.Philox([seed, index]))
        rows = int(chosen.integers(4, 7))
        step = SIDE // rows
        placed = [
            (texts[int(chosen.integers(len(texts)))], int(chosen.integers(8, 40)),
             row * step + int(chosen.integers(4, step - 34)), int(chosen.integers(18, 27)))
            for row in range(rows)
        ]  # fmt: skip
        made = writing.page(SIDE, SIDE, placed, seed + index)
        pictures.append(made.pixels)
        for left, top, right, bottom in made.boxes:
            width, height = right - left, bottom - top
            inward = round(width * height * (1 - SHRINK**2) / (2 * (width + height)))
            mask[top + inward : bottom - inward, left + inward : right - inward] = 1
    return Samples({"x": normalized(pictures)}, masks)


def text_found(outputs: NDArray[Any]) -> NDArray[np.bool_]:
    """Which pixels belong to text."""
    return np.asarray(outputs > THRESHOLD)


def overlap(outputs: NDArray[Any], samples: Samples) -> Measure:
    """F-measure of the pixels that belong to (shrunk) lines, mean over pages, with its bootstrap interval."""
    assert samples.labels is not None
    found, wanted = text_found(outputs[:, 0]), samples.labels == 1
    both = (found & wanted).sum((1, 2))
    each = 2 * both / np.maximum(1, found.sum((1, 2)) + wanted.sum((1, 2)))
    made = bootstrap(each.astype(np.float64))
    return Measure("pixel F %", 100 * made.value, 100 * made.low, 100 * made.high, len(each))


RECOGNIZER = Network(
    name="ppocr-rec",
    title="PP-OCRv4 recognizer on rendered lines",
    packages=(PACKAGE, *writing.PACKAGES),
    model=recognizer,
    samples=lambda: strips(writing.lines(CHARACTERS)[:100], 1000),
    calibration=lambda: dict(strips(writing.lines(CHARACTERS)[100:120], 2000).inputs),
    measure=right_lines,
    macs=701_701_440,
    fp32=99.0,
    unit="% lines",
    origin="PaddleOCR (Apache-2.0); fonts: Adobe (OFL-1.1)",
    dims={"?": HEIGHT, "p2o.DynamicDimension.1": WIDTH},
)
DETECTOR = Network(
    name="ppocr-det",
    title="PP-OCRv4 detector on rendered pages",
    packages=(PACKAGE, *writing.PACKAGES),
    model=detector,
    samples=lambda: pages(20, 3000),
    calibration=lambda: dict(pages(8, 4000).inputs),
    measure=overlap,
    macs=575_567_744,
    fp32=84.5,
    unit="% F",
    origin="PaddleOCR (Apache-2.0); fonts: Adobe (OFL-1.1)",
    dims={"p2o.DynamicDimension.1": SIDE, "p2o.DynamicDimension.2": SIDE},
    decide=text_found,
)
