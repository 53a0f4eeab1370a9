"""The PoT array's contract: against exact integers, PoTAcc's published tables and vectors, and onnx's ConvInteger."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from potluck.isa.errors import DataError
from potluck.isa.formats.requantize import ort_float_rne
from potluck.isa.pot.array import (
    CODE_SETS,
    CodeSet,
    Requantizer,
    accumulate,
    code_set,
    folded_wsum,
    output_sum,
    pe_product,
    ppu,
    ppu_float,
    ppu_ort,
    scaled,
    terms,
    tile,
)

SHIFT_SETS = [kind for kind in CODE_SETS if kind.pot]

# PoTAcc v12's multiplexers, read from its tables: the shifts of both terms by code[2:0] (None: nothing is added).
PUBLISHED_TERMS = {
    "pot_qkeras": [(k, None) for k in range(8)],
    "pot_apot": [(0, None), (0, 1), (None, None), (None, 1), (2, None), (2, 1), (3, None), (3, 1)],
    "pot_msq": [(0, None), (0, 2), (1, None), (1, 2), (2, None), (2, 2), (None, None), (None, 2)],
    "pot_zero": [(None, None), *((k, None) for k in range(7))],
}
# real factor -> m, t; accumulator -> output
PUBLISHED_VECTORS = [
    (1352399302, 40, 12345, 15), (1352399302, 40, -12345, -15),
    (1073741824, 37, 64, 1), (1073741824, 37, -64, 0), (1073741824, 37, 192, 2), (1073741824, 37, -192, -1),
    (2061584302, 36, 64, 2), (1073741824, 31, 1, 1), (1073741824, 31, -1, 0), (1073741824, 31, -3, -1),
]  # fmt: skip


@pytest.mark.parametrize("kind", SHIFT_SETS, ids=str)
def test_terms_are_the_hardwares(kind: CodeSet) -> None:
    assert kind.pot is not None
    assert [terms(kind.pot, code) for code in range(8)] == PUBLISHED_TERMS[kind.name]
    assert [terms(kind.pot, code) for code in range(8, 16)] == PUBLISHED_TERMS[kind.name]


@pytest.mark.parametrize("kind", CODE_SETS, ids=str)
def test_every_product_is_weight_times_activation_and_fits_its_bits(kind: CodeSet) -> None:
    bound = 1 << kind.product_bits - 1
    reached = 0
    for code in range(16) if kind.pot else range(-128, 128):
        weight = int(kind.weights(code))
        for activation in range(-128, 128):
            subtract, product = pe_product(kind, code, activation)
            assert (-product if subtract else product) == weight * activation
            assert -bound <= product < bound
            reached = max(reached, abs(product))
    assert 2 * reached >= bound  # no bit is to spare


def test_weights_that_are_no_codes_are_refused() -> None:
    with pytest.raises(DataError, match="no int8"):
        code_set("int8").weights([128])
    with pytest.raises(DataError, match="four-bit"):
        code_set("pot_msq").weights([-1])
    with pytest.raises(DataError, match="pot_zero"):
        code_set("pot_nothing")


def random_tile(kind: CodeSet, seed: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    rows, filters, depth = shape
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 16, (filters, depth)) if kind.pot else rng.integers(-128, 128, (filters, depth))
    return codes, rng.integers(-128, 128, (rows, depth)).astype(np.int8)


@pytest.mark.parametrize("kind", CODE_SETS, ids=str)
def test_lanes_add_up_to_the_sum_of_pe_products(kind: CodeSet) -> None:
    codes, x = random_tile(kind, 1, (3, 5, 22))
    lanes = accumulate(kind, codes, x)
    for row, column, lane in np.ndindex(lanes.shape):
        total = 0
        for depth in range(lane, 22, 4):
            subtract, product = pe_product(kind, int(codes[column, depth]), int(x[row, depth]))
            total += -product if subtract else product
        assert lanes[row, column, lane] == total
    with pytest.raises(DataError, match="depth 22, weights 21"):
        accumulate(kind, codes[:, 1:], x)


def test_sums_wrap_at_32_bits() -> None:
    lanes = np.full((1, 1, 4), 1 << 30, np.int32)
    assert output_sum(lanes, [5]).tolist() == [[5]]
    assert output_sum(lanes - 1, [3]).tolist() == [[-1]]


@pytest.mark.parametrize(("m", "t", "acc", "expected"), PUBLISHED_VECTORS)
def test_ppu_has_the_published_vectors(m: int, t: int, acc: int, expected: int) -> None:
    assert ppu(acc, m, t, 0) == expected


INT32 = st.one_of(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-3000, 3000))
INT8 = st.integers(-128, 127)


@given(INT32, st.integers(0, (1 << 31) - 1), st.integers(0, 63), INT8, INT8, INT8)
def test_ppu_is_one_exact_rounding_then_saturation_then_clamp(
    acc: int, m: int, t: int, zero: int, low: int, high: int
) -> None:
    low, high = min(low, high), max(low, high)
    exact = Fraction(acc * m, 1 << t)
    scaled = min(max(math.floor(exact + Fraction(1, 2)), -(1 << 31)), (1 << 31) - 1)
    expected = min(max(scaled + zero, low), high)
    assert ppu(acc, m, t, zero, low, high) == expected
    assert ppu(acc, m - (1 << 31), t, zero, low, high) == expected  # bit 31 of the word is not looked at


@pytest.mark.parametrize("kind", CODE_SETS, ids=str)
def test_a_tile_is_onnx_matmulinteger_and_one_rounding(kind: CodeSet) -> None:
    codes, x = random_tile(kind, 2, (9, 6, 147))
    bias = np.random.default_rng(3).integers(-9999, 9999, 6)
    zero = -7
    # 128 and -(-128) do not fit ONNX's int8: products of halves, if need be twice the same operand
    weights = kind.weights(codes)
    high, low = weights // 2, weights - weights // 2
    a, b, z = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.INT8, None) for n in "abz")
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT32, None)
    node = onnx.helper.make_node("MatMulInteger", ["a", "b", "z"], ["y"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [a, b, z], [y]))
    run = ReferenceEvaluator(model).run
    acc = bias + sum(
        run(None, {"a": x, "b": part.T.astype(np.int8), "z": np.int8(zero)})[0].astype(np.int64)
        for part in (high, low)
    )
    m = np.full(6, 1518500250, np.int32)
    t = np.arange(38, 44, dtype=np.int32)
    parameters = Requantizer(folded_wsum(kind, codes, bias, zero), m, t, 3, -100, 90)
    exact = [[math.floor(Fraction(int(v) * int(k), 1 << int(s)) + Fraction(1, 2)) for v, k, s in
              zip(row, m, t, strict=True)] for row in acc]  # fmt: skip
    np.testing.assert_array_equal(tile(kind, codes, x, parameters), np.clip(np.add(exact, 3), -100, 90))


WORDS = st.lists(st.integers(-(1 << 31), (1 << 31) - 1), min_size=1, max_size=40)


@given(WORDS, st.integers(1, 253), st.integers(0, (1 << 23) - 1), st.booleans())
def test_fp32_outputs_are_fp32s_product(acc: list[int], exponent: int, fraction: int, negative: bool) -> None:
    """NumPy's own FP32 product of the rounded sum, for every normal factor, signs of zeros included."""
    word = np.int64(exponent << 23 | fraction | negative << 31).astype(np.uint32)
    sums = np.array(acc, np.int32)
    with np.errstate(over="ignore"):
        expected = sums.astype(np.float32) * word.view(np.float32)
    np.testing.assert_array_equal(scaled(sums, word.view(np.int32)).view(np.uint32), expected.view(np.uint32))


