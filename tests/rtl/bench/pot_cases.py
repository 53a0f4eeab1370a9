"""Operands of the PoT array's parts with what the contract makes of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from potluck.isa.pot import POT_FORMATS
from potluck.isa.pot_array import CODE_SETS, pe_product

POT_SETS = list(POT_FORMATS.values())
INT8, ANY = len(POT_SETS), len(POT_SETS) + 1
"""Values of the parameter CodeSet beyond those of one set."""
Columns = dict[str, NDArray[np.int64]]


def pe_modes(code_set: int) -> list[int]:
    """Values of ``code_set_i`` that a build is tried with; one that it ignores is among them."""
    return list(range(len(POT_SETS))) if code_set == ANY else [(code_set + 1) % len(POT_SETS)]


def pe_vectors(code_set: int, mode: int) -> tuple[Columns, Columns]:
    """All weights times all activations of a PE: inputs, and outputs of the contract."""
    weight_bits = 8 if code_set == INT8 else 4
    weight, activation = (
        grid.reshape(-1) for grid in np.meshgrid(np.arange(1 << weight_bits), np.arange(-128, 128))
    )
    kind = CODE_SETS[mode if code_set == ANY else code_set]
    codes = np.where((code_set == INT8) & (weight > 127), weight - 256, weight)
    results = [pe_product(kind, w, x) for w, x in zip(codes.tolist(), activation.tolist(), strict=True)]
    subtract, product = (np.array(column, np.int64) for column in zip(*results, strict=True))
    inputs = {"activation_i": activation & 0xFF, "weight_i": weight, "code_set_i": np.full_like(weight, mode)}
    return inputs, {"product_o": product & 0xFFFF, "subtract_o": subtract}
