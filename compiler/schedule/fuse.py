"""Elementwise layers in a row become one, so that what is between them never leaves the registers.

A layer joins the one behind it if its FP32 result goes nowhere else and both walk through the same elements in the same
order. Every operation rounds as before, so no bit changes. Planned layers are joined, not nodes: by then broadcasting,
orders of dimensions and types are settled, whatever operators they came from.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence

from potluck.compiler.lowering.adapters import AddTile, ClipTile, ColumnTile
from potluck.compiler.lowering.base import LayerPlan, Source, Tensor
from potluck.compiler.lowering.pointwise import PointwisePlan, padded
from potluck.compiler.lowering.reduction import ReductionPlan
from potluck.compiler.lowering.stream import StreamPlan
from potluck.compiler.schedule.fuse_reductions import Form, reduced, reduced_and_more, replaced
from potluck.compiler.schedule.memory import Storage
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.expressions.graph import F32, Value, argument, maximum, minimum
from potluck.kernels.pointwise import MOST


def fuse(plans: Sequence[LayerPlan], kept: Collection[Tensor]) -> list[LayerPlan]:
    """The same network in fewer layers.

    Args:
        plans: In order.
        kept: Inputs and outputs of the network, which have to be in memory.
    """
    writers: dict[Storage, set[int]] = defaultdict(set)
    readers: dict[Storage, set[int]] = defaultdict(set)
    for index, plan in enumerate(plans):
        for tensor in plan.writes():
            writers[tensor.storage].add(index)
        for tensor in plan.reads():
            readers[tensor.storage].add(index)
    outside = {tensor.storage for tensor in kept}
    result: list[LayerPlan | None] = list(plans)
    for index in range(len(plans)):
        first = result[index]
        form = form_of(first) if first is not None else None
        made = first.y if isinstance(first, ReductionPlan) else form.y if form is not None else None
        if first is None or made is None or made.storage in outside:
            continue
        storage = made.storage
        if len(writers[storage]) != 1 or len(readers[storage]) != 1:
            continue
        (place,) = readers[storage]
        second = result[place]
        joined = _joined(first, form, second) if second is not None and place > index else None
        if joined is None:
            continue
        result[index], result[place] = None, joined
        for tensor in joined.reads():
            readers[tensor.storage] = (readers[tensor.storage] - {index}) | {place}
    return [plan for plan in result if plan is not None]


def _joined(first: LayerPlan, form: Form | None, second: LayerPlan) -> LayerPlan | None:
    """Both layers as one at the place of the second; None if that is not possible."""
    if isinstance(first, ReductionPlan):
        after = form_of(second)
        return None if after is None else reduced_and_more(first, second, after)
    if form is None:
        return None
    return reduced(first, form, second) if isinstance(second, ReductionPlan) else _join(first, form, second)


def form_of(plan: LayerPlan) -> Form | None:
    """A layer as an expression, if it is elementwise and its result is FP32 values."""
    if isinstance(plan, PointwisePlan):
        form = Form(plan.value, plan.inputs, plan.shapes, plan.y)
    elif isinstance(plan, StreamPlan) and isinstance(plan.kernel, AddTile | ClipTile | ColumnTile):
        form = _of_stream(plan, plan.kernel)
    else:
        return None
    plain = form.y.dtype == "float32" and form.y.mx is None and form.y.affine is None
    return form if plain and form.value.type == F32 else None


def _of_stream(plan: StreamPlan, kernel: AddTile | ClipTile | ColumnTile) -> Form:
    y = plan.outputs[0].tensor
    inputs: tuple[Source, ...] = tuple(stream.tensor for stream in plan.inputs)
    shapes = (y.stored_shape,) * len(inputs)
    value, bounds = argument(0, F32), kernel.kernel
    if isinstance(kernel, AddTile):
        value = value + argument(1, F32)
    elif isinstance(kernel, ColumnTile):
        value = value + argument(1, F32)
        inputs += plan.shared
        shapes += (padded((y.channels,), len(y.stored_shape)),)
    if bounds.low is not None:
        value = maximum(value, bounds.low)
    if bounds.high is not None:
        value = minimum(value, bounds.high)
    return Form(value, inputs, shapes, y)


def _join(first: LayerPlan, before: Form, second: LayerPlan) -> PointwisePlan | None:
    """Both layers as one at the place of the second; None if that is not possible."""
    if isinstance(second, PointwisePlan):
        after = Form(second.value, second.inputs, second.shapes, second.y)
    else:
        found = form_of(second)
        if found is None:
            return None
        after = found
    shape, storage = after.y.stored_shape, before.y.storage
    middle = {
        index
        for index, item in enumerate(after.inputs)
        if isinstance(item, Tensor) and item.storage is storage
    }
    if any(math.prod(after.shapes[index]) != math.prod(shape) for index in middle):
        return None  # it is repeated there
    shapes = _seen_from(before, shape)
    if shapes is None:
        return None
    inputs: list[Source] = []
    extents: list[tuple[int, ...]] = []

    def place(item: Source, extent: tuple[int, ...]) -> int:
        for index, (other, known) in enumerate(zip(inputs, extents, strict=True)):
            if other is item and known == extent:
                return index
        inputs.append(item)
        extents.append(extent)
        return len(inputs) - 1

    moved = [place(item, extent) for item, extent in zip(before.inputs, shapes, strict=True)]
    inner = replaced(before.value, {i: (at, None) for i, at in enumerate(moved)})
    outer: dict[int, tuple[int, Value | None]] = {}
    for index, (item, extent) in enumerate(zip(after.inputs, after.shapes, strict=True)):
        outer[index] = (0, inner) if index in middle else (place(item, extent), None)
    if len(inputs) > MOST:
        return None
    joined = PointwisePlan(
        second.name, f"{first.op}+{second.op}", replaced(after.value, outer), tuple(inputs), tuple(extents), after.y
    )  # fmt: skip
    try:
        joined.kernel.emit(Assembler())
    except DataError:  # its values do not fit the vector registers
        return None
    return joined


def _seen_from(form: Form, shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...] | None:
    """The operands' shapes in the dimensions of a layer that reads the result, perhaps under another shape."""
    own = form.y.stored_shape
    if own == shape:
        return form.shapes
    if math.prod(own) != math.prod(shape):
        return None
    narrow, wide = tuple(size for size in own if size > 1), tuple(size for size in shape if size > 1)
    found = []
    for extent in form.shapes:
        if math.prod(extent) == math.prod(own):
            found.append(shape)
        elif narrow == wide:
            sizes = iter([mine for mine, size in zip(extent, own, strict=True) if size > 1])
            found.append(tuple(next(sizes) if size > 1 else 1 for size in shape))
        else:
            return None
    return tuple(found)
