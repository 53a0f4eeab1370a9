"""Gemm of any operands."""

from __future__ import annotations

import onnx_ir as ir

from potluck.compiler.bodies import body, number
from potluck.compiler.graph.nodes import integer, real


@body("Gemm")
def gemm(node: ir.Node) -> str:
    """Transposes, a product, and what is added."""
    lines, alpha, beta = [], real(node, "alpha", 1.0), real(node, "beta", 1.0)
    names = ["x0", "x1"]
    for index, attribute in enumerate(("transA", "transB")):
        if integer(node, attribute, 0):
            lines.append(f"turned{index} = Transpose <perm = [1, 0]> (x{index})")
            names[index] = f"turned{index}"
    lines.append(f"product = MatMul ({', '.join(names)})")
    last = "product"
    if alpha != 1.0:
        lines.append(f"scaled = Mul (product, {number(alpha)})")
        last = "scaled"
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        lines.append(f"part = Mul (x2, {number(beta)})" if beta != 1.0 else "part = Identity (x2)")
        lines.append(f"y0 = Add ({last}, part)")
    else:
        lines.append(f"y0 = Identity ({last})")
    return "\n".join(lines)
