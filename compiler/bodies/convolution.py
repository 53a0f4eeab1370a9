"""Convolutions and pools of other ranks, groups, dilations and directions, as two-dimensional dense convolutions."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from potluck.compiler.bodies import LARGEST, body, ints, number, windows
from potluck.compiler.graph.nodes import constant, integer, shape_of, text
from potluck.compiler.graph.nodes import ints as listed


def _spatial_rank(node: ir.Node) -> int:
    assert node.inputs[0] is not None
    return len(shape_of(node.inputs[0], node)) - 2


def _bias(node: ir.Node) -> str:
    """The operand behind the weights, if there is one."""
    return ", x2" if len(node.inputs) > 2 and node.inputs[2] is not None else ""


def attributes(**values: object) -> str:
    """Attributes in ONNX's syntax, without those that are None."""
    shown = {
        name: f"[{', '.join(map(str, value))}]"
        if isinstance(value, (list, tuple))
        else f'"{value}"'
        if isinstance(value, str)
        else str(value)
        for name, value in values.items()
        if value is not None
    }
    return f"<{', '.join(f'{name} = {value}' for name, value in shown.items())}>" if shown else ""


def _lifted(node: ir.Node, kind: str, **more: object) -> str:
    """A one-dimensional convolution or pool as one of height 1."""
    kernel, strides, dilations = (
        listed(node, name, (1,)) for name in ("kernel_shape", "strides", "dilations")
    )
    pads = listed(node, "pads", (0, 0))
    written = attributes(
        kernel_shape=[1, *kernel] if "kernel_shape" in node.attributes else None, strides=[1, *strides],
        dilations=[1, *dilations] if max(dilations) > 1 else None, pads=[0, pads[0], 0, pads[1]], **more,
    )  # fmt: skip
    weights = f", weight{_bias(node)}" if kind == "Conv" else ""
    lines = [f"image = Unsqueeze (x0, {ints(2)})"]
    if weights:
        lines.append(f"weight = Unsqueeze (x1, {ints(2)})")
    lines += [f"made = {kind} {written} (image{weights})", f"y0 = Squeeze (made, {ints(2)})"]
    return "\n".join(lines)


@body("Conv")
def convolution(node: ir.Node) -> str | None:
    """One dimension as two; groups one by one; dilated kernels with their zeros; others by the places of the window."""
    group, spatial = integer(node, "group", 1), _spatial_rank(node)
    if text(node, "auto_pad", "NOTSET") != "NOTSET":
        return None
    if spatial == 1:
        return _lifted(node, "Conv", group=group)
    if spatial == 2 and constant(node.inputs[1]) is not None:
        if max(listed(node, "dilations", (1, 1))) > 1:
            return _dilated(node)
        if group > 1 and group < shape_of(node.inputs[1], node)[0]:  # type: ignore[arg-type]
            return _grouped(node)
    return windows.convolution(node, _bias(node).removeprefix(", "))


def _plain(node: ir.Node, **more: object) -> str:
    return attributes(
        strides=listed(node, "strides", (1, 1)), pads=listed(node, "pads", (0, 0, 0, 0)), **more
    )


def _dilated(node: ir.Node) -> str:
    """A dense kernel: each weight and then zeros, less the last ones."""
    assert node.inputs[1] is not None
    dilations, shape = listed(node, "dilations", (1, 1)), shape_of(node.inputs[1], node)
    high, wide = ((size - 1) * step + 1 for size, step in zip(shape[2:], dilations, strict=True))
    spread = (*shape[:2], shape[2], 1, shape[3], 1)
    pads = [0] * 12
    pads[9], pads[11] = dilations[0] - 1, dilations[1] - 1
    whole = (*shape[:2], shape[2] * dilations[0], shape[3] * dilations[1])
    written = _plain(node, group=integer(node, "group", 1))
    return f"""
        places = Reshape (x1, {ints(*spread)})
        between = Pad (places, {ints(*pads)})
        large = Reshape (between, {ints(*whole)})
        weight = Slice (large, {ints(0, 0)}, {ints(high, wide)}, {ints(2, 3)})
        y0 = Conv {written} (x0, weight{_bias(node)})"""


def _grouped(node: ir.Node) -> str:
    """The channels of each group through its own kernels."""
    group = integer(node, "group", 1)
    parts = [[f"{name}{index}" for index in range(group)] for name in ("channels", "weight", "bias", "part")]
    channels, weights, biases, results = parts
    biased = bool(_bias(node))
    split = f"Split <axis = {{}}, num_outputs = {group}>"
    lines = [
        f"{', '.join(channels)} = {split.format(1)} (x0)",
        f"{', '.join(weights)} = {split.format(0)} (x1)",
    ]
    if biased:
        lines.append(f"{', '.join(biases)} = {split.format(0)} (x2)")
    for index in range(group):
        operands = f"{channels[index]}, {weights[index]}" + (f", {biases[index]}" if biased else "")
        lines.append(f"{results[index]} = Conv {_plain(node)} ({operands})")
    return "\n".join([*lines, f"y0 = Concat <axis = 1> ({', '.join(results)})"])


