"""AMD Quark: ``com.amd.quark::MXQuantizeDequantize`` (before 0.9 ``com.vai.quantize::MXFixNeuron``).

Attributes ``element_dtype`` (``fp8_e5m2``, ``fp8_e4m3``, ``fp6_e3m2``, ``fp6_e2m3``, ``fp4_e2m1``, ``int8``, which is
the default), ``axis`` (1), ``block_size`` (32) and ``rounding_mode`` (0 half away from zero, the default; 1 half up; 2
half to even). Scales follow the floor rule. Weights are rounded as the node says; the machine rounds activations half
to even, which differs from the other modes in ties alone, and a warning says so.
"""

from __future__ import annotations

import warnings

import numpy as np
import onnx_ir as ir

from potluck.compiler.graph.mx_nodes import mx_layout
from potluck.compiler.graph.nodes import add_constant, constant, integer, label, text
from potluck.compiler.imports.base import dequantized, mx_activation, replace
from potluck.compiler.passes.quantize_mx import typed
from potluck.compiler.quantizers.mx import quantize_constant
from potluck.isa.errors import ModelError
from potluck.isa.formats.elements import E8M0
from potluck.isa.formats.rounding import Rounding

DTYPES = {
    "fp8_e5m2": ir.DataType.FLOAT8E5M2,
    "fp8_e4m3": ir.DataType.FLOAT8E4M3FN,
    "fp6_e3m2": ir.DataType.FLOAT6E3M2,
    "fp6_e2m3": ir.DataType.FLOAT6E2M3,
    "fp4_e2m1": ir.DataType.FLOAT4E2M1,
    "int8": ir.DataType.INT8,
}
ROUNDINGS: dict[int, Rounding] = {0: "rmm", 2: "rne"}
_PRODUCTS = ("Conv", "Gemm", "MatMul")


def _quantize(model: ir.Model, node: ir.Node) -> None:
    source, name = node.inputs[0], text(node, "element_dtype", "int8")
    if name not in DTYPES or source is None:
        raise ModelError(
            f"its element_dtype {name!r} is unknown", node=label(node), hint=f"Known: {', '.join(DTYPES)}"
        )
    dtype, axis, block = DTYPES[name], integer(node, "axis", 1), integer(node, "block_size", 32)
    mode, array = integer(node, "rounding_mode", 0), constant(source)
    if array is None:
        if mode != 2:
            warnings.warn(
                f"{label(node)}: rounding_mode {mode} of an activation; the machine rounds ties to even",
                stacklevel=2,
            )
        mx_activation(model, node, source, axis, dtype, block, "floor")
        return
    if mode not in ROUNDINGS:
        raise ModelError(
            f"its rounding_mode {mode} is not translated for constants", node=label(node), hint="Use 0 or 2"
        )
    layout = mx_layout(dtype, block)
    held = quantize_constant(
        np.asarray(array, np.float32), layout, axis, "floor", source.name or "", ROUNDINGS[mode]
    )
    uses = node.outputs[0].uses()
    if all(use.idx == 1 and use.node.op_type in _PRODUCTS for use in uses):
        codes, scales = typed(held.codes, layout.element), typed(held.scales, E8M0)
        replace(node, dequantized(model, node, codes, scales, held.axis, block, name=source.name or ""))
    else:  # a bias, or another constant that is no second operand
        replace(node, add_constant(model.graph, f"{source.name}_values", held.dequantize()))


HANDLERS = {
    ("com.amd.quark", "MXQuantizeDequantize"): _quantize,
    ("com.vai.quantize", "MXFixNeuron"): _quantize,
}
