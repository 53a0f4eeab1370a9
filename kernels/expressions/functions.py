"""Functions that no instruction computes, as expressions of FP32 operations.

Polynomials are minimax fits of our own (Lawson's algorithm, coefficients rounded to FP32). `ULP` states a bound of
each function's error in units in the last place of the exact result over the range that its docstring names;
`tests/kernels/nn/test_functions.py` checks it on dense samples. NaN gives NaN everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from potluck.kernels.expressions.graph import (
    Value,
    cast,
    constant,
    copysign,
    differs,
    equal,
    fma,
    maximum,
    minimum,
    select,
    shift_right,
    unary,
)

ULP = {
    "exp": 2.0, "expm1": 2.5, "log": 1.5, "log1p": 3.0, "sigmoid": 4.0, "tanh": 3.0, "erf": 3.0, "sin": 2.0,
    "cos": 2.0, "tan": 4.0, "asin": 3.0, "acos": 3.0, "atan": 2.5, "sinh": 4.0, "cosh": 3.0, "asinh": 4.0,
    "acosh": 4.0, "atanh": 4.0, "softplus": 3.5,
}  # fmt: skip
"""Error bound in ulp."""

_f = float.fromhex
MAGIC = 12582912.0
"""1.5 * 2^23: adding and subtracting it rounds to the nearest integer, below 2^22."""
LOG2E = _f("0x1.715476p+0")
LN2_HIGH, LN2_LOW = _f("0x1.62e4p-1"), _f("0x1.7f7d1cp-20")
SCALE = 8388608.0
"""2^23, the weight of an exponent's last bit in an encoding."""
_EXP = (
    _f("0x1.fffffcp-2"),
    _f("0x1.55548ap-3"),
    _f("0x1.555916p-5"),
    _f("0x1.123fc8p-7"),
    _f("0x1.6a1a62p-10"),
)
_EXPM1 = (
    0.5,
    _f("0x1.555556p-3"),
    _f("0x1.5554a6p-5"),
    _f("0x1.111092p-7"),
    _f("0x1.6d7bdap-10"),
    _f("0x1.a19e2p-13"),
)
_LOG = (_f("0x1.55554ap-2"), _f("-0x1.000222p-2"), _f("0x1.99a5ap-3"), _f("-0x1.54783cp-3"), _f("0x1.226d26p-3"),
        _f("-0x1.0ce296p-3"), _f("0x1.07da1p-3"), _f("-0x1.41f902p-4"))  # fmt: skip
_TANH = (
    _f("-0x1.555532p-2"),
    _f("0x1.11071p-3"),
    _f("-0x1.b837ecp-5"),
    _f("0x1.520212p-6"),
    _f("-0x1.7520dp-8"),
)
_ERF = (_f("0x1.20dd76p+0"), _f("-0x1.812742p-2"), _f("0x1.ce2de2p-4"), _f("-0x1.b80b0ep-6"), _f("0x1.54a49p-8"),
        _f("-0x1.a8fc64p-11"), _f("0x1.589458p-14"))  # fmt: skip
_ERFC = (_f("0x1.6cee26p-12"), _f("-0x1.21609p+0"), _f("-0x1.43544ep-1"), _f("-0x1.c4842cp-4"), _f("0x1.b5cde6p-6"),
         _f("-0x1.416fcep-8"), _f("0x1.5080d2p-11"), _f("-0x1.cb1bdcp-15"), _f("0x1.5a6afep-19"),
         _f("-0x1.7cf47ep-25"))  # fmt: skip
_TAIL = (_f("-0x1.62e42ep-1"), _f("-0x1.9884ccp-1"), _f("-0x1.45e95p-2"), _f("-0x1.2ac7dep-5"), _f("0x1.48fa22p-8"),
         _f("-0x1.80be76p-13"), _f("-0x1.9f9f66p-14"), _f("0x1.92dd08p-16"), _f("-0x1.457602p-19"),
         _f("0x1.9f7bdep-24"))  # fmt: skip
