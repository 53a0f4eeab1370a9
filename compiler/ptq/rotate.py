"""Hadamard rotation of what products contract: outliers spread over a block (QuaRot, arXiv 2404.00456).

With Sylvester's matrix H of size B, x W = (x H)(H W) / B. Where everything between producers and consumers of a region
is linear, H is folded into the producers' weights (as an orthonormal matrix); elsewhere ``potluck.Hadamard<B>`` rotates
the activation at run time and the weights take H / B, a power of two, so that the activation costs additions only.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.functions import require
from potluck.compiler.graph.nodes import DOMAIN, constant
from potluck.compiler.ptq.products import Product, float_products
from potluck.compiler.ptq.regions import Region, regions
from potluck.compiler.ptq.rescale import input_axis, replace_constant

F64 = NDArray[np.float64]


@cache
def sylvester(size: int) -> F64:
    """The Hadamard matrix of a power of two: the sign at (i, j) is the parity of the bits that i and j share."""
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def along(array: F64, block: int, axis: int) -> F64:
    """``array`` times H in blocks along an axis."""
    moved = np.moveaxis(array, axis, -1)
    turned = (moved.reshape(*moved.shape[:-1], -1, block) @ sylvester(block)).reshape(moved.shape)
    return np.moveaxis(turned, -1, axis)


def rotate(model: ir.Model, block: int, skip: set[str]) -> dict[str, str]:
    """Rotates the contraction of every product whose channels the block divides, in place.

    Args:
        model: In FP32.
        block: Size of H.
        skip: Names of products to leave alone.

    Returns:
        Product -> ``offline``, ``online``, or why not.
    """
    record: dict[str, str] = {}
    for region in regions(model):
        names = {item.name for item in region.consumers}
        if region.linear and not region.norms and not region.channels % block and not names & skip:
            _fold(region, block)
            record |= dict.fromkeys(names, "offline")
    for product in float_products(model):
        if product.name not in record:
            record[product.name] = _online(model, product, block, skip)
    return record


def _fold(region: Region, block: int) -> None:
    unit = block**-0.5
    for item in region.producers:
        replace_constant(item.node, 1, along(_constant(item.node, 1), block, item.axis) * unit)
        if item.bias is not None:
            bias = np.broadcast_to(_constant(item.node, 2).reshape(-1), (region.channels,))
            replace_constant(item.node, 2, along(bias, block, 0) * unit)
    for node, at in region.addends:
        array = _constant(node, at)
        turned = along(array.reshape(-1), block, 0) * unit
        replace_constant(node, at, turned.reshape(array.shape))
    for item in region.consumers:
        replace_constant(item.node, 1, along(_constant(item.node, 1), block, input_axis(item)) * unit)


def _online(model: ir.Model, product: Product, block: int, skip: set[str]) -> str:
    if product.name in skip:
        return "left out"
    if product.depthwise:
        return "left out: it contracts within a channel"
    weights = _constant(product.node, 1)
    axis = input_axis(product)
    if weights.shape[axis] % block:
        return f"left out: {weights.shape[axis]} channels are no multiple of {block}"
    turned = _rotated(model, product, block)
    product.node.replace_input_with(0, turned)
    replace_constant(product.node, 1, along(weights, block, axis) / block)
    return "online"


def _rotated(model: ir.Model, product: Product, block: int) -> ir.Value:
    """The rotated activation; one node serves all who read it."""
    source, name = product.data, f"Hadamard{block}"
    assert source.shape is not None
    axis = 1 if product.is_conv else len(source.shape) - 1
    for usage in source.uses():
        if usage.node.op_type == name and usage.node.domain == DOMAIN:
            return usage.node.outputs[0]
    require(model, name)
    node = ir.Node(
        DOMAIN, name, [source], [ir.AttrInt64("axis", axis)], name=f"{source.name}_rotate", num_outputs=1
    )
    node.outputs[0].name = f"{source.name}_rotated"
    node.outputs[0].shape, node.outputs[0].type = source.shape, ir.TensorType(ir.DataType.FLOAT)
    model.graph.insert_before(product.node, node)
    return node.outputs[0]


def _constant(node: ir.Node, at: int) -> F64:
    return np.asarray(constant(node.inputs[at]), np.float64)
