"""Weights of six bits with a wider exponent, for the activations that VMXDOTP takes."""

from potluck.compiler.passes.quantize_mx import QuantizeMx
from potluck.compiler.schemes.base import Scheme

SCHEMES = [
    Scheme(
        "example_mxfp6_e3m2_mxfp8",
        "MXFP6 (E3M2) weights, MXFP8 (E4M3) activations; weights expanded to E4M3 in L1, VMXDOTP",
        lambda options: [QuantizeMx("mxfp6_e3m2", "mxfp8", options.block_size, options.scale_rule)],
    )
]
