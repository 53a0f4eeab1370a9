"""Quantization of constant tensors to MX, with the scale rule that only a compiler can afford, and what it refuses.

The rules ``floor``, ``rceil`` and ``even`` are those of `potluck.isa.formats.mx`, which the machine follows too.
``mse`` tries the floor rule's scale, its double and its half and takes the one with the least squared error in its
block (the first of equals, in this order). The machine does not search: activations under ``mse`` take ``even``, which
loses nothing to the search on normally distributed values (19.0 dB both in MXFP4).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import BlockLayout
from potluck.isa.formats.elements import E8M0
from potluck.isa.formats.mx import NAN_SCALE, MxTensor, ScaleRule, quantize
from potluck.isa.formats.rounding import Rounding

WeightRule = Literal["floor", "rceil", "even", "mse"]
WEIGHT_RULES: tuple[WeightRule, ...] = get_args(WeightRule)


def check_rule(rule: str) -> None:
    """Refuses a scale rule that does not exist.

    Raises:
        DataError: Names it.
    """
    if rule not in WEIGHT_RULES:
        raise DataError(f"unknown scale rule {rule!r}", hint=f"Use one of {', '.join(WEIGHT_RULES)}")


def machine_rule(rule: WeightRule) -> ScaleRule:
    """The rule by which the machine quantizes activations where weights follow ``rule``."""
    return "even" if rule == "mse" else rule


def quantize_constant(
    x: ArrayLike,
    layout: BlockLayout,
    axis: int,
    rule: WeightRule = "floor",
    name: str = "",
    rounding: Rounding = "rne",
) -> MxTensor:
    """Quantizes a constant tensor to MX.

    Args:
        x: float32 array of at least one dimension.
        layout: MX format and block size.
        axis: Along which blocks run.
        rule: One of `WEIGHT_RULES`.
        name: Of the tensor, for errors.
        rounding: Of the elements.

    Returns:
        As `potluck.isa.formats.mx.quantize`.

    Raises:
        DataError: Unknown rule, or a value that is NaN or infinite: its whole block would be lost.
    """
    check_rule(rule)
    array = np.asarray(x, np.float32)
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        at = tuple(int(index) for index in bad[0])
        raise DataError(
            f"its element {list(at)} is {array[at]}, which no {layout.name} block can hold",
            tensor=name or None,
            hint="Repair the network, or exclude the tensor",
        )
    if rule == "mse":
        return _least_squares(array, layout, axis)
    made = quantize(array, layout, axis, rule)
    if rounding == "rne":
        return made
    scale = np.repeat(E8M0.decode(made.scales).astype(np.float64), layout.block_size, made.axis)
    keep = (slice(None),) * made.axis + (slice(array.shape[made.axis]),)
    codes = layout.element.encode(array.astype(np.float64) / scale[keep], rounding)
    return replace(made, codes=np.asarray(codes, np.uint8))


def _least_squares(array: NDArray[np.float32], layout: BlockLayout, axis: int) -> MxTensor:
    base = quantize(array, layout, axis)
    rows = np.moveaxis(array, axis, -1)
    length, size = rows.shape[-1], layout.block_size
    padding = [(0, 0)] * (rows.ndim - 1) + [(0, -length % size)]
    blocks = np.pad(rows, padding).reshape(*rows.shape[:-1], layout.blocks(length), size)
    floor = np.moveaxis(base.scales, base.axis, -1)
    best_scales, best_codes, best_error = (
        floor,
        np.zeros(blocks.shape, np.uint8),
        np.full(floor.shape, np.inf),
    )
    for offset in (0, 1, -1):
        scales = np.clip(floor.astype(np.int64) + offset, 0, NAN_SCALE - 1).astype(np.uint8)
        step = E8M0.decode(scales).astype(np.float64)[..., None]
        codes = layout.element.encode(blocks.astype(np.float64) / step)
        error = ((layout.element.decode(codes).astype(np.float64) * step - blocks) ** 2).sum(-1)
        better = error < best_error
        best_scales = np.where(better, scales, best_scales)
        best_codes = np.where(better[..., None], codes, best_codes)
        best_error = np.where(better, error, best_error)
    codes = best_codes.reshape((*rows.shape[:-1], -1))[..., :length]
    return MxTensor(
        np.ascontiguousarray(np.moveaxis(codes, -1, axis), np.uint8),
        np.ascontiguousarray(np.moveaxis(best_scales, -1, axis), np.uint8),
        layout,
        base.axis,
    )
