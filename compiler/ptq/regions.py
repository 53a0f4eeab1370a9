"""Channels that can be scaled or rotated: values that hang together, who produces them and who multiplies by them.

A region is closed if every value in it comes from a product (or from a multiplication by constants per channel, as
normalizations end with), goes into products along their contraction or through operators that treat channels alike, and
is seen by nobody else. Then the producers' output channels can be changed as long as the consumers' input channels are
changed back: the network stays the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from potluck.compiler.graph.nodes import DOMAIN, constant, integer, ints, is_op, real
from potluck.compiler.passes.quantize_integer import SUMS
from potluck.compiler.ptq.products import Product, product_of

INF = float("inf")


@dataclass(eq=False)
class Region:
    """See the module.

    Attributes:
        producers: Products whose output channels these are.
        norms: LayerNormalizations, and products with a constant per channel, and which inputs are these constants.
        consumers: Products that contract them.
        addends: Adds of a constant per channel.
        channels: How many.
        linear: Whether nothing between producers and consumers treats values of different sign apart.
    """

    producers: list[Product] = field(default_factory=list)
    norms: list[tuple[ir.Node, tuple[int, ...]]] = field(default_factory=list)
    consumers: list[Product] = field(default_factory=list)
    addends: list[tuple[ir.Node, int]] = field(default_factory=list)
    values: set[ir.Value] = field(default_factory=set)
    channels: int = 0
    linear: bool = True
    closed: bool = True


def regions(model: ir.Model) -> list[Region]:
    """Closed regions with a producer and a consumer, in the order of their first producer."""
    seen: set[ir.Value] = set()
    found = []
    for node in model.graph:
        for value in node.outputs[:1]:
            if value in seen or not _is_source(node):
                continue
            region = _grow(value)
            seen |= region.values
            if region.closed and region.consumers and (region.producers or region.norms):
                found.append(region)
    return found


def _is_source(node: ir.Node) -> bool:
    return _float_product(node) is not None or is_op(node, "LayerNormalization", "Mul")


def _float_product(node: ir.Node) -> Product | None:
    made = product_of(node)
    if made is None or constant(made.weight) is None or made.weight.dtype is not ir.DataType.FLOAT:
        return None
    return made if made.bias is None or constant(made.bias) is not None else None


def _axis(value: ir.Value) -> int | None:
    """Of the channels: the second of an image, else the last."""
    if value.shape is None or not all(isinstance(dim, int) for dim in value.shape):
        return None
    return 1 if len(value.shape) == 4 else len(value.shape) - 1


def _grow(start: ir.Value) -> Region:
    region, todo = Region(), [start]
    axis = _axis(start)
    if axis is None or start.shape is None:
        region.closed = False
        return region
    region.channels = int(start.shape[axis])  # type: ignore[arg-type]
    while todo:
        value = todo.pop()
        if value in region.values:
            continue
        region.values.add(value)
        axis = _axis(value)
        if axis is None or value.shape is None or value.shape[axis] != region.channels:
            region.closed = False
            continue
        maker = value.producer()
        if maker is None or value.is_graph_output():
            region.closed = False
        else:
            _producer(region, maker, todo)
        for usage in value.uses():
            _consumer(region, usage.node, usage.idx, value, todo)
    return region


def _producer(region: Region, node: ir.Node, todo: list[ir.Value]) -> None:
    product = _float_product(node)
    if product is not None and not product.depthwise:
        region.producers.append(product)
        if not _homogeneous(node):
            region.closed = False
        region.linear &= _unbounded(node)
    elif product is not None:  # channels go through: it contracts and produces them
        region.producers.append(product)
        region.closed &= _homogeneous(node)
        region.linear = False
    elif is_op(node, "LayerNormalization") and integer(node, "axis", -1) in (-1, _rank(node) - 1):
        scale = [constant(item) for item in node.inputs[1:3]]
        region.closed &= all(item is not None for item in scale)
        region.norms.append((node, tuple(range(1, len(node.inputs)))))
    elif is_op(node, "Mul") and (at := _per_channel(node, region.channels)) is not None:
        region.norms.append((node, (at,)))
    elif not _through(region, node, todo):
        region.closed = False


def _consumer(region: Region, node: ir.Node, index: int, value: ir.Value, todo: list[ir.Value]) -> None:
    product = _float_product(node)
    if product is not None:
        if index != 0:
            region.closed = False
        elif product not in region.consumers:
            region.consumers.append(product)
            region.linear &= not product.depthwise
    elif not _through(region, node, todo):
        region.closed = False


def _through(region: Region, node: ir.Node, todo: list[ir.Value]) -> bool:
    """Takes in what an operator reads and writes, if it treats every channel alike and scaling passes through it."""
    if node.domain not in ("", DOMAIN):
        return False
    data, out = node.inputs[0], node.outputs[0]
    if data is None:
        return False
    if node.op_type in SUMS and len(node.inputs) == 2:
        return _sum(region, node, todo)
    if node.op_type in ("AveragePool", "GlobalAveragePool", "Identity", "Dropout"):
        pass
    elif node.op_type in ("Relu", "MaxPool", "GlobalMaxPool"):
        region.linear = False
    elif node.op_type in ("Flatten", "Reshape", "Squeeze"):
        if not _drops_ones(data, out):
            return False
    elif node.op_type == "ReduceMean":
        if not _spatial(node, data, out):
            return False
    else:
        return False
    todo += [data, out]
    return True


def _sum(region: Region, node: ir.Node, todo: list[ir.Value]) -> bool:
    if not _homogeneous(node):
        return False
    region.linear &= _unbounded(node)
    left, right = node.inputs
    if left is None or right is None:
        return False
    for at, one, other in ((0, left, right), (1, right, left)):
        if constant(one) is None:
            continue
        if _per_channel(node, region.channels) != at:
            return False
        if (node, at) not in region.addends:
            region.addends.append((node, at))
        todo += [other, node.outputs[0]]
        return True
    if left.shape is None or left.shape != right.shape:
        return False
    todo += [left, right, node.outputs[0]]
    return True


def _per_channel(node: ir.Node, channels: int) -> int | None:
    """Which of two operands is a constant for every channel of the other."""
    for at in (0, 1):
        held, other = constant(node.inputs[at]), node.inputs[1 - at]
        axis = _axis(other) if other is not None else None
        if held is None or other is None or axis is None:
            continue
        shape = (1,) * max(0, _rank_of(other) - held.ndim) + held.shape
        wanted = [channels if place == axis else 1 for place in range(_rank_of(other))]
        if list(shape) == wanted:
            return at
    return None


def _homogeneous(node: ir.Node) -> bool:
    """Whether a positive factor passes through its activation: none, or Relu."""
    low, high = real(node, "min", -INF), real(node, "max", INF)
    return low in (0.0, -INF) and high in (0.0, INF)


def _unbounded(node: ir.Node) -> bool:
    return real(node, "min", -INF) == -INF and real(node, "max", INF) == INF


def _drops_ones(data: ir.Value, out: ir.Value) -> bool:
    """[N, C, 1, 1] to [N, C], or no change at all."""
    if data.shape is None or out.shape is None:
        return False
    before, after = list(data.shape), list(out.shape)
    return before == after or (len(before) == 4 and before[2:] == [1, 1] and before[:2] == after)


def _spatial(node: ir.Node, data: ir.Value, out: ir.Value) -> bool:
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    chosen = tuple(axes.tolist()) if axes is not None else ints(node, "axes", ())
    return _rank_of(data) == 4 and sorted(axis % 4 for axis in chosen) == [2, 3]


def _rank_of(value: ir.Value) -> int:
    return len(value.shape) if value.shape is not None else -1


def _rank(node: ir.Node) -> int:
    value = node.inputs[0]
    return _rank_of(value) if value is not None else -1
