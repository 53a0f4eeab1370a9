"""Finds rotary positions and makes one node of each (`potluck.Rotate`).

    x cos + Concat(-second half of x, first half of x) sin

as exporters write it. Cosines and sines are one row for all of x, or one for each place of its second dimension from
the end. What is else stays as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from potluck.compiler.functions import require
from potluck.compiler.graph.nodes import (
    DOMAIN,
    constant,
    drop_unused,
    integer,
    is_op,
    label,
    shape_of,
    sole_user,
)


@dataclass(frozen=True)
class Found:
    """A rotation in a graph.

    Attributes:
        last: The sum.
        x: What is rotated.
        cosines: By the straight half.
        sines: By the turned one.
    """

    last: ir.Node
    x: ir.Value
    cosines: ir.Value
    sines: ir.Value


def rotated(model: ir.Model) -> ir.Model:
    """The network with each rotation as one node: a copy, or the network itself if it has none."""
    if not _matches(model):
        return model
    made = model.clone()
    for found in _matches(made):
        _replace(made, found)
    drop_unused(made.graph)
    return made


def _matches(model: ir.Model) -> list[Found]:
    every = (_match(node) for node in model.graph if is_op(node, "Add"))
    return [found for found in every if found is not None]


def _match(last: ir.Node) -> Found | None:
    """The rotation that ends with a sum."""
    products = [_producer(value, "Mul") for value in last.inputs[:2]]
    for straight, across in (products, products[::-1]):
        if straight is None or across is None:
            continue
        for turned, sines in (across.inputs[:2], across.inputs[1::-1]):
            x = _turned(turned)
            if x is None or sines is None or x not in straight.inputs[:2]:
                continue
            cosines = straight.inputs[1 - list(straight.inputs[:2]).index(x)]
            if cosines is not None and _plain(x, cosines, sines, last.outputs[0]):
                return Found(last, x, cosines, sines)
    return None


def _turned(value: ir.Value | None) -> ir.Value | None:
    """What a value is of with its halves exchanged and the first one negated; None if it is not."""
    turned = _producer(value, "Concat")
    if turned is None or value is None or len(turned.inputs) != 2:
        return None
    rank = len(shape_of(value))
    if integer(turned, "axis", 0) % rank != rank - 1:
        return None
    negated, first = _producer(turned.inputs[0], "Neg"), _producer(turned.inputs[1], "Slice")
    second = _producer(negated.inputs[0], "Slice") if negated is not None else None
    if first is None or second is None or first.inputs[0] is not second.inputs[0]:
        return None
    x = first.inputs[0]
    if x is None or x.shape is None or len(shape_of(x)) != rank or shape_of(x)[-1] % 2:
        return None
    half = shape_of(x)[-1] // 2
    return x if _part(first, rank) == (0, half) and _part(second, rank) == (half, 2 * half) else None


def _part(node: ir.Node, rank: int) -> tuple[int, int] | None:
    """First element and end of a slice of the last axis alone; None if it is another one."""
    numbers = [constant(value) for value in node.inputs[1:5]]
    if len(numbers) < 3 or any(number is None or number.size != 1 for number in numbers):
        return None
    start, end, axis, step = (*(int(number.reshape(())) for number in numbers if number is not None), 1)[:4]
    size = shape_of(node.inputs[0], node)[-1] if node.inputs[0] is not None else 0
    if axis % rank != rank - 1 or step != 1:
        return None
    start, end = (max(0, size + place) if place < 0 else min(place, size) for place in (start, end))
    return start, end


def _producer(value: ir.Value | None, op: str) -> ir.Node | None:
    """Who computed a value, if it is that operator and nobody else reads it."""
    node = value.producer() if value is not None else None
    return node if node is not None and is_op(node, op) and sole_user(node.outputs[0]) else None


def _plain(x: ir.Value, cosines: ir.Value, sines: ir.Value, y: ir.Value) -> bool:
    """Whether all are FP32, and tables have a row for all of x, or one for each of its rows in a matrix."""
    shape, tables = shape_of(x), [shape_of(table) for table in (cosines, sines)]
    if any(value.dtype is not ir.DataType.FLOAT for value in (x, cosines, sines, y)):
        return False
    if shape_of(y) != shape or not all(shape) or tables[0][-1:] != shape[-1:] or constant(x) is not None:
        return False
    rows = {math.prod(table[:-1]) for table in tables if table[-1:] == shape[-1:]}
    by_place = len(shape) > 1 and all(table[-2:] == shape[-2:] for table in tables)
    return (
        len(rows) == 1
        and (rows == {1} or (by_place and rows == {shape[-2]}))
        and tables[1][-1:] == shape[-1:]
    )


def _replace(model: ir.Model, found: Found) -> None:
    require(model, "Rotate")
    full = shape_of(found.x)[-1]
    attributes = [ir.AttrInt64s("half", [full // 2]), ir.AttrInt64s("full", [full])]
    inputs = [found.x, found.cosines, found.sines]
    made = ir.Node(DOMAIN, "Rotate", inputs, attributes, name=label(found.last), num_outputs=1)
    old = found.last.outputs[0]
    made.outputs[0].shape, made.outputs[0].type, made.outputs[0].name = old.shape, old.type, old.name
    ir.convenience.replace_nodes_and_values(
        model.graph, found.last, [found.last], [made], [old], [made.outputs[0]]
    )
