"""Functions of expressions against mpmath, within their stated bounds, and bit for bit on the machine."""

import mpmath
import numpy as np
import pytest
from drawing import execute

from potluck.kernels.expressions import functions
from potluck.kernels.expressions.graph import unary
from potluck.kernels.expressions.meaning import evaluate
from potluck.kernels.expressions.simplify import simplified
from potluck.kernels.pointwise import Array, Pointwise, arguments

RANGES = {"sin": (-1000, 1000), "cos": (-1000, 1000), "tan": (-1000, 1000), "asin": (-1, 1), "acos": (-1, 1),
          "atanh": (-1, 1), "acosh": (1, 3e38), "log": (0, 3e38), "log1p": (-1, 3e38), "exp": (-87.3, 88.7),
          "expm1": (-90, 88.7), "sigmoid": (-87, 89), "sinh": (-89, 89), "cosh": (-89, 89), "erf": (-6, 6),
          "softplus": (-87, 3e38)}  # fmt: skip
EXACT = {name: getattr(mpmath, name) for name in functions.FUNCTIONS if hasattr(mpmath, name)}
EXACT |= {
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
}
(X,) = arguments("float32")


def samples(rng, name, count):
    """Floats of the range: half uniform in encoding, half in value near the middle."""
    low, high = np.array(RANGES.get(name, (-3e38, 3e38)), np.float32)
    sizes = np.abs([low, high]).astype(np.float32).view(np.int32)
    positive = rng.integers(0, sizes[1] + 1, count).astype(np.int32).view(np.float32) if high > 0 else None
    negative = (
        -rng.integers(0, sizes[0] + 1, count).astype(np.int32).view(np.float32) if low < 0 else positive
    )
    near = (rng.standard_normal(2 * count) * 4).astype(np.float32)
    drawn = np.concatenate([positive, negative, near])
    return drawn[(drawn >= low) & (drawn <= high)]


def ulps(got, want):
    """Error in units in the last place of the exact value."""
    size = abs(want)
    exponent = max(mpmath.frexp(size)[1] - 24, -149) if size else -149
    return float(abs(mpmath.mpf(float(got)) - want) / mpmath.mpf(2) ** exponent)


def worst(name, count, seed=0):
    x = samples(np.random.default_rng(seed), name, count)
    got = evaluate(functions.FUNCTIONS[name](X), [x])
    errors = [
        (ulps(g, EXACT[name](mpmath.mpf(float(v)))), float(v))
        for g, v in zip(got, x, strict=True)
        if np.isfinite(g)
    ]
    return max(errors)


