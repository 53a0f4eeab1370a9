"""What an operator of the compiler is: when a node of it can be compiled, and how it is planned.

Each is declared once, in a module of this package:

    @operator("Softmax", rule=_softmax)
    def plan(selector, node): ...

The rule reads only the graph, so that the whole network is judged before anything is tiled or packed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import onnx_ir as ir

from potluck.compiler.graph.nodes import label, shape_of, title
from potluck.compiler.lowering.stream import Stream, StreamPlan
from potluck.compiler.schedule.layer import TileKernel
from potluck.isa.errors import ModelError

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector

Rule = Callable[[ir.Node], str | None]
"""Why a node of its operator is not supported, in words that say what would be taken; None if it is."""
Order = Literal["NHWC", "row", "any"]
"""How an operator takes inputs of four dimensions: channels last, in the order of the dimensions, or either."""
Plan = Callable[["Selector", ir.Node], None]
"""Adds a node's layers and tensors to the selector; the rule has accepted the node."""


@dataclass(frozen=True)
class Operator:
    """One operator that compiles.

    Attributes:
        name: As `potluck.compiler.graph.nodes.operator` spells it.
        rule: When it does not.
        plan: How.
        order: Of its inputs; None if it does not say, like weights.
    """

    name: str
    rule: Rule
    plan: Plan
    order: Order | None


TYPES = tuple(
    ir.DataType[name] for name in ("FLOAT", "INT32", "INT64", "BOOL", "INT8", "UINT8", "INT16", "UINT16")
)
"""Types of tensors that pointwise kernels and data movement take."""
HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
"""Types that are FP32 in registers, rounded once."""
UNSIGNED = (ir.DataType.UINT32, ir.DataType.UINT64)
SMALL = tuple(
    ir.DataType[name]
    for name in ("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0", "FLOAT4E2M1",
                 "INT4", "UINT4", "INT2", "UINT2")
)  # fmt: skip
"""Types whose elements are codes of a byte each in memory."""
MOVED = (*TYPES, *HALVES, *UNSIGNED, ir.DataType.DOUBLE, *SMALL)
"""Types of tensors that are moved: elements of whole bytes."""
REGISTERED: dict[str, Operator] = {}
"""Every operator of the modules imported so far; `potluck.compiler.operators.operators` imports them all."""


def operator(*names: str, rule: Rule, order: Order | None = "any") -> Callable[[Plan], Plan]:
    """Registers a plan for operators; fused ones are called ``potluck.Fused...``."""

    def register(plan: Plan) -> Plan:
        for name in names:
            assert name not in REGISTERED, f"operator {name} is declared twice"
            REGISTERED[name] = Operator(name, rule, plan, order)
        return plan

    return register


def floats(node: ir.Node) -> str | None:
    """Refuses nodes whose first input or output is not FP32, or of unknown shape."""
    for value in (*node.inputs[:1], *node.outputs[:1]):
        if value is not None and value.dtype not in (None, ir.DataType.FLOAT):
            assert value.dtype is not None
            return f"its tensor {value.name!r} is {value.dtype.name}, only FLOAT is computed"
    return shapes(node)


def typed(node: ir.Node, types: Collection[ir.DataType] = TYPES) -> str | None:
    """Refuses nodes with a tensor of a type that is not computed, or of unknown shape."""
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.dtype is not None and value.dtype not in types:
            return f"its tensor {value.name!r} is {value.dtype.name}, which is not computed"
    return shapes(node)


def movable(node: ir.Node) -> str | None:
    """Refuses nodes with a tensor of a type that is not moved, or of unknown shape."""
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.dtype not in (None, *MOVED):
            assert value.dtype is not None
            return f"its tensor {value.name!r} is {value.dtype.name}, which is not moved"
    return shapes(node)


def shapes(node: ir.Node) -> str | None:
    """Refuses nodes with a tensor of unknown shape."""
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.shape is None and value.uses():
            return f"the shape of its tensor {value.name!r} is not known"
    try:
        for value in (*node.inputs[:1], *node.outputs[:1]):
            if value is not None:
                shape_of(value, node)
    except ModelError as error:
        return error.message
    return None


def images(node: ir.Node) -> str | None:
    """Refuses what `floats` does, and inputs that are not images."""
    reason = floats(node)
    if reason:
        return reason
    data = node.inputs[0]
    assert data is not None
    rank = len(shape_of(data, node))
    return None if rank == 4 else f"its input has {rank} dimensions, only images (4) have kernels"


def innermost_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The ONNX axes that can be innermost in memory: the last, and the channels of an image (NHWC)."""
    return (1, 3) if len(shape) == 4 else (len(shape) - 1,)


def channels_innermost(node: ir.Node, axis: int) -> bool:
    """Whether an axis of the first input is innermost in memory if, and only if, its image lies as NHWC."""
    assert node.inputs[0] is not None
    shape = shape_of(node.inputs[0], node)
    return len(shape) == 4 and axis % 4 == 1


def stream(
    selector: Selector,
    node: ir.Node,
    inputs: tuple[Stream, ...],
    outputs: tuple[Stream, ...],
    units: int,
    kernel: TileKernel,
    granule: int,
    format: str = "fp32",
) -> None:
    """Adds a layer that walks through memory, see `StreamPlan`."""
    plan = StreamPlan(label(node), title(node), inputs, outputs, units, kernel, granule, format)
    selector.plans.append(plan)
