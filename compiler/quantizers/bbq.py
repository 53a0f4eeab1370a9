"""Bell Box Quantization (Yang and Aamodt, arXiv 2603.01599): forward, backward and initialization in NumPy.

With n = 2^bits, H a block Hadamard matrix along the contraction and t_i = Phi^-1(i / n), the normal quantiles:

    a = x H        sigma = RMS(a)        v = a / sigma
    k = number of t_i <= v               equiprobable bins of a normal variable: codes of the highest entropy
    q = k - 2^(bits-1) - z               the number that is multiplied
    value = (gamma / 2^(bits-1)) q       stays in the rotated domain

The value is no approximation of x (see `FLOOR_DB`); both operands of a product are rotated, and the scales gamma are
learned. Everything is double precision in an order that is stated, so results can be compared bit for bit: the
rotation is butterflies of stride 1, 2, 4, ... and one product with h^(-1/2); sums are `tree_sum`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError
from potluck.isa.formats.bbq import BbqFormat, block_of, butterflies

F64 = NDArray[np.float64]
INITIAL = 1.694
"""gamma at the first step over the RMS of the whole rotated tensor (the paper's zeta*; 3/sqrt(pi) in the limit)."""
LEAST_SIGMA = 1e-8
"""Rows that are all zero get this sigma, hence the code of v = 0."""
DECAY = 0.99
"""Of the running mean of 1/sigma in BBQ-Fast."""
FLOOR_DB = -10 * math.log10(1 - 3 / math.pi)
"""Signal to noise of linear BBQ on normal input as bits go to infinity: 2 Phi - 1 stands for the identity."""


def rotate(x: ArrayLike, block: int) -> F64:
    """x blockdiag(H) / sqrt(block) along the last axis; its own inverse."""
    return np.asarray(butterflies(np.asarray(x, np.float64), block) * block**-0.5)


def tree_sum(values: ArrayLike) -> F64:
    """Sum along the last axis, filled with zeros to a power of two: its halves are added until one is left."""
    left = np.asarray(values, np.float64)
    size = 1 << max(left.shape[-1] - 1, 0).bit_length()
    left = np.pad(left, [(0, 0)] * (left.ndim - 1) + [(0, size - left.shape[-1])])
    while left.shape[-1] > 1:
        half = left.shape[-1] // 2
        left = left[..., :half] + left[..., half:]
    return np.asarray(left[..., 0])


def rms(rotated: F64) -> F64:
    """Root mean square along the last axis, without the mean removed, at least `LEAST_SIGMA`."""
    return np.asarray(np.maximum(np.sqrt(tree_sum(rotated**2) / rotated.shape[-1]), LEAST_SIGMA))


def bins(rotated: F64, sigma: ArrayLike, kind: BbqFormat) -> NDArray[np.int8]:
    """k: how many thresholds t_i sigma are at most the value; a value on a threshold goes up."""
    scale = np.asarray(sigma, np.float64)[..., None]
    found = np.zeros(rotated.shape, np.int8)
    for threshold in kind.thresholds:
        found += rotated >= threshold * scale
    return found


@dataclass(frozen=True, eq=False)
class BbqTensor:
    """A quantized tensor; rows are all axes but the last.

    Attributes:
        codes: Stored integers, int8 [..., K].
        sigma: RMS, [...] per row or a scalar.
        gamma: Scale, like ``sigma``.
        kind: Codes.
        block: Hadamard block along K.
        rotated: v sigma, the values before binning: what the backward pass needs.
    """

    codes: NDArray[np.int8]
    sigma: F64
    gamma: F64
    kind: BbqFormat
    block: int
    rotated: F64

    @property
    def q(self) -> F64:
        """The numbers that are multiplied."""
        return self.codes.astype(np.float64) / self.kind.multiple

    @property
    def u(self) -> F64:
        """q / 2^(bits-1): what gamma multiplies."""
        return self.codes.astype(np.float64) * self.kind.unit

    @property
    def values(self) -> F64:
        """(gamma / 2^(bits-1)) q, in the rotated domain."""
        return np.asarray(self.u * self.gamma[..., None])

    @property
    def entropy(self) -> float:
        """Bits of information per code."""
        share = np.bincount(self.codes.reshape(-1).astype(np.int64) + 128) / self.codes.size
        return float(-(share[share > 0] @ np.log2(share[share > 0])))

    def reconstruct(self, mode: str = "linear") -> F64:
        """Values back in the domain of x, for products with unrotated operands.

        Args:
            mode: ``linear``; ``lut`` takes each bin's centroid times sigma, which multiplies no more by integers.

        Raises:
            DataError: No such mode.
        """
        if mode == "linear":
            return rotate(self.values, self.block)
        if mode != "lut":
            raise DataError(f"no reconstruction is called {mode!r}", hint="Use linear or lut")
        k = (self.codes.astype(np.int64) - self.kind.lowest) // self.kind.multiple
        return rotate(self.kind.centroids[k] * self.sigma[..., None], self.block)


def forward(
    x: ArrayLike,
    kind: BbqFormat,
    block: int | None = None,
    *,
    gamma: ArrayLike | None = None,
    per_row: bool = True,
    reciprocal: float | None = None,
) -> BbqTensor:
    """The quantizer.

    Args:
        x: [..., K].
        kind: Codes.
        block: Hadamard block, 1 for no rotation; None: `block_of`.
        gamma: Scale, a scalar or one per row; None: `INITIAL` times the RMS of the whole rotated tensor.
        per_row: sigma of each row (weights, or activations per token), or one of the whole tensor (activations).
        reciprocal: 1 / sigma of BBQ-Fast, which takes the place of both.

    Raises:
        DataError: NaN or infinity in x, or K does not fit the block.
    """
    array = np.asarray(x, np.float64)
    if not array.ndim or not array.size:
        raise DataError(f"BBQ of a tensor of shape {list(array.shape)}", hint="Give [..., K] with elements")
    if not np.isfinite(array).all():
        raise DataError("a tensor to quantize holds NaN or infinity", hint="Look where it comes from")
    size = block_of(array.shape[-1]) if block is None else block
    a = rotate(array, size)
    whole = rms(a.reshape(-1))
    rows = a.shape[:-1]
    if reciprocal is not None:
        if not 0 < reciprocal < math.inf:
            raise DataError(f"1 / sigma is {reciprocal}", hint="Calibrate on data that is not all zero")
        sigma = np.full(rows, 1 / reciprocal)
    else:
        sigma = rms(a) if per_row else np.broadcast_to(whole, rows)
    scale = INITIAL * whole if gamma is None else np.asarray(gamma, np.float64)
    codes = kind.codes[bins(a, sigma, kind)]
    return BbqTensor(codes, np.asarray(sigma), np.array(np.broadcast_to(scale, rows)), kind, size, a)


def backward(upstream: ArrayLike, tensor: BbqTensor, *, per_row: bool = True) -> tuple[F64, F64]:
    """Gradients of a loss by x and gamma, straight through the floor only: sigma, Phi and H are differentiated.

    Args:
        upstream: dL/dvalues, [..., K].
        tensor: From `forward` with the same ``per_row``.
        per_row: gamma and sigma per row, or one of each.

    Returns:
        dL/dx [..., K]; dL/dgamma, [...] or a scalar, divided by sqrt(elements of the whole tensor).
    """
    g = np.asarray(upstream, np.float64)
    sigma = tensor.sigma[..., None]
    v = tensor.rotated / sigma
    density = np.exp(-0.5 * v * v) / math.sqrt(2 * math.pi)
    g_v = 2 * tensor.gamma[..., None] * density * g
    along = g_v * v
    if per_row:
        mean = tree_sum(along)[..., None] / along.shape[-1]
    else:
        mean = np.asarray(tree_sum(along.reshape(-1)) / along.size)
    g_x = rotate((g_v - v * mean) / sigma, tensor.block)
    steps = g * tensor.u
    total = tree_sum(steps) if per_row else tree_sum(steps.reshape(-1))
    return g_x, np.asarray(total / math.sqrt(steps.size))


def running_reciprocal(previous: float | None, sigma: float, decay: float = DECAY) -> float:
    """BBQ-Fast's 1 / sigma after one more batch; the first batch starts it."""
    now = 1 / max(sigma, LEAST_SIGMA)
    return now if previous is None else decay * previous + (1 - decay) * now
