"""Detection alone, cheaper than any code of Potluck's own."""

import numpy as np

from potluck.sim.ecc.blocks import Split
from potluck.sim.ecc.interface import Protection
from potluck.sim.ecc.linear import Detector, LinearCode


def parity() -> Protection:
    """One even-parity bit per 32-bit word."""
    return Split(LinearCode("example_parity_33_32", 32, 1, np.ones(32, np.uint64), Detector(1)), 8)
