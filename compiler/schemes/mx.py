"""OCP microscaling formats: operands that VMXDOTP takes as they are or expanded, and weights alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from potluck.compiler.passes.base import GraphPass
from potluck.compiler.passes.quantize_half import QuantizeHalf
from potluck.compiler.passes.quantize_mx import QuantizeMx
from potluck.compiler.passes.quantize_nvfp4 import QuantizeNvfp4
from potluck.compiler.schemes.base import Options, Scheme


def _spared(options: Options) -> Sequence[GraphPass]:
    """Layers of few channels, and depthwise ones: block scales would serve nobody there."""
    few = options.spared == "bf16" and options.min_channels > 0
    return (QuantizeHalf("bf16", options.exclude),) if few else ()


def _passes(weights: str, activations: str, options: Options) -> Sequence[GraphPass]:
    return (
        QuantizeMx(
            weights,
            activations,
            options.block_size,
            options.scale_rule,
            options.min_channels,
            options.exclude,
            options.mx_small_k,
        ),
        *_spared(options),
    )


def _scheme(name: str, weights: str, activations: str, operands: str, path: str) -> Scheme:
    high = "" if weights not in _FEW else "mxfp8_weights" if activations == "fp32" else "mxfp8"
    return Scheme(
        name,
        f"{operands}; {path}",
        lambda options: _passes(weights, activations, options),
        high=high or "fp32",
        low_bits=weights == "mxfp4",
    )


_NATIVE = "VMXDOTP"
_E4M3 = "weights expanded to E4M3 in L1, VMXDOTP"
_DECODED = "decoded in L1, FP32 multiply-adds"
_NAMES = {
    "mxfp8": "MXFP8 (E4M3)",
    "mxfp8_e5m2": "MXFP8 (E5M2)",
    "mxfp6": "MXFP6 (E2M3)",
    "mxfp6_e3m2": "MXFP6 (E3M2)",
    "mxfp4": "MXFP4 (E2M1)",
    "mxint8": "MXINT8",
}
_FEW = ("mxfp4", "mxfp6", "mxfp6_e3m2")
_PATHS = {"mxint8": "widening INT8 multiply-adds and a scale per block in FP32"}
_PATHS |= dict.fromkeys(("mxfp8", "mxfp8_e5m2", "mxfp4"), _NATIVE)
_MIXED = (("mxfp4", "mxfp8"), ("mxfp4", "mxfp6"), ("mxfp6", "mxfp8"))


def _nvfp4(activations: bool, options: Options) -> Sequence[GraphPass]:
    return (
        QuantizeNvfp4(
            activations,
            min_channels=options.min_channels,
            exclude=options.exclude,
            samples=options.calibration,
        ),
        *_spared(options),
    )


SCHEMES = (
    *(_scheme(name, name, "", f"{text} operands", _PATHS.get(name, _E4M3)) for name, text in _NAMES.items()),
    *(_scheme(f"{w}_{a}", w, a, f"{_NAMES[w]} weights, {_NAMES[a]} activations", _E4M3) for w, a in _MIXED),
    *(
        _scheme(f"{name}_weights", name, "fp32", f"{text} weights, FP32 activations", _DECODED)
        for name, text in _NAMES.items()
    ),
    Scheme(
        "nvfp4",
        f"NVFP4 operands (blocks of 16, E4M3 scales, a scale per tensor); emulated: {_DECODED}",
        partial(_nvfp4, True),
        calibrated=True,
    ),
    Scheme("nvfp4_weights", f"NVFP4 weights, FP32 activations; {_DECODED}", partial(_nvfp4, False)),
)
