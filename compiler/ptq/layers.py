"""Layer after layer through a quantized network: scales, rounding and biases, with the inputs that are really seen.

The FP32 network runs beside it. A product's statistics come from the quantized network as it is by then, so each layer
corrects for what those before it lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.nodes import constant, drop_unused, real
from potluck.compiler.passes.quantize_integer import GEMMS
from potluck.compiler.ptq import bias
from potluck.compiler.ptq.clip import search
from potluck.compiler.ptq.data import Samples
from potluck.compiler.ptq.gptq import gptq
from potluck.compiler.ptq.products import Product, product_of
from potluck.compiler.ptq.rounding import learned
from potluck.compiler.ptq.runner import Runner
from potluck.compiler.ptq.statistics import Statistics, gather
from potluck.compiler.ptq.weights import QuantizedWeight, quantized_weight
from potluck.isa.progress import task

METHODS = ("clip", "gptq", "round", "bias")
ROUNDING = {"clip", "gptq", "round"}
"""Of these, what chooses weights."""
F64 = NDArray[np.float64]


def improve(
    model: ir.Model, exact: ir.Model, samples: Samples, methods: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """Improves every quantized product, in place.

    Args:
        model: Quantized.
        exact: The same network in FP32, with nodes of the same names.
        samples: See `potluck.compiler.calibration.batches`.
        methods: Some of `METHODS`, with their numbers.

    Returns:
        Product -> mean square error of its output per unit of the output's power, with nearest levels (``before``) and
        now (``after``); or why it was left as it was.
    """
    record: dict[str, dict[str, Any]] = {}
    references, done = _references(exact, samples), set[ir.Node]()
    with task("better quantization", len(model.graph)) as tell:
        for at, (node, inputs) in enumerate(Runner(model).walk(samples)):
            tell(at, None)
            product = product_of(node)
            held = quantized_weight(product.weight) if product is not None else None
            if product is None or held is None:
                continue
            found = next((item for item in references if item[0].name == product.name), None)
            if found is None:
                record[product.name] = {"left": "the FP32 network has no product of this name"}
                references = _references(exact, samples)
                continue
            reference, seen = found
            if held.node in done:
                record[product.name] = {"left": "its weights belong to another product too"}
                continue
            done.add(held.node)
            statistics = gather(product, [part[0] for part in inputs], seen)
            weights, offset = _exact(reference)
            record[product.name] = _improve(model, product, held, statistics, weights, offset, methods)
    drop_unused(model.graph)
    return record


def _references(exact: ir.Model, samples: Samples) -> Iterator[tuple[Product, list[NDArray[np.float32]]]]:
    for node, inputs in Runner(exact).walk(samples):
        product = product_of(node)
        if product is not None:
            yield product, [part[0] for part in inputs]


def _exact(product: Product) -> tuple[F64, F64 | None]:
    """FP32 weights and bias as they act, Gemm's factors included."""
    gemm = product.node.op_type in GEMMS
    alpha = real(product.node, "alpha", 1.0) if gemm else 1.0
    beta = real(product.node, "beta", 1.0) if gemm else 1.0
    offset = bias.current(product)
    return np.asarray(constant(product.weight), np.float64) * alpha, None if offset is None else offset * beta


def _improve(
    model: ir.Model,
    product: Product,
    held: QuantizedWeight,
    found: Statistics,
    weights: F64,
    offset: F64 | None,
    methods: Mapping[str, float],
) -> dict[str, Any]:
    mends = "bias" in methods and offset is not None
    seen = found.centred() if mends else found
    plain = product.matrix(weights)
    target = seen.target(plain) if ROUNDING & methods.keys() else plain
    power = float(np.einsum("gok,gkl,gol->", plain, seen.hessian, plain, optimize=True)) or 1.0
    wanted = np.asarray(product.restored(target, weights.shape), np.float64)

    def error() -> float:
        return float(seen.error(product.matrix(held.values()) - target).sum()) / power

    record: dict[str, Any] = {"before": error()}
    shape = held.ratio.shape
    if "clip" in methods and not held.fixed:
        diagonal = np.einsum("gkk->gk", seen.hessian)[:, None, :]
        importance = product.restored(np.broadcast_to(diagonal, target.shape), shape)
        _clip(held, product, wanted, np.asarray(importance, np.float64), seen)
        record["clip"] = error()
    for name in ("gptq", "round"):
        if name not in methods:
            continue
        rows = zip(target, product.matrix(held.scales), seen.hessian, strict=True)
        number = methods[name]
        if name == "gptq":
            made = [gptq(group, scale, held.levels, hessian, number) for group, scale, hessian in rows]
        else:
            made = [
                learned(group, scale, held.levels, hessian, int(number)) for group, scale, hessian in rows
            ]
        chosen = np.stack(made)
        held.write(np.asarray(product.restored(chosen, shape), np.float64))
        record[name] = error()
    record["after"] = error()
    if offset is None:
        record["bias"] = "computed at run time"
        return record
    if "bias" in methods:
        moved = bias.correction(product, weights, held.values(), found)
        offset = offset + moved
    if "bias" in methods or "clip" in methods:
        written = bias.write(model, product, offset, held)
        if "bias" in methods:
            record["bias"] = float(np.abs(moved).max(initial=0)) if written else "there is no place for one"
    return record


def _clip(held: QuantizedWeight, product: Product, wanted: F64, importance: F64, seen: Statistics) -> None:
    """Takes better scales, for the outputs whose error really becomes less with them."""

    def errors() -> F64:
        return seen.error(product.matrix(held.values() - wanted)).reshape(-1)

    held.write(held.nearest(wanted))
    old, before = held.scale.copy(), errors()
    held.write_scale(search(held, wanted, importance))
    held.write(held.nearest(wanted))
    better = errors() < before
    shape, axis = held.scale.shape, product.axis
    if shape == (len(better),) and held.axis % held.ratio.ndim == axis:
        chosen = better
    elif held.block and held.axis % held.ratio.ndim != axis:
        chosen = better.reshape([-1 if at == axis else 1 for at in range(len(shape))])
    else:  # one scale serves several outputs
        chosen = np.asarray(errors().sum() < before.sum())
    held.write_scale(np.where(chosen, held.scale, old))
    held.write(held.nearest(wanted))
