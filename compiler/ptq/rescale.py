"""Scales between layers that leave the network's function as it is: cross-layer equalization and SmoothQuant.

Both divide the channels of a region (`potluck.compiler.ptq.regions`) by factors where they are produced and multiply
the weights that contract them. Factors are rounded to powers of two, so that FP32 computes the same bits as before.

Equalization (arXiv 1906.04721) makes the largest weight of a channel the same on both sides; SmoothQuant (arXiv
2211.10438) moves large activations into weights: max|x|^alpha / max|w|^(1 - alpha).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.calibration import Samples, observed
from potluck.compiler.graph.nodes import constant
from potluck.compiler.ptq.products import Product
from potluck.compiler.ptq.regions import Region, regions

F64 = NDArray[np.float64]
SWEEPS = 20
"""Rounds over all regions: a factor changes what its neighbours see."""
MOST = 2.0**20
"""Factors stay between its inverse and it: channels that are all but zero are left alone."""


def equalize(model: ir.Model) -> dict[str, float]:
    """Equalizes every region, in place.

    Returns:
        Name of each region's first producer -> the largest factor that a channel was divided or multiplied by.
    """
    found, total = regions(model), dict[int, F64]()
    for _ in range(SWEEPS):
        moved = 0.0
        for at, region in enumerate(found):
            factor = _power(np.sqrt(_ratio(_produced(region), _consumed(region))))
            moved = max(moved, float(np.abs(np.log2(factor)).max(initial=0)))
            _apply(region, factor)
            total[at] = total.get(at, np.ones(region.channels)) * factor
        if moved < 1:
            break
    return {_title(found[at]): _extent(factor) for at, factor in total.items()}


def smooth(model: ir.Model, samples: Samples, alpha: float) -> dict[str, float]:
    """Moves the range of activations into weights wherever what comes before can take the factor, in place.

    Args:
        model: In FP32.
        samples: See `potluck.compiler.calibration.ranges`.
        alpha: 0 leaves weights equal, 1 activations.

    Returns:
        See `equalize`.
    """
    found = regions(model)
    values = list({item.data for region in found for item in region.consumers})
    peaks: dict[str, F64] = {}
    for batch in observed(model, values, samples) if values else ():
        for name, array in batch.items():
            axis = 1 if array.ndim == 4 else array.ndim - 1
            others = tuple(at for at in range(array.ndim) if at != axis)
            peak = np.abs(array).max(axis=others).astype(np.float64)
            peaks[name] = np.maximum(peaks.get(name, 0.0), peak)
    record = {}
    for region in found:
        seen = np.max([peaks[item.data.name or ""] for item in region.consumers], axis=0)
        weights = _consumed(region)
        used = (seen > 0) & (weights > 0)
        raw = np.where(
            used, np.maximum(seen, 1e-30) ** alpha / np.maximum(weights, 1e-30) ** (1 - alpha), 1.0
        )
        middle = np.exp(np.mean(np.log(raw[used]))) if used.any() else 1.0
        factor = _power(np.where(used, raw / middle, 1.0))
        _apply(region, factor)
        record[_title(region)] = _extent(factor)
    return record


def _title(region: Region) -> str:
    return region.producers[0].name if region.producers else str(region.norms[0][0].name)


def _extent(factor: F64) -> float:
    return float(2.0 ** np.abs(np.log2(factor)).max(initial=0))


def _ratio(produced: F64, consumed: F64) -> F64:
    used = (produced > 0) & (consumed > 0)
    return np.where(used, np.where(used, produced, 1) / np.where(used, consumed, 1), 1.0)


def _power(factor: F64) -> F64:
    return np.exp2(np.rint(np.log2(np.clip(factor, 1 / MOST, MOST))))


def _produced(region: Region) -> F64:
    """Largest weight that makes each channel."""
    rows = [np.abs(_by_output(item, _weights(item))).max(axis=1) for item in region.producers]
    rows += [
        np.abs(np.asarray(constant(node.inputs[at[0]]), np.float64)).reshape(-1) for node, at in region.norms
    ]
    return np.asarray(np.max(rows, axis=0), np.float64)


def _consumed(region: Region) -> F64:
    """Largest weight that each channel meets."""
    rows = [np.abs(_by_input(item, _weights(item))).max(axis=1) for item in region.consumers]
    return np.asarray(np.max(rows, axis=0), np.float64)


def _weights(product: Product) -> F64:
    return np.asarray(constant(product.weight), np.float64)


def _by_output(product: Product, weights: F64) -> F64:
    return np.moveaxis(weights, product.axis, 0).reshape(weights.shape[product.axis], -1)


def _by_input(product: Product, weights: F64) -> F64:
    axis = input_axis(product)
    return np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)


def input_axis(product: Product) -> int:
    """Axis of a product's weights along which its input channels run."""
    if product.is_conv:
        return 0 if product.depthwise else 1
    return 1 - product.axis


def _apply(region: Region, factor: F64) -> None:
    if np.all(factor == 1):
        return
    for item in region.producers:
        replace_constant(item.node, 1, _along(_weights(item), 1 / factor, item.axis))
        if item.bias is not None:
            scaled_bias(item.node, 1 / factor)
    shifts = [(node, at) for node, places in region.norms for at in places]
    for node, at in [*shifts, *region.addends]:
        array = np.asarray(constant(node.inputs[at]), np.float64)
        replace_constant(node, at, array * (1 / factor).reshape(array.shape))
    for item in region.consumers:
        replace_constant(item.node, 1, _along(_weights(item), factor, input_axis(item)))


def _along(array: F64, factor: F64, axis: int) -> F64:
    return array * factor.reshape([-1 if at == axis else 1 for at in range(array.ndim)])


def scaled_bias(node: ir.Node, factor: F64) -> None:
    """Multiplies a constant bias, which may be one number for all channels."""
    array = np.asarray(constant(node.inputs[2]), np.float64).reshape(-1)
    replace_constant(node, 2, np.broadcast_to(array, factor.shape) * factor)


def replace_constant(node: ir.Node, at: int, array: NDArray[np.floating]) -> None:
    """Gives a node another constant; one that others read too is left to them."""
    value = node.inputs[at]
    assert value is not None and node.graph is not None
    tensor = ir.tensor(np.ascontiguousarray(array, np.float32), name=value.name)
    if len(value.uses()) == 1 and not value.is_graph_output():
        value.const_value = tensor
        value.shape = ir.Shape(array.shape)
        return
    from potluck.compiler.graph.nodes import add_constant

    graph = node.graph
    assert isinstance(graph, ir.Graph)
    made = add_constant(graph, f"{value.name}_own", np.ascontiguousarray(array, np.float32))
    node.replace_input_with(at, made)
