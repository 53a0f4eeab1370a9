"""Einsum: two operands at a time, as products of matrices, or element by element where nothing is summed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from potluck.compiler.bodies import body, ints
from potluck.compiler.graph.nodes import shape_of, text

LARGEST_PRODUCT = 1 << 24
"""Elements of a product that is formed before it is summed, in types that have no product of matrices."""


class _Terms:
    """Statements, and the labels and sizes of what they have made."""

    def __init__(self, kind: ir.DataType | None) -> None:
        self.lines: list[str] = []
        self.sizes: dict[str, int] = {}
        self.matrices = kind in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)

    def add(self, statement: str) -> str:
        """One more value; its name."""
        name = f"value{len(self.lines)}"
        self.lines.append(f"{name} = {statement}")
        return name

    def diagonal(self, name: str, labels: str, shape: Sequence[int]) -> tuple[str, str, tuple[int, ...]]:
        """Takes the diagonal of axes with one label."""
        sizes = list(shape)
        for label in dict.fromkeys(labels):
            while labels.count(label) > 1:
                first = labels.index(label)
                second = labels.index(label, first + 1)
                order = [first, second, *(i for i in range(len(labels)) if i not in (first, second))]
                size = sizes[first]
                rest = [sizes[i] for i in order[2:]]
                name = self.add(f"Transpose <perm = {order}> ({name})")
                name = self.add(f"Reshape ({name}, {ints(size * size, *rest)})")
                name = self.add(
                    f"Slice ({name}, {ints(0)}, {ints(size * size)}, {ints(0)}, {ints(size + 1)})"
                )
                labels, sizes = label + "".join(labels[i] for i in order[2:]), [size, *rest]
        return name, labels, tuple(sizes)

    def summed(self, name: str, labels: str, kept: set[str]) -> tuple[str, str]:
        """Sums over labels that nobody else has."""
        axes = [i for i, label in enumerate(labels) if label not in kept]
        if not axes:
            return name, labels
        made = self.add(f"ReduceSum <keepdims = 0> ({name}, {ints(*axes)})")
        return made, "".join(label for label in labels if label in kept)

    def ordered(self, name: str, labels: str, wanted: str) -> str:
        """Axes in another order."""
        if labels == wanted:
            return name
        return self.add(f"Transpose <perm = {[labels.index(label) for label in wanted]}> ({name})")

    def shape(self, labels: str, held: str) -> list[int]:
        """Sizes of labels; 1 of those that an operand does not have."""
        return [self.sizes[label] if label in held else 1 for label in labels]

    def product(self, a: tuple[str, str], b: tuple[str, str], kept: set[str]) -> tuple[str, str]:
        """Two operands, summed over what only they have."""
        both = [label for label in a[1] if label in b[1]]
        batch = "".join(label for label in both if label in kept)
        contracted = "".join(label for label in both if label not in kept)
        left = "".join(label for label in a[1] if label not in both)
        right = "".join(label for label in b[1] if label not in both)
        made = batch + left + right
        if contracted and self.matrices:
            k = math.prod(self.sizes[label] for label in contracted)
            m, n = (math.prod(self.sizes[label] for label in side) for side in (left, right))
            outer = self.shape(batch, batch)
            x = self.ordered(*a, batch + left + contracted)
            y = self.ordered(*b, batch + contracted + right)
            x = self.add(f"Reshape ({x}, {ints(*outer, m, k)})")
            y = self.add(f"Reshape ({y}, {ints(*outer, k, n)})")
            z = self.add(f"MatMul ({x}, {y})")
            return self.add(f"Reshape ({z}, {ints(*self.shape(made, made))})"), made
        every = made + contracted
        operands = []
        for name, labels in (a, b):
            turned = self.ordered(name, labels, "".join(label for label in every if label in labels))
            operands.append(self.add(f"Reshape ({turned}, {ints(*self.shape(every, labels))})"))
        z = self.add(f"Mul ({operands[0]}, {operands[1]})")
        return self.summed(z, every, set(made))


@body("Einsum")
def einsum(node: ir.Node) -> str | None:
    """Operands from left to right."""
    equation = text(node, "equation", "").replace(" ", "")
    sides = equation.split("->")
    terms = sides[0].split(",")
    shapes = [shape_of(value, node) for value in node.inputs if value is not None]
    if len(terms) != len(shapes) or len(sides) > 2:
        return None
    # Broadcast dimensions get labels that no equation has.
    ranks = [len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes, strict=True)]
    more = "".join(chr(0x100 + i) for i in range(max(ranks)))
    written = [term.replace("...", more[len(more) - rank :]) for term, rank in zip(terms, ranks, strict=True)]
    if len(sides) == 2:
        result = sides[1].replace("...", more)
    else:
        joined = "".join(terms).replace("...", "")
        result = more + "".join(sorted(label for label in set(joined) if joined.count(label) == 1))
    assert node.inputs[0] is not None
    made = _Terms(node.inputs[0].dtype)
    operands: list[tuple[str, str]] = []
    for index, (labels, shape) in enumerate(zip(written, shapes, strict=True)):
        if len(labels) != len(shape):
            return None
        name, labels, sizes = made.diagonal(f"x{index}", labels, shape)
        single = [i for i, label in enumerate(labels) if label in more and sizes[i] == 1]
        if single:  # a broadcast dimension of one element is none
            kept = [size for i, size in enumerate(sizes) if i not in single]
            name = made.add(f"Reshape ({name}, {ints(*kept)})")
            labels = "".join(label for i, label in enumerate(labels) if i not in single)
            sizes = tuple(kept)
        made.sizes |= dict(zip(labels, sizes, strict=True))
        operands.append((name, labels))
    for label in more:
        made.sizes.setdefault(label, 1)
    while True:
        for index, (name, labels) in enumerate(operands):
            others = {label for i, other in enumerate(operands) if i != index for label in other[1]}
            operands[index] = made.summed(name, labels, others | set(result))
        if len(operands) == 1:
            break
        later = {label for _, labels in operands[2:] for label in labels} | set(result)
        size = math.prod(made.sizes[label] for label in set(operands[0][1] + operands[1][1]))
        if not made.matrices and size > LARGEST_PRODUCT:
            return None
        operands[:2] = [made.product(operands[0], operands[1], later)]
    name, labels = operands[0]
    present = "".join(label for label in result if label in labels)
    name = made.ordered(name, labels, present)
    return "\n".join([*made.lines, f"y0 = Reshape ({name}, {ints(*made.shape(result, result))})"])
