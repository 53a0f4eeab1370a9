"""Operators whose output is made of pieces of their inputs, at places that are known when they are compiled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.nodes import constant, integer, ints, label, shape_of, text, title
from potluck.compiler.graph.rearrange import Map, Source, fill, take
from potluck.compiler.lowering.base import Constant, Tensor
from potluck.compiler.lowering.boxes import Axis, Box, part, strides, window
from potluck.compiler.lowering.move import MovePlan, Piece, moves
from potluck.compiler.lowering.pointwise import PointwisePlan, padded
from potluck.compiler.operators.base import movable, operator, typed
from potluck.kernels.expressions import graph as g
from potluck.kernels.expressions.meaning import REGISTER

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector

NHWC = (0, 2, 3, 1)


def order(rank: int, last: bool) -> tuple[int, ...]:
    """ONNX axes in the order of memory."""
    return NHWC if last and rank == 4 else tuple(range(rank))


def stored(sizes: Sequence[int], last: bool) -> tuple[int, ...]:
    """Numbers per ONNX axis in the order of memory."""
    return tuple(sizes[axis] for axis in order(len(sizes), last))


def known(node: ir.Node, *indices: int) -> str | None:
    """Refuses nodes with one of these inputs computed at run time."""
    for index in indices:
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is not None and constant(value) is None:
            return f"its input {value.name!r} is computed at run time, only constants are taken: see --bind"
    return None


def held(node: ir.Node, index: int) -> NDArray[np.generic] | None:
    """A constant input, None if it is not given."""
    return constant(node.inputs[index]) if index < len(node.inputs) else None


def source(
    selector: Selector, value: ir.Value | None, node: ir.Node, last: bool | None = None
) -> tuple[Source, bool]:
    """An input, constant or not, and whether it lies as NHWC; ``last`` asks for that or the other."""
    array = constant(value)
    if array is not None:
        assert value is not None
        return selector.held(array, value.name or "", bool(last)), bool(last) and array.ndim == 4
    tensor = selector.tensor(value, node, last)
    return tensor, tensor.channels_last


def output(selector: Selector, node: ir.Node, x: Source, last: bool, index: int = 0) -> Tensor:
    """An output that lies as an input does."""
    affine = x.affine if isinstance(x, Tensor) else None
    return selector.new(node.outputs[index], channels_last=last, affine=affine)


def select(selector: Selector, node: ir.Node, maps: Mapping[int, Map], index: int = 0) -> None:
    """An output that takes places along ONNX axes from the first input, as `take` does."""
    value = node.inputs[0]
    assert value is not None
    rank = len(shape_of(node.outputs[index], node))
    shape = padded(shape_of(value, node), rank)
    x, last = source(selector, value, node, None if len(shape_of(value)) == rank else False)
    y = output(selector, node, x, last, index)
    axes = order(rank, last)
    name = label(node) if len(node.outputs) == 1 else f"{label(node)}_{index}"
    turned = {axes.index(axis): places for axis, places in maps.items()}
    take(selector, name, title(node), x, stored(shape, last), y, y.stored_shape, turned)


@operator("Expand", rule=movable)
def _expand(selector: Selector, node: ir.Node) -> None:
    """Expand: axes of length 1 are repeated."""
    select(selector, node, {})


@operator("Tile", rule=movable)
def _tile(selector: Selector, node: ir.Node) -> None:
    """Tile: the output's shape says how often."""
    assert node.inputs[0] is not None
    shape = shape_of(node.inputs[0], node)
    sizes = shape_of(node.outputs[0], node)
    select(selector, node, {axis: np.arange(size) % max(1, shape[axis]) for axis, size in enumerate(sizes)})


def _slice_rule(node: ir.Node) -> str | None:
    return movable(node) or known(node, 1, 2, 3, 4)


