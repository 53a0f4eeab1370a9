"""Graph passes by name; a pass's module is imported when it is first asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import onnx_ir as ir

from potluck.compiler.graph.printer import render
from potluck.compiler.passes.base import GraphPass
from potluck.isa.errors import ModelError
from potluck.isa.progress import steps

REGISTRY: dict[str, str] = {
    "assign": "Assign",
    "constant_fold": "ConstantFold",
    "expand": "Expand",
    "fold_batchnorm": "FoldBatchnorm",
    "fuse_activation": "FuseActivation",
    "integer_products": "IntegerProducts",
    "quantize_bbq": "QuantizeBbq",
    "quantize_half": "QuantizeHalf",
    "quantize_integer": "QuantizeInteger",
    "quantize_mx": "QuantizeMx",
    "quantize_nvfp4": "QuantizeNvfp4",
    "reciprocals": "Reciprocals",
    "recover_pot": "RecoverPot",
}
"""Pass name (also its module in this package) -> class."""


def make(name: str, **options: Any) -> GraphPass:
    """The pass called ``name`` with its options.

    Raises:
        ModelError: No such pass, or no such option.
    """
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, n=1, cutoff=0.0)[0]
        raise ModelError(
            f"no pass is called {name!r}", hint=f"Did you mean {near!r}? Known: {sorted(REGISTRY)}"
        )
    kind = getattr(importlib.import_module(f"{__name__}.{name}"), REGISTRY[name])
    try:
        made = kind(**options)
    except TypeError as error:
        raise ModelError(f"pass {name!r}: {error}") from error
    assert isinstance(made, GraphPass)
    return made


def run_passes(
    model: ir.Model,
    passes: Sequence[GraphPass],
    print_after: Collection[str] = (),
    write: Callable[[str], object] = print,
) -> None:
    """Runs passes in order, in place.

    Args:
        model: Edited.
        passes: What to run.
        print_after: Names of passes after which the graph is written as text; ``all`` for every one.
        write: Takes the text.

    Raises:
        ModelError: ``print_after`` names a pass that does not exist, or a pass fails.
    """
    for name in print_after:
        if name != "all" and name not in REGISTRY:
            make(name)  # raises, with the near name
    for step in steps(passes, "passes over the network"):
        changes = step.run(model)
        if step.name in print_after or "all" in print_after:
            write(f"# after {step.name}: {changes} changed\n{render(model)}")
