"""Quantization of a product's result becomes the end of the product's tiles (`potluck.compiler.lowering.ending`).

A layer of its own would bring the values to L1 once more. It joins where nothing else made them, where blocks divide
what a hart computes, and where the cost model says that the product's tiles, which must then hold whole blocks, do not
lose more than the layer costs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from potluck.compiler.lowering.base import LayerPlan, Target, Tensor
from potluck.compiler.lowering.conv import ConvPlan
from potluck.compiler.lowering.ending import Ending, Quantized
from potluck.compiler.lowering.packing import IntegerWeights
from potluck.compiler.lowering.quantize import QuantizeTile
from potluck.compiler.lowering.stream import StreamPlan
from potluck.compiler.schedule.memory import Storage
from potluck.isa.errors import MachineError

LAYER = 2000
"""Cycles of a quantizer that is a layer, beside its kernel: tiles, their transfers, and what those expose."""
MARGIN = 0.0015
"""Share of the cycles that bytes which need not go to DRAM and back may cost: less than estimates tell apart."""


def ended(plans: Sequence[LayerPlan], kept: Collection[Tensor], target: Target) -> list[LayerPlan]:
    """The same network with fewer layers.

    Args:
        plans: In order.
        kept: Inputs and outputs of the network, which have to be in memory.
        target: The machine.
    """
    if target.flat:
        return list(plans)
    writers: dict[Storage, list[int]] = defaultdict(list)
    readers: dict[Storage, list[int]] = defaultdict(list)
    for index, plan in enumerate(plans):
        for tensor in plan.writes():
            writers[tensor.storage].append(index)
        for tensor in plan.reads():
            readers[tensor.storage].append(index)
    outside = {tensor.storage for tensor in kept}
    result: list[LayerPlan | None] = list(plans)
    for index, plan in enumerate(plans):
        if not isinstance(plan, ConvPlan) or isinstance(plan.weights, IntegerWeights):
            continue
        storage = plan.y.storage
        if writers[storage] != [index]:
            continue
        found = {at: made for at in readers[storage] if (made := _quantized(plan, plans[at])) is not None}
        others = storage in outside or any(at not in found for at in readers[storage])
        joined = _joined(plan, list(found.values()), others, target) if found else None
        if joined is None:
            continue
        result[index] = joined
        for at in found:
            result[at] = None
    return [plan for plan in result if plan is not None]


def _quantized(product: ConvPlan, plan: LayerPlan) -> Quantized | None:
    """A layer as the end of the product whose result it reads; None if it quantizes nothing, or in other blocks."""
    if not isinstance(plan, StreamPlan) or not isinstance(plan.kernel, QuantizeTile):
        return None
    kernel, x, y = plan.kernel.kernel, plan.inputs[0].tensor, plan.outputs[0].tensor
    if x.elements != product.y.elements or product.out_channels % kernel.k:
        return None
    return Quantized(plan.op, y, kernel)


def _joined(
    product: ConvPlan, quantized: Sequence[Quantized], others: bool, target: Target
) -> ConvPlan | None:
    """The product with its quantizers, if that costs no more than the layers apart."""
    ending = Ending(product.y.item_bytes, tuple(item.kernel for item in quantized), others)
    sizes = replace(product.sizes, ending=ending)
    try:
        tiling = sizes.choose()
    except MachineError:  # no tile of whole blocks fits
        return None
    values = -(-product.y.elements // target.harts)
    apart = product.estimate + LAYER * len(quantized) + ending.cycles(values, target.lanes)
    if sizes.cost(tiling) > apart * (1 if others else 1 + MARGIN):
        return None
    op = "+".join((product.op, *(item.op for item in quantized)))
    return replace(product, op=op, quantized=tuple(quantized), kept=others)