@operator("Slice", rule=_slice_rule)
def _slice(selector: Selector, node: ir.Node) -> None:
    """Slice, as Python's slices count."""
    assert node.inputs[0] is not None
    shape = shape_of(node.inputs[0], node)
    starts, ends = held(node, 1), held(node, 2)
    axes, steps = held(node, 3), held(node, 4)
    assert starts is not None and ends is not None
    each = range(starts.size) if axes is None else axes.tolist()
    strides_ = [1] * starts.size if steps is None else steps.tolist()
    maps = {}
    for axis, start, end, step in zip(each, starts.tolist(), ends.tolist(), strides_, strict=True):
        size = shape[axis]
        maps[axis % len(shape)] = np.arange(*slice(start, end, step).indices(size))
    select(selector, node, maps)


def _split_rule(node: ir.Node) -> str | None:
    return movable(node) or known(node, 1)


@operator("Split", rule=_split_rule)
def _split(selector: Selector, node: ir.Node) -> None:
    """Split: the outputs' shapes say where."""
    assert node.inputs[0] is not None
    axis = integer(node, "axis", 0) % len(shape_of(node.inputs[0], node))
    first = 0
    for index, value in enumerate(node.outputs):
        size = shape_of(value, node)[axis]
        select(selector, node, {axis: np.arange(first, first + size)}, index)
        first += size


@operator("Concat", rule=movable)
def _concat(selector: Selector, node: ir.Node) -> None:
    """Concat; images are brought into the order of the first that is in one."""
    shape = shape_of(node.outputs[0], node)
    axis = integer(node, "axis", 0) % len(shape)
    asked = [selector.tensor(value, node).channels_last for value in node.inputs if constant(value) is None]
    last = len(shape) == 4 and any(asked)
    y, pieces, first = None, [], 0
    for value in node.inputs:
        assert value is not None
        x, _ = source(selector, value, node, last)
        if y is None:
            y = output(selector, node, x, last)
        sizes = shape_of(value, node)
        start = stored([first if i == axis else 0 for i in range(len(shape))], last)
        ones = (1,) * len(shape)
        read = window(stored(sizes, last), (0,) * len(shape), ones)
        pieces.append(Piece(x, part(stored(sizes, last), read, window(y.stored_shape, start, ones))))
        first += sizes[axis]
    assert y is not None
    selector.plans += moves(label(node), title(node), pieces, y)


@operator("Transpose", rule=movable)
def _transpose(selector: Selector, node: ir.Node) -> None:
    """Transpose: nothing is moved if memory is the same in one of the orders that an output may have."""
    value, out = node.inputs[0], node.outputs[0]
    assert value is not None
    shape = shape_of(value, node)
    turned = ints(node, "perm", tuple(reversed(range(len(shape)))))
    x, last = source(selector, value, node)
    by_axis = dict(zip(order(len(shape), last), strides(stored(shape, last)), strict=True))

    def box(to_last: bool) -> Box:
        sizes = tuple(shape[axis] for axis in turned)
        to = dict(zip(order(len(sizes), to_last), strides(stored(sizes, to_last)), strict=True))
        axes = (Axis(size, by_axis[turned[i]], to[i]) for i, size in enumerate(sizes))
        return Box(tuple(axes)).simplified()

    choices = (False, True) if len(shape) == 4 else (False,)
    best = min(choices, key=lambda choice: len(box(choice).axes))
    if isinstance(x, Tensor) and box(best).run == x.elements and not out.is_graph_output():
        name, sizes = out.name or "", shape_of(out, node)
        selector.tensors[out] = replace(x, name=name, shape=sizes, channels_last=best)
        return
    y = output(selector, node, x, best)
    selector.plans += moves(label(node), title(node), [Piece(x, box(best))], y)


