"""Sizes of published language models of Llama's kind: RMS norms, rotary positions, gated feed-forward, no biases."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from potluck.isa.errors import DataError


@dataclass(frozen=True)
class Family:
    """A language model.

    Attributes:
        name: on the command line.
        layers: blocks.
        width: of the residual stream.
        heads: of queries.
        groups: heads of keys and values.
        hidden: of the feed-forward network.
        vocabulary: tokens.
        tied: whether the embedding is the head's matrix, too.
        source: of the sizes.
    """

    name: str
    layers: int
    width: int
    heads: int
    groups: int
    hidden: int
    vocabulary: int
    tied: bool
    source: str

    @property
    def head(self) -> int:
        """Width of a head."""
        return self.width // self.heads

    @property
    def layer_weights(self) -> int:
        """Weights of the matrices of a layer."""
        return self.width * self.head * (2 * self.heads + 2 * self.groups) + 3 * self.width * self.hidden

    @property
    def embedding(self) -> int:
        """Weights of the embedding, and of the head."""
        return self.width * self.vocabulary

    @property
    def parameters(self) -> int:
        """All weights, norms included."""
        norms = self.width * (2 * self.layers + 1)
        return self.layers * self.layer_weights + self.embedding * (1 if self.tied else 2) + norms

    def cache_values(self, context: int) -> int:
        """Keys and values of a sequence of so many tokens."""
        return 2 * self.layers * self.groups * self.head * context


_LLAMA, _LLAMA2 = "Touvron et al., arXiv 2302.13971, table 2", "Touvron et al., arXiv 2307.09288"
_LLAMA3, _SMOLLM2 = (
    "Llama team, arXiv 2407.21783, table 3",
    "Allal et al., arXiv 2502.02737; the models' config.json",
)
FAMILIES = {
    family.name: family
    for family in (
        Family("smollm2-135m", 30, 576, 9, 3, 1536, 49152, True, _SMOLLM2),
        Family("smollm2-360m", 32, 960, 15, 5, 2560, 49152, True, _SMOLLM2),
        Family(
            "tinyllama-1.1b", 22, 2048, 32, 4, 5632, 32000, False, "Zhang et al., arXiv 2401.02385, table 1"
        ),
        Family("llama3.2-1b", 16, 2048, 32, 8, 8192, 128256, True, "Llama-3.2-1B's config.json"),
        Family("smollm2-1.7b", 24, 2048, 32, 32, 8192, 49152, True, _SMOLLM2),
        Family("llama-7b", 32, 4096, 32, 32, 11008, 32000, False, _LLAMA),
        Family("mistral-7b", 32, 4096, 32, 8, 14336, 32000, False, "Jiang et al., arXiv 2310.06825, table 1"),
        Family("llama3-8b", 32, 4096, 32, 8, 14336, 128256, False, _LLAMA3),
        Family("llama-13b", 40, 5120, 40, 40, 13824, 32000, False, _LLAMA),
        Family("llama-33b", 60, 6656, 52, 52, 17920, 32000, False, _LLAMA),
        Family("llama-65b", 80, 8192, 64, 64, 22016, 32000, False, _LLAMA),
        Family("llama2-70b", 80, 8192, 64, 8, 28672, 32000, False, _LLAMA2),
        Family("llama3-70b", 80, 8192, 64, 8, 28672, 128256, False, _LLAMA3),
    )
}
"""Models by name; hidden sizes that a paper leaves out are those of the published config.json."""


def find(name: str) -> Family:
    """A model by name.

    Raises:
        DataError: there is none; names the near one.
    """
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, 1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(FAMILIES)}"
        raise DataError(f"no language model {name!r}", hint=hint)
    return FAMILIES[name]
