"""Products of integers: exact ones in FP32, in parts whose sums stay below 2^24, and what requantizes them."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from potluck.compiler.bodies import body, ints, number
from potluck.compiler.bodies.convolution import attributes
from potluck.compiler.graph.integer_nodes import CODES
from potluck.compiler.graph.mx_nodes import scales_reason
from potluck.compiler.graph.nodes import LARGEST_EXACT, constant, integer, shape_of, text
from potluck.compiler.graph.nodes import ints as listed

REACH = 255
"""Largest distance of an 8-bit code from its zero point."""
FLOAT, INT32 = int(ir.DataType.FLOAT), int(ir.DataType.INT32)


def _given(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _centered(node: ir.Node, name: str, index: int, zero: int, shape: str = "") -> str:
    """Statements: operand ``index`` less its zero point, as FP32; zero points of several elements get a shape."""
    point = _given(node, zero)
    if point is None:
        return f"{name} = Cast <to = {FLOAT}> (x{index})"
    several = math.prod(shape_of(point, node)) > 1 and shape
    return f"""
        whole_{name} = Cast <to = {FLOAT}> (x{index})
        point_{name} = Cast <to = {FLOAT}> (x{zero})
        points_{name} = {f"Reshape (point_{name}, {shape})" if several else f"Identity (point_{name})"}
        {name} = Sub (whole_{name}, points_{name})"""


def _part(weights: np.ndarray | None, per: int, count: int) -> int:
    """Elements of the contraction whose sum is exact, of ``count`` with ``per`` products each.

    Args:
        weights: Distances of the weights from their zero points [outputs, count, per], if they are known.
        per: Products of an element.
        count: Elements.
    """
    if weights is None:
        return max(1, LARGEST_EXACT // (REACH * REACH * per))
    sums = np.abs(weights).sum(axis=2).cumsum(axis=1).max(axis=0, initial=0) * REACH
    if sums.size == 0 or sums[-1] < LARGEST_EXACT:
        return max(1, count)
    largest = int(np.abs(weights).sum(axis=2).max()) * REACH
    return max(1, LARGEST_EXACT // max(1, largest))


def _summed(count: int, step: int, part: str, kind: str) -> str:
    """Statements: ``acc``, the INT32 sum of products of parts of ``left`` and ``right`` along their axes."""
    lines, last = [], ""
    for index, first in enumerate(range(0, count, step)):
        cut = "" if step >= count else f"{index}"
        if cut:
            end = min(count, first + step)
            left, right = part.split()
            lines += [
                f"left{cut} = Slice (left, {ints(first)}, {ints(end)}, {ints(int(left))})",
                f"right{cut} = Slice (right, {ints(first)}, {ints(end)}, {ints(int(right))})",
            ]
        lines += [
            f"product{index} = {kind} (left{cut}, right{cut})",
            f"sum{index} = Cast <to = {INT32}> (product{index})",
        ]
        lines.append(
            f"total{index} = Add ({last}, sum{index})" if last else f"total{index} = Identity (sum{index})"
        )
        last = f"total{index}"
    return "\n".join([*lines, f"acc = Identity ({last})"])


def _known_distances(node: ir.Node, index: int, zero: int, shape: tuple[int, ...]) -> np.ndarray | None:
    weights, point = constant(_given(node, index)), _given(node, zero)
    held = np.zeros(1) if point is None else constant(point)
    if weights is None or held is None:
        return None
    return np.asarray(weights, np.int64) - np.asarray(held, np.int64).reshape(shape if held.size > 1 else ())


def _product(node: ir.Node, a: int, a_zero: int, b: int, b_zero: int) -> str | None:
    """``acc`` = (A - its zero point) (B - its zero point) in INT32."""
    left, right = node.inputs[a], node.inputs[b]
    assert left is not None and right is not None
    if left.dtype not in CODES or right.dtype not in CODES:
        return None
    shape = shape_of(right, node)
    axis = max(0, len(shape) - 2)
    count = shape[axis]
    columns = (1,) * axis + (-1,)
    weights = _known_distances(node, b, b_zero, (-1,)) if len(shape) == 2 else None
    known = None if weights is None else weights.T[:, :, None]
    point = _given(node, a_zero)
    rows = ints(-1, 1) if point is not None and len(shape_of(point, node)) == 1 else ""
    return "\n".join([
        _centered(node, "left", a, a_zero, rows), _centered(node, "right", b, b_zero, "" if axis else ints(*columns)),
        _summed(count, _part(known, 1, count), f"-1 {axis}", "MatMul"),
    ])  # fmt: skip


@body("MatMulInteger")
def matmul_integer(node: ir.Node) -> str | None:
    """Exact sums of exact products."""
    made = _product(node, 0, 2, 1, 3)
    return made and f"{made}\ny0 = Identity (acc)"


def _requantized(scales: str, zero: int) -> str:
    """Statements: ``acc`` times the scales' quotient, rounded once, as onnxruntime does it."""
    return f"""
        {scales}
        real = Cast <to = {FLOAT}> (acc)
        scaled = Mul (real, factor)
        y0 = QuantizeLinear (scaled, {number(1.0)}, x{zero})"""


