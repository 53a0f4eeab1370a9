"""OCP microscaling formats that VMXDOTP multiplies."""

from __future__ import annotations

from collections.abc import Sequence

from potluck.compiler.passes.base import GraphPass
from potluck.compiler.passes.quantize_mx import ELEMENTS, QuantizeMx
from potluck.compiler.schemes.base import Options, Scheme


def _scheme(name: str) -> Scheme:
    def passes(options: Options) -> Sequence[GraphPass]:
        return (QuantizeMx(name, min_channels=options.min_channels, exclude=options.exclude),)

    return Scheme(name, f"{name} operands in blocks of 32 along the contraction, VMXDOTP", passes)


SCHEMES = tuple(_scheme(name) for name in ELEMENTS)
