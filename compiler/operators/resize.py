"""Resize: along one axis after the other, each output place a weighted sum of a few input places.

The places and weights of an axis are known when the network is compiled. Nearest neighbours are a map of places;
otherwise each tap (two for linear, four for cubic, more with antialiasing) is such a map, and elementwise layers weigh
and add what they take.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.nodes import integer, ints, label, real, shape_of, text, title
from potluck.compiler.graph.rearrange import Source, take
from potluck.compiler.lowering.base import Constant, Tensor
from potluck.compiler.lowering.pointwise import PointwisePlan
from potluck.compiler.operators.base import movable, operator
from potluck.compiler.operators.move import held, known, order, output, source, stored
from potluck.kernels.expressions import graph as g
from potluck.kernels.expressions.graph import F32, MASK

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector

Floats = NDArray[np.float64]
AT_ONCE = 2
"""Taps of one elementwise layer: each has its values and its weights, and the sum so far is an operand too."""
_TRANSFORMS = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
               "tf_crop_and_resize")  # fmt: skip
_ROUNDINGS: dict[str, Callable[[Floats], Floats]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _rule(node: ir.Node) -> str | None:
    reason = movable(node) or known(node, 1, 2, 3)
    if reason:
        return reason
    if text(node, "mode", "nearest") not in ("nearest", "linear", "cubic"):
        return f"its mode {text(node, 'mode', '')!r} is unknown"
    if text(node, "coordinate_transformation_mode", "half_pixel") not in _TRANSFORMS:
        return f"its coordinates {text(node, 'coordinate_transformation_mode', '')!r} are unknown"
    value = node.inputs[0]
    if (
        text(node, "mode", "nearest") != "nearest"
        and value is not None
        and value.dtype is not ir.DataType.FLOAT
    ):
        return "only FLOAT is interpolated"
    return None


def _scales(node: ir.Node, shape: tuple[int, ...], target: tuple[int, ...]) -> dict[int, float]:
    """Output over input, for the axes that are resized."""
    axes = [axis % len(shape) for axis in ints(node, "axes", range(len(shape)))]
    scales, sizes = held(node, 2), held(node, 3)
    if scales is not None and scales.size:
        return dict(zip(axes, (float(scale) for scale in scales), strict=True))
    assert sizes is not None
    each = [size / shape[axis] for axis, size in zip(axes, sizes.tolist(), strict=True)]
    policy = text(node, "keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        chosen = min(each) if policy == "not_larger" else max(each)
        each = [chosen] * len(each)
    return dict(zip(axes, each, strict=True))


def _coordinates(mode: str, size: int, target: int, scale: float, ends: tuple[float, float]) -> Floats:
    """Where in the input each output place lies (ONNX Resize, ``coordinate_transformation_mode``)."""
    out = np.arange(target, dtype=np.float64)
    if mode == "align_corners":
        length = scale * size
        return np.zeros(target) if length == 1 else out * (size - 1) / (length - 1)
    if mode == "asymmetric":
        return out / scale
    if mode == "tf_crop_and_resize":
        start, end = ends
        if target == 1:
            return 0.5 * (start + end) * (size - 1) + 0 * out
        return start * (size - 1) + out * (end - start) * (size - 1) / (target - 1)
    if mode == "pytorch_half_pixel" and target == 1:
        return np.full(1, -0.5)
    middle = (out + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":  # the middle of the input stays the middle, whatever was rounded off
        exact = scale * size
        return (size / 2) * (1 - target / exact) + middle
    return middle


def _linear(distance: Floats) -> Floats:
    return np.maximum(0.0, 1.0 - np.abs(distance))


def _cubic(distance: Floats, a: float) -> Floats:
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _taps(node: ir.Node, size: int, x: Floats, scale: float) -> tuple[NDArray[np.int64], Floats]:
    """Places and weights [taps, output] of one axis."""
    cubic = text(node, "mode", "nearest") == "cubic"
    a = real(node, "cubic_coeff_a", -0.75)
    reach = 2.0 if cubic else 1.0
    stretch = min(1.0, scale) if integer(node, "antialias", 0) else 1.0
    first = np.floor(x - reach / stretch).astype(np.int64) + 1
    count = math.ceil(2 * reach / stretch) + (stretch < 1)
    places = first + np.arange(count)[:, None]
    distance = (places - x) * stretch
    weights = _cubic(distance, a) if cubic else _linear(distance)
    outside = (places < 0) | (places >= size)
    if integer(node, "exclude_outside", 0):
        weights = np.where(outside, 0.0, weights)
    if integer(node, "exclude_outside", 0) or stretch < 1:
        weights = weights / weights.sum(0)
    useful = weights.any(1)
    return np.clip(places, 0, size - 1)[useful], weights[useful]


@operator("Resize", rule=_rule)
def _resize(selector: Selector, node: ir.Node) -> None:
    """Resize and what was Upsample."""
    value = node.inputs[0]
    assert value is not None
    shape, target = shape_of(value, node), shape_of(node.outputs[0], node)
    x, last = source(selector, value, node)
    scales = _scales(node, shape, target)
    mode = text(node, "coordinate_transformation_mode", "half_pixel")
    roi = held(node, 1)
    axes = list(scales)
    coordinates, outside = {}, {}
    for axis, scale in scales.items():
        at = axes.index(axis)
        ends = (float(roi[at]), float(roi[at + len(axes)])) if roi is not None and roi.size else (0.0, 1.0)
        places = _coordinates(mode, shape[axis], target[axis], scale, ends)
        unchanged = shape[axis] == target[axis] and np.array_equal(places, np.arange(target[axis]))
        if not unchanged:
            coordinates[axis] = places
        if mode == "tf_crop_and_resize":
            outside[axis] = (places < 0) | (places > shape[axis] - 1)
    cut = any(flags.any() for flags in outside.values())
    y = output(selector, node, x, last)
    made = selector.fresh(f"{label(node)}_all", target, y.dtype, last) if cut else y
    if text(node, "mode", "nearest") == "nearest":
        rounding = _ROUNDINGS[text(node, "nearest_mode", "round_prefer_floor")]
        maps = {
            order(len(shape), last).index(axis): np.clip(rounding(places), 0, shape[axis] - 1).astype(
                np.int64
            )
            for axis, places in coordinates.items()
        }
        take(selector, label(node), title(node), x, stored(shape, last), made, made.stored_shape, maps)
    else:
        _interpolate(selector, node, x, shape, made, last, coordinates, scales)
    if cut:
        _extrapolate(selector, node, made, y, outside, last)


def _interpolate(
    selector: Selector,
    node: ir.Node,
    x: Source,
    shape: tuple[int, ...],
    y: Tensor,
    last: bool,
    coordinates: dict[int, Floats],
    scales: dict[int, float],
) -> None:
    """Axis by axis, what makes the array smaller first."""
    name, op = label(node), title(node)
    todo = sorted(coordinates, key=lambda axis: y.shape[axis] / shape[axis])
    if not todo:
        take(selector, name, op, x, stored(shape, last), y, y.stored_shape, {})
    now = list(shape)
    for step, axis in enumerate(todo):
        before = stored(now, last)
        now[axis] = y.shape[axis]
        out = y if axis == todo[-1] else selector.fresh(f"{name}_{step}", tuple(now), y.dtype, last)
        at = order(len(shape), last).index(axis)
        places, weights = _taps(node, shape[axis], coordinates[axis], scales[axis])
        x = _weigh(selector, f"{name}_{step}", op, x, before, out, at, places, weights)


def _weigh(
    selector: Selector,
    name: str,
    op: str,
    x: Source,
    before: tuple[int, ...],
    y: Tensor,
    at: int,
    places: NDArray[np.int64],
    weights: Floats,
) -> Tensor:
    """The sum over taps of weight times what the tap takes; ``at`` is the axis in memory."""
    shape = y.stored_shape
    along = tuple(-1 if i == at else 1 for i in range(len(shape)))
    total: Tensor | None = None
    for first in range(0, len(places), AT_ONCE):
        some = range(first, min(first + AT_ONCE, len(places)))
        inputs: list[Tensor | Constant] = []
        shapes: list[tuple[int, ...]] = []
        value = None
        if total is not None:
            inputs, shapes, value = [total], [shape], g.argument(0, F32)
        for tap in some:
            taken = selector.fresh(f"{name}_tap_{tap}", y.shape, y.dtype, y.channels_last)
            take(selector, taken.name, op, x, before, taken, shape, {at: places[tap]})
            factors = weights[tap].astype(np.float32).reshape(along)
            inputs += [taken, selector.held(factors, f"{name}_weights_{tap}")]
            shapes += [shape, tuple(factors.shape)]
            left, right = g.argument(len(inputs) - 2, F32), g.argument(len(inputs) - 1, F32)
            value = left * right if value is None else g.fma(left, right, value)
        done = first + AT_ONCE >= len(places)
        out = y if done else selector.fresh(f"{name}_sum_{first}", y.shape, y.dtype, y.channels_last)
        assert value is not None
        plan = PointwisePlan(out.name if not done else name, op, value, tuple(inputs), tuple(shapes), out)
        selector.plans.append(plan)
        total = out
    assert total is not None
    return total


def _extrapolate(
    selector: Selector, node: ir.Node, x: Tensor, y: Tensor, outside: dict[int, NDArray[np.bool_]], last: bool
) -> None:
    """Places whose coordinates lie outside of the input get a number."""
    rank = len(y.shape)
    flags = np.zeros((1,) * rank, bool)
    for axis, where in outside.items():
        flags = flags | where.reshape([-1 if i == axis else 1 for i in range(rank)])
    mask = selector.held(flags, f"{label(node)}_outside", last)
    number = real(node, "extrapolation_value", 0.0)
    value = g.select(g.argument(1, MASK), g.constant(number), g.argument(0, F32))
    plan = PointwisePlan(
        f"{label(node)}_outside",
        title(node),
        value,
        (x, mask),
        (y.stored_shape, stored(flags.shape, last)),
        y,
    )
    selector.plans.append(plan)
