"""From the graph to layers: each node becomes a plan with tensors in memory, or an alias of one.

Plans are in the order of the nodes; nothing has an address yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph import DOMAIN, constant, integer, label, operator, real, shape_of, title
from potluck.compiler.lowering.adapters import AddTile, ClipTile, ColumnTile, SoftmaxTile
from potluck.compiler.lowering.base import LayerPlan, Target, Tensor, tensor_bytes
from potluck.compiler.lowering.base import constant as make_constant
from potluck.compiler.lowering.conv import ConvPlan
from potluck.compiler.lowering.dense import DensePlan
from potluck.compiler.lowering.depthwise import DepthwisePlan
from potluck.compiler.lowering.packing import ELEMENTS
from potluck.compiler.lowering.pool import GlobalPoolPlan, PoolPlan
from potluck.compiler.lowering.quantize import QuantizeTile, RoundTile
from potluck.compiler.lowering.stream import RelayoutPlan, Stream, StreamPlan
from potluck.compiler.lowering.windows import Geometry
from potluck.compiler.memory import Storage
from potluck.compiler.passes.fuse_activation import clip_bounds
from potluck.compiler.reading import as_conv, bias_of, geometry_of, open_bounds, ordered, weights_of
from potluck.compiler.rules import MX_ELEMENTS, column_constant
from potluck.compiler.schedule import TileKernel
from potluck.isa.blocks import BlockLayout, layout
from potluck.isa.errors import DataError, MachineError, ModelError
from potluck.isa.mx import MxTensor
from potluck.kernels.elementwise import Add, Clip, ColumnAffine
from potluck.kernels.quantize_mx import QuantizeMx
from potluck.kernels.round_mx import RoundMx
from potluck.kernels.softmax import Softmax

F32 = NDArray[np.float32]
NO_BOUNDS = (-math.inf, math.inf)


class Selector:
    """Builds the plans of one graph.

    Attributes:
        plans: Layers so far.
        tensors: Tensor of every ONNX value so far.
        storages: DRAM blocks that activations need.
    """

    def __init__(self, model: ir.Model, target: Target) -> None:
        self.model, self.target = model, target
        self.plans: list[LayerPlan] = []
        self.tensors: dict[ir.Value, Tensor] = {}
        self.storages: list[Storage] = []

    def run(self) -> list[LayerPlan]:
        """Plans every node; the rules have accepted them all."""
        for value in self.model.graph.inputs:
            self._new(value)
        for node in self.model.graph:
            try:
                BUILDERS[operator(node)](self, node)
            except DataError as error:  # a kernel refuses the shape
                raise ModelError(error.message, node=label(node), hint=error.hint) from error
        return self.plans

    def tensor(self, value: ir.Value | None, node: ir.Node) -> Tensor:
        """The tensor of an activation.

        Raises:
            ModelError: It is a constant, or nothing has computed it.
        """
        if value is None or value not in self.tensors:
            name = value.name if value is not None else None
            raise ModelError(
                f"its input {name!r} is a constant", node=label(node), hint="Fold constants first"
            )
        return self.tensors[value]

    def _new(self, value: ir.Value, mx: BlockLayout | None = None) -> Tensor:
        made = self._fresh(value.name or "value", shape_of(value), mx)
        self.tensors[value] = made
        return made

    def _fresh(self, name: str, shape: tuple[int, ...], mx: BlockLayout | None = None) -> Tensor:
        storage = Storage(name, tensor_bytes(shape, mx))
        self.storages.append(storage)
        return Tensor(name, shape, storage, mx)

    def _bounds(self, node: ir.Node) -> tuple[float, float]:
        return real(node, "min", -math.inf), real(node, "max", math.inf)

    def conv(self, node: ir.Node) -> None:
        """Conv and its fused form."""
        x, y = self.tensor(node.inputs[0], node), self._new(node.outputs[0])
        weights = weights_of(node.inputs[1], x.mx)
        bias, bias_name = bias_of(node, y.shape[1])
        name = node.inputs[1].name if node.inputs[1] is not None else None
        geometry = geometry_of(node, x.shape, y.shape)
        common = (label(node), title(node), x, y, geometry)
        if integer(node, "group", 1) > 1:
            assert not isinstance(weights, MxTensor)
            self.plans.append(
                DepthwisePlan(*common, weights, name or "", bias, bias_name, self._bounds(node), self.target)
            )
            return
        self.plans.append(
            ConvPlan(
                label(node), title(node), x, y, x.shape[0], geometry, weights, name or "", bias, bias_name,
                self._bounds(node), self.target,
            )
        )  # fmt: skip

    def product(self, node: ir.Node) -> None:
        """Gemm and MatMul: a 1x1 convolution whose image is the rows of the matrix."""
        x, y = self.tensor(node.inputs[0], node), self._new(node.outputs[0])
        matrix = weights_of(node.inputs[1], x.mx)
        transposed = bool(integer(node, "transB", 0))
        alpha, beta = real(node, "alpha", 1.0), real(node, "beta", 1.0)
        weights = as_conv(matrix, transposed)
        if not isinstance(weights, MxTensor):
            weights = np.asarray(weights * np.float32(alpha), np.float32)
        bias, bias_name = bias_of(node, y.shape[-1])
        bias = np.asarray(bias * np.float32(beta), np.float32)
        name = node.inputs[1].name if node.inputs[1] is not None else None
        rows = math.prod(y.shape[:-1])
        bounds, name = self._bounds(node), name or ""
        if rows > 1:
            width = next((size for size in range(8, 3, -1) if rows % size == 0), rows if rows < 64 else 1)
            ones, zeros = (1, 1), (0, 0, 0, 0)
            geometry = Geometry(rows // width, width, ones, ones, ones, zeros, rows // width, width)
            try:
                self.plans.append(
                    ConvPlan(
                        label(node), title(node), x, y, 1, geometry, weights, name, bias, bias_name, bounds,
                        self.target,
                    )
                )  # fmt: skip
                return
            except MachineError:  # even 8 columns of weights are too many: take them in pieces
                pass
        self.plans.append(
            DensePlan(label(node), title(node), x, y, weights, name, bias, bias_name, bounds, self.target)
        )

    def quantize(self, node: ir.Node) -> None:
        """Activation to MX codes and scales."""
        x = self.tensor(node.inputs[0], node)
        mx = layout(MX_ELEMENTS[ir.DataType(integer(node, "to", 0))], integer(node, "block_size", 32))
        element, size = ELEMENTS[mx.element.name], mx.block_size
        if self.target.flat:
            self._round(node, x, mx)
            return
        y = self._new(node.outputs[0], mx)
        whole = (
            x.channels % size == 0
        )  # then pixels do not matter: a block is a block, and many can be divided
        row = size if whole else x.channels
        kernel = QuantizeMx(row, element, size, self.target.vlen)
        outputs = (Stream(y, kernel.row_bytes), Stream(y, kernel.blocks, scales=True))
        units = x.elements // row
        self._stream(node, (Stream(x, 4 * row),), outputs, units, QuantizeTile(kernel), 1, mx.name)

    def _round(self, node: ir.Node, x: Tensor, mx: BlockLayout) -> None:
        """Activation to MX values that stay FP32, for the software kernels."""
        y = self._new(node.outputs[0])
        y.grid = mx
        kernel = RoundTile(RoundMx(x.channels, ELEMENTS[mx.element.name], mx.block_size))
        row = 4 * x.channels
        self._stream(node, (Stream(x, row),), (Stream(y, row),), x.pixels, kernel, 1, mx.name)

    def add(self, node: ir.Node) -> None:
        """Sum of two activations, or of one and a constant per channel."""
        low, high = open_bounds(self._bounds(node))
        at = column_constant(node)
        if at is not None:
            x, y = self.tensor(node.inputs[1 - at], node), self._new(node.outputs[0])
            array = constant(node.inputs[at])
            assert array is not None
            values = np.broadcast_to(np.asarray(array, np.float32).reshape(-1), (x.channels,))
            shared = make_constant(node.inputs[at].name or "", "bias", values)  # type: ignore[union-attr]
            kernel = ColumnTile(ColumnAffine(x.channels, False, low, high))
            plan = StreamPlan(
                label(node), title(node), (Stream(x, 4 * x.channels),), (Stream(y, 4 * x.channels),),
                x.pixels, kernel, shared=(shared,),
            )  # fmt: skip
            self.plans.append(plan)
            return
        left, right = self.tensor(node.inputs[0], node), self.tensor(node.inputs[1], node)
        y = self._new(node.outputs[0])
        inputs = (Stream(left, 4), Stream(right, 4))
        self._stream(node, inputs, (Stream(y, 4),), y.elements, AddTile(Add(low, high)), 16)

    def clip(self, node: ir.Node) -> None:
        """Relu and Clip that could not be fused."""
        x, y = self.tensor(node.inputs[0], node), self._new(node.outputs[0])
        kernel = ClipTile(Clip(*open_bounds(clip_bounds(node) or NO_BOUNDS)))
        self._stream(node, (Stream(x, 4),), (Stream(y, 4),), y.elements, kernel, 16)

    def softmax(self, node: ir.Node) -> None:
        """Softmax along the innermost axis."""
        x, y = self.tensor(node.inputs[0], node), self._new(node.outputs[0])
        row = 4 * x.channels
        kernel = SoftmaxTile(Softmax(x.channels))
        self._stream(node, (Stream(x, row),), (Stream(y, row),), x.pixels, kernel, 1)

    def _stream(
        self,
        node: ir.Node,
        inputs: tuple[Stream, ...],
        outputs: tuple[Stream, ...],
        units: int,
        kernel: TileKernel,
        granule: int,
        format: str = "fp32",
    ) -> None:
        self.plans.append(
            StreamPlan(label(node), title(node), inputs, outputs, units, kernel, granule, format)
        )

    def pool(self, node: ir.Node) -> None:
        """MaxPool and AveragePool."""
        x, y = self.tensor(node.inputs[0], node), self._new(node.outputs[0])
        average = node.op_type == "AveragePool"
        count_pad = bool(integer(node, "count_include_pad", 0))
        geometry = geometry_of(node, x.shape, y.shape)
        self.plans.append(PoolPlan(label(node), title(node), x, y, geometry, average, count_pad, self.target))

    def global_pool(self, node: ir.Node) -> None:
        """GlobalAveragePool and the mean over height and width."""
        x, y = self.tensor(node.inputs[0], node), self._new(node.outputs[0])
        self.plans.append(GlobalPoolPlan(label(node), title(node), x, y))

    def reshape(self, node: ir.Node) -> None:
        """Flatten, Reshape, Squeeze, Unsqueeze, Identity: an alias where the order in memory stays."""
        x, value = self.tensor(node.inputs[0], node), node.outputs[0]
        shape = shape_of(value, node)
        if not value.is_graph_output() and ((ordered(x.shape) and ordered(shape)) or x.shape == shape):
            self.tensors[value] = Tensor(value.name or "", shape, x.storage)
            return
        if not ordered(x.shape) and x.shape != shape:
            last = ordered(shape)
            flat = self._new(value) if last else self._fresh(f"{value.name}_flat", (math.prod(shape),))
            n, c, h, w = x.shape
            self.plans.append(RelayoutPlan(label(node), title(node), x, flat, (n, c, h, w), to_row=True))
            if last:
                return
            x = flat
        y = self._new(value)
        if not ordered(shape) and x.shape != shape:
            n, c, h, w = shape
            self.plans.append(RelayoutPlan(label(node), title(node), x, y, (n, c, h, w), to_row=False))
            return
        # A graph output needs memory of its own: one image of one channel in, the same order out.
        size = math.prod(shape)
        self.plans.append(RelayoutPlan(label(node), title(node), x, y, (1, 1, 1, size), to_row=True))


BUILDERS: dict[str, Callable[[Selector, ir.Node], None]] = {
    "Conv": Selector.conv,
    "Gemm": Selector.product,
    "MatMul": Selector.product,
    "Add": Selector.add,
    "Relu": Selector.clip,
    "Clip": Selector.clip,
    "MaxPool": Selector.pool,
    "AveragePool": Selector.pool,
    "GlobalAveragePool": Selector.global_pool,
    "ReduceMean": Selector.global_pool,
    "Flatten": Selector.reshape,
    "Reshape": Selector.reshape,
    "Squeeze": Selector.reshape,
    "Unsqueeze": Selector.reshape,
    "Identity": Selector.reshape,
    "Softmax": Selector.softmax,
    "DequantizeLinear": lambda selector, node: None,
    f"{DOMAIN}.MxQuantizeDequantize": Selector.quantize,
    f"{DOMAIN}.FusedConv": Selector.conv,
    f"{DOMAIN}.FusedGemm": Selector.product,
    f"{DOMAIN}.FusedMatMul": Selector.product,
    f"{DOMAIN}.FusedAdd": Selector.add,
}
"""Operator -> method that plans it; the same keys as `potluck.compiler.rules.RULES`."""
