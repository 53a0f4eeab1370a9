"""The curve of host time and memory: what a point is, and the exponent."""

import numpy as np
import onnx
import pytest

from potluck.benchmarks.schedule_curve import Point, exponent, gemm, measured, programs


def test_a_point_is_a_simulation_of_its_own() -> None:
    ((name, program),) = programs(sizes=(32,), networks=())
    point = measured(name, program)
    assert point.macs == 32**3 and point.seconds > 0
    assert 50 < point.mebibytes < 4096


def test_the_product_is_what_numpy_computes() -> None:
    model = gemm(24)
    x = np.random.default_rng(1).standard_normal((24, 24)).astype(np.float32)
    (weights,) = (onnx.numpy_helper.to_array(t) for t in model.graph.initializer)
    (found,) = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_allclose(found, x @ weights, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("power", [0.5, 1.0, 1.25])
def test_the_exponent_of_a_power(power: float) -> None:
    points = [Point("", macs, 3e-9 * macs**power, 1.0) for macs in (10**6, 10**7, 4 * 10**9)]
    assert exponent(points) == pytest.approx(power)