@operator("DepthToSpace", "SpaceToDepth", rule=movable)
def _blocks(selector: Selector, node: ir.Node) -> None:
    """Blocks of pixels become channels, or back: a Transpose of six axes."""
    to_space = node.op_type == "DepthToSpace"
    (x, last), size = source(selector, node.inputs[0], node), integer(node, "blocksize", 1)
    y = output(selector, node, x, last)
    n, c, h, w = shape_of(node.outputs[0] if to_space else node.inputs[0], node)  # type: ignore[arg-type]
    space = dict(zip(order(4, last), strides(stored((n, c, h, w), last)), strict=True))
    deep = dict(
        zip(order(4, last), strides(stored((n, c * size * size, h // size, w // size), last)), strict=True)
    )
    # Depth is (row, column, channel), or with mode CRD (channel, row, column).
    crd = to_space and text(node, "mode", "DCR") == "CRD"
    row, column, channel = (size, 1, size * size) if crd else (size * c, c, 1)
    pairs = (
        (n, deep[0], space[0]), (c, channel * deep[1], space[1]), (h // size, deep[2], size * space[2]),
        (w // size, deep[3], size * space[3]), (size, row * deep[1], space[2]), (size, column * deep[1], space[3]),
    )  # fmt: skip
    axes = tuple(Axis(many, *((a, b) if to_space else (b, a))) for many, a, b in pairs)
    selector.plans += moves(label(node), title(node), [Piece(x, Box(axes))], y)


def _pad_rule(node: ir.Node) -> str | None:
    reason = movable(node) or known(node, 1, 3)
    if reason:
        return reason
    mode = text(node, "mode", "constant")
    return None if mode in ("constant", "edge", "reflect", "wrap") else f"its mode {mode!r} is unknown"


@operator("Pad", rule=_pad_rule)
def _pad(selector: Selector, node: ir.Node) -> None:
    """Pad: a border of one number, or of elements of the input; negative pads cut."""
    value, pads = node.inputs[0], held(node, 1)
    assert value is not None and pads is not None
    shape, mode = shape_of(value, node), text(node, "mode", "constant")
    axes = held(node, 3)
    each = range(len(shape)) if axes is None else [axis % len(shape) for axis in axes.tolist()]
    before, after = dict.fromkeys(range(len(shape)), 0), dict.fromkeys(range(len(shape)), 0)
    half = pads.size // 2
    for axis, low, high in zip(each, pads.tolist()[:half], pads.tolist()[half:], strict=True):
        before[axis], after[axis] = low, high
    maps: dict[int, Map] = {
        axis: np.arange(-before[axis], shape[axis] + after[axis]) for axis in range(len(shape))
    }
    if mode == "edge":
        maps = {axis: np.clip(places, 0, shape[axis] - 1) for axis, places in maps.items()}
    elif mode == "wrap":
        maps = {axis: places % max(1, shape[axis]) for axis, places in maps.items()}
    elif mode == "reflect":
        maps = {axis: _reflected(places, shape[axis]) for axis, places in maps.items()}
    else:
        _pad_constant(selector, node, maps)
        return
    select(selector, node, maps)


def _reflected(places: Map, size: int) -> Map:
    if size < 2:
        return np.zeros_like(places)
    folded = places % (2 * (size - 1))
    return np.minimum(folded, 2 * (size - 1) - folded)


def _pad_constant(selector: Selector, node: ir.Node, maps: Mapping[int, Map]) -> None:
    value = node.inputs[0]
    x, last = source(selector, value, node)
    y = output(selector, node, x, last)
    assert value is not None
    shape, axes = shape_of(value, node), order(len(maps), last)
    inside = {axis: (places >= 0) & (places < shape[axis]) for axis, places in maps.items()}
    first = [int(np.argmax(inside[axis])) for axis in axes]
    sizes = [int(inside[axis].sum()) for axis in axes]
    start = [int(maps[axis][at]) if size else 0 for axis, at, size in zip(axes, first, sizes, strict=True)]
    border = node.inputs[2] if len(node.inputs) > 2 else None
    name, op = label(node), title(node)
    number = constant(border)
    if border is not None and number is None:  # computed at run time
        box = Box((Axis(y.elements, 0, 1),))
        selector.plans += moves(f"{name}_border", op, [Piece(selector.tensor(border, node), box)], y)
    else:
        dtype = np.dtype(y.dtype)
        fallback = np.zeros((), dtype) if y.affine is None else np.full((), y.affine.zero_point, dtype)
        filler = fallback if number is None else np.asarray(number).reshape(()).astype(dtype)
        if math.prod(sizes) < y.elements:
            selector.plans += _border(f"{name}_border", op, filler, y, first, sizes)
    if math.prod(sizes):
        ones = (1,) * len(sizes)
        read, write = window(stored(shape, last), start, ones), window(y.stored_shape, first, ones)
        selector.plans += moves(name, op, [Piece(x, part(sizes, read, write))], y)


def _border(
    name: str, op: str, value: NDArray[np.generic], y: Tensor, first: Sequence[int], sizes: Sequence[int]
) -> Sequence[MovePlan]:
    """Fills what is around a region; all of it if the slabs around are not worth layers of their own."""
    shape = y.stored_shape
    regions = []
    for axis in range(len(shape)):
        # Slabs before and behind along this axis; inside along earlier ones, whole along later ones.
        corner, extent = (
            [*first[:axis], 0, *(0 for _ in shape[axis + 1 :])],
            [*sizes[:axis], 0, *shape[axis + 1 :]],
        )
        for start, count in (
            (0, first[axis]),
            (first[axis] + sizes[axis], shape[axis] - first[axis] - sizes[axis]),
        ):
            regions.append(
                ([*corner[:axis], start, *corner[axis + 1 :]], [*extent[:axis], count, *extent[axis + 1 :]])
            )
    plans = fill(name, op, value, y, regions)
    return plans if len(plans) <= 2 else fill(name, op, value, y, [((0,) * len(shape), shape)])


def _compress_rule(node: ir.Node) -> str | None:
    return movable(node) or known(node, 1)


@operator("Compress", rule=_compress_rule, order="row")
def _compress(selector: Selector, node: ir.Node) -> None:
    """Compress by a constant condition."""
    chosen, value = held(node, 1), node.inputs[0]
    assert chosen is not None and value is not None
    places = np.nonzero(chosen)[0]
    if "axis" in node.attributes:
        select(selector, node, {integer(node, "axis", 0) % len(shape_of(value, node)): places})
        return
    x, _ = source(selector, value, node, False)
    y = selector.new(node.outputs[0])
    take(selector, label(node), title(node), x, (math.prod(shape_of(value)),), y, y.shape, {0: places})


def _trilu_rule(node: ir.Node) -> str | None:
    return typed(node) or known(node, 1)


@operator("Trilu", rule=_trilu_rule, order="row")
def _trilu(selector: Selector, node: ir.Node) -> None:
    """Trilu: zeros above or below a diagonal."""
    x = selector.tensor(node.inputs[0], node, channels_last=False)
    y, k = selector.new(node.outputs[0]), held(node, 1)
    diagonal, (rows, columns) = int(k.reshape(())) if k is not None else 0, x.shape[-2:]
    if integer(node, "upper", 1):
        kept = ~np.tri(rows, columns, diagonal - 1, dtype=bool)
    else:
        kept = np.tri(rows, columns, diagonal, dtype=bool)
    mask = selector.held(kept.reshape(padded(kept.shape, len(x.shape))), f"{label(node)}_kept")
    inside, number = g.argument(1, "mask"), g.argument(0, REGISTER[x.dtype])
    chosen = g.select(inside, number, g.constant(0, number.type))
    shapes: tuple[tuple[int, ...], ...] = (x.shape, padded(kept.shape, len(x.shape)))
    inputs: tuple[Tensor | Constant, ...] = (x, mask)
    selector.plans.append(PointwisePlan(label(node), title(node), chosen, inputs, shapes, y))
