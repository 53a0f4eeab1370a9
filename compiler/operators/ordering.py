"""TopK: every element becomes one integer that sorts as it must come out, ties by place; no two of them are equal."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from potluck.compiler.graph.nodes import constant, integer, label, shape_of, title
from potluck.compiler.lowering.base import Constant, Tensor
from potluck.compiler.lowering.base import constant as make_constant
from potluck.compiler.lowering.boxes import Axis, Box
from potluck.compiler.lowering.move import Piece, moves
from potluck.compiler.lowering.pointwise import PointwisePlan
from potluck.compiler.operators.base import HALVES, TYPES, UNSIGNED, operator, typed
from potluck.compiler.operators.pointwise import convert, loaded, stored
from potluck.compiler.operators.reduction import combined
from potluck.kernels.expressions import graph as g
from potluck.kernels.expressions.graph import F32, I32, I64, U32, Value, argument
from potluck.kernels.reduction import Operation, identity

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector

WIDE = (ir.DataType.INT64, ir.DataType.UINT64)
"""Types that leave no room for a place beside them."""
MOST_WIDE = 1024
"""Elements of such a type that are compared with each other, with a table of who comes first."""
ROUND_COST = 4096
"""Elements in whose time a layer begins and ends."""


def _rule(node: ir.Node) -> str | None:
    reason = typed(node, (*TYPES, *HALVES, *UNSIGNED))
    if reason:
        return reason
    if constant(node.inputs[1]) is None:
        return "its K is computed at run time, only constants are taken: see --bind"
    data = node.inputs[0]
    assert data is not None
    shape = shape_of(data, node)
    if not shape or 0 in shape or 0 in shape_of(node.outputs[0], node):
        return "it has no elements"
    size = shape[integer(node, "axis", -1) % len(shape)]
    if data.dtype in WIDE and size > MOST_WIDE:
        return f"{size} elements of 64 bits are too many to compare with each other; {MOST_WIDE} are taken"
    return None


def _key(x: Value, largest: bool, size: int) -> Value:
    """The element in the upper half, less the number of elements before it in the lower half."""
    if x.type == F32:
        bits = g.cast("bits", x + 0.0)  # one zero, one NaN
        order = bits ^ (g.shift_right(bits, 31, signed=True) & 0x7FFFFFFF)
    elif x.type == U32:
        order = g.cast("signed", x) ^ -(1 << 31)
    else:
        order = convert(x, I32)
    order = order if largest else ~order
    behind = (size - 1) - argument(1, I32)
    return g.shift_left(g.cast("widen", order), 32) | g.cast("widen", behind)


def _element(key: Value, like: str, largest: bool) -> Value:
    """The element of a key."""
    order = g.cast("narrow", g.shift_right(key, 32, signed=True))
    order = order if largest else ~order
    if like == F32:
        return g.cast("from_bits", order ^ (g.shift_right(order, 31, signed=True) & 0x7FFFFFFF))
    return g.cast("unsigned", order ^ -(1 << 31)) if like == U32 else order


class _Top:
    """One node: [outer, size, inner] to [outer, count, inner]."""

    def __init__(self, selector: Selector, node: ir.Node) -> None:
        self.selector, self.node = selector, node
        self.x = selector.tensor(node.inputs[0], node, channels_last=False)
        shape = self.x.shape
        axis = integer(node, "axis", -1) % len(shape)
        self.size, self.count = shape[axis], shape_of(node.outputs[0], node)[axis]
        self.outer, self.inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        self.largest = bool(integer(node, "largest", 1))
        self.name = label(node)

    def places(self, count: int, name: str) -> Constant:
        """0, 1, ... as a constant."""
        return make_constant(f"{self.name}_{name}", "values", np.arange(count, dtype=np.int32), "INT32")

    def fresh(self, name: str, shape: tuple[int, ...], dtype: str) -> Tensor:
        """A tensor between layers."""
        return self.selector.fresh(f"{self.name}_{name}", shape, dtype)

    def point(self, value: Value, inputs: list[tuple[Tensor | Constant, tuple[int, ...]]], y: Tensor,
              shape: tuple[int, ...]) -> None:  # fmt: skip
        """An elementwise layer that sees its output in a shape."""
        seen = replace(y, shape=shape, channels_last=False)
        sources, shapes = tuple(item for item, _ in inputs), tuple(sizes for _, sizes in inputs)
        self.selector.plans.append(PointwisePlan(self.name, title(self.node), value, sources, shapes, seen))

    def ranks(self, greater: Value, inputs: list[tuple[Tensor | Constant, tuple[int, ...]]]) -> Tensor:
        """How many elements come before each; ``greater`` says it of two."""
        made = self.fresh("ranks", (self.outer, self.size, 1, self.inner), "int32")
        count = g.select(greater, g.constant(1, I32), g.constant(0, I32))
        shape = (self.outer, self.size, self.size, self.inner)
        return combined(self.selector, self.node, "add", count, None, inputs, shape, (2,), made)

    def chosen(self, value: Value, combine: Operation, other: tuple[Tensor | Constant, tuple[int, ...]], ranks: Tensor,
               y: Tensor) -> None:  # fmt: skip
        """What lies where the rank is the place in the output; ``value`` is of argument 2."""
        here = g.equal(argument(0, I32), argument(1, I32))
        nothing = g.constant(identity(combine, value.type), value.type)
        inputs: list[tuple[Tensor | Constant, tuple[int, ...]]] = [
            (ranks, (self.outer, 1, self.size, self.inner)),
            (self.places(self.count, "wanted"), (1, self.count, 1, 1)), other,
        ]  # fmt: skip
        shape = (self.outer, self.count, self.size, self.inner)
        picked = g.select(here, value, nothing)
        combined(self.selector, self.node, combine, picked, None, inputs, shape, (2,), y)

    def rows(self) -> tuple[int, int, int, int]:
        """As the reduced axis has it in comparisons."""
        return self.outer, 1, self.size, self.inner

    def columns(self) -> tuple[int, int, int, int]:
        """As the kept axis has it in comparisons."""
        return self.outer, self.size, 1, self.inner

    def run(self) -> None:
        """Adds every layer."""
        values, where = (self.selector.new(value) for value in self.node.outputs)
        if self.node.inputs[0] is not None and self.node.inputs[0].dtype in WIDE:
            self._wide(values, where)
            return
        keys = self.fresh("keys", (self.outer, self.size, self.inner), "int64")
        x = loaded(0, self.x.dtype)
        whole = (self.outer, self.size, self.inner)
        places = (self.places(self.size, "places"), (1, self.size, 1))
        self.point(_key(x, self.largest, self.size), [(self.x, whole), places], keys, whole)
        found = self._sorted(keys)
        key, shape = argument(0, I64), (self.outer, self.count, self.inner)
        self.point(stored(_element(key, x.type, self.largest), values.dtype), [(found, shape)], values, shape)
        place = (self.size - 1) - (key & 0x7FFFFFFF)
        self.point(convert(place, I64), [(found, shape)], where, shape)

    def _sorted(self, keys: Tensor) -> Tensor:
        """The first keys, in order."""
        made = self.fresh("sorted", (self.outer, self.count, 1, self.inner), "int64")
        pairs = self.size * (self.size + self.count)
        lines = self.outer * self.inner
        if self.count * (self.size * lines + ROUND_COST) > pairs * lines:
            ranks = self.ranks(
                argument(0, I64) > argument(1, I64), [(keys, self.rows()), (keys, self.columns())]
            )
            self.chosen(argument(2, I64), "max", (keys, self.rows()), ranks, made)
            return made
        # The largest of those that are less than the last one, again and again.
        pieces: list[Tensor] = []
        shape, kept = (self.outer, self.size, self.inner), (self.outer, 1, self.inner)
        for number in range(self.count):
            y = self.fresh(f"key{number}", kept, "int64")
            value, inputs = argument(0, I64), [(keys, shape)]
            if pieces:
                less = value < argument(1, I64)
                value = g.select(less, value, g.constant(identity("max", I64), I64))
                inputs.append((pieces[-1], kept))
            pieces.append(combined(self.selector, self.node, "max", value, None, inputs, shape, (1,), y))
        axes = (Axis(self.outer, self.inner, self.count * self.inner), Axis(self.inner, 1, 1))
        parts = [Piece(piece, Box(axes, 0, number * self.inner)) for number, piece in enumerate(pieces)]
        self.selector.plans += moves(made.name, title(self.node), parts, made)
        return made

    def _wide(self, values: Tensor, where: Tensor) -> None:
        """Elements of 64 bits: a table says which of two places is first."""
        first = np.arange(self.size)[None, :] < np.arange(self.size)[:, None]
        table = make_constant(f"{self.name}_first", "values", first, "BOOL")
        x, y = loaded(0, self.x.dtype), loaded(1, self.x.dtype)
        before = x > y if self.largest else x < y
        before = before | (g.equal(x, y) & argument(2, "mask"))
        ranks = self.ranks(before, [(self.x, self.rows()), (self.x, self.columns()),
                                    (table, (1, self.size, self.size, 1))])  # fmt: skip
        self.chosen(loaded(2, self.x.dtype), "max", (self.x, self.rows()), ranks, values)
        places = self.places(self.size, "places")
        wide = g.cast("widen", argument(2, I32))
        self.chosen(wide, "max", (places, (1, 1, self.size, 1)), ranks, where)


@operator("TopK", rule=_rule, order="row")
def _top(selector: Selector, node: ir.Node) -> None:
    """By ranks, which cost the square of the axis, or by as many rounds as there are elements to find."""
    _Top(selector, node).run()
