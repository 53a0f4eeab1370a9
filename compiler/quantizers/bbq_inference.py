"""BBQ at inference: integers from the activation's first rounding to the sums (BBQ-Fast, docs/bbq.md).

    x8 = clip(rint(x rate), -127, 127)                FP32 product, ties to even
    a  = x8 blockdiag(H)                              int16: at most 127 block
    k  = number of T_i <= a                           T_i = ceil(t_i sqrt(block) rate / r), r = 1 / sigma
    acc[o] = sum of Q_x[k] Q_w[o, k]                  int32, stored integers of the codes
    y[o] = FP32(acc[o]) factor[o] + bias[o]           two FP32 roundings, then clipping

Every step is exact or one FP32 rounding, so the ONNX functions ``BbqQuantize`` and ``BbqMatMul``, this module and the
machine agree bit for bit.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.compiler.quantizers.bbq import FLOOR_DB, BbqTensor, forward, rms, rotate, tree_sum
from potluck.isa.errors import DataError
from potluck.isa.formats.bbq import BLOCKS, PEAK, BbqFormat, integer_codes

F32 = NDArray[np.float32]


class BbqCeilingWarning(UserWarning):
    """BBQ was asked to approximate a trained tensor, which it is not made for."""


@dataclass(frozen=True)
class BbqActivation:
    """How an activation becomes codes at run time.

    Attributes:
        kind: Codes.
        block: Hadamard block along the channels, one of `BLOCKS` or less.
        rate: Steps of x8 per unit of x, an FP32 value.
        thresholds: T_i, ascending, within int16.
        gamma: Scale of the codes.
    """

    kind: BbqFormat
    block: int
    rate: float
    thresholds: tuple[int, ...]
    gamma: float

    @classmethod
    def calibrated(
        cls, kind: BbqFormat, block: int, peak: float, reciprocal: float, gamma: float
    ) -> BbqActivation:
        """From statistics of an activation.

        Args:
            kind: Codes.
            block: Hadamard block.
            peak: Largest magnitude that x8 holds; larger values saturate.
            reciprocal: 1 / RMS (of x or of its rotation: the same), as training or calibration left it.
            gamma: Scale.

        Raises:
            DataError: A statistic is not positive and finite, or the block does not fit int16.
        """
        if block > BLOCKS[0]:
            raise DataError(f"a Hadamard block of {block} overflows int16", hint=f"Use up to {BLOCKS[0]}")
        for name, value in (("peak", peak), ("1 / sigma", reciprocal)):
            if not 0 < value < math.inf:
                raise DataError(
                    f"the {name} of an activation is {value}", hint="Calibrate on data that is not all zero"
                )
        rate = np.float32(PEAK / peak)
        factor = math.sqrt(block) * float(rate) / reciprocal
        beyond = PEAK * block + 1  # what no sum reaches
        found = tuple(
            int(min(max(math.ceil(t * factor), 1 - beyond), beyond)) for t in kind.thresholds.tolist()
        )
        return cls(kind, block, float(rate), found, gamma)

    def codes(self, x: ArrayLike) -> NDArray[np.int8]:
        """Stored integers of x [..., K]."""
        return integer_codes(x, self.rate, self.thresholds, self.kind, self.block)


@dataclass(frozen=True, eq=False)
class BbqLayer:
    """A product with BBQ operands.

    Attributes:
        activation: Of its input.
        weights: Stored integers int8 [K, N]; of a convolution [Cout, C, KH, KW].
        factor: FP32 [N]: gamma_x gamma_w[o] times both units, rounded once.
        bias: FP32 [N].
    """

    activation: BbqActivation
    weights: NDArray[np.int8]
    factor: F32
    bias: F32

    def __call__(self, x: ArrayLike) -> F32:
        """y [..., N] of x [..., K], bit for bit what the machine computes."""
        return product(self.activation.codes(x), self.weights, self.factor, self.bias)


def product(codes: NDArray[np.int8], weights: NDArray[np.int8], factor: F32, bias: F32) -> F32:
    """FP32 [..., N] from codes [..., K] and weights [K, N]."""
    # Sums of products of int8 are exact in double precision, where the product is fast.
    acc = (codes.astype(np.float64) @ weights.astype(np.float64)).astype(np.int32)
    return np.asarray(acc.astype(np.float32) * factor + bias, np.float32)


def factor_of(activation: BbqActivation, gamma: ArrayLike, kind: BbqFormat) -> F32:
    """What an accumulator is multiplied by, for weights of scale ``gamma`` [N] and codes ``kind``."""
    units = activation.kind.unit * kind.unit
    return np.asarray(activation.gamma * np.asarray(gamma, np.float64) * units).astype(np.float32)


def least_squares(tensor: BbqTensor) -> BbqTensor:
    """The tensor with the scale of each row that makes its values closest to the rotated ones."""
    u = tensor.u
    squares = tree_sum(u * u)
    gamma = tree_sum(tensor.rotated * u) / np.where(squares > 0, squares, 1)
    return BbqTensor(tensor.codes, tensor.sigma, gamma, tensor.kind, tensor.block, tensor.rotated)


def approximate(weights: ArrayLike, kind: BbqFormat, block: int | None = None) -> BbqTensor:
    """BBQ of weights [O, K] that were trained without it (PTQ): codes, and the best scale per row. Warns.

    Raises:
        DataError: See `potluck.compiler.quantizers.bbq.forward`.
    """
    warn_ceiling()
    return least_squares(forward(weights, kind, block))


def warn_ceiling() -> None:
    """Says what BBQ costs a network that was not trained with it."""
    warnings.warn(
        f"BBQ without training cannot exceed {FLOOR_DB:.2f} dB of signal to noise on normal data (linear mode), at any "
        "bit width: its codes replace the identity by 2 Phi - 1. Train with potluck.train, or quantize to MX or "
        "integers",
        BbqCeilingWarning,
        stacklevel=3,
    )


def calibrate(x: ArrayLike, kind: BbqFormat, block: int) -> BbqActivation:
    """The activation's parameters from samples [..., K]: peak, mean 1/sigma, and the least-squares scale.

    Raises:
        DataError: The samples are empty, all zero, NaN or infinite.
    """
    array = np.asarray(x, np.float64)
    if not array.size or not np.isfinite(array).all():
        raise DataError("calibration data is empty, NaN or infinite", hint="Give finite samples")
    peak = float(np.abs(array).max())
    if not peak:
        raise DataError("calibration data is all zero", hint="Give samples of what the layer sees")
    rotated = rotate(array, block).reshape(-1)
    reciprocal = 1 / float(rms(rotated))
    made = BbqActivation.calibrated(kind, block, peak, reciprocal, 1.0)
    u = made.codes(array).reshape(-1).astype(np.float64) * kind.unit
    gamma = float(tree_sum(rotated * u) / tree_sum(u * u))
    return BbqActivation(kind, block, made.rate, made.thresholds, gamma)
