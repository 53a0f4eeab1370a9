"""Running sums and products: each round adds what lies a power of two before."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from potluck.compiler.bodies import LARGEST, body, ints, scalar
from potluck.compiler.graph.nodes import constant, integer, shape_of


@body("CumSum", "CumProd")
def running(node: ir.Node) -> str | None:
    """In log2(size) rounds; nothing but pads, slices and additions."""
    assert node.inputs[0] is not None
    shape = shape_of(node.inputs[0], node)
    held = constant(node.inputs[1])
    if held is None:
        return None
    axis = int(np.asarray(held).reshape(())) % len(shape)
    size, along = shape[axis], ints(axis)
    operation, neutral = ("Add", 0) if node.op_type == "CumSum" else ("Mul", 1)
    reverse, exclusive = integer(node, "reverse", 0), integer(node, "exclusive", 0)
    flip = f"({{}}, {ints(-1)}, {ints(-LARGEST)}, {along}, {ints(-1)})"
    lines = [
        f"neutral = CastLike ({scalar(neutral)}, x0)",
        f"from0 = {'Slice ' + flip.format('x0') if reverse else 'Identity (x0)'}",
    ]

    def shifted(name: str, source: str, by: int) -> str:
        pads = [0] * (2 * len(shape))
        pads[axis] = by
        return (
            f"kept_{name} = Slice ({source}, {ints(0)}, {ints(size - by)}, {along})\n"
            f"{name} = Pad (kept_{name}, {ints(*pads)}, neutral)"
        )

    last, by = "from0", 1
    if exclusive:
        lines.append(shifted("excluding", last, min(1, size)))
        last = "excluding"
    while by < size:
        lines += [shifted(f"before{by}", last, by), f"sum{by} = {operation} ({last}, before{by})"]
        last, by = f"sum{by}", 2 * by
    lines.append(f"y0 = {'Slice ' + flip.format(last) if reverse else f'Identity ({last})'}")
    return "\n".join(lines)
