"""Layers at higher precision: by name, by kind (``first``, ``last``, ``depthwise``), or those that hurt most.

``sensitive=N`` (or ``sensitive``: one in eight) keeps the layers whose quantization alone leaves the least signal to
noise at the network's outputs. ``none`` keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from potluck.compiler.ptq.products import Product, float_products
from potluck.isa.errors import ModelError

KINDS = ("first", "last", "depthwise")
DEFAULT = KINDS
"""What 4-bit schemes keep unless they are told otherwise: layers that collapse, and cost little."""
SENSITIVE_PART = 8
Measure = Callable[[], dict[str, float]]


def names(model: ir.Model, wanted: Sequence[str], measure: Measure) -> tuple[str, ...]:
    """Names of the nodes to keep.

    Args:
        model: In FP32.
        wanted: See the module.
        measure: Gives the signal to noise ratio, dB, that each layer's quantization leaves.

    Raises:
        ModelError: A word that is neither a kind nor the name of a product or its weights.
    """
    products = float_products(model)
    kept: dict[str, None] = {}
    words = [word for word in wanted if word and word != "none"]
    for word in words:
        if word.partition("=")[0] == "sensitive":
            continue
        chosen = _chosen(products, word)
        if chosen is None:
            hint = f"Use {', '.join(KINDS)}, sensitive, sensitive=N, none, or one of {[p.name for p in products]}"
            raise ModelError(f"keep names {word!r}, which is no product of the model", hint=hint)
        kept |= dict.fromkeys(item.name for item in chosen)
    for word in words:
        if word.partition("=")[0] == "sensitive":
            count = _count(word, len(products))
            ratios = {name: ratio for name, ratio in measure().items() if name not in kept}
            kept |= dict.fromkeys(sorted(ratios, key=lambda name: ratios[name])[:count])
    return tuple(kept)


def _chosen(products: list[Product], word: str) -> list[Product] | None:
    if word == "first":
        return products[:1]
    if word == "last":
        return products[-1:]
    if word == "depthwise":
        return [item for item in products if item.depthwise]
    return [item for item in products if word in (item.name, item.weight.name)] or None


def _count(word: str, products: int) -> int:
    _, equals, number = word.partition("=")
    if not equals:
        return max(1, products // SENSITIVE_PART)
    if not number.isdigit():
        raise ModelError(
            f"{word!r}: {number!r} is no number of layers", hint="Write sensitive=2, for instance"
        )
    return int(number)
