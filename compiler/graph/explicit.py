"""Makes the attributes of convolutions, pools and Gemm explicit: nobody below has to know ONNX's defaults."""

from __future__ import annotations

import onnx_ir as ir

from potluck.compiler.graph.nodes import integer, ints, is_op, label, real, shape_of, text
from potluck.isa.errors import ModelError

_POOLS = ("MaxPool", "AveragePool", "LpPool")


def size_unknown(node: ir.Node) -> bool:
    """Whether it has a window and nobody knows yet what over."""
    data = node.inputs[0] if is_op(node, "Conv", *_POOLS) else None
    return data is not None and (data.shape is None or not data.shape.is_static())


def make_explicit(model: ir.Model) -> None:
    """Writes kernel_shape, strides, dilations, pads, group (and Gemm's alpha, beta, transA, transB) out.

    ``auto_pad`` becomes explicit ``pads``.

    Raises:
        ModelError: An unknown ``auto_pad``, or a shape that is not static.
    """
    for node in model.graph:
        if is_op(node, "Conv", *_POOLS):
            _window(node)
        elif is_op(node, "Gemm"):
            for name in ("alpha", "beta"):
                node.attributes[name] = ir.AttrFloat32(name, real(node, name, 1.0))
            for name in ("transA", "transB"):
                node.attributes[name] = ir.AttrInt64(name, integer(node, name, 0))


def _window(node: ir.Node) -> None:
    data = node.inputs[0]
    assert data is not None
    shape = shape_of(data, node)
    rank = len(shape) - 2
    weight = node.inputs[1] if node.op_type == "Conv" else None
    default = shape_of(weight, node)[2:] if weight is not None else (1,) * rank
    kernel = ints(node, "kernel_shape", default)
    strides = ints(node, "strides", (1,) * rank)
    dilations = ints(node, "dilations", (1,) * rank)
    pads = _pads(node, shape[2:], kernel, strides, dilations)
    window = (("kernel_shape", kernel), ("strides", strides), ("dilations", dilations), ("pads", pads))
    for name, value in window:
        node.attributes[name] = ir.AttrInt64s(name, value)
    if node.op_type == "Conv":
        node.attributes["group"] = ir.AttrInt64("group", integer(node, "group", 1))
    node.attributes.pop("auto_pad", None)


def _pads(
    node: ir.Node,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, ...]:
    mode = text(node, "auto_pad", "NOTSET")
    if mode == "NOTSET":
        return ints(node, "pads", (0,) * (2 * len(kernel)))
    if mode == "VALID":
        return (0,) * (2 * len(kernel))
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise ModelError(f"auto_pad {mode!r} is unknown", node=label(node), hint="Write explicit pads")
    # ONNX Conv: the output has ceil(input / stride) elements; the odd element goes to the end for UPPER.
    totals = [
        max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        for n, k, s, d in zip(size, kernel, strides, dilations, strict=True)
    ]
    small = [total // 2 for total in totals]
    large = [total - half for total, half in zip(totals, small, strict=True)]
    return (*small, *large) if mode == "SAME_UPPER" else (*large, *small)