"""ln of the normal distribution's upper tail on [0, `_TAIL_END`]."""
_TAIL_END, _TAIL_SLOPE = 5.5, 5.9
_SIN = (_f("-0x1.555556p-3"), _f("0x1.111108p-7"), _f("-0x1.a00f32p-13"), _f("0x1.6cbecap-19"))
_COS = (_f("0x1.555556p-5"), _f("-0x1.6c16b8p-10"), _f("0x1.a010c4p-16"), _f("-0x1.2417dcp-22"))
_ATAN = (_f("-0x1.555554p-2"), _f("0x1.999914p-3"), _f("-0x1.247e5p-3"), _f("0x1.c4557ep-4"), _f("-0x1.5ad954p-4"),
         _f("0x1.83248p-5"))  # fmt: skip
_ASIN = (_f("0x1.55554cp-3"), _f("0x1.3338ap-4"), _f("0x1.6ca99cp-5"), _f("0x1.04bd9p-5"), _f("0x1.d6803ep-7"),
         _f("0x1.3443d8p-5"))  # fmt: skip
_PI_PARTS = (_f("0x1.922p+0"), _f("-0x1.2afp-18"), _f("0x1.0b4612p-34"))
"""pi / 2 in three parts; products of the first two with integers below 2^10 are exact."""


def polynomial(x: Value, coefficients: Sequence[float]) -> Value:
    """Horner's rule in fused steps; coefficients in ascending order."""
    result: Value = constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = fma(result, x, constant(coefficient))
    return result


def power_of_two(n: Value) -> Value:
    """2^n for an integer n as float, -126 <= n <= 127: the float (n + 127) * 2^23 becomes the encoding."""
    return cast("from_bits", cast("truncate", fma(SCALE, n, 127 * SCALE)))


def _keep_nan(x: Value, result: Value) -> Value:
    return select(differs(x, x), x, result)


def _reduce_exp(x: Value) -> tuple[Value, Value]:
    """(n, f) with x = n ln 2 + f, n an integer, |f| <= 0.35."""
    n = fma(LOG2E, x, MAGIC) - MAGIC
    return n, fma(-LN2_LOW, n, fma(-LN2_HIGH, n, x))


def exp(x: Value) -> Value:
    """e^x; subnormal results are rounded twice (a further 0.5 ulp of theirs)."""
    clamped = minimum(maximum(x, -104.0), 89.0)
    n, f = _reduce_exp(clamped)
    series = fma(f * f, polynomial(f, _EXP), f) + 1.0
    half = fma(0.5, n, MAGIC) - MAGIC  # two factors: 2^n itself may be out of range
    return _keep_nan(x, series * power_of_two(half) * power_of_two(n - half))


def expm1(x: Value) -> Value:
    """e^x - 1."""
    clamped = minimum(maximum(x, -20.0), 89.0)
    n, f = _reduce_exp(clamped)
    series = fma(f * f, polynomial(f, _EXPM1), f)
    half = fma(0.5, n, MAGIC) - MAGIC
    first, second = power_of_two(half), power_of_two(n - half)
    result = select(equal(n, 0.0), series, fma(series, first, first - 1.0 / second) * second)
    return _keep_nan(x, select(unary("abs", x) < 1e-30, x, result))


def _log_parts(x: Value) -> tuple[Value, Value]:
    """(e, f) with x = 2^e (1 + f), 1 + f in [sqrt 0.5, sqrt 2); positive finite x, subnormals too."""
    tiny = x < 2.0**-126
    scaled = select(tiny, x * 2.0**24, x)
    bits = cast("bits", scaled)
    # As far above sqrt(0.5) as the encoding is, so far is the exponent above that of the mantissa's binade.
    shifted = bits - 0x3F3504F3
    exponent = shift_right(shifted, 23, signed=True)
    mantissa = cast("from_bits", (shifted & 0x7FFFFF) + 0x3F3504F3)
    e = cast("float", exponent)
    return select(tiny, e - 24.0, e), mantissa - 1.0


