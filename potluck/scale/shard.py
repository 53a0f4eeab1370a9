"""One cluster's part of a language model, split by tensors: heads, hidden units and vocabulary, every layer on all."""

from __future__ import annotations

from dataclasses import dataclass

from potluck.isa.errors import DataError
from potluck.scale.families import Family

BLOCK = 32
"""Hidden units, and values of a head, come in whole MX blocks."""


@dataclass(frozen=True)
class Shard:
    """Sizes of a cluster's part.

    Attributes:
        width: of the residual stream, which every cluster holds.
        heads: of queries.
        groups: heads of keys and values.
        head: width of each.
        hidden: units.
        vocabulary: columns of the head.
        sharing: clusters that work on one head, each with a part of its width; 1: a cluster has whole heads.
    """

    width: int
    heads: int
    groups: int
    head: int
    hidden: int
    vocabulary: int
    sharing: int

    @property
    def attention_weights(self) -> int:
        """Of a layer's projections."""
        return self.width * self.head * 2 * (self.heads + self.groups)

    @property
    def hidden_weights(self) -> int:
        """Of a layer's feed-forward network."""
        return 3 * self.width * self.hidden


def shard(family: Family, clusters: int) -> Shard:
    """The largest part that a cluster gets.

    Raises:
        DataError: there are more clusters than the model can be split over.
    """
    most = min(family.heads * family.head, family.hidden, family.vocabulary) // BLOCK
    if not 1 <= clusters <= most:
        message = f"{family.name} cannot be split over {clusters} clusters: its tensors have {most} blocks of {BLOCK}"
        raise DataError(message, hint=f"Give 1 to {most}")
    share, head, sharing = family.heads // family.groups, family.head, 1
    if clusters <= family.groups:
        groups = -(-family.groups // clusters)
        heads = groups * share
    elif clusters <= family.heads:
        groups, heads = 1, -(-family.heads // clusters)
    else:
        groups = heads = 1
        sharing = clusters // family.heads
        head = -(-family.head // sharing // BLOCK) * BLOCK
    hidden = -(-family.hidden // (BLOCK * clusters)) * BLOCK
    return Shard(family.width, heads, groups, head, hidden, -(-family.vocabulary // clusters), sharing)
