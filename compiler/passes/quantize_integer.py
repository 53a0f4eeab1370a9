"""Quantizes products to 8-bit activations with integer or PoT weights, written as standard QDQ.

An activation passes through ``QuantizeLinear`` and ``DequantizeLinear`` (INT8, one scale and zero point, fixed by
calibration). A weight becomes ``DequantizeLinear`` of integers with a scale per output channel, or
``potluck.PotDequantize`` of codes; a bias ``DequantizeLinear`` of INT32 with the product of both scales. Sums and pools
between quantized layers get quantized operands too, so that codes, not values, go through memory.

Products that contract fewer than ``min_channels`` elements, and depthwise convolutions, lose most to few bits: with
4-bit weights they get INT8 ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.calibration import ranges
from potluck.compiler.functions import require
from potluck.compiler.graph.integer_nodes import MOST_MULTIPLE
from potluck.compiler.graph.nodes import (
    DOMAIN,
    add_constant,
    constant,
    drop_unused,
    fresh_name,
    integer,
    label,
    real,
    shape_of,
)
from potluck.compiler.passes.base import GraphPass
from potluck.compiler.passes.pot_release import correct_bias
from potluck.compiler.quantizers import integers, pot
from potluck.compiler.quantizers.integers import IntegerFormat, IntegerTensor, parameters
from potluck.isa.errors import DataError, ModelError
from potluck.isa.formats.requantize import REQUANTIZATIONS, Requantization
from potluck.isa.pot.codes import POT_FORMATS, QKERAS

CONVS, GEMMS, MATMULS = ("Conv", "FusedConv"), ("Gemm", "FusedGemm"), ("MatMul", "FusedMatMul")
PRODUCTS = (*CONVS, *GEMMS, *MATMULS)
SUMS, POOLS = ("Add", "FusedAdd"), ("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean")
INTEGERS = {"int8": 8, "int6": 6, "int4": 4, "int2": 2}
WEIGHTS = (*INTEGERS, *POT_FORMATS)
"""Formats of weights."""
BITS_KEY = "potluck.bits"
"""Metadata of codes that ONNX has no type for: their bits."""
FIXED_KEY = "potluck.fixed"
"""Metadata of scales that nothing may change later."""
LAW_KEY = "potluck.requantization"
"""Metadata of a model: the law by which it was meant to be requantized."""


@dataclass(frozen=True)
class QuantizeInteger(GraphPass):
    """Conv, Gemm and MatMul with constant weights get INT8 activations and integer or PoT weights.

    Attributes:
        weights: One of `WEIGHTS`.
        activations: ``int8``, or ``fp32``: weights only, in groups of ``group``.
        group: Elements of the contraction that share a scale; 0: per channel. With INT8 activations, INT4 weights have
            scales that are multiples (1 to 18) of one of their output channel, so that their sums are integers.
        min_channels: Products that contract fewer elements, and depthwise ones, get INT8 weights; 0: none do.
        exclude: Names of nodes or weights that stay in FP32.
        requantization: Law that the graph's metadata names, for `potluck.compiler.passes.integer_products`.
        samples: Calibration samples by input, see `potluck.compiler.calibration.ranges`.
        others: The same for other nodes, with other weights: activations between all of them stay in codes.
        method: How ranges follow from the samples, see there.
        compat_release: QKeras weights as PoTAcc's release has them, see `potluck.compiler.passes.pot_release`.
    """

    name: ClassVar[str] = "quantize_integer"
    weights: str = "int8"
    activations: Literal["int8", "fp32"] = "int8"
    group: int = 0
    min_channels: int = 16
    exclude: tuple[str, ...] = ()
    requantization: Requantization = "ort_float_rne"
    samples: Mapping[str, NDArray[np.generic]] | None = field(default=None, hash=False, compare=False)
    others: tuple[QuantizeInteger, ...] = ()
    method: str = "minmax"
    compat_release: bool = False

    def run(self, model: ir.Model) -> int:
        """See `GraphPass.run`; counts the quantized products."""
        for part in (self, *self.others):
            part._check(model)
        chosen = {node: self._part(node) for node in model.graph}
        nodes = {node: part for node, part in chosen.items() if part is not None}
        if self.activations == "fp32":
            for node in nodes:
                prepare_gemm(model, node)
                self._weight(model, node)
        elif nodes:
            self._with_activations(model, nodes)
        drop_unused(model.graph)
        return len(nodes)

    def _check(self, model: ir.Model) -> None:
        if self.weights not in WEIGHTS:
            raise ModelError(f"unknown weights {self.weights!r}", hint=f"Use one of {', '.join(WEIGHTS)}")
        known = {label(node) for node in model.graph} | set(model.graph.initializers)
        unknown = sorted(set(self.exclude) - known)
        if unknown:
            raise ModelError(f"exclude names {unknown}, which are neither nodes nor weights of the model")

    def _part(self, node: ir.Node) -> QuantizeInteger | None:
        """Which of these options a node has; None if it stays."""
        return next((part for part in (self, *self.others) if quantizable(node, part.exclude)), None)

    def _with_activations(self, model: ir.Model, nodes: Mapping[ir.Node, QuantizeInteger]) -> None:
        if self.requantization not in REQUANTIZATIONS:
            known = ", ".join(REQUANTIZATIONS)
            raise ModelError(f"unknown requantization {self.requantization!r}", hint=f"Use one of {known}")
        model.metadata_props[LAW_KEY] = self.requantization
        if self.samples is None:
            raise DataError(
                "the scheme fixes the ranges of activations beforehand and has no samples",
                hint="Give calibration samples, e.g. --calibration X.npz",
            )
        values = _activations(model, list(nodes))
        found = ranges(model, values, self.samples, self.method)
        for value in values:
            _quantize_value(model, value, *found[value.name or ""])
        for node, part in nodes.items():
            prepare_gemm(model, node)
            assert node.inputs[0] is not None
            scale, released = part._weight(model, node)
            _bias(model, node, _scale_of(node.inputs[0]), scale)
            if released is not None:
                correct_bias(model, node, released)

    def _weight(self, model: ir.Model, node: ir.Node) -> tuple[NDArray[np.float32], pot.PotWeights | None]:
        """Replaces the weights; returns their scales, and the weights if they are as PoTAcc's release has them."""
        source, axis = node.inputs[1], output_axis(node)
        assert source is not None and axis is not None
        array = np.asarray(constant(source), np.float32)
        name, few = source.name or "", array.size // array.shape[axis] < self.min_channels
        small = self.min_channels > 0 and (few or integer(node, "group", 1) > 1)
        chosen = "int8" if small and self.weights != "int8" else self.weights
        try:
            if chosen in POT_FORMATS:
                return self._pot(model, node, array, axis)
            along = 1 - axis if array.ndim == 2 else 1
            grouped = self.group > 0 and array.shape[along] >= self.group
            grouped &= self.activations == "fp32" or chosen == "int4"
            kind = IntegerFormat(
                INTEGERS[chosen],
                axis=along if grouped else axis,
                group=self.group if grouped else 0,
            )
            made = integers.quantize(array, kind)
            unit = made.scale
            if grouped and self.activations == "int8":
                made, unit = _multiples(array, made, axis)
        except DataError as error:
            raise DataError(error.message, tensor=name, hint=error.hint) from error
        codes = made.codes.astype(kind.dtype)
        tensor = ir.Tensor(codes, dtype=ir.DataType.INT8 if kind.bits > 4 else ir.DataType.INT4)
        attributes = [ir.AttrInt64("axis", kind.axis or 0)]
        if kind.group:
            attributes.append(ir.AttrInt64("block_size", kind.group))
        inputs = [
            add_constant(model.graph, f"{name}_codes", tensor),
            add_constant(model.graph, f"{name}_scales", made.scale),
        ]
        if unit is not made.scale:
            inputs[1].metadata_props[FIXED_KEY] = "1"
        if kind.bits not in (8, 4):
            inputs[0].metadata_props[BITS_KEY] = str(kind.bits)
        _insert(
            model, node, 1, ir.Node("", "DequantizeLinear", inputs, attributes, name=f"{name}_dequantize")
        )
        return unit, None

    def _pot(
        self, model: ir.Model, node: ir.Node, array: NDArray[np.float32], axis: int
    ) -> tuple[NDArray[np.float32], pot.PotWeights | None]:
        kind, source = POT_FORMATS[self.weights], node.inputs[1]
        name = (source.name if source is not None else None) or label(node)
        made = pot.quantize(np.moveaxis(array, axis, 0), kind)
        if self.compat_release and kind is QKERAS:
            made = pot.released(made)
        require(model, "PotDequantize")
        inputs = [
            add_constant(model.graph, f"{name}_codes", np.moveaxis(made.codes(), 0, axis).copy()),
            add_constant(model.graph, f"{kind}_levels", kind.table),
            add_constant(model.graph, f"{name}_scales", made.scale),
        ]
        attributes = [ir.AttrInt64("axis", axis)]
        _insert(
            model, node, 1, ir.Node(DOMAIN, "PotDequantize", inputs, attributes, name=f"{name}_dequantize")
        )
        return made.scale, made if self.compat_release and kind is QKERAS else None


