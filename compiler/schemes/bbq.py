"""Bell Box codes without training: for comparison, and for the cycles of networks that are trained with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from potluck.compiler.passes.base import GraphPass
from potluck.compiler.passes.quantize_bbq import QuantizeBbq
from potluck.compiler.schemes.base import Options, Scheme

_PATHS = {1: "population counts", 2: "population counts", 3: "narrow INT8 sums", 4: "narrow INT8 sums"}


def _scheme(bits: int, symmetric: bool) -> Scheme:
    def passes(options: Options) -> Sequence[GraphPass]:
        zero = -0.5 if symmetric else math.nan
        return (QuantizeBbq(bits, zero, options.min_channels, options.exclude, options.calibration),)

    name = f"bbq{bits}_symmetric" if symmetric else f"bbq{bits}"
    codes = "symmetric codes, " if symmetric else ""
    summary = f"{bits}-bit Bell Box operands, {codes}warns: made for training; {_PATHS[bits]}"
    return Scheme(name, summary, passes, calibrated=True)


SCHEMES = (*(_scheme(bits, False) for bits in (1, 2, 3, 4)), _scheme(3, True), _scheme(4, True))