def log(x: Value) -> Value:
    """ln x; -inf of zeros, NaN of negative numbers."""
    e, f = _log_parts(x)
    return _log_ends(x, _log_sum(e, f))


def _log_sum(e: Value, f: Value) -> Value:
    square = f * f
    tail = fma(square * f, polynomial(f, _LOG), e * LN2_LOW)
    return fma(LN2_HIGH, e, f + fma(-0.5, square, tail))


def _log_ends(x: Value, result: Value) -> Value:
    bounded = select(x < math.inf, result, x)
    bounded = select(equal(x, 0.0), constant(-math.inf), bounded)
    return select(x < 0.0, constant(math.nan), _keep_nan(x, bounded))


def log1p(x: Value) -> Value:
    """ln(1 + x): the rounding error of 1 + x is added back."""
    total = x + 1.0
    error = select(x < 1.0, x - (total - 1.0), 1.0 - (total - x))
    correction = select(unary("abs", total) < 1e30, error / total, constant(0.0))
    e, f = _log_parts(total)
    near = _log_ends(total, _log_sum(e, f) + correction)
    return select(unary("abs", x) < 1e-30, x, near)


def sigmoid(x: Value) -> Value:
    """1 / (1 + e^-x) as p / (p + s) with e^-x = s / p: both times 4, so that p = 2^(2 - n) is normal until it is 0.

    It is 0 below -89.1. The reciprocal of p + s, which is from 2 to 2^118, is `_reciprocal_of_negative`.
    """
    bounded = maximum(minimum(x, 80.0), -89.3)
    n = fma(-LOG2E, bounded, MAGIC) - MAGIC
    back = fma(LN2_LOW, n, fma(LN2_HIGH, n, bounded))  # -f, see `_reduce_exp`
    signs = (-1.0, 1.0, -1.0, 1.0, -1.0)
    tail = polynomial(back, [sign * number for sign, number in zip(signs, _EXP, strict=True)])
    negative = fma(4.0, fma(back * back, tail, back), -4.0)  # -4 e^f
    power = cast("from_bits", cast("truncate", fma(-SCALE, n, 129 * SCALE)))
    return _keep_nan(x, power * _reciprocal_of_negative(negative - power))


def _reciprocal_of_negative(x: Value) -> Value:
    """-1 / x for normal -2^126 < x < -2^-126, within 0.6 ulp: an estimate and two of Newton's steps.

    They take a third of a division's time. The first one turns the sign, which the second one's residual needs.
    """
    estimate = unary("rec7", x)
    near = estimate * fma(x, estimate, -2.0)
    return fma(near, fma(x, near, 1.0), near)


def tanh(x: Value) -> Value:
    """The hyperbolic tangent."""
    size = unary("abs", x)
    square = x * x
    near = fma(square * x, polynomial(square, _TANH), x)
    far = fma(-2.0, 1.0 / (exp(size + size) + 1.0), constant(1.0))
    return select(size < 0.625, near, _keep_nan(x, copysign(far, x)))


def erf(x: Value) -> Value:
    """The error function."""
    size = unary("abs", x)
    near = x * polynomial(x * x, _ERF)
    far = 1.0 - exp(polynomial(minimum(size, 4.1), _ERFC))
    return select(size < 0.92, near, _keep_nan(x, copysign(far, x)))


def gelu(x: Value) -> Value:
    """x (1 + erf(x / sqrt 2)) / 2, as max(x, 0) - |x| Q(|x|) with the normal distribution's upper tail Q.

    Selections run at a quarter of the rate of arithmetic; there are none. Errors are below 3e-7, relative ones below
    5e-6 above -5.5 (where the sum with erf has cancelled), and 2e-7 for positive x.
    """
    size = unary("abs", x)
    inner = minimum(size, _TAIL_END)
    exponent = fma(inner - size, constant(_TAIL_SLOPE), polynomial(inner, _TAIL))
    tail = _exp_of_negative(maximum(exponent, -87.0))
    return fma(-inner, tail, fma(0.5, x, size * 0.5))  # halves: NaN stays NaN


