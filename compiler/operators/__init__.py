"""Every operator that compiles: one module per family, each declaring rule and plan side by side."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache

from potluck.compiler.operators.base import REGISTERED, Operator, Rule
from potluck.isa.plugins import added

MODULES = (
    "conv", "product", "elementwise", "pointwise", "reduction", "pool", "shape", "move", "gather", "resize", "softmax",
    "attention", "rotation", "mx", "nvfp4", "im2col", "integers", "bbq", "hadamard", "ordering", "host",
)  # fmt: skip
"""Modules of this package that declare operators."""


@cache
def operators() -> Mapping[str, Operator]:
    """Operator name -> declaration."""
    for module in MODULES:
        importlib.import_module(f"{__name__}.{module}")
    for _ in added("potluck.operators"):
        pass  # loaded, its module has registered its operators
    return REGISTERED


def rules() -> dict[str, Rule]:
    """Operator name -> when it cannot be compiled."""
    return {name: item.rule for name, item in operators().items()}
