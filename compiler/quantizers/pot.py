"""Power-of-two weights: quantizers of FP32 weights, and the recovery of levels from int8 weights.

Sources: QKeras ``quantized_po2`` (its `po2`), APoT section 3 (arXiv 1909.13144), MSQ section 3 (arXiv 2012.04240),
and PoTAcc's delegate (arXiv 2605.06082), which finds the levels again in the int8 tensors of a TFLite file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError
from potluck.isa.formats.requantize import round_half_away
from potluck.isa.pot.codes import POT_FORMATS, QKERAS, PotFormat

Fit = Literal["max", "mse", "power"]
"""How a channel's scale is found: from its largest weight, by least squares, or as a power of two."""
Stored = Literal["int8", "levels"]
"""What an integer weight tensor holds: round(127 level / top), or the levels themselves."""
F32 = NDArray[np.float32]
SQUARES_ROUNDS = 10
EPSILON = 1e-7
"""Keras' epsilon: QKeras gives smaller magnitudes the lowest exponent."""


@dataclass(frozen=True, eq=False)
class PotWeights:
    """Weights of one layer as levels and per-channel scales; channels are the first axis.

    Attributes:
        levels: int16 [Cout, ...], of `format`.
        scale: FP32 [Cout]; a weight is level * scale.
        format: The code set.
        sums: int64 [Cout]: what the zero point of the activations is multiplied with, the sum of the levels (of the
            stored integers with ``compat_release``).
    """

    levels: NDArray[np.int16]
    scale: F32
    format: PotFormat
    sums: NDArray[np.int64]

    def codes(self, *, compat_release: bool = False) -> NDArray[np.uint8]:
        """Four-bit codes, one a byte."""
        return self.format.encode(self.levels, compat_release=compat_release)

    def dequantize(self) -> F32:
        """FP32 weights, each product rounded once."""
        return np.asarray(self.levels.astype(np.float32) * _per_channel(self.scale, self.levels.ndim))

    def folded_bias(self, bias: ArrayLike, zero_point: int) -> NDArray[np.int32]:
        """int32 bias [Cout] minus zero_point times `sums`: what an accelerator adds to sums of raw activations."""
        return (np.asarray(bias, np.int64) - zero_point * self.sums).astype(np.int32)


def _made(levels: NDArray[np.int16], scale: ArrayLike, kind: PotFormat) -> PotWeights:
    sums = levels.reshape(len(levels), -1).sum(axis=1, dtype=np.int64)
    return PotWeights(levels, np.asarray(scale, np.float32), kind, sums)


def _per_channel(values: NDArray[np.floating[Any]], rank: int) -> NDArray[np.floating[Any]]:
    return values.reshape(-1, *(1,) * (rank - 1))


def quantize(weights: ArrayLike, kind: PotFormat, fit: Fit | None = None) -> PotWeights:
    """Nearest levels with a scale per channel.

    Args:
        weights: FP32 [Cout, ...], finite.
        kind: Code set.
        fit: Default ``power`` for the QKeras set, whose training knows no other scale, ``mse`` for the others. With
            ``power``, levels are nearest in the exponent, as `po2` rounds; otherwise nearest in value.

    Raises:
        DataError: A weight is NaN or infinite, there is no channel axis, or the fit is unknown.
    """
    array = np.asarray(weights, np.float64)
    if array.ndim < 1 or not array.size:
        raise DataError(f"weights of the shape {array.shape} have no channels")
    if not np.all(np.isfinite(array)):
        raise DataError("the weights hold NaN or infinity", hint="Repair the network before quantizing it")
    chosen = fit or ("power" if kind.power_scale else "mse")
    peak = np.abs(array).reshape(len(array), -1).max(axis=1)
    peak = np.where(peak > 0, peak, 1.0)
    if chosen == "power":
        return _power(array, peak, kind)
    if chosen not in ("max", "mse"):
        raise DataError(f"no scale fit is called {chosen!r}", hint="Known: max, mse, power")
    scale = (peak / kind.top).astype(np.float32).astype(np.float64)
    if chosen == "mse":
        scale = _least_squares(array, scale, kind)
    return _made(kind.nearest(array / _per_channel(scale, array.ndim)), scale, kind)


def _power(array: NDArray[np.float64], peak: NDArray[np.float64], kind: PotFormat) -> PotWeights:
    highest = np.rint(np.log2(peak)).astype(np.int64)
    scale = np.exp2(highest - (kind.top.bit_length() - 1))
    ratio = array / _per_channel(scale, array.ndim)
    if kind is not QKERAS:
        return _made(kind.nearest(ratio), scale, kind)
    return _made(_nearest_power(ratio), scale, kind)


