"""NVIDIA ModelOpt's TensorRT operators (domain ``trt``).

* MXFP8: ``TRT_MXFP8DynamicQuantize`` (x) gives E4M3 codes and uint8 E8M0 scales, ``TRT_MXFP8DequantizeLinear`` (codes,
  scales) values; of weights both are constants. Scales are the least powers of two at which nothing saturates (rceil).
* NVFP4: ``TRT_FP4DynamicQuantize`` (x, tensor scale) gives E2M1 codes and E4M3 scales, which two DequantizeLinear turn
  into values; weights are two DequantizeLinear of constants.
* ``TRT_INT4DequantizeLinear``, ``TRT_FP8DequantizeLinear``, ``trt::DequantizeLinear`` and their quantizing counterparts
  are the standard operators.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from potluck.compiler.graph.nodes import constant, integer, label
from potluck.compiler.imports.base import dequantized, mx_activation, placeholder, replace
from potluck.compiler.passes.quantize_mx import typed
from potluck.isa.errors import ModelError
from potluck.isa.formats.elements import E4M3, E8M0


def _mxfp8(model: ir.Model, node: ir.Node) -> None:
    codes, scales = node.inputs[0], node.inputs[1]
    axis, block = integer(node, "axis", -1), integer(node, "block_size", 32)
    quantizer = codes.producer() if codes is not None else None
    if quantizer is not None and quantizer.op_type == "TRT_MXFP8DynamicQuantize":
        source = quantizer.inputs[0]
        same = scales is not None and scales.producer() is quantizer
        if source is None or not same:
            raise ModelError("its scales are not those of its codes", node=label(node))
        axis, block = integer(quantizer, "axis", axis), integer(quantizer, "block_size", block)
        mx_activation(model, node, source, axis, ir.DataType.FLOAT8E4M3FN, block, "rceil")
        return
    held, steps = constant(codes), constant(scales)
    if held is None or steps is None or codes is None or codes.dtype is not ir.DataType.FLOAT8E4M3FN:
        raise ModelError(
            "its operands are neither constants in E4M3 nor those of TRT_MXFP8DynamicQuantize",
            node=label(node),
        )
    if steps.dtype.itemsize != 1:
        raise ModelError(f"its scales are {steps.dtype}, not E8M0 codes in uint8", node=label(node))
    made = dequantized(
        model,
        node,
        typed(held.view(np.uint8), E4M3),
        typed(np.ascontiguousarray(steps).view(np.uint8), E8M0),
        axis % held.ndim,
        block,
        name=codes.name or "",
    )
    replace(node, made)


def _nvfp4(model: ir.Model, node: ir.Node) -> None:
    source, factor = node.inputs[0], node.inputs[1]
    whole = constant(factor)
    if source is None or factor is None or whole is None or whole.size != 1:
        raise ModelError("the scale of its tensor is not one constant", node=label(node))
    readers = [use.node for use in node.outputs[0].uses()]
    steps = [use.node for use in node.outputs[1].uses()]
    chain = all(item.op_type == "DequantizeLinear" for item in (*readers, *steps))
    if not chain or not readers or any(item.inputs[1] is not steps[0].outputs[0] for item in readers):
        raise ModelError(
            "its codes and scales do not go through two DequantizeLinear",
            node=label(node),
            hint="Export them",
        )
    block = integer(node, "block_size", 16)
    for reader in readers:
        spec = {"kind": "nvfp4", "axis": integer(node, "axis", -1), "block_size": block}
        placeholder(model, reader, source, {**spec, "factor": float(whole.reshape(()))})


def _standard(model: ir.Model, node: ir.Node) -> None:
    node.op_type = "DequantizeLinear" if "Dequantize" in node.op_type else "QuantizeLinear"
    node.domain = ""


HANDLERS = {
    ("trt", "TRT_MXFP8DequantizeLinear"): _mxfp8,
    ("trt", "TRT_FP4DynamicQuantize"): _nvfp4,
    **{
        ("trt", name): _standard
        for kind in ("", "TRT_INT4", "TRT_FP8", "TRT_INT8")
        for name in (f"{kind}QuantizeLinear", f"{kind}DequantizeLinear")
    },
}
