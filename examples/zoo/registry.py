"""Networks by name. A module is imported when somebody asks for its network."""

from __future__ import annotations

import difflib
from importlib import import_module

from potluck.isa.errors import DataError
from potluck.zoo.network import Network

MODULES = {
    "mnist-cnn": "mnist",
    "resnet8": "resnet8",
    "mobilenetv2": "mobilenetv2",
    "efficientnet-lite0": "efficientnet_lite0",
}
"""Name -> module of `potluck.zoo`, smallest network first."""


def find(name: str) -> Network:
    """A network of the zoo.

    Raises:
        DataError: There is none of this name.
    """
    if name not in MODULES:
        near = difflib.get_close_matches(name, MODULES, 1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(MODULES)}"
        raise DataError(f"no network {name!r} in the zoo", hint=hint)
    found = import_module(f"potluck.zoo.{MODULES[name]}").NETWORK
    assert isinstance(found, Network) and found.name == name
    return found