@body("ConvTranspose")
def transposed(node: ir.Node) -> str | None:
    """A convolution of the input with zeros between its elements by the kernel turned around."""
    assert node.inputs[0] is not None and node.inputs[1] is not None
    spatial = _spatial_rank(node)
    ones = (1,) * spatial
    sizes, weights = shape_of(node.inputs[0], node)[2:], shape_of(node.inputs[1], node)
    strides, dilations = (listed(node, name, ones) for name in ("strides", "dilations"))
    kernel, group = weights[2:], integer(node, "group", 1)
    reach = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
    extents = shape_of(node.outputs[0], node)[2:]
    pads = _transposed_pads(node, sizes, strides, reach, extents)
    n, c = shape_of(node.inputs[0], node)[:2]
    lines, image = [], "x0"
    if (
        max(strides) > 1
    ):  # [n, c, h, 1, w, 1] padded to [n, c, h, s, w, s], less the zeros behind the last element
        spread, zeros, whole = [n, c], [0, 0], [n, c]
        for size, step in zip(sizes, strides, strict=True):
            spread, zeros, whole = [*spread, size, 1], [*zeros, 0, step - 1], [*whole, size * step]
        kept = [(size - 1) * step + 1 for size, step in zip(sizes, strides, strict=True)]
        axes = range(2, 2 + spatial)
        lines += [
            f"places = Reshape (x0, {ints(*spread)})",
            f"between = Pad (places, {ints(*[0] * len(zeros), *zeros)})",
            f"large = Reshape (between, {ints(*whole)})",
            f"image = Slice (large, {ints(*[0] * spatial)}, {ints(*kept)}, {ints(*axes)})",
        ]
        image = "image"
    # [C, M / group, ...] to [M, C / group, ...], turned around in every spatial direction.
    per, axes = weights[0] // group, range(3, 3 + spatial)
    order = [0, 2, 1, *range(3, 3 + spatial)]
    lines += [
        f"groups = Reshape (x1, {ints(group, per, *weights[1:])})",
        f"swapped = Transpose <perm = {order}> (groups)",
        f"turned = Slice (swapped, {ints(*[-1] * spatial)}, {ints(*[-LARGEST] * spatial)}, {ints(*axes)}, "
        f"{ints(*[-1] * spatial)})",
        f"weight = Reshape (turned, {ints(group * weights[1], per, *kernel)})",
    ]
    starts = [reach[i] - 1 - pads[i] for i in range(spatial)]
    # What the output has at the end: its extent, less what begins before it.
    spans = [(size - 1) * step + 1 for size, step in zip(sizes, strides, strict=True)]
    ends = [extents[i] + reach[i] - 1 - spans[i] - starts[i] for i in range(spatial)]
    if min(*starts, *ends) < 0:  # negative padding is a slice
        low = [max(0, -start) for start in starts]
        high = [span - max(0, -end) for span, end in zip(spans, ends, strict=True)]
        lines.append(f"cut = Slice ({image}, {ints(*low)}, {ints(*high)}, {ints(*range(2, 2 + spatial))})")
        image = "cut"
        starts, ends = [max(0, start) for start in starts], [max(0, end) for end in ends]
    written = attributes(
        pads=[*starts, *ends], dilations=dilations, group=group, strides=ones, kernel_shape=kernel
    )
    lines.append(f"y0 = Conv {written} ({image}, weight{_bias(node)})")
    return "\n".join(lines)


