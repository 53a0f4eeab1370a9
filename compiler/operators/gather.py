"""Operators whose output is made of pieces at places that indices name: Gather, Scatter and their kin.

Indices that are constants make maps or tables at compile time; others are turned into byte offsets by elementwise
layers. ONNX leaves indices out of bounds undefined; here they mean the nearest place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.nodes import constant, integer, label, shape_of, text, title
from potluck.compiler.graph.rearrange import Source, look_up, offsets
from potluck.compiler.lowering.base import Constant, Tensor
from potluck.compiler.lowering.base import constant as make_constant
from potluck.compiler.lowering.boxes import Axis, Box, strides
from potluck.compiler.lowering.fetch import DepositPlan
from potluck.compiler.lowering.move import Piece, moves
from potluck.compiler.lowering.pointwise import PointwisePlan, padded
from potluck.compiler.operators.base import movable, operator, typed
from potluck.compiler.operators.move import known, select, source
from potluck.kernels.expressions import graph as g
from potluck.kernels.expressions.graph import I32, I64
from potluck.kernels.expressions.meaning import REGISTER
from potluck.kernels.move import Reduction

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector

_INDICES = (ir.DataType.INT32, ir.DataType.INT64)


def _indices(node: ir.Node, index: int = 1) -> str | None:
    value = node.inputs[index]
    assert value is not None
    if value.dtype not in (None, *_INDICES):
        assert value.dtype is not None
        return f"its indices {value.name!r} are {value.dtype.name}"
    return movable(node)


def _item(x: Source) -> int:
    if isinstance(x, Tensor):
        return x.item_bytes
    return len(x.data) // max(1, math.prod(x.shape))


def _wrapped(indices: NDArray[np.generic], limit: int) -> NDArray[np.int64]:
    array = np.asarray(indices, np.int64)
    return np.clip(np.where(array < 0, array + limit, array), 0, max(0, limit - 1))


def _fresh_table(name: str, places: NDArray[np.integer]) -> Constant:
    return make_constant(f"{name}_places", "table", np.asarray(places).astype(np.uint32), "UINT32")


@operator("Gather", rule=_indices)
def _gather(selector: Selector, node: ir.Node) -> None:
    """Gather along an axis."""
    value, chosen = node.inputs[0], node.inputs[1]
    assert value is not None and chosen is not None
    shape, picks = shape_of(value, node), shape_of(chosen, node)
    axis = integer(node, "axis", 0) % len(shape)
    places = constant(chosen)
    if places is not None and len(picks) == 1:
        select(selector, node, {axis: _wrapped(places, shape[axis])})
        return
    x, _ = source(selector, value, node, False)
    y, name, op = selector.new(node.outputs[0]), label(node), title(node)
    outer, length, entries = math.prod(shape[:axis]), math.prod(shape[axis + 1 :]), math.prod(picks)
    step = length * _item(x)
    if not y.elements:
        return
    table: Source
    if places is not None:
        table = _fresh_table(name, _wrapped(places, shape[axis]).reshape(-1) * step)
    else:
        index = selector.tensor(chosen, node, channels_last=False)
        column = (index, (entries,), shape[axis], step)
        table = offsets(selector, name, op, [column], None, (entries,))
    look_up(selector, name, op, x, table, y, outer, shape[axis] * length, entries, length)


def _element_table(selector: Selector, node: ir.Node, shape: Sequence[int], item: int) -> Source:
    """Byte offsets into an array of ``shape`` for GatherElements and ScatterElements, one per index."""
    chosen = node.inputs[1]
    assert chosen is not None
    picks = shape_of(chosen, node)
    axis = integer(node, "axis", 0) % len(shape)
    steps = strides(shape)
    base = np.zeros((1,) * len(shape), np.int64)
    for other, (size, step) in enumerate(zip(picks, steps, strict=True)):
        if other != axis:
            base = base + np.arange(size).reshape([-1 if i == other else 1 for i in range(len(shape))]) * step
    places = constant(chosen)
    if places is not None:
        return _fresh_table(label(node), (_wrapped(places, shape[axis]) * steps[axis] + base) * item)
    index = selector.tensor(chosen, node, channels_last=False)
    column = (index, picks, shape[axis], steps[axis] * item)
    return offsets(
        selector, label(node), title(node), [column], base * item if base.size > 1 else None, picks
    )


@operator("GatherElements", rule=_indices)
def _gather_elements(selector: Selector, node: ir.Node) -> None:
    """GatherElements: an index per element."""
    x, _ = source(selector, node.inputs[0], node, False)
    y = selector.new(node.outputs[0])
    if y.elements:
        table = _element_table(selector, node, shape_of(node.inputs[0], node), y.item_bytes)  # type: ignore[arg-type]
        look_up(selector, label(node), title(node), x, table, y, 1, 0, y.elements, 1)


def _tuple_table(
    selector: Selector, node: ir.Node, shape: Sequence[int], item: int, batches: int = 0
) -> tuple[Source, int, int]:
    """Byte offsets for GatherND and ScatterND: (table, entries, elements of a piece)."""
    chosen = node.inputs[1]
    assert chosen is not None
    *outer, count = shape_of(chosen, node)
    steps, entries = strides(shape), math.prod(outer)
    length = math.prod(shape[batches + count :])
    base = np.zeros((), np.int64)
    for axis in range(batches):
        base = (
            base
            + np.arange(outer[axis]).reshape([-1 if i == axis else 1 for i in range(len(outer))])
            * steps[axis]
        )
    flat = np.ascontiguousarray(np.broadcast_to(base, outer)).reshape(-1) * item if batches else None
    limits = list(zip(shape[batches:], steps[batches:], strict=True))[:count]
    places = constant(chosen)
    if places is not None or not count:
        found = np.zeros(entries, np.int64) if flat is None else flat
        for axis, (limit, step) in enumerate(limits):
            assert places is not None
            found = found + _wrapped(places.reshape(-1, count)[:, axis], limit) * step * item
        return _fresh_table(label(node), found), entries, length
    index = selector.tensor(chosen, node, channels_last=False)
    columns: list[tuple[Source, Sequence[int], int, int]] = []
    for axis, (limit, step) in enumerate(limits):
        column = index
        if count > 1:
            column = selector.fresh(f"{label(node)}_index_{axis}", (entries,), index.dtype)
            piece = Piece(index, Box((Axis(entries, count, 1),), axis))
            selector.plans += moves(column.name, title(node), [piece], column)
        columns.append((column, (entries,), limit, step * item))
    return offsets(selector, label(node), title(node), columns, flat, (entries,)), entries, length


@operator("GatherND", rule=_indices)
def _gather_nd(selector: Selector, node: ir.Node) -> None:
    """GatherND: indices of several axes name a slice."""
    x, _ = source(selector, node.inputs[0], node, False)
    y = selector.new(node.outputs[0])
    if y.elements:
        shape = shape_of(node.inputs[0], node)  # type: ignore[arg-type]
        table, entries, length = _tuple_table(
            selector, node, shape, y.item_bytes, integer(node, "batch_dims", 0)
        )
        look_up(selector, label(node), title(node), x, table, y, 1, 0, entries, length)


def _scatter_rule(node: ir.Node) -> str | None:
    reason = _indices(node)
    if reason or text(node, "reduction", "none") == "none":
        return reason
    value = node.outputs[0]
    if value.dtype is not None and (value.dtype is ir.DataType.BOOL or typed(node)):
        return f"its reduction of {value.dtype.name} is not computed"
    return None


def _scatter(selector: Selector, node: ir.Node, table: Source, y: Tensor, entries: int, length: int) -> None:
    """The layers of a scatter, given the table."""
    x, _ = source(selector, node.inputs[0], node, False)
    updates, _ = source(selector, node.inputs[2], node, False)
    name, op = label(node), title(node)
    if not entries * length or not DepositPlan.fits(y, selector.target):
        whole = Box((Axis(y.elements, 1, 1),))
        selector.plans += moves(f"{name}_copy", op, [Piece(x, whole)], y)
        x = y
    if entries * length:
        reduction = cast(Reduction, text(node, "reduction", "none"))
        selector.plans.append(DepositPlan(name, op, x, table, updates, y, entries, length, reduction))


@operator("ScatterElements", "Scatter", rule=_scatter_rule)
def _scatter_elements(selector: Selector, node: ir.Node) -> None:
    """ScatterElements: an index per element."""
    y = selector.new(node.outputs[0])
    assert node.inputs[1] is not None
    entries = math.prod(shape_of(node.inputs[1], node))
    table = _element_table(selector, node, y.shape, y.item_bytes)
    _scatter(selector, node, table, y, entries, 1)


@operator("ScatterND", rule=_scatter_rule)
def _scatter_nd(selector: Selector, node: ir.Node) -> None:
    """ScatterND: indices of several axes name a slice."""
    y = selector.new(node.outputs[0])
    table, entries, length = _tuple_table(selector, node, y.shape, y.item_bytes)
    _scatter(selector, node, table, y, entries, length)


@operator("ReverseSequence", rule=movable, order="row")
def _reverse_sequence(selector: Selector, node: ir.Node) -> None:
    """ReverseSequence: the first elements of each sequence, in the opposite order."""
    x, _ = source(selector, node.inputs[0], node, False)
    y, lengths = selector.new(node.outputs[0]), node.inputs[1]
    assert lengths is not None
    time, batch = integer(node, "time_axis", 0), integer(node, "batch_axis", 1)
    step_bytes = math.prod(y.shape[2:]) * y.item_bytes
    steps, sequences = y.shape[time], y.shape[batch]
    to = {0: y.shape[1] * step_bytes, 1: step_bytes}
    grid = [np.arange(steps), np.arange(sequences)]
    when = grid[0].reshape((-1, 1) if time == 0 else (1, -1))
    where = grid[1].reshape((-1, 1) if batch == 0 else (1, -1))
    name, op, known_lengths = label(node), title(node), constant(lengths)
    table: Source
    if known_lengths is not None:
        ends = np.asarray(known_lengths, np.int64).reshape(where.shape)
        places = np.where(when < ends, ends - 1 - when, when) * to[time] + where * to[batch]
        table = _fresh_table(name, places)
    else:
        index = selector.tensor(lengths, node)
        made = selector.fresh(f"{name}_offsets", y.shape[:2], "int32")
        end, now = g.argument(0, REGISTER[index.dtype]), g.argument(1, I32)
        end = g.cast("narrow", end) if end.type == I64 else end
        end = g.minimum(end, steps)
        value = g.select(now < end, end - 1 - now, now) * to[time] + g.argument(2, I32)
        held = [
            make_constant(f"{name}_{part}", "table", array.astype(np.int32), "INT32")
            for part, array in (("steps", when), ("sequences", where * to[batch]))
        ]
        inputs: tuple[Tensor | Constant, ...] = (index, *held)
        plan = PointwisePlan(made.name, op, value, inputs, (where.shape, when.shape, where.shape), made)
        selector.plans.append(plan)
        table = made
    look_up(selector, name, op, x, table, y, 1, 0, steps * sequences, math.prod(y.shape[2:]))


def _one_hot_rule(node: ir.Node) -> str | None:
    return typed(node) or known(node, 1)


@operator("OneHot", rule=_one_hot_rule, order="row")
def _one_hot(selector: Selector, node: ir.Node) -> None:
    """OneHot: each index compared with every place."""
    chosen, pair = node.inputs[0], node.inputs[2]
    assert chosen is not None and pair is not None
    y = selector.new(node.outputs[0])
    axis = integer(node, "axis", -1) % len(y.shape)
    depth, name, op = y.shape[axis], label(node), title(node)
    index, _ = source(selector, chosen, node, False)
    dtype = (
        index.dtype
        if isinstance(index, Tensor)
        else {"FP32": "float32"}.get(index.format, index.format.lower())
    )
    place = g.argument(0, REGISTER[dtype])
    wrapped = g.select(place < 0, place + depth, place)
    every = np.arange(depth).astype({"f32": np.float32, I64: np.int64}.get(place.type, np.int32))
    spread = [-1 if i == axis else 1 for i in range(len(y.shape))]
    shape = shape_of(chosen, node)
    inputs: list[Source] = [index, selector.held(every.reshape(spread), f"{name}_places")]
    shapes = [(*shape[:axis], 1, *shape[axis:]), tuple(every.reshape(spread).shape)]
    kind, values = REGISTER[y.dtype], constant(pair)
    numbers = []
    for at in range(2):
        if values is not None:
            numbers.append(g.constant(values[at].item(), kind))
            continue
        single = selector.fresh(f"{name}_value_{at}", (1,), y.dtype)
        held = selector.tensor(pair, node)
        selector.plans += moves(single.name, op, [Piece(held, Box((), at))], single)
        numbers.append(g.argument(len(inputs), kind))
        inputs.append(single)
        shapes.append(padded((1,), len(y.shape)))
    off, on = numbers
    chosen_value = g.select(g.equal(wrapped, g.argument(1, place.type)), on, off)
    selector.plans.append(PointwisePlan(name, op, chosen_value, tuple(inputs), tuple(shapes), y))
