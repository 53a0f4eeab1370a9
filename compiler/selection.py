"""From the graph to layers: each node becomes a plan with tensors in memory, or an alias of one.

Plans are in the order of the nodes; nothing has an address yet. How an operator is planned is declared in
`potluck.compiler.operators`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.nodes import constant, label, operator, shape_of
from potluck.compiler.graph.reading import ordered
from potluck.compiler.lowering.base import FORMAT_NAMES, Constant, LayerPlan, Target, Tensor, tensor_bytes
from potluck.compiler.lowering.base import constant as make_constant
from potluck.compiler.lowering.boxes import Axis, Box
from potluck.compiler.lowering.move import Piece, moves
from potluck.compiler.lowering.stream import RelayoutPlan
from potluck.compiler.operators import operators
from potluck.compiler.schedule.memory import Storage
from potluck.isa.errors import DataError, ModelError
from potluck.isa.formats.blocks import BlockLayout
from potluck.kernels.elementwise_int8 import Affine


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
        self._reordered: dict[tuple[int, bool], Tensor] = {}

    def run(self) -> list[LayerPlan]:
        """Plans every node; the rules have accepted them all."""
        known = operators()
        for value in self.model.graph.inputs:
            self.new(value, channels_last=self.target.flat or self.seen_as_image(value))
        for node in self.model.graph:
            try:
                known[operator(node)].plan(self, node)
            except DataError as error:  # a kernel refuses the shape
                raise ModelError(error.message, node=label(node), hint=error.hint) from error
        for value in self.model.graph.outputs:
            self._output(value)
        self.plans = [plan for plan in self.plans if any(tensor.elements for tensor in plan.writes())]
        for value in self.model.graph.outputs if self.target.flat else ():
            tensor = self.tensors[value]
            if len(tensor.shape) == 4 and not tensor.channels_last:  # as files have them
                self.tensors[value] = replace(self.ordered(tensor, channels_last=True), name=tensor.name)
        return self.plans

    def _output(self, value: ir.Value) -> None:
        """Gives an output that no layer computes its value: it was known when the network was compiled.

        Raises:
            ModelError: Its operator does not compute this output.
        """
        if value in self.tensors:
            return
        array = constant(value)
        if array is None:
            producer = value.producer()
            name = label(producer) if producer is not None else None
            raise ModelError(f"its output {value.name!r} is not computed", node=name)
        held, y = self.held(array, value.name or ""), self.new(value)
        self.plans += moves(y.name, "Constant", [Piece(held, Box((Axis(y.elements, 1, 1),)))], y)

    def held(self, array: NDArray[np.generic], name: str, channels_last: bool = False) -> Constant:
        """A constant of the graph as the program carries it.

        Args:
            array: Its value.
            name: In the manifest.
            channels_last: Whether one of four dimensions lies as NHWC.
        """
        stored = array.transpose(0, 2, 3, 1) if channels_last and array.ndim == 4 else array
        return make_constant(
            name, "values", stored, FORMAT_NAMES.get(array.dtype.name, array.dtype.name.upper())
        )

    def seen_as_image(self, value: ir.Value) -> bool:
        """Whether the first operators that care about the order of a value's elements take it as NHWC."""
        todo, seen = [value], set[ir.Value]()
        while todo:
            current = todo.pop(0)
            if current in seen or current.shape is None or len(current.shape) != 4:
                continue
            seen.add(current)
            for node in current.consumers():
                order = operators()[operator(node)].order
                if order == "any":
                    todo += node.outputs
                elif order is not None:
                    return order == "NHWC"
        return False

    def tensor(self, value: ir.Value | None, node: ir.Node, channels_last: bool | None = None) -> Tensor:
        """The tensor of an activation.

        Args:
            value: Of the graph.
            node: Who asks.
            channels_last: The order that a tensor of four dimensions must have; a layer that brings it into that
                order is added if needed. None takes any.

        Raises:
            ModelError: It is a constant, or nothing has computed it.
        """
        if value is None or value not in self.tensors:
            name = value.name if value is not None else None
            raise ModelError(
                f"its input {name!r} is a constant", node=label(node), hint="Fold constants first"
            )
        found = self.tensors[value]
        if channels_last is None or len(found.shape) != 4 or found.channels_last == channels_last:
            return found
        return self.ordered(found, channels_last)

    def ordered(self, x: Tensor, channels_last: bool) -> Tensor:
        """A tensor of four dimensions in another order; made once."""
        key = (id(x), channels_last)
        if key not in self._reordered:
            n, c, h, w = x.shape
            if ordered(x.shape):
                made = replace(x, channels_last=channels_last)
            else:
                suffix = "nhwc" if channels_last else "nchw"
                made = self.fresh(f"{x.name}_{suffix}", x.shape, x.dtype, channels_last, affine=x.affine)
                plan = RelayoutPlan(made.name, "Transpose", x, made, (n, c, h, w), to_row=not channels_last)
                self.plans.append(plan)
            self._reordered[key] = made
        return self._reordered[key]

    def new(
        self,
        value: ir.Value,
        mx: BlockLayout | None = None,
        channels_last: bool = False,
        affine: Affine | None = None,
    ) -> Tensor:
        """The tensor of a value that a layer will write.

        Args:
            value: Of the graph.
            mx: Its MX format, if it has one.
            channels_last: The order of its elements, if it has four dimensions.
            affine: Scale and zero point of the 8-bit codes that it holds.
        """
        shape = shape_of(value)
        dtype = value.dtype.numpy().name if value.dtype is not None else "float32"
        last = channels_last and len(shape) == 4
        made = self.fresh(value.name or "value", shape, dtype, last, mx, affine)
        self.tensors[value] = made
        return made

    def fresh(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str = "float32",
        channels_last: bool = False,
        mx: BlockLayout | None = None,
        affine: Affine | None = None,
    ) -> Tensor:
        """A tensor with memory of its own that is no value of the graph."""
        dtype = dtype if affine is None else affine.dtype.name
        made = Tensor(name, shape, Storage(name, 0), dtype, channels_last, mx, affine=affine)
        made.storage.bytes = tensor_bytes(made)
        self.storages.append(made.storage)
        return made
