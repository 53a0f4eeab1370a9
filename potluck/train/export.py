"""From a trained PyTorch network to ONNX whose Bell Box layers are integer arithmetic.

Layers are translated by a table; `emits` adds to it:

    @emits(MyLayer)
    def my_layer(graph: Graph, layer: MyLayer, x: str) -> str: ...
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from potluck.compiler.functions import function
from potluck.compiler.graph.nodes import DOMAIN, OPSET
from potluck.compiler.importer import load
from potluck.compiler.quantize import QuantizedModel
from potluck.compiler.quantizers.bbq import forward
from potluck.compiler.quantizers.bbq_inference import BbqActivation, BbqLayer, factor_of
from potluck.isa.errors import ModelError
from potluck.train.bbq import BbqActivationQuantizer, BbqConv2d, BbqLinear

Emitter = Callable[["Graph", Any, str], str]
EMITTERS: dict[type[nn.Module], Emitter] = {}
"""How each kind of layer is written; takes the name of its input, returns that of its output."""


@dataclass
class Graph:
    """An ONNX graph that grows.

    Attributes:
        nodes: So far.
        initializers: So far.
        functions: Names of Potluck's functions in use.
        after: The module that follows in a Sequential, which the one before may take over.
        taken: Whether it has.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    after: nn.Module | None = None
    taken: bool = False

    def constant(self, name: str, array: NDArray[Any] | Tensor) -> str:
        """An initializer's name."""
        values = array.detach().cpu().numpy() if isinstance(array, Tensor) else array
        made = f"{name}_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), made))
        return made

    def codes(self, name: str, array: NDArray[np.int8]) -> str:
        """An initializer of INT4 where the codes fit, else INT8."""
        if array.max(initial=0) > 7:
            return self.constant(name, array)
        made = f"{name}_{len(self.initializers)}"
        values = array.reshape(-1).astype(int).tolist()
        self.initializers.append(helper.make_tensor(made, TensorProto.INT4, array.shape, values))
        return made

    def node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        """Adds a node; ``Bbq...`` are Potluck's functions."""
        out = f"v{len(self.nodes)}"
        domain = ""
        if operator.startswith("Bbq"):
            self.functions.add(operator)
            domain = DOMAIN
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [out], name, domain=domain, **attributes))
        return out

    def least(self) -> float:
        """0 if a ReLU follows, which is then done with, else minus infinity."""
        self.taken = isinstance(self.after, nn.ReLU)
        return 0.0 if self.taken else -math.inf


def emits(*kinds: type[nn.Module]) -> Callable[[Emitter], Emitter]:
    """Registers how layers of some kinds are written."""

    def register(emitter: Emitter) -> Emitter:
        EMITTERS.update(dict.fromkeys(kinds, emitter))
        return emitter

    return register


def export(net: nn.Module, example: Tensor) -> QuantizedModel:
    """The network as ONNX for inputs of the example's shape; ``result.save(path)`` writes it.

    Bell Box layers become ``potluck.BbqQuantize`` and ``potluck.BbqMatMul`` with codes as weights (`layer_of` in
    ONNX), so their activations are rounded to 8 bits, which training does not do.

    Args:
        net: `nn.Sequential` of layers in `EMITTERS`, trained: its scales have been set.
        example: An input, FP32.

    Raises:
        ModelError: A layer has no translation, or has never seen data.
    """
    net.eval()
    with torch.no_grad():
        shape = list(net(example).shape)
    graph = Graph()
    out = emit(graph, net, "input")
    graph.nodes.append(helper.make_node("Identity", [out], ["output"], "output"))
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        for name, dims in (("input", list(example.shape)), ("output", shape))
    ]
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "trained", values[:1], values[1:], graph.initializers),
        ir_version=11,
        producer_name="potluck",
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        functions=[ir.serde.serialize_function(function(name)) for name in sorted(graph.functions)],
    )
    model = load(proto)
    return QuantizedModel(
        model.graph,
        ir_version=model.ir_version,
        producer_name="potluck",
        functions=list(model.functions.values()),
    )


def emit(graph: Graph, module: nn.Module, x: str) -> str:
    """Writes a module and returns the name of its output.

    Raises:
        ModelError: It has no translation.
    """
    emitter = EMITTERS.get(type(module))
    if emitter is None:
        known = ", ".join(sorted(kind.__name__ for kind in EMITTERS))
        raise ModelError(
            f"the layer {type(module).__name__} has no translation to ONNX",
            hint=f"Register one with potluck.train.export.emits; known: {known}",
        )
    return emitter(graph, module, x)


def _activation(quantizer: BbqActivationQuantizer) -> BbqActivation:
    if torch.isnan(quantizer.reciprocal):
        raise ModelError(
            "a Bell Box layer has never seen data", hint="Train it, or run it once on an example"
        )
    peak, reciprocal, gamma = (
        float(item) for item in (quantizer.peak, quantizer.reciprocal, quantizer.gamma.detach())
    )
    return BbqActivation.calibrated(quantizer.kind, quantizer.block, peak, reciprocal, gamma)


