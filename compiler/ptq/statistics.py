"""What a product's inputs look like over samples: means, and the Hessian of its output's square error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.ptq.products import Product

F64 = NDArray[np.float64]
COLUMNS = 1 << 16
"""Columns that the statistics of a product rest on, at most."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of one product; K runs as in `Product.matrix`.

    Attributes:
        hessian: [groups, K, K], mean of x x^T of the inputs that the quantized product sees.
        cross: [groups, K, K], mean of f x^T, where f are the inputs that the product has in the FP32 network.
        mean: [groups, K] of x.
        reference: [groups, K], mean of f.
    """

    hessian: F64
    cross: F64
    mean: F64
    reference: F64

    def centred(self) -> Statistics:
        """Of inputs less their means: what matters where a bias takes care of the means."""
        outer = self.mean[:, :, None] * self.mean[:, None, :]
        crossed = self.reference[:, :, None] * self.mean[:, None, :]
        return Statistics(self.hessian - outer, self.cross - crossed, self.mean, self.reference)

    def target(self, weights: F64, damping: float) -> F64:
        """Weights [groups, O, K] that come nearest to the FP32 outputs with the inputs that are seen.

        Least squares: w E[f x^T] (E[x x^T] + damping)^-1, drawn towards ``weights`` where inputs say little. They make
        good what quantized activations lose before, such as the magnitude of values that saturate.
        """
        size = self.hessian.shape[-1]
        level = np.einsum("gkk->g", self.hessian)[:, None, None] / size
        damped = self.hessian + np.where(level > 0, damping * level, 1.0) * np.eye(size)
        moved = weights @ (self.cross - self.hessian)
        return np.asarray(weights + np.linalg.solve(damped, moved.transpose(0, 2, 1)).transpose(0, 2, 1))

    def error(self, difference: F64) -> F64:
        """Mean square error of every output [groups, O] whose weights are off by ``difference`` [groups, O, K]."""
        squares = np.einsum("gok,gkl,gol->go", difference, self.hessian, difference, optimize=True)
        return np.asarray(np.maximum(squares, 0.0), np.float64)


def gather(
    product: Product, quantized: Sequence[NDArray[np.float32]], exact: Sequence[NDArray[np.float32]]
) -> Statistics:
    """Statistics of a product's inputs, batch by batch, in the quantized network and in the FP32 one."""
    most = max(COLUMNS // max(len(quantized), 1), 16)
    hessian, cross, mean, reference, count = 0.0, 0.0, 0.0, 0.0, 0
    for seen, wanted in zip(quantized, exact, strict=True):
        x, f = product.columns(seen, most), product.columns(wanted, most)
        across = x.transpose(0, 2, 1)
        hessian = hessian + np.matmul(x, across).astype(np.float64)
        cross = cross + np.matmul(f, across).astype(np.float64)
        mean = mean + x.sum(axis=2, dtype=np.float64)
        reference = reference + f.sum(axis=2, dtype=np.float64)
        count += x.shape[2]
    sums = [np.asarray(item, np.float64) / count for item in (hessian, cross, mean, reference)]
    return Statistics(*sums)
