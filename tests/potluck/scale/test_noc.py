"""All-reduces in closed form against ones that are carried out, message by message."""

from __future__ import annotations

import numpy as np
import pytest

from potluck.isa.errors import DataError
from potluck.scale.noc import Noc

LINK, STEP = 64.0, 22.0


def ring(parts: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Ring all-reduce of [clusters, values]: what each has in the end, steps of cycles, bytes over links."""
    count, values = parts.shape
    held = parts.copy().reshape(count, count, values // count)
    cycles = crossed = 0.0
    for phase in range(2):
        for turn in range(count - 1):
            sent = [(k, (k - turn + phase) % count) for k in range(count)]
            messages = [held[k, piece].copy() for k, piece in sent]
            for (k, piece), message in zip(sent, messages, strict=True):
                there = (k + 1) % count
                held[there, piece] = held[there, piece] + message if phase == 0 else message
            cycles += 4 * messages[0].size / LINK + STEP
            crossed += 4 * sum(message.size for message in messages)
    return held.reshape(count, values), cycles, crossed


@pytest.mark.parametrize("clusters", [2, 4, 8])
def test_ring(clusters: int) -> None:
    parts = np.random.default_rng(1).integers(0, 99, (clusters, 64 * clusters)).astype(float)
    held, cycles, crossed = ring(parts)
    assert (held == parts.sum(0)).all()
    noc = Noc("ring", LINK, STEP, 1.0, 1e30)
    assert noc.all_reduce(4 * parts.shape[1], clusters) == pytest.approx((cycles, crossed))


def test_mesh_is_rings_along_rows_and_columns() -> None:
    """4 x 4: reduce-scatter along rows, all-reduce of the pieces along columns, all-gather along rows."""
    values, rows, columns = 512, 4, 4
    row = 4 * values * (columns - 1) / columns / LINK + (columns - 1) * STEP  # one way
    piece = values // columns
    column = 2 * (4 * piece * (rows - 1) / rows / LINK + (rows - 1) * STEP)
    noc = Noc("mesh", LINK, STEP, 1.0, 1e30)
    assert noc.all_reduce(4 * values, 16)[0] == pytest.approx(2 * row + column)
    assert noc.sides(16) == (4, 4) and noc.sides(12) == (3, 4) and noc.sides(7) == (1, 7)


def test_tree_and_sums() -> None:
    tree = Noc("tree", LINK, STEP, 2.0, 16.0)
    cycles, crossed = tree.all_reduce(6400, 8)
    assert cycles == pytest.approx(6 * (100 + 22) + 3 * 1600 / 16) and crossed == 2 * 7 * 6400
    assert tree.joules(crossed) == pytest.approx(2e-12 * crossed)
    ring_ = Noc("ring", LINK, STEP, 1.0, 16.0)
    free = Noc("ring", LINK, STEP, 1.0, 1e30)
    assert ring_.all_reduce(6400, 4)[0] - free.all_reduce(6400, 4)[0] == pytest.approx(0.75 * 1600 / 16)


def test_one_cluster_and_unknown_ones() -> None:
    assert Noc("mesh", LINK, STEP, 1.0, 16.0).all_reduce(1e6, 1) == (0.0, 0.0)
    with pytest.raises(DataError, match="topology 'torus'"):
        Noc("torus", LINK, STEP, 1.0, 16.0)
