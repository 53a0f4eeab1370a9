"""A quantized ONNX graph as a PyTorch module: gradients pass through every rounding as if it were not there.

Weights stay between the levels of their grids and are rounded wherever they are used (the straight-through estimator
of arXiv 1308.3432); a weight beyond its outermost level gets no gradient that pulls it further. Scales stay. What the
scheme made of a weight or an activation is read from the graph, so every scheme is trained by the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from potluck.compiler.graph.nodes import DOMAIN, constant, is_op, label, written
from potluck.compiler.ptq import bias
from potluck.compiler.ptq.products import Product, product_of
from potluck.compiler.ptq.runner import Runner
from potluck.compiler.ptq.weights import QuantizedWeight, neighbours, quantized_weight
from potluck.isa.errors import ModelError
from potluck.train.operators import OPERATORS

Values = dict[ir.Value, Tensor]
CODES = {
    ir.DataType.INT4: (-8, 7),
    ir.DataType.UINT4: (0, 15),
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT16: (-32768, 32767),
    ir.DataType.UINT16: (0, 65535),
}
ROUNDING = ("MxQuantizeDequantize", "MxIntegerQuantizeDequantize", "NvQuantizeDequantize")
"""Functions that only round: NumPy computes them."""
INSIDE = 1e-3
"""Part of a step that a weight starts away from the border to its neighbour."""


class TrainableWeight(nn.Module):
    """Weights of one product.

    Args:
        held: Their levels, codes and scales.
        exact: FP32 weights that they stand for, in the same shape. A weight starts as near to its own as it can without
            another code than it has.
    """

    levels: Tensor
    scales: Tensor
    borders: Tensor

    def __init__(self, held: QuantizedWeight, exact: NDArray[np.floating[Any]]) -> None:
        super().__init__()
        levels = held.levels
        borders = (levels[1:] + levels[:-1]) / 2
        at = np.searchsorted(levels, held.ratio)
        low = np.concatenate([levels[:1] - 1, borders])[at]
        high = np.concatenate([borders, levels[-1:] + 1])[at]
        margin = INSIDE * (high - low)
        ratio = np.clip(exact / held.scales, low + margin, high - margin)
        below, above = neighbours(held.ratio, levels)
        self.held = held
        self.step = float(np.mean(above - below)) or 1.0
        """The mean distance between levels about the weights; `ratio` is in these units, so that one rate fits all."""
        self.ratio = nn.Parameter(torch.tensor(ratio / self.step, dtype=torch.float32))
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float32))
        self.register_buffer("borders", torch.tensor(borders, dtype=torch.float32))
        self.register_buffer("scales", torch.tensor(np.array(held.scales), dtype=torch.float32))

    def nearest(self) -> Tensor:
        """The level of every weight; halves go up."""
        ratio = self.ratio.detach() * self.step
        return self.levels[torch.bucketize(ratio, self.borders, right=True)]

    def forward(self) -> Tensor:
        """Rounded weights."""
        free = (self.ratio * self.step).clamp(self.levels[0], self.levels[-1])
        return (free + (self.nearest() - free).detach()) * self.scales

    def write(self) -> None:
        """Puts the codes into the graph."""
        self.held.write(self.nearest().double().numpy())


class TrainableBias(nn.Module):
    """The bias [Cout] of one product, in units of how much its elements differ."""

    def __init__(self, product: Product, values: NDArray[np.float64]) -> None:
        super().__init__()
        self.product = product
        self.unit = float(np.std(values)) or 1.0
        self.values = nn.Parameter(torch.tensor(values / self.unit, dtype=torch.float32))

    def forward(self) -> Tensor:
        """[Cout]."""
        return self.values * self.unit


class TrainableNetwork(nn.Module):
    """A graph with static shapes, in FP32 or quantized.

    Args:
        model: The graph; only `write` changes it.
        exact: FP32 weights of its products, by name; products that are not in it stay as they are.

    Raises:
        ModelError: A node that has no counterpart in PyTorch here.
    """

    def __init__(self, model: ir.Model, exact: Mapping[str, NDArray[Any]] | None = None) -> None:
        super().__init__()
        self.model = model
        self._runner = Runner(model)
        self._constants: Values = {}
        self.weights, self.biases = nn.ModuleList(), nn.ModuleList()
        self._learned: dict[ir.Value, nn.Module] = {}
        for node in model.graph:
            product = product_of(node)
            if product is not None and product.name in (exact or {}) and product.weight not in self._learned:
                self._learn(product, (exact or {})[product.name])
        self._fixed: set[ir.Node] = set()
        """Nodes that follow from constants alone."""
        for node in model.graph:
            known = [
                item is None or constant(item) is not None or item.producer() in self._fixed
                for item in node.inputs
            ]
            if known and all(known):
                self._fixed.add(node)
            else:
                self._check(node)

    def _learn(self, product: Product, exact: NDArray[Any]) -> None:
        held = quantized_weight(product.weight)
        if held is None:
            return
        weight = TrainableWeight(held, np.asarray(exact, np.float64))
        self.weights.append(weight)
        self._learned[product.weight] = weight
        values = bias.current(product)
        if product.bias is not None and values is not None and len(product.bias.uses()) == 1:
            own = TrainableBias(product, values)
            self.biases.append(own)
            self._learned[product.bias] = own

    def _check(self, node: ir.Node) -> None:
        known = node.op_type in (*OPERATORS, "QuantizeLinear", "DequantizeLinear")
        if node.domain == DOMAIN:
            known = node.op_type in ROUNDING
            function = self.model.functions.get((node.domain, node.op_type, node.overload or ""))
            known = known or (function is not None and all(inner.op_type in OPERATORS for inner in function))
        elif node.domain:
            known = False
        if not known:
            raise ModelError(
                f"{written(node)} cannot be trained through", node=label(node),
                hint="Quantize without training, or keep this part out of the network that is trained",
            )  # fmt: skip

    def forward(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name, of inputs by name."""
        values: Values = {item: feed[item.name or ""] for item in self.model.graph.inputs}
        values.update({value: module() for value, module in self._learned.items()})
        for node in self.model.graph:
            if all(item in values for item in node.outputs):
                continue
            if node in self._fixed:
                self._fold(node)
                continue
            inputs = [None if item is None else self._value(item, values) for item in node.inputs]
            try:
                made = self._run(node, inputs)
            except NotImplementedError as error:
                raise ModelError(f"training through {error} is not supported", node=label(node)) from error
            for item, tensor in zip(node.outputs, made, strict=False):
                values[item] = tensor
        return {item.name or "": self._value(item, values) for item in self.model.graph.outputs}

    def _fold(self, node: ir.Node) -> None:
        """A node of constants, once."""
        if node.outputs[0] in self._constants:
            return
        given = [
            self._constants[item].numpy() for item in node.inputs if item is not None and item.producer()
        ]
        for item, array in zip(node.outputs, self._runner.run(node, given), strict=True):
            self._constants[item] = torch.tensor(np.asarray(array))

    def _value(self, value: ir.Value, values: Values) -> Tensor:
        if value in values:
            return values[value]
        if value not in self._constants:
            array = constant(value)
            assert array is not None
            self._constants[value] = torch.tensor(array)
        return self._constants[value]

    def _run(self, node: ir.Node, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
        if is_op(node, *ROUNDING, domain=DOMAIN):
            x = inputs[0]
            assert x is not None
            rounded = self._runner.run(node, [x.detach().numpy()])[0]
            return [x + (torch.from_numpy(np.asarray(rounded)) - x).detach()]
        if node.op_type == "QuantizeLinear":
            assert node.outputs[0].dtype is not None
            return [_quantized(inputs, node.attributes.get("axis"), CODES[node.outputs[0].dtype])]
        if node.op_type == "DequantizeLinear":
            return [_dequantized(inputs, node.attributes.get("axis"))]
        if node.domain == DOMAIN:
            return self._call(node, inputs)
        return _tuple(OPERATORS[node.op_type](inputs, _attributes(node, {})))

    def _call(self, node: ir.Node, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
        """A function by its body."""
        function = self.model.functions[(node.domain, node.op_type, node.overload or "")]
        given = _attributes(node, {})
        local: dict[ir.Value, Tensor | None] = dict(zip(function.inputs, inputs, strict=False))
        for inner in function:
            read = [None if item is None else local[item] for item in inner.inputs]
            made = _tuple(OPERATORS[inner.op_type](read, _attributes(inner, given)))
            local.update(zip(inner.outputs, made, strict=False))
        return [tensor for item in function.outputs if (tensor := local[item]) is not None]

    def write(self) -> None:
        """Puts codes and biases into the graph."""
        for weight in self.weights:
            assert isinstance(weight, TrainableWeight)
            weight.write()
        for own in self.biases:
            assert isinstance(own, TrainableBias)
            held = quantized_weight(own.product.weight)
            bias.write(self.model, own.product, own().detach().double().numpy(), held)


def _tuple(made: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return made if isinstance(made, tuple) else (made,)


def _attributes(node: ir.Node, given: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as plain values; those that refer to a function's are looked up in `given`."""
    found = {}
    for name, attribute in node.attributes.items():
        if attribute.is_ref():
            if (outer := attribute.ref_attr_name or "") in given:
                found[name] = given[outer]
            continue
        value = attribute.value
        found[name] = torch.tensor(value.numpy()) if isinstance(value, ir.TensorProtocol) else value
    return found


def _spread(numbers: Tensor, x: Tensor, axis: ir.Attr | None) -> Tensor:
    """One number, or one per index of an axis, beside a tensor."""
    if numbers.numel() == 1:
        return numbers.reshape(())
    at = (axis.as_int() if axis is not None else 1) % x.ndim
    return numbers.reshape([-1 if index == at else 1 for index in range(x.ndim)])


def _quantized(inputs: Sequence[Tensor | None], axis: ir.Attr | None, bounds: tuple[int, int]) -> Tensor:
    x, scale = inputs[0], inputs[1]
    assert x is not None and scale is not None
    ratio = x / _spread(scale, x, axis)
    codes = ratio + (torch.round(ratio) - ratio).detach()
    if len(inputs) > 2 and inputs[2] is not None:
        codes = codes + _spread(inputs[2].float(), x, axis)
    return codes.clamp(*bounds)


def _dequantized(inputs: Sequence[Tensor | None], axis: ir.Attr | None) -> Tensor:
    x, scale = inputs[0], inputs[1]
    assert x is not None and scale is not None
    if len(inputs) > 2 and inputs[2] is not None:
        x = x - _spread(inputs[2].float(), x, axis)
    return x * _spread(scale, x, axis)
