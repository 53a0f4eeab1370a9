"""Intervals against SciPy's, and which metric is the metric."""

import numpy as np
import pytest
from scipy.stats import binomtest

from potluck.evaluation.metrics import bootstrap, score, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (7, 10), (843, 900), (1, 1000)])
def test_wilson(k, n):
    expected = binomtest(k, n).proportion_ci(method="wilson")
    found = wilson(k, n)
    assert (found.value, found.low, found.high) == pytest.approx(
        (k / n, expected.low, expected.high), abs=1e-12
    )


def test_bootstrap_approaches_the_normal_interval_and_repeats_itself():
    values = np.random.default_rng(0).normal(3, 2, 4000)
    found = bootstrap(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.01)
    assert bootstrap(values) == found


def test_paired_difference_is_narrower_than_the_accuracies():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 800)
    reference = rng.random((800, 5)) + 0.8 * np.eye(5)[labels]
    outputs = reference.copy()
    outputs[:20] = outputs[:20, ::-1]
    found = score(outputs, reference, labels)
    assert found.metric == "agreement"  # 800 labels
    assert found.agreement.value == np.mean(outputs.argmax(1) == reference.argmax(1)) == found.value
    assert found.accuracy.value == np.mean(outputs.argmax(1) == labels)
    expected = found.accuracy.value - np.mean(reference.argmax(1) == labels)
    assert found.difference.value == pytest.approx(expected)
    assert found.difference.high - found.difference.low < 0.5 * (found.accuracy.high - found.accuracy.low)
    assert found.sqnr == pytest.approx(
        10 * np.log10((reference**2).sum() / ((reference - outputs) ** 2).sum())
    )


def test_the_metric_follows_the_data():
    rng = np.random.default_rng(2)
    outputs, labels = rng.random((1200, 4)), rng.integers(0, 4, 1200)
    assert score(outputs, outputs, labels).metric == "accuracy"
    assert score(outputs, outputs, None).metric == "agreement"
    assert score(outputs, outputs, labels, "agreement").value == 1
    assert score(outputs[:, :1], outputs[:, :1] + 0.1, None).metric == "sqnr"
    assert score(outputs, outputs + 0.1, labels, "sqnr").value == score(outputs, outputs + 0.1, labels).sqnr


def test_positions_are_resampled_with_their_sample():
    rng = np.random.default_rng(3)
    tokens = np.repeat(rng.random((50, 1, 8)), 20, 1)  # every position of a sample alike
    other = np.where(rng.random((50, 1, 1)) < 0.3, tokens[..., ::-1], tokens)
    found = score(other, tokens, None)
    assert found.agreement.high - found.agreement.low > 0.15  # 50 samples, not 1000 positions