@pytest.mark.parametrize("name", functions.FUNCTIONS)
def test_error_is_within_the_stated_bound(name):
    assert worst(name, 500)[0] <= functions.ULP[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", functions.FUNCTIONS)
def test_error_is_within_the_stated_bound_on_dense_samples(name):
    assert worst(name, 50_000, seed=1)[0] <= functions.ULP[name]


@pytest.mark.parametrize(
    "name", [*functions.FUNCTIONS, "floor", "ceil", "rint", "truncated", "gelu", "gelu_tanh"]
)
def test_machine_computes_the_contract(name):
    rng = np.random.default_rng(3)
    corners = [
        0.0,
        -0.0,
        1,
        -1,
        np.inf,
        -np.inf,
        np.nan,
        1e-40,
        -1e-40,
        88.7,
        88.8,
        -104,
        2.5,
        -0.5,
        2**23,
        1e9,
    ]
    x = np.concatenate([np.float32(corners), samples(rng, name, 60)])
    kernel = Pointwise(getattr(functions, name)(X), (Array("float32"),))
    got, want = execute(kernel, [x], 1, len(x))
    np.testing.assert_array_equal(got.view(np.uint32), want.view(np.uint32))


def test_gelu_is_within_its_stated_bounds():
    x = np.concatenate([np.linspace(-12, 8, 4001), np.geomspace(1e-6, 3e38, 300)]).astype(np.float32)
    got = evaluate(functions.gelu(X), [x]).astype(np.float64)
    want = np.array([float(mpmath.mpf(float(v)) * mpmath.ncdf(float(v))) for v in x])
    error = np.abs(got - want)
    assert np.all(error[x < 8] <= 3e-7)
    assert np.all(error[x > 0] <= 2e-7 * want[x > 0])
    inner = (x < 0) & (x > -5.5)
    assert np.all(error[inner] <= 5e-6 * -want[inner])


def test_sigmoid_has_no_more_error_than_with_a_division():
    """The error of 1 / (1 + exp(-x)), which was the contract before, is 2.47 ulp there."""
    x = np.concatenate([np.linspace(-17, -16, 4001), np.linspace(-89, -86, 400), np.linspace(-8, 20, 4001)])
    x = x.astype(np.float32)
    got = evaluate(functions.sigmoid(X), [x])
    assert max(ulps(g, EXACT["sigmoid"](mpmath.mpf(float(v)))) for g, v in zip(got, x, strict=True)) <= 2.5
    far = np.float32([-89.5, -1e4, -3e38, 81, 1e4, 3e38, 1e-40, -1e-40, -0.0])
    want = np.float32([0, 0, 0, 1, 1, 1, 0.5, 0.5, 0.5])
    np.testing.assert_array_equal(evaluate(functions.sigmoid(X), [far]), want)


def test_reciprocal_estimate_is_the_specifications():
    """Table of section 13.10, and the machine for all kinds of numbers."""
    first, last = [1, 1.0078125, 2, 0.5, -1], [1.984375, 1.9921875]  # entries 127, 125, .., 1, 0
    low = np.float32([*first, *last, 0.0, -0.0, np.inf, -np.inf])
    known = [255 / 256, 253 / 256, 255 / 512, 255 / 128, -255 / 256, 129 / 256, 0.5]
    want = np.float32([*known, np.inf, -np.inf, 0, -0.0])
    np.testing.assert_array_equal(evaluate(unary("rec7", X), [low]), want)
    drawn = np.random.default_rng(9).integers(0, 2**32, 600, dtype=np.uint32).view(np.float32)
    edges = np.float32(
        [2.0**-126, 2.0**-127, 2.0**-128, 2.0**-129, 2.0**126, 2.0**127, 3.4e38, 1e-45, np.nan]
    )
    x = np.concatenate([low, drawn, edges, -edges])
    got, want = execute(Pointwise(unary("rec7", X), (Array("float32"),)), [x], 1, len(x))
    np.testing.assert_array_equal(got.view(np.uint32), want.view(np.uint32))


def test_simplified_products_keep_their_bits():
    """x sigmoid(x) and one of another factor, which may not be left out."""
    x, y = arguments("float32", "float32")
    values = np.float32([np.nan, np.inf, -np.inf, 0, -0.0, 2, -3, 1e-40])
    other = values[::-1].copy()
    sigmoid = functions.sigmoid(x)
    for value, less in ((x * sigmoid, True), (sigmoid * x, True), (y * sigmoid, False)):
        made = simplified(value)
        assert any(item.op == "select" for item in made.walk()) != less
        before, after = (evaluate(item, [values, other]) for item in (value, made))
        np.testing.assert_array_equal(before.view(np.uint32), after.view(np.uint32))


def test_special_values():
    inf, nan = np.inf, np.nan
    expected = {"exp": {-inf: 0, inf: inf}, "log": {0: -inf, -1: nan, inf: inf}, "tanh": {inf: 1, -inf: -1},
                "erf": {inf: 1, -inf: -1}, "sigmoid": {inf: 1, -inf: 0}, "atan": {inf: np.pi / 2}, "sin": {inf: nan},
                "acosh": {1: 0, 0.5: nan, inf: inf}, "atanh": {1: inf, -1: -inf, 2: nan}, "expm1": {-inf: -1, inf: inf},
                "log1p": {-1: -inf, -2: nan, inf: inf}, "sinh": {-inf: -inf}, "cosh": {-inf: inf},
                "asinh": {-inf: -inf}, "asin": {2: nan}, "acos": {1: 0}, "softplus": {-inf: 0, inf: inf}}  # fmt: skip
    for name, cases in expected.items():
        x = np.float32([*cases, nan])
        got = evaluate(functions.FUNCTIONS[name](X), [x])
        np.testing.assert_allclose(got, np.float32([*cases.values(), nan]), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", ["floor", "ceil", "rint"])
def test_rounding_is_exact(name):
    x = np.concatenate(
        [samples(np.random.default_rng(5), "any", 2000), np.float32([0.5, 1.5, -0.5, -0.0, 2**23 - 0.5])]
    )
    got = evaluate(getattr(functions, name)(X), [x])
    np.testing.assert_array_equal(got.view(np.uint32), getattr(np, name)(x).view(np.uint32))


def test_power_agrees_with_numpy():
    rng = np.random.default_rng(4)
    base, exponent = arguments("float32", "float32")
    x = np.concatenate(
        [rng.standard_normal(500), [0, -0.0, 0, -0.0, np.inf, -np.inf, -np.inf, 1, -2, -8, 2, np.nan]]
    )
    y = np.concatenate([rng.integers(-3, 4, 500), [3, 3, -3, -3, 2, 3, -3, np.nan, 0.5, 3, 0, 0]])
    x, y = x.astype(np.float32), y.astype(np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(
            evaluate(functions.power(base, exponent), [x, y]), np.power(x, y), rtol=2e-6
        )
