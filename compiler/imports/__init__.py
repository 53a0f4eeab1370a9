"""Networks that other tools have quantized with operators of their own, in the terms of this compiler.

Two steps, since shapes cannot be inferred through unknown operators: `translate` turns weights into DequantizeLinear
and activations' quantizers into placeholders of their shape; `finish` makes them functions of Potluck once shapes are
known.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import cache

import onnx_ir as ir

from potluck.compiler.graph.nodes import drop_unused
from potluck.compiler.imports.base import finish, push_transposes

__all__ = ["DOMAINS", "finish", "translate"]

FAMILIES = ("quark", "modelopt", "contrib")
"""Modules of this package with their ``HANDLERS``."""
DOMAINS = ("com.amd.quark", "com.vai.quantize", "trt", "com.microsoft")
"""Domains of the operators that are translated; functions of them are not inlined."""


@cache
def _handlers() -> Mapping[tuple[str, str], Callable[[ir.Model, ir.Node], None]]:
    found: dict[tuple[str, str], Callable[[ir.Model, ir.Node], None]] = {}
    for family in FAMILIES:
        found |= importlib.import_module(f"{__name__}.{family}").HANDLERS
    return found


def translate(model: ir.Model) -> None:
    """Replaces operators of other tools; those that are not known stay, and the compiler names them.

    Raises:
        ModelError: One of them says what cannot be translated; names the node.
    """
    known = _handlers()
    for node in list(model.graph):
        handler = known.get((node.domain, node.op_type))
        if handler is not None and node.graph is not None:
            handler(model, node)
    push_transposes(model)
    drop_unused(model.graph)
    left = {node.domain for node in model.graph}
    for key in [key for key in model.functions if key[0] in DOMAINS and key[0] not in left]:
        del model.functions[key]
