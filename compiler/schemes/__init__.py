"""Quantization schemes by name: what each does to a graph, and the options that all of them share.

A family of formats is one module of this package with its ``SCHEMES``; `find` is how everything else asks.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from functools import cache

from potluck.compiler.schemes.base import Options, Scheme
from potluck.isa.errors import ModelError

__all__ = ["Options", "Scheme", "find", "schemes"]

FAMILIES = ("plain", "mx", "integer", "pot", "bbq")
"""Modules of this package, in the order in which people see their schemes."""


@cache
def schemes() -> Mapping[str, Scheme]:
    """Every scheme by name."""
    found: dict[str, Scheme] = {}
    for family in FAMILIES:
        for scheme in importlib.import_module(f"{__name__}.{family}").SCHEMES:
            assert scheme.name not in found, f"scheme {scheme.name} is declared twice"
            found[scheme.name] = scheme
    return found


def find(name: str) -> Scheme:
    """The scheme called ``name``.

    Raises:
        ModelError: No such scheme; names the near one.
    """
    known = schemes()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ModelError(f"unknown scheme {name!r}", hint=f"{hint}Use one of {', '.join(known)}")
    return known[name]