def test_factors_that_no_network_has() -> None:
    subnormal, infinity = np.int32(0x007F_FFFF), np.int32(0x7F80_0000)
    assert scaled([5, -5], subnormal).tolist() == [0.0, 0.0]
    assert scaled([1, 0, -3], infinity).tolist() == [math.inf, 0.0, -math.inf]


@given(
    WORDS,
    st.floats(2.0**-30, 4.0, width=32),
    st.integers(-128, 127),
    st.integers(-128, 127),
    st.integers(0, 255),
)
def test_the_second_law_is_onnxruntimes(
    acc: list[int], factor: float, zero: int, low: int, room: int
) -> None:
    high, word = min(127, low + room), np.float32(factor).view(np.int32)
    expected = ort_float_rne(acc, np.float32(factor), zero, low, high)
    np.testing.assert_array_equal(ppu_ort(acc, word, zero, low, high), expected)


def test_fp32_outputs_are_clipped_with_signs_of_zeros() -> None:
    one, minus = np.float32(1).view(np.int32), np.float32(-1).view(np.int32)
    assert ppu_float([-7, 3, 9], one, -2.5, 6.0).tolist() == [-2.5, 3.0, 6.0]
    assert not np.signbit(ppu_float([0], minus, 0.0)).any() and np.signbit(ppu_float([0], minus)).all()
