"""Mixed precision: each product gets the scheme that an assignment names, side by side in one graph.

The schemes' own passes run one after the other, each with every layer excluded that is not its own. Schemes with
calibrated activations come first, while onnxruntime can still run the graph; those with 8-bit activations run as one,
so that sums and pools between their layers stay in codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import onnx_ir as ir

from potluck.compiler.graph.nodes import DOMAIN, constant, label
from potluck.compiler.passes.base import GraphPass
from potluck.compiler.passes.quantize_integer import PRODUCTS, QuantizeInteger
from potluck.compiler.schemes import find
from potluck.compiler.schemes.assignment import Assignment
from potluck.compiler.schemes.base import Options
from potluck.isa.errors import ModelError


@dataclass(frozen=True)
class Assign(GraphPass):
    """See the module.

    Attributes:
        assignment: Scheme by layer.
        options: For every scheme.
    """

    name: ClassVar[str] = "assign"
    assignment: Assignment = field(default_factory=Assignment)
    options: Options = field(default_factory=Options, hash=False)

    def run(self, model: ir.Model) -> int:
        """See `GraphPass.run`; counts the quantized products.

        Raises:
            ModelError: No layer has a name of the assignment, a scheme is unknown or not made for single layers, or
                one cannot take a layer that was assigned to it by name.
        """
        named = resolve(model, self.assignment.layers)
        layers = [label(node) for node in products(model)]
        groups: dict[tuple[str, bool], list[str]] = {}
        for name in layers:
            groups.setdefault((named.get(name, self.assignment.default), name in named), []).append(name)
        changed = sum(step.run(model) for step in self._steps(groups, layers))
        if not self.assignment.lenient:
            _check(model, named)
        return changed

    def _steps(self, groups: Mapping[tuple[str, bool], list[str]], layers: list[str]) -> list[GraphPass]:
        codes: list[QuantizeInteger] = []
        fixed: list[GraphPass] = []
        rest: list[GraphPass] = []
        for (name, explicit), members in groups.items():
            scheme = find(name)
            if not scheme.by_layer:
                raise ModelError(f"scheme {name!r} works on whole networks", hint="Assign another to layers")
            others = [other for other in layers if other not in members]
            options = replace(
                self.options,
                exclude=tuple(dict.fromkeys((*self.options.exclude, *others))),
                min_channels=0 if explicit else self.options.min_channels,
            )
            for step in scheme.passes(options):
                if isinstance(step, QuantizeInteger) and step.activations == "int8":
                    codes.append(step)
                else:
                    (fixed if scheme.calibrated else rest).append(step)
        first = [replace(codes[0], others=tuple(codes[1:]))] if codes else []
        return [*first, *fixed, *rest]


def products(model: ir.Model) -> list[ir.Node]:
    """The layers that an assignment may name: products with constant weights, in order."""
    found = []
    for node in model.graph:
        if node.op_type in PRODUCTS and node.domain in ("", DOMAIN) and len(node.inputs) > 1:
            weight = node.inputs[1]
            if constant(weight) is not None and weight is not None and weight.dtype is ir.DataType.FLOAT:
                found.append(node)
    return found


def resolve(model: ir.Model, layers: Mapping[str, str]) -> dict[str, str]:
    """Node -> scheme, from node or weight -> scheme.

    Raises:
        ModelError: A name is that of no layer, or a layer gets two schemes.
    """
    found: dict[str, str] = {}
    for name, scheme in layers.items():
        meant = [label(node) for node in products(model) if name in (label(node), _weight_name(node))]
        if not meant:
            known = ", ".join(label(node) for node in products(model))
            raise ModelError(
                f"the assignment names {name!r}, which is neither a product with constant weights nor its weights",
                hint=f"Layers: {known}",
            )
        for node_name in meant:
            if found.setdefault(node_name, scheme) != scheme:
                raise ModelError(
                    f"the assignment gives it two schemes, {found[node_name]!r} and {scheme!r}",
                    node=node_name,
                )
    return found


def _weight_name(node: ir.Node) -> str | None:
    weight = node.inputs[1]
    return weight.name if weight is not None else None


def _check(model: ir.Model, named: Mapping[str, str]) -> None:
    """Every layer that was named has what it was assigned."""
    left = {label(node) for node in products(model)}
    for name, scheme in named.items():
        if name in left and find(scheme).passes(Options()):
            raise ModelError(
                f"scheme {scheme!r} cannot take this layer",
                node=name,
                hint="MX and Bell Box take products and dense convolutions: assign int8 or fp32, or nothing",
            )
