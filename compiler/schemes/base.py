"""What a scheme is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypedDict, Unpack, get_args

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.passes.base import GraphPass
from potluck.compiler.quantizers.mx import WeightRule
from potluck.isa.errors import ModelError
from potluck.isa.formats.requantize import Requantization

Samples = Mapping[str, NDArray[np.generic]]
Spared = Literal["bf16", "fp32"]
Trainer = Callable[[ir.Model, ir.Model, Samples], dict[str, Any]]
"""Changes a quantized network so that it does what the same network in FP32, the second argument, does on samples.

Returns what the file's record says of it.
"""


class Quantization(TypedDict, total=False):
    """`Options` as keyword arguments of the functions that quantize."""

    exclude: Sequence[str]
    min_channels: int
    spared: Spared
    calibration: Mapping[str, NDArray[np.generic]] | None
    requantization: Requantization
    block_size: int
    scale_rule: WeightRule
    mx_small_k: bool
    calibration_method: str
    ptq: str
    keep: Sequence[str] | None
    tuning: Mapping[str, NDArray[np.generic]] | None
    train: Trainer | None
    compat_release: bool


@dataclass(frozen=True)
class Options:
    """What a user may say about a quantization, whatever the format.

    Attributes:
        exclude: Nodes or weights, by name, that stay in FP32.
        min_channels: Products that contract fewer elements stay in FP32 (or what the scheme gives such layers); 0
            spares no layer that the scheme can take, depthwise ones included.
        spared: What layers that MX and NVFP4 spare have: weights in BF16 (which share FP32's exponents) or FP32; with
            ``min_channels`` 0 it is FP32.
        calibration: Input name -> samples, the first axis counting them; None where the scheme needs none.
        requantization: Law by which sums of codes become codes, see `potluck.isa.formats.requantize`.
        block_size: Elements per scale of MX formats.
        scale_rule: How MX scales follow from their blocks, see `potluck.compiler.quantizers.mx`.
        mx_small_k: Whether MX blocks run along the flattened contraction of convolutions with few input channels.
        calibration_method: How fixed ranges of activations follow from samples, see
            `potluck.compiler.ptq.calibrators.method`.
        ptq: Methods that make a quantized network better, see `potluck.compiler.ptq.recipe`; empty: none.
        keep: Layers at higher precision: names of nodes or weights, and the words of `potluck.compiler.ptq.keep`;
            None: the default of the scheme where ``ptq`` is not empty.
        compat_release: QKeras weights of PoT schemes as PoTAcc's release has them, see
            `potluck.compiler.passes.pot_release`.
        tuning: Samples for what is chosen or learned; the calibration samples if None.
        train: Trains the quantized network, in place, after everything else: see `Trainer`. `potluck.train.Finetune`
            is one.
    """

    exclude: tuple[str, ...] = ()
    min_channels: int = 16
    spared: Spared = "bf16"
    calibration: Mapping[str, NDArray[np.generic]] | None = None
    requantization: Requantization = "ort_float_rne"
    block_size: int = 32
    scale_rule: WeightRule = "floor"
    mx_small_k: bool = False
    calibration_method: str = "minmax"
    ptq: str = ""
    keep: tuple[str, ...] | None = None
    tuning: Mapping[str, NDArray[np.generic]] | None = None
    train: Trainer | None = None
    compat_release: bool = False

    @classmethod
    def of(cls, **given: Unpack[Quantization]) -> Options:
        """Options from keyword arguments.

        Raises:
            TypeError: An unknown name.
            ModelError: Spared layers of an unknown kind.
        """
        unknown = sorted(set(given) - {field.name for field in fields(cls)})
        if unknown:
            raise TypeError(f"unknown quantization options {unknown}")
        made = cls(**given)  # type: ignore[arg-type]
        if made.spared not in get_args(Spared):
            raise ModelError(
                f"spared layers cannot be {made.spared!r}", hint=f"Use {' or '.join(get_args(Spared))}"
            )
        keep = made.keep if made.keep is None else tuple(made.keep)
        return replace(made, exclude=tuple(made.exclude), keep=keep)


@dataclass(frozen=True)
class Scheme:
    """One way to quantize a network.

    Attributes:
        name: As users write it.
        summary: One line: operands and the instruction path of their products.
        passes: The passes that quantize, after folding and fusing.
        calibrated: Whether it needs calibration samples.
        by_layer: Whether it can be assigned to single layers (its passes heed ``exclude``).
        high: Scheme of layers that are kept at higher precision (`Options.keep`).
        low_bits: Whether its weights have 4 bits or fewer: layers that collapse are kept high by default.
    """

    name: str
    summary: str
    passes: Callable[[Options], Sequence[GraphPass]]
    calibrated: bool = False
    by_layer: bool = True
    high: str = "fp32"
    low_bits: bool = False
