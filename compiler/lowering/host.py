"""Nodes that the host computes (`potluck.isa.host`): layers that are one host call each, from DRAM to DRAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from potluck.compiler.engine import OnnxEngine
from potluck.compiler.lowering.base import LayerPlan, Target, Tensor
from potluck.compiler.schedule.layer import LoweredOp, Memory, Tile
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.host import HOST_CALL, Host
from potluck.isa.manifest import HostNode
from potluck.isa.manifest import Tensor as ManifestTensor

FORMAT = "host"
"""Format of the layer in reports."""


@dataclass(frozen=True)
class HostTile:
    """Arguments: index of the node, and whether this hart makes the call.

    Attributes:
        node: What is computed.
    """

    node: HostNode

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        others = a.fresh("host_call_over")
        a("beqz", "a1", others)
        a("li", "a7", HOST_CALL)
        a("ecall")
        a.label(others)

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        if args[1]:
            Host([self.node], OnnxEngine()).call(0, memory.view, memory.view)


@dataclass(eq=False)
class HostPlan(LayerPlan):
    """A node that the host computes.

    Attributes:
        name: Node.
        op: Operator.
        index: In the manifest's list.
        reason: Why the machine does not compute it.
        model: ONNX model of the node with its constants, as base64.
        inputs: Activations, with the model's names for them.
        outputs: Activations, with the model's names for them.
    """

    name: str
    op: str
    index: int
    reason: str
    model: str
    inputs: tuple[tuple[str, Tensor], ...]
    outputs: tuple[tuple[str, Tensor], ...]

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return [tensor for _, tensor in self.inputs]

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return [tensor for _, tensor in self.outputs]

    def node(self) -> HostNode:
        """The manifest's entry; addresses are those of now."""
        inputs, outputs = ([in_memory(x, name) for name, x in side] for side in (self.inputs, self.outputs))
        return HostNode(self.name, self.op, self.reason, self.model, inputs, outputs)

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        node = self.node()
        calls = tuple((self.index, int(hart == 0)) for hart in range(target.harts))
        operands = [part for tensor in self.reads() for part in tensor.operands("input")]
        operands += [part for tensor in self.writes() for part in tensor.operands("output")]
        written = tuple((item.address, item.address + item.held) for item in node.outputs)
        tiles = (Tile((), (), calls, "host call"),)
        return LoweredOp(
            self.name, self.op, HostTile(node), (), (), tiles, tuple(operands), format=FORMAT, written=written
        )


def in_memory(tensor: Tensor, name: str) -> ManifestTensor:
    """A tensor as the manifest has it."""
    size = tensor.item_bytes * tensor.elements
    return ManifestTensor(name, tensor.dtype, list(tensor.shape), tensor.layout, tensor.address, size)
