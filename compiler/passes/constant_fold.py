"""Evaluates what does not depend on the inputs, and removes operators that do nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from potluck.compiler.graph.known_values import fold_known, kept
from potluck.compiler.graph.nodes import drop_unused, is_op
from potluck.compiler.passes.base import GraphPass


def _name_type(node: ir.Node) -> None:
    """Makes a Cast of CastLike, if the type is known."""
    like = node.inputs[1]
    if like is not None and like.dtype is not None:
        node.op_type = "Cast"
        node.attributes["to"] = ir.AttrInt64("to", int(like.dtype))
        node.resize_inputs(1)


@dataclass(frozen=True)
class ConstantFold(GraphPass):
    """Folds constants with the reference evaluator; removes Identity and inference-time Dropout.

    Attributes:
        size_limit: Largest tensor, in elements, that is computed at compile time.
    """

    name: ClassVar[str] = "constant_fold"
    size_limit: int = 1 << 26

    def run(self, model: ir.Model) -> int:
        """See `GraphPass.run`."""
        from onnxscript.optimizer import _constant_folding  # half a second to import

        before = len(model.graph)
        for node in list(model.graph):  # onnxscript would make a Cast of it that forgets how to round
            if is_op(node, "CastLike"):
                _name_type(node)
        # It warns of every node in a function body whose attribute the caller gives; such nodes are simply kept.
        _constant_folding.logger.setLevel(logging.ERROR)
        while True:
            _constant_folding.FoldConstantsPass(
                shape_inference=True,
                input_size_limit=self.size_limit,
                output_size_limit=self.size_limit,
                should_fold=lambda node: False if kept(node) else None,
            )(model)
            LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
            if not fold_known(model, self.size_limit):
                break
        for node in list(model.graph):
            if is_op(node, "Identity", "Dropout") and self._removable(node):
                source = node.inputs[0]
                assert source is not None
                node.outputs[0].replace_all_uses_with(source)
                model.graph.remove(node, safe=True)
        drop_unused(model.graph)
        return before - len(model.graph)

    @staticmethod
    def _removable(node: ir.Node) -> bool:
        # An output of the graph has to keep its name, and Dropout's mask has no other source.
        if any(output.is_graph_output() for output in node.outputs):
            return False
        training = node.inputs[2] if node.op_type == "Dropout" and len(node.inputs) > 2 else None
        return training is None and not any(output.uses() for output in node.outputs[1:])
