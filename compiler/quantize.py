"""Quantization: an FP32 network in, a standard ONNX network with quantized weights and activations out."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Unpack

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.importer import Source, load
from potluck.compiler.passes import make, run_passes
from potluck.compiler.passes.base import GraphPass
from potluck.compiler.ptq.pipeline import apply
from potluck.compiler.schemes import Assignment, Options, Quantization


def name_of(scheme: str | Assignment) -> str:
    """The scheme's name, or the assignment as JSON."""
    return json.dumps(scheme.to_json()) if isinstance(scheme, Assignment) else scheme


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


FOLDING = ("constant_fold", "fold_batchnorm", "expand", "reciprocals", "fuse_activation")
"""Passes that every network goes through before it is quantized."""


def folding() -> list[GraphPass]:
    """The passes of `FOLDING`."""
    return [make(name) for name in FOLDING]


def quantize_model(
    source: Source,
    scheme: str | Assignment,
    *,
    dims: Mapping[str, int] | None = None,
    bind: Mapping[str, NDArray[np.generic]] | None = None,
    print_after: Collection[str] = (),
    write: Callable[[str], object] = print,
    **options: Unpack[Quantization],
) -> QuantizedModel:
    """Quantizes a network; ``result.save(path)`` writes it as standard ONNX.

    Args:
        source: Path or model, see `potluck.compiler.importer.load`.
        scheme: A name of `potluck.compiler.schemes.schemes`, or which layer has which.
        dims: Sizes of dynamic dimensions.
        bind: Values of inputs that become constants.
        print_after: Passes after which the graph is written as text.
        write: Takes that text.
        options: See `potluck.compiler.schemes.Options`.

    Returns:
        A new model, opset 24.

    Raises:
        ModelError: The model is invalid, the scheme is unknown, or names in ``exclude`` do not exist.
    """
    chosen = Options.of(**options)
    model = load(source, dims, bind)
    run_passes(model, folding(), print_after, write)
    apply(model, scheme, chosen, print_after, write)
    return QuantizedModel(
        model.graph,
        ir_version=model.ir_version,
        producer_name="potluck",
        functions=list(model.functions.values()),
        metadata_props={**model.metadata_props, "potluck.scheme": name_of(scheme)},
    )


def import_gguf(
    source: Source,
    path: str | os.PathLike[str],
    names: Mapping[str, str] | None = None,
    *,
    dims: Mapping[str, int] | None = None,
) -> QuantizedModel:
    """A network with the block-quantized weights of a GGUF file, as standard ONNX.

    Args:
        source: Path or model, see `potluck.compiler.importer.load`.
        path: The file.
        names: Weight in the network -> tensor of the file, where they differ.
        dims: Sizes of dynamic dimensions.

    Raises:
        ModelError: No weight matches, or one does not fit its tensor.
        DataError: The file is no GGUF file.
    """
    from potluck.compiler.imports.gguf import read, replace_weights

    tensors = read(path)
    model = load(source, dims)
    replace_weights(model, tensors, names or {})
    return QuantizedModel(
        model.graph,
        ir_version=model.ir_version,
        producer_name="potluck",
        functions=list(model.functions.values()),
        metadata_props={**model.metadata_props, "potluck.scheme": "gguf"},
    )
