"""Beta and binomial distributions, as numpy has no special functions."""

from __future__ import annotations

from math import exp, lgamma, log, log1p

TINY = 1e-300


def log_beta(a: float, b: float) -> float:
    """Logarithm of the beta function."""
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of DLMF 8.17.22 by Lentz's method as modified by Thompson and Barnett."""
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > TINY else TINY)
    result = d
    for m in range(1, 100_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 + term * d, 1 + term / c
            d, c = 1 / (d if abs(d) > TINY else TINY), c if abs(c) > TINY else TINY
            result *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return result


def beta_cdf(x: float, a: float, b: float) -> float:
    """P(X <= x) of Beta(a, b): the regularized incomplete beta function I_x(a, b)."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    front = a * log(x) + b * log1p(-x) - log_beta(a, b)
    if x < (a + 1) / (a + b + 2):  # where the fraction converges fast
        return exp(front) * _fraction(a, b, x) / a
    return 1 - exp(front) * _fraction(b, a, 1 - x) / b


def beta_quantile(q: float, a: float, b: float) -> float:
    """x with P(X <= x) = q of Beta(a, b), by bisection."""
    low, high = 0.0, 1.0
    while True:
        middle = (low + high) / 2
        if middle in (low, high):  # neighbours
            return middle
        low, high = (middle, high) if beta_cdf(middle, a, b) < q else (low, middle)


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X <= k) of Binomial(n, p)."""
    if k < 0:
        return 0.0
    return 1.0 if k >= n else beta_cdf(1 - p, n - k, k + 1)