def _multiples(
    array: NDArray[np.float32], made: IntegerTensor, axis: int
) -> tuple[IntegerTensor, NDArray[np.float32]]:
    """Weights in groups whose scales are multiples of one per output channel; and those."""
    rest = tuple(at for at in range(array.ndim) if at != axis)
    unit = made.scale.max(axis=rest, keepdims=True) / np.float32(MOST_MULTIPLE)
    multiple = np.clip(np.rint(made.scale / unit), 1, MOST_MULTIPLE)
    scale = np.asarray(multiple * unit, np.float32)
    return integers.quantize_with(array, scale, made.zero_point, made.format), unit.reshape(-1)


def output_axis(node: ir.Node) -> int | None:
    """Axis of the output channels in a product's weights; None for what is no product with a kernel."""
    if node.domain not in ("", DOMAIN) or node.op_type not in PRODUCTS or len(node.inputs) < 2:
        return None
    data, weight = node.inputs[0], node.inputs[1]
    if data is None or weight is None or weight.shape is None or data.shape is None:
        return None
    if node.op_type in CONVS:
        group = integer(node, "group", 1)
        dense = group == 1 or (weight.shape[1] == 1 and group == weight.shape[0])
        return 0 if len(weight.shape) == 4 and dense else None
    if node.op_type in GEMMS:
        return None if integer(node, "transA", 0) else 0 if integer(node, "transB", 0) else 1
    return 1 if len(weight.shape) == 2 and len(data.shape) >= 2 else None


