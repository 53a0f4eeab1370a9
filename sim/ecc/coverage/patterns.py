"""Error patterns of the RangeGuard artifact's coverage experiment, as mixtures of affine boxes and as draws.

An event covers a span of L bits. Its content is uniform, and where it comes out empty one uniformly drawn bit is set.
So its distribution is U - 2^-L [nothing] + 2^-L [uniform single bit], U uniform over all 2^L contents: a signed mixture
of terms "these bits are free, the others are given" (`Term`). That lets cosets be counted (`exact`).

| event | spans |
|---|---|
| SE | one bit |
| DAE | two adjacent bits in a 16-bit word (so 3/4 of the events flip one bit) |
| 16E, 32E | aligned words of 16 and 32 bits |
| FC | all 256 bits |
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

from potluck.sim.ecc.interface import BLOCK_BITS

Span = tuple[int, int]
"""First bit and length."""

EVENTS: dict[str, tuple[Span, ...]] = {
    "SE": tuple((b, 1) for b in range(BLOCK_BITS)),
    "DAE": tuple((b, 2) for b in range(BLOCK_BITS) if b % 16 < 15),
    "16E": tuple((b, 16) for b in range(0, BLOCK_BITS, 16)),
    "32E": tuple((b, 32) for b in range(0, BLOCK_BITS, 32)),
    "FC": ((0, BLOCK_BITS),),
}
PATTERNS: dict[str, tuple[str, ...]] = {
    "SE": ("SE",), "DAE": ("DAE",), "16E": ("16E",), "32E": ("32E",), "FC": ("FC",),
    "SE+SE": ("SE", "SE"), "SE+DAE": ("SE", "DAE"), "SE+16E": ("SE", "16E"), "SE+32E": ("SE", "32E"),
    "16E+16E": ("16E", "16E"), "32E+32E": ("32E", "32E"),
}  # fmt: skip
"""Patterns of Table III: one event, or two with disjoint spans, uniform over all such pairs."""


@dataclass(frozen=True)
class Term:
    """Errors ``offset + any content of the free bits``, of `weight` (maybe negative) for each of `offsets`."""

    free: int
    offsets: tuple[int, ...]
    weight: float


def spans_of(pattern: str) -> list[tuple[Span, ...]]:
    """The equally likely places of a pattern."""
    events = [EVENTS[name] for name in PATTERNS[pattern]]
    return [spans for spans in product(*events) if len(spans) == 1 or _disjoint(*spans)]


def _disjoint(a: Span, b: Span) -> bool:
    return a[0] + a[1] <= b[0] or b[0] + b[1] <= a[0]


def _event_terms(span: Span) -> list[Term]:
    first, length = span
    if length == 1:
        return [Term(0, (1 << first,), 1.0)]
    mask = ((1 << length) - 1) << first
    empty = 2.0**-length
    singles = tuple(1 << (first + b) for b in range(length))
    if length == 2:  # few contents: list them
        return [Term(0, singles, (1 + empty * 2) / 4), Term(0, (mask,), empty)]
    return [Term(mask, (0,), 1.0), Term(0, (0,), -empty), Term(0, singles, empty / length)]


@cache
def terms_of(pattern: str) -> tuple[Term, ...]:
    """The pattern's distribution as a mixture whose weights, over all offsets, sum to 1; equal free sets are joined."""
    places = spans_of(pattern)
    joined: dict[tuple[int, float], dict[int, int]] = {}
    for spans in places:
        for parts in product(*(_event_terms(span) for span in spans)):
            free, weight = 0, 1.0
            offsets = [0]
            for part in parts:
                free |= part.free
                weight *= part.weight
                offsets = [a ^ b for a in offsets for b in part.offsets]
            counts = joined.setdefault((free, weight), {})
            for offset in offsets:
                counts[offset] = counts.get(offset, 0) + 1
    terms = []
    for (free, weight), counts in joined.items():
        by_count: dict[int, list[int]] = {}
        for offset, times in counts.items():
            by_count.setdefault(times, []).append(offset)
        for times, same in by_count.items():
            terms.append(Term(free, tuple(same), weight * times / len(places)))
    return tuple(terms)
