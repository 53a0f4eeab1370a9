"""Potluck's operators: ONNX functions of the domain ``potluck`` whose bodies are standard operators.

So every graph the compiler writes runs on any conforming evaluator (`onnx.reference.ReferenceEvaluator`), and
the body is the definition of what the operator means. One module per family, each with its ``BODIES``.
"""

from __future__ import annotations

from functools import cache

import onnx
import onnx_ir as ir

from potluck.compiler.functions import attention, bbq, fused, hadamard, im2col, integers, mx, nvfp4, rotation
from potluck.compiler.functions.fused import FUSED
from potluck.compiler.graph.nodes import DOMAIN, IR_VERSIONS, OPSET

__all__ = ["FUSED", "function", "names", "raise_opset", "require"]

FAMILIES = (attention, mx, nvfp4, im2col, fused, integers, bbq, hadamard, rotation)
"""Modules whose ``BODIES`` are the functions; a name occurs once."""


@cache
def _bodies() -> dict[str, str]:
    found: dict[str, str] = {}
    for family in FAMILIES:
        assert not found.keys() & family.BODIES.keys(), f"{family.__name__} declares a function again"
        found |= family.BODIES
    return found


def names() -> tuple[str, ...]:
    """Every function's name."""
    return tuple(_bodies())


def function(name: str, opset: int = OPSET) -> ir.Function:
    """A new copy of the function called ``name``; its docs are in its family's module.

    Args:
        name: Of the function.
        opset: Of its body: that of the model, since ONNX forbids mixtures.

    Raises:
        KeyError: No such function.
    """
    header = f'<domain: "{DOMAIN}", opset_import: ["" : {opset}]>\n'
    proto = onnx.parser.parse_function(header + _bodies()[name])
    return ir.serde.deserialize_function(proto)


def require(model: ir.Model, name: str) -> None:
    """Adds the function to the model and imports its domain, if that has not happened yet."""
    key = (DOMAIN, name, "")
    if key not in model.functions:
        model.functions[key] = function(name, model.graph.opset_imports.get("", OPSET))
    model.graph.opset_imports[DOMAIN] = 1


def raise_opset(model: ir.Model, opset: int) -> None:
    """Moves a model and its functions of Potluck to a later opset, whose types it needs; never back."""
    if model.graph.opset_imports.get("", OPSET) >= opset:
        return
    model.graph.opset_imports[""] = opset
    model.ir_version = max(model.ir_version, IR_VERSIONS.get(opset, 0))
    for domain, name, overload in list(model.functions):
        if domain == DOMAIN:
            model.functions[domain, name, overload] = function(name, opset)
