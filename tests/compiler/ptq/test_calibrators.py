"""Ranges from histograms against onnxruntime's collectors and against quantization itself."""

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import HistogramCollector

from potluck.compiler.ptq import calibrators
from potluck.compiler.quantizers.integers import IntegerFormat, parameters, quantize_with
from potluck.isa.errors import DataError

RNG = np.random.default_rng(5)
DATA = {
    "gauss": RNG.standard_normal(40000),
    "relu": np.maximum(RNG.standard_normal(40000), 0),
    "heavy": RNG.standard_t(3, 40000),
    "shifted": RNG.standard_normal(40000) * 0.3 + 1.5,
}


def collected(values, method, bins, levels=128, percent=99.9):
    """onnxruntime's range."""
    collector = HistogramCollector(method, False, bins, levels, percent, "same")
    collector.collect({"x": [values.astype(np.float32)]})
    found = collector.compute_collection_result()["x"]
    return float(found[0]), float(found[1])


def ours(values, bins):
    values = values.astype(np.float32)
    return calibrators.histogram(values, float(values.min()), float(values.max()), bins)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("percent", [99.0, 99.9, 99.99])
def test_percentile_is_onnxruntimes(name, percent):
    expected = collected(DATA[name], "percentile", 2048, percent=percent)
    assert calibrators.percentile(ours(DATA[name], 2048), percent) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", DATA)
def test_entropy_is_onnxruntimes(name):
    """It truncates the expanded counts to integers, which moves the least divergence by a bin or two."""
    bins, levels = 1024, 128
    expected = collected(DATA[name], "entropy", bins, levels)
    found = calibrators.entropy(ours(DATA[name], bins), levels)
    width = 2 * np.abs(DATA[name]).max() / bins
    assert np.abs(np.array(found) - expected).max() <= 0.03 * np.abs(DATA[name]).max() + 2 * width


def test_entropy_prefers_the_range_that_holds_the_values():
    bulk = np.concatenate([RNG.standard_normal(100000), [60.0]])
    low, high = calibrators.entropy(ours(bulk, 2048), 128)
    assert low > -60 and high < 12


@pytest.mark.parametrize("name", DATA)
def test_least_squares_beats_every_other_rule(name):
    values, kind = DATA[name].astype(np.float32), IntegerFormat(4, symmetric=False)

    def error(bounds):
        scale, zero = parameters(*bounds, kind)
        return float(np.square(quantize_with(values, scale, zero, kind).dequantize() - values).mean())

    data = ours(values, calibrators.BINS)
    best = error(calibrators.least_squares(data, kind))
    for rule in ("percentile=99", "percentile=99.9", "entropy"):
        chosen = calibrators.method(rule)
        assert best <= error(chosen(data)) * 1.001
    assert best < error((data.low, data.high)) or name == "shifted"
    trials = [error((data.low * a, data.high * b)) for a in (1, 0.8, 0.6, 0.4) for b in (1, 0.8, 0.6, 0.4)]
    assert best <= min(trials) * 1.001


def test_histograms_add_up_and_merge():
    values = DATA["gauss"]
    whole, half = ours(values, 256), len(values) // 2
    parts = [
        calibrators.histogram(part, whole.low, whole.high, 256) for part in (values[:half], values[half:])
    ]
    assert (
        np.array_equal(calibrators.merged(*parts).counts, whole.counts)
        or np.abs(calibrators.merged(*parts).counts - whole.counts).sum() <= 4
    )  # values at edges, in FP32 and not
    coarse = whole.coarse(100)
    assert len(coarse.counts) == 64 and coarse.counts.sum() == whole.counts.sum()
    assert np.array_equal(coarse.edges, whole.edges[::4])


def test_an_empty_range_stays_one():
    zeros = ours(np.zeros(10), 64)
    for rule in ("percentile", "entropy", "mse"):
        low, high = calibrators.method(rule)(zeros)
        assert low <= 0 <= high and high - low <= 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("minimax", "minmax"),
        ("percentile=120", "no percentile"),
        ("percentile=x", "no percentile"),
        ("mse=3", "no number"),
    ],
)
def test_unknown_rules_are_named(text, message):
    with pytest.raises(DataError, match=message):
        calibrators.method(text)
