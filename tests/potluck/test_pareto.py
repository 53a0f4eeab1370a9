"""Fronts against ones drawn by hand, and against the definition on random points."""

from __future__ import annotations

import itertools
import random

from potluck.pareto import beats, front


def test_by_hand() -> None:
    #        *       *       beaten  equal to the first: both stay; beaten by the third only in one way
    costs = [(1, 9), (5, 5), (5, 6), (1, 9), (9, 1), (9, 2), (2, 8.5)]
    assert front(costs) == [0, 1, 3, 4, 6]
    assert front([]) == [] and front([(3, 3)]) == [0]
    assert front([(3,), (1,), (1,), (2,)]) == [1, 2]
    assert front([(1, 2, 3), (1, 2, 4), (1, 1, 9)]) == [0, 2]


def test_beats() -> None:
    assert beats((1, 2), (1, 3)) and not beats((1, 2), (1, 2)) and not beats((1, 3), (2, 2))


def test_definition_on_random_points() -> None:
    dice = random.Random(3)
    for count, objectives in itertools.product((1, 2, 7, 40), (1, 2, 3)):
        costs = [tuple(dice.randrange(6) for _ in range(objectives)) for _ in range(count)]
        expected = [
            k for k, a in enumerate(costs)
            if not any(all(y <= x for x, y in zip(a, b, strict=True)) and b != a for b in costs)
        ]  # fmt: skip
        assert front(costs) == expected
