"""Normalizations, global pools and Hardmax."""

from __future__ import annotations

import onnx_ir as ir

from potluck.compiler.bodies import body, ints, number
from potluck.compiler.graph.nodes import integer, real, shape_of


def _rank(node: ir.Node) -> int:
    assert node.inputs[0] is not None
    return len(shape_of(node.inputs[0], node))


def _spatial(node: ir.Node) -> str:
    """The axes behind the channels."""
    return ints(*range(2, _rank(node)))


def _per_channel(node: ir.Node) -> str:
    """The shape of one value per channel that broadcasts against an input."""
    return ints(-1, *[1] * (_rank(node) - 2))


@body("BatchNormalization")
def batch(node: ir.Node) -> str | None:
    """With the statistics that are given; one multiplication and one addition per element."""
    if integer(node, "training_mode", 0) or any(output.uses() for output in node.outputs[1:]):
        return None
    shape = _per_channel(node)
    return f"""
        spread = Add (x4, {number(real(node, "epsilon", 1e-5))})
        deviation = Sqrt (spread)
        factor = Div (x1, deviation)
        moved = Mul (x3, factor)
        offset = Sub (x2, moved)
        factors = Reshape (factor, {shape})
        offsets = Reshape (offset, {shape})
        scaled = Mul (x0, factors)
        y0 = Add (scaled, offsets)"""


@body("InstanceNormalization")
def instance(node: ir.Node) -> str:
    """Mean and variance over the spatial axes."""
    axes, shape = _spatial(node), _per_channel(node)
    return f"""
        mean = ReduceMean <keepdims = 1> (x0, {axes})
        centred = Sub (x0, mean)
        squares = Mul (centred, centred)
        variance = ReduceMean <keepdims = 1> (squares, {axes})
        spread = Add (variance, {number(real(node, "epsilon", 1e-5))})
        deviation = Sqrt (spread)
        normal = Div (centred, deviation)
        scale = Reshape (x1, {shape})
        offset = Reshape (x2, {shape})
        scaled = Mul (normal, scale)
        y0 = Add (scaled, offset)"""


@body("LayerNormalization", "RMSNormalization")
def layer(node: ir.Node) -> str | None:
    """Over the axes from ``axis`` on; without the mean in RMSNormalization."""
    rank = _rank(node)
    first = integer(node, "axis", -1) % rank
    axes, lines, centred = ints(*range(first, rank)), [], "x0"
    if node.op_type == "LayerNormalization":
        lines += [f"mean = ReduceMean <keepdims = 1> (x0, {axes})", "centred = Sub (x0, mean)"]
        centred = "centred"
    lines += [
        f"squares = Mul ({centred}, {centred})",
        f"variance = ReduceMean <keepdims = 1> (squares, {axes})",
        f"spread = Add (variance, {number(real(node, 'epsilon', 1e-5))})",
        "deviation = Sqrt (spread)",
        f"normal = Div ({centred}, deviation)",
    ]
    biased = len(node.inputs) > 2 and node.inputs[2] is not None
    lines += ["scaled = Mul (normal, x1)", "y0 = Add (scaled, x2)"] if biased else ["y0 = Mul (normal, x1)"]
    if len(node.outputs) > 1:
        lines.append("y1 = Identity (mean)")
    if len(node.outputs) > 2:
        lines.append("y2 = Reciprocal (deviation)")
    return "\n".join(lines)


@body("LpNormalization")
def lp(node: ir.Node) -> str:
    """Divided by the norm along an axis; zeros stay zeros."""
    axes = ints(integer(node, "axis", -1))
    return f"""
        norm = ReduceL{integer(node, "p", 2)} <keepdims = 1> (x0, {axes})
        nothing = Equal (norm, {number(0.0)})
        divisor = Where (nothing, {number(1.0)}, norm)
        y0 = Div (x0, divisor)"""


@body("LRN")
def local_response(node: ir.Node) -> str:
    """Sums of squares over neighbouring channels, as shifted additions."""
    assert node.inputs[0] is not None
    size, rank = integer(node, "size", 1), _rank(node)
    channels = shape_of(node.inputs[0], node)[1]
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    pads = [0] * (2 * rank)
    pads[1], pads[rank + 1] = before, after
    lines = ["squares = Mul (x0, x0)", f"padded = Pad (squares, {ints(*pads)})"]
    for shift in range(size):
        lines.append(f"part{shift} = Slice (padded, {ints(shift)}, {ints(shift + channels)}, {ints(1)})")
        lines.append(
            f"sum{shift} = " + (f"Add (sum{shift - 1}, part{shift})" if shift else "Identity (part0)")
        )
    share = real(node, "alpha", 1e-4) / size
    return (
        "\n".join(lines)
        + f"""
        shared = Mul (sum{size - 1}, {number(share)})
        base = Add (shared, {number(real(node, "bias", 1.0))})
        divisor = Pow (base, {number(real(node, "beta", 0.75))})
        y0 = Div (x0, divisor)"""
    )


@body("Hardmax")
def hardmax(node: ir.Node) -> str:
    """1 at the first place of the maximum along an axis."""
    assert node.inputs[0] is not None
    shape = shape_of(node.inputs[0], node)
    axis = integer(node, "axis", -1) % len(shape)
    sizes = [shape[axis] if place == axis else 1 for place in range(len(shape))]
    return f"""
        place = ArgMax <axis = {axis}, keepdims = 1> (x0)
        places = Reshape ({ints(*range(shape[axis]))}, {ints(*sizes)})
        here = Equal (places, place)
        y0 = CastLike (here, x0)"""


@body("GlobalMaxPool")
def global_max(node: ir.Node) -> str:
    """The maximum over the spatial axes."""
    return f"y0 = ReduceMax <keepdims = 1> (x0, {_spatial(node)})"


@body("GlobalAveragePool")
def global_average(node: ir.Node) -> str:
    """The mean over the spatial axes."""
    return f"y0 = ReduceMean <keepdims = 1> (x0, {_spatial(node)})"


@body("GlobalLpPool")
def global_lp(node: ir.Node) -> str:
    """The norm over the spatial axes."""
    p = integer(node, "p", 2)
    if p in (1, 2):
        return f"y0 = ReduceL{p} <keepdims = 1> (x0, {_spatial(node)})"
    return f"""
        sizes = Abs (x0)
        powers = Pow (sizes, {number(p)})
        total = ReduceSum <keepdims = 1> (powers, {_spatial(node)})
        y0 = Pow (total, {number(1 / p)})"""


@body("EyeLike")
def eye(node: ir.Node) -> str | None:
    """Ones on a diagonal: a comparison of places."""
    assert node.inputs[0] is not None
    rows, columns = shape_of(node.inputs[0], node)
    kind = integer(node, "dtype", 0)
    cast = f"Cast <to = {kind}> (here)" if kind else "CastLike (here, x0)"
    return f"""
        down = Reshape ({ints(*(row + integer(node, "k", 0) for row in range(rows)))}, {ints(rows, 1)})
        along = Reshape ({ints(*range(columns))}, {ints(1, columns)})
        here = Equal (down, along)
        y0 = {cast}"""