def layer_of(layer: BbqLinear | BbqConv2d) -> BbqLayer:
    """What a trained layer is at inference, in NumPy.

    Raises:
        ModelError: It has never seen data.
    """
    activation = _activation(layer.activations)
    image = isinstance(layer, BbqConv2d)
    weight = layer.weight.detach().double().cpu().numpy()
    rows = weight.transpose(0, 2, 3, 1) if image else weight
    gamma = layer.weights.gamma.detach().double().cpu().numpy()
    if np.isnan(gamma).any():
        raise ModelError(
            "a Bell Box layer has never seen data", hint="Train it, or run it once on an example"
        )
    made = forward(rows.reshape(len(rows), -1), layer.weights.kind, layer.weights.block, gamma=gamma)
    codes = made.codes.reshape(rows.shape).transpose(0, 3, 1, 2) if image else made.codes.T
    bias = np.zeros(len(rows)) if layer.bias is None else layer.bias.detach().cpu().numpy()
    factor = factor_of(activation, gamma, layer.weights.kind)
    return BbqLayer(activation, np.ascontiguousarray(codes), factor, bias.astype(np.float32))


@emits(BbqLinear, BbqConv2d)
def _bbq(graph: Graph, layer: BbqLinear | BbqConv2d, x: str) -> str:
    made, image = layer_of(layer), isinstance(layer, BbqConv2d)
    kind, low = made.activation.kind, graph.least()
    inputs = [
        x,
        graph.constant("rate", np.float32(made.activation.rate)),
        graph.constant("thresholds", np.array(made.activation.thresholds, np.int32)),
    ]
    quantizer = "BbqQuantizeImage" if image else "BbqQuantize"
    q = graph.node(quantizer, inputs, block=made.activation.block, lowest=kind.lowest, multiple=kind.multiple)
    per = (-1, 1, 1) if image else (-1,)
    operands = [
        q,
        graph.codes("weight", made.weights),
        graph.constant("factor", made.factor.reshape(per)),
        graph.constant("bias", made.bias.reshape(per)),
    ]
    if not image:
        return graph.node("BbqMatMul", operands, min=low, max=math.inf)
    return graph.node("BbqConv", operands, min=low, max=math.inf, **_window(layer))


def _window(layer: nn.Conv2d | BbqConv2d) -> dict[str, Any]:
    if not isinstance(layer.padding, tuple):
        raise ModelError(f"padding {layer.padding!r} of a convolution", hint="Give it as numbers")
    return {
        "kernel_shape": list(layer.kernel_size),
        "strides": list(layer.stride),
        "dilations": list(layer.dilation),
        "pads": [*layer.padding, *layer.padding],
        "group": layer.groups,
    }


@emits(nn.Sequential)
def _sequence(graph: Graph, layers: nn.Sequential, x: str) -> str:
    modules, outer = list(layers), graph.after
    skip = False
    for index, module in enumerate(modules):
        if skip:
            skip = False
            continue
        graph.after = modules[index + 1] if index + 1 < len(modules) else None
        graph.taken = False
        x = emit(graph, module, x)
        skip = graph.taken and graph.after is not None
    graph.after, graph.taken = outer, False
    return x


@emits(nn.Linear)
def _linear(graph: Graph, layer: nn.Linear, x: str) -> str:
    product = graph.node("MatMul", [x, graph.constant("weight", layer.weight.T)])
    if layer.bias is None:
        return product
    return graph.node("Add", [product, graph.constant("bias", layer.bias)])


@emits(nn.Conv2d)
def _conv(graph: Graph, layer: nn.Conv2d, x: str) -> str:
    inputs = [x, graph.constant("weight", layer.weight)]
    if layer.bias is not None:
        inputs.append(graph.constant("bias", layer.bias))
    return graph.node("Conv", inputs, **_window(layer))


@emits(nn.BatchNorm2d)
def _norm(graph: Graph, layer: nn.BatchNorm2d, x: str) -> str:
    names = ("weight", "bias", "running_mean", "running_var")
    inputs = [x, *(graph.constant(name, getattr(layer, name)) for name in names)]
    return graph.node("BatchNormalization", inputs, epsilon=layer.eps)


@emits(nn.ReLU)
def _relu(graph: Graph, layer: nn.ReLU, x: str) -> str:
    return graph.node("Relu", [x])


@emits(nn.Flatten)
def _flatten(graph: Graph, layer: nn.Flatten, x: str) -> str:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise ModelError("Flatten of other dimensions than all but the first")
    return graph.node("Flatten", [x])


@emits(nn.AdaptiveAvgPool2d)
def _mean(graph: Graph, layer: nn.AdaptiveAvgPool2d, x: str) -> str:
    if layer.output_size not in (1, (1, 1)):
        raise ModelError(f"AdaptiveAvgPool2d to {layer.output_size}", hint="Use 1")
    return graph.node("GlobalAveragePool", [x])


@emits(nn.Identity, nn.Dropout)
def _nothing(graph: Graph, layer: nn.Module, x: str) -> str:
    return x
