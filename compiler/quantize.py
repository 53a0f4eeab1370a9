"""Quantization: an FP32 network in, a standard ONNX network with MX weights and activations out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from potluck.compiler.importer import Source, load
from potluck.compiler.passes import make, run_passes
from potluck.compiler.passes.base import GraphPass
from potluck.compiler.passes.quantize_mx import ELEMENTS
from potluck.isa.errors import ModelError

PLAIN = ("none", "fp32")
"""Schemes that fold and fuse but quantize nothing."""
SCHEMES = (*PLAIN, *ELEMENTS)
"""What ``scheme`` may be."""


class QuantizedModel(ir.Model):
    """An onnx-ir model that can write itself."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model as ONNX, all of it or nothing.

        Raises:
            OSError: The file cannot be written.
        """
        target = Path(path)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            draft = Path(folder) / target.name
            ir.save(self, draft)
            draft.replace(target)


def pipeline(
    scheme: str | None = None, exclude: Sequence[str] = (), min_channels: int = 16
) -> list[GraphPass]:
    """The passes that bring an imported network to the form that is lowered.

    Raises:
        ModelError: Unknown scheme.
    """
    if scheme is not None and scheme not in SCHEMES:
        raise ModelError(f"unknown scheme {scheme!r}", hint=f"Use one of {', '.join(SCHEMES)}")
    passes = [make("constant_fold"), make("fold_batchnorm"), make("fuse_activation")]
    if scheme is not None and scheme not in PLAIN:
        options = {"scheme": scheme, "exclude": tuple(exclude), "min_channels": min_channels}
        passes.append(make("quantize_mx", **options))
    return passes


def quantize_model(
    source: Source,
    scheme: str,
    *,
    dims: Mapping[str, int] | None = None,
    exclude: Sequence[str] = (),
    min_channels: int = 16,
    print_after: Collection[str] = (),
    write: Callable[[str], object] = print,
) -> QuantizedModel:
    """Quantizes a network; ``result.save(path)`` writes it as standard ONNX.

    Args:
        source: Path or model, see `potluck.compiler.importer.load`.
        scheme: One of `SCHEMES`.
        dims: Sizes of dynamic dimensions.
        exclude: Nodes or weights, by name, that stay in FP32.
        min_channels: Products that contract fewer elements stay in FP32.
        print_after: Passes after which the graph is written as text.
        write: Takes that text.

    Returns:
        A new model, opset 24.

    Raises:
        ModelError: The model is invalid or names in ``exclude`` do not exist.
    """
    model = load(source, dims)
    run_passes(model, pipeline(scheme, exclude, min_channels), print_after, write)
    return QuantizedModel(
        model.graph,
        ir_version=model.ir_version,
        producer_name="potluck",
        functions=list(model.functions.values()),
        metadata_props={**model.metadata_props, "potluck.scheme": scheme},
    )
