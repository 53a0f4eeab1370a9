"""PoTAcc's release as it is: top weights are multiplied as 128 and stood for as 127 everywhere else.

QKeras' top level does not fit the int8 tensors of a TFLite file, which hold 127. The release multiplies by 128 but
corrects for the activation's zero point with the sum of the integers that were stored (potacc section 2.2). In a QDQ
graph that is a bias: zero point times (sum of levels - sum of stored integers), in steps of the sums.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from potluck.compiler.graph.integer_nodes import affine_of
from potluck.compiler.graph.nodes import label
from potluck.compiler.quantizers.pot import PotWeights
from potluck.isa.errors import ModelError


def correct_bias(model: ir.Model, node: ir.Node, made: PotWeights) -> None:
    """Gives a product the bias that the release's correction amounts to; its weights are ``made`` by now.

    Raises:
        ModelError: There is no place for a bias.
    """
    from potluck.compiler.ptq import bias
    from potluck.compiler.ptq.products import product_of
    from potluck.compiler.ptq.weights import quantized_weight

    levels = made.levels.reshape(len(made.levels), -1).sum(axis=1, dtype=np.int64)
    product = product_of(node)
    x = affine_of(node.inputs[0].producer(), "DequantizeLinear") if node.inputs[0] is not None else None
    if product is None or x is None or not x.zero_point or np.array_equal(levels, made.sums):
        return
    held, now = quantized_weight(product.weight), bias.current(product)
    steps = np.float64(np.float32(x.scale)) * made.scale.astype(np.float64)
    moved = x.zero_point * (levels - made.sums) * steps
    if held is None or now is None or not bias.write(model, product, now + moved, held):
        raise ModelError(
            "compat_release corrects its bias, and there is no place for one",
            node=label(node),
            hint="Give the product a constant bias",
        )
