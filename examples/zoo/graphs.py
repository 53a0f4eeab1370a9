"""Writing an ONNX graph by hand, one node a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
"""What exporters write today; the compiler converts it."""


class GraphBuilder:
    """Nodes in order, with names by where they stand: ``layers.0.query.matmul``.

    Attributes:
        nodes: So far.
        initializers: By name.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._scope: list[str] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def enter(self, name: str) -> None:
        """Names of what follows begin with ``name``."""
        self._scope.append(name)

    def leave(self) -> None:
        """Ends what `enter` began."""
        self._scope.pop()

    def input(self, name: str, dtype: int, shape: Sequence[int]) -> str:
        """An input of the network; ``dtype`` is a `TensorProto` type."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def output(self, value: str, name: str, shape: Sequence[int]) -> None:
        """Makes an FP32 value an output of the network."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}.identity"))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """A constant of the network; one of a name that is taken is the one that is there."""
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def integers(self, *values: int) -> str:
        """A constant INT64 vector, such as a shape."""
        return self.constant("int64_" + "_".join(str(value) for value in values), np.array(values, np.int64))

    def number(self, value: float) -> str:
        """A constant FP32 scalar."""
        return self.constant(f"float_{value!r}", np.array(value, np.float32))

    def op(self, op_type: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """A node with one output.

        Args:
            op_type: Operator.
            inputs: Values.
            name: Behind the scope; the operator unless given.
            attributes: Of the operator.

        Returns:
            Its output.
        """
        label = ".".join([*self._scope, name or f"{op_type.lower()}_{len(self.nodes)}"])
        self.nodes.append(helper.make_node(op_type, list(inputs), [label], name=label, **attributes))
        return label

    def model(self, name: str) -> onnx.ModelProto:
        """The network."""
        graph = helper.make_graph(
            self.nodes, name, self._inputs, self._outputs, list(self.initializers.values())
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
