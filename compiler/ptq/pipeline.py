"""From an FP32 network to a quantized one: what keeps its function, the scheme, what rounds weights and mends biases.

Every step works on any network and any scheme: what the scheme made of each product is read from the graph, not from
the scheme. What was done, with what effect and with which data, is written to the model's metadata ``potluck.ptq``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import onnx_ir as ir

from potluck.compiler.passes import run_passes
from potluck.compiler.ptq import data, keep, layers, recipe, sensitivity
from potluck.compiler.ptq.products import float_products
from potluck.compiler.ptq.rescale import equalize, smooth
from potluck.compiler.ptq.rotate import rotate
from potluck.compiler.schemes import Assignment, Options, calibrated, find, passes_of
from potluck.isa.errors import DataError

RECORD_KEY = "potluck.ptq"
"""Metadata of a model: what was done to it, as JSON."""
Write = Callable[[str], object]


def apply(
    model: ir.Model,
    scheme: str | Assignment,
    options: Options,
    print_after: Collection[str] = (),
    write: Write = print,
) -> None:
    """Quantizes a folded network in place.

    Args:
        model: In FP32, as `potluck.compiler.quantize.folding` leaves it.
        scheme: Name, or which layer has which.
        options: All else.
        print_after: See `potluck.compiler.passes.run_passes`.
        write: Takes the text.

    Raises:
        ModelError: An unknown method, or a name that is no layer.
        DataError: Samples are missing, of the wrong shape, hold NaN or infinity, or serve two purposes.
    """
    methods, plain = recipe.parse(options.ptq), passes_of(scheme, options)
    words = kept_words(scheme, options)
    tuning = options.tuning if options.tuning else options.calibration
    if not methods and not words and options.train is None:
        run_passes(model, plain, print_after, write)
        _note(model, scheme, options, {})
        return
    if options.tuning and options.calibration:
        data.check_disjoint(calibration=options.calibration, tuning=options.tuning)
    needs = [name for name in methods if name not in ("equalize", "hadamard")]
    if options.train is not None:
        needs.append("training")
    if not tuning and (needs or any(word.startswith("sensitive") for word in words)):
        what = needs[0] if needs else "keep=sensitive"
        raise DataError(
            f"{what} looks at activations and has no samples",
            hint="Give calibration samples, e.g. --calibration X.npz",
        )
    tuning = tuning or {}
    record: dict[str, Any] = {}
    if "equalize" in methods:
        record["equalize"] = equalize(model)
    if "smoothquant" in methods:
        record["smoothquant"] = smooth(model, tuning, methods["smoothquant"])
    taken = sensitivity.quantized_names(model, scheme, options)
    if "hadamard" in methods:
        others = {item.name for item in float_products(model)} - taken
        record["hadamard"] = rotate(model, int(methods["hadamard"]), others)

    def measure() -> dict[str, float]:
        record["sensitivity_db"] = sensitivity.ratios(model, scheme, options, tuning)
        return dict(record["sensitivity_db"])

    kept = {
        name: find(_scheme_of(scheme, name)).high
        for name in keep.names(model, words, measure)
        if name in taken  # others have more bits already
    }
    exact = ir.from_proto(ir.to_proto(model))
    run_passes(model, passes_of(_raised(scheme, kept), options) if kept else plain, print_after, write)
    rounding = {name: number for name, number in methods.items() if name in layers.METHODS}
    if rounding:
        record["layers"] = layers.improve(model, exact, tuning, rounding)
    if options.train is not None:
        record["train"] = options.train(model, exact, tuning)
    if kept:
        record["kept"] = kept
    _note(model, scheme, options, {"methods": methods, **record})


def kept_words(scheme: str | Assignment, options: Options) -> tuple[str, ...]:
    """What ``keep`` is, or its default; whoever assigns schemes to layers has said what is kept."""
    if options.keep is not None:
        return options.keep
    low = isinstance(scheme, str) and find(scheme).low_bits
    return keep.DEFAULT if options.ptq and low else ()


def _scheme_of(scheme: str | Assignment, layer: str) -> str:
    return scheme if isinstance(scheme, str) else scheme.layers.get(layer, scheme.default)


def _raised(scheme: str | Assignment, kept: Mapping[str, str]) -> Assignment:
    """The scheme, with some layers in another."""
    if isinstance(scheme, str):
        return Assignment(kept, scheme, lenient=True)
    return replace(scheme, layers={**scheme.layers, **kept})


def _note(model: ir.Model, scheme: str | Assignment, options: Options, record: dict[str, Any]) -> None:
    named = scheme if isinstance(scheme, str) else scheme.to_json()
    held: dict[str, Any] = {"scheme": named, **record}
    if calibrated(scheme):
        held["calibration_method"] = options.calibration_method
    used = {"calibration": options.calibration, "tuning": options.tuning}
    held["data"] = {name: data.fingerprint(samples) for name, samples in used.items() if samples}
    if record or held["data"]:
        model.metadata_props[RECORD_KEY] = json.dumps(held)


def record_of(model: ir.Model) -> dict[str, Any]:
    """What was done to a quantized network, empty if nothing is known."""
    return dict(json.loads(model.metadata_props.get(RECORD_KEY, "{}")))