@body("QLinearMatMul")
def qlinear_matmul(node: ir.Node) -> str | None:
    """An exact product times one factor, or one per column."""
    made = _product(node, 0, 2, 3, 5)
    point, left, right = (node.inputs[index] for index in (1, 4, 6))
    assert point is not None and left is not None and right is not None
    scale = node.inputs[1]
    rows = scale is not None and len(shape_of(scale, node)) == 1 and shape_of(scale, node)[0] > 1
    turned = f"rows = Reshape (x1, {ints(-1, 1)})" if rows else "rows = Identity (x1)"
    return made and made + _requantized(
        f"""{turned}
        both = Mul (rows, x4)
        quotient = Div (both, x6)
        factor = Cast <to = {FLOAT}> (quotient)""",
        7,
    )


def _convolution(node: ir.Node, w: int, x_zero: int, w_zero: int) -> str | None:
    """``acc`` = the convolution of x less its zero point, which is what borders hold, and of w less its own."""
    data, weights = node.inputs[0], node.inputs[w]
    assert data is not None and weights is not None
    if data.dtype not in CODES or weights.dtype not in CODES:
        return None
    shape = shape_of(weights, node)
    rank, per = len(shape) - 2, math.prod(shape[2:])
    shaped = ints(-1, *[1] * (rank + 1))
    known = _known_distances(node, w, w_zero, (-1, *[1] * (rank + 1)))
    distances = None if known is None else known.reshape(shape[0], shape[1], per)
    group = integer(node, "group", 1)
    step = _part(distances, per, shape[1])
    if step < shape[1] and group > 1:
        return None
    if distances is None and REACH * REACH * per >= LARGEST_EXACT:
        return None
    ones = (1,) * rank
    automatic = text(node, "auto_pad", "NOTSET")
    written = attributes(
        strides=listed(node, "strides", ones), dilations=listed(node, "dilations", ones), group=group,
        pads=listed(node, "pads", (0,) * (2 * rank)) if automatic == "NOTSET" else None,
        auto_pad=automatic if automatic != "NOTSET" else None,
    )  # fmt: skip
    return "\n".join([
        _centered(node, "left", 0, x_zero), _centered(node, "right", w, w_zero, shaped),
        _summed(shape[1], step, "1 1", f"Conv {written}"),
    ])  # fmt: skip


@body("ConvInteger")
def conv_integer(node: ir.Node) -> str | None:
    """Exact sums of exact products."""
    made = _convolution(node, 1, 2, 3)
    return made and f"{made}\ny0 = Identity (acc)"


