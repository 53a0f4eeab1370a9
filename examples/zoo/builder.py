"""Graphs of convolutional networks from PyTorch's state dicts, node by node, BatchNormalization left in the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from potluck.isa.errors import DataError

OPSET, IR_VERSION = 20, 10


class Builder:
    """Makes nodes in order; a value is its name.

    Args:
        weights: The state dict. Every tensor of it must be used, but for counters of training.
        unused: Names that may be left over.
    """

    def __init__(self, weights: Mapping[str, NDArray[Any]], unused: Sequence[str] = ()) -> None:
        self._weights, self._unused = weights, tuple(unused)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._taken: set[str] = set()

    def tensor(self, name: str, shape: Sequence[int]) -> str:
        """A tensor of the state dict as an initializer.

        Raises:
            DataError: It is missing, or has another shape.
        """
        found = self._weights.get(name)
        if found is None:
            raise DataError("the checkpoint lacks it", tensor=name)
        if found.shape != tuple(shape):
            raise DataError(
                f"the checkpoint has the shape {list(found.shape)} for it, not {list(shape)}", tensor=name
            )
        self._taken.add(name)
        return self.constant(name, found.astype(np.float32))

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """An initializer."""
        self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def node(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """A node of one output, which has the node's name."""
        self._nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def conv(
        self, x: str, name: str, shape: Sequence[int], *, stride: int = 1, pads: Sequence[int] | None = None,
        group: int = 1, bias: bool = False,
    ) -> str:  # fmt: skip
        """A convolution with the tensors ``name.weight`` and, if asked for, ``name.bias``.

        Args:
            x: Input.
            name: Of the layer in the state dict.
            shape: Of the weights: outputs, inputs per group, height, width.
            stride: In both directions.
            pads: Top, left, bottom, right; those that keep the size at stride 1 unless given.
            group: Number of groups.
            bias: Whether it has one.
        """
        inputs = [x, self.tensor(f"{name}.weight", shape)]
        if bias:
            inputs.append(self.tensor(f"{name}.bias", shape[:1]))
        kernel = list(shape[2:])
        return self.node(
            "Conv", name, *inputs, kernel_shape=kernel, strides=[stride, stride], group=group,
            pads=list(pads) if pads is not None else [k // 2 for k in kernel] * 2,
        )  # fmt: skip

    def norm(self, x: str, name: str, channels: int, epsilon: float = 1e-5) -> str:
        """BatchNormalization as in inference."""
        parts = ("weight", "bias", "running_mean", "running_var")
        return self.node(
            "BatchNormalization",
            name,
            x,
            *(self.tensor(f"{name}.{part}", [channels]) for part in parts),
            epsilon=epsilon,
        )

    def relu6(self, x: str, name: str) -> str:
        """A rectifier that saturates at 6."""
        low = self.constant("zero", np.array(0, np.float32))
        return self.node("Clip", name, x, low, self.constant("six", np.array(6, np.float32)))

    def linear(self, x: str, name: str, inputs: int, outputs: int) -> str:
        """A fully connected layer."""
        weight = self.tensor(f"{name}.weight", [outputs, inputs])
        return self.node("Gemm", name, x, weight, self.tensor(f"{name}.bias", [outputs]), transB=1)

    def model(self, name: str, shape: Sequence[int], output: str, classes: int) -> onnx.ModelProto:
        """The network: ``input`` float32 [batch, *shape], ``logits`` float32 [batch, classes].

        Raises:
            DataError: The state dict has a tensor that nothing uses: it belongs to another network.
        """
        free = ("num_batches_tracked", *self._unused)
        left = [key for key in self._weights if key not in self._taken and not key.endswith(free)]
        if left:
            raise DataError(f"no layer of {name} uses this tensor of the checkpoint", tensor=left[0])
        self._nodes[-1].output[0] = "logits"
        assert self._nodes[-1].name == output
        graph = helper.make_graph(
            self._nodes, name,
            [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["batch", *shape])],
            [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", classes])],
            list(self._initializers.values()),
        )  # fmt: skip
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="potluck.zoo",
        )
        onnx.checker.check_model(model, full_check=True)
        return model