def _exp_of_negative(x: Value) -> Value:
    """e^x for -87 <= x <= 0, where one factor is enough."""
    n, f = _reduce_exp(x)
    return (fma(f * f, polynomial(f, _EXP), f) + 1.0) * power_of_two(n)


def gelu_tanh(x: Value) -> Value:
    """GELU's approximation by tanh, as ONNX defines it."""
    inner = fma(x * x * x, constant(0.044715), x) * math.sqrt(2 / math.pi)
    return x * 0.5 * (tanh(inner) + 1.0)


def softplus(x: Value) -> Value:
    """ln(1 + e^x)."""
    return maximum(x, 0.0) + log1p(exp(-unary("abs", x)))


def _reduce_angle(x: Value) -> tuple[Value, Value]:
    """(quadrant as integer, rest in [-pi/4, pi/4])."""
    n = fma(2 / math.pi, x, MAGIC) - MAGIC
    rest = fma(-_PI_PARTS[0], n, x)
    for part in _PI_PARTS[1:]:
        rest = fma(-part, n, rest)
    return cast("round", n), rest


def _sine(rest: Value) -> Value:
    square = rest * rest
    return fma(square * rest, polynomial(square, _SIN), rest)


def _cosine(rest: Value) -> Value:
    square = rest * rest
    return fma(square * square, polynomial(square, _COS), fma(-0.5, square, constant(1.0)))


def _turn(x: Value, by: int) -> Value:
    quadrant, rest = _reduce_angle(x)
    quadrant = quadrant + by if by else quadrant
    odd = differs(quadrant & 1, 0)
    result = select(odd, _cosine(rest), _sine(rest))
    flipped = select(differs(quadrant & 2, 0), -result, result)
    return select(unary("abs", x) < math.inf, flipped, constant(math.nan))


def sin(x: Value) -> Value:
    """The sine, |x| <= 1,000; beyond, the error grows with |x| 2^-36 (no Payne-Hanek reduction)."""
    return select(unary("abs", x) < 2.0**-12, x, _turn(x, 0))


def cos(x: Value) -> Value:
    """The cosine; as `sin`."""
    return _turn(x, 1)


def tan(x: Value) -> Value:
    """The tangent; as `sin`."""
    quadrant, rest = _reduce_angle(x)
    odd = differs(quadrant & 1, 0)
    sine, cosine = _sine(rest), _cosine(rest)
    quotient = select(odd, -cosine, sine) / select(odd, sine, cosine)
    return select(unary("abs", x) < math.inf, quotient, constant(math.nan))


def atan(x: Value) -> Value:
    """The arc tangent."""
    size = unary("abs", x)
    steep, middle = size > math.tan(3 * math.pi / 8), size > math.tan(math.pi / 8)
    inner = select(steep, -1.0 / size, select(middle, (size - 1.0) / (size + 1.0), size))
    offset = select(steep, constant(math.pi / 2), select(middle, constant(math.pi / 4), constant(0.0)))
    square = inner * inner
    result = offset + fma(square * inner, polynomial(square, _ATAN), inner)
    return _keep_nan(x, copysign(result, x))


def asin(x: Value) -> Value:
    """The arc sine; NaN beyond 1."""
    size = unary("abs", x)
    far = size > 0.5
    halved = (1.0 - size) * 0.5
    square = select(far, halved, size * size)
    root = select(far, unary("sqrt", halved), size)
    series = fma(square * root, polynomial(square, _ASIN), root)
    result = select(far, fma(-2.0, series, constant(math.pi / 2)), series)
    return select(size > 1.0, constant(math.nan), _keep_nan(x, copysign(result, x)))


