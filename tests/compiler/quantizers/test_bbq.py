"""The quantizer against the vectors T1 to T3 that the authors' classes gave, and against closed forms."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.compiler.quantizers.bbq import (
    FLOOR_DB,
    INITIAL,
    backward,
    forward,
    rotate,
    running_reciprocal,
    tree_sum,
)
from potluck.isa.errors import DataError
from potluck.isa.formats.bbq import BbqFormat, block_of, hadamard

ROW = [0.1, -0.4, 0.9, -1.3, 2.0, 0.05, -0.75, 0.3]
W = [[0.5, -1, 0.25, 0.75, -0.5, 1.5, -0.25, 0.1], [0.02, 0.03, -0.05, 0.01, 0.04, -0.02, 0.06, -0.01]]
X = [[1, 2, -1, 0.5, 0, -0.5, 3, -2], [0.2, -0.1, 0.4, -0.3, 0.6, -0.5, 0.7, 0.1]]
ALL = [BbqFormat(bits, z) for bits in (1, 2, 3, 4) for z in (-0.5, 0.0)]


@pytest.mark.parametrize(
    ("bits", "k", "q", "step"),
    [
        (1, "10101101", [0.5, -0.5, 0.5, -0.5, 0.5, 0.5, -0.5, 0.5], 1.620959735),
        (2, "21303202", [0.5, -0.5, 1.5, -1.5, 1.5, 0.5, -1.5, 0.5], 0.810479868),
        (3, "42607414", [0, -2, 2, -4, 3, 0, -3, 0], 0.405239934),
        (4, [8, 5, 13, 1, 15, 8, 3, 9], [0, -3, 5, -7, 7, 0, -5, 1], 0.202619967),
    ],
)
def test_t1_a_row_without_rotation(bits, k, q, step):
    kind = BbqFormat(bits)
    made = forward(ROW, kind, 1)
    assert made.sigma == pytest.approx(0.956882960, abs=5e-10)
    assert made.gamma == pytest.approx(1.620959735, abs=5e-10)
    assert [(code - kind.lowest) // kind.multiple for code in made.codes.tolist()] == [int(i) for i in k]
    assert made.q.tolist() == q
    assert made.values == pytest.approx(np.array(q) * step, abs=5e-9)


T2 = {
    1: (
        ["+--+-+-+", "++++--++"],
        ["+++-+-++", "++-+--+-"],
        [[-1, 1], [0, 1]],
        [[-1.731450, 1.731450], [0, 1.731450]],
    ),
    2: (
        [[1, -1, -1, 1, -1, 3, -3, 3], [3, 1, 1, 1, -1, -3, 3, 1]],
        [[3, 3, 1, -3, 1, -3, 3, 3], [1, 3, -1, 1, -1, -1, 1, -1]],
        [[-3.5, 7.5], [-2, 3]],
        [[-1.515019, 3.246469], [-0.865725, 1.298587]],
    ),
    3: (
        [[1, -2, -1, 0, -1, 3, -4, 3], [2, 1, 1, 1, -2, -4, 3, 1]],
        [[2, 2, 1, -4, 1, -4, 3, 3], [1, 2, -1, 0, -1, -1, 0, -1]],
        [[-19, 29], [-7, 8]],
        [[-2.056097, 3.138254], [-0.757510, 0.865725]],
    ),
    4: (
        [[3, -4, -2, 1, -2, 7, -7, 7], [4, 3, 3, 2, -4, -8, 6, 3]],
        [[5, 5, 3, -7, 3, -8, 7, 7], [2, 4, -2, 0, -2, -2, 1, -2]],
        [[-80, 145], [-37, 38]],
        [[-2.164313, 3.922817], [-1.000995, 1.028049]],
    ),
}


@pytest.mark.parametrize("bits", T2)
def test_t2_a_linear_layer(bits):
    q_w, q_x, acc, y = T2[bits]
    if bits == 1:
        q_w, q_x = ([[1 if c == "+" else -1 for c in row] for row in rows] for rows in (q_w, q_x))
    kind = BbqFormat(bits)
    w, x = forward(W, kind, 8), forward(X, kind, 8, per_row=False)
    assert w.sigma == pytest.approx([0.745612, 0.034641], abs=5e-7)
    assert x.sigma[0] == pytest.approx(1.143186337, abs=5e-10)
    assert w.gamma[0] == pytest.approx(0.894086636, abs=5e-10)
    assert x.gamma[0] == pytest.approx(1.936557654, abs=5e-10)
    assert w.codes.tolist() == q_w and x.codes.tolist() == q_x
    assert (x.q @ w.q.T).tolist() == acc
    assert x.values @ w.values.T == pytest.approx(np.array(y), abs=1e-6)


@pytest.mark.parametrize(("bits", "acc"), [(3, [[-15.5, 34.5], [-6, 11]]), (4, [[-69, 159], [-34, 44]])])
def test_t2_symmetric_codes_shift_the_sums_by_half_steps(bits, acc):
    kind = BbqFormat(bits, -0.5)
    assert (forward(X, kind, 8, per_row=False).q @ forward(W, kind, 8).q.T).tolist() == acc


G = [[1, -2, 0.5, 0.3, -0.7, 1.1, 0.2, -0.4], [0.6, 0.1, -0.9, 0.8, 0.3, -0.2, 0.4, 0.05]]
T3 = [
    [-0.28656745, 0.91591390, -0.74623454, 0.13492622, 0.26919498, 0.72097817, -0.33879225, 1.12993775],
    [6.37181175, -6.09211419, 5.24806533, 13.93850752, -0.83771891, -10.73537389, 2.06870245, 12.69754863],
]


def test_t3_gradients():
    g_x, g_gamma = backward(G, forward(W, BbqFormat(3), 8))
    assert g_x == pytest.approx(np.array(T3), abs=5e-9)
    assert g_gamma == pytest.approx([0.40625, 0.165625], abs=1e-15)


@pytest.mark.parametrize("per_row", [True, False])
def test_gradients_are_those_of_the_smooth_curve(per_row):
    """By central differences of (gamma/2^(b-1)) (n Phi(v) - 2^(b-1)), which the floor replaces."""
    rng = np.random.default_rng(3)
    x, g, kind = rng.standard_normal((3, 16)), rng.standard_normal((3, 16)), BbqFormat(2)
    gamma = np.array([0.7, 1.3, 2.0]) if per_row else 1.1

    def loss(values):
        a = rotate(values, 8)
        square = a**2
        sigma = np.sqrt(square.mean(axis=1, keepdims=True) if per_row else square.mean())
        phi = np.vectorize(NormalDist().cdf)(a / sigma)
        return float((g * np.reshape(gamma, (-1, 1)) * (2 * phi - 1)).sum())

    got = backward(g, forward(x, kind, 8, gamma=gamma, per_row=per_row), per_row=per_row)[0]
    for at in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[at] = 1e-6
        assert got[at] == pytest.approx((loss(x + step) - loss(x - step)) / 2e-6, abs=1e-8)


def test_thresholds_are_normal_quantiles_and_bins_are_the_floor_of_the_cdf():
    normal, rng = NormalDist(), np.random.default_rng(0)
    v = rng.standard_normal(4000)
    for kind in ALL:
        n = kind.levels
        assert kind.thresholds == pytest.approx([normal.inv_cdf(i / n) for i in range(1, n)], abs=1e-15)
        codes = forward(v, kind, 1, reciprocal=1.0).codes
        wanted = np.clip(np.floor(n * np.vectorize(normal.cdf)(v)), 0, n - 1)
        assert np.array_equal((codes - kind.lowest) // kind.multiple, wanted)


@pytest.mark.parametrize(
    ("bits", "z", "zeta", "decibels", "table"),
    [
        (1, -0.5, 1.595769, 4.40, 4.40),
        (2, -0.5, 1.655193, 8.42, 8.56),
        (3, 0.0, 1.603340, 9.34, 12.60),
        (3, -0.5, 1.679690, 11.29, 12.60),
        (4, 0.0, 1.668837, 11.91, 16.53),
        (4, -0.5, 1.688471, 12.72, 16.53),
    ],
)
def test_signal_to_noise_on_normal_input_is_the_closed_form(bits, z, zeta, decibels, table):
    kind = BbqFormat(bits, z)
    assert kind.zeta == pytest.approx(zeta, abs=5e-7)
    grid = 1 << 17  # its quantiles are a normal variable
    x = np.array([NormalDist().inv_cdf((i + 0.5) / grid) for i in range(grid)])
    made = forward(x, kind, 1, gamma=kind.zeta, reciprocal=1.0)
    for mode, wanted in (("linear", decibels), ("lut", table)):
        error = x - made.reconstruct(mode)
        assert 10 * math.log10((x**2).mean() / (error**2).mean()) == pytest.approx(wanted, abs=6e-3)
    assert made.entropy == pytest.approx(bits, abs=1e-3)
    assert decibels < FLOOR_DB == pytest.approx(13.46, abs=5e-3)


def test_edges():
    assert forward(np.zeros((2, 8)), BbqFormat(3)).codes.tolist() == [[0] * 8] * 2  # v = 0, and no NaN
    assert forward(np.zeros((2, 8)), BbqFormat(1), per_row=False).codes.tolist() == [[1] * 8] * 2
    assert forward([0.0, 1, -1, 0], BbqFormat(1), 1).q.tolist() == [0.5, 0.5, -0.5, 0.5]  # ties go up
    made = forward(ROW, BbqFormat(2), 1, gamma=-1.0)  # gamma may be negative
    assert made.values[0] == -0.25
    assert running_reciprocal(None, 2.0) == 0.5
    assert running_reciprocal(0.5, 1.0) == pytest.approx(0.505)


@given(st.integers(0, 7), st.integers(1, 5), st.integers(0, 2**32))
def test_rotation_is_the_matrix_and_its_own_inverse(log, blocks, seed):
    size = 1 << log
    x = np.random.default_rng(seed).standard_normal((2, size * blocks))
    matrix = np.kron(np.eye(blocks), hadamard(size)) / math.sqrt(size)
    assert np.allclose(rotate(x, size), x @ matrix, atol=1e-12)
    assert np.allclose(rotate(rotate(x, size), size), x, atol=1e-12)
    whole = np.round(1000 * x)  # sums of integers are exact in any order
    assert np.array_equal(tree_sum(whole), whole.sum(axis=-1))


def test_block_and_errors():
    assert [block_of(k) for k in (768, 192, 96, 48, 24)] == [128, 64, 32, 16, 8]
    assert block_of(768, 32) == 32
    assert abs(INITIAL * math.sqrt(math.pi) / 3 - 1) < 1e-3
    for action, message in (
        (lambda: BbqFormat(5), "5 bits"),
        (lambda: BbqFormat(2, 0.25), "0.25"),
        (lambda: block_of(30), "30 elements"),
        (lambda: hadamard(12), "12"),
        (lambda: forward([1.0, math.nan], BbqFormat(2), 1), "NaN"),
        (lambda: forward(np.zeros((2, 12)), BbqFormat(2), 8), "shape"),
        (lambda: forward([1.0], BbqFormat(2), 1, reciprocal=math.inf), "sigma"),
        (lambda: forward(ROW, BbqFormat(2)).reconstruct("best"), "best"),
    ):
        with pytest.raises(DataError, match=message):
            action()
