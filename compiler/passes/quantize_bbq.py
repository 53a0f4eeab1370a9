"""Approximates trained products by Bell Box codes (PTQ), in the form that trained Bell Box networks have.

An activation passes through ``potluck.BbqQuantize`` with thresholds from calibration samples, weights become codes
with the best scale per output channel, and the product ``potluck.BbqMatMul`` or ``potluck.BbqConv``. No bit width gets
past a ceiling of accuracy, which is said in a warning: Bell Box is for networks that are trained with it.

Kept in FP32: products of fewer than ``min_channels`` channels or of a number that no Hadamard block divides, grouped
convolutions, and whatever ``exclude`` names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.calibration import observed
from potluck.compiler.functions import require
from potluck.compiler.graph.nodes import (
    DOMAIN,
    add_constant,
    constant,
    drop_unused,
    integer,
    label,
    real,
    shape_of,
)
from potluck.compiler.passes.base import GraphPass
from potluck.compiler.passes.quantize_integer import CONVS, output_axis, prepare_gemm, quantizable
from potluck.compiler.quantizers.bbq import forward
from potluck.compiler.quantizers.bbq_inference import (
    BbqActivation,
    calibrate,
    factor_of,
    least_squares,
    warn_ceiling,
)
from potluck.isa.errors import DataError, ModelError
from potluck.isa.formats.bbq import BLOCKS, BbqFormat, block_of

SAMPLED = 1 << 22
"""Most elements of an activation that its parameters are taken from."""
WINDOW = ("dilations", "group", "kernel_shape", "pads", "strides")


@dataclass(frozen=True)
class QuantizeBbq(GraphPass):
    """Conv, Gemm and MatMul with constant weights get Bell Box operands.

    Attributes:
        bits: Of weights and activations.
        zero_point: See `BbqFormat`.
        min_channels: Products of fewer input channels stay in FP32.
        exclude: Names of nodes or weights that stay in FP32.
        samples: Calibration samples by input, see `potluck.compiler.calibration.batches`.
    """

    name: ClassVar[str] = "quantize_bbq"
    bits: int = 4
    zero_point: float = math.nan
    min_channels: int = 16
    exclude: tuple[str, ...] = ()
    samples: Mapping[str, NDArray[np.generic]] | None = field(default=None, hash=False, compare=False)

    def run(self, model: ir.Model) -> int:
        """See `GraphPass.run`; counts the quantized products."""
        kind = BbqFormat(self.bits, self.zero_point)
        known = {label(node) for node in model.graph} | set(model.graph.initializers)
        unknown = sorted(set(self.exclude) - known)
        if unknown:
            raise ModelError(f"exclude names {unknown}, which are neither nodes nor weights of the model")
        nodes = [node for node in model.graph if self._wanted(node)]
        if not nodes:
            return 0
        if self.samples is None:
            raise DataError(
                "the scheme fixes the thresholds of activations beforehand and has no samples",
                hint="Give calibration samples, e.g. --calibration X.npz",
            )
        warn_ceiling()
        values = list(dict.fromkeys(value for node in nodes if (value := node.inputs[0]) is not None))
        gathered: dict[str, list[NDArray[np.float32]]] = {value.name or "": [] for value in values}
        for found in observed(model, values, self.samples):
            for name, array in found.items():
                if sum(part.size for part in gathered[name]) < SAMPLED:
                    gathered[name].append(array)
        made: dict[tuple[str, bool], tuple[ir.Value, BbqActivation]] = {}
        for node in nodes:
            prepare_gemm(model, node)
            source, image = node.inputs[0], node.op_type in CONVS
            assert source is not None
            key = (source.name or "", image)
            if key not in made:
                samples = np.concatenate(gathered[key[0]])
                made[key] = _activation(model, source, samples, image, kind)
            _replace(model, node, *made[key], kind)
        drop_unused(model.graph)
        return len(nodes)

    def _wanted(self, node: ir.Node) -> bool:
        if not quantizable(node, self.exclude):
            return False
        axis, weight = output_axis(node), node.inputs[1]
        assert axis is not None and weight is not None
        image = node.op_type in CONVS
        channels = shape_of(weight, node)[1 if image else 1 - axis]
        whole = integer(node, "group", 1) == 1 and channels % BLOCKS[-1] == 0
        return whole and channels >= self.min_channels


def _activation(
    model: ir.Model, source: ir.Value, samples: NDArray[np.float32], image: bool, kind: BbqFormat
) -> tuple[ir.Value, BbqActivation]:
    """Puts a quantizer behind a value: the codes, and their parameters."""
    rows = np.moveaxis(samples, 1, -1) if image else samples
    try:
        made = calibrate(rows, kind, block_of(rows.shape[-1], 64 if image else BLOCKS[0]))
    except DataError as error:
        raise DataError(error.message, tensor=source.name, hint=error.hint) from error
    name, graph = source.name or "value", model.graph
    operator = "BbqQuantizeImage" if image else "BbqQuantize"
    require(model, operator)
    inputs = [
        source,
        add_constant(graph, f"{name}_rate", np.asarray(made.rate, np.float32)),
        add_constant(graph, f"{name}_thresholds", np.array(made.thresholds, np.int32)),
    ]
    attributes = [
        ir.AttrInt64("block", made.block),
        ir.AttrInt64("lowest", kind.lowest),
        ir.AttrInt64("multiple", kind.multiple),
    ]
    node = ir.Node(DOMAIN, operator, inputs, attributes, name=f"{name}_bell_box", num_outputs=1)
    node.outputs[0].name = f"{name}_codes"
    node.outputs[0].shape, node.outputs[0].type = source.shape, ir.TensorType(ir.DataType.INT8)
    producer = source.producer()
    if producer is None:
        graph.insert_before(graph[0], [node])
    else:
        graph.insert_after(producer, [node])
    return node.outputs[0], made


def _replace(
    model: ir.Model, node: ir.Node, codes: ir.Value, activation: BbqActivation, kind: BbqFormat
) -> None:
    """Makes a product of codes of a product."""
    source, axis, image = node.inputs[1], output_axis(node), node.op_type in CONVS
    assert source is not None and axis is not None
    array = np.asarray(constant(source), np.float32)
    turned = array.transpose(0, 2, 3, 1) if image else np.moveaxis(array, axis, 0)
    try:
        held = least_squares(forward(turned.reshape(len(turned), -1), kind, activation.block))
    except DataError as error:
        raise DataError(error.message, tensor=source.name, hint=error.hint) from error
    weights = held.codes.reshape(turned.shape)
    weights = np.ascontiguousarray(weights.transpose(0, 3, 1, 2) if image else weights.T)
    per = (-1, 1, 1) if image else (-1,)
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    full = np.zeros(len(turned), np.float32)
    if bias is not None:
        full = np.ascontiguousarray(np.broadcast_to(np.asarray(bias, np.float32).reshape(-1), full.shape))
    name, graph = source.name or label(node), model.graph
    factor = factor_of(activation, held.gamma, kind)
    inputs = [
        codes,
        add_constant(graph, f"{name}_codes", _stored(weights)),
        add_constant(graph, f"{name}_factor", factor.reshape(per)),
        add_constant(graph, f"{name}_bias", full.reshape(per)),
    ]
    attributes: list[Any] = [
        ir.AttrFloat32("min", real(node, "min", -math.inf)),
        ir.AttrFloat32("max", real(node, "max", math.inf)),
    ]
    attributes += [node.attributes[key] for key in WINDOW if key in node.attributes] if image else []
    operator = "BbqConv" if image else "BbqMatMul"
    require(model, operator)
    made = ir.Node(DOMAIN, operator, inputs, attributes, name=label(node), num_outputs=1)
    old = node.outputs[0]
    made.outputs[0].shape, made.outputs[0].type, made.outputs[0].name = old.shape, old.type, old.name
    ir.convenience.replace_nodes_and_values(graph, node, [node], [made], [old], [made.outputs[0]])


def _stored(weights: NDArray[np.int8]) -> ir.TensorProtocol:
    if weights.max(initial=0) > 7:
        return ir.Tensor(weights)
    return ir.Tensor(weights.astype(ml_dtypes.int4), dtype=ir.DataType.INT4)
