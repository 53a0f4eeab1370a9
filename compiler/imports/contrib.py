"""onnxruntime's contributed operators (domain ``com.microsoft``).

``MatMulNBits`` (A, B, scales, zero_points, g_idx, bias), attributes K, N, bits, block_size: B is uint8 [N, blocks,
bytes of a block], low bits first; a weight is (code - zero point) scale, the zero point 2^(bits - 1) unless given,
packed as B is or as numbers. It becomes DequantizeLinear with blocks along K, MatMul and Add. ``QuantizeLinear`` and
``DequantizeLinear`` of this domain are the standard ones.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.nodes import constant, integer, label
from potluck.compiler.imports.base import dequantized, replace
from potluck.isa.errors import ModelError
from potluck.isa.formats.blocks import unpack


def _matmul_nbits(model: ir.Model, node: ir.Node) -> None:
    k, n = integer(node, "K", 0), integer(node, "N", 0)
    bits, block = integer(node, "bits", 4), integer(node, "block_size", 32)
    if bits not in (2, 4, 8) or min(k, n, block) < 1:
        raise ModelError(
            f"{bits} bits, K {k}, N {n}, blocks of {block}", node=label(node), hint="Use 2, 4 or 8 bits"
        )
    given = [constant(value) for value in node.inputs[1:3]]
    if any(item is None for item in given):
        raise ModelError("its weights or scales are computed at run time", node=label(node))
    if len(node.inputs) > 4 and node.inputs[4] is not None:
        raise ModelError("it has g_idx, an order of K that blocks do not follow", node=label(node))
    packed, scales = (np.asarray(item) for item in given)
    blocks = -(-k // block)
    if packed.size != n * blocks * (block * bits // 8) or scales.size != n * blocks:
        raise ModelError(
            f"weights of shape {list(packed.shape)} and scales of shape {list(scales.shape)} are not {n} x {blocks} "
            f"blocks of {block}",
            node=label(node),
        )
    codes = unpack(packed.reshape(n, blocks, -1), bits, block).reshape(n, -1)[:, :k]
    zero = _zero_points(node, bits, n, blocks)
    wide = bits == 8
    kind = np.dtype(np.uint8) if wide else np.dtype(ml_dtypes.uint4)
    dtype = ir.DataType.UINT8 if wide else ir.DataType.UINT4
    name = (node.inputs[1].name if node.inputs[1] is not None else None) or label(node)
    made = dequantized(
        model,
        node,
        ir.Tensor(np.ascontiguousarray(codes.T).astype(kind), dtype=dtype),
        np.ascontiguousarray(scales.astype(np.float32).reshape(n, blocks).T),
        0,
        block,
        ir.Tensor(np.ascontiguousarray(zero.T).astype(kind), dtype=dtype),
        name,
    )
    _product(model, node, made)


def _zero_points(node: ir.Node, bits: int, n: int, blocks: int) -> NDArray[Any]:
    """[N, blocks]."""
    value = node.inputs[3] if len(node.inputs) > 3 else None
    if value is None:
        return np.full((n, blocks), 1 << bits - 1, np.uint8)
    array = constant(value)
    if array is None:
        raise ModelError("its zero points are computed at run time", node=label(node))
    if array.dtype == np.uint8:
        return unpack(array.reshape(n, -1), bits, blocks)
    whole = np.rint(array.astype(np.float32)).reshape(n, blocks)
    if not np.array_equal(whole, array.astype(np.float32).reshape(n, blocks)) or whole.min() < 0:
        raise ModelError("its zero points are no integers", node=label(node))
    return whole.astype(np.uint8)


def _product(model: ir.Model, node: ir.Node, weights: ir.Value) -> None:
    data = node.inputs[0]
    bias = node.inputs[5] if len(node.inputs) > 5 else None
    product = ir.Node("", "MatMul", [data, weights], name=f"{label(node)}_matmul", num_outputs=1)
    made = [product]
    if bias is not None:
        made.append(ir.Node("", "Add", [product.outputs[0], bias], name=f"{label(node)}_bias", num_outputs=1))
    for item in made:
        item.outputs[0].name = f"{item.name}_y"
        item.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        model.graph.insert_before(node, item)
    old, last = node.outputs[0], made[-1].outputs[0]
    if old.is_graph_output():
        index = model.graph.outputs.index(old)
        last.name, old.name = old.name, f"{old.name}_before"
        last.shape = old.shape
        model.graph.outputs[index] = last
    replace(node, last)


def _standard(model: ir.Model, node: ir.Node) -> None:
    node.domain = ""


HANDLERS = {
    ("com.microsoft", "MatMulNBits"): _matmul_nbits,
    ("com.microsoft", "QuantizeLinear"): _standard,
    ("com.microsoft", "DequantizeLinear"): _standard,
}
