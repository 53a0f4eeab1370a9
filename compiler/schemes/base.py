"""What a scheme is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.passes.base import GraphPass
from potluck.compiler.quantizers.mx import WeightRule
from potluck.isa.requantize import Requantization


@dataclass(frozen=True)
class Options:
    """What a user may say about a quantization, whatever the format.

    Attributes:
        exclude: Nodes or weights, by name, that stay in FP32.
        min_channels: Products that contract fewer elements stay in FP32 (or what the scheme gives such layers); 0
            spares no layer that the scheme can take, depthwise ones included.
        calibration: Input name -> samples, the first axis counting them; None where the scheme needs none.
        requantization: Law by which sums of codes become codes, see `potluck.isa.requantize`.
        block_size: Elements per scale of MX formats.
        scale_rule: How MX scales follow from their blocks, see `potluck.compiler.quantizers.mx`.
    """

    exclude: tuple[str, ...] = ()
    min_channels: int = 16
    calibration: Mapping[str, NDArray[np.generic]] | None = None
    requantization: Requantization = "ort_float_rne"
    block_size: int = 32
    scale_rule: WeightRule = "floor"


@dataclass(frozen=True)
class Scheme:
    """One way to quantize a network.

    Attributes:
        name: As users write it.
        summary: One line: operands and the instruction path of their products.
        passes: The passes that quantize, after folding and fusing.
        calibrated: Whether it needs calibration samples.
        by_layer: Whether it can be assigned to single layers (its passes heed ``exclude``).
    """

    name: str
    summary: str
    passes: Callable[[Options], Sequence[GraphPass]]
    calibrated: bool = False
    by_layer: bool = True
