"""Decoders of the Llama family from a GGUF file, as ONNX: grouped-query attention, rotary positions, SwiGLU.

The graph is of static shape and what an exporter writes: no operator newer than opset 20. Two forms of one network:

* ``past == 0``: a prompt of ``sequence`` tokens from position 0; the causal mask is a constant.
* ``past > 0``: ``sequence`` tokens behind a cache with room for ``past``, of which the input ``position`` says how many
  are there. One program so serves every step of a generation.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from potluck.isa.errors import DataError
from potluck.zoo import packages
from potluck.zoo.graphs import GraphBuilder

F32 = NDArray[np.float32]
MASKED = -1e9
"""Added to the scores of what a token must not see."""


@dataclass(frozen=True)
class Config:
    """Sizes of a decoder, as the file's metadata state them.

    Attributes:
        layers: Blocks.
        width: Of the residual stream.
        heads: Of queries.
        groups: Heads of keys and values; as many heads of queries share each.
        hidden: Of the feed-forward network.
        vocabulary: Tokens.
        theta: Base of the rotary frequencies.
        epsilon: Of the norms.
        head: Width of a head; 0: what the residual stream gives each.
    """

    layers: int
    width: int
    heads: int
    groups: int
    hidden: int
    vocabulary: int
    theta: float
    epsilon: float
    head: int = 0

    def __post_init__(self) -> None:
        if not self.head:
            object.__setattr__(self, "head", self.width // self.heads)


class Source(Protocol):
    """Where a decoder's sizes and weights come from."""

    @property
    def config(self) -> Config:
        """Its sizes."""
        ...

    def tensor(self, name: str, rows: int | None = None) -> F32:
        """See `Weights.tensor`."""
        ...

    def rotary(self, name: str, heads: int) -> F32:
        """See `Weights.rotary`."""
        ...


class Seeded:
    """Weights from a fixed seed, for networks whose sizes are all that matters.

    Args:
        config: Sizes.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        c, q, kv = config, config.heads * config.head, config.groups * config.head
        self._shapes = {
            "token_embd": (c.vocabulary, c.width), "attn_q": (q, c.width), "attn_k": (kv, c.width),
            "attn_v": (kv, c.width), "attn_output": (c.width, q), "ffn_gate": (c.hidden, c.width),
            "ffn_up": (c.hidden, c.width), "ffn_down": (c.width, c.hidden),
        }  # fmt: skip

    def tensor(self, name: str, rows: int | None = None) -> F32:
        """See `Weights.tensor`; norms are ones."""
        kind = name.split(".")[-2]
        if kind not in self._shapes:
            return np.ones(self.config.width, np.float32)
        shape = self._shapes[kind]
        generator = np.random.Generator(np.random.Philox(zlib.crc32(name.encode())))
        values = generator.standard_normal((rows or shape[0], shape[1]), np.float32)
        return values * np.float32(shape[1] ** -0.5)

    def rotary(self, name: str, heads: int) -> F32:
        """See `Weights.rotary`."""
        return self.tensor(name)


class Weights:
    """A GGUF file of architecture ``llama``: its sizes, its tensors in FP32, its metadata."""

    def __init__(self, path: Path) -> None:
        with packages.extra("reading a GGUF file"):
            import gguf

        self._dequantize = gguf.quants.dequantize
        reader = gguf.GGUFReader(path)
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        self._fields = reader.fields
        architecture = self.metadata("general.architecture")
        if architecture != "llama":
            raise DataError(f"{str(path)!r} holds a network of architecture {architecture!r}, not 'llama'")
        self.config = Config(
            layers=self.metadata("llama.block_count"),
            width=self.metadata("llama.embedding_length"),
            heads=self.metadata("llama.attention.head_count"),
            groups=self.metadata("llama.attention.head_count_kv"),
            hidden=self.metadata("llama.feed_forward_length"),
            vocabulary=len(self.metadata("tokenizer.ggml.tokens")),
            theta=self.metadata("llama.rope.freq_base"),
            epsilon=self.metadata("llama.attention.layer_norm_rms_epsilon"),
        )

    def metadata(self, key: str) -> Any:
        """A value of the file's metadata.

        Raises:
            DataError: There is none.
        """
        if key not in self._fields:
            raise DataError(f"the GGUF file has no metadata {key!r}")
        return self._fields[key].contents()

    def tensor(self, name: str, rows: int | None = None) -> F32:
        """A tensor in FP32, outermost dimension first: [out, in] for a matrix.

        Args:
            name: In the file.
            rows: Only the first so many of its outermost dimension.
        """
        held = self._tensors[name]
        values = self._dequantize(held.data[:rows], held.tensor_type)
        return np.asarray(values, np.float32).reshape(-1, *(int(size) for size in held.shape[::-1][1:]))

    def rotary(self, name: str, heads: int) -> F32:
        """A projection of queries or keys in the order that halves of a head rotate in.

        llama.cpp stores the two halves of each head interleaved, as its rotation takes neighbours.
        """
        stored = self.tensor(name)
        rows, columns = stored.shape
        return stored.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


@lru_cache(maxsize=1)
def weights(path: Path) -> Weights:
    """The file's content; the last one read is kept."""
    return Weights(path)


