"""Convolutions and pools that no kernel has, from the places of the window: one slice of the input for each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import onnx_ir as ir

from potluck.compiler.bodies import ints, number, scalar
from potluck.compiler.graph.nodes import integer, shape_of, text
from potluck.compiler.graph.nodes import ints as listed

MOST = 512
"""Places of a window."""


class Window:
    """Where a window lies, of any rank.

    Args:
        node: Convolution or pool.
        kernel: Its sizes.
    """

    def __init__(self, node: ir.Node, kernel: Sequence[int]) -> None:
        assert node.inputs[0] is not None
        self.shape, self.out = shape_of(node.inputs[0], node), shape_of(node.outputs[0], node)
        self.rank, self.kernel = len(self.shape) - 2, tuple(kernel)
        ones = (1,) * self.rank
        self.strides, self.dilations = (listed(node, name, ones) for name in ("strides", "dilations"))
        pads = listed(node, "pads", (0,) * (2 * self.rank))
        self.sizes = self.shape[2:]
        reach = [(size - 1) * step + 1 for size, step in zip(self.kernel, self.dilations, strict=True)]
        self.before = pads[: self.rank]
        needed = [(o - 1) * s + r for o, s, r in zip(self.out[2:], self.strides, reach, strict=True)]
        self.behind = [
            max(0, n - size - b) for n, size, b in zip(needed, self.sizes, self.before, strict=True)
        ]
        self.stated = pads[self.rank :]
        self.whole = [a + size + b for a, size, b in zip(self.before, self.sizes, self.behind, strict=True)]

    @property
    def places(self) -> list[tuple[int, ...]]:
        """Of the window, the last axis fastest."""
        return list(itertools.product(*(range(size) for size in self.kernel)))

    @property
    def padded(self) -> bool:
        """Whether it reaches over the borders."""
        return any(self.before) or any(self.behind)

    def pads(self) -> str:
        """Of all axes, as Pad takes them."""
        return ints(0, 0, *self.before, 0, 0, *self.behind)

    def cut(self, name: str, source: str, place: Sequence[int]) -> str:
        """The statement that takes one place of every window."""
        starts = [at * step for at, step in zip(place, self.dilations, strict=True)]
        ends = [a + (o - 1) * s + 1 for a, o, s in zip(starts, self.out[2:], self.strides, strict=True)]
        axes = ints(*range(2, 2 + self.rank))
        return f"{name} = Slice ({source}, {ints(*starts)}, {ints(*ends)}, {axes}, {ints(*self.strides)})"

    def padding(self, value: str = "") -> list[str]:
        """Statements: ``image``, the input with its borders."""
        if not self.padded:
            return ["image = Identity (x0)"]
        return [f"image = Pad (x0, {self.pads()}{', ' + value if value else ''})"]


def explicit(node: ir.Node) -> bool:
    """Whether padding is stated in numbers."""
    return text(node, "auto_pad", "NOTSET") == "NOTSET"


def convolution(node: ir.Node, bias: str) -> str | None:
    """A product of the weights, constant or not, and a matrix of all windows."""
    assert node.inputs[1] is not None
    weights, group = shape_of(node.inputs[1], node), integer(node, "group", 1)
    window = Window(node, weights[2:])
    places = window.places
    if not explicit(node) or len(places) > MOST or 0 in window.out:
        return None
    n, c = window.shape[:2]
    m, out, per = weights[0], window.out[2:], math.prod(weights[1:])
    pixels = math.prod(out)
    lines = window.padding()
    for index, place in enumerate(places):
        lines += [window.cut(f"place{index}", "image", place),
                  f"row{index} = Reshape (place{index}, {ints(n, c, 1, pixels)})"]  # fmt: skip
    rows = ", ".join(f"row{index}" for index in range(len(places)))
    lines.append(f"rows = Concat <axis = 2> ({rows})" if len(places) > 1 else "rows = Identity (row0)")
    outer = (n, group) if group > 1 else (n,)
    lead = (1, group) if group > 1 else ()
    lines += [
        f"matrix = Reshape (rows, {ints(*outer, per, pixels)})",
        f"weight = Reshape (x1, {ints(*lead, m // group, per)})",
        "product = MatMul (weight, matrix)",
        f"made = Reshape (product, {ints(n, m, *out)})",
    ]
    if bias:
        lines += [f"bias = Reshape ({bias}, {ints(-1, *[1] * window.rank)})", "y0 = Add (made, bias)"]
    else:
        lines.append("y0 = Identity (made)")
    return "\n".join(lines)


def _least(node: ir.Node) -> list[str]:
    """Statements: ``lowest``, what no element is below."""
    assert node.inputs[0] is not None
    kind = node.inputs[0].dtype
    lowest = {ir.DataType.INT8: -128, ir.DataType.UINT8: 0}.get(kind or ir.DataType.FLOAT)
    if lowest is not None:
        return [f"lowest = CastLike ({scalar(lowest)}, x0)"]
    return [f"lowest = CastLike ({number(-math.inf)}, x0)"]


def max_pool(node: ir.Node) -> str | None:
    """The largest of all places; where it lies is what was compared last and was larger."""
    window = Window(node, listed(node, "kernel_shape", ()))
    if not explicit(node) or len(window.places) > MOST:
        return None
    lines = [*_least(node), *window.padding("lowest")]
    indices = len(node.outputs) > 1
    if indices:
        lines += _numbers(node, window)
    best = ""
    for index, place in enumerate(window.places):
        lines.append(window.cut(f"place{index}", "image", place))
        if indices:
            lines.append(window.cut(f"where{index}", "numbers", place))
        if index:
            lines.append(f"best{index} = Max ({best}, place{index})")
            if indices:
                old = f"at{index - 1}" if index > 1 else "where0"
                lines += [f"more{index} = Greater (place{index}, {best})",
                          f"at{index} = Where (more{index}, where{index}, {old})"]  # fmt: skip
            best = f"best{index}"
        else:
            best = "place0"
    last = len(window.places) - 1
    lines.append(f"y0 = Identity ({best})")
    if indices:
        lines.append(f"y1 = Expand ({f'at{last}' if last else 'where0'}, {ints(*window.out)})")
    return "\n".join(lines)


def _numbers(node: ir.Node, window: Window) -> list[str]:
    """Statements: ``numbers``, the place of every element of the padded input in memory."""
    n, c = window.shape[:2]
    sizes = window.sizes
    per = math.prod(sizes)
    column = integer(node, "storage_order", 0)  # the first spatial axis is the fastest
    lines, total = [], ""
    axes: list[tuple[int, int, int]] = [(0, n, c * per), (1, c, per)]
    for axis, size in enumerate(sizes):
        step = math.prod(sizes[:axis]) if column else math.prod(sizes[axis + 1 :])
        axes.append((2 + axis, size, step))
    for axis, size, step in axes:
        shape = [1] * (2 + window.rank)
        shape[axis] = size
        lines.append(f"along{axis} = Reshape ({ints(*(i * step for i in range(size)))}, {ints(*shape)})")
        if total:
            lines.append(f"total{axis} = Add ({total}, along{axis})")
            total = f"total{axis}"
        else:
            total = f"along{axis}"
    if not window.padded:
        return [*lines, f"numbers = Identity ({total})"]
    return [*lines, f"numbers = Pad ({total}, {window.pads()})"]


def average_pool(node: ir.Node) -> str | None:
    """The sum of all places by how many there are, which is known."""
    window = Window(node, listed(node, "kernel_shape", ()))
    if not explicit(node) or len(window.places) > MOST:
        return None
    lines, ones = window.padding(), ints(1, 1, *window.sizes)
    lines.append(f"ones = Expand ({number(1.0)}, {ones})")
    if window.padded:
        after = [0] * window.rank
        source = "ones"
        if integer(node, "count_include_pad", 0):  # stated borders count, what ceil_mode appends does not
            inside = [min(a, b) for a, b in zip(window.stated, window.behind, strict=True)]
            after = [b - i for b, i in zip(window.behind, inside, strict=True)]
            lines.append(f"stated = Pad (ones, {ints(0, 0, *window.before, 0, 0, *inside)}, {number(1.0)})")
            lines.append(f"counts = Pad (stated, {ints(0, 0, *[0] * window.rank, 0, 0, *after)})")
        else:
            lines.append(f"counts = Pad ({source}, {window.pads()})")
    else:
        lines.append("counts = Identity (ones)")
    for index, place in enumerate(window.places):
        lines += [window.cut(f"place{index}", "image", place), window.cut(f"count{index}", "counts", place)]
        if index:
            before = ("place0", "count0") if index == 1 else (f"sum{index - 1}", f"number{index - 1}")
            lines += [f"sum{index} = Add ({before[0]}, place{index})",
                      f"number{index} = Add ({before[1]}, count{index})"]  # fmt: skip
    last = len(window.places) - 1
    sums = (f"sum{last}", f"number{last}") if last else ("place0", "count0")
    return "\n".join([*lines, f"many = CastLike ({sums[1]}, x0)", f"y0 = Div ({sums[0]}, many)"])
