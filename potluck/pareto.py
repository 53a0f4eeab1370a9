"""Pareto fronts: what nothing else beats."""

from __future__ import annotations

from collections.abc import Sequence


def beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether one is nowhere larger than the other, and somewhere smaller."""
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def front(costs: Sequence[Sequence[float]]) -> list[int]:
    """The places of those that no other beats; equal ones are all among them.

    Args:
        costs: [n, objectives], the smaller the better. Give the negative of what should be large.
    """
    kept: list[int] = []
    for k in sorted(range(len(costs)), key=lambda k: tuple(costs[k])):  # what beats one comes before it
        if not any(beats(costs[j], costs[k]) for j in kept):
            kept.append(k)
    return sorted(kept)
