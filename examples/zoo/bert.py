"""Encoders of the BERT family from their tensors, as ONNX, with the pooling of a sentence encoder behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from potluck.zoo.graphs import GraphBuilder

LOWEST = float(np.finfo(np.float32).min)
"""Added to the scores of padding, as exporters have it."""


def build(
    tensors: Mapping[str, NDArray[Any]], heads: int, epsilon: float, sequence: int, layers: int | None = None
) -> onnx.ModelProto:
    """The network: mean of the tokens' last states, of length 1.

    Args:
        tensors: By their names in transformers' BertModel.
        heads: Of attention.
        epsilon: Of the norms.
        sequence: Tokens, padding included.
        layers: Only the first so many blocks.

    Returns:
        Inputs ``input_ids`` and ``attention_mask`` INT64 [1, sequence], the second 1 for tokens and 0 for padding.
        Output ``embedding`` [1, width].
    """
    return _Encoder(tensors, heads, epsilon, sequence).build(layers)


class _Encoder:
    """Emits the nodes."""

    def __init__(
        self, tensors: Mapping[str, NDArray[Any]], heads: int, epsilon: float, sequence: int
    ) -> None:
        self.tensors, self.heads, self.epsilon, self.sequence = tensors, heads, epsilon, sequence
        self.width = tensors["embeddings.word_embeddings.weight"].shape[1]
        self.g = GraphBuilder()

    def build(self, layers: int | None) -> onnx.ModelProto:
        g, s = self.g, self.sequence
        tokens = g.input("input_ids", TensorProto.INT64, (1, s))
        present = g.input("attention_mask", TensorProto.INT64, (1, s))
        floats = g.op("Cast", present, to=TensorProto.FLOAT, name="present")
        x = self._embed(tokens)
        wide = g.op("Unsqueeze", floats, g.integers(1, 2), name="present_wide")
        absent = g.op("Sub", g.number(1.0), wide, name="absent")
        mask = g.op("Mul", absent, g.number(LOWEST), name="mask")
        held = {int(name.split(".")[2]) for name in self.tensors if name.startswith("encoder.layer.")}
        for layer in sorted(held)[:layers]:
            g.enter(f"encoder.layer.{layer}")
            prefix = f"encoder.layer.{layer}"
            mixed = self._attention(x, mask, f"{prefix}.attention")
            x = self._norm(
                g.op("Add", mixed, x, name="attention.add"), f"{prefix}.attention.output.LayerNorm"
            )
            up = g.op("Gelu", self._dense(x, f"{prefix}.intermediate.dense"), name="intermediate.gelu")
            down = self._dense(up, f"{prefix}.output.dense")
            x = self._norm(g.op("Add", down, x, name="output.add"), f"{prefix}.output.LayerNorm")
            g.leave()
        g.output(self._pooled(x, floats), "embedding", (1, self.width))
        return g.model("bert")

    def _constant(self, name: str) -> str:
        return self.g.constant(name, self.tensors[name])

    def _embed(self, tokens: str) -> str:
        g, s = self.g, self.sequence
        words = g.op("Gather", self._constant("embeddings.word_embeddings.weight"), tokens, name="words")
        places = self.tensors["embeddings.position_embeddings.weight"][:s]
        kind = self.tensors["embeddings.token_type_embeddings.weight"][:1]
        x = g.op("Add", words, g.constant("embeddings.token_type", kind), name="words_of_kind")
        x = g.op("Add", x, g.constant("embeddings.position", places), name="embeddings")
        return self._norm(x, "embeddings.LayerNorm")

    def _norm(self, x: str, name: str) -> str:
        gain, offset = self._constant(f"{name}.weight"), self._constant(f"{name}.bias")
        short = name.split("layer.")[-1].partition(".")[2] if "layer." in name else name
        return self.g.op("LayerNormalization", x, gain, offset, axis=-1, epsilon=self.epsilon, name=short)

    def _dense(self, x: str, name: str) -> str:
        g, short = self.g, ".".join(name.split(".")[3:])
        weight = g.constant(f"{name}.weight", self.tensors[f"{name}.weight"].T)
        product = g.op("MatMul", x, weight, name=f"{short}.matmul")
        return g.op("Add", product, self._constant(f"{name}.bias"), name=f"{short}.add")

    def _attention(self, x: str, mask: str, name: str) -> str:
        g, size = self.g, self.width // self.heads
        parts = {}
        for part, perm in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
            made = self._dense(x, f"{name}.self.{part}")
            made = g.op("Reshape", made, g.integers(1, self.sequence, self.heads, size), name=f"{part}.split")
            parts[part] = g.op("Transpose", made, perm=perm, name=f"{part}.heads")
        scores = g.op("MatMul", parts["query"], parts["key"], name="scores")
        scores = g.op("Div", scores, g.number(size**0.5), name="scores.scaled")
        shares = g.op("Softmax", g.op("Add", scores, mask, name="scores.masked"), axis=-1, name="shares")
        mixed = g.op(
            "Transpose", g.op("MatMul", shares, parts["value"], name="mixed"), perm=[0, 2, 1, 3], name="back"
        )
        joined = g.op("Reshape", mixed, g.integers(1, self.sequence, self.width), name="joined")
        return self._dense(joined, f"{name}.output.dense")

    def _pooled(self, x: str, floats: str) -> str:
        """Mean over the tokens that are no padding, divided by its length."""
        g = self.g
        weights = g.op("Unsqueeze", floats, g.integers(-1), name="pool.weights")
        total = g.op(
            "ReduceSum", g.op("Mul", x, weights, name="pool.held"), g.integers(1), keepdims=0, name="pool.sum"
        )
        count = g.op("ReduceSum", weights, g.integers(1), keepdims=0, name="pool.count")
        mean = g.op("Div", total, g.op("Clip", count, g.number(1e-9), name="pool.most"), name="pool.mean")
        length = g.op("ReduceL2", mean, g.integers(1), keepdims=1, name="pool.length")
        return g.op(
            "Div", mean, g.op("Clip", length, g.number(1e-12), name="pool.positive"), name="pool.unit"
        )
