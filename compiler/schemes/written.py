"""Schemes as users write them in one word: ``scheme[@rule][:methods][/kept]``.

``mxfp4@even:hadamard+better/first+last+sensitive=6``: MX scales by the rule ``even``, methods of
`potluck.compiler.ptq.recipe`, and the layers to keep higher, see `potluck.compiler.ptq.keep`.
"""

from __future__ import annotations

from typing import Any

from potluck.compiler.ptq import recipe
from potluck.compiler.quantizers.mx import WEIGHT_RULES
from potluck.compiler.schemes import find
from potluck.isa.errors import ModelError


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """The scheme's name and the options of its quantization that are written behind it.

    Raises:
        ModelError: An unknown scheme, scale rule or method, or a sign with nothing behind it.
    """
    head, slash, kept = text.partition("/")
    head, colon, methods = head.partition(":")
    name, at, rule = head.partition("@")
    find(name)
    options: dict[str, Any] = {}
    for sign, held in ((at, rule), (colon, methods), (slash, kept)):
        if sign and not held:
            raise ModelError(
                f"{text!r} has nothing behind its {sign!r}", hint="Write scheme@rule:methods/kept"
            )
    if at:
        if rule not in WEIGHT_RULES:
            raise ModelError(f"unknown scale rule {rule!r}", hint=f"Use one of {', '.join(WEIGHT_RULES)}")
        options["scale_rule"] = rule
    if colon:
        options["ptq"] = methods.replace("+", ",")
        recipe.parse(options["ptq"])
    if slash:
        options["keep"] = tuple(kept.split("+"))
    return name, options
