"""How better quantization is asked for: names of methods between commas, each with at most one number.

``equalize,gptq,bias`` or ``smoothquant=0.6,clip,round=2000``. The order in which they are written means nothing: what
keeps the network's function comes before quantization, what rounds weights after it, what corrects biases last.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from potluck.isa.errors import ModelError


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        summary: One line.
        number: What the number after ``=`` is, empty if it takes none.
        default: The number otherwise.
        valid: Whether a number can be meant.
        before: Whether it changes the network before it is quantized, and not the quantized weights.
    """

    summary: str
    number: str = ""
    default: float = 0.0
    valid: Callable[[float], bool] = lambda number: False
    before: bool = False


METHODS: dict[str, Method] = {
    "equalize": Method(
        "cross-layer equalization: ranges of weights match between layers, same function", before=True
    ),
    "smoothquant": Method(
        "scales move from activations to weights, folded into what comes before",
        "exponent of the activations",
        0.5,
        lambda number: 0 <= number <= 1,
        before=True,
    ),
    "hadamard": Method(
        "rotation of the contraction, folded where it can be, else a layer on the machine",
        "block, a power of two",
        32,
        lambda number: number in (8, 16, 32, 64, 128),
        before=True,
    ),
    "clip": Method("scales of weights with the least error of the layer's output"),
    "gptq": Method(
        "weights rounded one by one, each correcting for those before (GPTQ)",
        "damping, as part of the Hessian's mean diagonal",
        0.01,
        lambda number: 0 < number < 1,
    ),
    "round": Method(
        "rounding up or down is learned for each weight (AdaRound)",
        "iterations",
        1000,
        lambda number: number >= 1 and number == int(number),
    ),
    "bias": Method("biases corrected for the mean error of each channel"),
}
"""Name -> what it is, in the order in which they are carried out."""
PRESETS = {"better": "clip,gptq,bias"}
"""Name -> the methods that it stands for."""


def before(text: str) -> str:
    """Those of the methods in ``text`` that change the network before it is quantized."""
    methods = parse(text)
    chosen = [name for name in METHODS if name in methods and METHODS[name].before]
    return ",".join(f"{name}={methods[name]:g}" if METHODS[name].number else name for name in chosen)


def parse(text: str) -> dict[str, float]:
    """Methods with their numbers, in the order in which they are carried out.

    Raises:
        ModelError: An unknown method, a number that it does not take, or two that exclude each other.
    """
    found: dict[str, float] = {}
    words = [word.strip() for word in text.split(",")] if text else []
    words = [word for item in words for word in PRESETS.get(item, item).split(",")]
    for word in words:
        name, equals, value = word.partition("=")
        if name not in METHODS:
            known = [*METHODS, *PRESETS]
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise ModelError(f"no PTQ method is called {name!r}", hint=f"{hint}Known: {', '.join(known)}")
        method = METHODS[name]
        if name in found and PRESETS.keys().isdisjoint(text.split(",")):
            raise ModelError(f"PTQ method {name!r} is named twice")
        if equals and not method.number:
            raise ModelError(f"PTQ method {name!r} takes no number", hint=f"Write {name}")
        try:
            number = float(value) if equals else method.default
        except ValueError:
            raise ModelError(f"{word!r}: {value!r} is no number", hint=_meaning(name)) from None
        if method.number and not method.valid(number):
            raise ModelError(f"{word!r} is out of range", hint=_meaning(name))
        found[name] = number
    if {"gptq", "round"} <= found.keys():
        raise ModelError("gptq and round both choose how weights are rounded", hint="Name one of them")
    return {name: found[name] for name in METHODS if name in found}


def _meaning(name: str) -> str:
    method = METHODS[name]
    return f"{name}={method.default:g} gives its {method.number}"