def acos(x: Value) -> Value:
    """The arc cosine; NaN beyond 1."""
    size = unary("abs", x)
    far = size > 0.5
    halved = (1.0 - size) * 0.5
    square = select(far, halved, size * size)
    root = select(far, unary("sqrt", halved), size)
    series = fma(square * root, polynomial(square, _ASIN), root)
    near = (constant(math.pi / 2) - copysign(series, x)) + constant(_f("-0x1.777a5cp-25"))
    double = series + series
    outer = select(x < 0.0, (constant(math.pi) - double) + constant(_f("-0x1.777a5cp-24")), double)
    return select(size > 1.0, constant(math.nan), _keep_nan(x, select(far, outer, near)))


def sinh(x: Value) -> Value:
    """The hyperbolic sine."""
    size = unary("abs", x)
    grown = expm1(minimum(size, 88.0))
    near = (grown + grown / (grown + 1.0)) * 0.5
    half = exp(size * 0.5)
    return _keep_nan(x, copysign(select(size > 80.0, half * 0.5 * half, near), x))


def cosh(x: Value) -> Value:
    """The hyperbolic cosine."""
    size = unary("abs", x)
    grown = exp(minimum(size, 88.0))
    half = exp(size * 0.5)
    return _keep_nan(x, select(size > 80.0, half * 0.5 * half, (grown + 1.0 / grown) * 0.5))


def asinh(x: Value) -> Value:
    """The inverse hyperbolic sine."""
    size = unary("abs", x)
    square = size * size
    near = log1p(size + square / (unary("sqrt", square + 1.0) + 1.0))
    return _keep_nan(x, copysign(select(size > 1e9, log(size) + math.log(2), near), x))


def acosh(x: Value) -> Value:
    """The inverse hyperbolic cosine; NaN below 1."""
    above = x - 1.0
    near = log1p(above + unary("sqrt", fma(above, above, above + above)))
    return _keep_nan(x, select(x > 1e9, log(x) + math.log(2), near))


def atanh(x: Value) -> Value:
    """The inverse hyperbolic tangent; NaN beyond 1."""
    size = unary("abs", x)
    twice = size + size
    return _keep_nan(x, copysign(log1p(twice / (1.0 - size)) * 0.5, x))


def truncated(x: Value) -> Value:
    """x rounded towards zero, as a float."""
    whole = copysign(cast("float", cast("truncate", x)), x)
    return select(unary("abs", x) < SCALE, whole, x)


def floor(x: Value) -> Value:
    """The largest integer that is not above x."""
    whole = truncated(x)
    return select(whole > x, whole - 1.0, whole)


def ceil(x: Value) -> Value:
    """The smallest integer that is not below x; -0 of (-1, 0)."""
    whole = truncated(x)
    return select(whole < x, whole + 1.0, whole)


def rint(x: Value) -> Value:
    """x rounded to the nearest integer, ties to even."""
    whole = copysign(cast("float", cast("round", x)), x)
    return select(unary("abs", x) < SCALE, whole, x)


def power(x: Value, y: Value) -> Value:
    """x^y as exp(y ln |x|), with the sign and the exceptions of IEEE 754 pow.

    The relative error grows with the exponent: up to (3 + 2 |y ln x|) ulp.
    """
    size = unary("abs", x)
    result = exp(y * log(size))
    integral = ~differs(truncated(y), y)
    half = y * 0.5
    odd = integral & differs(truncated(half), half)
    negative = x < 0.0
    signed = select(odd & signed_bit(x), -result, result)
    valid = select(negative & ~integral & (size < math.inf), constant(math.nan), signed)
    return select(equal(y, 0.0) | equal(x, 1.0), constant(1.0), valid)


def signed_bit(x: Value) -> Value:
    """Where the sign bit is set."""
    return cast("bits", x) < 0


FUNCTIONS = {name: function for name, function in globals().items() if name in ULP}
"""The functions of one argument that `ULP` bounds."""
assert FUNCTIONS.keys() == ULP.keys()
