"""Which nodes the machine can run: asked of the whole network at once, before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from potluck.compiler.graph.nodes import HOST, label, operator, title
from potluck.compiler.operators import rules
from potluck.compiler.operators.host import refusal
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
    """Every node of the graph that no rule takes, in the graph's order; also one that is left to the host.

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


def check(model: ir.Model, allow_host: bool = False) -> None:
    """Raises one error that lists every unsupported node.

    Args:
        model: An imported network.
        allow_host: Leave unsupported nodes to the host, and list only those that it cannot compute either.

    Raises:
        ModelError: With the list in the text and as attribute ``unsupported``; ``node`` is the first.
    """
    found = unsupported(model)
    if found and allow_host:
        found = _left_to_host(model, found)
    if found:
        raise UnsupportedError(found, allow_host)


def _left_to_host(model: ir.Model, found: Sequence[Unsupported]) -> list[Unsupported]:
    """Marks nodes as the host's; those that it cannot compute."""
    reasons, left = {item.node: item for item in found}, []
    for node in model.graph:
        item = reasons.get(label(node))
        if item is None or HOST in node.meta:
            continue
        refused = refusal(model, node)
        if refused is None:
            node.meta[HOST] = item.reason
        else:
            left.append(replace(item, reason=f"{item.reason}; nor can the host run it: {refused}"))
    return left


class UnsupportedError(ModelError):
    """A network with nodes that cannot be compiled.

    Attributes:
        unsupported: All of them.
    """

    def __init__(self, found: Sequence[Unsupported], host_asked: bool = False) -> None:
        count = f"{len(found)} node{'s' if len(found) > 1 else ''}"
        listing = "".join(f"\n  {item}" for item in found)
        super().__init__(f"{count} cannot be compiled:{listing}\n")
        self.unsupported = tuple(found)
        self.hint = "Rewrite these nodes or cut the network before them"
        if not host_asked:
            self.hint = (
                "Rewrite these nodes, cut the network before them, or let the host run them (--allow-host)"
            )
