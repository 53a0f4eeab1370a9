"""What optimization chose for one network, put into the same network with other sizes of its dimensions."""

from __future__ import annotations

import onnx_ir as ir

from potluck.compiler.ptq import bias
from potluck.compiler.ptq.products import product_of
from potluck.compiler.ptq.weights import quantized_weight
from potluck.isa.errors import ModelError


def transfer(source: ir.Model, target: ir.Model) -> None:
    """Gives every product the codes, scales and bias that the product of the same name has in another network.

    Args:
        source: Quantized and optimized.
        target: Quantized the same way; changed in place.

    Raises:
        ModelError: A product of ``source`` is missing, or was quantized otherwise.
    """
    products = {item.name: item for node in target.graph if (item := product_of(node)) is not None}
    for node in source.graph:
        product = product_of(node)
        held = quantized_weight(product.weight) if product is not None else None
        if product is None or held is None:
            continue
        other = products.get(product.name)
        found = quantized_weight(other.weight) if other is not None else None
        if other is None or found is None or found.ratio.shape != held.ratio.shape:
            raise ModelError("the networks are not the same but for their dimensions", node=product.name)
        found.write_scale(held.scale)
        found.write(held.ratio)
        values = bias.current(product)
        if values is not None:
            bias.write(target, other, values, found)
