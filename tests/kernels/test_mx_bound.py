"""Results of MX products lie within the bound that follows from their roundings, and BF16 needs more than FP32's."""

import pytest

from potluck.benchmarks.mx_products import FORMATS, error_share


@pytest.mark.parametrize("element", FORMATS)
@pytest.mark.parametrize("accumulator", ["fp32", "bf16"])
@pytest.mark.parametrize("k", [8, 100, 576])
def test_error_within_the_bound(element, accumulator, k):
    assert 0 <= error_share(element, accumulator, k, seed=17 * k + 1) <= 1


def test_the_bound_is_not_empty():
    """Sums of several chunks are rounded: a bound that nothing comes near would show nothing."""
    assert error_share("e4m3", "bf16", 576, seed=3) > 0.001
    assert error_share("e5m2", "fp32", 576, seed=3) > 0.001
