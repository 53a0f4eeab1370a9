"""Quantization schemes by name: what each does to a graph, and the options that all of them share.

A family of formats is one module of this package with its ``SCHEMES``; `find` is how everything else asks.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain

from potluck.compiler.passes import make
from potluck.compiler.passes.base import GraphPass
from potluck.compiler.schemes.assignment import Assignment
from potluck.compiler.schemes.base import Options, Quantization, Scheme, Trainer
from potluck.isa.errors import ModelError
from potluck.isa.plugins import added

__all__ = [
    "Assignment",
    "Options",
    "Quantization",
    "Scheme",
    "Trainer",
    "calibrated",
    "find",
    "passes_of",
    "schemes",
]

FAMILIES = ("plain", "mx", "integer", "pot", "bbq")
"""Modules of this package, in the order in which people see their schemes."""


@cache
def schemes() -> Mapping[str, Scheme]:
    """Every scheme by name."""
    found: dict[str, Scheme] = {}
    own = (importlib.import_module(f"{__name__}.{family}").SCHEMES for family in FAMILIES)
    for scheme in chain(*own, *(more for _, more in added("potluck.schemes"))):
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


def passes_of(scheme: str | Assignment, options: Options) -> Sequence[GraphPass]:
    """What quantizes a network by a scheme, or each layer by its own.

    Raises:
        ModelError: No such scheme; names the near one.
    """
    if isinstance(scheme, Assignment):
        for name in scheme.schemes:
            find(name)
        return (make("assign", assignment=scheme, options=options),)
    return find(scheme).passes(options)


def calibrated(scheme: str | Assignment) -> bool:
    """Whether calibration samples are needed."""
    names = scheme.schemes if isinstance(scheme, Assignment) else (scheme,)
    return any(find(name).calibrated for name in names)
