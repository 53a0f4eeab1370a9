"""Integers: 8-bit activations with 8- or 4-bit weights, and weights alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from potluck.compiler.passes.base import GraphPass
from potluck.compiler.passes.quantize_integer import QuantizeInteger
from potluck.compiler.schemes.base import Options, Scheme


def product(name: str, weights: str, summary: str, group: int = 0) -> Scheme:
    """A scheme with INT8 activations."""

    def passes(options: Options) -> Sequence[GraphPass]:
        return (
            QuantizeInteger(
                weights,
                group=group,
                min_channels=options.min_channels,
                exclude=options.exclude,
                samples=options.calibration,
                requantization=options.requantization,
                method=options.calibration_method,
                compat_release=options.compat_release,
            ),
        )

    if weights == "int8":
        return Scheme(name, summary, passes, calibrated=True)
    return Scheme(name, summary, passes, calibrated=True, high="int8", low_bits=weights != "int6")


def _weights_only(name: str, weights: Literal["int8", "int4"], group: int, summary: str) -> Scheme:
    def passes(options: Options) -> Sequence[GraphPass]:
        return (QuantizeInteger(weights, "fp32", group, options.min_channels, options.exclude),)

    few = weights == "int4"
    return Scheme(name, summary, passes, high="int8_weights" if few else "fp32", low_bits=few)


SCHEMES = (
    product("int8", "int8", "INT8 operands, calibrated activations; widening INT8 multiply-adds"),
    product(
        "int6", "int6", "6-bit weights per channel in bytes, INT8 activations; widening INT8 multiply-adds"
    ),
    product("int4", "int4", "INT4 weights per channel, INT8 activations; widening INT8 multiply-adds"),
    product(
        "int4_groups",
        "int4",
        "INT4 weights in groups of 32, expanded to INT8 in L1, INT8 activations; widening INT8 multiply-adds",
        32,
    ),
    product(
        "int2",
        "int2",
        "2-bit weights (-1, 0, 1) stored as INT4, INT8 activations; widening INT8 multiply-adds",
    ),
    _weights_only("int8_weights", "int8", 0, "INT8 weights per channel, dequantized; FP32 multiply-adds"),
    _weights_only(
        "int4_weights", "int4", 32, "INT4 weights in groups of 32, decoded in L1; FP32 multiply-adds"
    ),
)
