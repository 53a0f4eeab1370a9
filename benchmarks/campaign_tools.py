"""The packaged ResNet-8 in PyTorch with one flipped weight at a time: by hand, by PyTorchFI and by MRFI.

PyTorchFI 0.6.0 and MRFI 2.1.0 are taken as their users have them: one declared fault, then one image. MRFI finds the
weights of a fault by its tree of modules; the tree is walked once for each fault, as its `get_weights_configs` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Flip = tuple[str, int, int]
"""Tensor, element in the order of the network (OIHW), bit."""
Images = NDArray[np.float32]
Run = Callable[[list[Flip], Images], Iterator[NDArray[np.float32]]]
"""Answers of flips, each on the image with its number modulo their count."""

torch.set_num_threads(1)


class Network(nn.Module):
    """An ONNX graph of convolutions, additions, a pooling and a product, its weights as parameters of modules.

    Args:
        graph: batch normalization is folded into weights.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        super().__init__()
        held = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in graph.initializer}
        self.output = graph.output[0].name
        self.weights: dict[str, nn.Parameter] = {}
        self.steps: list[tuple[str, list[str], str, bool]] = []
        for node in graph.node:
            kind = node.op_type.removeprefix("Fused")
            clipped = node.op_type != kind
            self.steps.append((kind, list(node.input), node.output[0], clipped))
            if kind not in ("Conv", "Gemm"):
                continue
            weight, bias = held[node.input[1]], held[node.input[2]]
            if kind == "Conv":
                given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
                made: nn.Module = nn.Conv2d(
                    weight.shape[1], weight.shape[0], tuple(weight.shape[2:]), tuple(given["strides"]),
                    tuple(given["pads"][:2]),
                )  # fmt: skip
            else:
                made = nn.Linear(weight.shape[1], weight.shape[0])
            made.weight, made.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
            self.add_module(node.output[0], made)
            self.weights[node.input[1]] = made.weight
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """Logits of images (n, 1, height, width)."""
        values = {self.steps[0][1][0]: image}
        for kind, inputs, output, clipped in self.steps:
            first = values[inputs[0]]
            if kind in ("Conv", "Gemm"):
                value = self._modules[output](first)
            elif kind == "Add":
                value = first + values[inputs[1]]
            elif kind == "GlobalAveragePool":
                value = first.mean((2, 3), keepdim=True)
            else:
                value = first.flatten(1)
            values[output] = value.relu() if clipped else value
        return values[self.output]


def bare(graph: onnx.GraphProto) -> Run:
    """Flip a bit in place, run, and restore it."""
    network = Network(graph)
    views = {name: weight.data.view(-1).view(torch.int32) for name, weight in network.weights.items()}

    def run(flips: list[Flip], images: Images) -> Iterator[NDArray[np.float32]]:
        tensors = torch.from_numpy(images)
        masks = [1 << bit if bit < 31 else -(1 << 31) for _, _, bit in flips]
        with torch.no_grad():
            for k, ((name, element, _), mask) in enumerate(zip(flips, masks, strict=True)):
                weights = views[name]
                weights[element] ^= mask
                at = k % len(tensors)
                answer = network(tensors[at : at + 1])
                weights[element] ^= mask
                yield answer.numpy()

    return run


def pytorchfi(graph: onnx.GraphProto) -> Run:
    """PyTorchFI: a fault is declared by layer, index and value.

    Raises:
        ImportError: it is not installed.
    """
    from pytorchfi.core import fault_injection

    network = Network(graph)
    # The tool counts layers in the order of modules.
    order = [name for module in network.modules() for name, held in network.weights.items()
             if isinstance(module, nn.Conv2d) and module.weight is held]  # fmt: skip

    def run(flips: list[Flip], images: Images) -> Iterator[NDArray[np.float32]]:
        injector = fault_injection(network, 1, input_shape=list(images.shape[1:]), layer_types=[nn.Conv2d])
        tensors = torch.from_numpy(images)
        with torch.no_grad():
            for k, (name, element, bit) in enumerate(flips):
                weight = network.weights[name]
                place = np.unravel_index(element, weight.shape)
                raw = np.array(weight[place].item(), np.float32).view(np.uint32) ^ np.uint32(1 << bit)
                faulty = injector.declare_weight_fi(
                    layer_num=[order.index(name)], k=[place[0]], dim1=[place[1]], dim2=[place[2]], dim3=[place[3]],
                    value=[float(raw.view(np.float32))],
                )  # fmt: skip
                at = k % len(tensors)
                yield faulty(tensors[at : at + 1]).numpy()

    return run


def mrfi(graph: onnx.GraphProto) -> Run:
    """MRFI: one configuration of weights per layer, of which a fault enables one and says where and which bit.

    Raises:
        ImportError: it is not installed.
    """
    from mrfi import MRFI, EasyConfig

    config: dict[str, Any] = {"faultinject": [{
        "type": "weight", "name": ["weight"], "enabled": False, "module_type": ["Conv2d"],
        "selector": {"method": "FixPosition", "position": 0},
        "error_mode": {"method": "FloatFixedBitFlip", "bit": 0, "floattype": "float32"},
    }]}  # fmt: skip
    network = Network(graph)
    injector = MRFI(network, EasyConfig(config))
    modules = {
        id(module.weight): name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)
    }
    trees = {
        name: getattr(injector.config.sub_modules, modules[id(weight)]).weights[0]
        for name, weight in network.weights.items()
        if id(weight) in modules
    }

    def run(flips: list[Flip], images: Images) -> Iterator[NDArray[np.float32]]:
        tensors = torch.from_numpy(images)
        for k, (name, element, bit) in enumerate(flips):
            tree = trees[name]
            tree.selector.args.position, tree.error_mode.args.bit, tree.enabled = element, bit, True
            at = k % len(tensors)
            answer = injector(tensors[at : at + 1]).numpy()
            with torch.no_grad():
                network.weights[name].copy_(
                    tree.weight_copy
                )  # it restores what it runs again, and this layer rests
            tree.enabled = False
            yield answer

    return run
