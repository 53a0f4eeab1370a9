"""Biases of quantized products: corrected for the mean error of each channel, and kept in step with weights' scales."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.integer_nodes import affine_of, dequantized_bias
from potluck.compiler.graph.nodes import DOMAIN, add_constant, constant, is_op, label, sole_user
from potluck.compiler.passes.quantize_integer import CONVS, GEMMS, SUMS
from potluck.compiler.ptq.products import Product
from potluck.compiler.ptq.statistics import Statistics
from potluck.compiler.ptq.weights import QuantizedWeight

F64 = NDArray[np.float64]


def correction(product: Product, weights: F64, values: F64, found: Statistics) -> F64:
    """What a bias lacks for the mean of every output channel to be that of the FP32 network.

    Args:
        product: In either network.
        weights: FP32 weights.
        values: What is multiplied instead.
        found: Its inputs.

    Returns:
        [Cout].
    """
    exact = np.einsum("gok,gk->go", product.matrix(weights), found.reference)
    quantized = np.einsum("gok,gk->go", product.matrix(values), found.mean)
    return np.asarray(exact - quantized, np.float64).reshape(-1)


def current(product: Product) -> F64 | None:
    """The bias [Cout] that a product has now, 0 if none; None if it is computed at run time."""
    channels = _channels(product)
    if product.bias is None:
        return np.zeros(channels)
    found = dequantized_bias(product.bias)
    return None if found is None else np.broadcast_to(found.reshape(-1), (channels,)).astype(np.float64)


def write(model: ir.Model, product: Product, bias: F64, held: QuantizedWeight | None = None) -> bool:
    """Gives a product another bias [Cout], in the form of the one that it has.

    An INT32 one is a multiple of both operands' scales, so it is also written when scales of weights have changed.
    A MatMul has none: the constant that is added to its result is changed.

    Returns:
        Whether there was a place for it.
    """
    node, source = product.node, product.bias
    values = bias.astype(np.float32)
    if source is None:
        if node.op_type not in (*CONVS, *GEMMS):
            return _add(model, product, bias)
        if not bias.any():
            return True
        made = add_constant(model.graph, f"{label(node)}_bias", values)
        ir_inputs = list(node.inputs[:2])
        node.resize_inputs(3)
        node.replace_input_with(2, made)
        assert list(node.inputs[:2]) == ir_inputs
        return True
    if constant(source) is not None:
        node.replace_input_with(2, add_constant(model.graph, f"{source.name}_corrected", values))
        return True
    maker = source.producer()
    if maker is None or not is_op(maker, "DequantizeLinear") or len(source.uses()) > 1:
        return False
    scale = constant(maker.inputs[1])
    x = affine_of(product.data.producer(), "DequantizeLinear")
    assert scale is not None
    steps = np.broadcast_to(np.asarray(scale, np.float32).reshape(-1), bias.shape)
    if x is not None and held is not None and not held.block:
        steps = np.broadcast_to(np.float32(x.scale) * held.scale.astype(np.float32).reshape(-1), bias.shape)
    codes = np.clip(np.rint(bias / steps.astype(np.float64)), -(2**31), 2**31 - 1).astype(np.int32)
    for at, array in ((0, codes), (1, steps)):
        maker.replace_input_with(
            at,
            add_constant(
                model.graph, f"{source.name}_{('codes', 'scales')[at]}", np.ascontiguousarray(array)
            ),
        )
    if len(maker.inputs) > 2:
        maker.replace_input_with(2, add_constant(model.graph, f"{source.name}_zeros", np.zeros_like(codes)))
    maker.attributes["axis"] = ir.AttrInt64("axis", 0)
    return True


def _add(model: ir.Model, product: Product, bias: F64) -> bool:
    """Adds to the constant of the Add behind a MatMul, which then is its bias."""
    after = sole_user(product.node.outputs[0])
    if after is None or after.op_type not in SUMS or after.domain not in ("", DOMAIN):
        return not bias.any()
    for at, value in enumerate(after.inputs[:2]):
        array = constant(value)
        if value is None or array is None or array.size not in (1, len(bias)) or array.dtype != np.float32:
            continue
        if array.size > 1 and array.shape[-1] != len(bias):
            continue
        changed = (np.asarray(array, np.float64).reshape(-1) + bias).astype(np.float32)
        after.replace_input_with(at, add_constant(model.graph, f"{value.name}_corrected", changed))
        return True
    return not bias.any()


def _channels(product: Product) -> int:
    shape = product.weight.shape
    assert shape is not None
    return int(shape[product.axis])  # type: ignore[arg-type]