def _nearest_power(ratio: NDArray[np.float64]) -> NDArray[np.int16]:
    magnitude = np.maximum(np.abs(ratio), 1.0)  # below the window: the lowest exponent
    exponent = np.clip(np.rint(np.log2(magnitude)), 0, 7).astype(np.int64)
    return np.asarray(np.where(ratio < 0, -1, 1) * (1 << exponent), np.int16)


def _least_squares(
    array: NDArray[np.float64], start: NDArray[np.float64], kind: PotFormat
) -> NDArray[np.float64]:
    """Assignment and scale in turn (MSQ): the scale of a channel is <w, q> / <q, q>; keeps the best pair."""
    flat = array.reshape(len(array), -1)
    scale, best, least = start, start, np.full(len(array), np.inf)
    for _ in range(SQUARES_ROUNDS):
        levels = kind.nearest(flat / scale[:, None]).astype(np.float64)
        error = ((flat - levels * scale[:, None]) ** 2).sum(axis=1)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
        squares = (levels**2).sum(axis=1)
        fitted = (flat * levels).sum(axis=1) / np.where(squares > 0, squares, 1)
        scale = np.where(fitted > 0, fitted, scale).astype(np.float32).astype(np.float64)
    return best


def po2(
    x: ArrayLike,
    bits: int = 4,
    max_value: float | None = None,
    *,
    log2_rounding: Literal["rnd", "floor"] = "rnd",
    quadratic: bool = False,
) -> F32:
    """QKeras ``quantized_po2``: the sign times a power of two; there is no zero.

    Args:
        x: FP32, any shape.
        bits: Sign included. One bit of the exponent is its sign unless ``max_value`` is at most 1.
        max_value: Magnitudes are clipped to it first.
        log2_rounding: Nearest exponent (ties to even) or the one below.
        quadratic: Even exponents only.

    Raises:
        DataError: Fewer than 2 bits or a ``max_value`` that is not positive.
    """
    if bits < 2 or (max_value is not None and max_value <= 0):
        raise DataError(
            f"po2 with {bits} bits and max_value={max_value}", hint="Use 2 or more bits, max_value > 0"
        )
    effective = bits - 1 - int(max_value is None or max_value > 1)
    lowest, highest = -(1 << effective), (1 << effective) - 1
    if quadratic:
        highest = 2 * (highest // 2)
    array = np.asarray(x, np.float32).astype(np.float64)
    magnitude = np.abs(array)
    if max_value is not None:
        magnitude = np.minimum(magnitude, max_value)
    small = magnitude < EPSILON
    exponent = np.log2(np.where(small, 1.0, magnitude)) / (2 if quadratic else 1)
    rounded = (np.rint if log2_rounding == "rnd" else np.floor)(exponent) * (2 if quadratic else 1)
    clipped = np.where(small, lowest, np.clip(rounded, lowest, highest))
    return np.where(array < 0, -np.exp2(clipped), np.exp2(clipped)).astype(np.float32)


def recover(
    weights: ArrayLike,
    scale: ArrayLike,
    kind: PotFormat,
    *,
    stored: Stored = "int8",
    compat_release: bool = False,
) -> PotWeights:
    """Levels and scales of PoT weights that another tool stored as int8 with a scale per channel.

    QKeras' top level is stored as 127: it becomes 128 and the scale s 127/128, an exact power of two. With
    ``compat_release`` the scale stays, so that products use 128 where the zero point's correction and the int8
    network use 127, as in PoTAcc's release.

    The other sets store round(127 level / top of the channel). A channel's top may be any level: the first, from the
    highest, whose levels meet every integer within one half, else the one with the least square error.

    Args:
        weights: int8 [Cout, ...].
        scale: FP32 [Cout], or one for all channels.
        kind: Code set.
        stored: ``levels``: the integers are levels already.
        compat_release: See above.

    Raises:
        DataError: Not int8, a scale of another shape, a zero where the set has none, or integers that are no levels.
    """
    array = np.asarray(weights)
    if array.dtype != np.int8 or array.ndim < 1:
        raise DataError(
            f"the weights are {array.dtype} of the shape {array.shape}", hint="Give int8 [Cout, ...]"
        )
    scales = np.asarray(scale, np.float32).reshape(-1)
    if len(scales) not in (1, len(array)):
        raise DataError(
            f"{len(scales)} scales for {len(array)} channels", hint="Give one, or one per channel"
        )
    factors = np.broadcast_to(scales.astype(np.float64), (len(array),))
    if not kind.has_zero and not compat_release and (array == 0).any():
        raise DataError(f"a weight is 0, which {kind} cannot say", hint="compat_release=True makes it +1")
    if stored == "levels":
        kind.encode(array)  # names an integer that is no level
        return _made(array.astype(np.int16), factors, kind)
    if kind is QKERAS:
        made = _recover_powers(array, factors, compat_release)
    else:
        flat = array.reshape(len(array), -1).astype(np.float64)
        pairs = [_recover_channel(row, kind) for row in flat]
        levels = np.stack([pair[0] for pair in pairs]).reshape(array.shape)
        tops = np.array([pair[1] for pair in pairs], np.float64)
        made = _made(levels, factors * 127 / tops, kind)
    return made


def _recover_powers(
    array: NDArray[np.int8], factors: NDArray[np.float64], compat_release: bool
) -> PotWeights:
    magnitude = np.abs(array.astype(np.int64))
    below = 1 << np.clip(np.log2(np.maximum(magnitude, 1)).astype(np.int64), 0, 7)
    levels = np.where(2 * magnitude >= 3 * below, 2 * below, below)  # ties up
    levels = np.where(array < 0, -levels, levels).astype(np.int16)
    if not compat_release:
        return _made(levels, factors * 127 / 128, QKERAS)
    sums = array.reshape(len(array), -1).sum(axis=1, dtype=np.int64)
    return PotWeights(levels, factors.astype(np.float32), QKERAS, sums)


def _recover_channel(row: NDArray[np.float64], kind: PotFormat) -> tuple[NDArray[np.int16], int]:
    """(levels, top) of one channel."""
    best: tuple[float, NDArray[np.int16], int] | None = None
    for top in sorted({abs(level) for level in kind.levels.tolist()} - {0}, reverse=True):
        levels = np.clip(kind.nearest(row * top / 127), -top, top).astype(np.int16)
        error = np.abs(row - levels * (127 / top))
        if error.max(initial=0.0) <= 0.5:
            return levels, top
        squares = float((error**2).sum())
        if best is None or squares < best[0]:
            best = (squares, levels, top)
    assert best is not None
    return best[1], best[2]


def released(weights: PotWeights) -> PotWeights:
    """QKeras weights as PoTAcc's release has them after a TFLite file: see `recover` with ``compat_release``.

    The scale is 128/127 of the exact one, and sums are those of integers up to 127.
    """
    stored = np.clip(weights.levels, -127, 127).astype(np.int8)
    scale = weights.scale.astype(np.float64) * 128 / 127
    return recover(stored, scale, weights.format, compat_release=True)


def detect(weights: ArrayLike, *, stored: Stored = "int8") -> PotFormat | None:
    """The first code set, from the fewest levels, whose levels are all that an int8 tensor holds; None if no set's.

    Args:
        weights: int8 [Cout, ...].
        stored: See `recover`.
    """
    for kind in sorted(POT_FORMATS.values(), key=lambda kind: (len(kind.levels), kind.name)):
        if holds(weights, kind, stored=stored):
            return kind
    return None


def holds(weights: ArrayLike, kind: PotFormat, *, stored: Stored = "int8") -> bool:
    """Whether an int8 tensor [Cout, ...] holds levels of one code set only; see `recover` for ``stored``."""
    array = np.asarray(weights)
    if not kind.has_zero and bool((array == 0).any()):
        return False
    if stored == "levels":
        return bool(np.isin(array, kind.levels).all())
    return _exact(array, recover(array, 1.0, kind))


def _exact(array: NDArray[np.generic], found: PotWeights) -> bool:
    units = found.scale.astype(np.float64)
    restored = found.levels * _per_channel(units, array.ndim)
    return bool(np.abs(array - restored).max(initial=0.0) <= 0.5 + 1e-4)


def rescaled_bias(bias: ArrayLike, scale: ArrayLike, new_scale: ArrayLike) -> NDArray[np.int32]:
    """round_half_away(bias scale / new_scale): the int32 bias after `recover` has changed the weight's scale."""
    ratio = np.asarray(scale, np.float64) / np.asarray(new_scale, np.float64)
    return round_half_away(np.asarray(bias, np.float64) * ratio).astype(np.int32)