def _transposed_pads(
    node: ir.Node,
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    reach: list[int],
    extents: tuple[int, ...],
) -> list[int]:
    """What is cut off before the output in every direction."""
    spatial = len(sizes)
    automatic = text(node, "auto_pad", "NOTSET")
    extra = listed(node, "output_padding", (0,) * spatial)
    total = [
        step * (size - 1) + more + span - extent
        for step, size, more, span, extent in zip(strides, sizes, extra, reach, extents, strict=True)
    ]
    if automatic in ("SAME_UPPER", "SAME_LOWER") or "output_shape" in node.attributes:
        upper = automatic == "SAME_UPPER"  # the odd one comes last
        return [max(0, each) // 2 if upper else -(-max(0, each) // 2) for each in total]
    return list(listed(node, "pads", (0,) * (2 * spatial))[:spatial])


@body("MaxPool", "AveragePool")
def pool(node: ir.Node) -> str | None:
    """One dimension as two; others by the places of the window."""
    plain = node.inputs[0] is not None and node.inputs[0].dtype is ir.DataType.FLOAT
    if _spatial_rank(node) != 1 or len(node.outputs) > 1 or not windows.explicit(node) or not plain:
        return windows.max_pool(node) if node.op_type == "MaxPool" else windows.average_pool(node)
    more = {"ceil_mode": integer(node, "ceil_mode", 0) or None}
    if node.op_type == "AveragePool":
        more["count_include_pad"] = integer(node, "count_include_pad", 0) or None
    return _lifted(node, node.op_type, **more)


@body("LpPool")
def lp_pool(node: ir.Node) -> str | None:
    """The mean of powers, times the number of elements, to the power 1 / p."""
    rank = _spatial_rank(node)
    kernel = listed(node, "kernel_shape", ())
    if not windows.explicit(node) or integer(node, "ceil_mode", 0):
        return None
    p, count = integer(node, "p", 2), float(np.prod(kernel))
    written = attributes(
        kernel_shape=kernel, strides=listed(node, "strides", (1,) * rank), count_include_pad=1,
        pads=listed(node, "pads", (0,) * 2 * rank), dilations=listed(node, "dilations", (1,) * rank),
    )  # fmt: skip
    return f"""
        sizes = Abs (x0)
        powers = Pow (sizes, {number(p)})
        means = AveragePool {written} (powers)
        total = Mul (means, {number(count)})
        y0 = Pow (total, {number(1 / p)})"""


@body("MaxUnpool")
def max_unpool(node: ir.Node) -> str:
    """Zeros, and each element at its place in what was pooled; a larger output has zeros behind that."""
    assert node.inputs[0] is not None
    shape, sizes = shape_of(node.outputs[0], node), shape_of(node.inputs[0], node)
    rank, kernel = len(sizes) - 2, listed(node, "kernel_shape", ())
    strides, pads = listed(node, "strides", (1,) * rank), listed(node, "pads", (0,) * 2 * rank)
    pooled = [
        (size - 1) * step - pads[i] - pads[rank + i] + kernel[i]
        for i, (size, step) in enumerate(zip(sizes[2:], strides, strict=True))
    ]
    whole = (*sizes[:2], *pooled)
    count, flat = int(np.prod(whole)), ints(-1)
    more = [a - b for a, b in zip(shape, whole, strict=True)]
    return f"""
        zero = CastLike ({number(0.0)}, x0)
        zeros = Expand (zero, {ints(count)})
        values = Reshape (x0, {flat})
        places = Reshape (x1, {flat})
        filled = ScatterElements <axis = 0> (zeros, places, values)
        image = Reshape (filled, {ints(*whole)})
        y0 = Pad (image, {ints(*[0] * len(more), *more)})"""


@body("Col2Im")
def columns_to_image(node: ir.Node) -> str | None:
    """Every place of the window is put where it came from; what meets is added."""
    assert node.inputs[0] is not None
    block = constant(node.inputs[2])
    if block is None:
        return None
    kernel = [int(size) for size in block.reshape(-1)]
    out, rank = shape_of(node.outputs[0], node), len(kernel)
    strides, dilations = (listed(node, name, (1,) * rank) for name in ("strides", "dilations"))
    pads = listed(node, "pads", (0,) * 2 * rank)
    whole = [size + pads[i] + pads[rank + i] for i, size in enumerate(out[2:])]
    counts = [
        (size - (k - 1) * d - 1) // s + 1
        for size, k, d, s in zip(whole, kernel, dilations, strides, strict=True)
    ]
    n, c = out[:2]
    lines = [f"windows = Reshape (x0, {ints(n, c, *kernel, *counts)})"]
    axes, last = ints(*range(2, 2 + rank)), ""
    for index, place in enumerate(np.ndindex(*kernel)):
        ends = [at + 1 for at in place]
        spread, zeros, large = [n, c], [0, 0], [n, c]
        for count, step in zip(counts, strides, strict=True):
            spread, zeros, large = [*spread, count, 1], [*zeros, 0, step - 1], [*large, count * step]
        kept = [(count - 1) * step + 1 for count, step in zip(counts, strides, strict=True)]
        first = [at * d for at, d in zip(place, dilations, strict=True)]
        behind = [size - a - k for size, a, k in zip(whole, first, kept, strict=True)]
        lines += [
            f"cut{index} = Slice (windows, {ints(*place)}, {ints(*ends)}, {axes})",
            f"spread{index} = Reshape (cut{index}, {ints(*spread)})",
            f"between{index} = Pad (spread{index}, {ints(*[0] * len(zeros), *zeros)})",
            f"large{index} = Reshape (between{index}, {ints(*large)})",
            f"kept{index} = Slice (large{index}, {ints(*[0] * rank)}, {ints(*kept)}, {axes})",
            f"put{index} = Pad (kept{index}, {ints(0, 0, *first, 0, 0, *behind)})",
        ]
        lines.append(
            f"sum{index} = Add ({last}, put{index})" if last else f"sum{index} = Identity (put{index})"
        )
        last = f"sum{index}"
    starts, ends = pads[:rank], [pads[i] + size for i, size in enumerate(out[2:])]
    return "\n".join([*lines, f"y0 = Slice ({last}, {ints(*starts)}, {ints(*ends)}, {axes})"])
