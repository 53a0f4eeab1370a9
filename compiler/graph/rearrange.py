"""What operators that move data are made of: maps of places along axes, fills, offsets from indices, table lookups.

Arrays are seen as they lie in memory: shapes and axes here are those of `Tensor.stored_shape`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.lowering.base import Constant, Tensor
from potluck.compiler.lowering.base import constant as make_constant
from potluck.compiler.lowering.boxes import Axis, Box, progressions, separable, strides
from potluck.compiler.lowering.fetch import FetchPlan
from potluck.compiler.lowering.move import RUN, MovePlan, Piece, moves
from potluck.compiler.lowering.pointwise import PointwisePlan
from potluck.isa.errors import ModelError
from potluck.kernels.expressions import graph as g
from potluck.kernels.expressions.graph import I32, I64, Value
from potluck.kernels.expressions.meaning import REGISTER

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector

Source = Tensor | Constant
Map = NDArray[np.integer]
FEW = 8
"""Boxes that are copied one by one; a map that needs more becomes a table."""
MANY = 4096
"""Runs of one axis that the DMA copies one by one."""
BLOCK = 4096
"""Bytes of a constant that fills a larger region again and again."""
COLUMNS = 4
"""Index columns of one elementwise layer, beside what earlier ones gave."""


def take(
    selector: Selector,
    name: str,
    op: str,
    x: Source,
    source: Sequence[int],
    y: Tensor,
    target: Sequence[int],
    maps: Mapping[int, Map],
) -> None:
    """y[i, j, ...] = x[maps[0][i], maps[1][j], ...]; an axis of length 1 without a map is repeated.

    Args:
        selector: Takes the layers.
        name: Node.
        op: Operator.
        x: Source.
        source: Its shape.
        y: Output.
        target: Its shape, of as many dimensions.
        maps: Axis -> place in the source of every place in the output; other axes are taken as they are.
    """
    if not math.prod(target):
        return
    maps = {
        axis: places
        for axis, places in maps.items()
        if len(places) != source[axis] or not np.array_equal(places, np.arange(source[axis]))
    }
    cost = {axis: len(progressions(places)) for axis, places in maps.items()}
    if math.prod(cost.values()) <= FEW:
        selector.plans += moves(name, op, [Piece(x, box) for box in separable(source, target, maps)], y)
        return
    # The axis that needs a table goes first, into an array of its own unless nothing else is left to do.
    axis = max(cost, key=lambda item: (cost[item], source[item] - target[item]))
    shape = [*source[:axis], target[axis], *source[axis + 1 :]]
    if shape == list(target) and len(maps) == 1:
        _look_up(selector, name, op, x, source, y, axis, maps[axis])
        return
    between = selector.fresh(f"{name}_{axis}", tuple(shape), y.dtype, affine=y.affine)
    _look_up(selector, f"{name}_{axis}", op, x, source, between, axis, maps[axis])
    take(selector, name, op, between, shape, y, target, {k: v for k, v in maps.items() if k != axis})


def _look_up(
    selector: Selector,
    name: str,
    op: str,
    x: Source,
    source: Sequence[int],
    y: Tensor,
    axis: int,
    places: Map,
) -> None:
    """One axis of `take`, by whatever map."""
    outer, length, item = math.prod(source[:axis]), math.prod(source[axis + 1 :]), y.item_bytes
    target = [*source[:axis], len(places), *source[axis + 1 :]]
    if length * item >= RUN and len(progressions(places)) <= MANY:
        boxes = separable(source, target, {axis: places})
        selector.plans += moves(name, op, [Piece(x, box) for box in boxes], y)
        return
    pitch = source[axis] * length
    offsets = np.asarray(places, np.int64) * length
    if length * item < RUN:  # short pieces are gathered element by element
        offsets, length = (offsets[:, None] + np.arange(length)).reshape(-1), 1
    table = make_constant(f"{name}_places", "table", (offsets * item).astype(np.uint32), "UINT32")
    look_up(selector, name, op, x, table, y, outer, pitch, offsets.size, length)


def look_up(
    selector: Selector,
    name: str,
    op: str,
    x: Source,
    table: Source,
    y: Tensor,
    outer: int,
    pitch: int,
    entries: int,
    length: int,
) -> None:
    """Adds a `FetchPlan`, unless there is nothing to fetch.

    Raises:
        ModelError: The source has places that a 32-bit offset does not reach.
    """
    size = (x.elements * x.item_bytes) if isinstance(x, Tensor) else len(x.data)
    if size >= 1 << 32:
        raise ModelError(f"its data of {size} bytes is more than 32-bit offsets reach", node=name)
    if outer * entries * length:
        selector.plans.append(FetchPlan(name, op, x, table, y, outer, pitch, entries, length))


def fill(
    name: str,
    op: str,
    value: NDArray[np.generic],
    y: Tensor,
    regions: Sequence[tuple[Sequence[int], Sequence[int]]],
) -> list[MovePlan]:
    """Layers that write a number to regions of y, each given as (first place, sizes)."""
    steps, pieces = strides(y.stored_shape), []
    item = y.item_bytes
    boxes = []
    for first, sizes in regions:
        axes = tuple(Axis(size, 0, step) for size, step in zip(sizes, steps, strict=True))
        at = sum(place * step for place, step in zip(first, steps, strict=True))
        boxes.append(Box(axes, 0, at).simplified())
    boxes = [box for box in boxes if box.elements]
    longest = max((box.axes[-1].size for box in boxes if box.axes and box.axes[-1].target == 1), default=1)
    length = min(longest, BLOCK // item)
    block = make_constant(f"{name}_value", "values", np.full(length, value), y.dtype.upper())
    for box in boxes:
        if not box.axes or box.axes[-1].target != 1:
            pieces.append(Piece(block, box))
            continue
        *outer, last = box.axes
        whole, rest = divmod(last.size, length)
        runs = Axis(whole, 0, length), Axis(length, 1, 1)
        pieces.append(Piece(block, Box((*outer, *runs), 0, box.target)))
        pieces.append(Piece(block, Box((*outer, Axis(rest, 1, 1)), 0, box.target + whole * length)))
    return moves(name, op, pieces, y)


def clamped(index: Value, limit: int) -> Value:
    """An index as ONNX counts, from the end if negative; one that is out of bounds is brought to the next place."""
    positive = g.select(index < 0, index + limit, index)
    return g.minimum(g.maximum(positive, 0), limit - 1)


def _narrow(value: Value) -> Value:
    return g.cast("narrow", value) if value.type == I64 else value


def offsets(
    selector: Selector,
    name: str,
    op: str,
    columns: Sequence[tuple[Source, Sequence[int], int, int]],
    base: NDArray[np.integer] | None,
    shape: Sequence[int],
) -> Tensor:
    """A table: the sum over columns of index times step, and a base; computed by elementwise layers.

    Args:
        selector: Takes the layers.
        name: Node.
        op: Operator.
        columns: (indices, their shape, length of the axis that they index, bytes of a step along it) of each.
        base: Bytes to add, broadcast to the shape, or nothing.
        shape: Of the table.
    """
    rest = list(columns)
    have: Source | None = None
    have_shape: Sequence[int] = ()
    if base is not None:
        have = make_constant(f"{name}_base", "table", np.asarray(base, np.int32), "INT32")
        have_shape = base.shape
    while True:
        now, rest = rest[:COLUMNS], rest[COLUMNS:]
        inputs: list[Source] = [column[0] for column in now]
        shapes = [tuple(column[1]) for column in now]
        value: Value | None = None
        for at, (source, _, limit, step) in enumerate(now):
            kind = REGISTER[source.dtype if isinstance(source, Tensor) else source.format.lower()]
            term = _narrow(clamped(g.argument(at, kind), limit)) * step
            value = term if value is None else value + term
        assert value is not None
        if have is not None:
            value = value + g.argument(len(inputs), I32)
            inputs.append(have)
            shapes.append(tuple(have_shape))
        table = selector.fresh(
            f"{name}_offsets_{len(rest)}" if rest else f"{name}_offsets", tuple(shape), "int32"
        )
        plan = PointwisePlan(table.name, op, value, tuple(inputs), tuple(shapes), table)
        selector.plans.append(plan)
        if not rest:
            return table
        have, have_shape = table, shape