@body("QLinearConv")
def qlinear_conv(node: ir.Node) -> str | None:
    """Integer kernels where these have it, which begin as Q/DQ; else an exact convolution times a factor."""
    data, weights = node.inputs[0], node.inputs[3]
    assert data is not None and weights is not None
    shape, group = shape_of(weights, node), integer(node, "group", 1)
    biased = _given(node, 8) is not None
    constants = all(constant(value) is not None for value in node.inputs[1:] if value is not None)
    dense = group == 1 or (group == shape[0] and shape[1] == 1 and shape[-1] <= 8)
    dilated = max(listed(node, "dilations", (1, 1))) > 1
    rank = len(shape) - 2
    if constants and dense and rank == 2 and not dilated and data.dtype in CODES:
        kept = {
            name: listed(node, name, ()) or None for name in ("strides", "pads", "dilations", "kernel_shape")
        }
        automatic = text(node, "auto_pad", "NOTSET")
        written = attributes(group=group, auto_pad=automatic if automatic != "NOTSET" else None, **kept)
        several = math.prod(shape_of(node.inputs[4], node)) > 1  # type: ignore[arg-type]
        lines = [
            "image = DequantizeLinear (x0, x1, x2)",
            f"weight = DequantizeLinear {'<axis = 0>' if several else ''} (x3, x4, x5)",
        ]
        if biased:
            lines += [
                "both = Mul (x1, x4)",
                f"bias = DequantizeLinear {'<axis = 0>' if several else ''} (x8, both)",
            ]
        lines += [
            f"made = Conv {written} (image, weight{', bias' if biased else ''})", "y0 = QuantizeLinear (made, x6, x7)",
        ]  # fmt: skip
        return "\n".join(lines)
    made = _convolution(node, 3, 2, 5)
    if made is None:
        return None
    per_channel = ints(-1, *[1] * rank)
    if biased:
        made = made.replace("acc = Identity", "plain = Identity")
        made += f"\nbias = Reshape (x8, {per_channel})\nacc = Add (plain, bias)"
    return made + _requantized(
        f"""both = Mul (x1, x4)
        quotient = Div (both, x6)
        factor = {f"Reshape (quotient, {per_channel})" if _several(node) else "Identity (quotient)"}""",
        7,
    )


def _several(node: ir.Node) -> bool:
    scale = node.inputs[4]
    return scale is not None and math.prod(shape_of(scale, node)) > 1


@body("QuantizeLinear", "DequantizeLinear")
def uneven_blocks(node: ir.Node) -> str | None:
    """Scales of blocks that do not divide the axis, one for every element."""
    block = integer(node, "block_size", 0)
    assert node.inputs[0] is not None and node.inputs[1] is not None
    shape, scales = shape_of(node.inputs[0], node), shape_of(node.inputs[1], node)
    axis = integer(node, "axis", 1) % max(1, len(shape))
    if not block or math.prod(scales) == 1 or shape[axis] % block == 0:
        return None
    if scales_reason(node):
        return None  # it is refused by name
    lines, names = [], []
    for index in range(1, len(node.inputs)):
        if node.inputs[index] is None:
            continue
        apart = (*scales[: axis + 1], 1, *scales[axis + 1 :])
        wide = (*scales[: axis + 1], block, *scales[axis + 1 :])
        flat = (*scales[:axis], scales[axis] * block, *scales[axis + 1 :])
        lines += [
            # ONNX has no Expand of the smallest types.
            f"plain{index} = Cast <to = {FLOAT}> (x{index})",
            f"apart{index} = Reshape (plain{index}, {ints(*apart)})",
            f"wide{index} = Expand (apart{index}, {ints(*wide)})",
            f"flat{index} = Reshape (wide{index}, {ints(*flat)})",
            f"cut{index} = Slice (flat{index}, {ints(0)}, {ints(shape[axis])}, {ints(axis)})",
            f"each{index} = CastLike (cut{index}, x{index})",
        ]
        names.append(f"each{index}")
    kept = {
        name: integer(node, name, 0) or None
        for name in ("output_dtype", "precision")
        if name in node.attributes
    }
    written = attributes(
        axis=axis, block_size=1, saturate=None if integer(node, "saturate", 1) else 0, **kept
    )
    return "\n".join([*lines, f"y0 = {node.op_type} {written} (x0, {', '.join(names)})"])
