"""What the zoo knows of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from potluck.evaluation.samples import Samples
from potluck.isa.errors import ToolError
from potluck.zoo import packages
from potluck.zoo.measures import Measure

SCHEMES = ("fp32", "int8", "mxfp8", "mxfp4")
"""What ``--run`` compares unless told."""


def largest(outputs: NDArray[Any]) -> NDArray[Any]:
    """The class of each sample, or of each position in it."""
    return np.asarray(outputs.argmax(-1))


@dataclass(frozen=True)
class Language:
    """What a language model generates text with.

    Attributes:
        decoder: Makes the network for one token behind a cache of so many, see `potluck.zoo.generation.Decoder`.
        encode: Tokens of a text.
        decode: Text of tokens.
        stop: The token that ends a text.
        calibration: Makes inputs of that network that fix ranges of activations.
    """

    decoder: Callable[[int], onnx.ModelProto]
    encode: Callable[[str], list[int]]
    decode: Callable[[list[int]], str]
    stop: int
    calibration: Callable[[int], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class Network:
    """A trained network, where it comes from, real inputs and what its outputs are judged by.

    Attributes:
        name: On the command line.
        title: One line for lists.
        packages: Names in `packages.txt` of what `model`, `samples` and `calibration` read.
        model: Makes the network in FP32. The first axis of every input counts samples.
        samples: Makes the inputs that results are about, the best first where not all can be run, and labels.
        calibration: Makes inputs that fix ranges of activations; no sample is among them.
        measure: The task metric of the network's first output [n, ...] on samples, of which these may be the first.
        macs: Multiply-accumulates of one sample.
        fp32: The metric of all samples in FP32, as onnxruntime gives it.
        unit: What the metric is, for lists.
        origin: Who trained it, and the licence.
        dims: Sizes of dynamic dimensions other than the number of samples.
        schemes: What ``--run`` compares unless told.
        options: Of `potluck.compiler.quantize.quantize_model`, by scheme.
        decide: What the network decides by its first output, for agreement: the largest along the last axis.
        language: How it generates text, if it does.
        batched: Whether several samples may be run at once; otherwise one is run at a time.
        many: Makes at least 500 inputs, or positions to predict, for likeness to FP32; None: `samples` makes as many.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    model: Callable[[], onnx.ModelProto]
    samples: Callable[[], Samples]
    calibration: Callable[[], Mapping[str, NDArray[Any]]]
    measure: Callable[[NDArray[Any], Samples], Measure]
    macs: int
    fp32: float
    origin: str
    unit: str = "% top-1"
    dims: Mapping[str, int] = field(default_factory=dict)
    schemes: tuple[str, ...] = SCHEMES
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    decide: Callable[[NDArray[Any]], NDArray[Any]] = largest
    language: Language | None = None
    batched: bool = True
    many: Callable[[], Samples] | None = None

    def missing(self) -> list[str]:
        """Packages that are not here."""
        return [name for name in self.packages if not packages.has(name)]

    def check(self) -> None:
        """Raises one error for all packages that are not here.

        Raises:
            ToolError: Naming them, and what gets them.
        """
        missing = [f"{name} {packages.version(name)}" for name in self.missing()]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            raise ToolError(
                f"network {self.name} needs {' and '.join(missing)}, which {verb} not here",
                hint=f"Get them: pip install 'potluck[models]' and potluck zoo --fetch {self.name}",
            )