def quantizable(node: ir.Node, exclude: Sequence[str]) -> bool:
    """Whether a node is a product with constant FP32 weights that is not excluded, by its name or its weights'."""
    if output_axis(node) is None:
        return False
    weight = node.inputs[1]
    assert weight is not None
    if constant(weight) is None or weight.dtype is not ir.DataType.FLOAT:
        return False
    return label(node) not in exclude and weight.name not in exclude


def _activations(model: ir.Model, nodes: list[ir.Node]) -> list[ir.Value]:
    """Values that become codes: what the products read, and what sums and pools between them read and write."""
    wanted: dict[ir.Value, None] = {}
    for node in nodes:
        assert node.inputs[0] is not None
        wanted[node.inputs[0]] = None
    produced = {node.outputs[0] for node in nodes}
    for node in model.graph:
        ready = [value for value in node.inputs if value is not None and constant(value) is None]
        near = all(value in produced or value in wanted for value in ready)
        if node.op_type in SUMS and len(ready) == 2 and near and node.domain in ("", DOMAIN):
            wanted.update(dict.fromkeys((*ready, node.outputs[0])))
        elif node.op_type in POOLS and ready and near:
            wanted[ready[0]] = None
    return [value for value in wanted if not value.is_graph_output()]


def _quantize_value(model: ir.Model, value: ir.Value, low: float, high: float) -> None:
    """Puts QuantizeLinear and DequantizeLinear behind a value, in front of all who read it."""
    scale, zero = parameters(low, high, IntegerFormat(8, symmetric=False))
    name, graph = value.name or "value", model.graph
    constants = [add_constant(graph, f"{name}_scale", scale), add_constant(graph, f"{name}_zero", zero)]
    uses = [(usage.node, usage.idx) for usage in value.uses()]
    to = ir.Node("", "QuantizeLinear", [value, *constants], name=f"{name}_quantize", num_outputs=1)
    back = ir.Node(
        "", "DequantizeLinear", [to.outputs[0], *constants], name=f"{name}_dequantize", num_outputs=1
    )
    for made, suffix, kind in ((to, "codes", ir.DataType.INT8), (back, "values", ir.DataType.FLOAT)):
        made.outputs[0].name = f"{name}_{suffix}"
        made.outputs[0].shape, made.outputs[0].type = value.shape, ir.TensorType(kind)
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], [to, back])
    else:
        graph.insert_after(producer, [to, back])
    for node, index in uses:
        node.replace_input_with(index, back.outputs[0])