def rotations(config: Config, count: int) -> tuple[F32, F32]:
    """Cosines and sines [count, head] of the positions from 0 on; each half of a head has the same ones."""
    frequencies = config.theta ** (-np.arange(0, config.head, 2) / config.head)
    angles = np.outer(np.arange(count), np.concatenate([frequencies, frequencies]))
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def build(
    source: Source,
    sequence: int,
    past: int = 0,
    *,
    layers: int | None = None,
    vocabulary: int | None = None,
) -> onnx.ModelProto:
    """The network.

    Args:
        source: Its weights.
        sequence: Tokens of one call.
        past: Tokens that the cache has room for; 0 for a prompt from the beginning.
        layers: Only the first so many blocks.
        vocabulary: Only the first so many tokens.

    Returns:
        Inputs ``tokens`` INT64 [1, sequence], with a cache ``position`` INT64 [1] (the tokens in it) and
        ``past.L.key``, ``past.L.value`` [1, groups, past, head]. Outputs ``logits`` [1, sequence, vocabulary] and
        ``present.L.key``, ``present.L.value`` [1, groups, sequence, head], the keys and values of these tokens.
    """
    return _Decoder(source, sequence, past, layers, vocabulary).build()


class _Decoder:
    """Emits the nodes."""

    def __init__(
        self, source: Source, sequence: int, past: int, layers: int | None, vocabulary: int | None
    ) -> None:
        self.source, self.config = source, source.config
        self.sequence, self.past = sequence, past
        self.layers = min(layers or self.config.layers, self.config.layers)
        self.vocabulary = min(vocabulary or self.config.vocabulary, self.config.vocabulary)
        self.g = GraphBuilder()
        self.position = ""
        self.present: dict[str, str] = {}  # outputs behind the logits, which are the network's first

    def build(self) -> onnx.ModelProto:
        g, config = self.g, self.config
        tokens = g.input("tokens", TensorProto.INT64, (1, self.sequence))
        if self.past:
            self.position = g.input("position", TensorProto.INT64, (1,))
        self.cosines, self.sines, self.mask = self._positions()
        table = g.constant("embedding", self.source.tensor("token_embd.weight", self.vocabulary))
        x = g.op("Gather", table, tokens, name="embed")
        for layer in range(self.layers):
            g.enter(f"layers.{layer}")
            x = g.op("Add", x, self._attention(layer, x), name="attention")
            x = g.op("Add", x, self._feed_forward(layer, x), name="feed_forward")
            g.leave()
        x = self._norm(x, "output_norm.weight", "norm")
        logits = g.op("MatMul", x, g.op("Transpose", table, perm=[1, 0], name="head"), name="logits_of")
        g.output(logits, "logits", (1, self.sequence, self.vocabulary))
        for name, made in self.present.items():
            g.output(made, name, (1, config.groups, self.sequence, config.head))
        return g.model(f"llama_{self.layers}x{config.width}")

    def _positions(self) -> tuple[str, str, str]:
        """Cosines, sines and mask: constants, or made from ``position``."""
        g, s = self.g, self.sequence
        tables = rotations(self.config, self.past + s)
        causal = g.constant("causal", np.triu(np.full((s, s), MASKED, np.float32), 1))
        if not self.past:
            cosines, sines = (
                g.constant(name, table) for name, table in zip(("cos", "sin"), tables, strict=True)
            )
            return cosines, sines, causal
        steps = g.constant("steps", np.arange(s, dtype=np.int64))
        places = g.op("Add", self.position, steps, name="places")
        cosines, sines = (
            g.op("Gather", g.constant(f"{name}_table", table), places, name=name)
            for name, table in zip(("cos", "sin"), tables, strict=True)
        )
        slots = g.constant("slots", np.arange(self.past, dtype=np.int64)[None])
        held = g.op("Less", slots, self.position, name="held")
        seen = g.op("Where", held, g.number(0.0), g.number(MASKED), name="seen")
        if s > 1:
            seen = g.op("Expand", seen, g.integers(s, self.past), name="seen_by_each")
        return cosines, sines, g.op("Concat", seen, causal, axis=1, name="mask")

    def _norm(self, x: str, weight: str, name: str) -> str:
        """Root mean square norm, in the operators that exporters write."""
        g = self.g
        square = g.op("Mul", x, x, name=f"{name}.square")
        mean = g.op("ReduceMean", square, g.integers(-1), keepdims=1, name=f"{name}.mean")
        root = g.op(
            "Sqrt",
            g.op("Add", mean, g.number(self.config.epsilon), name=f"{name}.shifted"),
            name=f"{name}.root",
        )
        scaled = g.op("Div", x, root, name=f"{name}.scaled")
        return g.op("Mul", scaled, g.constant(weight, self.source.tensor(weight)), name=name)

    def _project(self, x: str, tensor: str, name: str, heads: int = 0) -> str:
        stored = self.source.rotary(tensor, heads) if heads else self.source.tensor(tensor)
        return self.g.op("MatMul", x, self.g.constant(tensor, stored.T), name=name)

    def _rotate(self, x: str, name: str) -> str:
        """x cos + rotate(x) sin, where rotate swaps the halves of a head and negates the one that comes first."""
        g, half = self.g, self.config.head // 2
        axis = g.integers(-1)
        first = g.op("Slice", x, g.integers(0), g.integers(half), axis, name=f"{name}.first")
        second = g.op("Slice", x, g.integers(half), g.integers(2 * half), axis, name=f"{name}.second")
        turned = g.op(
            "Concat", g.op("Neg", second, name=f"{name}.negated"), first, axis=-1, name=f"{name}.turned"
        )
        straight = g.op("Mul", x, self.cosines, name=f"{name}.by_cos")
        return g.op("Add", straight, g.op("Mul", turned, self.sines, name=f"{name}.by_sin"), name=name)

    def _heads(self, x: str, shape: tuple[int, ...], perm: list[int], name: str) -> str:
        split = self.g.op("Reshape", x, self.g.integers(*shape), name=f"{name}.split")
        return self.g.op("Transpose", split, perm=perm, name=name)

    def _attention(self, layer: int, x: str) -> str:
        g, c, s = self.g, self.config, self.sequence
        block, share = f"blk.{layer}", c.heads // c.groups
        normal = self._norm(x, f"{block}.attn_norm.weight", "attention_norm")
        query = self._project(normal, f"{block}.attn_q.weight", "query", c.heads)
        key = self._project(normal, f"{block}.attn_k.weight", "key", c.groups)
        value = self._project(normal, f"{block}.attn_v.weight", "value")
        query = self._heads(query, (1, s, c.groups, share, c.head), [0, 2, 3, 1, 4], "query_heads")
        key = self._heads(key, (1, s, c.groups, c.head), [0, 2, 1, 3], "key_heads")
        value = self._heads(value, (1, s, c.groups, c.head), [0, 2, 1, 3], "value_heads")
        query, key = self._rotate(query, "query_rotated"), self._rotate(key, "key_rotated")
        self.present |= {f"present.{layer}.key": key, f"present.{layer}.value": value}
        total = s + self.past
        if self.past:
            room = (1, c.groups, self.past, c.head)
            held = [g.input(f"past.{layer}.{name}", TensorProto.FLOAT, room) for name in ("key", "value")]
            key = g.op("Concat", held[0], key, axis=2, name="keys")
            value = g.op("Concat", held[1], value, axis=2, name="values")
        key = g.op("Reshape", key, g.integers(1, c.groups, 1, total, c.head), name="keys_shared")
        value = g.op("Reshape", value, g.integers(1, c.groups, 1, total, c.head), name="values_shared")
        scores = g.op(
            "MatMul", query, g.op("Transpose", key, perm=[0, 1, 2, 4, 3], name="keys_across"), name="scores"
        )
        scores = g.op("Mul", scores, g.number(c.head**-0.5), name="scores_scaled")
        shares = g.op("Softmax", g.op("Add", scores, self.mask, name="scores_masked"), axis=-1, name="shares")
        mixed = g.op("MatMul", shares, value, name="mixed")
        back = g.op("Transpose", mixed, perm=[0, 3, 1, 2, 4], name="mixed_by_token")
        joined = g.op("Reshape", back, g.integers(1, s, c.heads * c.head), name="heads_joined")
        return self._project(joined, f"{block}.attn_output.weight", "attention_output")

    def _feed_forward(self, layer: int, x: str) -> str:
        g, block = self.g, f"blk.{layer}"
        normal = self._norm(x, f"{block}.ffn_norm.weight", "feed_forward_norm")
        gate = self._project(normal, f"{block}.ffn_gate.weight", "gate")
        up = self._project(normal, f"{block}.ffn_up.weight", "up")
        active = g.op("Mul", gate, g.op("Sigmoid", gate, name="gate_sigmoid"), name="gate_active")
        return self._project(g.op("Mul", active, up, name="gated"), f"{block}.ffn_down.weight", "down")
