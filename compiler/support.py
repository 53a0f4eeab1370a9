"""Which nodes the machine can run: asked of the whole network at once, before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from potluck.compiler.graph import label, operator, title
from potluck.compiler.operators import rules
from potluck.compiler.passes import control_flow
from potluck.isa.errors import ModelError

CONTROL_FLOW = ("If", "Loop", "Scan")
"""Operators that the pass ``expand`` takes apart where it can."""


@dataclass(frozen=True)
class Unsupported:
    """One node that cannot be compiled.

    Attributes:
        node: Its name.
        op: Its operator, with the domain if that is not ONNX's.
        reason: Why not, in words that say what would be taken.
    """

    node: str
    op: str
    reason: str

    def __str__(self) -> str:
        return f"{self.node} ({self.op}): {self.reason}"


def unsupported(model: ir.Model) -> list[Unsupported]:
    """Every node of the graph that no rule takes, in the graph's order.

    Args:
        model: An imported network.
    """
    found, known = [], rules()
    for node in model.graph:
        op = operator(node)
        rule = known.get(op)
        reason: str | None
        if op in CONTROL_FLOW:
            reason = control_flow.reason(node)
        else:
            reason = f"the operator {op} has no kernel" if rule is None else rule(node)
        if reason:
            found.append(Unsupported(label(node), title(node), reason))
    return found


def check(model: ir.Model) -> None:
    """Raises one error that lists every unsupported node.

    Raises:
        ModelError: With the list in the text and as attribute ``unsupported``; ``node`` is the first.
    """
    found = unsupported(model)
    if found:
        raise UnsupportedError(found)


class UnsupportedError(ModelError):
    """A network with nodes that cannot be compiled.

    Attributes:
        unsupported: All of them.
    """

    def __init__(self, found: Sequence[Unsupported]) -> None:
        count = f"{len(found)} node{'s' if len(found) > 1 else ''}"
        listing = "".join(f"\n  {item}" for item in found)
        super().__init__(f"{count} cannot be compiled:{listing}\n")
        self.unsupported = tuple(found)
        self.hint = "Rewrite these nodes or cut the network before them"
