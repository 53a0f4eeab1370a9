"""The dynamic program against every clustering there is."""

import itertools

import numpy as np
import pytest

from potluck.allocation.clusters import cluster, normalized
from potluck.isa.errors import DataError

PUBLISHED = [0.1157, 0.0513, 0.0421, 0.0380, 0.0365, 0.0092, 0.0101, 0.0280]


def objective(x, of, count, penalty):
    total = 0.0
    for j in range(count):
        mine = x[np.asarray(of) == j]
        spread = ((mine - mine.mean()) ** 2).sum() if len(mine) else 0.0
        total += spread + penalty * (len(mine) - len(x) / count) ** 2
    return total


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("penalty", [0, 1e-3, 0.02, 0.1, 2.0])
def test_no_clustering_is_better(seed, penalty):
    rng = np.random.default_rng(seed)
    n, count = int(rng.integers(3, 8)), int(rng.integers(1, 4))
    x = np.round(rng.random(n), 1 + seed)  # with ties
    found = cluster(x, count, penalty)
    best = min(objective(x, of, count, penalty) for of in itertools.product(range(count), repeat=n))
    assert found.objective == pytest.approx(best, abs=1e-12)
    assert objective(x, found.of, count, penalty) == pytest.approx(best, abs=1e-12)
    assert list(found.means) == sorted(found.means)
    for j, mean in enumerate(found.means):
        assert mean == pytest.approx(x[np.asarray(found.of) == j].mean())


def bits(values, penalty):
    return [2 * (j + 1) for j in cluster(values, 4, penalty).of]


def test_published_example():
    loose, even = [8, 6, 6, 4, 4, 2, 2, 4], [8, 8, 6, 6, 4, 2, 2, 4]
    assert [bits(PUBLISHED, penalty) for penalty in (0, 1e-3, 0.01, 0.1)] == [loose, loose, even, even]
    assert [bits(normalized(PUBLISHED), penalty) for penalty in (0, 0.01, 0.1, 0.3)] == [
        loose,
        loose,
        even,
        even,
    ]
    assert cluster(normalized(PUBLISHED), 4, 0.1).objective == pytest.approx(0.186788, abs=3e-6)


def test_order_and_scale_do_not_matter_and_few_values_stay_alone():
    x = np.random.default_rng(3).random(40)
    order = np.random.default_rng(4).permutation(40)
    one, other = cluster(x, 4, 0.01), cluster(x[order], 4, 0.01)
    assert [one.of[i] for i in order] == list(other.of)
    assert normalized(5 * x + 3) == pytest.approx(normalized(x))
    assert cluster([0.3, 0.1], 4, 0.1).of == (1, 0)
    assert list(normalized([2.0, 2.0])) == [0, 0]


def test_an_offset_costs_no_precision():
    x = np.random.default_rng(5).random(30)
    assert cluster(x, 4, 0).of == cluster(x + 1e6, 4, 0).of


@pytest.mark.parametrize(
    ("values", "count", "penalty"), [([], 2, 0), ([1.0], 0, 0), ([1.0], 1, -1), ([np.nan], 1, 0)]
)
def test_nonsense_is_refused(values, count, penalty):
    with pytest.raises(DataError):
        cluster(values, count, penalty)
