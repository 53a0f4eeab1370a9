"""From the graph to layers: each node becomes a plan with tensors in memory, or an alias of one.

Plans are in the order of the nodes; nothing has an address yet. How an operator is planned is declared in
`potluck.compiler.operators`.
"""

from __future__ import annotations

import onnx_ir as ir

from potluck.compiler.graph import label, operator, shape_of
from potluck.compiler.lowering.base import LayerPlan, Target, Tensor, tensor_bytes
from potluck.compiler.memory import Storage
from potluck.compiler.operators import operators
from potluck.isa.blocks import BlockLayout
from potluck.isa.errors import DataError, ModelError
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

    def run(self) -> list[LayerPlan]:
        """Plans every node; the rules have accepted them all."""
        known = operators()
        for value in self.model.graph.inputs:
            self.new(value)
        for node in self.model.graph:
            try:
                known[operator(node)].plan(self, node)
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

    def new(self, value: ir.Value, mx: BlockLayout | None = None, affine: Affine | None = None) -> Tensor:
        """The tensor of a value that a layer will write."""
        made = self.fresh(value.name or "value", shape_of(value), mx, affine)
        self.tensors[value] = made
        return made

    def fresh(
        self,
        name: str,
        shape: tuple[int, ...],
        mx: BlockLayout | None = None,
        affine: Affine | None = None,
    ) -> Tensor:
        """A tensor with memory of its own that is no value of the graph."""
        storage = Storage(name, tensor_bytes(shape, mx, affine))
        self.storages.append(storage)
        return Tensor(name, shape, storage, mx, affine=affine)
