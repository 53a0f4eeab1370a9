"""Quantizes matrix products to NVFP4, written as standard ONNX (`potluck.compiler.quantizers.nvfp4`).

A weight becomes two DequantizeLinear in a chain, as ModelOpt writes it: E4M3 scales times the tensor's FP32 scale, and
E2M1 codes times these. An activation passes through ``potluck.NvQuantizeDequantize``, its tensor scale fixed by
calibration. What stays in FP32 is what `potluck.compiler.passes.quantize_mx` keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.calibration import ranges
from potluck.compiler.functions import require
from potluck.compiler.graph.nodes import DOMAIN, add_constant, constant, drop_unused, fresh_name, real
from potluck.compiler.passes.base import GraphPass
from potluck.compiler.passes.quantize_mx import check_exclude, contraction, typed, wanted
from potluck.compiler.quantizers.nvfp4 import BLOCK, quantize, tensor_scale
from potluck.isa.errors import DataError
from potluck.isa.formats.elements import E2M1, E4M3


@dataclass(frozen=True)
class QuantizeNvfp4(GraphPass):
    """Conv, Gemm and MatMul with a constant second operand get NVFP4 operands.

    Attributes:
        activations: Whether activations are quantized, too.
        block_size: Elements per scale.
        min_channels: Products that contract fewer elements stay in FP32.
        exclude: Names of nodes or weights that stay in FP32.
        samples: Calibration samples by input, see `potluck.compiler.calibration.ranges`.
    """

    name: ClassVar[str] = "quantize_nvfp4"
    activations: bool = True
    block_size: int = BLOCK
    min_channels: int = 16
    exclude: tuple[str, ...] = ()
    samples: Mapping[str, NDArray[np.generic]] | None = field(default=None, hash=False, compare=False)

    def run(self, model: ir.Model) -> int:
        """See `GraphPass.run`; counts the quantized products."""
        check_exclude(model, self.exclude)
        nodes = [node for node in model.graph if wanted(node, self.min_channels, self.exclude)]
        if self.activations and nodes:
            self._activations(model, nodes)
        for node in nodes:
            node.replace_input_with(1, self._weight(model, node))
        drop_unused(model.graph)
        return len(nodes)

    def _activations(self, model: ir.Model, nodes: list[ir.Node]) -> None:
        if self.samples is None:
            raise DataError(
                "NVFP4 fixes the scales of whole activations beforehand and has no samples",
                hint="Give calibration samples, e.g. --calibration X.npz",
            )
        sources = list(dict.fromkeys(value for node in nodes if (value := node.inputs[0]) is not None))
        found = ranges(model, sources, self.samples)
        made: dict[tuple[ir.Value, int], ir.Value] = {}
        for node in nodes:
            source, axes = node.inputs[0], contraction(node)
            assert source is not None and axes is not None
            if (source, axes[0]) not in made:
                low, high = found[source.name or ""]
                factor = tensor_scale(max(-low, high))
                made[source, axes[0]] = self._activation(model, node, source, axes[0], factor)
            node.replace_input_with(0, made[source, axes[0]])

    def _activation(
        self, model: ir.Model, reader: ir.Node, source: ir.Value, axis: int, factor: np.float32
    ) -> ir.Value:
        require(model, "NvQuantizeDequantize")
        inputs = [source, add_constant(model.graph, f"{source.name}_factor", np.array(factor))]
        attributes = [
            ir.AttrInt64("axis", axis),
            ir.AttrInt64("block_size", self.block_size),
            ir.AttrInt64("to", ir.DataType.FLOAT4E2M1.value),
        ]
        made = ir.Node(DOMAIN, "NvQuantizeDequantize", inputs, attributes, name=f"{source.name}_nvfp4")
        made.outputs[0].name = f"{source.name}_nvfp4"
        made.outputs[0].shape, made.outputs[0].type = source.shape, source.type
        model.graph.insert_before(reader, made)
        return made.outputs[0]

    def _weight(self, model: ir.Model, node: ir.Node) -> ir.Value:
        source, axes = node.inputs[1], contraction(node)
        assert source is not None and axes is not None
        array, alpha = np.asarray(constant(source), np.float32), real(node, "alpha", 1.0)
        if alpha != 1.0:  # Gemm's factor belongs to the weights
            array = array * np.float32(alpha)
            node.attributes["alpha"] = ir.AttrFloat32("alpha", 1.0)
        name = source.name or ""
        finite = array[np.isfinite(array)]
        factor = tensor_scale(float(np.abs(finite).max(initial=0.0)))
        held = quantize(array, factor, axes[1], self.block_size, name)
        scale_codes = add_constant(model.graph, f"{name}_scales", typed(held.scales, E4M3))
        whole = add_constant(model.graph, f"{name}_factor", np.array(factor))
        steps = ir.Node("", "DequantizeLinear", [scale_codes, whole], name=f"{name}_scale_values")
        steps.outputs[0].name = fresh_name(model.graph, f"{name}_scale_values")
        steps.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        steps.outputs[0].shape = ir.Shape(held.scales.shape)
        codes = add_constant(model.graph, f"{name}_codes", typed(held.codes, E2M1))
        attributes = [ir.AttrInt64("axis", axes[1]), ir.AttrInt64("block_size", self.block_size)]
        values = ir.Node(
            "", "DequantizeLinear", [codes, steps.outputs[0]], attributes, name=f"{name}_dequantize"
        )
        values.outputs[0].name = fresh_name(model.graph, f"{name}_nvfp4")
        values.outputs[0].shape, values.outputs[0].type = source.shape, source.type
        for made in (steps, values):
            model.graph.insert_before(node, made)
        return values.outputs[0]
