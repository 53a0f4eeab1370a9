"""Requantization laws against the C definitions in exact integers, onnxruntime, and PoTAcc's vectors."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.isa.errors import DataError
from potluck.isa.formats.requantize import (
    ort_float_rne,
    quantize_multiplier,
    requantize,
    round_half_away,
    tflite_double,
    tflite_single,
)

INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1
ACC = st.one_of(st.integers(INT_MIN, INT_MAX), st.integers(-5000, 5000))
M = st.one_of(st.integers(1 << 30, INT_MAX), st.sampled_from([1 << 30, INT_MAX, 0]))

# facts of PoTAcc: real factor, m, t = 31 - shift, accumulator -> single, double, onnxruntime
VECTORS = [
    (0.00123, 1352399302, 40, [(12345, 15, 15, 15), (-12345, -15, -15, -15)]),
    (1 / 128, 1073741824, 37, [(64, 1, 1, 0), (-64, 0, -1, 0), (192, 2, 2, 2), (-192, -1, -2, -2)]),
    (0.03, 2061584302, 36, [(12345, 370, 370, 370), (64, 2, 2, 2)]),
    (0.5, 1073741824, 31, [(12345, 6173, 6173, 6172), (1, 1, 1, 0), (-1, 0, 0, 0), (-3, -1, -1, -2)]),
]


@pytest.mark.parametrize(("real", "m", "t", "cases"), VECTORS)
def test_published_vectors(real: float, m: int, t: int, cases: list[tuple[int, int, int, int]]) -> None:
    found, shift = quantize_multiplier(real)
    assert (int(found), 31 - int(shift)) == (m, t)
    wide = {"low": -(10**6), "high": 10**6}
    for acc, single, double, ort in cases:
        assert requantize("tflite_single", acc, real, **wide) == single
        assert requantize("tflite_double", acc, real, **wide) == double
        assert requantize("ort_float_rne", acc, real, **wide) == ort


def truncated(n: int, d: int) -> int:
    """C's integer division."""
    return abs(n) // d * (1 if n >= 0 else -1)


def gemmlowp_double(x: int, m: int, shift: int) -> int:
    """SaturatingRoundingDoublingHighMul and RoundingDivideByPOT, from gemmlowp's fixedpoint.h."""
    a = x << max(shift, 0)
    a = (a + (1 << 31)) % (1 << 32) - (1 << 31)
    product = a * m
    nudge = (1 << 30) if product >= 0 else 1 - (1 << 30)
    high = INT_MAX if a == m == INT_MIN else truncated(product + nudge, 1 << 31)
    exponent = max(-shift, 0)
    mask = (1 << exponent) - 1
    remainder, threshold = high & mask, (mask >> 1) + (1 if high < 0 else 0)
    return (high >> exponent) + (1 if remainder > threshold else 0)


@given(ACC, M, st.integers(-31, 30))
def test_double_rounding_is_gemmlowps(acc: int, m: int, shift: int) -> None:
    assert tflite_double(acc, m, shift) == gemmlowp_double(acc, m, shift)


@given(ACC, M, st.integers(-31, 30))
def test_single_rounding_is_one_exact_rounding(acc: int, m: int, shift: int) -> None:
    exact = Fraction(acc * m) * Fraction(2) ** (shift - 31)
    assert tflite_single(acc, m, shift) == min(max(math.floor(exact + Fraction(1, 2)), INT_MIN), INT_MAX)


@given(st.floats(2.0**-31, 2.0**29))
def test_multipliers_are_normalized_and_within_half_a_unit(real: float) -> None:
    m, shift = quantize_multiplier(real)
    assert 1 << 30 <= int(m) <= INT_MAX
    assert abs(Fraction(real) / Fraction(2) ** (int(shift) - 31) - int(m)) <= Fraction(1, 2)


def test_extreme_multipliers() -> None:
    assert [int(v) for v in quantize_multiplier(1 - 2.0**-40)] == [1 << 30, 1]  # rounds up to the next power
    assert [int(v) for v in quantize_multiplier(2.0**-40)] == [0, 0]
    assert [int(v) for v in quantize_multiplier(2.0**40, single=True)] == [INT_MAX, 30]
    with pytest.raises(DataError, match="not finite"):
        quantize_multiplier([1.0, np.nan])
    with pytest.raises(DataError, match="'half'"):
        requantize("half", 1, 1.0)  # type: ignore[arg-type]


@given(st.floats(-1e6, 1e6))
def test_half_away(value: float) -> None:
    exact = Fraction(value)
    assert round_half_away(value) == math.floor(abs(exact) + Fraction(1, 2)) * (1 if value >= 0 else -1)


def qlinear_matmul(a: np.ndarray, b: np.ndarray, scales: tuple[float, ...], zero: int) -> np.ndarray:
    """onnxruntime's QLinearMatMul of int8 matrices with a zero point of the output."""
    names = ["a", "sa", "za", "b", "sb", "zb", "sy", "zy"]
    values = [a, scales[0], 0, b, scales[1], 0, scales[2], zero]
    arrays = [
        np.asarray(value, np.float32 if name.startswith("s") else np.int8)
        for name, value in zip(names, values, strict=True)
    ]
    inputs = [
        onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in zip(names, arrays, strict=True)
    ]
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT8, [len(a), b.shape[1]])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("QLinearMatMul", names, ["y"])], "g", inputs, [output]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(zip(names, arrays, strict=True)))[0])


@pytest.mark.parametrize("seed", range(6))
def test_float_law_is_onnxruntimes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.integers(-128, 128, (64, 300)).astype(np.int8)
    b = rng.integers(-127, 128, (300, 40)).astype(np.int8)
    scales = (*np.exp2(rng.uniform(-9, -4, 2)).astype(np.float32), np.float32(rng.uniform(0.5, 9)))
    if seed == 0:
        scales = (np.float32(0.125), np.float32(0.125), np.float32(128.0))  # factor 2^-13: many exact ties
    factor = scales[0] * scales[1] / scales[2]
    zero = int(rng.integers(-128, 128))
    ours = ort_float_rne(a.astype(np.int32) @ b.astype(np.int32), factor, zero, -128, 127)
    np.testing.assert_array_equal(ours, qlinear_matmul(a, b, scales, zero))
