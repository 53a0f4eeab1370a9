"""Networks by name. A module is imported when somebody asks for its network."""

from __future__ import annotations

import difflib
from importlib import import_module

from potluck.isa.errors import DataError
from potluck.zoo.network import Network

PLACES = {
    "mnist-cnn": "mnist.NETWORK",
    "resnet8": "resnet8.NETWORK",
    "mobilenetv2": "mobilenetv2.NETWORK",
    "efficientnet-lite0": "efficientnet_lite0.NETWORK",
    "ppocr-rec": "ocr.RECOGNIZER",
    "ppocr-det": "ocr.DETECTOR",
    "minilm": "minilm.NETWORK",
    "smollm2": "smollm2.NETWORK",
}
"""Name -> module of `potluck.zoo` and what declares the network there."""
LIGHT = tuple(
    f"light-{name}"
    for name in (
        "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet",
        "vgg19", "zfnet512",
    )
)  # fmt: skip
"""Networks with seeded weights, `potluck.zoo.light`; no list of trained networks names them."""


def find(name: str) -> Network:
    """A network of the zoo.

    Raises:
        DataError: There is none of this name.
    """
    if name in LIGHT:
        from potluck.zoo import light

        return light.network(name.removeprefix("light-"))
    if name not in PLACES:
        near = difflib.get_close_matches(name, PLACES, 1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(PLACES)}"
        raise DataError(f"no network {name!r} in the zoo", hint=hint)
    module, _, declared = PLACES[name].partition(".")
    found = getattr(import_module(f"potluck.zoo.{module}"), declared)
    assert isinstance(found, Network) and found.name == name
    return found
