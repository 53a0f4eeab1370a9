"""Lines of text, what is read out of the recognizer's outputs, and how both networks are judged."""

import numpy as np
import pytest

from potluck.compiler.importer import load
from potluck.evaluation.samples import Samples
from potluck.zoo import ocr, writing


def probabilities(*rows):
    """Outputs whose best classes are these."""
    made = np.full((len(rows), len(rows[0]), 9), 0.01, np.float32)
    for row, best in zip(made, rows, strict=True):
        row[np.arange(len(best)), best] = 0.9
    return made


def test_repeats_and_blanks_are_left_out():
    found = ocr.read_out(
        probabilities([0, 3, 3, 0, 3, 5], [5, 5, 5, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1, 2, 1, 1, 0, 1])
    )
    assert found == [[3, 3, 5], [5], [], [1, 2, 1, 1]]


def test_spaces_do_not_count(monkeypatch):
    monkeypatch.setattr(ocr, "alphabet", lambda: ("", "a", "b", "c", " "))
    labels = np.array([[1, 4, 2, -1], [1, 2, -1, -1], [3, 3, -1, -1]])
    found = ocr.right_lines(probabilities([1, 2, 0, 0], [1, 4, 2, 0], [3, 3, 3, 3]), Samples({}, labels))
    assert found.count == 3 and found.value == pytest.approx(200 / 3)


def test_the_alphabet_is_the_file_s(zoo):
    zoo("ppocr-rec")
    assert len(ocr.alphabet()) == 6625 and ocr.alphabet()[0] == "" and ocr.alphabet()[-1] == " "
    assert set("azAZ09.,'-") <= set(ocr.alphabet())


def test_weights_in_constants_are_found(zoo):
    """Paddle's exporter keeps every weight in a Constant node; the importer lifts them."""
    source = zoo("ppocr-rec").model()
    assert not source.graph.initializer
    model = load(source, {ocr.BATCH: 1, **ocr.RECOGNIZER.dims})
    assert not [node for node in model.graph if node.op_type == "Constant"]
    convolutions = [node for node in model.graph if node.op_type == "Conv"]
    assert len(convolutions) == 38  # as facts about the file have it
    assert all(node.inputs[1].name in model.graph.initializers for node in convolutions)


def test_lines_fit_their_labels(zoo):
    zoo("ppocr-rec")
    texts = writing.lines(ocr.CHARACTERS)
    assert len(texts) > 120 and all(len(text) <= ocr.CHARACTERS and text.strip() == text for text in texts)
    samples = ocr.strips(texts[:3], 7)
    assert ["".join(ocr.alphabet()[item] for item in row if item >= 0) for row in samples.labels] == list(
        texts[:3]
    )
    assert samples.inputs["x"].shape == (3, 3, 48, 320) and np.abs(samples.inputs["x"]).max() <= 1
    again = ocr.strips(texts[:3], 7)
    assert np.array_equal(again.inputs["x"], samples.inputs["x"])
    assert not np.array_equal(ocr.strips(texts[:3], 8).inputs["x"], samples.inputs["x"])


def test_a_page_has_ink_where_its_boxes_are(zoo):
    zoo("ppocr-det")
    made = writing.page(100, 200, [("Some text", 20, 30, 24)], 3)
    ((left, top, right, bottom),) = made.boxes
    assert 20 <= left < right < 200 and 30 <= top < bottom < 100
    inside = made.pixels[top:bottom, left:right]
    outside = np.concatenate([made.pixels[: top - 2].ravel(), made.pixels[bottom + 2 :].ravel()])
    assert inside.min() < 120 < outside.min()


def test_overlap():
    labels = np.zeros((2, 4, 4), np.int64)
    labels[:, 1:3] = 1
    outputs = np.zeros((2, 1, 4, 4), np.float32)
    outputs[0, 0, 1:3] = 0.9  # all and nothing else
    outputs[1, 0, 1:2] = 0.31  # half of it: F = 2 * 4 / (4 + 8)
    assert ocr.overlap(outputs, Samples({}, labels)).value == pytest.approx(100 * (1 + 2 / 3) / 2)