def _scale_of(value: ir.Value) -> np.float32:
    """The scale of a dequantized activation."""
    node = value.producer()
    assert node is not None
    array = constant(node.inputs[1])
    assert array is not None
    return np.float32(array.reshape(()))


def prepare_gemm(model: ir.Model, node: ir.Node) -> None:
    """Folds Gemm's factors into weights and bias: codes are multiplied as they are."""
    for name, at in (("alpha", 1), ("beta", 2)):
        factor = real(node, name, 1.0)
        if node.op_type not in GEMMS or factor == 1.0:
            continue
        node.attributes[name] = ir.AttrFloat32(name, 1.0)
        source = node.inputs[at] if len(node.inputs) > at else None
        array = constant(source)
        if source is not None and array is not None:
            scaled = np.asarray(array, np.float32) * np.float32(factor)
            node.replace_input_with(at, add_constant(model.graph, f"{source.name}_{name}", scaled))


def _bias(model: ir.Model, node: ir.Node, x_scale: np.float32, w_scale: NDArray[np.float32]) -> None:
    source = node.inputs[2] if len(node.inputs) > 2 else None
    array = constant(source)
    if source is None or array is None:
        return
    channels = shape_of(node.outputs[0], node)[1 if node.op_type in CONVS else -1]
    scale = np.broadcast_to(np.float32(x_scale) * w_scale, (channels,)).astype(np.float32)
    values = np.broadcast_to(np.asarray(array, np.float64).reshape(-1), (channels,))
    codes = np.clip(np.rint(values / scale), -(2**31), 2**31 - 1).astype(np.int32)
    inputs = [
        add_constant(model.graph, f"{source.name}_codes", codes),
        add_constant(model.graph, f"{source.name}_scales", scale),
    ]
    attributes = [ir.AttrInt64("axis", 0)]
    _insert(
        model, node, 2, ir.Node("", "DequantizeLinear", inputs, attributes, name=f"{source.name}_dequantize")
    )


def _insert(model: ir.Model, node: ir.Node, at: int, made: ir.Node) -> None:
    """Puts a new node in front of an input."""
    source = node.inputs[at]
    assert source is not None and made.inputs[0] is not None
    made.outputs[0].name = fresh_name(model.graph, f"{source.name}_values")
    made.outputs[0].shape, made.outputs[0].type = made.inputs[0].shape, ir.TensorType(ir.DataType.FLOAT)
    model.graph.insert_before(node, made)
    node.replace_input_with(at, made.outputs[0])
