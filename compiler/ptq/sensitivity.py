"""How much a layer's quantization alone disturbs the network's outputs: signal to noise, with all others in FP32."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.passes import run_passes
from potluck.compiler.ptq.data import Samples
from potluck.compiler.ptq.products import float_products
from potluck.compiler.ptq.runner import Runner
from potluck.compiler.schemes import Assignment, Options, passes_of
from potluck.isa.progress import steps

MOST = 32
"""Samples that are looked at."""


def ratios(model: ir.Model, scheme: str | Assignment, options: Options, samples: Samples) -> dict[str, float]:
    """Signal to noise ratio in dB at the outputs for each product that the scheme quantizes; the model stays as it is.

    Args:
        model: In FP32.
        scheme: Formats.
        options: As for the whole network.
        samples: Tuning samples, of which the first `MOST` are used.
    """
    few = {name: np.asarray(array)[:MOST] for name, array in samples.items()}
    exact = Runner(model).outputs_of(few)
    names = [item.name for item in float_products(model)]
    found = {}
    for name in steps(names, "sensitivity of layers"):
        if name in options.exclude:
            continue
        part = _quantized(model, _only(scheme, name, names), replace(options, spared="fp32"))
        if any(item.name == name for item in float_products(part)):
            continue  # the scheme leaves it in FP32
        found[name] = sqnr(exact, Runner(part).outputs_of(few))
    return found


def quantized_names(model: ir.Model, scheme: str | Assignment, options: Options) -> set[str]:
    """Names of the products that a scheme quantizes; what it spares is none of them."""
    before = {item.name for item in float_products(model)}
    made = _quantized(model, scheme, replace(options, spared="fp32"))
    return before - {item.name for item in float_products(made)}


def _quantized(model: ir.Model, scheme: str | Assignment, options: Options) -> ir.Model:
    made = ir.from_proto(ir.to_proto(model))
    run_passes(made, passes_of(scheme, options))
    return made


def _only(scheme: str | Assignment, name: str, names: list[str]) -> str | Assignment:
    """The scheme for one layer, FP32 for the others."""
    if isinstance(scheme, Assignment):
        layers = {other: "fp32" for other in names if other != name}
        return Assignment({**layers, name: scheme.layers.get(name, scheme.default)}, lenient=True)
    return Assignment({other: "fp32" for other in names if other != name}, scheme, lenient=True)


def sqnr(exact: dict[str, NDArray[np.generic]], got: dict[str, NDArray[np.generic]]) -> float:
    """10 log10 of the outputs' power over that of their error; infinite if there is none."""
    signal = sum(float(np.square(array.astype(np.float64)).sum()) for array in exact.values())
    noise = sum(
        float(np.square(got[name].astype(np.float64) - array.astype(np.float64)).sum())
        for name, array in exact.items()
    )
    return math.inf if not noise else 10 * math.log10(max(signal, 1e-300) / noise)
