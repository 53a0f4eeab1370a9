"""Stores the weights of products in BF16 or FP16, written as standard ONNX: ``Cast`` of a constant to FLOAT.

Folding would make FP32 of such a constant again, so the Cast carries a mark (`WIDENED_KEY`, metadata of the node),
which ONNX files keep. Depthwise weights are rounded as well, but lie in memory as FP32 values, as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.mx_nodes import WIDENED_KEY
from potluck.compiler.graph.nodes import add_constant, constant, drop_unused
from potluck.compiler.passes.base import GraphPass
from potluck.compiler.passes.quantize_integer import prepare_gemm, quantizable
from potluck.compiler.passes.quantize_mx import check_exclude
from potluck.isa.errors import DataError
from potluck.isa.formats.elements import FORMATS, ElementFormat
from potluck.kernels.weights.widen import HalfElement


@dataclass(frozen=True)
class QuantizeHalf(GraphPass):
    """Conv, Gemm and MatMul with constant FP32 weights get weights of 16 bits, rounded to nearest even.

    Attributes:
        element: ``bf16`` or ``fp16``.
        exclude: Names of nodes or weights that stay in FP32.
    """

    name: ClassVar[str] = "quantize_half"
    element: HalfElement = "bf16"
    exclude: tuple[str, ...] = ()

    def run(self, model: ir.Model) -> int:
        """See `GraphPass.run`; counts the products."""
        check_exclude(model, self.exclude)
        nodes = [node for node in model.graph if quantizable(node, self.exclude)]
        made: dict[ir.Value, ir.Value] = {}
        for node in nodes:
            prepare_gemm(model, node)
            source = node.inputs[1]
            assert source is not None
            if source not in made:  # two products may share one weight, as tied embeddings do
                made[source] = self._widened(model, node, source)
            node.replace_input_with(1, made[source])
        drop_unused(model.graph)
        return len(nodes)

    def _widened(self, model: ir.Model, node: ir.Node, source: ir.Value) -> ir.Value:
        array, name = np.asarray(constant(source), np.float32), source.name or ""
        stored = add_constant(model.graph, f"{name}_{self.element}", half(array, FORMATS[self.element], name))
        to = ir.AttrInt64("to", ir.DataType.FLOAT.value)
        made = ir.Node("", "Cast", [stored], [to], name=f"{name}_widen", num_outputs=1)
        made.metadata_props[WIDENED_KEY] = "1"
        made.outputs[0].name = f"{name}_values"
        made.outputs[0].shape, made.outputs[0].type = source.shape, ir.TensorType(ir.DataType.FLOAT)
        model.graph.insert_before(node, made)
        return made.outputs[0]


def half(array: NDArray[np.float32], element: ElementFormat, name: str) -> NDArray[np.generic]:
    """Values rounded to a 16-bit format.

    Raises:
        DataError: Finite values that it does not hold; names the tensor.
    """
    with np.errstate(over="ignore"):
        rounded = array.astype(element.dtype)
    lost = np.isfinite(array) & ~np.isfinite(rounded.astype(np.float32))
    if lost.any():
        largest = float(np.abs(array[lost]).max())
        raise DataError(
            f"{int(lost.sum())} weights, up to {largest:.4g}, exceed {element.name}'s {element.max_normal:.4g}",
            tensor=name, hint="Exclude the layer, or choose bf16_weights",
        )  # fmt: skip
    return rounded
