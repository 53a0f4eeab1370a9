"""What a product's inputs look like over samples: means, and the Hessian of its output's square error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.ptq.products import Product

F64 = NDArray[np.float64]
COLUMNS = 1 << 16
"""Columns that the statistics of a product rest on, at most."""
DAMPINGS = (0.01, 0.1, 1.0, 10.0)
"""Of the least squares that find what weights should be, as parts of the Hessian's mean diagonal."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of one product; K runs as in `Product.matrix`.

    Attributes:
        hessian: [groups, K, K], mean of x x^T of the inputs that the quantized product sees.
        cross: [groups, K, K], mean of f x^T, where f are the inputs that the product has in the FP32 network.
        mean: [groups, K] of x.
        reference: [groups, K], mean of f.
        halves: Of the first and of the other half of the samples, if there are two.
    """

    hessian: F64
    cross: F64
    mean: F64
    reference: F64
    halves: tuple[Statistics, ...] = ()

    def centred(self) -> Statistics:
        """Of inputs less their means: what matters where a bias takes care of the means."""
        outer = self.mean[:, :, None] * self.mean[:, None, :]
        crossed = self.reference[:, :, None] * self.mean[:, None, :]
        halves = tuple(half.centred() for half in self.halves)
        return replace(self, hessian=self.hessian - outer, cross=self.cross - crossed, halves=halves)

    def target(self, weights: F64) -> F64:
        """Weights [groups, O, K] that come nearest to the FP32 outputs with the inputs that are seen.

        Least squares: w E[f x^T] (E[x x^T] + damping)^-1, drawn towards ``weights`` where inputs say little. They make
        good what quantized activations lose before, such as the magnitude of values that saturate. The damping is that
        of `DAMPINGS` which serves each half of the samples best with what the other half says; where none serves, the
        weights stay.
        """
        if not self.halves:
            return weights + self._moved(weights, DAMPINGS[0])
        first, second = self.halves
        gains = {
            damping: second._gain(weights, first._moved(weights, damping))
            + first._gain(weights, second._moved(weights, damping))
            for damping in DAMPINGS
        }
        best = max(gains, key=lambda damping: gains[damping])
        return weights + self._moved(weights, best) if gains[best] > 0 else weights

    def _moved(self, weights: F64, damping: float) -> F64:
        """How far least squares move the weights."""
        size = self.hessian.shape[-1]
        level = np.einsum("gkk->g", self.hessian)[:, None, None] / size
        damped = self.hessian + np.where(level > 0, damping * level, 1.0) * np.eye(size)
        wanted = weights @ (self.cross - self.hessian)
        return np.asarray(np.linalg.solve(damped, wanted.transpose(0, 2, 1)).transpose(0, 2, 1))

    def _gain(self, weights: F64, moved: F64) -> float:
        """What the square error on these samples loses by moving the weights."""
        wanted = weights @ (self.cross - self.hessian)
        return float(2 * np.vdot(wanted, moved) - np.vdot(moved @ self.hessian, moved))

    def error(self, difference: F64) -> F64:
        """Mean square error of every output [groups, O] whose weights are off by ``difference`` [groups, O, K]."""
        squares = np.einsum("gok,gkl,gol->go", difference, self.hessian, difference, optimize=True)
        return np.asarray(np.maximum(squares, 0.0), np.float64)


def gather(
    product: Product, quantized: Sequence[NDArray[np.float32]], exact: Sequence[NDArray[np.float32]]
) -> Statistics:
    """Statistics of a product's inputs, batch by batch, in the quantized network and in the FP32 one.

    The halves are the first and the last columns of every batch: samples follow one another there.
    """
    most = max(COLUMNS // max(len(quantized), 1), 16)
    sums = [_Sums(), _Sums()]
    for seen, wanted in zip(quantized, exact, strict=True):
        x, f = product.columns(seen, most), product.columns(wanted, most)
        middle = -(-x.shape[2] // 2)
        for half, columns in zip(sums, (slice(None, middle), slice(middle, None)), strict=True):
            half.add(x[:, :, columns], f[:, :, columns])
    halves = tuple(half.statistics() for half in sums if half.count)
    whole = sums[0].joined(sums[1]).statistics()
    return replace(whole, halves=halves if len(halves) == 2 else ())


@dataclass(eq=False)
class _Sums:
    hessian: F64 | float = 0.0
    cross: F64 | float = 0.0
    mean: F64 | float = 0.0
    reference: F64 | float = 0.0
    count: int = 0

    def add(self, x: NDArray[np.float32], f: NDArray[np.float32]) -> None:
        """Columns [groups, K, n] that are seen, and those of the FP32 network."""
        across = x.transpose(0, 2, 1)
        self.hessian = self.hessian + np.matmul(x, across).astype(np.float64)
        self.cross = self.cross + np.matmul(f, across).astype(np.float64)
        self.mean = self.mean + x.sum(axis=2, dtype=np.float64)
        self.reference = self.reference + f.sum(axis=2, dtype=np.float64)
        self.count += x.shape[2]

    def joined(self, other: _Sums) -> _Sums:
        """Of both."""
        return _Sums(
            self.hessian + other.hessian,
            self.cross + other.cross,
            self.mean + other.mean,
            self.reference + other.reference,
            self.count + other.count,
        )

    def statistics(self) -> Statistics:
        """Means over the columns."""
        hessian, cross, mean, reference = (
            np.asarray(item, np.float64) / self.count
            for item in (self.hessian, self.cross, self.mean, self.reference)
        )
        return Statistics(hessian, cross, mean, reference)
