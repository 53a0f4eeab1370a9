"""Matrix products of a network as PTQ sees them: weights as [groups, outputs, K] and inputs as columns of K values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.nodes import constant, integer, ints, label
from potluck.compiler.passes.quantize_integer import CONVS, output_axis

F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Product:
    """A Conv, Gemm or MatMul whose second operand is known at compile time.

    Attributes:
        node: In its graph.
        axis: Of the output channels in the weights.
        groups: Convolutions that it does at once: 1, or the channels if it is depthwise.
    """

    node: ir.Node
    axis: int
    groups: int

    @property
    def name(self) -> str:
        """Of the node."""
        return label(self.node)

    @property
    def is_conv(self) -> bool:
        """Whether it slides over an image."""
        return self.node.op_type in CONVS

    @property
    def depthwise(self) -> bool:
        """Whether every channel has its own filter."""
        return self.groups > 1

    @property
    def data(self) -> ir.Value:
        """Activation."""
        value = self.node.inputs[0]
        assert value is not None
        return value

    @property
    def weight(self) -> ir.Value:
        """Weights, quantized or not."""
        value = self.node.inputs[1]
        assert value is not None
        return value

    @property
    def bias(self) -> ir.Value | None:
        """Bias, if it has one."""
        return self.node.inputs[2] if len(self.node.inputs) > 2 else None

    def matrix(self, weights: NDArray[np.generic]) -> F64:
        """Weights as [groups, outputs per group, K]; K runs over input channels, then taps."""
        array = np.asarray(weights, np.float64)
        if self.is_conv:
            return array.reshape(self.groups, array.shape[0] // self.groups, -1)
        return (array if self.axis == 0 else array.T)[None]

    def restored(self, matrix: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
        """The inverse of `matrix`."""
        if self.is_conv:
            return matrix.reshape(shape)
        return matrix[0] if self.axis == 0 else np.ascontiguousarray(matrix[0].T)

    def columns(self, x: NDArray[np.float32], most: int = 4096) -> NDArray[np.float32]:
        """[groups, K, columns] that the weights are multiplied with for one input.

        Args:
            x: Activation.
            most: Columns to give; of more there are, evenly spread ones.
        """
        if not self.is_conv:
            rows = np.asarray(x, np.float32).reshape(-1, x.shape[-1])
            return np.ascontiguousarray(rows[_places(len(rows), most)].T)[None]
        kernel = ints(self.node, "kernel_shape", ())
        strides, dilations = ints(self.node, "strides", (1, 1)), ints(self.node, "dilations", (1, 1))
        top, left, bottom, right = ints(self.node, "pads", (0, 0, 0, 0))
        padded = np.pad(x, [(0, 0), (0, 0), (top, bottom), (left, right)])
        spans = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
        windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(2, 3))
        windows = windows[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
        count, channels = x.shape[0], x.shape[1]
        area = windows.shape[2] * windows.shape[3]
        taken = _places(count * area, most)
        n, place = np.divmod(taken, area)
        row, column = np.divmod(place, windows.shape[3])
        picked = windows[n, :, row, column]  # [columns, C, KH, KW]
        flat = picked.reshape(len(taken), self.groups, channels // self.groups * kernel[0] * kernel[1])
        return np.ascontiguousarray(flat.transpose(1, 2, 0), np.float32)


def _places(count: int, most: int) -> NDArray[np.int64]:
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).astype(np.int64)


def product_of(node: ir.Node) -> Product | None:
    """The product that a node is, None if it is none that PTQ knows."""
    axis = output_axis(node)
    if axis is None:
        return None
    return Product(node, axis, integer(node, "group", 1) if node.op_type in CONVS else 1)


def float_products(model: ir.Model) -> list[Product]:
    """Products of a graph whose weights are FP32 constants, in its order."""
    found = [product_of(node) for node in model.graph]
    return [
        item
        for item in found
        if item is not None and constant(item.weight) is not None and item.weight.dtype is ir.DataType.FLOAT
    ]
